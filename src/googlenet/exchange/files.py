"""Any file of weights → its tensors by name. Nothing in a file is ever run.

.pth .pt .bin    PyTorch: a state dict, alone or inside a checkpoint
.safetensors
.caffemodel      Caffe: LAYER.weight and LAYER.bias
.onnx            the initializers
.pb              a frozen TensorFlow graph: its constants
a folder         in the style of timm and the Hugging Face Hub, with config.json
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor

from googlenet import bundle as bundles
from googlenet.card import ModelCard
from googlenet.errors import WeightsError
from googlenet.exchange import protobufs

CONFIG = "config.json"
# What a folder's weights are called, the safest first. The last is a bundle of this project.
IN_FOLDER = ("model.safetensors", "pytorch_model.bin", bundles.WEIGHTS)

_NESTED_UNDER = ("state_dict", "model", "model_state_dict", "state_dict_ema")


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights held.

    Of a folder, ``config`` is its ``config.json``, empty where there is none, and ``card`` its card, where it has one.
    """

    path: Path
    sha256: str
    tensors: dict[str, Tensor] = field(repr=False)
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    card: ModelCard | None = field(default=None, repr=False)


def read(source: str | Path) -> WeightsFile:
    """Read a file of weights, or a folder that holds one.

    Raises :class:`WeightsError` when it is missing, damaged, of no known kind, or would have to run code.
    """
    path = _file_of(Path(source))
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(f"{path} is of no known kind: weights are read from {', '.join(_READERS)}, or a folder")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    if not content:
        raise WeightsError(f"{path} is empty: copy it again")
    try:
        tensors = reader(content)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from error
    if not tensors:
        raise WeightsError(f"{path} holds no weights: is it damaged, or a file of another kind?")
    sha256 = hashlib.sha256(content).hexdigest()
    if path == Path(source):
        return WeightsFile(path, sha256, tensors)
    card = bundles.read(source).card if (Path(source) / bundles.CARD).is_file() else None
    if card and path.name == bundles.WEIGHTS and card.files.get(path.name) != sha256:
        raise WeightsError(f"{path} was altered or damaged: its sha256 is not the one of {bundles.CARD}; copy it again")
    return WeightsFile(path, sha256, tensors, _config(Path(source)), card)


def _file_of(source: Path) -> Path:
    if not source.exists():
        raise WeightsError(f"{source} does not exist: give a file or a folder of weights, or hf:OWNER/NAME")
    if not source.is_dir():
        return source
    for name in IN_FOLDER:
        if (source / name).is_file():
            return source / name
    raise WeightsError(f"{source} holds no weights: a folder needs {' or '.join(IN_FOLDER[:2])}")


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{folder / CONFIG} is damaged: {error}") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{folder / CONFIG} is damaged: it is no JSON object")
    return config


# The readers: bytes → tensors by name. What is wrong with the bytes is a ValueError.


def _read_torch(content: bytes) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(_torch_refusal(error)) from error
    return _without_prefix(_unwrapped(loaded))


def _torch_refusal(error: Exception) -> str:
    text = str(error)
    if "TorchScript" in text:
        return "a TorchScript program, which would have to be run: save the weights alone, module.state_dict()"
    wanted = re.search(r"unsupported (?:global: )?GLOBAL (\S+)", text, re.IGNORECASE)
    if wanted:
        return (
            f"its pickle holds more than tensors ({wanted[1]}) and could run code: save the weights alone, "
            "torch.save(module.state_dict(), …)"
        )
    return "not a file of torch.save, or damaged: copy it again"


def _unwrapped(loaded: Any) -> dict[str, Tensor]:
    while isinstance(loaded, Mapping):
        tensors = {str(name): value.detach() for name, value in loaded.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
        loaded = next((loaded[name] for name in _NESTED_UNDER if name in loaded), None)
    return {}


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # DistributedDataParallel puts it before every name.
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def _read_safetensors(content: bytes) -> dict[str, Tensor]:
    try:
        return _without_prefix(parse_safetensors(content))
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"not a safetensors file, or damaged ({error}): copy it again") from error


def _read_caffe(content: bytes) -> dict[str, Tensor]:
    net = protobufs.parse("NetParameter", content)
    found = []
    for layer in (*net.layers, *net.layer):
        for number, blob in enumerate(layer.blobs):
            name = f"{layer.name}.{_BLOBS[number] if number < len(_BLOBS) else f'blob{number}'}"
            tensor = _blob(name, blob)
            found.append((name, tensor.flatten() if number == 1 else tensor))
    return _each_once(found)


_BLOBS = ("weight", "bias")


def _blob(name: str, blob: Any) -> Tensor:
    values = blob.data or blob.double_data
    legacy = not blob.HasField("shape")
    shape = [blob.num, blob.channels, blob.height, blob.width] if legacy else list(blob.shape.dim)
    # Before blobs had a shape all of them were written as four-dimensional, fully connected ones as (1, 1, O, I).
    if legacy and shape[:2] == [1, 1]:
        shape = shape[2:]
    return _tensor(name, np.array(values, np.float32), shape)


def _read_onnx(content: bytes) -> dict[str, Tensor]:
    try:
        graph = onnx.load_model_from_string(content).graph
    except DecodeError as error:
        raise ValueError("not an ONNX file, or cut off: copy it again") from error
    turned = {name for node in graph.node for name in _multiplied_from_the_right(node)}
    return _each_once((_onnx_name(each.name), _initializer(each, each.name in turned)) for each in graph.initializer)


def _initializer(initializer: Any, turned: bool) -> Tensor | None:
    if initializer.data_location == onnx.TensorProto.EXTERNAL:
        raise ValueError(f"{initializer.name} lies outside of the file: only single-file ONNX models are read")
    if initializer.data_type not in _ONNX_FLOATS:
        return None  # a shape, or an axis
    try:
        array = onnx.numpy_helper.to_array(initializer)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{initializer.name} is damaged: {error}") from error
    tensor = _tensor(initializer.name, array.astype(np.float32), array.shape)
    if tensor.dim() == 4 and tensor.shape[:2] == (1, 1):
        tensor = tensor[0, 0]  # Caffe's fully connected layers, as above
    return tensor.T.contiguous() if turned and tensor.dim() == 2 else tensor


_ONNX_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


def _multiplied_from_the_right(node: Any) -> list[str]:
    """Name the weights of a node that are (I, O): x · W, where a linear layer is x · Wᵀ."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return list(node.input[1:2]) if node.op_type == "MatMul" or (node.op_type == "Gemm" and not transposed) else []


def _onnx_name(name: str) -> str:
    """Undo what converters append.

    >>> [_onnx_name(name) for name in ("conv1/7x7_s2_w_0", "loss3/classifier_b_0", "conv2d0_w:0", "conv2d0_b/read/_3")]
    ['conv1/7x7_s2.weight', 'loss3/classifier.bias', 'conv2d0_w', 'conv2d0_b']
    """
    name = re.sub(r":\d+$", "", name)
    name = re.sub(r"(_[wb])/.*$", r"\1", name)
    return re.sub(r"_([wb])_0$", lambda match: ".weight" if match[1] == "w" else ".bias", name)


def _read_tensorflow(content: bytes) -> dict[str, Tensor]:
    graph = protobufs.parse("GraphDef", content)
    constants = [(node.name, _constant(node)) for node in graph.node if node.op == "Const"]
    return _each_once(constants)


_DT_FLOAT = 1
_MOST_VALUES = 10**8  # that a single one may stand for: more would be an attack on the memory


def _constant(node: Any) -> Tensor | None:
    proto = next((entry.value.tensor for entry in node.attr if entry.key == "value"), None)
    if proto is None or proto.dtype != _DT_FLOAT or not proto.tensor_shape.dim:
        return None  # a shape, an axis or a single number: no weights
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_content:
        values = np.frombuffer(proto.tensor_content[: len(proto.tensor_content) // 4 * 4], "<f4").copy()
    else:
        values = np.array(proto.float_val, np.float32)
    if len(values) == 1 and 0 < math.prod(shape) <= _MOST_VALUES:
        values = np.full(math.prod(shape), values[0])  # one value stands for all
    tensor = _tensor(node.name, values, shape)
    if tensor.dim() == 4:
        return tensor.permute(3, 2, 0, 1).contiguous()  # (H, W, I, O) → (O, I, H, W)
    return tensor.T.contiguous() if tensor.dim() == 2 else tensor


def _tensor(name: str, values: np.ndarray[Any, Any], shape: Sequence[int]) -> Tensor:
    if min(shape, default=1) < 0 or math.prod(shape) != values.size:
        said = "×".join(map(str, shape))
        raise ValueError(f"{name} is damaged: it has {values.size:,} values and should be {said}")
    return torch.from_numpy(values.reshape(tuple(shape)).copy())


def _each_once(found: Iterable[tuple[str, Tensor | None]]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, tensor in found:
        if tensor is None:
            continue
        if name in tensors:
            raise ValueError(f"two tensors are called {name}")
        tensors[name] = tensor
    return tensors


_READERS: dict[str, Callable[[bytes], dict[str, Tensor]]] = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".bin": _read_torch,
    ".safetensors": _read_safetensors,
    ".caffemodel": _read_caffe,
    ".onnx": _read_onnx,
    ".pb": _read_tensorflow,
}
