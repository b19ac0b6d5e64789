"""The few protocol buffer messages that Caffe's and TensorFlow's weights are written in.

The numbers are those of Caffe's ``caffe.proto`` and TensorFlow's ``graph.proto``. Other fields of these files are
skipped, as protocol buffers skip unknown fields.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_Field = descriptor_pb2.FieldDescriptorProto

# message → "field number type"; a star marks repeated fields.
_MESSAGES = {
    "NetParameter": ("layers 2 V1LayerParameter*", "layer 100 LayerParameter*"),
    "V1LayerParameter": ("name 4 string", "blobs 6 BlobProto*"),
    "LayerParameter": ("name 1 string", "blobs 7 BlobProto*"),
    "BlobProto": (
        "num 1 int32", "channels 2 int32", "height 3 int32", "width 4 int32",
        "data 5 float*", "double_data 8 double*", "shape 7 BlobShape",
    ),
    "BlobShape": ("dim 1 int64*",),
    "GraphDef": ("node 1 NodeDef*",),
    "NodeDef": ("name 1 string", "op 2 string", "attr 5 AttrEntry*"),
    "AttrEntry": ("key 1 string", "value 2 AttrValue"),  # an entry of a map
    "AttrValue": ("tensor 8 TensorProto",),
    "TensorProto": ("dtype 1 int32", "tensor_shape 2 TensorShapeProto", "tensor_content 4 bytes", "float_val 5 float*"),
    "TensorShapeProto": ("dim 2 Dim*",),
    "Dim": ("size 1 int64",),
}  # fmt: skip

_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
}


def parse(message: str, content: bytes) -> Any:
    """Read ``content`` as a message of the table above. Raises :class:`ValueError` if it is none."""
    parsed = _classes()[message]()
    try:
        parsed.ParseFromString(content)
    except DecodeError as error:
        raise ValueError("not the protocol buffer it should be, or cut off") from error
    return parsed


@cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="weights.proto", package="weights", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add_field(message, *field.split())
    pool = descriptor_pool.DescriptorPool()  # not the default pool: Caffe or TensorFlow may be imported too
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"weights.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


def _add_field(message: Any, name: str, number: str, kind: str) -> None:
    label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=int(number), label=label)
    kind = kind.removesuffix("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".weights.{kind}"
