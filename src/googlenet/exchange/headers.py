"""Names and shapes in files of weights, read without PyTorch and without the values.

They show within a second which weights do not fit, before anything large is loaded.
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import BinaryIO, TypeVar

import numpy as np

from googlenet.exchange import pickles
from googlenet.models.shapes import Header
from googlenet.strict_json import integer
from googlenet.text import printable

MAX_HEADER_BYTES = 10**8  # of safetensors, the limit of their own library
READY = "predict, evaluate, train --weights and convert --to take its run as it is"  # what to do with a run instead
_Each = TypeVar("_Each")


Found = tuple[Mapping[str, Header], tuple[str, ...]]  # and the names of objects beside them


def of_torch(file: BinaryIO) -> Found:
    """Read the headers of a file of ``torch.save``. Raises :class:`ValueError`, as all functions here do."""
    found = pickles.read_torch(file)
    return found.tensors, found.objects


def of_safetensors(file: BinaryIO) -> Found:
    """Read the header of a safetensors file, which is JSON."""
    start = file.read(8)
    (length,) = struct.unpack("<Q", start) if len(start) == 8 else (0,)
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise ValueError("not a safetensors file, or damaged (its header is no JSON): copy it again")
    try:
        named = json.loads(file.read(length), object_pairs_hook=each_once, parse_int=integer)
        return {
            name: Header(tuple(map(int, entry["shape"])), entry["dtype"].startswith(("F", "BF")))
            for name, entry in named.items()
            if name != "__metadata__"
        }, ()
    except DuplicateNameError:
        raise
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a safetensors file, or damaged (its header is no JSON): copy it again") from error


def of_npz(file: BinaryIO) -> Found:
    """Read the headers of the arrays of numpy.savez that are numbers. Those of Python objects are refused."""
    try:
        with zipfile.ZipFile(file) as archive:
            pickles.check_members(archive, file.seek(0, 2))
            return each_once(
                (member.filename.removesuffix(".npy"), _of_array(archive, member)) for member in archive.infolist()
            ), ()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, KeyError, zlib.error, RuntimeError) as error:
        raise ValueError("not a file of numpy.savez, or damaged: copy it again") from error


def _of_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header | None:
    name = printable(member.filename)
    with archive.open(member) as content:
        version = np.lib.format.read_magic(content)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(content)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects and could run code: save arrays of numbers alone")
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(
            f"{name} is damaged: it should be {sides(shape)} of {dtype}, and has {member.file_size:,} bytes"
        )
    if dtype.kind not in "fiub":
        return None  # text, or dates
    if dtype.kind == "f" and dtype.itemsize > 8:
        raise ValueError(f"{name} is of {dtype}, which is not read: save it as float32")
    return Header(tuple(shape), dtype.kind == "f")


class DuplicateNameError(ValueError):
    """Two tensors have the same name."""


def sides(shape: Iterable[int]) -> str:
    """Return a shape as text: 64×3×7×7."""
    return "×".join(map(str, shape)) or "one number"


def each_once(found: Iterable[tuple[str, _Each | None]]) -> dict[str, _Each]:
    """Return values by name, without those that are ``None``. Raises :class:`ValueError` if a name comes twice."""
    by_name: dict[str, _Each] = {}
    for name, each in found:
        if each is None:
            continue
        if name in by_name:
            raise DuplicateNameError(f"two tensors are called {printable(name)}: save the weights alone")
        by_name[name] = each
    return by_name


WHOLE = (".caffemodel", ".onnx", ".pb")  # kinds of files that must be read whole for names and shapes
READERS: dict[str, Callable[[BinaryIO], Found]] = {
    **dict.fromkeys((".pth", ".pt", ".bin", ".ckpt", ".tar"), of_torch),
    ".safetensors": of_safetensors,
    ".npz": of_npz,
}
