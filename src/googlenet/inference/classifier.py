"""What ``googlenet.load`` gives: pictures in, answers out. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from numbers import Integral
from pathlib import Path

import numpy as np
from PIL import Image

from googlenet import bundle as bundles
from googlenet.bundle import Bundle
from googlenet.card import ModelCard, Preprocessing
from googlenet.errors import BundleError, GoogLeNetError, ImageError
from googlenet.images.decode import ImageSource, Pixels, decode
from googlenet.images.preprocess import crop_box, inside, see
from googlenet.inference.engine import Engine, Floats, best_precision
from googlenet.inference.pipeline import caught, cores, in_order
from googlenet.text import nearest

BATCH = 8  # pictures that a thread decodes and then gives to the engine, many enough to keep a core busy


@dataclass(frozen=True)
class Prediction:
    """An answer about one picture. ``probabilities`` (K,) follows ``class_names``.

    They sum to 1; where a picture may have several labels each is of its class alone, 0 to 1.
    """

    source: ImageSource = field(repr=False)
    class_names: tuple[str, ...] = field(repr=False)
    probabilities: Floats = field(repr=False)
    classifier: Classifier = field(repr=False, compare=False)

    @property
    def index(self) -> int:
        """The number of the likeliest class."""
        return int(self.probabilities.argmax())

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.class_names[self.index]

    @property
    def probability(self) -> float:
        """Its probability, 0 to 1."""
        return float(self.probabilities[self.index])

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes it is of, the likeliest first.

        The one of ``label``; or, where a picture may have several labels, all whose probability is at least the
        threshold that the card has for them: any number, none too.
        """
        card = self.classifier.card
        if not card.multi_label:
            return (self.label,)
        over = self.probabilities >= np.array(card.thresholds)
        return tuple(self.class_names[i] for i in np.argsort(-self.probabilities, kind="stable") if over[i])

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Give the ``k`` likeliest classes with their probabilities, the likeliest first; all where there are fewer."""
        if not isinstance(k, Integral) or k < 1:
            raise GoogLeNetError(f"top takes a whole number of classes, 1 or more, got {k!r}")
        order = np.argsort(-self.probabilities, kind="stable")[: int(k)]
        return [(self.class_names[i], float(self.probabilities[i])) for i in order]

    def heatmap(self, class_name: str | None = None) -> Floats:
        """Show where the evidence for a class lies: (H, W) of the picture, 0 (none) to 1 (most).

        The class activation map of Zhou et al. (*Learning deep features for discriminative localization*, 2016) for
        ``class_name`` (the predicted one unless told). What was cut off is 0. The picture is read again.
        """
        name = self.label if class_name is None else class_name
        if name not in self.class_names:
            raise GoogLeNetError(f"no class is called {name!r}: {nearest(str(name), self.class_names)}")
        return self.classifier.heatmap(self.source, self.class_names.index(name))

    def __repr__(self) -> str:
        if self.classifier.card.multi_label:
            return f"Prediction({self.labels!r})"
        return f"Prediction({self.label!r}, {self.probability:.1%})"


class Classifier:
    """A trained classifier, ready to answer. Made by :func:`load`; safe to share between threads.

    It works with so many ``threads``; one for each core unless told.
    """

    def __init__(self, bundle: Bundle, precision: str | None = None, threads: int | None = None) -> None:
        self.bundle, self.threads = bundle, threads
        self.engine = Engine(bundle, precision or best_precision(bundle), cached=True, threads=threads)

    @property
    def card(self) -> ModelCard:
        """What this classifier is, what it takes and how well it does."""
        return self.bundle.card

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.card.class_names

    def predict(self, source: ImageSource) -> Prediction:
        """Classify one picture: a path, bytes, an open file, a Pillow image or a uint8 array.

        Raises :class:`ImageError` when it cannot be read.
        """
        probabilities = self.engine.probabilities(self.prepare(source)[None])[0]
        return Prediction(source, self.class_names, probabilities, self)

    def predict_many(
        self, sources: Iterable[ImageSource], *, batch_size: int = BATCH
    ) -> Iterator[Prediction | ImageError]:
        """Classify many pictures, in order and in bounded memory: every core decodes and computes.

        For a picture that cannot be read its error is yielded in its place; the rest is delivered.
        """
        for source, answer in self._many(self.engine.probabilities, sources, batch_size):
            yield answer if isinstance(answer, ImageError) else Prediction(source, self.class_names, answer, self)

    def embed_many(self, sources: Iterable[ImageSource], *, batch_size: int = BATCH) -> Iterator[Floats | ImageError]:
        """Give, of many pictures, what the last layer decides by: (D,) each, 1024 features of GoogLeNet.

        As :meth:`predict_many` does. Raises :class:`BundleError` where the network has no such layer.
        """
        if not self.engine.has_embeddings:
            raise BundleError(
                f"{self.bundle.path} gives no embeddings: {self.card.name} does not end in a linear layer, or an "
                "earlier version wrote the bundle"
            )
        return (answer for _, answer in self._many(self.engine.embeddings, sources, batch_size))

    def _many(
        self, infer: Callable[[Pixels, int], Floats], sources: Iterable[ImageSource], batch_size: int
    ) -> Iterator[tuple[ImageSource, Floats | ImageError]]:
        if isinstance(sources, (str, bytes, os.PathLike)) or not isinstance(sources, Iterable):
            raise GoogLeNetError(
                f"many pictures are a list of them, got {type(sources).__name__}: for one, call predict"
            )
        remaining = iter(sources)
        first = list(islice(remaining, batch_size + 1))
        threads = self.threads or cores()
        at_once = threads if len(first) > batch_size else 1  # a few pictures: all cores work on each

        def work(batch: list[ImageSource]) -> list[tuple[ImageSource, Floats | ImageError]]:
            seen = [caught(self.prepare, source) for source in batch]
            readable = [pixels for pixels in seen if not isinstance(pixels, ImageError)]
            answers = iter(infer(np.stack(readable), at_once) if readable else ())
            return [
                (source, pixels if isinstance(pixels, ImageError) else next(answers))
                for source, pixels in zip(batch, seen, strict=True)
            ]

        for results in in_order(work, chain(first, remaining), batch_size, threads):
            yield from results

    def prepare(self, source: ImageSource) -> Pixels:
        """Decode, resize and crop one picture: (size, size, C) uint8, what the network sees."""
        return see(source, self.card.preprocessing)

    def heatmap(self, source: ImageSource, index: int) -> Floats:
        """Give the class activation map of class number ``index``, as :meth:`Prediction.heatmap` does."""
        if not self.engine.has_maps:
            raise BundleError(f"{self.card.name} does not end in pooling and one linear layer: it has no maps")
        evidence = np.maximum(self.engine.maps(self.prepare(source)[None])[0, index], 0)
        evidence = evidence / max(float(evidence.max()), 1e-12)
        height, width = decode(source, self.card.preprocessing.channels).shape[:2]
        return _laid_over(evidence, width, height, self.card.preprocessing)


def _laid_over(evidence: Floats, width: int, height: int, rule: Preprocessing) -> Floats:
    """Enlarge a map (h, w) of what the network saw onto the picture (H, W); 0 where it saw nothing."""
    whole = crop_box(width, height, rule)
    seen = inside(whole, width, height)
    across = evidence.shape[1] / (whole[2] - whole[0])
    down = evidence.shape[0] / (whole[3] - whole[1])
    on_map = (
        (seen[0] - whole[0]) * across, (seen[1] - whole[1]) * down,
        (seen[2] - whole[0]) * across, (seen[3] - whole[1]) * down,
    )  # fmt: skip
    left, top, right, bottom = (round(edge) for edge in seen)
    size = (max(right - left, 1), max(bottom - top, 1))
    enlarged = Image.fromarray(evidence.astype(np.float32)).resize(size, Image.Resampling.BILINEAR, box=on_map)
    heat = np.zeros((height, width), np.float32)
    heat[top : top + size[1], left : left + size[0]] = np.asarray(enlarged)
    return heat


def load(path: str | Path, precision: str | None = None) -> Classifier:
    """Load a trained classifier from a run or a bundle. PyTorch is not needed.

    ``precision`` is ``"fp32"``, ``"bf16"`` or ``"int8"``; unless told, the fastest one that this processor has and
    that was measured to be as right as ``"fp32"``, within 0.5 points (see :func:`googlenet.quantize`).

    Raises :class:`BundleError` when there is none, or it is damaged, foreign or too new; :class:`DeviceError` when
    this processor, or the bundle, lacks the precision.

    ::

        classifier = googlenet.load("runs/flowers")
        print(classifier.predict("daisy.jpg").top(5))
    """
    return Classifier(bundles.read(path), precision)
