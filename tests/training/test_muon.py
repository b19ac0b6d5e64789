"""Muon, against the polar factor of a singular value decomposition, torch's own Muon, and torch's AdamW."""

import pytest
import torch
from torch import nn

from googlenet import create
from googlenet.training.muon import MATRIX_LR, MOMENTUM, STEPS, Muon, orthogonalise
from googlenet.training.optimizer import make_optimizer
from googlenet.training.recipe import Recipe


@pytest.mark.parametrize("shape", [(24, 96), (96, 24), (32, 32)])
def test_a_matrix_comes_close_to_the_nearest_orthogonal_one(shape):
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.linspace(0.3, 1.0, min(shape))
    step = orthogonalise([100 * (left * values @ right)])[0].float()
    assert torch.linalg.svdvals(step).min() > 0.6
    assert torch.linalg.svdvals(step).max() < 1.3
    polar = left @ right
    assert torch.cosine_similarity(step.flatten(), polar.flatten(), dim=0) > 0.97


def test_matrices_of_many_shapes_are_orthogonalised_as_they_are_alone():
    torch.manual_seed(0)
    some = [torch.randn(shape) for shape in [(16, 40), (70, 40), (16, 100), (130, 140), (16, 40)]]
    together = orthogonalise([*some, torch.zeros(4, 9)])
    assert not together.pop().any()
    for one, step in zip(some, together, strict=True):
        assert step.shape == one.shape
        assert torch.allclose(orthogonalise([one])[0].float(), step.float(), atol=0.02)


def steps_of(optimizer, parameters, gradients):
    for gradient in gradients:
        for parameter, of_it in zip(parameters, gradient, strict=True):
            parameter.grad = of_it.clone()
        optimizer.step()


def test_a_pointwise_convolution_learns_as_with_torchs_muon():
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 12, 1, bias=False).to(memory_format=torch.channels_last)
    matrix = nn.Parameter(conv.weight.detach().flatten(1).clone())
    start = matrix.detach().clone()
    gradients = [torch.randn(12, 32) for _ in range(5)]
    ours = Muon([{"params": [conv.weight], "orthogonal": True}], lr=0.002, weight_decay=0.3)
    theirs = torch.optim.Muon(
        [matrix], lr=0.002 * MATRIX_LR, weight_decay=0.3 / MATRIX_LR, momentum=MOMENTUM, ns_steps=STEPS
    )
    steps_of(ours, [conv.weight], [[each[:, :, None, None]] for each in gradients])
    steps_of(theirs, [matrix], [[each] for each in gradients])
    moved, expected = conv.weight.detach().flatten(1) - start, matrix.detach() - start
    assert (moved - expected).norm() < 0.02 * expected.norm()


def test_what_is_no_matrix_learns_as_with_torchs_adamw():
    torch.manual_seed(0)
    network = create("googlenet_bn", num_classes=3).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, Recipe(optimizer="muon", lr=0.01))
    matrices = {id(p) for group in optimizer.param_groups if group["orthogonal"] for p in group["params"]}
    assert matrices == {id(m.weight) for m in network.modules() if isinstance(m, nn.Conv2d)}
    rest = [p for group in optimizer.param_groups if not group["orthogonal"] for p in group["params"]]
    assert len(rest) + len(matrices) == len(list(network.parameters()))
    copies = [nn.Parameter(p.detach().clone()) for p in rest]
    decays = [{"params": [p], "weight_decay": 0.05 if p.ndim > 1 else 0.0} for p in copies]
    gradients = [[torch.randn_like(p) for p in rest] for _ in range(2)]
    steps_of(optimizer, rest, gradients)
    steps_of(torch.optim.AdamW(decays, lr=0.01, fused=True), copies, gradients)
    assert all(torch.equal(a, b) for a, b in zip(rest, copies, strict=True))


def test_depthwise_convolutions_are_no_matrices():
    network = create("xception", num_classes=3)
    optimizer = make_optimizer(network, Recipe(optimizer="muon"))
    matrices = {id(p) for group in optimizer.param_groups if group["orthogonal"] for p in group["params"]}
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert (id(module.weight) in matrices) == (module.groups == 1)
