"""Safetensors and .npz files: types, shapes and sizes are checked before memory is allocated.

numpy's own reader trusts the sizes in an archive, unpacks it and evaluates Python literals. Here an array is read only
if it has the expected name, type and shape.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.text import first_few

MAX_HEADER_BYTES = 2**24  # of a safetensors file; the largest network of the zoo has a hundredth of it
MAX_MEMBERS = 16  # of an .npz
MAX_ERROR = 200  # characters
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<|][a-z]\d)', 'fortran_order': False, 'shape': \((\d+(?:, \d+)*),?\), \} *\n",
    re.DOTALL,
)
_NPY_HEADER = 128  # bytes that numpy pads a short header to
ArrayLimits = tuple[str, tuple[int | None, ...], int]  # types, shape, the most for each None in it
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_ITEM_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
               "I8": 1, "U8": 1, "BOOL": 1}  # fmt: skip


def check_safetensors(content: bytes) -> None:
    """Raise :class:`ValueError` unless the tensors lie side by side, fill the file, and are finite."""
    header, body = _header_and_body(content)
    try:
        spans = sorted((*_span(entry), name) for name, entry in header.items())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"has a damaged header: {type(error).__name__}") from error
    at, wrong = 0, []
    for start, end, dtype, name in spans:
        if start != at or end > len(body):
            raise ValueError("has tensors that overlap, or end beyond the file")
        at = end
        if dtype in _FLOATS and not np.isfinite(np.frombuffer(body[start:end], _FLOATS[dtype])).all():
            wrong.append(name)
    if wrong:
        raise ValueError(f"has weights that are not finite, in {first_few(wrong)}: train it again, or get another copy")
    if at != len(body):
        raise ValueError("has bytes that belong to no tensor")


def read_safetensors(content: bytes) -> dict[str, NDArray[Any]]:
    """Read the floating-point tensors of a file that :func:`check_safetensors` passed, as views of it, by name."""
    header, body = _header_and_body(content)
    tensors: dict[str, NDArray[Any]] = {}
    for name, entry in header.items():
        start, end, dtype = _span(entry)
        if dtype in _FLOATS:
            tensors[name] = np.frombuffer(body[start:end], _FLOATS[dtype]).reshape(entry["shape"])
    return tensors


def _header_and_body(content: bytes) -> tuple[dict[str, Any], memoryview]:
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or not 2 <= size <= min(MAX_HEADER_BYTES, len(content) - 8):
        raise ValueError("is not a file of safetensors, or it is cut")
    try:
        header = json.loads(content[8 : 8 + size])
        header.pop("__metadata__", None)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"has a damaged header: {type(error).__name__}") from error
    return header, memoryview(content)[8 + size :]


def _span(entry: Mapping[str, Any]) -> tuple[int, int, str]:
    dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    numbers = [start, end, *shape]
    if len(shape) > 8 or any(type(number) is not int or not 0 <= number < 2**48 for number in numbers):
        raise ValueError(f"shape {shape}")
    if end - start != math.prod(shape) * _ITEM_BYTES[dtype]:
        raise ValueError(f"{end - start} bytes for shape {shape}")
    return start, end, dtype


def read_npz(content: bytes, wanted: Mapping[str, ArrayLimits], optional: bool = False) -> dict[str, NDArray[Any]]:
    """Read arrays of an .npz file by name. ``wanted`` has for each its types (``"u1"``, ``"f4 f8"``), shape and limit.

    ``None`` in a shape is any number from 1 to the limit. Where they are ``optional``, those that are missing are left
    out. Raises :class:`ValueError` if an array is another.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len(archive.namelist()) > MAX_MEMBERS:
                raise ValueError(f"it holds more than {MAX_MEMBERS} arrays")
            there = [name for name in wanted if not optional or f"{name}.npy" in archive.NameToInfo]
            return {name: _array(archive, name, *wanted[name]) for name in there}
    except (KeyError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # RuntimeError: encrypted, or of an unknown compression. Some errors quote the file at length.
        raise ValueError(" ".join(str(error).split())[:MAX_ERROR]) from error


def _array(archive: zipfile.ZipFile, name: str, kinds: str, wanted: tuple[int | None, ...], most: int) -> NDArray[Any]:
    if f"{name}.npy" not in archive.NameToInfo:
        raise ValueError(f"{name} is missing")
    with archive.open(f"{name}.npy") as file:
        start = file.read(_NPY_HEADER)
        found = _NPY.fullmatch(start)
        if found is None:
            raise ValueError(f"{name} is not an array of numbers as numpy writes it")
        dtype, shape = np.dtype(found[1].decode()), tuple(map(int, found[2].split(b", ")))
        fits = len(shape) == len(wanted) and all(
            side == want or (want is None and 1 <= side <= most) for side, want in zip(shape, wanted, strict=True)
        )
        if not fits or dtype.str[1:] not in kinds.split():
            types = " or ".join(str(np.dtype(kind)) for kind in kinds.split())
            shown = str(wanted).replace("None", "N")
            raise ValueError(f"{name} is of {dtype} {shape}, not of {types} {shown} with N from 1 to {most}")
        size = math.prod(shape) * dtype.itemsize
        values = file.read(size)
    if len(values) != size:
        raise ValueError(f"{name} is cut")
    array = np.frombuffer(values, dtype).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite")
    return array
