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
import json
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np

from googlenet import bundle as bundles
from googlenet.card import ModelCard
from googlenet.errors import WeightsError
from googlenet.exchange.headers import each_once
from googlenet.exchange.readers import KINDS, READY, Found, Kind
from googlenet.models.shapes import Header
from googlenet.strict_json import integer
from googlenet.text import first_few, printable

if TYPE_CHECKING:
    from torch import Tensor

_Read = TypeVar("_Read")

CONFIG = "config.json"
INDEX = ".index.json"  # of weights in several files: "weight_map" maps tensors to files
# Names of weights in a folder, the safest first. The last is that of a bundle of this project.
IN_FOLDER = (
    "model.safetensors", f"model.safetensors{INDEX}", "pytorch_model.bin", f"pytorch_model.bin{INDEX}", bundles.WEIGHTS,
)  # fmt: skip

MAX_BYTES = 4 * 2**30  # of a file: the largest network of the zoo with its optimizer state has 2.3 GB
MAX_CONFIG_BYTES = 2**24


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
    path = _file_of(Path(source))
    found: dict[str, Header] = {}
    objects: list[str] = []
    for part in _parts(path):
        read_headers = _kind_of(part).headers
        if read_headers is None:
            return None
        tensors, beside = _opened(part, read_headers)
        found |= tensors
        objects += beside
    return Looked(path, found, tuple(objects))


def read(source: str | Path) -> WeightsFile:
    """Read a file of weights, or a folder that holds one.

    Raises :class:`WeightsError` if it is missing, damaged, too large, of an unknown kind, or would have to run code.
    """
    path = _file_of(Path(source))
    found = _joined(path) if path.name.endswith(INDEX) else _single(path)
    if path == Path(source):
        return found
    card = bundles.read(source).card if (Path(source) / bundles.CARD).is_file() else None
    if card and path.name == bundles.WEIGHTS and card.files.get(path.name) != found.sha256:
        name = printable(str(path))
        raise WeightsError(f"{name} was altered or damaged: its sha256 is not the one of {bundles.CARD}; copy it again")
    return WeightsFile(path, found.sha256, found.tensors, _config(Path(source)), card, found.objects)


def _file_of(source: Path) -> Path:
    name = printable(str(source))
    try:
        exists, is_folder = source.exists(), source.is_dir()
    except OSError as error:
        raise WeightsError(f"{name} cannot be read: {error.strerror}") from error
    if not exists:
        raise WeightsError(f"{name} does not exist: give a file or a folder of weights, or hf:OWNER/NAME")
    if not is_folder:
        return source
    for inside in IN_FOLDER:
        if (source / inside).is_file():
            return source / inside
    if (source / bundles.IN_RUN / bundles.CARD).is_file():
        raise WeightsError(f"{name} is a run already: {READY}")
    raise WeightsError(f"{name} holds no weights: a folder needs {IN_FOLDER[0]} or {IN_FOLDER[2]}")


def _single(path: Path) -> WeightsFile:
    kind = _kind_of(path)
    (tensors, objects), sha256 = _opened(path, lambda file: (_tensors(kind.read(file)), _sha256(file)))
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


def _opened(path: Path, read: Callable[[BinaryIO], _Read]) -> _Read:
    """Return ``read(file)``. Raises :class:`WeightsError` with the name of the file."""
    name = printable(str(path))
    try:
        _check_regular(path, MAX_BYTES)
        with path.open("rb") as file:
            return read(file)
    except OSError as error:
        raise WeightsError(f"{name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise WeightsError(f"{name}: {error}") from error
    except MemoryError as error:
        raise WeightsError(f"{name} needs more memory than there is") from error


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(2**20):
        digest.update(block)
    return digest.hexdigest()


def _check_regular(path: Path, most: int) -> None:
    """Refuse, before it is opened, what is no file, empty or too large: opening a pipe would block."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("a pipe or a device, not a file: save its content to a file first")
    if not found.st_size:
        raise ValueError("the file is empty: copy it again")
    if found.st_size > most:
        raise ValueError(
            f"it has {found.st_size:,} bytes, more than the {most:,} that are read: save the weights alone"
        )


def _parts(path: Path) -> list[Path]:
    """Return the files that weights lie in. An index may only name files beside it."""
    if not path.name.endswith(INDEX):
        return [path]
    index = path
    shards = _json(index).get("weight_map")
    names = sorted(set(shards.values()), key=str) if isinstance(shards, dict) else []
    suffix = Path(index.name.removesuffix(INDEX)).suffix.lower()
    strange = [str(name) for name in names if not _is_beside(name, suffix)]
    if not names or strange:
        raise WeightsError(
            f"{printable(str(index))} is damaged: its weight_map must name {suffix} files beside it, "
            f"got {first_few(strange)}"
        )
    return [index.parent / name for name in names]


def _joined(index: Path) -> WeightsFile:
    parts = [_single(part) for part in _parts(index)]
    tensors = each_once((name, tensor) for part in parts for name, tensor in part.tensors.items())
    sha256 = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()
    return WeightsFile(index, sha256, tensors, objects=tuple(name for part in parts for name in part.objects))


def _is_beside(name: Any, suffix: str) -> bool:
    return isinstance(name, str) and Path(name).name == name and Path(name).suffix.lower() == suffix


def _config(folder: Path) -> dict[str, Any]:
    return _json(folder / CONFIG) if (folder / CONFIG).exists() else {}


def _json(path: Path) -> dict[str, Any]:
    name = printable(str(path))
    try:
        _check_regular(path, MAX_CONFIG_BYTES)
        content = json.loads(path.read_text("utf-8"), parse_int=integer)
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{name} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{name} is damaged: it is no JSON object")
    return content


def _tensors(found: Found) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    import torch

    by_name, objects = found
    return {
        name: torch.from_numpy(each) if isinstance(each, np.ndarray) else each for name, each in by_name.items()
    }, objects
