"""Max pooling, and batch normalization with its ReLU, in one pass each, where a step computes in bf16 on a CPU.

torch keeps 8 bytes of index per value that it pools, and goes four times through a map between two convolutions; on
small images that takes longer than the convolutions themselves (docs/decisions/0041).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from googlenet.models.layers.weightless import pooled_size, uses_plain_windows
from googlenet.models.modules import Branches, Pooling
from googlenet.training.gradients import computes_in_bf16, is_plain, pointwise
from googlenet.training.kernels import load_kernels

CHANNELS_LAST = torch.channels_last
MAX_WINDOW = 15  # pixels of a side: places in a window are kept in 8 bits


def use_fused_layers(module: nn.Module) -> None:
    """Let pooling, and normalization followed by a ReLU, take one pass, where kernels can be had; names stay."""
    if load_kernels() is None:
        return
    for layer in module.modules():
        if type(layer) is Pooling and layer.layer.kind == "max" and (layer.layer.kernel or 0) <= MAX_WINDOW:
            layer.__class__ = FusedMaxPooling
        elif type(layer) is nn.Sequential and _ends_in_norm_and_relu(layer):
            layer.__class__ = FusedUnit
        elif type(layer) is Branches:
            layer.__class__ = FusedBranches


def _ends_in_norm_and_relu(unit: nn.Sequential) -> bool:
    last = list(unit)[-2:]
    return len(last) == 2 and _is_norm(last[0]) and type(last[1]) is nn.ReLU


def _is_norm(layer: nn.Module) -> bool:
    return type(layer) is nn.BatchNorm2d and layer.affine and layer.track_running_stats and layer.momentum is not None


class FusedUnit(nn.Sequential):
    """Convolutions, batch normalization and a ReLU; in training, the last two are one pass over the map."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', H', W')."""
        *convolutions, norm, relu = self
        assert isinstance(norm, nn.BatchNorm2d)
        x = input
        for convolution in convolutions:
            x = convolution(x)
        if not (norm.training and _fits(x)):
            normalised: Tensor = relu(norm(x))
            return normalised
        return _norm_relu(x, [norm])[0]


class FusedBranches(Branches):
    """Branches of which several begin with a 1×1 convolution: in training, these are one convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, ΣC, H, W)."""
        units = {name: layers for name, branch in self.items() if (layers := _pointwise_unit(branch))}
        norms = [norm for _, norm in units.values()]
        if len(units) < 2 or not _fits(x) or not all(norm.training for norm in norms):
            return super().forward(x)
        weight = torch.cat([convolution.weight.bfloat16() for convolution, _ in units.values()])
        begun = dict(zip(units, _norm_relu(pointwise(x, weight), norms), strict=True))
        outputs = []
        for name, branch in self.items():
            if name not in begun:
                outputs.append(branch(x))
            else:
                rest = branch[1:] if type(branch) is nn.Sequential else nn.Sequential()
                outputs.append(rest(begun[name]))
        return torch.cat(outputs, dim=1)


def _pointwise_unit(branch: nn.Module) -> tuple[nn.Conv2d, nn.BatchNorm2d] | None:
    """Return what a branch begins with, if that is a plain 1×1 convolution with normalization and a ReLU."""
    first = branch[0] if type(branch) is nn.Sequential else branch
    if not isinstance(first, FusedUnit) or len(first) != 3:
        return None
    convolution, norm = first[0], first[1]
    if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
        return None
    return (convolution, norm) if is_plain(convolution) and convolution.kernel_size == (1, 1) else None


class FusedMaxPooling(Pooling):
    """Max pooling that keeps which value of a window was the largest in one byte."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H', W')."""
        plain = uses_plain_windows(self.layer, *x.shape[2:])
        kernel = min(self.layer.kernel or 0, *(side + 2 * self.layer.padding for side in x.shape[2:]))
        if not (self.training and plain and kernel == self.layer.kernel and _fits(x)):
            return super().forward(x)
        y: Tensor = _MaxPool.apply(x, self.layer)
        return y


def _fits(x: Tensor) -> bool:
    return (
        x.dtype == torch.bfloat16
        and torch.is_grad_enabled()
        and computes_in_bf16(x)
        and x.is_contiguous(memory_format=CHANNELS_LAST)
        and x.numel() > x.shape[1]  # torch's own says what is wrong with a single value per channel
    )


def _kernels() -> ctypes.CDLL:
    library = load_kernels()
    assert library is not None
    return library


def _pointers(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _norm_relu(x: Tensor, norms: Sequence[nn.BatchNorm2d]) -> tuple[Tensor, ...]:
    """(N, ΣC, H, W) → (N, C, H, W) of each norm: normalised and through a ReLU."""
    for norm in norms:
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
    result: tuple[Tensor, ...] = _NormRelu.apply(
        x, norms, *(norm.weight for norm in norms), *(norm.bias for norm in norms)
    )
    return result


class _NormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, norms: Sequence[nn.BatchNorm2d], *parameters: Tensor) -> tuple[Tensor, ...]:
        count, channels, height, width = x.shape
        mean, inverse = x.new_empty(channels, dtype=torch.float32), x.new_empty(channels, dtype=torch.float32)
        outputs, begin = [], 0
        for norm in norms:
            part = slice(begin, begin + norm.num_features)
            y = x.new_empty((count, norm.num_features, height, width)).to(memory_format=CHANNELS_LAST)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            pointers = _pointers(
                y, norm.weight, norm.bias, norm.running_mean, norm.running_var, mean[part], inverse[part]
            )
            _check(
                _kernels().norm_relu(
                    x[:, part].data_ptr(),
                    channels,
                    *pointers,
                    x.numel() // channels,
                    norm.num_features,
                    norm.momentum,
                    norm.eps,
                )
            )
            outputs.append(y)
            begin = part.stop
        ctx.save_for_backward(x, mean, inverse, *parameters)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, inverse, *parameters = ctx.saved_tensors
        channels, begin = x.shape[1], 0
        of_x, of_parameters = torch.empty_like(x), [torch.empty_like(parameter) for parameter in parameters]
        for i, given in enumerate(gradients):
            gradient, stride = _rows(given)
            j = i + len(gradients)
            part = slice(begin, begin + gradient.shape[1])
            pointers = _pointers(
                parameters[i],
                parameters[j],
                mean[part],
                inverse[part],
                of_x[:, part],
                of_parameters[i],
                of_parameters[j],
            )
            _check(
                _kernels().norm_relu_backward(
                    gradient.data_ptr(),
                    stride,
                    x[:, part].data_ptr(),
                    channels,
                    *pointers,
                    x.numel() // channels,
                    gradient.shape[1],
                )
            )
            begin = part.stop
        return of_x, None, *of_parameters


def _check(enough: int) -> None:
    if not enough:
        raise MemoryError


def _rows(gradient: Tensor) -> tuple[Tensor, int]:
    """Return a gradient whose channels lie together, and how far apart its rows are: those of a branch are wider."""
    _, channels, height, width = gradient.shape
    apart = gradient.stride(3) if width > 1 else gradient.stride(2) if height > 1 else gradient.stride(0)
    expected = (height * width * apart, 1, width * apart, apart)
    lies = all(
        side == 1 or have == want for side, have, want in zip(gradient.shape, gradient.stride(), expected, strict=True)
    )
    if lies and apart >= channels and gradient.dtype == torch.bfloat16:
        return gradient, apart
    return gradient.bfloat16().contiguous(memory_format=CHANNELS_LAST), channels


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        count, channels, height, width = x.shape
        shape = (count, channels, pooled_size(layer, height), pooled_size(layer, width))
        y = torch.empty(shape, dtype=x.dtype, memory_format=CHANNELS_LAST)
        which = torch.empty(shape, dtype=torch.uint8, memory_format=CHANNELS_LAST)
        ctx.numbers = (count, height, width, channels, *shape[2:], layer.kernel, layer.stride, layer.padding)
        _kernels().max_pool(*_pointers(x, y, which), *ctx.numbers)
        ctx.save_for_backward(which)
        ctx.shape = x.shape
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (which,) = ctx.saved_tensors
        gradient = gradient.to(torch.bfloat16).contiguous(memory_format=CHANNELS_LAST)
        of_x = torch.empty(ctx.shape, dtype=torch.bfloat16, memory_format=CHANNELS_LAST)
        _kernels().max_pool_backward(*_pointers(gradient, which, of_x), *ctx.numbers)
        return of_x, None
