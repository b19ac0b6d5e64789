"""Names and shapes read off the data, against the modules that PyTorch builds."""

from dataclasses import replace

import pytest
import torch

from googlenet.models.build import create
from googlenet.models.networks.classics import LENET5
from googlenet.models.networks.googlenet import inception
from googlenet.models.shapes import state_dict_on_meta
from googlenet.models.spec import AuxTap, BatchNorm, Conv, Linear, Network, Pool, Residual, SeparableConv, Stage
from googlenet.models.zoo import NETWORKS

ODD = Network(
    "odd",
    stages=[
        Stage("stem", [Conv(8, (3, 5), norm=False), Conv(8, groups=2)]),
        Stage("separable", [SeparableConv(12, multiplier=2)]),
        Stage("sum", [Residual([Conv(12, relu=False)]), *inception(1, 1, 1, 1, 1, 1), Pool("avg", output=2)]),
        Stage("fc", [Linear(5, relu=True), Linear()]),
    ],
    aux=[AuxTap("side", "separable", [Pool("max", output=1), Linear()])],
    norm=BatchNorm(bias=True),
    input_size=16,
    num_classes=3,
)


@pytest.mark.parametrize(
    "network",
    [*NETWORKS.values(), ODD, replace(ODD, norm=None), replace(LENET5, in_channels=4, num_classes=2)],
    ids=lambda network: network.name,
)
def test_names_shapes_and_order_are_those_of_the_module(network):
    with torch.device("meta"):
        built = create(network).state_dict()
    found = {name: (header.shape, header.is_floating_point()) for name, header in state_dict_on_meta(network).items()}
    assert list(found.items()) == [(name, (tuple(t.shape), t.is_floating_point())) for name, t in built.items()]
