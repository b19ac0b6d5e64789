"""How an image is changed step by step, 4 of 4 parts of feature visualisation; and ReLUs that never stop a gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LR = 0.2
WARM_UP = 8  # steps
Progress = Callable[[int, int], object]


def ascend(
    images: nn.Module,
    score: Callable[[Tensor, float], Tensor],
    steps: int,
    stopped: list[int],
    progress: Progress | None,
) -> int:
    """Change what ``images()`` returns, (N, C, S, S), so that ``score`` of it, (N,), rises. Return the steps taken.

    ``score`` is also given the share of the steps that is left, from 1 down to 0. Steps become smaller with it: those
    by chance average out. It ends early once ``stopped``, the list of a signal that came, is not empty.
    """
    optimizer = torch.optim.Adam(images.parameters(), LR)
    for step in range(steps):
        if stopped:
            return step
        left = 1 - step / steps
        optimizer.param_groups[0]["lr"] = LR * min(1.0, (step + 1) / WARM_UP) * left
        optimizer.zero_grad()
        (-score(images(), left).sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if progress:
            progress(step + 1, steps)
    return steps


class _Rescued(torch.autograd.Function):
    """ReLU, whose gradient is passed on where it asks for more and a whole image would get none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.relu(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        usual = gradient * (x > 0)
        wanted = torch.where((x <= 0) & (gradient < 0), gradient, usual)  # the loss falls where x rises
        lost = usual.flatten(1).abs().amax(1) == 0
        return torch.where(lost.view(-1, *[1] * (x.ndim - 1)), wanted, usual)


class RescuedReLU(nn.Module):
    """ReLU that a channel can be reached through which the first image does not excite anywhere.

    >>> x = torch.full((1, 2), -1.0, requires_grad=True)
    >>> (-RescuedReLU()(x).sum()).backward()
    >>> x.grad
    tensor([[-1., -1.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) → the same, with 0 for what is below."""
        rescued: Tensor = _Rescued.apply(x)
        return rescued


def rescue(module: nn.Module) -> None:
    """Replace every ReLU layer of a module, for good."""
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, RescuedReLU())
        else:
            rescue(child)
