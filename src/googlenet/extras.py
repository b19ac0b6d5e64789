"""Optional parts of the package: whether their packages are installed, without importing them."""

from __future__ import annotations

import os
from importlib.util import find_spec

from googlenet.errors import MachineError, MissingExtraError

TRAINING = ("torch", "torchvision", "lightning_fabric", "pydantic", "safetensors", "onnx", "sklearn", "matplotlib")

_EXTRA_OF = dict.fromkeys((*TRAINING, "annotated_types", "scipy", "imagehash", "nncf", "google", "tomli"), "train") | {
    "captum": "explain",
    "huggingface_hub": "hub",
    "mlflow": "mlflow",
    "fastapi": "serve",
    "uvicorn": "serve",
    "python_multipart": "serve",
    "prometheus_client": "serve",
    "onnxruntime": "gpu",
    "optuna": "tune",
    "pandas": "pandas",
    "pi_heif": "heic",
    "pyarrow": "parquet",
    "pytorch_lightning": "log",
    "ray": "ray",
    "tensorboard": "log",
    "wandb": "wandb",
}  # package → the extra that installs it


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return which extra installs the module that was not found; ``None`` if none does."""
    package = (error.name or "").partition(".")[0]
    return MissingExtraError(_EXTRA_OF[package], error.name or package) if package in _EXTRA_OF else None


def require(extra: str, *packages: str) -> None:
    """Raise :class:`MissingExtraError` if one of the ``packages`` that ``extra`` installs is missing.

    PyTorch also needs a current folder: without one its linear algebra library ends the process.
    Raises :class:`MachineError` if that folder was deleted.

    >>> require("train", "json")
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(extra, package)
    if "torch" in packages:
        try:
            os.getcwd()  # noqa: PTH109 - raises if it was deleted
        except OSError as error:
            raise MachineError("the current folder was deleted: change to another one (cd), then try again") from error
