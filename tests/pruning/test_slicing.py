"""A network without branches against the whole one, in PyTorch, with these branches held constant by hooks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from googlenet.errors import NetworkError
from googlenet.explaining.shapley import modules_of
from googlenet.models.build import create
from googlenet.models.shapes import state_dict_on_meta
from googlenet.models.spec import LRN, BatchNorm, Conv, Network, Parallel, Pool, ReLU, SeparableConv, Stage, classifier
from googlenet.models.zoo import NETWORKS
from googlenet.pruning.ranking import removable
from googlenet.pruning.slicing import drop_branches, without_branches
from tests.conftest import TINY

FIRST = Stage("first", [Conv(4, 3)])
SPREAD = Stage("module", [Parallel([Stage("a", [Conv(3)]), Stage("b", [Conv(5, 3), ReLU()]), Stage("c", [])])])


def narrow(layer):
    """An eighth of the channels: the same paths through the network, in a fraction of the time."""
    if isinstance(layer, Conv) and layer.out is not None:
        return replace(layer, out=max(1, layer.out // 8))
    return replace(layer, out=max(1, layer.out // 8)) if isinstance(layer, SeparableConv) else layer


def built(network, seed=0):
    """A module with statistics, biases and heads that are not those of initialisation."""
    torch.manual_seed(seed)
    module = create(network, num_classes=3).train()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for _ in range(2):
            module(torch.randn(4, module.network.in_channels, network.input_size, network.input_size))
    return module.eval()


def held(module, constants, images=None):
    """Images and the answers of the whole network to them, branches held constant: logits, those of the heads."""
    handles = []
    for name, of_module in modules_of(module.network, module.network.input_size, None).items():
        ends = np.cumsum([0, *of_module.channels])

        def hook(_, __, output, name=name, of_module=of_module, ends=ends):
            output = output.clone()
            for number, branch in enumerate(of_module.names):
                if (name, branch) in constants:
                    constant = torch.tensor(constants[name, branch], dtype=output.dtype)
                    output[:, ends[number] : ends[number + 1]] = constant[:, None, None]
            return output

        handles.append(module.get_submodule(name).register_forward_hook(hook))
    if images is None:
        images = torch.randn(2, module.network.in_channels, *2 * [module.network.input_size])
    with torch.inference_mode():
        found = module.forward_with_aux(images)
    for handle in handles:
        handle.remove()
    return images, found


def sliced_of(module, constants):
    weights = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
    sliced = without_branches(module.network, weights, constants)
    shapes = {key: tuple(value.shape) for key, value in sliced.weights.items()}
    assert shapes == {key: each.shape for key, each in state_dict_on_meta(sliced.network).items()}
    smaller = create(sliced.network)
    smaller.load_state_dict({key: torch.tensor(value) for key, value in sliced.weights.items()})
    return sliced, smaller.eval()


def some_branches(module, seed=0):
    """About half of the branches of each module, and what each channel is held at."""
    network, random = module.network, np.random.default_rng(seed)
    found = {}
    for name, of_module in removable(network, network.input_size).items():
        for number in random.permutation(len(of_module.names))[: len(of_module.names) // 2]:
            found[name, of_module.names[number]] = random.uniform(0, 1, of_module.channels[number])
    return found


@pytest.mark.parametrize(
    "network",
    [
        TINY,
        replace(TINY, pooled=("inception_1",), name="tiny that pools"),
        *(replace(NETWORKS[name].rewrite(narrow), input_size=size) for name, size in (
            ("googlenet", 32), ("inception_v3_small", 32), ("inception_v4_small", 32),
            ("inception_resnet_v1_small", 32), ("inception_v2_small", 32),
        )),
    ],
    ids=lambda network: network.name,
)  # fmt: skip
def test_it_answers_as_the_whole_network_with_the_branches_held_constant(network):
    module = built(network)
    constants = some_branches(module)
    sliced, smaller = sliced_of(module, constants)
    assert bool(sliced.bordered) == network.name.startswith("inception_v3")  # its averages count the padding
    if sliced.bordered:  # exact but at the border: see the next test
        constants = {key: np.zeros_like(value) for key, value in constants.items()}
        sliced, smaller = sliced_of(module, constants)
    assert not sliced.bordered
    assert len(constants) >= 2
    images, expected = held(module, constants)
    with torch.inference_mode():
        found = smaller.forward_with_aux(images)
    for one, other in zip((found.logits, *found.aux), (expected.logits, *expected.aux), strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=2e-4)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in module.parameters())


def test_a_padded_convolution_is_exact_inside_the_border_only():
    network = Network("padded", [Stage("module", [Parallel([Stage("a", [Conv(3)]), Stage("b", [Conv(4)])])]),
                                 Stage("after", [Conv(5, 3, relu=False)]), *classifier(0.1)], input_size=9)  # fmt: skip
    module = built(network)
    sliced, smaller = sliced_of(module, {("module", "b"): np.array([0.5, 0.2, 1.0, 0.3])})
    assert sliced.bordered == ("after",)
    maps = {}
    for each in (module, smaller):
        each.after.register_forward_hook(lambda _, __, output, key=each: maps.__setitem__(key, output))
    images, _ = held(module, {("module", "b"): np.array([0.5, 0.2, 1.0, 0.3])})
    with torch.inference_mode():
        smaller(images)
    difference = (maps[module] - maps[smaller]).abs().amax((0, 1))
    assert difference[1:-1, 1:-1].max() < 1e-5
    assert difference[0].min() > 1e-3


def test_every_layer_that_may_follow_keeps_the_constants():
    network = Network("follows", [FIRST, SPREAD, Stage("maxpool", [Pool("max", 2, 2)]), Stage("norm", [ReLU()]),
                                  Stage("separable", [SeparableConv(6, 3, padding=0, multiplier=2)]),
                                  Stage("flat", [Pool("avg", output=2)]), *classifier(0.1)[2:]],
                      norm=BatchNorm(bias=True), input_size=12)  # fmt: skip
    module = built(network)
    constants = {("module", "b"): np.linspace(0, 1, 5), ("module", "a"): np.array([0.1, 0.0, 2.0])}
    sliced, smaller = sliced_of(module, constants)
    images, expected = held(module, constants)
    with torch.inference_mode():
        torch.testing.assert_close(smaller(images), expected.logits, atol=1e-5, rtol=1e-4)
    assert sliced.bordered == ()
    flat = Network("flat", [FIRST, SPREAD, *classifier(0.1)[2:]], input_size=4)
    module = built(flat)
    sliced, smaller = sliced_of(module, constants)
    images, expected = held(module, constants)
    with torch.inference_mode():
        torch.testing.assert_close(smaller(images), expected.logits, atol=1e-5, rtol=1e-4)


def test_what_cannot_be_removed_says_why():
    def removed(network, **keys):
        return without_branches(network, {}, {("module", name): np.zeros(count) for name, count in keys.items()})

    with pytest.raises(NetworkError, match="LRN at norm mixes channels: all before it have to stay"):
        removed(Network("lrn", [FIRST, SPREAD, Stage("norm", [LRN()]), *classifier(0.1)], input_size=9), a=3)
    grouped = Network("grouped", [FIRST, SPREAD, Stage("after", [Conv(4, groups=2)]), *classifier(0.1)], input_size=9)
    with pytest.raises(NetworkError, match="the convolution after has groups of channels"):
        removed(grouped, a=3)
    tall = Network("plain", [FIRST, SPREAD, *classifier(0.1)], input_size=9)
    with pytest.raises(NetworkError, match="module would keep none of its 3 branches"):
        removed(tall, a=3, b=5, c=4)
    with pytest.raises(NetworkError, match="plain has no branch d of module"):
        removed(tall, d=1)
    names = set(removable(NETWORKS["inception_resnet_v2_small"].rewrite(narrow), 32))
    assert "block_8.9.body.0" in names  # a 1×1 convolution follows inside the block
    assert not {"mixed_5b", "reduction_a", "reduction_b"} & names  # what they put out goes around the next block
    for name in ("xception_small", "resnet18", "nin"):
        with pytest.raises(NetworkError, match=f"{name} has no branches to remove"):
            removable(NETWORKS[name], 32)


def test_every_branch_of_the_inceptions_can_be_removed():
    for name in ("googlenet", "googlenet_naive", "inception_v2", "inception_v3"):
        network = NETWORKS[name].rewrite(narrow)
        assert removable(network, network.input_size).keys() == modules_of(network, network.input_size).keys()
    fewer = drop_branches(NETWORKS["googlenet"], [("inception_5b", "5x5")])
    assert fewer.stages[-1] == NETWORKS["googlenet"].stages[-1]
