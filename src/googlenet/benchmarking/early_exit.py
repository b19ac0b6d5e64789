"""``early_exit``: auxiliary heads answer easy images from a confidence on that keeps a promise; kept in the bundle."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from googlenet import bundle as bundles
from googlenet.benchmarking.precisions import with_files
from googlenet.bundle import EXIT_HEADS, EXITS, WEIGHTS, Bundle
from googlenet.checks.arrays import read_safetensors
from googlenet.data.image_set import DataLike
from googlenet.errors import BundleError, ImageError
from googlenet.evaluation.early_exits import (
    FOR_TEMPERATURES,
    MAX_FOR_TEMPERATURES,
    Chosen,
    check_promise,
    choose_threshold,
    held_out_needed,
    temperatures_of,
    too_few,
    with_temperatures,
)
from googlenet.evaluation.selection import Selection, select_images
from googlenet.files import write_error
from googlenet.images.decode import ImageSource, Pixels
from googlenet.inference.classifier import Classifier
from googlenet.inference.engine import Engine, Floats
from googlenet.inference.exits import BATCHES, PRECISION, Exits, Parts, heads_of
from googlenet.parallel import map_ordered, result_or_error
from googlenet.text import printable

MAX_IMAGES = 10_000  # held-out images that choose the thresholds
BATCH = 32
ROUNDS = 7  # in which both are timed in turns
TIMED = 128  # images of a round in batches, and half as many one by one

Report = Callable[[int, int], object]


@dataclass(frozen=True)
class EarlyExit:
    """A bundle that may answer early: ``exits`` has the promise, ``heads`` the names of those that answer.

    Where no head can answer any image under this promise, ``exits`` has no shares above 0 and the bundle is as it was.
    """

    bundle: Bundle
    exits: Exits
    heads: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The fraction of the held-out images that a head answered."""
        return sum(self.exits.shares)


def early_exit(
    run: str | Path,
    data: DataLike | None = None,
    *,
    tolerance: float = 0.01,
    confidence: float = 0.95,
    progress: Report | None = None,
) -> EarlyExit:
    """Let the auxiliary heads of a classifier answer easy images, and store from which confidence on in its bundle.

    The thresholds are chosen by Learn-then-Test (Angelopoulos et al., 2021) on held-out images: those with the role
    ``calibrate`` where there are any, else those that chose the best epoch. Predictions answer early only where they
    are asked to, by ``exit`` of :func:`googlenet.load`.

    Args:
        run: a run of ``train``, or a bundle. It is replaced as a whole, or left unchanged on an error.
        data: the labelled images it was trained on; by default where its card says they were. Labels are not used.
        tolerance: the fraction of answers that may be other than the full network's, above 0 and below 1.
        confidence: the probability that this holds for images like the held-out ones, above 0 and below 1.
        progress: called with the images done and their total.

    Raises:
        BundleError: the network has no heads, several labels or mirror images, or the bundle cannot be used.
        DataError: the images cannot be used.
        GoogLeNetError: there are too few held-out images for this promise; the message has the number.
        RunError: the bundle cannot be written.

    ::

        found = googlenet.early_exit("runs/flowers", tolerance=0.01)
        found.share, found.exits.gains
    """
    check_promise(tolerance, confidence)
    bundle = bundles.read(run)
    check_heads(bundle)
    selection = held_out(bundle, data)
    if len(selection.images) < held_out_needed(tolerance, confidence):
        raise too_few(len(selection.images), tolerance, confidence)
    with tempfile.TemporaryDirectory() as folder:
        pixels, heads, full = answers_of(bundle, selection, Path(folder, "draft"), progress)
        temperatures, chosen = learn_then_test(heads, full, tolerance, confidence)
        exits = Exits((chosen.threshold,) * len(heads), chosen.shares, tolerance, confidence, chosen.images,
                      chosen.differing)  # fmt: skip
        names = tuple(tap.name for tap in heads_of(bundle.network))
        if not any(chosen.shares):
            return EarlyExit(bundle, exits, names, selection.notes)
        files = head_graphs(bundle, temperatures)
        draft = with_files(bundle, files, Path(folder, "draft"))
        exits = replace(exits, gains=gains_of(draft, exits.thresholds, pixels))
    try:
        written = with_files(bundle, {**files, EXITS: exits.to_bytes()}, bundle.path)
    except OSError as error:
        raise write_error(bundle.path, error) from error
    return EarlyExit(written, exits, names, selection.notes)


def check_heads(bundle: Bundle) -> None:
    """Raise :class:`BundleError` in one line where a bundle cannot answer early."""
    card, where = bundle.card, printable(str(bundle.path))
    network = bundle.network
    if card.multi_label:
        raise BundleError(f"{where} has several labels for an image: early exit needs one class for each")
    if card.mirror:
        raise BundleError(f"{where} answers with mirror images, which early exit does not: train it without --mirror")
    if not network.aux or network.pooled:
        raise BundleError(
            f"{where} has no auxiliary heads that could answer: train a network with heads, such as googlenet_bn, with "
            "aux = 2 in its recipe"
        )
    if len(network.aux) > len(EXIT_HEADS):
        raise BundleError(f"{where} has {len(network.aux)} heads: early exit takes up to {len(EXIT_HEADS)}")
    if Engine(bundle, PRECISION).members > 1:
        raise BundleError(f"{where} averages several networks, which have no heads in common: use the run of one fold")
    if WEIGHTS not in card.files:
        raise BundleError(f"{where} holds no {WEIGHTS}, where the weights of its heads are: copy the whole bundle")


def held_out(bundle: Bundle, data: DataLike | None) -> Selection:
    """Return the held-out images that may choose thresholds."""
    if "calibrate" in bundle.card.data and data is None:
        return select_images(bundle, data, "calibrate")
    return select_images(bundle, data, to_choose=True)


def head_graphs(bundle: Bundle, temperatures: Sequence[float]) -> dict[str, bytes]:
    """Return the graphs of the heads, by the names of their files."""
    from googlenet.exporting.graph import head_to_onnx

    weights, size, network = read_safetensors(bundle.read(WEIGHTS)), bundle.card.preprocessing.size, bundle.network
    taps = heads_of(network)
    if missing := [tap.name for tap in taps if not any(name.startswith(f"{tap.name}.") for name in weights)]:
        raise BundleError(f"{printable(str(bundle.path / WEIGHTS))} has no weights of the head {missing[0]}")
    return {
        name: head_to_onnx(network, weights, tap, size, temperature)
        for name, tap, temperature in zip(EXIT_HEADS, taps, temperatures, strict=False)
    }


def answers_of(
    bundle: Bundle, selection: Selection, draft: Path, progress: Report | None = None
) -> tuple[Pixels, list[Floats], Floats]:
    """Return held-out images, shuffled, (N, size, size, C), and the probabilities (N, K) of each head and the network.

    An image that cannot be read is left out. ``draft`` is where a bundle for that is written.
    """
    files = head_graphs(bundle, [1.0] * len(heads_of(bundle.network)))
    classifier = Classifier(with_files(bundle, files, draft), PRECISION)
    items = selection.images.items
    order = np.random.default_rng(0).permutation(len(items))[:MAX_IMAGES].tolist()
    sources, read, found = [items[at].source for at in order], list[Pixels](), list[list[Floats]]()
    parts = Parts(classifier.bundle, classifier.engine)

    def prepared(batch: Sequence[ImageSource]) -> list[Pixels | ImageError]:
        return [result_or_error(classifier.preprocess, source) for source in batch]

    for batch in map_ordered(prepared, sources, BATCH):
        if readable := [each for each in batch if not isinstance(each, ImageError)]:
            read.append(np.stack(readable))
            found.append(parts.every(read[-1]))
        if progress:
            progress(min(BATCH * len(found), len(sources)), len(sources))
    if not read:
        raise BundleError(f"{printable(str(bundle.path))}: none of the held-out images can be read")
    *heads, full = (np.concatenate(each) for each in zip(*found, strict=True))
    return np.concatenate(read), heads, full


def learn_then_test(
    heads: list[Floats], full: Floats, tolerance: float, confidence: float
) -> tuple[list[float], Chosen]:
    """Return the heads' temperatures, fitted on the first images, and the threshold that the others allow."""
    first = min(len(full) // FOR_TEMPERATURES, MAX_FOR_TEMPERATURES)
    temperatures = temperatures_of([each[:first] for each in heads], full[:first])
    rest = with_temperatures([each[first:] for each in heads], temperatures)
    return temperatures, choose_threshold(rest, full[first:], tolerance, confidence)


def gains_of(bundle: Bundle, thresholds: tuple[float, ...], pixels: Pixels) -> tuple[float, ...]:
    """Return how much faster early answers are, for each of :data:`BATCHES`: timed in turns, on held-out images."""
    engine = Engine(bundle, PRECISION)
    parts = Parts(bundle, engine)
    return tuple(
        median(_ratios(_batched(pixels, size), engine.probabilities, lambda batch: parts.answers(batch, thresholds)))
        - 1
        for size in BATCHES
    )


def _batched(pixels: Pixels, size: int) -> list[Pixels]:
    """Return batches of the last images, which did not fit the temperatures."""
    count = TIMED if size > 1 else TIMED // 2
    last = pixels[-count:]
    return [last[at : at + size] for at in range(0, len(last), size)]


def _ratios(
    batches: Sequence[Pixels], full: Callable[[Pixels], object], early: Callable[[Pixels], object]
) -> list[float]:
    """Return how many times as fast ``early`` is as ``full``, in each of the rounds."""

    def seconds(answer: Callable[[Pixels], object]) -> float:
        begun = time.perf_counter()
        for batch in batches:
            answer(batch)
        return time.perf_counter() - begun

    for answer in (full, early):  # compiles
        seconds(answer)
    return [seconds(full) / seconds(early) for _ in range(ROUNDS)]
