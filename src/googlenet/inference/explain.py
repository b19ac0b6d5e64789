"""``googlenet.explain`` for one image, and what the command does for many. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from googlenet.errors import BundleError, GoogLeNetError, ImageError
from googlenet.explaining.branches import Branches, LastModule
from googlenet.explaining.explanation import Explanation
from googlenet.images.decode import ImageSource
from googlenet.inference.classifier import Classifier
from googlenet.inference.crops import load
from googlenet.inference.explained import METHODS
from googlenet.inference.neighbours import Neighbour
from googlenet.text import nearest


def explain(
    run: str | Path,
    source: ImageSource,
    class_name: str | None = None,
    *,
    against: str | None = None,
    method: str | None = None,
    precision: str | None = None,
) -> Explanation:
    """Return what in an image speaks for a class and what against it, with a classifier loaded for it.

    Args:
        run: a run of ``train``, or a bundle.
        source, class_name, against, method: as for :meth:`Classifier.explain`, which is quicker for many images.
        precision: as for :func:`googlenet.load`.

    Raises:
        BundleError: there is no bundle, it is damaged, or it has no class activation maps.
        ImageError: the image cannot be read.
        GoogLeNetError: there is no such class or method, or the network's map is 1×1, which tells nothing.

    ::

        googlenet.explain("runs/flowers", "daisy.jpg").save("why.png")
    """
    return load(run, precision).explain(source, class_name, against=against, method=method)


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

    def check(self, classifier: Classifier) -> Request:
        """Return the request with its methods filled in. Raises before an image is read where it cannot be done."""
        if wrong := [name for name in self.methods if name not in METHODS]:
            raise GoogLeNetError(f"no method is called {wrong[0]!r}: {nearest(wrong[0], METHODS)}")
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
) -> Iterator[list[Explained] | ImageError]:
    """Yield for each image its explanations by every method, for each class; or its error where it cannot be read.

    Of a classifier of several labels each predicted one is explained, or where none is, the most probable one.
    ``progress`` is called with (done, total) runs within an image.
    """
    for source in sources:
        try:
            names = [request.class_name]
            if classifier.card.multi_label and request.class_name is None:
                names = list(classifier.predict(source).labels) or [None]
            asked = [name for name in names if name is None or name != request.against]
            yield [_explained(classifier, source, name, request, progress) for name in asked]
        except ImageError as error:
            yield error


def _explained(
    classifier: Classifier,
    source: ImageSource,
    name: str | None,
    request: Request,
    progress: Callable[[int, int], object] | None,
) -> Explained:
    maps = [
        classifier.explain(source, name, against=request.against, method=method, progress=progress)
        for method in request.methods
    ]
    branches = None
    if request.branches or request.module is not None:
        branches = classifier.branches(source, name, against=request.against, module=request.module)
    return Explained(maps, branches, classifier.neighbours(source) if classifier.has_neighbours else [])
