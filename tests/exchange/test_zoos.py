"""Weights by the names of Caffe's and ONNX's model zoos, run by onnxruntime and torchvision as oracles."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torchvision
from onnx import numpy_helper

import googlenet
from googlenet.errors import WeightsError
from googlenet.exchange import convert as converting
from googlenet.exchange import files
from googlenet.models import weights, zoo
from googlenet.models.shapes import state_dict_on_meta

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def filled(name, scale=1.0):
    """A graph that the onnx package ships without weights, with random numbers for them."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    random = np.random.default_rng(0)
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "ConstantOfShape"]:
        arrays[node.output[0]] = np.empty(arrays[node.input[0]].astype(int), np.float32)
        model.graph.node.remove(node)
    del model.graph.initializer[:]
    for key, array in arrays.items():
        values = drawn(key, array, random, scale) if array.dtype == np.float32 else array
        model.graph.initializer.append(numpy_helper.from_array(values, key))
    return model


def drawn(name, array, random, scale):
    if name.endswith(("_var_0", "_riv_0", "_scale_0", "_s_0", "/sc_w_0")):
        return random.uniform(0.5, 1.5, array.shape).astype(np.float32)
    if array.ndim < 2:
        return random.normal(0, 0.1, array.shape).astype(np.float32)
    is_last = name.endswith(("fc8_w_0", "classifier_w_0", "pred_w_0"))
    deviation = np.sqrt((scale if is_last else 2) / np.prod(array.shape[1:]))
    return (random.standard_normal(array.shape, np.float32) * deviation).astype(np.float32)


def answers(model, fed):
    import onnxruntime

    (images,) = [i for i in model.graph.input if i.name.endswith("data_0")]
    for dimension, side in zip(images.type.tensor_type.shape.dim[2:], fed.shape[2:], strict=True):
        dimension.dim_value = side
    del model.graph.value_info[:]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {images.name: fed})[0].reshape(len(fed), -1)
    assert 0.01 < found.max() < 0.999  # the oracle says something
    return found


@pytest.mark.parametrize(
    ("file", "network", "size", "mean", "std", "scale"),
    [
        ("bvlc_alexnet", "alexnet", 227, (123, 117, 104), (1, 1, 1), 0.05),
        ("inception_v2", "inception_v2", 224, (123, 117, 104), (1, 1, 1), 1e-6),
        ("resnet50", "resnet50", 224, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 2e-6),
    ],
)
def test_networks_of_the_onnx_zoo_answer_as_onnxruntime_does(tmp_path, file, network, size, mean, std, scale):
    model = filled(file, scale)
    onnx.save(model, tmp_path / "w.onnx")
    card, taken = converting.read_weights(tmp_path / "w.onnx", zoo.find(network), "theirs")
    preprocessing = card.preprocessing
    assert (preprocessing.channel_order, preprocessing.size) == ("BGR", size)
    np.testing.assert_allclose(np.array(preprocessing.mean) * 255, mean, rtol=1e-6)
    np.testing.assert_allclose(np.array(preprocessing.std) * 255, std, rtol=1e-6)
    assert card.class_names[:2] == ("tench", "goldfish")
    pixels = np.random.default_rng(0).integers(0, 256, (1, size, size, 3)).astype(np.float32)
    fed = ((pixels - np.float32(mean)) / np.float32(std))[..., ::-1].transpose(0, 3, 1, 2).copy()
    built = googlenet.create(taken.network).eval()
    built.load_state_dict(taken.state)
    with torch.inference_mode():
        found = built(torch.from_numpy(fed)).softmax(1).numpy()
    # Logits reach ±80, so that the last bits of fp32, which differ between processors, are 5e-5 of a probability.
    np.testing.assert_allclose(found, answers(model, fed), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", ["vgg11", "vgg16", "vgg19"])
def test_vgg_of_caffe(network):
    ours = state_dict_on_meta(zoo.find(network))
    theirs = {}
    for key, tensor in ours.items():
        stage, *_, kind = key.split(".")
        place = int(key.split(".")[1]) + 1 if len(key.split(".")) == 4 else 1
        theirs[f"{stage}_{place}.{kind}" if stage.startswith("conv") else f"{stage}.{kind}"] = tensor
    depths = {"vgg11": 8, "vgg16": 13, "vgg19": 16}
    assert ("conv5_4.weight" in theirs) == (network == "vgg19")
    assert len([name for name in theirs if name.startswith("conv")]) == 2 * depths[network]
    taken = weights.from_layout(zoo.find(network), {name: torch.zeros(1).expand(t.shape) for name, t in theirs.items()})
    assert (taken.layout, taken.state.keys()) == ("caffe", ours.keys())


def caffe_resnet(module):
    """What the authors' ResNet-50-model.caffemodel has for a module of torchvision."""
    parts = dict(module.named_modules())
    layers = [("conv1", [parts["conv1"].weight, parts["conv1"].bias]), *caffe_norm("conv1", "_", parts["bn1"])]
    for stage in range(1, 5):
        for number, block in enumerate(parts[f"layer{stage}"]):
            name = f"{stage + 1}{'abcdef'[number]}_branch"
            units = [
                (f"{name}2{'abc'[n - 1]}", getattr(block, f"conv{n}"), getattr(block, f"bn{n}")) for n in (1, 2, 3)
            ]
            units += [(f"{name}1", *block.downsample)] if block.downsample else []
            for unit, conv, norm in units:
                layers += [(f"res{unit}", [conv.weight]), *caffe_norm(unit, "", norm)]
    return [*layers, ("fc1000", [module.fc.weight, module.fc.bias])]


def caffe_norm(name, between, norm):
    statistics = [
        norm.running_mean * 0.5,
        norm.running_var * 0.5,
        torch.tensor([0.5]),
    ]  # as sums, and what divides them
    return [(f"bn{between}{name}", statistics), (f"scale{between}{name}", [norm.weight, norm.bias])]


def test_the_authors_resnet_50_of_caffe(tmp_path, wire):
    """Its blocks halve the map in their first convolution, its first has a bias, its pool has no padding."""
    torch.manual_seed(0)
    module = torchvision.models.resnet50(num_classes=5)
    module.conv1 = torch.nn.Conv2d(3, 64, 7, 2, 3, bias=True)
    module.maxpool = torch.nn.MaxPool2d(3, 2, ceil_mode=True)
    for block in (module.layer2[0], module.layer3[0], module.layer4[0]):
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    module.train()(torch.randn(8, 3, 64, 64))  # statistics of its own
    module.eval()
    layers = [(name, [blob.detach().numpy() for blob in blobs]) for name, blobs in caffe_resnet(module)]
    (tmp_path / "w.caffemodel").write_bytes(b"".join(wire.caffe_layer(name, blobs) for name, blobs in layers))
    bundle = googlenet.convert(tmp_path / "w.caffemodel", tmp_path / "run", network="resnet50", image_size=64)
    assert (bundle.card.name, bundle.card.data["layout"]) == ("resnet50_caffe", "caffe")
    with np.load(tmp_path / "run" / "bundle" / "golden.npz") as golden:
        pixels = golden["images"]
    fed = torch.from_numpy(pixels[..., ::-1].copy()).permute(0, 3, 1, 2) - torch.tensor([104.0, 117, 123]).view(3, 1, 1)
    with torch.inference_mode():
        expected = module(fed).softmax(1).numpy()
    np.testing.assert_allclose(googlenet.load(tmp_path / "run").engine.probabilities(pixels), expected, atol=1e-4)


def test_weights_of_another_network_are_told_apart(tmp_path, wire):
    module = torchvision.models.resnet18(num_classes=2)
    with pytest.raises(WeightsError, match=r"no weights of vgg16.*; they fit resnet18: give --network resnet18$"):
        weights.from_layout(zoo.find("vgg16"), module.state_dict())
    onnx.save(filled("squeezenet"), tmp_path / "w.onnx")
    with pytest.raises(WeightsError, match=r"these are no weights of alexnet"):
        weights.from_layout(zoo.find("alexnet"), files.read(tmp_path / "w.onnx").tensors)
