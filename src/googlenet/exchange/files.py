"""Files of weights → tensors by name. Nothing in a file is ever run.

.pth .pt .bin .ckpt .tar    PyTorch: a state dict, alone or anywhere inside a checkpoint
.safetensors .npz           tensors by name
.caffemodel                 Caffe: LAYER.weight and LAYER.bias
.onnx                       the initializers
.pb                         a frozen TensorFlow graph: its constants
.index.json                 several files, as the Hugging Face Hub splits them
a folder                    as timm and the Hugging Face Hub write it, with config.json

A tensor inside dictionaries is named by the keys that lead to it: ``model.conv1.weight``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np

from googlenet import bundle as bundles
from googlenet.card import ModelCard
from googlenet.errors import WeightsError
from googlenet.exchange.headers import each_once
from googlenet.exchange.places import CONFIG, INDEX, file_of, opened, parts_of, read_json
from googlenet.exchange.readers import KINDS, Found, Kind
from googlenet.models.shapes import Header
from googlenet.text import printable

if TYPE_CHECKING:
    from torch import Tensor

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class WeightsFile:
    """The content of a file of weights.

    For a folder, ``config`` is its ``config.json``, empty if there is none, and ``card`` its card, if it has one.
    ``objects`` names objects beside the tensors, which were not opened.
    """

    path: Path
    sha256: str
    tensors: dict[str, Tensor] = field(repr=False)
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    card: ModelCard | None = field(default=None, repr=False)
    objects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Looked:
    """The content of a file of weights without the values."""

    path: Path
    tensors: dict[str, Header] = field(repr=False)
    objects: tuple[str, ...] = ()


def look(source: str | Path) -> Looked | None:
    """Read names and shapes in a file of weights, without PyTorch. ``None`` for kinds that must be read whole.

    Raises :class:`WeightsError` as :func:`read` does.
    """
    path = file_of(Path(source))
    found: dict[str, Header] = {}
    objects: list[str] = []
    for part in parts_of(path):
        read_headers = _kind_of(part).headers
        if read_headers is None:
            return None
        tensors, beside = opened(part, read_headers)
        found |= tensors
        objects += beside
    return Looked(path, found, tuple(objects))


def read(source: str | Path) -> WeightsFile:
    """Read a file of weights, or a folder that holds one.

    Raises :class:`WeightsError` if it is missing, damaged, too large, of an unknown kind, or would have to run code.
    """
    path = file_of(Path(source))
    found = _joined(path) if path.name.endswith(INDEX) else _single(path)
    if path == Path(source):
        return found
    card = bundles.read(source).card if (Path(source) / bundles.CARD).is_file() else None
    if card and path.name == bundles.WEIGHTS and card.files.get(path.name) != found.sha256:
        name = printable(str(path))
        raise WeightsError(f"{name} was altered or damaged: its sha256 is not the one of {bundles.CARD}; copy it again")
    return WeightsFile(path, found.sha256, found.tensors, _config(Path(source)), card, found.objects)


def _single(path: Path) -> WeightsFile:
    kind = _kind_of(path)
    (tensors, objects), sha256 = opened(path, lambda file: (_tensors(kind.read(file)), _sha256(file)))
    if not tensors:
        raise WeightsError(f"{printable(str(path))} holds no weights: is it damaged, or a file of another kind?")
    return WeightsFile(path, sha256, tensors, objects=objects)


def _kind_of(path: Path) -> Kind:
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise WeightsError(
            f"{printable(str(path))} is of no known kind: weights are read from {', '.join(KINDS)}, or a folder; "
            "save those of Keras or TensorFlow as ONNX or as a frozen .pb"
        )
    return kind


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(2**20):
        digest.update(block)
    return digest.hexdigest()


def _joined(index: Path) -> WeightsFile:
    parts = [_single(part) for part in parts_of(index)]
    tensors = each_once((name, tensor) for part in parts for name, tensor in part.tensors.items())
    sha256 = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()
    return WeightsFile(index, sha256, tensors, objects=tuple(name for part in parts for name in part.objects))


def _config(folder: Path) -> dict[str, Any]:
    return read_json(folder / CONFIG) if (folder / CONFIG).exists() else {}


def _tensors(found: Found) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    import torch

    by_name, objects = found
    return {
        name: torch.from_numpy(each) if isinstance(each, np.ndarray) else each for name, each in by_name.items()
    }, objects
