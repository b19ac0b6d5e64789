"""Max pooling and batch normalization in one pass, against torch's own in 64 bits and in bf16."""

import copy
import os
import stat

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from googlenet import create
from googlenet.models.modules import Pooling
from googlenet.models.spec import Pool
from googlenet.training import kernels
from googlenet.training.fused import FusedBranches, FusedMaxPooling, FusedUnit, use_fused_layers

LAST = torch.channels_last
needs_kernels = pytest.mark.skipif(kernels.load_kernels() is None, reason="needs a C compiler, on Linux")


def random_map(*shape):
    return torch.randn(shape).bfloat16().contiguous(memory_format=LAST)


def in_bf16(module, x, gradient):
    """Output and gradient of the input, as a training step computes them."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    y.backward(gradient.to(y.dtype))
    return y.detach(), x.grad


@needs_kernels
@pytest.mark.parametrize("side", [(8, 8), (7, 12), (3, 3)])
@pytest.mark.parametrize(
    "pool", [Pool("max", 3, stride=2), Pool("max", 3, stride=1, padding=1), Pool("max", 2, stride=2, ceil=False)]
)
def test_max_pooling_takes_the_same_values_and_returns_gradients_to_them(pool, side):
    torch.manual_seed(0)
    x = random_map(4, 40, *side)
    layer = Pooling(pool)
    y = layer(x)
    gradient = random_map(*y.shape)
    use_fused_layers(nn.Sequential(layer))
    assert type(layer) is FusedMaxPooling
    same, of_x = in_bf16(layer, x, gradient)
    assert torch.equal(same, y)
    exact = x.double().requires_grad_()
    F.max_pool2d(exact, pool.kernel, pool.stride, pool.padding, ceil_mode=pool.ceil).backward(gradient.double())
    assert torch.equal(of_x, exact.grad.bfloat16())  # rounded once


@needs_kernels
def test_a_nan_in_a_window_stays():
    layer = Pooling(Pool("max", 3, stride=2))
    use_fused_layers(nn.Sequential(layer))
    x = random_map(2, 40, 5, 5)
    x[0, 1, 2, 2] = float("nan")
    assert in_bf16(layer, x, random_map(2, 40, 2, 2))[0].isnan().sum() == 4


def unit(channels):
    layer = nn.Sequential(nn.Identity(), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
    nn.init.uniform_(layer[1].weight, -1.5, 1.5)
    nn.init.uniform_(layer[1].bias, -1.0, 1.0)
    return layer


@needs_kernels
@pytest.mark.parametrize("shape", [(8, 24, 9, 5), (64, 130, 1, 1), (1, 3, 40, 40), (2, 64, 1, 1)])
@pytest.mark.parametrize("wider", [0, 16])
def test_normalisation_with_its_relu_is_as_exact_as_torchs(shape, wider):
    torch.manual_seed(0)
    x = random_map(*shape) + 3
    gradient = random_map(shape[0], shape[1] + wider, *shape[2:])[:, wider:]  # of a branch: part of a wider one
    torchs = unit(shape[1])
    ours, exact = copy.deepcopy(torchs), copy.deepcopy(torchs).double()
    use_fused_layers(nn.Sequential(ours))
    assert type(ours) is FusedUnit
    results = [in_bf16(module, x, gradient) for module in (torchs, ours)]
    precise = x.double().requires_grad_()
    y = exact(precise)
    y.backward(gradient.double())
    for index, true in enumerate((y.detach(), precise.grad)):
        error, coarse = ((result[index].double() - true).abs().max() for result in reversed(results))
        assert error <= 1.1 * coarse + 0.004 * true.abs().max()
    for name in ("weight", "bias"):
        true = getattr(exact[1], name).grad
        assert (getattr(ours[1], name).grad - true).abs().max() <= 0.01 * true.abs().max()
    for name, true in exact[1].named_buffers():
        assert torch.allclose(dict(ours[1].named_buffers())[name].double(), true.double(), rtol=1e-4)


@needs_kernels
def test_sums_do_not_depend_on_the_number_of_threads():
    x, gradient, threads = random_map(16, 48, 12, 12), random_map(16, 48, 12, 12), torch.get_num_threads()
    module = unit(48)
    use_fused_layers(nn.Sequential(module))
    try:
        torch.set_num_threads(1)
        one = in_bf16(module, x, gradient)
        torch.set_num_threads(2)
        two = in_bf16(module, x, gradient)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@needs_kernels
def test_a_network_keeps_its_names_and_its_answers_and_learns_the_same():
    torch.manual_seed(0)
    plain = create("googlenet_bn", num_classes=4, dropout=0.0).to(memory_format=LAST)
    names = list(plain.state_dict())
    fused = copy.deepcopy(plain)
    use_fused_layers(fused)
    assert list(fused.state_dict()) == names
    assert {FusedBranches, FusedUnit, FusedMaxPooling} <= {type(module) for module in fused.modules()}
    images = torch.rand(6, 3, 64, 64).contiguous(memory_format=LAST)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fused.eval()(images), plain.eval()(images))
    for network in (plain, fused):
        for stage in ("inception_5a", "inception_5b"):  # by the time the whole network is through, bf16 alone is noise
            network.get_submodule(stage).train()
    maps = random_map(32, 832, 4, 4).relu()
    gradient = random_map(32, 1024, 4, 4)
    results = []
    for network in (plain, fused):
        body = nn.Sequential(network.inception_5a, network.inception_5b)
        results.append((*in_bf16(body, maps, gradient), {k: p.grad for k, p in body.named_parameters()}))
    for ours, theirs in [(results[1][0], results[0][0]), (results[1][1], results[0][1])]:
        assert (ours - theirs).float().norm() < 0.05 * theirs.float().norm()
    for name, theirs in results[0][2].items():
        assert (results[1][2][name] - theirs).norm() < 0.1 * theirs.norm(), name


def test_where_there_is_no_compiler_torch_does_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    kernels.load_kernels.cache_clear()
    try:
        assert kernels.load_kernels() is None
        network = create("googlenet_bn", num_classes=4)
        types = {type(module) for module in network.modules()}
        use_fused_layers(network)
        assert {type(module) for module in network.modules()} == types
    finally:
        kernels.load_kernels.cache_clear()


@needs_kernels
@pytest.mark.parametrize("break_it", ["a compiler that fails", "a folder that others can write to"])
def test_kernels_that_cannot_be_had_or_trusted_are_left(monkeypatch, tmp_path, break_it):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "googlenet" / "kernels"
    kernels.load_kernels.cache_clear()
    try:
        assert kernels.load_kernels() is not None
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        if break_it == "a compiler that fails":
            (tmp_path / "cc").write_text("#!/bin/sh\n[ $1 = --version ]\n")
            (tmp_path / "cc").chmod(0o755)
            monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
            for compiled in folder.iterdir():
                compiled.unlink()
        else:
            folder.chmod(0o777)
        kernels.load_kernels.cache_clear()
        assert kernels.load_kernels() is None
    finally:
        kernels.load_kernels.cache_clear()
