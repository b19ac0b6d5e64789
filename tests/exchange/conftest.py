"""Files of weights written byte by byte, and a small Caffe graph."""

from types import SimpleNamespace

import numpy as np
import pytest

# Protocol buffers, encoded by hand: protobuf's own classes would share a mistake with the reader.


def varint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def block(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    return block(field, value.encode())


def floats(array):
    return np.ascontiguousarray(array, "<f4").tobytes()


def caffe_blob(array, legacy=False):
    if legacy:
        shape = (1,) * (4 - array.ndim) + array.shape
        return b"".join(number(n + 1, side) for n, side in enumerate(shape)) + block(5, floats(array))
    return block(7, block(1, b"".join(map(varint, array.shape)))) + block(5, floats(array))


def caffe_layer(name, arrays, legacy=False):
    if legacy:
        return block(2, text(4, name) + b"".join(block(6, caffe_blob(array, True)) for array in arrays))
    return block(100, text(1, name) + text(2, "Convolution") + b"".join(block(7, caffe_blob(a)) for a in arrays))


def tensorflow_constant(name, array, dtype=1, content=None):
    shape = b"".join(block(2, number(1, side)) for side in array.shape)
    values = block(4, floats(array)) if content is None else content
    tensor = number(1, dtype) + block(2, shape) + values
    value = block(5, text(1, "value") + block(2, block(8, tensor)))
    return block(1, text(1, name) + text(2, "Const") + value + block(5, text(1, "dtype") + block(2, number(6, dtype))))


@pytest.fixture(scope="session")
def wire():
    """What encodes files of Caffe and TensorFlow."""
    return SimpleNamespace(
        varint=varint, block=block, text=text, floats=floats,
        caffe_layer=caffe_layer, tensorflow_constant=tensorflow_constant,
    )  # fmt: skip
