"""A linear classifier on embeddings: the first usable answer of a fine-tuning, and where its training starts.

A linear layer is all that is fitted, on what the pretrained network makes of each image (Kornblith et al., *Do better
ImageNet models transfer better?*, 2019; Kumar et al., *Fine-tuning can distort pretrained features and underperform
out-of-distribution*, 2022): its problem is convex, so L-BFGS solves it in seconds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from googlenet.models import spec
from googlenet.models.build import ConvNet
from googlenet.training.task import Task

PENALTIES = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)  # of the squared weights, from the strongest on
MAX_ITERATIONS = 60  # of L-BFGS for each penalty, which starts where the stronger one ended
MIN_STD = 1e-6


def last_layer(network: ConvNet) -> nn.Linear | None:
    """Return the linear layer that a network ends in; ``None`` where it ends otherwise."""
    stage = network.network.stages[-1]
    layer = network.get_submodule(stage.name)
    return layer if isinstance(layer, nn.Linear) and stage.layers == (spec.Linear(),) else None


def set_last_layer(network: ConvNet, weight: Tensor, bias: Tensor) -> None:
    """Set the weight (K, D) and the bias (K,) of the layer that a network ends in."""
    layer = last_layer(network)
    assert layer is not None
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


def fit(
    train: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    task: Task,
    smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Fit a linear classifier; the penalty of its weights is the one with the least loss on the held-out images.

    Args:
        train: embeddings (N, D) and targets, as the task makes them.
        held_out: the same of other images.
        task: tells the loss.
        smoothing: label smoothing, 0 to 1, as in the training that follows: without it, classes that are told apart
            perfectly get weights so large that training would first have to undo them.
        class_weights: (K,) weights of the images of each class.

    Returns:
        Weight (K, D) and bias (K,) of a linear layer.

    >>> from googlenet.training.task import OneLabel
    >>> points, classes = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
    >>> weight, bias = fit((points, classes), (points, classes), OneLabel(2))
    >>> (points @ weight.T + bias).argmax(1).tolist()
    [0, 0, 1, 1]
    """
    (x, y), (x_val, y_val) = train, held_out
    mean, std = x.mean(0), x.std(0)
    # Features that hardly vary are not scaled up: large weights would magnify how the statistics of a batch in training
    # differ from the running ones. The root makes a penalty mean the same for any number of features.
    scale = std.clamp(min=max(std.mean().item(), MIN_STD)) * x.shape[1] ** 0.5
    x, x_val = (x - mean) / scale, (x_val - mean) / scale
    with torch.random.fork_rng(devices=[]):  # its weights are drawn, then set to zero
        layer = nn.Linear(x.shape[1], task.classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    best: tuple[float, Tensor, Tensor] | None = None
    for penalty in PENALTIES:
        _minimise(layer, penalty, lambda: task.loss(layer(x), y, smoothing, class_weights))
        with torch.no_grad():
            loss = task.loss(layer(x_val), y_val, smoothing, class_weights).item()
        if best is None or loss < best[0]:
            best = loss, layer.weight.detach() / scale, layer.bias.detach().clone()
    assert best is not None
    _, weight, bias = best
    return weight, bias - weight @ mean


def _minimise(layer: nn.Linear, penalty: float, loss: Callable[[], Tensor]) -> None:
    """Minimise the loss and the penalty of the squared weights by L-BFGS (Liu & Nocedal, 1989)."""
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss() + penalty * layer.weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
