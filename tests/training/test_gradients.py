"""Gradients of convolutions on small maps, against torch's own in 32 bits."""

import pytest
import torch
from torch import nn

from googlenet import create
from googlenet.training.gradients import CroppedConv2d, MatmulWeightGradConv2d, use_small_map_gradients


def gradients(layer, x, down, bf16):
    layer.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        y = layer(x)
    y.backward(down.to(y.dtype))
    return y.float(), x.grad, layer.weight.grad.clone()


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("side", [(1, 1), (2, 3), (3, 3), (8, 8)])
def test_a_quick_convolution_learns_what_a_plain_one_does(kernel, side):
    torch.manual_seed(0)
    memory = torch.channels_last
    layer = nn.Conv2d(24, 40, kernel, padding=kernel // 2, bias=False).to(memory_format=memory)
    x = torch.randn(6, 24, *side).contiguous(memory_format=memory)
    down = torch.randn(6, 40, *side).contiguous(memory_format=memory)
    exact, plain = gradients(layer, x, down, bf16=False), gradients(layer, x, down, bf16=True)
    use_small_map_gradients(layer)
    assert type(layer) is MatmulWeightGradConv2d
    for quick, coarse, true in zip(gradients(layer, x, down, bf16=True), plain, exact, strict=True):
        assert quick.dtype == torch.float32
        assert (quick - true).abs().max() <= 1.5 * (coarse - true).abs().max() + 1e-6
    assert layer.weight.grad.is_contiguous(memory_format=memory)  # else a fused optimiser mixes its sums up
    for same, true in zip(gradients(layer, x, down, bf16=False), exact, strict=True):
        assert torch.equal(same, true)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (7, 2), (5, 3), ((3, 1), (2, 1))])
@pytest.mark.parametrize("side", [(1, 1), (1, 4), (2, 2), (3, 1), (5, 5)])
def test_weights_that_meet_padding_alone_get_no_gradient_rather_than_what_was_in_memory(kernel, stride, side):
    torch.manual_seed(0)
    padding = tuple(k // 2 for k in kernel) if isinstance(kernel, tuple) else kernel // 2
    layer = nn.Conv2d(64, 64, kernel, stride, padding).to(memory_format=torch.channels_last)
    x = torch.randn(6, 64, *side).contiguous(memory_format=torch.channels_last)
    down = torch.randn_like(layer(x))
    exact = gradients(layer, x, down, bf16=False)
    use_small_map_gradients(layer)
    assert type(layer) is CroppedConv2d
    for _ in range(10):
        remains = [torch.full_like(layer.weight, torch.nan, dtype=torch.bfloat16) for _ in range(20)]
        del remains
        for found, true in zip(gradients(layer, x, down, bf16=True), exact, strict=True):
            assert (found - true).abs().max() <= 0.01 * true.abs().max()
        assert torch.equal(layer.weight.grad == 0, exact[2] == 0)
        assert layer.weight.grad.is_contiguous(memory_format=torch.channels_last)


def test_only_plain_convolutions_are_quickened_and_no_name_changes():
    network = create("googlenet_bn", num_classes=4)
    before = list(network.state_dict())
    use_small_map_gradients(network)
    assert list(network.state_dict()) == before
    slow = [name for name, layer in network.named_modules() if type(layer) is CroppedConv2d]
    assert slow == ["conv1.conv"]  # of stride 2
    assert not any(type(layer) is nn.Conv2d for layer in network.modules())
    others = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, bias=False), nn.Conv2d(4, 4, 1, groups=4))
    use_small_map_gradients(others)
    assert all(type(layer) is nn.Conv2d for layer in others)


def test_frozen_weights_get_no_gradient_but_what_is_before_them_does():
    layer = nn.Conv2d(8, 8, 3, padding=1, bias=False).requires_grad_(False)
    use_small_map_gradients(layer)
    x = torch.randn(2, 8, 2, 2, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).sum().backward()
    assert layer.weight.grad is None
    assert x.grad.abs().sum() > 0
