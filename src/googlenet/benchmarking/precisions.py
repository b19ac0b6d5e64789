"""``quantize`` and ``measure_precisions``: accuracy and speed of each precision, stored on the card."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from googlenet import bundle as bundles
from googlenet.benchmarking.speed import latency, throughput
from googlenet.bundle import INT8, Bundle
from googlenet.card import TOLERANCE
from googlenet.data.image_set import DataLike, LabelledImage
from googlenet.errors import ImageError
from googlenet.evaluation.evaluate import evaluate_on, measured
from googlenet.evaluation.selection import Selection, select_images
from googlenet.files import write_error
from googlenet.images.decode import Pixels
from googlenet.inference.classifier import BATCH, Classifier
from googlenet.inference.engine import Engine, Floats, precisions_for, processor
from googlenet.parallel import cores, map_ordered, result_or_error

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Precisions:
    """A bundle with the measured precisions on its card, and the layers its int8 graph ``kept`` in floating point.

    ``plain_loss`` is the score lost with all layers in 8 bits, as a fraction of 1, if it was more than allowed.
    ``images`` is the number of held-out images that were measured on.
    """

    bundle: Bundle
    kept: tuple[str, ...] = ()
    plain_loss: float | None = None
    images: int = 0


def quantize(run: str | Path, data: DataLike | None = None, *, progress: Report | None = None) -> Precisions:
    """Add an int8 graph to a bundle, measure all precisions, and store the figures on its card.

    The ranges of the layers come from 300 of the held-out images. If top-1 accuracy (mAP for multi-label classifiers)
    on all of them falls by more than 0.5 percentage points, the most sensitive layers are kept in floating point, as
    few as needed.

    Args:
        run: a run of ``train``, or a bundle. It is replaced as a whole, or left unchanged on an error.
        data: the labelled images it was trained on; by default where its card says they were.
        progress: called with the current step, the images done and their total.

    Raises:
        BundleError, DataError: the bundle or the images cannot be used; before any work is done.
        RunError: the bundle cannot be written.

    ::

        googlenet.quantize("runs/flowers").bundle.card.precisions["int8"]["score"]
    """
    bundle = bundles.read(run)
    selection = select_images(bundle, data, to_choose=True)
    held_out = _Prepared(Classifier(bundle, "fp32"), selection.images.items)
    exact = _score(bundle, selection, "fp32", progress)
    from googlenet.exporting.quantization import in_8_bits, kept_in_floating_point

    with tempfile.TemporaryDirectory() as folder:
        files = in_8_bits(bundle, held_out)
        quantised = with_files(bundle, files, Path(folder, "quantised"))
        score = _score(quantised, selection, "int8", progress)
        loss = exact - score
        if loss > TOLERANCE:
            files = in_8_bits(bundle, held_out, held_out.score)
            quantised = with_files(bundle, files, Path(folder, "restored"))
            score = _score(quantised, selection, "int8", progress)
        kept = kept_in_floating_point(quantised)
        found = _found(quantised, selection, {"fp32": exact, "int8": score}, progress)
    return Precisions(_replaced(bundle, found, files), kept, loss if loss > TOLERANCE else None, len(selection.images))


def measure_precisions(run: str | Path, data: DataLike | None = None, *, progress: Report | None = None) -> Precisions:
    """Measure accuracy and speed in every precision of a bundle on this processor, and store them on its card.

    No graph is added. Arguments and errors are those of :func:`quantize`.

    ::

        googlenet.measure_precisions("runs/flowers").bundle.card.precisions["fp32"]["latency_ms"]
    """
    bundle = bundles.read(run)
    selection = select_images(bundle, data, to_choose=True)
    kept: tuple[str, ...] = ()
    if INT8 in bundle.card.files:
        from googlenet.exporting.quantization import kept_in_floating_point

        kept = kept_in_floating_point(bundle)
    found = _found(bundle, selection, {}, progress)
    return Precisions(_replaced(bundle, found, {}), kept, None, len(selection.images))


class _Prepared:
    """Held-out images, preprocessed, and the score of answers to them. Each iteration reads them again.

    They are shuffled, so that the first few are of all classes.
    """

    def __init__(self, classifier: Classifier, items: Sequence[LabelledImage]) -> None:
        self.classifier = classifier
        self.items = [items[i] for i in np.random.default_rng(0).permutation(len(items))]

    def __iter__(self) -> Iterator[Pixels]:
        for _, pixels in self._readable():
            yield pixels

    def _readable(self) -> Iterator[tuple[tuple[int, ...], Pixels]]:
        prepare = self.classifier.preprocess
        read = map_ordered(lambda batch: [result_or_error(prepare, item.source) for item in batch], self.items, BATCH)
        for item, pixels in zip(self.items, (each for batch in read for each in batch), strict=True):
            if not isinstance(pixels, ImageError):
                yield item.labels, pixels

    def score(self, answer: Callable[[Pixels], Floats]) -> float:
        """Return top-1 accuracy or mAP of a function (1, S, S, C) → (1, K)."""
        truth, answers = [], []
        for labels, pixels in self._readable():
            truth.append(labels)
            answers.append(answer(pixels[None])[0])
        return measured(self.classifier.card, truth, np.stack(answers)).score


def _score(bundle: Bundle, selection: Selection, precision: str, progress: Report | None) -> float:
    def report(done: int, total: int) -> None:
        if progress:
            progress(f"measuring {precision}", done, total)

    return evaluate_on(Classifier(bundle, precision), selection, report).metrics.score


def _found(
    bundle: Bundle, selection: Selection, scores: dict[str, float], progress: Report | None
) -> dict[str, dict[str, float]]:
    """Measure each precision. Those in ``scores`` were evaluated before."""
    found = {}
    for precision in precisions_for(bundle):
        score = scores[precision] if precision in scores else _score(bundle, selection, precision, progress)
        engine = Engine(bundle, precision)
        found[precision] = {
            "score": score,
            "latency_ms": round(latency(engine).p50, 3),
            "images_per_second": round(throughput(engine, BATCH, cores()), 1),
        }
    return found


def with_files(bundle: Bundle, files: dict[str, bytes], path: Path) -> Bundle:
    """Write a bundle with further files to ``path``, which may be its own."""
    there = {name: bundle.read(name) for name in bundle.card.files if name not in files}
    return bundles.write(path, bundle.card, there | files)


def _replaced(bundle: Bundle, found: dict[str, dict[str, float]], files: dict[str, bytes]) -> Bundle:
    card = replace(bundle.card, precisions=found, measured_on=processor())
    try:
        return with_files(replace(bundle, card=card), files, bundle.path)
    except OSError as error:
        raise write_error(bundle.path, error) from error
