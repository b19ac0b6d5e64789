"""``googlenet.explain``: every method for one image. PyTorch is imported only for those that need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from googlenet.bundle import WEIGHTS
from googlenet.errors import BundleError, GoogLeNetError
from googlenet.explaining.explanation import Explanation
from googlenet.explaining.stage_maps import check_places
from googlenet.extras import require
from googlenet.images.decode import ImageSource
from googlenet.inference.classifier import Classifier
from googlenet.inference.crops import load
from googlenet.inference.explained import GRADIENT_METHODS, METHODS, Question
from googlenet.stages import stage as named_stage
from googlenet.text import nearest, printable


def explain(
    run: str | Path,
    source: ImageSource,
    class_name: str | None = None,
    *,
    against: str | None = None,
    method: str | None = None,
    stage: str | None = None,
    precision: str | None = None,
) -> Explanation:
    """Return what in an image speaks for a class and what against it, with a classifier loaded for it.

    Args:
        run: a run of ``train``, or a bundle.
        source, class_name, against: as for :meth:`Classifier.explain`, which is quicker for many images.
        method: as there; or ``"gradcam"``, Grad-CAM (Selvaraju et al., 2017), and ``"ig"``, integrated gradients
            (Sundararajan et al., 2017), which need PyTorch, captum and the weights of the bundle.
        stage: whose maps Grad-CAM weights, by default the last one with more than one place.
        precision: as for :func:`googlenet.load`; gradients are always those of the network in fp32.

    Raises:
        BundleError: there is no bundle, it is damaged, or it lacks the class activation maps or weights asked for.
        ImageError: the image cannot be read.
        NetworkError: the network has no such stage.
        GoogLeNetError: there is no such class or method, or the map is 1×1, which tells nothing.
        MissingExtraError: PyTorch or captum is not installed.

    ::

        googlenet.explain("runs/flowers", "daisy.jpg").save("why.png")
        googlenet.explain("runs/flowers", "daisy.jpg", method="gradcam", stage="inception_4e").save("why at 4e.png")
    """
    if method is not None and method not in (*METHODS, *GRADIENT_METHODS):
        every = (*METHODS, *GRADIENT_METHODS)
        raise GoogLeNetError(f"no method is called {method!r}: {nearest(str(method), every)}")
    if stage is not None and method != "gradcam":
        raise GoogLeNetError("stage is that of Grad-CAM: give method='gradcam', or leave stage out")
    classifier = load(run, precision)
    others = gradient_methods(classifier, [method] if method else [], stage)
    if method in others:
        return others[method](classifier.question(source, class_name, against))
    return classifier.explain(source, class_name, against=against, method=method)


def gradient_methods(
    classifier: Classifier, methods: Sequence[str], stage: str | None = None
) -> dict[str, Callable[[Question], Explanation]]:
    """Return those of the ``methods`` that need gradients, ready to answer questions of ``classifier``.

    Raises as :func:`explain` does, before PyTorch is imported where something is missing.
    """
    asked = [name for name in methods if name in GRADIENT_METHODS]
    if not asked:
        return {}
    if stage is not None:
        check_places(classifier.bundle.network, classifier.card.preprocessing.size, stage)
    require_weights(classifier, " and ".join(asked))
    require("explain", "captum")
    with named_stage("loading PyTorch"):
        from googlenet.gradients.attribution import Attribution
    attribution = Attribution(classifier, stage)
    return {name: partial(attribution.explain, method=name) for name in asked}


def require_weights(classifier: Classifier, what: str) -> None:
    """Raise :class:`BundleError` where a bundle has no weights of one network, or :class:`MissingExtraError`."""
    path = printable(str(classifier.bundle.path))
    if classifier.engine.members > 1:
        raise BundleError(f"{path} answers with several networks, and gradients are of one: name the run of one fold")
    if WEIGHTS not in classifier.card.files:
        raise BundleError(f"{path} has no {WEIGHTS}, which {what} need: give the run, or its whole bundle")
    require("train", "torch", "safetensors")
