"""Optional parts of the package: whether what they need is installed, without loading it. Standard library only."""

from __future__ import annotations

from importlib.util import find_spec

from googlenet.errors import MissingExtraError

TRAINING = ("torch", "torchvision", "lightning_fabric", "pydantic", "safetensors", "onnx", "sklearn", "matplotlib")


def require(extra: str, *packages: str) -> None:
    """Raise :class:`MissingExtraError` where one of the ``packages`` that ``extra`` installs is not there.

    >>> require("train", "json")
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(extra, package)
