"""From a folder of labelled images to a small, fast, explained classifier: GoogLeNet, true to the paper.

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

from googlenet._version import __version__ as __version__

if TYPE_CHECKING:
    from googlenet.benchmarking.benchmark import benchmark
    from googlenet.benchmarking.compare import Comparison, compare
    from googlenet.benchmarking.measure import Benchmark
    from googlenet.benchmarking.precisions import Precisions, measure_precisions, quantize
    from googlenet.bulk.cluster import predict_on_cluster
    from googlenet.bulk.predicting import predict
    from googlenet.bulk.report import BulkReport
    from googlenet.bulk.sorting import sort_images
    from googlenet.bundle import Bundle
    from googlenet.data.image_set import ImageSet, LabelledData, LabelledImage
    from googlenet.data.opening import open_data
    from googlenet.data.source import DataSource
    from googlenet.diagnosis.clean import clean
    from googlenet.diagnosis.doctor import doctor
    from googlenet.diagnosis.findings import Findings
    from googlenet.errors import GoogLeNetError
    from googlenet.evaluation.evaluate import Evaluation, evaluate
    from googlenet.exchange.convert import convert
    from googlenet.exchange.datasets import fetch
    from googlenet.exporting.formats import export
    from googlenet.inference.classifier import Classifier, Prediction, load
    from googlenet.inference.verify import Verification, verify
    from googlenet.models.analysis import Analysis
    from googlenet.models.build import ConvNet, create
    from googlenet.models.spec import Network
    from googlenet.models.zoo import NETWORKS, analyse
    from googlenet.training.run import train

# name → (module, the extra that its imports need)
_PUBLIC = {
    "Analysis": ("models.analysis", None),
    "Benchmark": ("benchmarking.measure", None),
    "BulkReport": ("bulk.report", None),
    "Bundle": ("bundle", None),
    "Classifier": ("inference.classifier", None),
    "Comparison": ("benchmarking.compare", "train"),
    "ConvNet": ("models.build", "train"),
    "DataSource": ("data.source", None),
    "Evaluation": ("evaluation.evaluate", "train"),
    "Findings": ("diagnosis.findings", "train"),
    "GoogLeNetError": ("errors", None),
    "ImageSet": ("data.image_set", None),
    "LabelledData": ("data.image_set", None),
    "LabelledImage": ("data.image_set", None),
    "NETWORKS": ("models.zoo", None),
    "Network": ("models.spec", None),
    "Precisions": ("benchmarking.precisions", "train"),
    "Prediction": ("inference.classifier", None),
    "Verification": ("inference.verify", None),
    "analyse": ("models.zoo", None),
    "benchmark": ("benchmarking.benchmark", None),
    "clean": ("diagnosis.clean", "train"),
    "compare": ("benchmarking.compare", "train"),
    "convert": ("exchange.convert", "train"),
    "create": ("models.build", "train"),
    "doctor": ("diagnosis.doctor", "train"),
    "evaluate": ("evaluation.evaluate", "train"),
    "export": ("exporting.formats", None),
    "fetch": ("exchange.datasets", "train"),
    "load": ("inference.classifier", None),
    "measure_precisions": ("benchmarking.precisions", "train"),
    "open_data": ("data.opening", None),
    "predict": ("bulk.predicting", None),
    "predict_on_cluster": ("bulk.cluster", None),
    "quantize": ("benchmarking.precisions", "train"),
    "sort_images": ("bulk.sorting", None),
    "train": ("training.run", "train"),
    "verify": ("inference.verify", None),
}

__all__ = [
    "NETWORKS",
    "Analysis",
    "Benchmark",
    "BulkReport",
    "Bundle",
    "Classifier",
    "Comparison",
    "ConvNet",
    "DataSource",
    "Evaluation",
    "Findings",
    "GoogLeNetError",
    "ImageSet",
    "LabelledData",
    "LabelledImage",
    "Network",
    "Precisions",
    "Prediction",
    "Verification",
    "analyse",
    "benchmark",
    "clean",
    "compare",
    "convert",
    "create",
    "doctor",
    "evaluate",
    "export",
    "fetch",
    "load",
    "measure_precisions",
    "open_data",
    "predict",
    "predict_on_cluster",
    "quantize",
    "sort_images",
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
