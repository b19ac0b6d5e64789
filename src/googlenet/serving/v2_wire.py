"""The wire format of the Open Inference Protocol: JSON, and after it the raw bytes of tensors.

https://github.com/kserve/open-inference-protocol, and Triton's extension for binary data.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.serving.refusal import Refusal
from googlenet.strict_json import parse_json

HEADER = "inference-header-content-length"
MAX_TENSORS = 4
_TYPES = {"UINT8": np.uint8, "FP32": np.float32}
_DATATYPES = {"u1": "UINT8", "f4": "FP32", "O": "BYTES"}


@dataclass(frozen=True)
class Tensor:
    """An input: its name, type and shape, and its values: an array, or for BYTES a list of them."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any


@dataclass(frozen=True)
class InferRequest:
    """What is asked: tensors, the outputs wanted (all if there are none), and which of them as raw bytes."""

    id: str | None
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, bool]
    binary: bool
    parameters: Mapping[str, Any]


def bad(message: str) -> Refusal:
    """Return the refusal of a request that does not follow the protocol."""
    return Refusal(400, "bad_request", message)


def read_request(body: bytes, header_length: str | None) -> InferRequest:
    """Read a request. Raises :class:`Refusal` where it does not follow the protocol."""
    size = len(body)
    if header_length is not None:
        if not header_length.isdigit() or len(header_length) > 9 or int(header_length) > size:
            raise bad(f"{HEADER} is {header_length[:20]!r}, of a body of {size:,} bytes")
        size = int(header_length)
    fields = _object(body[:size])
    listed = _list(fields, "inputs")
    if not 1 <= len(listed) <= MAX_TENSORS:
        raise bad(f"a request has 1 to {MAX_TENSORS} inputs, got {len(listed)}")
    raw, tensors = memoryview(body)[size:], {}
    for each in listed:
        tensor, raw = _tensor(each, raw)
        tensors[tensor.name] = tensor
    if len(raw):
        raise bad(f"{len(raw):,} bytes follow the last tensor")
    parameters = _parameters(fields)
    outputs = {_text(each, "name"): _flag(_parameters(each), "binary_data") for each in _list(fields, "outputs", [])}
    id_ = fields.get("id")
    return InferRequest(None if id_ is None else str(id_)[:200], tensors, outputs,
                        _flag(parameters, "binary_data_output"), parameters)  # fmt: skip


def _object(text: bytes) -> dict[str, Any]:
    try:
        fields = parse_json(text.decode())
    except ValueError as error:
        raise bad(f"the body is not JSON: {str(error)[:100]}") from error
    if not isinstance(fields, dict):
        raise bad("the body is not a JSON object")
    return fields


def _list(fields: Mapping[str, Any], name: str, default: Any = None) -> list[dict[str, Any]]:
    found = fields.get(name, default)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise bad(f"{name} is a list of objects")
    return found


def _text(fields: Mapping[str, Any], name: str) -> str:
    found = fields.get(name)
    if not isinstance(found, str):
        raise bad(f"{name} is a text")
    return found


def _parameters(fields: Mapping[str, Any]) -> dict[str, Any]:
    found = fields.get("parameters", {})
    if not isinstance(found, dict):
        raise bad("parameters is an object")
    return found


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    return parameters.get(name) is True


def _tensor(fields: dict[str, Any], raw: memoryview) -> tuple[Tensor, memoryview]:
    """Read a tensor from its JSON or from the bytes that follow; return what is left of these."""
    name, datatype, shape = _text(fields, "name"), _text(fields, "datatype"), fields.get("shape")
    if datatype not in ("UINT8", "BYTES"):
        raise bad(f"input {name[:50]!r} has datatype {datatype[:20]!r}, the inputs here are UINT8 and BYTES")
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= 4
        or not all(type(n) is int and 0 < n < 2**31 for n in shape)
    ):
        raise bad(f"input {name[:50]!r} needs a shape of 1 to 4 sides above 0")
    size = _parameters(fields).get("binary_data_size")
    if size is None:
        return Tensor(name, datatype, tuple(shape), _from_json(name, datatype, shape, fields.get("data"))), raw
    if type(size) is not int or not 0 <= size <= len(raw):
        raise bad(f"input {name[:50]!r} has binary_data_size {size!r}, and {len(raw):,} bytes follow")
    values = _from_bytes(name, datatype, shape, raw[:size])
    return Tensor(name, datatype, tuple(shape), values), raw[size:]


def _is_shape(found: Any) -> bool:
    return isinstance(found, list) and 1 <= len(found) <= 4 and all(type(n) is int and 0 < n < 2**31 for n in found)


def _from_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> Any:
    count = int(np.prod(shape, dtype=object))
    flat = list(_flat(data, count)) if isinstance(data, list) else []
    if len(flat) != count:
        raise bad(f"input {name[:50]!r} has {len(flat):,} values, its shape has {count:,}")
    if datatype == "BYTES":
        try:
            return [base64.b64decode(each, validate=True) for each in flat]
        except (TypeError, ValueError) as error:
            raise bad(
                f"input {name[:50]!r}: images in JSON are texts in base64, or send them as binary data"
            ) from error
    if not all(type(each) is int and 0 <= each <= 255 for each in flat):
        raise bad(f"input {name[:50]!r} is UINT8: whole numbers from 0 to 255")
    return np.array(flat, np.uint8).reshape(shape)


def _flat(data: list[Any], most: int) -> list[Any]:
    """Return nested lists as one, up to one value more than there may be."""
    found: list[Any] = []
    waiting: list[Any] = [iter(data)]
    while waiting and len(found) <= most:
        for each in waiting[-1]:
            if isinstance(each, list):
                waiting.append(iter(each))
                break
            found.append(each)
            if len(found) > most:
                break
        else:
            waiting.pop()
    return found


def _from_bytes(name: str, datatype: str, shape: Sequence[int], raw: memoryview) -> Any:
    count = int(np.prod(shape, dtype=object))
    if datatype == "UINT8":
        if len(raw) != count:
            raise bad(f"input {name[:50]!r} has {len(raw):,} bytes, its shape has {count:,}")
        return np.frombuffer(raw, np.uint8).reshape(shape)
    found: list[bytes] = []
    while len(raw) >= 4 and len(found) < count:
        (length,) = struct.unpack_from("<I", raw)
        if length > len(raw) - 4:
            break
        found.append(bytes(raw[4 : 4 + length]))
        raw = raw[4 + length :]
    if len(found) != count or len(raw):
        raise bad(f"input {name[:50]!r} does not hold {count:,} texts, each after its length in 4 bytes")
    return found


def write_response(
    about: Mapping[str, Any], outputs: Mapping[str, NDArray[Any]], request: InferRequest
) -> tuple[bytes, int | None]:
    """Return the body of an answer, and the length of its JSON if raw tensors follow it.

    ``outputs`` are arrays of float32, or of objects that are bytes.
    """
    listed, raw = [], []
    for name, array in outputs.items():
        entry: dict[str, Any] = {
            "name": name, "datatype": _DATATYPES[array.dtype.str.lstrip("<|=>")], "shape": list(array.shape)
        }  # fmt: skip
        if request.outputs.get(name, False) or request.binary:
            content = _to_bytes(array)
            entry["parameters"] = {"binary_data_size": len(content)}
            raw.append(content)
        else:
            entry["data"] = [each.decode() if isinstance(each, bytes) else each for each in array.ravel().tolist()]
        listed.append(entry)
    named = {} if request.id is None else {"id": request.id}
    text = json.dumps({**about, **named, "outputs": listed}).encode()
    return b"".join([text, *raw]), len(text) if raw else None


def _to_bytes(array: NDArray[Any]) -> bytes:
    if array.dtype == object:
        return b"".join(struct.pack("<I", len(each)) + each for each in array.ravel())
    return np.ascontiguousarray(array).tobytes()
