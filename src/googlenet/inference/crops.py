"""Answers from many crops of an image: the 10 and the 144 of the paper, or more only while an image is unsure.

Szegedy et al., *Going deeper with convolutions* (2015), section 7: the shorter side is resized to 256, 288, 320 and
352 pixels; of each size the left, centre and right square (of a portrait the top, centre and bottom one) is taken; of
each square the four corners and the centre of 224 × 224, and the whole square resized to that; and the mirror image of
each. The probabilities of all 4 · 3 · 6 · 2 = 144 are averaged. The 10 crops are Krizhevsky's (2012): corners and
centre of the centre square at 256, and their mirror images.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from googlenet import bundle as bundles
from googlenet.bundle import Bundle
from googlenet.card import ModelCard
from googlenet.errors import ImageError
from googlenet.images.pixels import ImageSource, Pixels
from googlenet.images.resampling import Box
from googlenet.images.resize import crop_box, cut, read, square_sides
from googlenet.inference.batches import BATCH, all_read
from googlenet.inference.classifier import Classifier, Prediction
from googlenet.inference.early import ExitClassifier, exits_early
from googlenet.inference.engine import Engine, Floats
from googlenet.inference.origin import AUTO, CROPS, OFF, ONE_CROP, Origin, check_crops, read_again
from googlenet.parallel import cores, map_ordered, result_or_error
from googlenet.preprocessing import Preprocessing, ResizeMode

CROP = 224  # pixels of a crop
SIZES = (256, 288, 320, 352)  # of the shorter side
MARGINS = {ONE_CROP: 0.8, "10": 0.2}  # of the first class over the second from which on ``auto`` takes no more crops
MAX_BATCH = 16  # crops that a thread computes at a time


@dataclass(frozen=True)
class Crop:
    """A part of an image: left, top, right and bottom in its pixels, and whether it is mirrored."""

    box: Box
    mirrored: bool


def crops(width: int, height: int, count: int = 144, resize: ResizeMode = "crop") -> list[Crop]:
    """Return the 10 or 144 crops of an image of ``width`` × ``height`` pixels, each with its mirror image next.

    With ``resize="pad"`` or ``"squash"`` there is one square, the whole image padded or squashed, in place of three.
    Crops that coincide are there as often: 48 of a square image are each there three times.

    >>> crops(300, 400, 10)[0]
    Crop(box=(0.0, 50.0, 262.5, 312.5), mirrored=False)
    >>> len(crops(300, 400)), len(set(crops(300, 400))), len(set(crops(300, 300)))
    (144, 126, 42)
    """
    few = count == 10
    squares = _squares(width, height, resize)
    boxes = [
        part
        for size in (SIZES[:1] if few else SIZES)
        for square in (squares[1:2] if few else squares)
        for part in _parts(square, CROP / size)[: 5 if few else 6]
    ]
    return [Crop(box, mirrored) for box in boxes for mirrored in (False, True)]


def _squares(width: int, height: int, resize: ResizeMode) -> list[Box]:
    """Return left, centre and right (top, centre and bottom) square; three times the same where there is one."""
    if resize != "crop":
        wide, high = square_sides(width, height, resize)
        left, top = (width - wide) / 2, (height - high) / 2
        return [(left, top, left + wide, top + high)] * 3
    side, longer = min(width, height), max(width, height)
    starts = (0.0, (longer - side) / 2, float(longer - side))
    return [(s, 0.0, s + side, float(side)) if width >= height else (0.0, s, float(side), s + side) for s in starts]


def _parts(square: Box, share: float) -> list[Box]:
    """Return the four corners and the centre of a square, each ``share`` of its side, and the whole square."""
    left, top, right, bottom = square
    wide, high = (right - left) * share, (bottom - top) * share
    ends = [(left, top), (right - wide, top), (left, bottom - high), (right - wide, bottom - high),
            ((left + right - wide) / 2, (top + bottom - high) / 2)]  # fmt: skip
    return [*((x, y, x + wide, y + high) for x, y in ends), square]


@dataclass(frozen=True)
class ManyCrops:
    """Computes the mean of the probabilities of many crops.

    ``count`` is one of :data:`CROPS`. Mirror images are left out where training had none (text, digits), and counted
    twice where the graph itself averages over both.
    """

    engine: Engine
    preprocessing: Preprocessing
    count: str
    mirrored: bool

    def open(self, source: ImageSource) -> Pixels:
        """Decode an image, (H, W, C) uint8: a JPEG no larger than its smallest crop needs."""
        at_least = math.ceil(self.preprocessing.size * SIZES[-1] / CROP)
        return read(source, self.preprocessing, max(at_least, self.preprocessing.resized_side))

    def answer(self, pixels: Pixels, streams: int = 1) -> tuple[Floats, int]:
        """Return the mean of the probabilities of the crops of an image, (K,), and how many were computed."""
        if self.count != AUTO:
            return self._mean(pixels, self._weights(pixels, int(self.count)), streams)
        seen = 0
        for count in CROPS[:-1]:
            found, more = self._mean(pixels, self._weights(pixels, int(count)), streams)
            seen += more
            second, first = np.partition(found, -2)[-2:] if len(found) > 1 else (0.0, 1.0)
            if first - second >= MARGINS.get(count, 0.0):
                break
        return found, seen

    def _weights(self, pixels: Pixels, count: int) -> dict[Crop, int]:
        """Return the crops that differ, and how often each is there."""
        height, width = pixels.shape[:2]
        if count == 1:
            return {Crop(crop_box(width, height, self.preprocessing), False): 1}
        every = crops(width, height, count, self.preprocessing.resize)
        return Counter(crop if self.mirrored else replace(crop, mirrored=False) for crop in every)

    def _mean(self, pixels: Pixels, weights: dict[Crop, int], streams: int) -> tuple[Floats, int]:
        every, total = list(weights), np.zeros(0)
        for start in range(0, len(every), MAX_BATCH):
            part = every[start : start + MAX_BATCH]
            answers = self.engine.probabilities(np.stack([self._cut(pixels, crop) for crop in part]), streams)
            total = np.array([weights[crop] for crop in part], np.float64) @ answers + (total if start else 0)
        return np.asarray(total / sum(weights.values()), np.float32), len(every)

    def _cut(self, pixels: Pixels, crop: Crop) -> Pixels:
        found = cut(pixels, self.preprocessing.size, crop.box)
        return found[:, ::-1] if crop.mirrored else found


class CropClassifier(Classifier):
    """A classifier that answers from many crops of each image; ``crops`` is ``"10"``, ``"144"`` or ``"auto"``.

    Its predictions have no conformal sets and are never unknown, as held-out images were answered from one crop.
    ``crops_computed`` and ``images_answered`` count its work.
    """

    def __init__(
        self, bundle: Bundle, precision: str | None = None, threads: int | None = None, device: str = "cpu",
        crops: str = "144",
    ) -> None:  # fmt: skip
        super().__init__(bundle, precision, threads, device)
        self.origin = replace(self.origin, crops=crops)
        self.crops, self.crops_computed, self.images_answered = crops, 0, 0
        self._many_crops = ManyCrops(self.engine, self.card.preprocessing, crops, _has_mirrored(self.card))
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        if type(self.bundle) is Bundle:
            return _load_again, (self.origin,)
        return CropClassifier, (self.bundle, self.engine.precision, self.threads, self.engine.device, self.crops)

    @overload
    def predict(self, source: ImageSource) -> Prediction: ...

    @overload
    def predict(self, source: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...

    def predict(self, source: ImageSource | list[Any] | tuple[Any, ...]) -> Prediction | list[Prediction]:
        """Classify an image, or a list of them, as :meth:`Classifier.predict` does."""
        sources = source if isinstance(source, (list, tuple)) else [source]
        found = list(all_read(self.predict_many(sources)))
        return found if isinstance(source, (list, tuple)) else found[0]

    def probabilities(self, sources: Iterable[ImageSource]) -> Floats:
        """Return the probabilities of images, (N, K), as :meth:`Classifier.probabilities` does."""
        rows = [found.probabilities for found in all_read(self.predict_many(sources))]
        return np.stack(rows) if rows else np.empty((0, len(self.class_names)), np.float32)

    def predict_many(
        self, sources: Iterable[ImageSource], *, batch_size: int = BATCH
    ) -> Iterator[Prediction | ImageError]:
        """Classify many images on all cores, as :meth:`Classifier.predict_many` does; ``batch_size`` is of no use."""
        threads = self.threads or cores()

        def work(batch: Sequence[ImageSource]) -> list[Prediction | ImageError]:
            return [self._answered(source, threads) for source in batch]

        for found in map_ordered(work, sources, 1, threads):
            yield from found

    def _answered(self, source: ImageSource, streams: int) -> Prediction | ImageError:
        pixels = result_or_error(self._many_crops.open, source)
        if isinstance(pixels, ImageError):
            return pixels
        answer, computed = self._many_crops.answer(pixels, streams)
        with self._lock:
            self.crops_computed, self.images_answered = self.crops_computed + computed, self.images_answered + 1
        return self._prediction(source, answer)


def _has_mirrored(card: ModelCard) -> bool:
    """Whether mirrored crops are computed: not where the graph averages over both, nor where training saw none."""
    augmentation = card.recipe.get("augmentation")
    flips = augmentation.get("hflip_prob", 1) if isinstance(augmentation, dict) else 1
    return not card.mirror and flips != 0


def _load_again(origin: Origin) -> CropClassifier:
    return CropClassifier(read_again(origin), origin.precision, origin.threads, origin.device, origin.crops)


def load(
    path: str | Path, precision: str | None = None, device: str = "cpu", crops: int | str = 1, exit: str = OFF
) -> Classifier:
    """Load a trained classifier. PyTorch is not needed.

    Args:
        path: a run of ``train``, or a bundle.
        precision: ``"fp32"``, ``"bf16"`` or ``"int8"``; by default the fastest one this processor supports whose
            measured accuracy is within 0.5 percentage points of fp32 (see :func:`googlenet.quantize`).
        device: ``"cpu"``, ``"gpu"``, ``"npu"``, ``"cuda"`` or ``"coreml"``, which answers the golden images first.
        crops: how many parts of each image to answer from: 1, 10, 144, or ``"auto"``, which takes more only while the
            answer is unsure. More are usually more accurate, and cost as many times as much.
        exit: ``"auto"``: let an auxiliary head answer easy images where that was measured to be at least 10 % faster;
            ``"always"``: wherever the bundle can (see :func:`googlenet.early_exit`). In fp32, from one crop.

    Raises:
        BundleError: there is no bundle, it is damaged, or of a newer version.
        DeviceError: the processor or the bundle lacks this precision, or the machine the device.
        GoogLeNetError: another number of crops; ``exit`` beside many crops, another precision or device.

    ::

        classifier = googlenet.load("runs/flowers")
        print(classifier.predict("daisy.jpg").top(5))
    """
    count, bundle = check_crops(crops), bundles.read(path)
    if exits_early(bundle, exit, precision, device, count):
        return ExitClassifier(bundle)
    if count == ONE_CROP:
        return Classifier(bundle, precision, device=device)
    return CropClassifier(bundle, precision, device=device, crops=count)
