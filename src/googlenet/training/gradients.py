"""Weight gradients of convolutions on small maps, in bf16 on a CPU: faster, and right where oneDNN's are not."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_POSITIONS = 16  # of a map, up to which a matrix product is faster: measured by benchmarks/small_maps.py


def use_small_map_gradients(module: nn.Module) -> None:
    """Use the gradients of this module for convolutions, where they are faster or right; names and results stay."""
    for layer in module.modules():
        if type(layer) is nn.Conv2d and is_plain(layer):
            layer.__class__ = MatmulWeightGradConv2d
        elif type(layer) is nn.Conv2d and max(layer.stride) > 1:
            layer.__class__ = CroppedConv2d


def is_plain(layer: nn.Conv2d) -> bool:
    """Whether a convolution has stride 1, no bias, and an output as large as its input."""
    (height, width), (down, across) = layer.kernel_size, layer.stride
    return (
        layer.bias is None
        and layer.groups == 1
        and height == width
        and down == across == 1
        and tuple(layer.dilation) == (1, 1)
        and layer.padding == (height // 2, width // 2)
    )


class MatmulWeightGradConv2d(nn.Conv2d):
    """A convolution whose output is as large as its input; on small maps, its weight gradient is a matrix product.

    On maps with rows of 1 to 4 pixels, oneDNN's bf16 weight gradient makes forward and backward up to 1.8× slower than
    one im2col matrix product. That product needs too much memory on large maps.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', H, W)."""
        if not (self.training and torch.is_grad_enabled() and computes_in_bf16(x)):
            return super().forward(x)
        if x.shape[2] * x.shape[3] > MAX_POSITIONS:
            return super().forward(x)
        result: Tensor = _Convolution.apply(x.bfloat16(), self.weight.bfloat16())
        return result


class CroppedConv2d(nn.Conv2d):
    """A convolution that leaves out the weights that meet nothing but padding, where its output is one row or column.

    oneDNN's bf16 gradient of those weights is whatever was in memory, on maps of 1×1 with a stride: now and then NaN.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', H', W')."""
        if not (self.training and torch.is_grad_enabled() and computes_in_bf16(x)):
            return super().forward(x)
        weight, padding = self.weight, [int(side) for side in self.padding]
        for i, side in enumerate(x.shape[2:]):
            kernel, stride, dilation = self.kernel_size[i], self.stride[i], self.dilation[i]
            is_one = side + 2 * padding[i] - dilation * (kernel - 1) - 1 < stride
            if is_one and dilation == 1 and padding[i]:
                used = min(side, kernel - padding[i])
                weight, x = weight.narrow(2 + i, padding[i], used), x.narrow(2 + i, 0, used)
                padding[i] = 0
        return F.conv2d(x, weight, self.bias, self.stride, padding, self.dilation, self.groups)


def pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (N, C, H, W) with (C', C, 1, 1), both bf16, with the faster gradient of the two."""
    if x.shape[2] * x.shape[3] > MAX_POSITIONS:
        return F.conv2d(x, weight)
    result: Tensor = _Convolution.apply(x, weight)
    return result


def computes_in_bf16(x: Tensor) -> bool:
    """Whether convolutions of ``x`` are in bf16 on a CPU."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


class _Convolution(torch.autograd.Function):
    """A convolution with an odd kernel k, padded by k // 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=weight.shape[2] // 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x = _of_input(gradient, x, weight) if ctx.needs_input_grad[0] else None
        return of_x, _of_weight(gradient, x, weight) if ctx.needs_input_grad[1] else None


def _of_input(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    padding = [weight.shape[2] // 2] * 2
    of_x: Tensor = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], 1, [True, False, False]
    )[0]
    return of_x


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Sum over all positions of all maps: (positions, C')ᵀ · (positions, k · k · C)."""
    outputs, channels, kernel, _ = weight.shape
    positions = gradient.permute(0, 2, 3, 1).reshape(-1, outputs)
    if kernel == 1:
        return (positions.t() @ x.permute(0, 2, 3, 1).reshape(len(positions), -1)).view(weight.shape)
    padding = kernel // 2
    maps = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    windows = maps.unfold(1, kernel, 1).unfold(2, kernel, 1).permute(0, 1, 2, 4, 5, 3)  # (N, H, W, k, k, C)
    product = positions.t() @ windows.reshape(len(positions), -1)
    return product.view(outputs, kernel, kernel, channels).permute(0, 3, 1, 2)
