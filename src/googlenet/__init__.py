"""Train an image classifier on a folder of labelled images, on an ordinary CPU; GoogLeNet exactly as published.

::

    import googlenet

    bundle = googlenet.train("photos/", out="runs/flowers")  # needs googlenet[train]
    classifier = googlenet.load("runs/flowers")              # no PyTorch
    prediction = classifier.predict("daisy.jpg")
    prediction.label, prediction.probability, prediction.top(5), prediction.heatmap()

    network = googlenet.create("googlenet", num_classes=5)   # a torch.nn.Module

Importing this package imports neither torch nor openvino: a name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from googlenet._version import __version__ as __version__

if TYPE_CHECKING:
    from googlenet.benchmarking.benchmark import benchmark
    from googlenet.benchmarking.compare import Comparison, compare
    from googlenet.benchmarking.early_exit import EarlyExit, early_exit
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
    from googlenet.evaluation.ensembles import Costs, compare_crops
    from googlenet.evaluation.evaluate import Evaluation, evaluate
    from googlenet.evaluation.explanations import check_explanations
    from googlenet.evaluation.suspects import Suspects, find_suspects
    from googlenet.evaluation.verdicts import ExplanationCheck
    from googlenet.exchange.convert import convert
    from googlenet.exchange.datasets import fetch
    from googlenet.exchange.export import export_weights
    from googlenet.exchange.hub import push
    from googlenet.exchange.module import load_module
    from googlenet.explaining.branches import Branches
    from googlenet.explaining.explanation import Explanation
    from googlenet.exporting.export import export
    from googlenet.gradients.dream import Dream
    from googlenet.gradients.explain import explain
    from googlenet.gradients.neurons import Neurons
    from googlenet.gradients.visualize import dream, visualize
    from googlenet.inference.classifier import Classifier, Prediction
    from googlenet.inference.crops import load
    from googlenet.inference.verify import Verification, verify
    from googlenet.models.analysis import Analysis
    from googlenet.models.build import ConvNet
    from googlenet.models.spec import Network
    from googlenet.models.zoo import NETWORKS, analyse, list_networks
    from googlenet.pruning.prune import prune
    from googlenet.pruning.ranking import Branch
    from googlenet.pruning.result import Pruning
    from googlenet.reporting.report import write_report
    from googlenet.training.ablation import Ablation, ablate
    from googlenet.training.augmented import AugmentedImages
    from googlenet.training.callbacks import StepResult
    from googlenet.training.folds import CrossValidation, cross_validate
    from googlenet.training.lr_range import LRRange, find_lr
    from googlenet.training.pretrained import create
    from googlenet.training.progress import EpochResult
    from googlenet.training.recipe import Recipe
    from googlenet.training.sheet import augment
    from googlenet.training.train import train
    from googlenet.training.tune import tune
    from googlenet.training.tuning import Trial, Tuning

# name → the module that defines it
_PUBLIC = {
    "Ablation": "training.ablation",
    "Analysis": "models.analysis",
    "AugmentedImages": "training.augmented",
    "Benchmark": "benchmarking.measure",
    "Branch": "pruning.ranking",
    "Branches": "explaining.branches",
    "BulkReport": "bulk.report",
    "Bundle": "bundle",
    "Classifier": "inference.classifier",
    "Comparison": "benchmarking.compare",
    "ConvNet": "models.build",
    "Costs": "evaluation.ensembles",
    "CrossValidation": "training.folds",
    "DataSource": "data.source",
    "Dream": "gradients.dream",
    "EarlyExit": "benchmarking.early_exit",
    "EpochResult": "training.progress",
    "Evaluation": "evaluation.evaluate",
    "Explanation": "explaining.explanation",
    "ExplanationCheck": "evaluation.verdicts",
    "Findings": "diagnosis.findings",
    "GoogLeNetError": "errors",
    "ImageSet": "data.image_set",
    "LRRange": "training.lr_range",
    "LabelledData": "data.image_set",
    "LabelledImage": "data.image_set",
    "NETWORKS": "models.zoo",
    "Network": "models.spec",
    "Neurons": "gradients.neurons",
    "Precisions": "benchmarking.precisions",
    "Prediction": "inference.classifier",
    "Pruning": "pruning.result",
    "Recipe": "training.recipe",
    "StepResult": "training.callbacks",
    "Suspects": "evaluation.suspects",
    "Trial": "training.tuning",
    "Tuning": "training.tuning",
    "Verification": "inference.verify",
    "ablate": "training.ablation",
    "analyse": "models.zoo",
    "augment": "training.sheet",
    "benchmark": "benchmarking.benchmark",
    "check_explanations": "evaluation.explanations",
    "clean": "diagnosis.clean",
    "compare": "benchmarking.compare",
    "compare_crops": "evaluation.ensembles",
    "convert": "exchange.convert",
    "create": "training.pretrained",
    "cross_validate": "training.folds",
    "doctor": "diagnosis.doctor",
    "dream": "gradients.visualize",
    "early_exit": "benchmarking.early_exit",
    "evaluate": "evaluation.evaluate",
    "explain": "gradients.explain",
    "export": "exporting.export",
    "export_weights": "exchange.export",
    "fetch": "exchange.datasets",
    "find_lr": "training.lr_range",
    "find_suspects": "evaluation.suspects",
    "list_networks": "models.zoo",
    "load": "inference.crops",
    "load_module": "exchange.module",
    "measure_precisions": "benchmarking.precisions",
    "open_data": "data.opening",
    "predict": "bulk.predicting",
    "predict_on_cluster": "bulk.cluster",
    "prune": "pruning.prune",
    "push": "exchange.hub",
    "quantize": "benchmarking.precisions",
    "sort_images": "bulk.sorting",
    "train": "training.train",
    "tune": "training.tune",
    "verify": "inference.verify",
    "visualize": "gradients.visualize",
    "write_report": "reporting.report",
}

__all__ = [
    "NETWORKS",
    "Ablation",
    "Analysis",
    "AugmentedImages",
    "Benchmark",
    "Branch",
    "Branches",
    "BulkReport",
    "Bundle",
    "Classifier",
    "Comparison",
    "ConvNet",
    "Costs",
    "CrossValidation",
    "DataSource",
    "Dream",
    "EarlyExit",
    "EpochResult",
    "Evaluation",
    "Explanation",
    "ExplanationCheck",
    "Findings",
    "GoogLeNetError",
    "ImageSet",
    "LRRange",
    "LabelledData",
    "LabelledImage",
    "Network",
    "Neurons",
    "Precisions",
    "Prediction",
    "Pruning",
    "Recipe",
    "StepResult",
    "Suspects",
    "Trial",
    "Tuning",
    "Verification",
    "ablate",
    "analyse",
    "augment",
    "benchmark",
    "check_explanations",
    "clean",
    "compare",
    "compare_crops",
    "convert",
    "create",
    "cross_validate",
    "doctor",
    "dream",
    "early_exit",
    "evaluate",
    "explain",
    "export",
    "export_weights",
    "fetch",
    "find_lr",
    "find_suspects",
    "list_networks",
    "load",
    "load_module",
    "measure_precisions",
    "open_data",
    "predict",
    "predict_on_cluster",
    "prune",
    "push",
    "quantize",
    "sort_images",
    "train",
    "tune",
    "verify",
    "visualize",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'googlenet' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"googlenet.{_PUBLIC[name]}"), name)
    except ModuleNotFoundError as error:
        from googlenet.extras import missing_extra

        missing = missing_extra(error)
        if missing is None:
            raise
        raise missing from error


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
