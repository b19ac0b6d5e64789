"""Many images explained, each by several methods. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from googlenet.errors import BundleError, GoogLeNetError, ImageError
from googlenet.explaining.branches import Branches, LastModule
from googlenet.explaining.explanation import Explanation
from googlenet.images.decode import ImageSource
from googlenet.inference.classifier import Classifier
from googlenet.inference.explained import GRADIENT_METHODS, METHODS, Question
from googlenet.inference.neighbours import Neighbour
from googlenet.text import nearest

Method = Callable[[Question], Explanation]


@dataclass(frozen=True)
class Explained:
    """What was found of one image and class: a map by each method and, if asked for, what the branches gave.

    ``neighbours`` are the training images most like it, where the bundle keeps them.
    """

    maps: list[Explanation]
    branches: Branches | None = None
    neighbours: list[Neighbour] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """What to explain of each image: a class, by default the predicted one or ones, by which methods."""

    class_name: str | None = None
    against: str | None = None
    methods: Sequence[str] = ()
    branches: bool = False
    module: str | None = None
    stage: str | None = None

    def check(self, classifier: Classifier) -> Request:
        """Return the request with its methods filled in. Raises before an image is read where it cannot be done."""
        every = (*METHODS, *GRADIENT_METHODS)
        if wrong := [name for name in self.methods if name not in every]:
            raise GoogLeNetError(f"no method is called {wrong[0]!r}: {nearest(wrong[0], every)}")
        if self.stage is not None and "gradcam" not in self.methods:
            raise GoogLeNetError("a stage is that of Grad-CAM: add gradcam to the methods, or leave the stage out")
        for name in (self.class_name, self.against):
            if name is not None:
                classifier.index_of(name)
        has_maps = classifier.engine.has_maps
        if "cam" in self.methods and not has_maps:
            raise BundleError(classifier.without_maps())
        if self.module is not None:
            classifier.find_module(self.module)
        elif self.branches:
            LastModule.of(classifier.bundle.network, classifier.card.preprocessing.size)
        methods = tuple(dict.fromkeys(self.methods)) or (classifier.default_method,)
        return replace(self, methods=methods)


def explain_images(
    classifier: Classifier,
    sources: Iterable[ImageSource],
    request: Request,
    progress: Callable[[int, int], object] | None = None,
    others: Mapping[str, Method] | None = None,
) -> Iterator[list[Explained] | ImageError]:
    """Yield for each image its explanations by every method, for each class; or its error where it cannot be read.

    Of a classifier of several labels each predicted one is explained, or where none is, the most probable one.
    ``progress`` is called with (done, total) runs within an image. ``others`` are methods of the request that are not
    the classifier's own.
    """
    for source in sources:
        try:
            names = [request.class_name]
            if classifier.card.multi_label and request.class_name is None:
                names = list(classifier.predict(source).labels) or [None]
            asked = [name for name in names if name is None or name != request.against]
            yield [_explained(classifier, source, name, request, progress, others or {}) for name in asked]
        except ImageError as error:
            yield error


def _explained(
    classifier: Classifier,
    source: ImageSource,
    name: str | None,
    request: Request,
    progress: Callable[[int, int], object] | None,
    others: Mapping[str, Method],
) -> Explained:
    maps = [
        others[method](classifier.question(source, name, request.against))
        if method in others
        else classifier.explain(source, name, against=request.against, method=method, progress=progress)
        for method in request.methods
    ]
    branches = None
    if request.branches or request.module is not None:
        branches = classifier.branches(source, name, against=request.against, module=request.module)
    return Explained(maps, branches, classifier.neighbours(source) if classifier.has_neighbours else [])
