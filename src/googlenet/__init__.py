"""From a folder of labelled pictures to a small, fast, explained classifier: GoogLeNet, true to the paper.

::

    import googlenet

    bundle = googlenet.train("photos/", out="runs/flowers")  # needs googlenet[train]
    classifier = googlenet.load("runs/flowers")              # no PyTorch
    prediction = classifier.predict("daisy.jpg")
    prediction.label, prediction.probability, prediction.top(5), prediction.heatmap()

    network = googlenet.create("googlenet", num_classes=5)   # a torch.nn.Module

Importing this package imports neither torch nor openvino: a name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from googlenet.bundle import Bundle
    from googlenet.comparing.benchmark import benchmark
    from googlenet.comparing.compare import Comparison, compare
    from googlenet.doctor.examine import examine
    from googlenet.doctor.findings import Findings
    from googlenet.errors import GoogLeNetError
    from googlenet.evaluation.evaluate import Evaluation, evaluate
    from googlenet.evaluation.precisions import Precisions, measure_precisions, quantize
    from googlenet.exchange.convert import convert
    from googlenet.exchange.named import fetch
    from googlenet.inference.benchmark import Benchmark
    from googlenet.inference.classifier import Classifier, Prediction, load
    from googlenet.inference.golden import Verification, verify
    from googlenet.inference.standalone import export
    from googlenet.models.analysis import Analysis
    from googlenet.models.build import ConvNet, create
    from googlenet.models.spec import Network
    from googlenet.models.zoo import NETWORKS, analyse
    from googlenet.training.run import train

# name → (module, the extra that its imports need)
_PUBLIC = {
    "Analysis": ("models.analysis", None),
    "Benchmark": ("inference.benchmark", None),
    "Bundle": ("bundle", None),
    "Classifier": ("inference.classifier", None),
    "Comparison": ("comparing.compare", "train"),
    "ConvNet": ("models.build", "train"),
    "Evaluation": ("evaluation.evaluate", "train"),
    "Findings": ("doctor.findings", "train"),
    "GoogLeNetError": ("errors", None),
    "NETWORKS": ("models.zoo", None),
    "Network": ("models.spec", None),
    "Precisions": ("evaluation.precisions", "train"),
    "Prediction": ("inference.classifier", None),
    "Verification": ("inference.golden", None),
    "analyse": ("models.zoo", None),
    "benchmark": ("comparing.benchmark", None),
    "compare": ("comparing.compare", "train"),
    "convert": ("exchange.convert", "train"),
    "create": ("models.build", "train"),
    "evaluate": ("evaluation.evaluate", "train"),
    "examine": ("doctor.examine", "train"),
    "export": ("inference.standalone", None),
    "fetch": ("exchange.named", "train"),
    "load": ("inference.classifier", None),
    "measure_precisions": ("evaluation.precisions", "train"),
    "quantize": ("evaluation.precisions", "train"),
    "train": ("training.run", "train"),
    "verify": ("inference.golden", None),
}

__all__ = [
    "NETWORKS",
    "Analysis",
    "Benchmark",
    "Bundle",
    "Classifier",
    "Comparison",
    "ConvNet",
    "Evaluation",
    "Findings",
    "GoogLeNetError",
    "Network",
    "Precisions",
    "Prediction",
    "Verification",
    "analyse",
    "benchmark",
    "compare",
    "convert",
    "create",
    "evaluate",
    "examine",
    "export",
    "fetch",
    "load",
    "measure_precisions",
    "quantize",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'googlenet' has no attribute {name!r}")
    module, extra = _PUBLIC[name]
    try:
        return getattr(importlib.import_module(f"googlenet.{module}"), name)
    except ModuleNotFoundError as error:
        from googlenet.errors import MissingExtraError

        if extra is None or (error.name or "").startswith("googlenet"):
            raise
        raise MissingExtraError(extra, error.name or "a package") from error


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
