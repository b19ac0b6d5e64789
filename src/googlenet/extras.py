"""Optional parts of the package: whether what they need is installed, without loading it. Standard library only."""

from __future__ import annotations

import os
from importlib.util import find_spec

from googlenet.errors import MachineError, MissingExtraError

TRAINING = ("torch", "torchvision", "lightning_fabric", "pydantic", "safetensors", "onnx", "sklearn", "matplotlib")


def require(extra: str, *packages: str) -> None:
    """Raise :class:`MissingExtraError` where one of the ``packages`` that ``extra`` installs is not there.

    PyTorch needs a current folder as well: without one its library for matrices ends the process.
    Raises :class:`MachineError` where that was deleted.

    >>> require("train", "json")
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(extra, package)
    if "torch" in packages:
        try:
            os.getcwd()  # noqa: PTH109 - raises where it was deleted
        except OSError as error:
            raise MachineError("the current folder was deleted: change to another one (cd), then try again") from error
