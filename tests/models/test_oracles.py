"""Against networks that nobody here wrote: torchvision's module, and Caffe's graph inside the onnx package."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from googlenet.errors import WeightsError
from googlenet.exchange.files import read
from googlenet.models.build import create
from googlenet.models.networks.googlenet import GOOGLENET
from googlenet.models.spec import LRN, Pool
from googlenet.models.weights import from_layout, to_layout
from googlenet.models.zoo import find


@pytest.fixture(scope="module")
def torchvision_network():
    import torchvision

    torch.manual_seed(0)
    theirs = torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=True, num_classes=11)
    with torch.no_grad():  # batch statistics and scales other than the initial ones
        for module in theirs.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 2)
                module.bias.normal_(0, 0.1)
    return theirs


@pytest.mark.parametrize("size", [224, 96])
def test_with_torchvisions_weights_its_logits_and_both_heads(torchvision_network, size):
    ours = create("googlenet_torchvision", num_classes=11, dropout=0)
    ours.load_state_dict(from_layout(ours.network, torchvision_network.state_dict()).state)
    x = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x), torchvision_network.eval()(x), atol=1e-5, rtol=1e-5)
        # Their heads speak in training only; without dropout and with fixed statistics that is comparable.
        theirs = torchvision_network.train()
        for module in theirs.modules():
            if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.Dropout)):
                module.eval()
        expected, outputs = theirs(x), ours.forward_with_aux(x)
    torch.testing.assert_close(outputs.logits, expected.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(outputs.aux[0], expected.aux_logits1, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(outputs.aux[1], expected.aux_logits2, atol=1e-5, rtol=1e-5)


def test_every_torchvision_tensor_has_its_place_and_goes_back_to_it(torchvision_network):
    state = torchvision_network.state_dict()
    taken = from_layout(find("googlenet_torchvision"), state)
    assert (taken.layout, taken.network.num_classes, len(taken.network.aux)) == ("torchvision", 11, 2)
    assert taken.state.keys() == create(taken.network).state_dict().keys()
    back = to_layout(taken.network, taken.state, "torchvision")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state if not key.endswith("num_batches_tracked"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda state: state.update(extra=torch.zeros(1)), "unknown: extra$"),
        (lambda state: state.pop("conv1.conv.weight"), "missing: conv1.conv.weight$"),
        (lambda state: state.update({"fc.bias": torch.zeros(3)}), r"of another shape: fc.bias \(3,\), needed \(11,\)$"),
        (lambda state: [state.pop(key) for key in list(state) if "aux2.fc" in key], "missing: aux2.fc1.weight"),
        (lambda state: state.clear(), "they have nothing; it has conv1.conv.weight"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(torchvision_network, spoil, says):
    state = dict(torchvision_network.state_dict())
    spoil(state)
    with pytest.raises(WeightsError, match=says):
        from_layout(find("googlenet_torchvision"), state)


def test_weights_without_heads_give_a_network_without_heads(torchvision_network):
    state = {key: tensor for key, tensor in torchvision_network.state_dict().items() if not key.startswith("aux")}
    assert from_layout(find("googlenet_torchvision"), state).network.aux == ()


@pytest.fixture(scope="module")
def caffe_weights(caffe_onnx, tmp_path_factory):
    path = tmp_path_factory.mktemp("caffe") / "googlenet.onnx"
    onnx.save(caffe_onnx, path)
    return read(path).tensors


def onnxruntime_answers(model, images):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"data_0": images})[0].reshape(len(images), -1)


def resized(model, side):
    """The same graph for another input size, in which the shapes written down for 224 do not stand."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (images,) = [i for i in copy.graph.input if i.name == "data_0"]
    for dimension, value in zip(images.type.tensor_type.shape.dim[2:], (side, side), strict=True):
        dimension.dim_value = value
    del copy.graph.value_info[:]
    return copy


# The file of the onnx package rounds pooled sizes down where Caffe rounds up. At 222 pixels both give the same
# sizes, so the paper's network is compared as it is; at 224 it is told to round down, by a change of its data.
def rounding_down(layer):
    return replace(layer, ceil=False) if isinstance(layer, Pool) and layer.stride == 2 else layer


@pytest.mark.parametrize(
    ("network", "side"), [(GOOGLENET, 222), (GOOGLENET.rewrite(rounding_down), 224)], ids=["as it is", "rounding down"]
)
def test_with_random_weights_caffes_graph_and_ours_agree(caffe_onnx, caffe_weights, network, side):
    ours = create(network, num_classes=1000, aux=0).eval()
    taken = from_layout(ours.network, caffe_weights)
    assert (taken.layout, taken.network.aux) == ("caffe", ())
    ours.load_state_dict(taken.state)
    # Caffe's pixels reach from -124 to 151: values large enough for LRN to count.
    images = np.random.default_rng(1).uniform(-124, 151, (1, 3, side, side)).astype(np.float32)
    expected = onnxruntime_answers(resized(caffe_onnx, side), images)
    with torch.inference_mode():
        answers = ours(torch.from_numpy(images)).softmax(1).numpy()
    assert expected.max() > 5 * expected.mean()  # the oracle says something, not one flat row
    assert not np.allclose(answers_without_lrn(caffe_weights, network, images), expected, atol=1e-4)
    np.testing.assert_allclose(answers, expected, atol=1e-4)
    np.testing.assert_allclose(np.log(answers + 1e-9), np.log(expected + 1e-9), atol=1e-2)


def answers_without_lrn(weights, network, images):
    plain = create(network.rewrite(lambda layer: None if isinstance(layer, LRN) else layer), aux=0).eval()
    plain.load_state_dict(from_layout(plain.network, weights).state)
    with torch.inference_mode():
        return plain(torch.from_numpy(images)).softmax(1).numpy()
