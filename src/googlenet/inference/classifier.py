"""``googlenet.load``: a classifier that takes images and returns predictions. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, overload
from weakref import WeakValueDictionary

import numpy as np

from googlenet.bundle import Bundle
from googlenet.card import ModelCard
from googlenet.dataframes import to_html
from googlenet.errors import BundleError, GoogLeNetError, ImageError, UnreadableImageError
from googlenet.images.decode import ImageSource, Pixels
from googlenet.images.resize import load_image
from googlenet.inference.batches import BATCH, all_read, answer_many, whole_count
from googlenet.inference.certainty import WithCertainty, read_certainty
from googlenet.inference.engine import Engine, Floats, best_precision
from googlenet.inference.explained_again import WithExplanation
from googlenet.inference.explained_neighbours import ExplainsNeighbours
from googlenet.inference.origin import Origin, identity, read_again
from googlenet.inference.sources import comparable, picklable
from googlenet.text import escape_surrogates, printable

__all__ = ["BATCH", "Classifier", "Origin", "Prediction"]


@dataclass(frozen=True, eq=False)
class Prediction(WithCertainty, WithExplanation):
    """The prediction for one image. ``probabilities`` (K,) is in the order of ``class_names`` and read-only.

    The probabilities sum to 1. For a multi-label classifier each is independent, from 0 to 1. ``p_value`` is the share
    of known images that are at least as unusual as this one, 0 to 1; ``None`` if the bundle does not tell. ``head`` is
    the auxiliary head that answered (:func:`load` with ``exit``), ``None`` for the full network.

    A prediction is a value: it can be compared, hashed, copied, pickled and kept without its classifier. Two are equal
    if their images, classes and probabilities are. An open file that was passed as the image is not pickled.
    """

    source: ImageSource | None = field(repr=False)
    class_names: tuple[str, ...] = field(repr=False)
    probabilities: Floats = field(repr=False)
    thresholds: tuple[float, ...] = field(repr=False)  # one per class, for multi-label classifiers only
    origin: Origin = field(repr=False)
    p_value: float | None = field(default=None, repr=False)
    head: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.probabilities.flags.writeable = False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prediction):
            return NotImplemented
        mine, others = (
            (each.class_names, each.thresholds, each.probabilities.tobytes(), comparable(each.source))
            for each in (self, other)
        )
        return mine == others

    def __hash__(self) -> int:
        return hash((self.class_names, self.probabilities.tobytes()))

    def __copy__(self) -> Prediction:
        return self  # immutable

    def __deepcopy__(self, memo: object) -> Prediction:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        kept = (self.class_names, self.probabilities, self.thresholds, self.origin, self.p_value, self.head)
        return Prediction, (picklable(self.source), *kept)

    @property
    def index(self) -> int:
        """Index of the most likely class."""
        return int(self.probabilities.argmax())

    @property
    def label(self) -> str:
        """The most likely class."""
        return self.class_names[self.index]

    @property
    def probability(self) -> float:
        """Probability of the most likely class, 0 to 1."""
        return float(self.probabilities[self.index])

    @property
    def labels(self) -> tuple[str, ...]:
        """The predicted classes, the most likely first.

        For a multi-label classifier these are all classes whose probability reaches the threshold on the card: any
        number, or none. Otherwise it is ``label`` alone.
        """
        if not self.thresholds:
            return (self.label,)
        over = self.probabilities >= np.array(self.thresholds)
        return tuple(self.class_names[i] for i in np.argsort(-self.probabilities, kind="stable") if over[i])

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Return the ``k`` most likely classes and their probabilities, the most likely first, or all if fewer."""
        order = np.argsort(-self.probabilities, kind="stable")[: whole_count(k, "top takes a whole number of classes")]
        return [(self.class_names[i], float(self.probabilities[i])) for i in order]

    def _classifier(self) -> Classifier:
        return _living.get(self.origin) or _loaded_again(self.origin)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for ``json.dumps``: the path where there is one, and all classes, the most likely first.

        ::

            prediction.to_dict()["predictions"][0]  # {"class": "daisy", "probability": 0.98}
        """
        path = os.fspath(self.source) if isinstance(self.source, (str, os.PathLike)) else None
        return {
            "path": None if path is None else escape_surrogates(path),
            "label": escape_surrogates(self.label),
            "probability": self.probability,
            "labels": [escape_surrogates(name) for name in self.labels],
            "predictions": [
                {"class": escape_surrogates(name), "probability": probability}
                for name, probability in self.top(len(self.class_names))
            ],
        }

    def __repr__(self) -> str:
        if self.thresholds:
            return f"Prediction({self.labels!r})"
        return f"Prediction({self.label!r}, {self.probability:.1%})"

    def _repr_html_(self) -> str:
        rows = [{"class": name, "probability": f"{probability:.1%}"} for name, probability in self.top()]
        return to_html(", ".join(self.labels) or "no label", rows)


class Classifier(ExplainsNeighbours):
    """A trained classifier, made by :func:`load`. It can be shared between threads.

    ``threads`` is the number of threads it computes with, by default one per core; ``origin`` is what its predictions
    know it by. A pickle of it holds the path of the bundle and the precision; the same bundle must be there when it is
    unpickled, which is checked.
    """

    def __init__(self, bundle: Bundle, precision: str | None = None, threads: int | None = None,
                 device: str = "cpu") -> None:  # fmt: skip
        self.bundle, self.threads = bundle, threads
        chosen = best_precision(bundle) if precision is None and device == "cpu" else precision
        self.engine = Engine(bundle, chosen, cached=True, threads=threads, device=device)
        self.origin = Origin(bundle.path.absolute(), identity(bundle.card), self.engine.precision, threads, device)
        _living[self.origin] = self
        certainty = read_certainty(bundle)
        self._detector = certainty.detector if certainty and self.engine.has_embeddings else None

    def __reduce__(self) -> tuple[Any, ...]:
        if type(self.bundle) is Bundle:
            return _load_again, (self.origin,)
        # Its files are in memory.
        return Classifier, (self.bundle, self.engine.precision, self.threads, self.engine.device)

    def __repr__(self) -> str:
        path = printable(str(self.bundle.path))
        return f"Classifier({path!r}, {self.engine.precision}, {len(self.class_names)} classes)"

    @property
    def card(self) -> ModelCard:
        """The card of its bundle: classes, preprocessing, metrics."""
        return self.bundle.card

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.card.class_names

    @property
    def tells_unknown(self) -> bool:
        """Whether its predictions have a ``p_value``, and so can be unknown."""
        return self._detector is not None

    @overload
    def predict(self, source: ImageSource) -> Prediction: ...

    @overload
    def predict(self, source: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...

    def predict(self, source: ImageSource | list[Any] | tuple[Any, ...]) -> Prediction | list[Prediction]:
        """Classify an image, or a list of them: path, bytes, open file, Pillow image or uint8 array (H, W, C).

        Raises :class:`ImageError` if one cannot be read; :meth:`predict_many` continues with the others.

        ::

            classifier.predict("daisy.jpg").label
            [prediction.label for prediction in classifier.predict(["daisy.jpg", "rose.jpg"])]
        """
        if isinstance(source, (list, tuple)):
            return list(all_read(self.predict_many(source)))
        return self._prediction(source, self._answers(self.preprocess(source)[None])[0])

    def predict_pixels(self, pixels: Pixels, streams: int = 1) -> list[Prediction]:
        """Classify images that :meth:`preprocess` returned: (N, size, size, C) uint8. ``source`` is ``None``.

        ``streams`` is the number of threads that call this at the same time, each of which then has its share of the
        cores; 1: all cores work on each call.

        ::

            classifier.predict_pixels(np.stack([classifier.preprocess("daisy.jpg")]))[0].label
        """
        return [self._prediction(None, answer) for answer in self._answers(pixels, streams)]

    def probabilities(self, sources: Iterable[ImageSource]) -> Floats:
        """Return the probabilities of images: (N, K) float32, one row per image, in the order of ``class_names``.

        Raises :class:`ImageError` if one cannot be read.

        ::

            classifier.probabilities(["daisy.jpg", "rose.jpg"]).argmax(axis=1)
        """
        rows: list[Floats] = list(all_read(row for _, row in self._many(self.engine.probabilities, sources, BATCH)))
        return np.stack(rows) if rows else np.empty((0, len(self.class_names)), np.float32)

    def embed(self, source: ImageSource | list[Any] | tuple[Any, ...]) -> Floats:
        """Return the features before the last layer: (D,) float32 for an image, (N, D) for a list.

        D is 1024 for GoogLeNet. Raises :class:`ImageError` if an image cannot be read, :class:`BundleError` if the
        network does not end in a linear layer.

        ::

            daisy, rose = classifier.embed(["daisy.jpg", "rose.jpg"])
            cosine = daisy @ rose / np.linalg.norm(daisy) / np.linalg.norm(rose)
        """
        if not isinstance(source, (list, tuple)):
            self._require_embeddings()
            return np.asarray(self.engine.embeddings(self.preprocess(source)[None])[0])
        rows: list[Floats] = list(all_read(self.embed_many(source)))
        return np.stack(rows) if rows else self.engine.embeddings(np.zeros((1, *self.engine.image), np.uint8))[:0]

    def predict_many(
        self, sources: Iterable[ImageSource], *, batch_size: int = BATCH
    ) -> Iterator[Prediction | ImageError]:
        """Classify many images on all cores, in order and in bounded memory.

        An image that cannot be read yields its error in place of a prediction.

        ::

            for answer in classifier.predict_many(Path("photos").rglob("*.jpg")):
                print(answer)
        """
        return (
            answer if isinstance(answer, ImageError) else self._prediction(source, answer)
            for source, answer in self._many(self._answers, sources, batch_size)
        )

    def embed_many(self, sources: Iterable[ImageSource], *, batch_size: int = BATCH) -> Iterator[Floats | ImageError]:
        """Yield the features before the last layer for many images, (D,) each, as :meth:`predict_many` does.

        Raises :class:`BundleError` if the network does not end in a linear layer.
        """
        self._require_embeddings()
        return (answer for _, answer in self._many(self.engine.embeddings, sources, batch_size))

    def _require_embeddings(self) -> None:
        if not self.engine.has_embeddings:
            raise BundleError(
                f"{self.bundle.path} has no embeddings: {self.card.name} does not end in a linear layer, or an earlier "
                "version wrote the bundle"
            )

    def _answers(self, batch: Pixels, streams: int = 1) -> Floats:
        """(N, size, size, C) uint8 → (N, K) probabilities, or (N, K + 1) with the p-value of each image."""
        if self._detector is None:
            return self.engine.probabilities(batch, streams)
        probabilities, embeddings = self.engine.probabilities_and_embeddings(batch, streams)
        # Row by row: a matrix product of many rows is not that of one, bit for bit.
        rows = zip(embeddings[:, None], probabilities[:, None], strict=True)
        p_values = [self._detector.p_values(*row) for row in rows]
        return np.concatenate([probabilities, np.reshape(p_values, (-1, 1))], axis=1, dtype=np.float32)

    def _prediction(self, source: ImageSource | None, answer: Floats) -> Prediction:
        count = len(self.class_names)
        p_value = round(float(answer[count]), 6) if len(answer) > count else None
        return Prediction(source, self.class_names, answer[:count], self.card.thresholds, self.origin, p_value)

    def _many(
        self, infer: Callable[[Pixels, int], Floats], sources: Iterable[ImageSource], batch_size: int
    ) -> Iterator[tuple[ImageSource, Floats | ImageError]]:
        if isinstance(sources, (str, bytes, os.PathLike)) or not isinstance(sources, Iterable):
            raise GoogLeNetError(f"many images are a list of them, got {type(sources).__name__}: for one, call predict")
        batch_size = whole_count(batch_size, "batch_size is a whole number of images")
        return answer_many(self.preprocess, infer, sources, batch_size, self.threads)

    def preprocess(self, source: ImageSource) -> Pixels:
        """Decode, resize and crop one image: (size, size, C) uint8, what the network sees."""
        if isinstance(source, str) and not source:
            raise UnreadableImageError("an empty path names no image: give the path of one")
        return load_image(source, self.card.preprocessing)


# Predictions that were pickled, or outlived their classifier, find one here.
_living: WeakValueDictionary[Origin, Classifier] = WeakValueDictionary()


def _load_again(origin: Origin) -> Classifier:
    return Classifier(read_again(origin), origin.precision, origin.threads, origin.device)


_loaded_again = lru_cache(maxsize=1)(_load_again)  # kept for the heat maps of many predictions
