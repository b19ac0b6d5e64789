"""A network without branches against the whole one, in PyTorch, with these branches held constant by hooks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from googlenet.explaining.shapley import modules_of
from googlenet.models.build import create
from googlenet.models.shapes import state_dict_on_meta
from googlenet.models.spec import Conv, Parallel, ReLU, SeparableConv, Stage
from googlenet.models.zoo import NETWORKS
from googlenet.pruning.ranking import removable
from googlenet.pruning.slicing import without_branches
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


def held(module, constants):
    """Answers of the whole network whose branches are held constant: logits and those of the heads."""
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
    assert sum(p.numel() for p in smaller.parameters()) < 0.8 * sum(p.numel() for p in module.parameters())
