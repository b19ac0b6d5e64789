import math

import pytest
import torch
from torch import nn

from googlenet.errors import NetworkError
from googlenet.models.build import create


def weighted(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


def classifiers(network):
    return [network.fc, network.aux1[-1], network.aux2[-1]]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_kaiming_is_the_notes():
    network = create("googlenet_plain", init="kaiming")
    for conv in weighted(network, nn.Conv2d):
        fan_out = conv.out_channels * math.prod(conv.kernel_size)
        if conv.weight.numel() > 10_000:
            assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
        assert not conv.bias.any()
    for linear in weighted(network, nn.Linear):
        assert linear.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert not linear.bias.any()


def test_xavier_is_caffes():
    network = create("googlenet")  # its own
    for layer in weighted(network, (nn.Conv2d, nn.Linear)):
        bound = math.sqrt(3 / layer.weight[0].numel())
        assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.02)
        expected = 0.0 if any(layer is each for each in classifiers(network)) else 0.2
        assert layer.bias.eq(expected).all()


def test_truncated_normal_has_no_tails():
    network = create("googlenet", init="truncated_normal")
    for layer in weighted(network, (nn.Conv2d, nn.Linear)):
        std = math.sqrt(1 / layer.weight[0].numel())
        assert layer.weight.abs().max().item() <= 2 * std * 1.0001
        if layer.weight.numel() > 10_000:
            assert layer.weight.std().item() == pytest.approx(0.88 * std, rel=0.05)
        assert not layer.bias.any()


@pytest.mark.parametrize("how", ["kaiming", "xavier", "truncated_normal"])
def test_it_is_silent(how, capfd, recwarn):
    create("googlenet", init=how)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"init": "kaming"}, "did you mean 'kaiming'"),
        ({"aux": 3}, "googlenet has 2, got 3"),
        ({"aux": -1}, "googlenet has 2, got -1"),
        ({"dropout": 1.0}, "from 0 up to, not including, 1; got 1.0"),
        ({"num_classes": 0}, "num_classes must be a whole number from 1 to 1,048,576, got 0"),
        ({"in_channels": 2.5}, "in_channels must be a whole number from 1 to 1,048,576, got 2.5"),
    ],
)
def test_a_wrong_argument_is_a_clear_error(options, says):
    with pytest.raises(NetworkError, match=says):
        create("googlenet", **options)
