"""The part of a classifier that explains answers. No torch.

What explains is imported when it is asked to: whoever only wants an answer does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from googlenet.bundle import Bundle
from googlenet.card import FAILS, ModelCard
from googlenet.errors import BundleError, GoogLeNetError, UnreadableImageError
from googlenet.images.decode import ImageSource, Pixels, decode
from googlenet.images.resize import open_for, resize_and_crop
from googlenet.inference.engine import Engine, Floats
from googlenet.text import nearest, printable

if TYPE_CHECKING:
    from googlenet.explaining.explanation import Asked, Explanation
    from googlenet.explaining.perturbing import Found

METHODS = ("cam", "occlusion", "rise")
GRADIENT_METHODS = ("gradcam", "ig")  # of googlenet.gradients: they need PyTorch and the weights
SMALL = "_small"  # end of the names of networks for small images


@dataclass(frozen=True)
class Question:
    """An image as the network sees it, the classes in question, and where in the image that part lies."""

    source: ImageSource
    pixels: Pixels
    box: tuple[float, float, float, float]
    probabilities: Floats  # (K,)
    index: int
    against: int | None


def check_method(method: str) -> None:
    """Raise :class:`GoogLeNetError` if the graph of a bundle has no such method."""
    if method in GRADIENT_METHODS:
        raise GoogLeNetError(
            f"{method} needs PyTorch and the weights: googlenet.explain(RUN, image, method={method!r}), or one of "
            f"{', '.join(METHODS)}"
        )
    if method not in METHODS:
        raise GoogLeNetError(f"no method is called {method!r}: {nearest(str(method), METHODS)}")


class Explains:
    """What explains answers: a part of :class:`~googlenet.inference.classifier.Classifier`."""

    bundle: Bundle
    engine: Engine

    if TYPE_CHECKING:  # the classifier's own

        @property
        def card(self) -> ModelCard: ...  # noqa: D102

        @property
        def class_names(self) -> tuple[str, ...]: ...  # noqa: D102

        def preprocess(self, source: ImageSource) -> Pixels: ...  # noqa: D102

    def explain(
        self,
        source: ImageSource,
        class_name: str | None = None,
        *,
        against: str | None = None,
        method: str | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> Explanation:
        """Return what in an image speaks for a class and what against it.

        Args:
            source: an image, as :meth:`predict` takes it.
            class_name: the class to explain, by default the predicted one.
            against: another class: then it is what speaks for ``class_name`` rather than for this one.
            method: ``"cam"``, the class activation map (Zhou et al., *Learning deep features for discriminative
                localization*, 2016), which is exact and as fast as a prediction; ``"occlusion"`` (Zeiler & Fergus,
                2014), ``"rise"`` (Petsiuk et al., 2018), which run the network some hundreds of times. By default
                ``"cam"`` where the network has one, else ``"occlusion"``; none that
                :func:`googlenet.check_explanations` found to fail.
            progress: called with (done, total) runs by the methods that need many.

        Raises:
            ImageError: the image cannot be read.
            GoogLeNetError: there is no such class or method, or the network's map is 1×1, which tells nothing.
            BundleError: ``"cam"`` of a network that has no class activation maps.

        ::

            explanation = classifier.explain("daisy.jpg", against="rose")
            print(explanation.sentence)
            explanation.save("why.png")
        """
        method = method or self.default_method
        check_method(method)
        names = [self.index_of(name) if name is not None else None for name in (class_name, against)]
        if method == "cam":
            self._require_maps()
        pixels, box = self._as_seen(source)
        if method == "cam":
            probabilities, maps = self.engine.probabilities_and_maps(pixels[None])
        else:
            probabilities, maps = self.engine.probabilities(pixels[None]), None
        index = self._asked_index(probabilities[0], names)
        question = Question(source, pixels, box, probabilities[0], index, names[1])
        if maps is not None:
            return self._by_maps(question, maps[0])
        return self._by_covering(question, method, progress)

    def question(self, source: ImageSource, class_name: str | None = None, against: str | None = None) -> Question:
        """Read an image and answer it, for a method that explains it in another way. Raises as :meth:`explain` does."""
        names = [self.index_of(name) if name is not None else None for name in (class_name, against)]
        pixels, box = self._as_seen(source)
        probabilities = self.engine.probabilities(pixels[None])[0]
        return Question(source, pixels, box, probabilities, self._asked_index(probabilities, names), names[1])

    def _asked_index(self, probabilities: Floats, names: list[int | None]) -> int:
        index = int(probabilities.argmax()) if names[0] is None else names[0]
        if index == names[1]:
            raise GoogLeNetError(f"{printable(self.class_names[index])!r} cannot be explained against itself: name two")
        return index

    def _by_maps(self, question: Question, maps: Floats) -> Explanation:
        if maps.shape[1:] == (1, 1):
            raise GoogLeNetError(self._too_small())
        values = maps[question.index] - (0 if question.against is None else maps[question.against])
        total = float(values.mean(dtype=np.float64))
        precision = self.engine.maps_precision
        notes = list(self._means_of(precision))
        if precision != self.engine.precision:
            notes.append(f"The answer is of the {self.engine.precision} graph, the map of the {precision} one.")
        found = self.explanation(question, values, total, "cam", "logit", precision)
        return replace(found, temperature=self.temperature_of(question.index), notes=tuple(notes))

    def _means_of(self, precision: str) -> list[str]:
        """Say of what the maps are means, where the answer is one of several answers."""
        of = [f"{self.engine.members} networks"] if self.engine.members > 1 else []
        of += ["the image and its mirror image"] if self.card.mirror else []
        if not of:
            return []
        return [f"The map is the mean over {' and over '.join(of)}, and so is its logit; the answer is the mean of "
                "their probabilities."]  # fmt: skip

    def _by_covering(
        self, question: Question, method: str, progress: Callable[[int, int], object] | None
    ) -> Explanation:
        found = self.evidence(question.pixels, method, question.index, question.against, progress)
        explained = self.explanation(question, found.values, found.score, method, "log-odds", self.engine.precision)
        return replace(explained, noise=found.noise)

    def evidence(
        self,
        pixels: Pixels,
        method: str,
        index: int,
        against: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> Found:
        """Return what speaks for a class in an image as the network sees it, (S, S, C): values, noise and score."""
        from googlenet.explaining import perturbing

        if method == "cam":
            maps = self.engine.maps(pixels[None])[0]
            values = maps[index] - (0 if against is None else maps[against])
            return perturbing.Found(values, 0.0, float(values.mean(dtype=np.float64)))

        def score(batch: Pixels) -> Any:
            return perturbing.log_odds(self.engine.probabilities(batch), index, against, self.card.multi_label)

        run = perturbing.occlusion if method == "occlusion" else perturbing.rise
        return run(pixels, score, self.cover, progress)

    @property
    def cover(self) -> Pixels:
        """The colour (C,) that parts of an image are covered with: the mean of those the network was trained on."""
        return np.round(255 * np.clip(self.card.preprocessing.mean, 0, 1)).astype(np.uint8)

    @property
    def default_method(self) -> str:
        """The method to explain by where none is named: the first that no check on the user's images has refuted."""
        offered = METHODS if self.engine.has_maps else METHODS[1:]
        return next((name for name in offered if self.card.explanations.get(name) != FAILS), offered[0])

    def explanation(
        self, question: Question, values: Floats, total: float, method: str, unit: str, precision: str
    ) -> Explanation:
        """Return what a method found, (h, w) values on a grid over what the network saw."""
        from googlenet.explaining.explanation import Explanation

        values = np.array(values, np.float32)
        return Explanation(values, self._asked(question), method, unit, precision, total, question.box,
                           self.card.preprocessing, question.source)  # fmt: skip

    def _asked(self, question: Question) -> Asked:
        from googlenet.explaining.explanation import Asked

        names, probabilities = self.class_names, question.probabilities
        answer, against = int(probabilities.argmax()), question.against
        return Asked(
            names[question.index], float(probabilities[question.index]), names[answer], float(probabilities[answer]),
            None if against is None else names[against], None if against is None else float(probabilities[against]),
        )  # fmt: skip

    def _as_seen(self, source: ImageSource) -> tuple[Pixels, tuple[float, float, float, float]]:
        """Return what :meth:`preprocess` does, and which part of the image that is."""
        from googlenet.explaining.projection import relative_box

        if isinstance(source, str) and not source:
            raise UnreadableImageError("an empty path names no image: give the path of one")
        opened = open_for(source, self.card.preprocessing)
        height, width = opened.shape[:2] if isinstance(opened, np.ndarray) else opened.size[::-1]
        box = relative_box(width, height, self.card.preprocessing)
        return resize_and_crop(opened, self.card.preprocessing), box

    def index_of(self, name: str) -> int:
        """Return the index of a class. Raises :class:`GoogLeNetError` naming the nearest where there is none."""
        if name not in self.class_names:
            raise GoogLeNetError(f"no class is called {name!r}: {nearest(str(name), self.class_names)}")
        return self.class_names.index(name)

    def without_maps(self) -> str:
        """Say that the network has no class activation maps, and what to do."""
        return (
            f"{printable(self.card.name)} does not end in pooling and one linear layer: it has no maps; explain it by "
            "occlusion"
        )

    def _require_maps(self) -> None:
        if not self.engine.has_maps:
            raise BundleError(self.without_maps())

    def temperature_of(self, index: int) -> float:
        """Return what calibration divides the logit of a class by; 1 where each of several networks has its own."""
        found = self.card.temperature
        if self.engine.members > 1:
            return 1.0
        return found[index] if isinstance(found, tuple) else float(found)

    def _too_small(self) -> str:
        from googlenet.models.zoo import NETWORKS

        name, size = self.card.name, self.card.preprocessing.size
        small = f"{name}{SMALL}" if f"{name}{SMALL}" in NETWORKS else "googlenet_small"
        return (
            f"the map of {printable(name)} at {size} px is 1×1, which says nothing about where: train with a larger "
            f"--image-size or --network {small}, or explain it by occlusion (--methods occlusion)"
        )

    def heatmap(self, source: ImageSource, class_name: str | None = None) -> Floats:
        """Return where the evidence for a class lies in an image, as :meth:`Prediction.heatmap` does.

        ::

            classifier.heatmap("daisy.jpg", "daisy").shape  # (H, W) of the image
        """
        from googlenet.explaining.projection import lay_over

        if class_name is None:
            pixels = self.preprocess(source)
            index = int(self.engine.probabilities(pixels[None])[0].argmax())
        else:
            index, pixels = self.index_of(class_name), None
        self._require_maps()
        pixels = self.preprocess(source) if pixels is None else pixels
        evidence = np.maximum(self.engine.maps(pixels[None])[0, index], 0)
        evidence = evidence / max(float(evidence.max()), 1e-12)
        height, width = decode(source, self.card.preprocessing.channels).shape[:2]
        return lay_over(evidence, width, height, self.card.preprocessing)
