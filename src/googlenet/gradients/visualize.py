"""``googlenet.visualize`` and ``googlenet.dream``: what can be wrong is looked at first, then PyTorch is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from googlenet.data.inputs import find_images
from googlenet.data.reading import read_images
from googlenet.errors import GoogLeNetError
from googlenet.explaining.stage_maps import find_stage, stage_shapes
from googlenet.gradients.explain import require_weights
from googlenet.images.decode import ImageSource
from googlenet.inference.classifier import Classifier
from googlenet.inference.crops import load
from googlenet.stages import stage as named_stage
from googlenet.text import printable

if TYPE_CHECKING:
    from googlenet.data.inputs import Input
    from googlenet.gradients.dream import Dream
    from googlenet.gradients.neurons import Neurons

SHEET = 8  # channels of a stage that are shown where none is named
NUMBERS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
MAX_STEPS = 100_000


def visualize(
    run: str | Path,
    neuron: str,
    data: Input | Iterable[Input] = (),
    *,
    steps: int | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int | None], object] | None = None,
) -> Neurons:
    """Find images that excite channels of a trained network most, beside the images of ``data`` that do.

    Feature visualisation (Olah, Mordvintsev & Schubert, *Feature visualization*, Distill, 2017): gradient ascent from a
    grey image, written as a decorrelated Fourier spectrum, that is moved a little by chance before each step. Needs
    PyTorch. Ctrl-C returns what was found up to then.

    Args:
        run: a run of ``train``, or a bundle with weights.
        neuron: a stage and its channels, such as ``"inception_5b:3"``, ``"inception_5b:0-7,100"``; of a stage alone
            eight channels are shown, evenly chosen.
        data: images as :func:`googlenet.predict` takes them.
        steps: of gradient ascent; by default 256.
        seed: of the first image, and of its movements.
        progress: called with (what is done, how much of it, how much there is, or ``None``).

    Raises:
        BundleError: there is no bundle, or it has no weights.
        NetworkError: the network has no such stage.
        GoogLeNetError: the stage has no such channel.
        DataError: there are no such images.
        MissingExtraError: PyTorch is not installed.

    ::

        googlenet.visualize("runs/flowers", "inception_5b:0-7", "photos/").save("5b.png")
    """
    classifier = load(run, "fp32")
    stage, channels = parse_neuron(classifier, neuron)
    _check(classifier, steps, seed)
    inputs = [data] if isinstance(data, (str, Path)) or not isinstance(data, Iterable) else list(data)
    images = find_images(inputs, channels=classifier.card.preprocessing.channels) if inputs else None
    with named_stage("loading PyTorch"):
        from googlenet.gradients.neurons import STEPS, find_neurons
    sources = zip(images.ids, read_images(images), strict=True) if images else ()
    return find_neurons(classifier, stage, channels, sources, steps=steps or STEPS, seed=seed, progress=progress)


def dream(
    run: str | Path,
    source: ImageSource,
    stage: str,
    *,
    steps: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Dream:
    """Change an image so that it excites a stage of a trained network more and more (DeepDream).

    Mordvintsev, Olah & Tyka, *Inceptionism: going deeper into neural networks* (2015). The image is dreamt at one size
    after another, up to 640 pixels. Needs PyTorch. Ctrl-C returns what is there.

    Args:
        run: a run of ``train``, or a bundle with weights.
        source: an image, as :meth:`Classifier.predict` takes it.
        stage: such as ``"inception_4c"``: early ones draw textures, later ones shapes.
        steps: at each size; by default 24.
        seed: of the shifts before each step.
        progress: called with (done, total) steps.

    Raises:
        BundleError: there is no bundle, or it has no weights.
        ImageError: the image cannot be read.
        NetworkError: the network has no such stage.
        MissingExtraError: PyTorch is not installed.

    ::

        googlenet.dream("runs/flowers", "daisy.jpg", "inception_4c").save("dream.png")
    """
    classifier = load(run, "fp32")
    find_stage(classifier.bundle.network, classifier.card.preprocessing.size, stage)
    _check_is_before_pooling(classifier, stage)
    _check(classifier, steps, seed)
    with named_stage("loading PyTorch"):
        from googlenet.gradients.dream import STEPS, dream_of
    return dream_of(classifier, source, stage, steps=steps or STEPS, seed=seed, progress=progress)


def parse_neuron(classifier: Classifier, neuron: str) -> tuple[str, list[int]]:
    """Return the stage and the channels of ``STAGE``, ``STAGE:3`` or ``STAGE:0-7,100``. Raises as :func:`visualize`."""
    stage, colon, numbers = str(neuron).partition(":")
    count = find_stage(classifier.bundle.network, classifier.card.preprocessing.size, stage)[0]
    if not colon:
        return stage, sorted({at * count // min(SHEET, count) for at in range(min(SHEET, count))})
    if not NUMBERS.fullmatch(numbers):
        raise GoogLeNetError(f"channels are numbers such as {stage}:3 or {stage}:0-7,100, got {printable(neuron)!r}")
    channels: dict[int, None] = {}
    for part in numbers.split(","):
        first, _, last = part.partition("-")
        if int(last or first) >= count:
            raise GoogLeNetError(
                f"{printable(stage)} has {count:,} channels, 0 to {count - 1:,}: it has no channel {last or first}"
            )
        channels |= dict.fromkeys(range(int(first), int(last or first) + 1))
    if not channels:
        raise GoogLeNetError(f"{numbers} names no channel: write the smaller number first")
    return stage, list(channels)


def _check_is_before_pooling(classifier: Classifier, stage: str) -> None:
    """Raise :class:`GoogLeNetError` for a stage that takes images of one size only, as linear layers do."""
    network, size = classifier.bundle.network, classifier.card.preprocessing.size
    larger = 2 * size
    here, there = (stage_shapes(network, each)[stage] for each in (size, larger))
    if here == there:
        raise GoogLeNetError(
            f"{printable(stage)} of {printable(network.name)} puts out {here[1]}×{here[2]} places for images of any "
            "size: dream with an earlier stage, whose maps grow with the image"
        )


def _check(classifier: Classifier, steps: int | None, seed: int) -> None:
    if steps is not None and not 1 <= steps <= MAX_STEPS:
        raise GoogLeNetError(f"steps is a number from 1 to {MAX_STEPS:,}, got {steps:,}")
    if not 0 <= seed < 2**32:
        raise GoogLeNetError(f"seed is a number from 0 to {2**32 - 1:,}, got {seed:,}")
    require_weights(classifier, "gradients")
