"""The part of a classifier that tells what the branches of a module gave to a class. No torch.

What explains is imported when it is asked to: whoever only wants an answer does not wait for it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from googlenet.bundle import MODEL
from googlenet.errors import GoogLeNetError
from googlenet.images.decode import ImageSource
from googlenet.inference.explained import Explains, Question
from googlenet.inference.unknown import Detector

if TYPE_CHECKING:
    from googlenet.explaining.branches import Branches, LastLayer, LastModule
    from googlenet.inference.cut import Cut


class ExplainsBranches(Explains):
    """What explains answers by branches: a part of :class:`~googlenet.inference.classifier.Classifier`."""

    _detector: Detector | None
    _last_cut: tuple[str, Cut] | None = None

    def branches(
        self,
        source: ImageSource,
        class_name: str | None = None,
        *,
        against: str | None = None,
        module: str | None = None,
    ) -> Branches:
        """Return how much each branch of a module gave to a class.

        By default of the last module, exactly: the parts and the bias are the logit. That needs a last module that
        joins its branches by plain concatenation, as in GoogLeNet, Inception v2, v3 and v4. For a ``module`` that is
        named, they are Shapley values: the rest of the network runs once for every set of branches.

        Args:
            source: an image, as :meth:`predict` takes it.
            class_name: the class to explain, by default the predicted one.
            against: another class: then it is what the branches gave to ``class_name`` rather than to this one.
            module: the name of a module with branches, such as ``"inception_4a"``.

        Raises:
            ImageError: the image cannot be read.
            NetworkError: there is no such module.
            GoogLeNetError: there is no such class, or the branches of this network have no exact parts.

        ::

            classifier.branches("daisy.jpg").save("branches.png")
        """
        divide = self._by_sum if module is None else partial(self._by_shapley, self.find_module(module))
        return divide(self.question(source, class_name, against))

    def _by_sum(self, question: Question) -> Branches:
        module, last = self._branching
        maps, embeddings = self.engine.maps_and_embeddings(question.pixels[None])
        index, against = question.index, question.against
        parts = last.parts(embeddings[0], index, against, module.channels)
        total = maps[0, index] - (0 if against is None else maps[0, against])
        average = None
        if self._detector is not None and len(self._detector.centre) == embeddings.shape[1]:
            average = np.array(last.parts(self._detector.centre, index, against, module.channels), np.float32)
        found = self._branches(question, module, parts, last.bias(index, against), float(total.mean(dtype=np.float64)))
        return replace(found, average=average, precision=self.engine.maps_precision)

    def _by_shapley(self, module: LastModule, question: Question) -> Branches:
        from googlenet.explaining.shapley import shapley

        index, against = question.index, question.against
        cut = self._cut(module.stage)

        def value(joined: Any) -> Any:
            logits = cut.after(joined, question.pixels)
            return logits[:, index] - (0 if against is None else logits[:, against])

        joined = cut.before(question.pixels[None])
        parts, rest = shapley(joined[0], module.channels, value)
        return replace(self._branches(question, module, parts, rest, float(value(joined)[0])), method="shapley")

    def _branches(self, question: Question, module: LastModule, parts: Any, rest: float, total: float) -> Branches:
        from googlenet.explaining.branches import Branches

        stages = [stage.name for stage in self.bundle.network.stages]
        before = stages[: stages.index(module.stage.partition(".")[0])]
        return Branches(
            self._asked(question), module.stage, module.names, np.array(parts, np.float32), rest, total, None,
            tuple(before), preprocessing=self.card.preprocessing, source=question.source,
        )  # fmt: skip

    def find_module(self, name: str) -> LastModule:
        """Return a module that can be switched off branch by branch. Raises :class:`GoogLeNetError` otherwise."""
        from googlenet.explaining.shapley import find_module

        found = find_module(self.bundle.network, self.card.preprocessing.size, name)
        self._require_maps()
        if self.card.mirror or self.engine.members > 1:
            over = "the image and its mirror image" if self.card.mirror else "several networks"
            raise GoogLeNetError(
                f"Shapley values are of one network and one image, and this answer is a mean over {over}: leave the "
                "module out, or explain one of the folds"
            )
        return found

    def _cut(self, name: str) -> Cut:
        """Return the graph cut after a node; the last one is kept for the next image."""
        from googlenet.inference.cut import Cut

        if self._last_cut is None or self._last_cut[0] != name:
            self._last_cut = (name, Cut(self.bundle, name))
        return self._last_cut[1]

    @cached_property
    def _branching(self) -> tuple[LastModule, LastLayer]:
        """The last module, and the layer after it. Raises :class:`GoogLeNetError` where branches have no parts."""
        from googlenet.checks.onnx_graph import read_constants
        from googlenet.explaining.branches import LastLayer, LastModule

        network = self.bundle.network
        module = LastModule.of(network, self.card.preprocessing.size)
        constants = read_constants(self.bundle.read(MODEL))
        return module, LastLayer.of(constants, network.stages[-1].name, self.engine.members)
