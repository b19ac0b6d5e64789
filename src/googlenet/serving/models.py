"""The models of a server, side by side, each replaced while it serves once a new version has proved itself."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from googlenet import bundle as bundles
from googlenet.bundle import run_name
from googlenet.errors import BundleError, GoogLeNetError
from googlenet.explaining.explanation import Explanation
from googlenet.images.pixels import Pixels, as_shown
from googlenet.inference import conformal
from googlenet.inference.certainty import read_certainty
from googlenet.inference.classifier import Classifier, Prediction
from googlenet.inference.golden import golden
from googlenet.inference.verify import check_answers
from googlenet.parallel import cores
from googlenet.serving.refusal import Refusal
from googlenet.text import nearest, printable

MAX_NAME = 64  # characters
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")
BATCHES = (1, 2, 4)  # images that are computed in one go: the only shapes that the engine meets


@dataclass(frozen=True)
class ServedModel:
    """One version of a model, ready to answer.

    Attributes:
        name: what requests call it.
        classifier: what answers.
        workers: the number of threads that ask it at the same time.
        examples: images that the bundle keeps, (N, size, size, C) uint8.
        scores: of held-out images, for sets of classes; empty where there are none.
        batches: how many images may be computed in one go, 1 among them.
    """

    name: str
    classifier: Classifier
    workers: int
    examples: Pixels = field(repr=False)
    scores: Mapping[str, Any] = field(repr=False, default_factory=dict)
    batches: tuple[int, ...] = BATCHES[:1]

    @property
    def sha256(self) -> str:
        """A hash of everything that its answers depend on."""
        return self.classifier.origin.identity

    @property
    def precision(self) -> str:
        """What it computes in."""
        return self.classifier.engine.precision

    def answer(self, batch: Sequence[Pixels]) -> list[Prediction]:
        """Classify preprocessed images; the answer to each is that of :meth:`Classifier.predict`, bit for bit."""
        found: list[Prediction] = []
        while len(found) < len(batch):
            size = max(each for each in self.batches if each <= len(batch) - len(found))
            part = np.stack(batch[len(found) : len(found) + size])
            found += self.classifier.predict_pixels(part, streams=self.workers)
        return found

    def explain(self, batch: Sequence[tuple[bytes, str]]) -> list[Explanation]:
        """Return what in an image (its bytes) speaks for a class, of several: the class activation maps."""
        return [self.classifier.explain(content, label, method="cam") for content, label in batch]

    @property
    def has_maps(self) -> bool:
        """Whether it can tell where in an image it looked."""
        return self.classifier.engine.has_maps

    @property
    def highest_level(self) -> float | None:
        """The highest level of its sets of classes; ``None`` if it makes none."""
        return conformal.highest_level(len(self.scores[conformal.LAC])) if conformal.LAC in self.scores else None

    def example(self, number: int) -> bytes:
        """Return one of ``examples`` as a PNG; of other channels than grey and RGB the first one or three."""
        content = io.BytesIO()
        Image.fromarray(as_shown(self.examples[number])).save(content, "PNG")
        return content.getvalue()

    def limit_of(self, level: float) -> float:
        """Return the limit of conformal sets at a level.

        Raises :class:`GoogLeNetError` if there are no scores of held-out images, or too few for this level.
        """
        if conformal.LAC not in self.scores:
            raise GoogLeNetError(f"{self.name} makes no sets of classes: leave sets out")
        return conformal.limit(self.scores[conformal.LAC], level)

    def set_of(self, prediction: Prediction, level: float) -> list[str]:
        """Return the conformal set of a prediction, as :meth:`Prediction.set` does, whatever is on the disk by now.

        Raises :class:`GoogLeNetError` as :meth:`limit_of` does.
        """
        return list(prediction.within(self.limit_of(level)))


def load_model(name: str, path: Path, precision: str | None, workers: int) -> ServedModel:
    """Load a bundle, and let it reproduce its golden answers.

    Raises :class:`BundleError` if it is damaged, or answers otherwise than where it was made.
    """
    bundle = bundles.read(path)
    images, expected = golden(bundle)
    certainty = read_certainty(bundle)
    scores = certainty.conformal if certainty else {}
    classifier = Classifier(bundle, precision, threads=cores())  # of all workers together
    model = ServedModel(name, classifier, workers, images, scores)
    alone = model.answer(list(images))
    check_answers(bundle, model.precision, np.stack([each.probabilities for each in alone]), expected)
    batches = _batches(model, alone)
    model.classifier.engine.release()
    return replace(model, batches=batches)


def _batches(model: ServedModel, alone: Sequence[Prediction]) -> tuple[int, ...]:
    """Return the batches in which this processor answers as it does ``alone``, bit for bit, at every place."""
    proven, images = list(model.batches), len(model.examples)
    for size in BATCHES[1:]:
        places = [(first + place) % images for first in range(0, images, size) for place in range(size)]
        beside = replace(model, batches=(size,)).answer(list(model.examples[places]))
        if any(each != alone[place] or each.p_value != alone[place].p_value
               for place, each in zip(places, beside, strict=True)):  # fmt: skip
            break
        proven.append(size)
    return tuple(proven)


class Models:
    """The models of a server by name.

    Args:
        paths: runs or bundles by name.
        precision: as for :func:`googlenet.load`.
        workers: threads that ask at the same time.

    Raises :class:`BundleError` as :func:`load_model` does.
    """

    def __init__(self, paths: Mapping[str, Path], precision: str | None, workers: int) -> None:
        self._paths, self._precision, self.workers = dict(paths), precision, workers
        self._reloading = threading.Lock()
        self._models = {name: self._load(name) for name in paths}

    def _load(self, name: str) -> ServedModel:
        return load_model(name, self._paths[name], self._precision, self.workers)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(list(self._models.values()))

    @property
    def first(self) -> ServedModel:
        """The one that answers where a request names none."""
        return next(iter(self))

    def find(self, name: str | None) -> ServedModel:
        """Return a model by name, by default the first. Raises :class:`Refusal` if there is none of that name."""
        if name is None:
            return self.first
        if name not in self._models:
            advice = nearest(name[:MAX_NAME], self._models)
            raise Refusal(404, "no_model", f"no model is called {printable(name[:MAX_NAME])!r}: {advice}")
        return self._models[name]

    def reload(self) -> dict[str, str]:
        """Load every bundle that has changed on disk, and put it in the old one's place if it proves itself.

        Returns for each model what became of it: ``"unchanged"``, ``"replaced"``, or why the new version was refused
        and the old one stays.
        """
        with self._reloading:
            return {name: self._replaced(name) for name in self._paths}

    def _replaced(self, name: str) -> str:
        old = self._models[name]
        try:
            new = self._load(name)
            if new.sha256 == old.sha256:
                return "unchanged"
        except GoogLeNetError as error:
            return f"refused, the old version stays: {error}"
        self._models[name] = new
        return "replaced"


def named(runs: Sequence[str]) -> dict[str, Path]:
    """Return paths by the names that requests call them: ``NAME=PATH``, or the name of the run's folder.

    Raises :class:`BundleError` for names that occur twice.

    >>> named(["runs/flowers/bundle", "new=runs/a b"])
    {'flowers': PosixPath('runs/flowers/bundle'), 'new': PosixPath('runs/a b')}
    """
    found: dict[str, Path] = {}
    for run in runs:
        before, equals, after = run.partition("=")
        given = equals and not Path(run).exists() and not _NOT_IN_A_NAME.search(before)
        path = Path(after if given else run)
        name = before if given else _name_of(path)
        if name in found:
            raise BundleError(f"two models are called {name}: name one by NAME={printable(str(path))}")
        found[name] = path
    return found


def _name_of(path: Path) -> str:
    return _NOT_IN_A_NAME.sub("-", run_name(path))[:MAX_NAME].strip("-") or "model"
