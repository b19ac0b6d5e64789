"""Which files weights lie in: a file, the parts that an index names, or a folder. Neither PyTorch nor ONNX."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from googlenet import bundle as bundles
from googlenet.errors import WeightsError
from googlenet.exchange.headers import READY
from googlenet.strict_json import integer
from googlenet.text import first_few, printable

_Read = TypeVar("_Read")

CONFIG = "config.json"
INDEX = ".index.json"  # of weights in several files: "weight_map" maps tensors to files
# Names of weights in a folder, the safest first. The last is that of a bundle of this project.
IN_FOLDER = (
    "model.safetensors", f"model.safetensors{INDEX}", "pytorch_model.bin", f"pytorch_model.bin{INDEX}", bundles.WEIGHTS,
)  # fmt: skip

MAX_BYTES = 4 * 2**30  # of a file: the largest network of the zoo with its optimizer state has 2.3 GB
MAX_CONFIG_BYTES = 2**24


def file_of(source: Path) -> Path:
    """Return the file of weights that ``source`` is, or that lies in that folder. Raises :class:`WeightsError`."""
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


def parts_of(path: Path) -> list[Path]:
    """Return the files that weights lie in. An index may only name files beside it."""
    if not path.name.endswith(INDEX):
        return [path]
    index = path
    shards = read_json(index).get("weight_map")
    names = sorted(set(shards.values()), key=str) if isinstance(shards, dict) else []
    suffix = Path(index.name.removesuffix(INDEX)).suffix.lower()
    strange = [str(name) for name in names if not _is_beside(name, suffix)]
    if not names or strange:
        raise WeightsError(
            f"{printable(str(index))} is damaged: its weight_map must name {suffix} files beside it, "
            f"got {first_few(strange)}"
        )
    return [index.parent / name for name in names]


def _is_beside(name: Any, suffix: str) -> bool:
    return isinstance(name, str) and Path(name).name == name and Path(name).suffix.lower() == suffix


def opened(path: Path, read: Callable[[BinaryIO], _Read]) -> _Read:
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


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises :class:`WeightsError`."""
    name = printable(str(path))
    try:
        _check_regular(path, MAX_CONFIG_BYTES)
        content = json.loads(path.read_text("utf-8"), parse_int=integer)
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{name} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{name} is damaged: it is no JSON object")
    return content
