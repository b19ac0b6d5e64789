"""The part of a prediction that explains it, by the classifier that made it. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from googlenet.errors import UnreadableImageError
from googlenet.images.decode import ImageSource
from googlenet.inference.engine import Floats
from googlenet.inference.neighbours import COUNT, Neighbour

if TYPE_CHECKING:
    from googlenet.explaining.branches import Branches
    from googlenet.explaining.explanation import Explanation
    from googlenet.inference.classifier import Classifier


class WithExplanation:
    """What explains a prediction: its part of :class:`~googlenet.inference.classifier.Prediction`."""

    source: ImageSource | None

    if TYPE_CHECKING:  # the prediction's own

        @property
        def label(self) -> str: ...  # noqa: D102

        def _classifier(self) -> Classifier: ...

    def explain(
        self, class_name: str | None = None, *, against: str | None = None, method: str | None = None
    ) -> Explanation:
        """Return what in the image speaks for a class, by default the predicted one: see :meth:`Classifier.explain`.

        The image is read again by the classifier that made the prediction, or, if that is gone, by its bundle loaded
        again. Raises what that raises, and :class:`BundleError` if the bundle is gone or has changed.

        ::

            prediction.explain(against="rose").save("why.png")
        """
        source = self._kept_source("explain")
        name = self.label if class_name is None else class_name
        return self._classifier().explain(source, name, against=against, method=method)

    def branches(
        self, class_name: str | None = None, *, against: str | None = None, module: str | None = None
    ) -> Branches:
        """Return how much each branch of a module gave to a class: see :meth:`Classifier.branches`."""
        source, name = self._kept_source("branches"), self.label if class_name is None else class_name
        return self._classifier().branches(source, name, against=against, module=module)

    def neighbours(self, count: int = COUNT) -> list[Neighbour]:
        """Return the training images that are most like the image, to the network: see :meth:`Classifier.neighbours`.

        ::

            [(each.name, each.labels, each.similarity) for each in prediction.neighbours()]
        """
        return self._classifier().neighbours(self._kept_source("neighbours"), count)

    def heatmap(self, class_name: str | None = None) -> Floats:
        """Return where the evidence for a class lies: (H, W) of the image, from 0 (none) to 1 (most).

        This is the class activation map of Zhou et al. (*Learning deep features for discriminative localization*,
        2016) for ``class_name``, by default the predicted class, without what speaks against it: :meth:`explain` has
        that, too. It is 0 outside of the crop that the network saw. The image is read again by the classifier that
        made the prediction, or, if that is gone, by its bundle loaded again.

        Raises :class:`ImageError` if the image cannot be read again, :class:`BundleError` if the network has no class
        activation maps, or the bundle is gone or has changed.
        """
        source = self._kept_source("heatmap")
        return self._classifier().heatmap(source, self.label if class_name is None else class_name)

    def _kept_source(self, method: str) -> ImageSource:
        if self.source is None:
            raise UnreadableImageError(
                "the image came from an open file, which is not pickled with its prediction: call "
                f"{method} of the classifier with the image"
            )
        return self.source
