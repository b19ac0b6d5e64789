"""A network becomes a Python file that builds it with PyTorch alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from googlenet.card import ModelCard
from googlenet.exchange.load_expression import load_expression
from googlenet.models.build import ConvNet
from googlenet.models.modules import Branches, Dense, Pooling, Sum
from googlenet.text import printable

_INDENT = "    "


def program_of(built: ConvNet, card: ModelCard, weights: str) -> str:
    """Return a program whose ``build()`` returns the module for the file ``weights`` beside it.

    PyTorch, this file and the weights are all that is needed. The text is ASCII, whatever the class names are.
    """
    preprocessing = card.preprocessing
    stages = "".join(_named(name, module, 2) for name, module in built.named_children())
    return _PROGRAM.format(
        network=ascii(printable(built.network.name)),  # in a comment: on one line
        file=ascii(f"{weights.rpartition('.')[0]}.py"),
        read=load_expression(weights),
        size=preprocessing.size, resized_side=preprocessing.resized_side, resize=preprocessing.resize,
        mean=preprocessing.mean, std=preprocessing.std, order=preprocessing.channel_order,
        temperature=card.temperature,
        mirror=card.mirror,
        answers="sigmoid, one of each class" if card.multi_label else "softmax",
        classes="".join(f"{_INDENT}{name!a},\n" for name in card.class_names),
        stages=stages,
    )  # fmt: skip


def _named(name: str, module: nn.Module, depth: int) -> str:
    return f"{depth * _INDENT}({name!a}, {_source(module, depth)}),\n"


def _source(module: nn.Module, depth: int) -> str:
    """Write a module as an expression, with a line for each module inside it."""
    if isinstance(module, (nn.Sequential, Branches)):
        inner = "".join(_named(name, child, depth + 1) for name, child in module.named_children())
        kind = "Branches" if isinstance(module, Branches) else "nn.Sequential"
        return f"{kind}(OrderedDict([\n{inner}{depth * _INDENT}]))"
    if isinstance(module, Sum):
        body, shortcut = _source(module.body, depth), _source(module.shortcut, depth)
        return f"Sum({body}, {shortcut}, scale={module.layer.scale!r}, relu={module.layer.relu!r})"
    return _LEAVES.get(type(module), _plain)(module)


def _plain(module: nn.Module) -> str:
    """Write a module of PyTorch as its ``repr``, which is the call that makes it: ReLU() or Dropout(p=0.4)."""
    return f"nn.{module}"


def _pool(module: Pooling) -> str:
    pool = module.layer
    return (
        f"Pool({pool.kind!r}, {pool.kernel!r}, {pool.stride}, {pool.padding}, ceil={pool.ceil!r}, "
        f"count_padding={pool.count_padding!r}, output={pool.output!r})"
    )


# Modules of our own, which the program defines, and one whose ``repr`` names options that older versions do not have.
# Other modules of PyTorch need no entry.
_LEAVES: dict[type, Callable[[Any], str]] = {
    nn.BatchNorm2d: lambda norm: f"nn.BatchNorm2d({norm.num_features}, eps={norm.eps!r}, momentum={norm.momentum!r})",
    Dense: lambda dense: f"Dense({dense.in_features}, {dense.out_features}, relu={dense.relu!r})",
    Pooling: _pool,
}

_PROGRAM = """\
# {network}, with PyTorch alone. Written by googlenet.
#
#     network = runpy.run_path({file})["build"]()
#     network.load_state_dict({read})
#     logits = network.eval()(images)  # (N, C, H, W), resized and normalised as the constants below say

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

# What is resized to RESIZED_SIDE before the crop: the shorter side (crop), the longer one (pad) or both (squash).
SIZE, RESIZED_SIDE, RESIZE = {size}, {resized_side}, {resize!r}
MEAN, STD = {mean!r}, {std!r}  # of R, G, B from 0 to 1: (pixel / 255 - MEAN) / STD
ORDER = {order!r}  # of the channels after that
TEMPERATURE = {temperature!r}  # probabilities are of logits / TEMPERATURE: {answers}
MIRROR = {mirror}  # whether probabilities are the means of those of images and of images.flip(3)
CLASSES = (
{classes})


class Branches(nn.ModuleDict):
    def forward(self, x):
        return torch.cat([branch(x) for branch in self.values()], dim=1)


class Sum(nn.Module):
    def __init__(self, body, shortcut, scale, relu):
        super().__init__()
        self.body, self.shortcut, self.scale, self.relu = body, shortcut, scale, relu

    def forward(self, x):
        total = self.shortcut(x) + self.scale * self.body(x)
        return F.relu(total) if self.relu else total


class Dense(nn.Linear):
    def __init__(self, inputs, outputs, relu):
        super().__init__(inputs, outputs)
        self.relu = relu

    def forward(self, x):
        x = super().forward(x.flatten(1))
        return F.relu(x) if self.relu else x


class Pool(nn.Module):
    def __init__(self, kind, kernel, stride, padding, ceil, count_padding, output):
        super().__init__()
        self.kind, self.kernel, self.stride, self.padding = kind, kernel, stride, padding
        self.ceil, self.count_padding, self.output = ceil, count_padding, output

    def forward(self, x):
        if self.output is not None and (self.kernel is None or set(map(self.pooled, x.shape[2:])) != {{self.output}}):
            adaptive = F.adaptive_avg_pool2d if self.kind == "avg" else F.adaptive_max_pool2d
            return adaptive(x, self.output)
        kernel = [min(self.kernel, side + 2 * self.padding) for side in x.shape[2:]]
        if self.kind == "max":
            return F.max_pool2d(x, kernel, self.stride, self.padding, ceil_mode=self.ceil)
        return F.avg_pool2d(x, kernel, self.stride, self.padding, self.ceil, self.count_padding)

    def pooled(self, side):
        span = (side + 2 * self.padding - self.kernel) / self.stride
        count = (math.ceil(span) if self.ceil else math.floor(span)) + 1
        return count - (self.ceil and (count - 1) * self.stride >= side + self.padding)


class Logits(nn.Sequential):
    def forward(self, x):
        return super().forward(x).flatten(1)


def build():
    return Logits(OrderedDict([
{stages}    ]))
"""
