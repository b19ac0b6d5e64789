"""Whether an int8 graph, OpenVINO's XML and the bytes of its constants, is one that this project writes.

NNCF made it from a graph that ``exporting.graph`` wrote. Elements, layer types and attributes that no such graph has
are refused, and so are document types, entities, and constants outside of the bytes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from xml.parsers import expat

import numpy as np

from googlenet.text import printable

MAX_LAYERS = 50_000
MAX_DEPTH = 64
MAX_NUMBER = 2**20  # of attributes and of whole numbers in constants
MAX_WHOLE_NUMBERS = 4096  # in a constant
MAX_RANK = 8

_DTYPES = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4", "i8": "i1", "u8": "u1"}
_ELEMENTS = {
    "net": "name version",
    "layers": "",
    "layer": "id name type version output_names",
    "data": "",
    "input": "",
    "output": "",
    "port": "id precision names",
    "dim": "",
    "edges": "",
    "edge": "from-layer from-port to-layer to-port",
    "rt_info": "",
}
_ALLOWED = {name: frozenset(attributes.split()) for name, attributes in _ELEMENTS.items()}
_DESCRIBING = frozenset(("name", "value", "version"))
_TYPE_NAMES = """
    Add AvgPool Broadcast Clamp Concat Const Convert Convolution Divide FakeQuantize Gather GroupConvolution Identity
    LRN Log MatMul MaxPool Multiply Pad Parameter Power Range ReLU ReduceMax ReduceMean Reshape Result ShapeOf Sigmoid
    Slice SoftMax Squeeze Subtract Transpose Unsqueeze VariadicSplit
"""
_ATTRIBUTE_NAMES = """
    alpha auto_broadcast auto_pad axis batch_dims beta bias destination_type dilations element_type exclude-pad
    index_element_type keep_dims kernel levels m_pythondiv max min mode offset output_type pad_mode pads_begin pads_end
    rounding_type shape size special_zero strides transpose_a transpose_b
"""
_TYPES, _ATTRIBUTES = frozenset(_TYPE_NAMES.split()), frozenset(_ATTRIBUTE_NAMES.split())
_POSITIVE = frozenset(("dilations", "kernel", "strides", "levels"))
_OPSET = re.compile(r"opset\d{1,2}")
_WORDS = re.compile(r"[a-z0-9_]{0,32}")
_NUMBERS = re.compile(r"-?[0-9.]{1,32}(?:e-?[0-9]{1,3})?")


@dataclass
class _Layer:
    type: str
    data: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)  # port → the layer it comes from


def check_ir(xml: bytes, weights: bytes) -> None:
    """Raise :class:`ValueError` unless the two are a graph of ours with finite weights; it says what is wrong."""
    reader = _Reader()
    try:
        reader.read(xml)
    except expat.ExpatError as error:
        raise ValueError(f"is not a graph OpenVINO can read: {expat.errors.messages[error.code]}") from error
    whole = {id_: _constant(layer.data, weights) for id_, layer in reader.layers.items() if layer.type == "Const"}
    for layer in reader.layers.values():
        if layer.type in ("Broadcast", "Range") and not all(
            _is_of_ranks(source, reader.layers, whole) for source in layer.inputs.values()
        ):
            raise ValueError(f"holds a {layer.type} of more than the number of sides of an array")


class _Reader:
    """Collects layers and edges while expat parses the text."""

    def __init__(self) -> None:
        self.layers: dict[str, _Layer] = {}
        self.open: list[str] = []
        self.last = _Layer("")
        self.handlers = {"layer": self.layer, "data": self.data, "edge": self.edge}

    def read(self, xml: bytes) -> None:
        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler, parser.EndElementHandler = self.start, self.end
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = parser.ProcessingInstructionHandler = self.refuse
        parser.Parse(xml, True)

    def refuse(self, *_: object) -> None:
        raise ValueError("is not a graph OpenVINO can read: it declares a document type or gives instructions")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        inside = self.open
        inside.append(name)
        if len(inside) > MAX_DEPTH or len(self.layers) > MAX_LAYERS:
            raise ValueError("is larger or deeper than any graph of ours")
        if name in self.handlers:
            self.handlers[name](attributes)
        elif name in _ALLOWED and attributes.keys() <= _ALLOWED[name]:
            return
        elif "rt_info" not in inside[:-1] or not attributes.keys() <= _DESCRIBING:  # nothing depends on it
            raise ValueError(f"has an element that no graph of ours has: {printable(name)[:80]}")

    def end(self, name: str) -> None:
        self.open.pop()

    def layer(self, attributes: dict[str, str]) -> None:
        type_, version = attributes.get("type", ""), attributes.get("version", "")
        ours = type_ in _TYPES and _OPSET.fullmatch(version) and attributes.keys() <= _ALLOWED["layer"]
        if not ours or self.open != ["net", "layers", "layer"]:
            raise ValueError(f"holds a layer that no graph of ours has: {printable(f'{version}.{type_}')[:80]}")
        id_ = attributes.get("id", "")
        if id_ in self.layers:
            raise ValueError(f"has two layers {printable(id_)[:80]}")
        self.last = self.layers[id_] = _Layer(type_)

    def data(self, attributes: dict[str, str]) -> None:
        if self.last.data or not attributes.keys() <= _ATTRIBUTES or self.open[:-1] != ["net", "layers", "layer"]:
            raise ValueError(f"holds a {self.last.type} with attributes that it has not in graphs of ours")
        for name, value in attributes.items():
            if not _is_plain(name, value):
                raise ValueError(f"holds a {self.last.type} whose {name} is out of range")
        self.last.data = attributes

    def edge(self, attributes: dict[str, str]) -> None:
        source, to, port = (attributes.get(name, "") for name in ("from-layer", "to-layer", "to-port"))
        if source not in self.layers or to not in self.layers or port in self.layers[to].inputs:
            raise ValueError("has an edge between layers that are not there, or two into one port")
        self.layers[to].inputs[port] = source


def _is_plain(name: str, value: str) -> bool:
    """Whether a value is words, or numbers in range. Offsets of constants are checked with the bytes."""
    parts = [part.strip() for part in value.split(",")]
    if len(parts) > MAX_RANK:
        return False
    if name in ("offset", "size"):
        return value.isdecimal() and len(value) < 16
    least = 1 if name in _POSITIVE else -MAX_NUMBER
    for part in parts:
        if _NUMBERS.fullmatch(part):
            try:
                number = float(part)
            except ValueError:
                return False
            if not least <= number <= MAX_NUMBER:
                return False
        elif not (_WORDS.fullmatch(part) or (name == "shape" and part == "?")) or name in _POSITIVE:
            return False
    return True


def _constant(data: dict[str, str], weights: bytes) -> list[int] | None:
    """Check a constant. Returns its numbers if they are whole and few."""
    try:
        dtype = np.dtype(_DTYPES[data["element_type"]])
        shape = [int(side) for side in data["shape"].split(",") if side.strip()]
        offset, size = int(data["offset"]), int(data["size"])
    except (KeyError, ValueError) as error:
        raise ValueError("has a constant without a type, shape or place") from error
    if offset + size > len(weights) or min(shape, default=1) < 1 or math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"has a constant of shape {shape} in {size:,} bytes from byte {offset:,} of {len(weights):,}")
    values = np.frombuffer(weights, dtype, math.prod(shape), offset)
    if dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError("has weights that are not finite: train it again, or get another copy")
        return None
    if dtype.itemsize == 1:
        return None
    if len(values) > MAX_WHOLE_NUMBERS or (np.abs(values.astype(np.float64)) > MAX_NUMBER).any():
        raise ValueError("has a constant with whole numbers out of range")
    return [int(value) for value in values]


def _is_of_ranks(id_: str, layers: dict[str, _Layer], whole: dict[str, list[int] | None], depth: int = 4) -> bool:
    """Whether the output of a layer is a few small numbers, made from constants and from ranks of arrays.

    OpenVINO writes the shape that a bias is broadcast to in this way, and evaluates such layers while it reads.
    """
    layer = layers[id_]
    if layer.type == "Const":
        values = whole[id_]
        return values is not None and len(values) <= MAX_RANK and all(abs(value) <= MAX_RANK for value in values)
    sources = list(layer.inputs.values())
    if layer.type == "ShapeOf":
        return [layers[source].type for source in sources] == ["ShapeOf"]
    return (
        layer.type in ("Subtract", "Squeeze")
        and depth > 0
        and all(_is_of_ranks(source, layers, whole, depth - 1) for source in sources)
    )
