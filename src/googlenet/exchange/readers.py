"""The kinds of files that weights are read from: one table. Adding one is one entry, with the function that reads it.

A reader takes an open file and returns arrays or tensors by name, and the names of objects beside them, which are not
opened. It raises :class:`ValueError` saying what is wrong with the file.
"""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from googlenet.exchange import headers, pickles, protobufs
from googlenet.exchange.headers import READY, each_once, sides
from googlenet.models.shapes import Header
from googlenet.text import printable

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]
Found = tuple[Mapping[str, Any], tuple[str, ...]]


def _read_torch(file: BinaryIO) -> Found:
    import torch

    found = pickles.read_torch(file)
    values: dict[str, Tensor] = {}
    tensors = {}
    with pickles.explained():
        for name, record in found.tensors.items():
            storage, dtype = record.storage, getattr(torch, record.storage.dtype)
            if storage.key not in values:
                raw = found.content(storage)
                whole = len(raw) // storage.itemsize
                values[storage.key] = torch.frombuffer(bytearray(raw), dtype=dtype) if whole else torch.empty(0)
            record.check_within(name, len(values[storage.key]))
            tensors[name] = (
                values[storage.key].as_strided(record.shape, record.stride, record.start)
                if record.numel()
                else torch.empty(record.shape, dtype=dtype)
            )
    return tensors, found.objects


def _read_safetensors(file: BinaryIO) -> Found:
    from safetensors import SafetensorError
    from safetensors.torch import load as parse_safetensors

    headers.of_safetensors(file)
    file.seek(0)
    try:
        return parse_safetensors(file.read()), ()
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"not a safetensors file, or damaged ({printable(str(error))}): copy it again") from error


def _read_npz(file: BinaryIO) -> Found:
    names, _ = headers.of_npz(file)
    try:
        with zipfile.ZipFile(file) as archive:
            return {
                name: _array(archive, member)
                for member in archive.infolist()
                if (name := member.filename.removesuffix(".npy")) in names
            }, ()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, KeyError, zlib.error, RuntimeError) as error:
        raise ValueError("not a file of numpy.savez, or damaged: copy it again") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as content:
        array = np.lib.format.read_array(content, allow_pickle=False)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _protobuf(file: BinaryIO) -> bytes:
    """Read a protocol buffer. None begins with field number 0, as files full of zeros do."""
    if file.read(1) < b"\x08":
        raise ValueError("not the protocol buffer it should be, or cut off")
    file.seek(0)
    return file.read()


def _read_caffe(file: BinaryIO) -> Found:
    net = protobufs.parse("NetParameter", _protobuf(file))
    found: list[tuple[str, Array | None]] = []
    for layer in (*net.layers, *net.layer):
        blobs = [_blob(f"{layer.name}.{kind}", blob) for kind, blob in zip(_BLOBS, layer.blobs, strict=False)]
        is_norm = len(blobs) == 3 and blobs[2].size == 1 and blobs[0].size == blobs[1].size
        for kind, blob in zip(
            _BLOBS_OF_NORM if is_norm else _BLOBS, _unscaled(blobs) if is_norm else blobs, strict=False
        ):
            found.append((f"{layer.name}.{kind}", blob if kind == "weight" else blob.flatten()))
    return each_once(found), ()


_BLOBS = ("weight", "bias", "blob2", "blob3")
_BLOBS_OF_NORM = ("running_mean", "running_var")


def _unscaled(blobs: Sequence[Array]) -> list[Array]:
    """Caffe stores sums of means and of variances in a BatchNorm layer, and last the divisor."""
    factor = float(blobs[2].item())
    return [blob / blob.dtype.type(factor) if factor else np.zeros_like(blob) for blob in blobs[:2]]


def _blob(name: str, blob: Any) -> Array:
    values = blob.data or blob.double_data
    legacy = not blob.HasField("shape")
    shape = [blob.num, blob.channels, blob.height, blob.width] if legacy else list(blob.shape.dim)
    # Blobs without a shape are four-dimensional; those of fully connected layers are (1, 1, O, I).
    if legacy and shape[:2] == [1, 1]:
        shape = shape[2:]
    return _shaped(name, np.array(values, np.float32 if blob.data else np.float64), shape)


def _read_onnx(file: BinaryIO) -> Found:
    try:
        model = onnx.load_model_from_string(_protobuf(file))
    except DecodeError as error:
        raise ValueError("not an ONNX file, or cut off: copy it again") from error
    if model.producer_name == "googlenet":
        raise ValueError(f"a graph that googlenet wrote, which needs no conversion: {READY}")
    graph = model.graph
    turned = {name for node in graph.node for name in _multiplied_from_the_right(node)}
    used = {name for node in graph.node if node.op_type != "Identity" for name in node.input}
    stored = {each.name: each for each in graph.initializer}
    # PyTorch writes equal tensors once; the others are Identity nodes of it.
    alike = ((node.output[0], node.input[0]) for node in graph.node if node.op_type == "Identity")
    stored |= {name: stored[other] for name, other in alike if other in stored and name not in stored}
    named = (
        (_onnx_name(name), _initializer(each, name in turned))
        for name, each in stored.items()
        if name in used or not used
    )
    return _scaled(each_once(named)), ()


def _onnx_headers(file: BinaryIO) -> headers.Found:
    return {name: Header(array.shape) for name, array in _read_onnx(file)[0].items()}, ()


def _scaled(tensors: dict[str, Array]) -> dict[str, Array]:
    """Merge a normalisation X and the scale X/sc after it, which Caffe writes as two layers."""
    for name in [name for name in tensors if name.endswith("/sc.weight")]:
        scale, norm = name.removesuffix(".weight"), name.removesuffix("/sc.weight")
        if {f"{norm}.weight", f"{norm}.bias", f"{scale}.bias"} <= tensors.keys():
            factor = tensors.pop(name)
            tensors[f"{norm}.weight"] = tensors[f"{norm}.weight"] * factor
            tensors[f"{norm}.bias"] = tensors[f"{norm}.bias"] * factor + tensors.pop(f"{scale}.bias")
    return tensors


def _initializer(initializer: Any, turned: bool) -> Array | None:
    if initializer.data_location == onnx.TensorProto.EXTERNAL:
        raise ValueError(
            f"{printable(initializer.name)} lies outside of the file: only single-file ONNX models are read"
        )
    if initializer.data_type not in _ONNX_FLOATS:
        return None  # a shape, or an axis
    try:
        array = onnx.numpy_helper.to_array(initializer)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{printable(initializer.name)} is damaged: {error}") from error
    is_double = initializer.data_type == onnx.TensorProto.DOUBLE
    array = _shaped(initializer.name, array.astype(np.float64 if is_double else np.float32), array.shape)
    if array.ndim == 4 and array.shape[:2] == (1, 1):
        array = array[0, 0]  # Caffe's fully connected layers, as above
    return np.ascontiguousarray(array.T) if turned and array.ndim == 2 else array


_ONNX_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


def _multiplied_from_the_right(node: Any) -> list[str]:
    """Return the weights of a node that are stored as (I, O): x · W, where a linear layer is x · Wᵀ."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return list(node.input[1:2]) if node.op_type == "MatMul" or (node.op_type == "Gemm" and not transposed) else []


def _onnx_name(name: str) -> str:
    """Remove what converters append to names.

    >>> [_onnx_name(name) for name in ("conv1/7x7_s2_w_0", "loss3/classifier_b_0", "conv2d0_w:0", "conv2d0_b/read/_3")]
    ['conv1/7x7_s2.weight', 'loss3/classifier.bias', 'conv2d0_w', 'conv2d0_b']
    """
    name = re.sub(r":\d+$", "", name)
    name = re.sub(r"(_[wb])/.*$", r"\1", name)
    return re.sub(
        r"_([a-z]+)_0$", lambda match: f".{_ONNX_KINDS[match[1]]}" if match[1] in _ONNX_KINDS else match[0], name
    )


# Caffe2's names of a layer's tensors. Its "inverse variance" is the variance once written as ONNX.
_ONNX_KINDS = {
    "w": "weight", "b": "bias", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var",
    "s": "weight", "rm": "running_mean", "riv": "running_var",
}  # fmt: skip


def _read_tensorflow(file: BinaryIO) -> Found:
    graph = protobufs.parse("GraphDef", _protobuf(file))
    constants = [node for node in graph.node if node.op == "Const"]
    protos = {node.name: _tensor_proto(node) for node in constants}
    filled = sum(math.prod(_dims(proto)) for proto in protos.values() if proto and len(proto.float_val) == 1)
    if filled > _MAX_FILLED:
        raise ValueError(
            f"its single values stand for {filled:,} values, at most {_MAX_FILLED:,} are allowed: these are no weights"
        )
    return each_once((node.name, _constant(node.name, protos[node.name])) for node in constants), ()


_DT_FLOAT = 1
_MAX_FILLED = 10**7  # values that are written as a single one


def _tensor_proto(node: Any) -> Any:
    """Return the value of a constant that may be weights; ``None`` for a shape, an axis or a single number."""
    proto = next((entry.value.tensor for entry in node.attr if entry.key == "value"), None)
    return None if proto is None or proto.dtype != _DT_FLOAT or not proto.tensor_shape.dim else proto


def _dims(proto: Any) -> list[int]:
    return [max(0, dim.size) for dim in proto.tensor_shape.dim]


def _constant(name: str, proto: Any) -> Array | None:
    if proto is None:
        return None
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_content:
        values = np.frombuffer(proto.tensor_content[: len(proto.tensor_content) // 4 * 4], "<f4").copy()
    else:
        values = np.array(proto.float_val, np.float32)
        if len(values) == 1 and min(shape) > 0:
            values = np.full(math.prod(shape), values[0])  # a single value is repeated
    array = _shaped(name, values, shape)
    if array.ndim == 4:
        return np.ascontiguousarray(array.transpose(3, 2, 0, 1))  # (H, W, I, O) → (O, I, H, W)
    return np.ascontiguousarray(array.T) if array.ndim == 2 else array


def _shaped(name: str, values: Array, shape: Sequence[int]) -> Array:
    if min(shape, default=1) < 0 or math.prod(shape) != values.size:
        raise ValueError(f"{printable(name)} is damaged: it has {values.size:,} values and should be {sides(shape)}")
    array: Array = values.reshape(tuple(shape)).copy()
    return array


@dataclass(frozen=True)
class Kind:
    """``read`` returns everything; ``headers`` names and shapes alone, where they can be read before the values."""

    read: Callable[[BinaryIO], Found]
    headers: Callable[[BinaryIO], headers.Found] | None = None


_TORCH = Kind(_read_torch, headers.of_torch)
KINDS = {
    **dict.fromkeys((".pth", ".pt", ".bin", ".ckpt", ".tar"), _TORCH),
    ".safetensors": Kind(_read_safetensors, headers.of_safetensors),
    ".npz": Kind(_read_npz, headers.of_npz),
    ".caffemodel": Kind(_read_caffe),
    ".onnx": Kind(_read_onnx, _onnx_headers),
    ".pb": Kind(_read_tensorflow),
}
