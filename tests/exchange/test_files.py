"""Files of weights, written here by the libraries they belong to or, for Caffe and TensorFlow, byte by byte."""

import collections
import pickle
import re
import struct

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import save_file

from googlenet.errors import WeightsError
from googlenet.exchange import files

TENSORS = {"conv.weight": torch.randn(4, 3, 3, 3), "conv.bias": torch.randn(4), "fc.weight": torch.randn(2, 4).half()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=0, rtol=0)


# PyTorch


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".PTH"])
def test_a_state_dict(tmp_path, suffix):
    torch.save(collections.OrderedDict(TENSORS), tmp_path / f"w{suffix}")
    found = files.read(tmp_path / f"w{suffix}")
    assert_same(found.tensors, TENSORS)
    assert len(found.sha256) == 64


def test_the_format_of_before_pytorch_1_6(tmp_path):
    torch.save(TENSORS, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert_same(files.read(tmp_path / "w.pth").tensors, TENSORS)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": state},
        lambda state: {"model_state_dict": state},
        lambda state: {"state_dict_ema": state},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {name: torch.nn.Parameter(tensor) for name, tensor in state.items()},
    ],
)
def test_a_state_dict_inside_a_checkpoint(tmp_path, wrap):
    torch.save(wrap(TENSORS), tmp_path / "w.pth")
    found = files.read(tmp_path / "w.pth").tensors
    assert_same(
        {
            re.sub(
                r"^(module|model|model_state_dict|state_dict|state_dict_ema)\.", "", name.replace(".module.", ".")
            ): tensor
            for name, tensor in found.items()
        },
        TENSORS,
    )  # called by the keys that lead to them
    assert not any(tensor.requires_grad for tensor in found.values())


class Payload:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("save", [torch.save, lambda o, path: path.write_bytes(pickle.dumps(o, protocol=2))])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, save):
    save({"x": Payload(tmp_path / "ran")}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w.pth: its pickle holds more than tensors \(\S*open\) and could run code"):
        files.read(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_whole_module_and_a_torchscript_program_are_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"torch.nn.modules.linear.Linear\).*save the weights alone"):
        files.read(tmp_path / "w.pth")
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="TorchScript program"):
        files.read(tmp_path / "w.pt")


def test_a_pickle_without_tensors(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="holds no weights"):
        files.read(tmp_path / "w.pth")


# safetensors and folders


def test_safetensors_and_folders(tmp_path):
    save_file(TENSORS, tmp_path / "any.safetensors")
    assert_same(files.read(tmp_path / "any.safetensors").tensors, TENSORS)
    with pytest.raises(WeightsError, match=r"a folder needs model.safetensors or pytorch_model.bin"):
        files.read(tmp_path)
    torch.save({"other": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    assert_same(files.read(tmp_path).tensors, {"other": torch.ones(1)})
    save_file(TENSORS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"num_classes": 2}')
    found = files.read(tmp_path)
    assert_same(found.tensors, TENSORS)
    assert found.config == {"num_classes": 2}
    for damaged in ("{", "[]", "\x00"):
        (tmp_path / "config.json").write_text(damaged)
        with pytest.raises(WeightsError, match=r"config.json is damaged"):
            files.read(tmp_path)


# Protocol buffers.


def array_of(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("legacy", [False, True])
def test_caffemodel(tmp_path, wire, legacy):
    conv, fc, bias = array_of(4, 3, 5, 5), array_of(10, 4), array_of(10)
    layers = (("data", []), ("conv1/7x7_s2", [conv]), ("loss3/classifier", [fc, bias]))
    content = wire.text(1, "GoogleNet") + b"".join(wire.caffe_layer(name, arrays, legacy) for name, arrays in layers)
    (tmp_path / "w.caffemodel").write_bytes(content)
    expected = {"conv1/7x7_s2.weight": conv, "loss3/classifier.weight": fc, "loss3/classifier.bias": bias}
    found = files.read(tmp_path / "w.caffemodel").tensors
    assert_same(found, {name: torch.from_numpy(array) for name, array in expected.items()})


def test_frozen_tensorflow_graph(tmp_path, wire):
    conv, fc, bias = array_of(5, 4, 3, 8), array_of(6, 10), array_of(10)
    one_for_all = wire.varint(5 << 3 | 5) + struct.pack("<f", 0.25)
    content = b"".join(
        (
            wire.block(1, wire.text(1, "input") + wire.text(2, "Placeholder")),
            wire.tensorflow_constant("conv2d0_w", conv),
            wire.tensorflow_constant("softmax2_w", fc),
            wire.tensorflow_constant("softmax2_b", bias),
            wire.tensorflow_constant("filled", np.empty((2, 3)), content=one_for_all),
            wire.tensorflow_constant("shape", np.zeros(2, np.float32), dtype=3),
            wire.tensorflow_constant("keep_prob", np.float32(0.5)),
        )
    )
    (tmp_path / "w.pb").write_bytes(content)
    expected = {
        "conv2d0_w": torch.from_numpy(conv.transpose(3, 2, 0, 1).copy()),
        "softmax2_w": torch.from_numpy(fc.T.copy()),
        "softmax2_b": torch.from_numpy(bias),
        "filled": torch.full((3, 2), 0.25),
    }
    assert_same(files.read(tmp_path / "w.pb").tensors, expected)


def onnx_file(path, tensors, nodes=()):
    initializers = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    graph = onnx.helper.make_graph(list(nodes), "graph", [], [], initializers)
    onnx.save(onnx.helper.make_model(graph), path)


def test_onnx_initializers_lose_what_converters_append(tmp_path):
    conv, fc, bias = array_of(4, 3, 5, 5), array_of(10, 4), array_of(10)
    names = {"conv1/7x7_s2_w_0": conv, "conv1/7x7_s2_b_0": bias, "loss3/classifier_w_0": fc[None, None]}
    names |= {"conv2d0_w:0": conv, "conv2d0_b/read/_3": bias, "fc.weight": fc, "shape": np.array([1, -1])}
    onnx_file(tmp_path / "w.onnx", names)
    found = files.read(tmp_path / "w.onnx").tensors
    expected = {"conv1/7x7_s2.weight": conv, "conv1/7x7_s2.bias": bias, "loss3/classifier.weight": fc}
    expected |= {"conv2d0_w": conv, "conv2d0_b": bias, "fc.weight": fc}
    assert_same(found, {name: torch.from_numpy(array) for name, array in expected.items()})


def test_onnx_matrices_that_are_multiplied_from_the_right_are_turned(tmp_path):
    make = onnx.helper.make_node
    nodes = [make("MatMul", ["x", "a_w"], ["y"]), make("Gemm", ["y", "b_w"], ["z"])]
    nodes.append(make("Gemm", ["z", "c_w"], ["t"], transB=1))
    arrays = {name: array_of(3, 4) for name in ("a_w", "b_w", "c_w")}
    onnx_file(tmp_path / "w.onnx", arrays, nodes)
    found = files.read(tmp_path / "w.onnx").tensors
    assert [tuple(found[name].shape) for name in arrays] == [(4, 3), (4, 3), (3, 4)]


def test_onnx_with_data_outside_is_refused(tmp_path):
    (tensor,) = [numpy_helper.from_array(array_of(4, 4), "w")]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "graph", [], [], [tensor]))
    (tmp_path / "secret").write_bytes(bytes(64))
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "secret")
    model.graph.initializer[0].ClearField("raw_data")
    (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match=r"w lies outside of the file: only single-file"):
        files.read(tmp_path / "w.onnx")


# Damaged, empty, foreign: one clear error each.


def whole(kind, folder, wire):
    path = folder / f"w{kind}"
    array = array_of(64, 16, 3, 3)
    if kind in (".pth", ".pt", ".bin"):
        torch.save({"a": torch.from_numpy(array)}, path)
    elif kind == ".safetensors":
        save_file({"a": torch.from_numpy(array)}, path)
    elif kind == ".caffemodel":
        path.write_bytes(wire.caffe_layer("a", [array]))
    elif kind == ".onnx":
        onnx_file(path, {"a": array})
    else:
        path.write_bytes(wire.tensorflow_constant("a", array))
    return path


KINDS = [".pth", ".safetensors", ".caffemodel", ".onnx", ".pb"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_a_file_that_is_cut_off(tmp_path, wire, kind, part):
    path = whole(kind, tmp_path, wire)
    assert len(files.read(path).tensors) == 1
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(WeightsError) as raised:
        files.read(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"", b"hello, this is text", bytes(1000), b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_a_file_that_is_something_else(tmp_path, kind, content):
    path = tmp_path / f"w{kind}"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as raised:
        files.read(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_flipped_never_raise_anything_else(tmp_path, wire, kind):
    path = whole(kind, tmp_path, wire)
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(content)
        for place in random.integers(0, min(len(content), 400), 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            files.read(path)
        except WeightsError as error:
            assert str(path) in str(error)  # noqa: PT017 - a flipped bit of a number is no error


def test_what_is_not_there_or_of_no_known_kind(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere.pth does not exist"):
        files.read(tmp_path / "nowhere.pth")
    (tmp_path / "w.h5").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"w.h5 is of no known kind: weights are read from .pth, .pt"):
        files.read(tmp_path / "w.h5")


def test_two_tensors_of_one_name_and_a_shape_that_does_not_fit(tmp_path, wire):
    path = tmp_path / "w.caffemodel"
    path.write_bytes(wire.caffe_layer("a", [array_of(2, 2)]) * 2)
    with pytest.raises(WeightsError, match=r"two tensors are called a.weight"):
        files.read(path)
    shape = wire.block(7, wire.block(1, wire.varint(2) + wire.varint(3)))
    path.write_bytes(
        wire.block(100, wire.text(1, "a") + wire.block(7, shape + wire.block(5, wire.floats(array_of(2, 2)))))
    )
    with pytest.raises(WeightsError, match=r"a.weight is damaged: it has 4 values and should be 2×3"):
        files.read(path)
