"""The printed figures of Table 1 of the paper, and the computations that explain its errors.

Szegedy et al., *Going deeper with convolutions*, 2014, Table 1; the module arithmetic is that of section 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from googlenet.models.analysis import analyse
from googlenet.models.layers.base import Shape
from googlenet.models.layers.containers import cost_of
from googlenet.models.networks.classics import ALEXNET, VGG16
from googlenet.models.networks.googlenet import (
    GOOGLENET,
    INCEPTION5H,
    SEPARABLE_STEM,
    inception,
    naive_inception,
)
from googlenet.models.spec import Conv, Layer, Parallel

# stage → (params, ops) as printed
PRINTED: dict[str, tuple[str, str]] = {
    "conv1": ("2.7K", "34M"),
    "conv2": ("112K", "360M"),
    "inception_3a": ("159K", "128M"),
    "inception_3b": ("380K", "304M"),
    "inception_4a": ("364K", "73M"),
    "inception_4b": ("437K", "88M"),
    "inception_4c": ("463K", "100M"),
    "inception_4d": ("580K", "119M"),
    "inception_4e": ("840K", "170M"),
    "inception_5a": ("1072K", "54M"),
    "inception_5b": ("1388K", "71M"),
    "fc": ("1000K", "1M"),
}

LECTURE_SLIDE = (
    "The 358M often quoted for the module with reductions comes from a lecture slide with other widths, "
    "whose own terms sum to 271,351,808."
)


def errata() -> list[str]:
    """Explain, a sentence each, where the paper's printed figures and the table part ways."""
    separable = GOOGLENET.change("conv1", SEPARABLE_STEM)
    stem, printed_stem = analyse(GOOGLENET).rows[0].cost, analyse(separable).rows[0].cost
    released = {row.name: row.cost for row in analyse(INCEPTION5H).rows}
    as_printed = analyse(INCEPTION5H.change("conv1", SEPARABLE_STEM)).macs
    parameters, alexnet, vgg16 = (analyse(network).parameters for network in (GOOGLENET, ALEXNET, VGG16))
    return [
        f"conv1: the printed 2.7K and 34M fit a separable stem of depth multiplier 8 "
        f"({printed_stem.weights:,} weights, {printed_stem.macs:,} MACs), "
        f"not a 7×7 convolution ({stem.weights:,}; {stem.macs:,}).",
        f"inception_4a, inception_5a: the printed 73M and 54M fit #3×3 = 204 in 4a "
        f"({released['inception_4a'].macs:,}) and #5×5 reduce = 48 in 5a "
        f"({released['inception_5a'].macs:,}), the widths of the released inception5h weights.",
        f"total: with these and the separable stem the operations sum to the paper's 1.5 billion ({as_printed:,}).",
        f"The paper's 12 times fewer parameters than AlexNet, and the often quoted third of VGG: it is "
        f"1/{alexnet / parameters:.1f} of AlexNet's {alexnet:,} and "
        f"1/{vgg16 / parameters:.1f} of VGG-16's {vgg16:,}.",
        "The auxiliary heads sit on 4a and 4d; their dropout is 70 %, once, after the 1024 units; "
        "the main one is 40 %.",
        "6.67 % top-5 error is of seven networks on 144 crops each; one network on one crop has 10.07 %.",
    ]


@dataclass(frozen=True)
class Term:
    """One convolution of a module: what it multiplies, written out, and the product."""

    branch: str
    arithmetic: str
    macs: int


@dataclass(frozen=True)
class ModuleCost:
    """A module on one input: every term, their sum, and the channels that come out."""

    title: str
    terms: tuple[Term, ...]
    macs: int
    weights: int
    channels: int


def naive_against_reduced() -> list[ModuleCost]:
    """Return the cost of an inception module with and without 1×1 reductions: 28×28×256 input, widths of (3b).

    >>> [module.macs for module in naive_against_reduced()]
    [854196224, 867041280, 304267264]
    """
    shape: Shape = (256, 28, 28)
    return [
        _module("naive, the raw pool joined (figure 2a)", naive_inception(128, 192, 96), shape),
        _module("naive, 64-wide projection after the pool", naive_inception(128, 192, 96, proj=64), shape),
        _module("with 1×1 reductions (figure 2b)", inception(128, 128, 192, 32, 96, 64), shape),
    ]


def _module(title: str, layers: list[Layer], shape: Shape) -> ModuleCost:
    cost = cost_of(layers, shape, GOOGLENET)
    return ModuleCost(title, tuple(_terms(layers, shape)), cost.macs, cost.weights, cost.shape[0])


def _terms(layers: list[Layer], shape: Shape) -> Iterator[Term]:
    for module in layers:
        assert isinstance(module, Parallel)
        for branch in module.branches:
            inside = shape
            for layer in branch.layers:
                cost = cost_of([layer], inside, GOOGLENET)
                if isinstance(layer, Conv):
                    assert isinstance(layer.kernel, int)
                    assert layer.out is not None
                    factors = (*cost.shape[1:], layer.out, layer.kernel, layer.kernel, inside[0])
                    assert math.prod(factors) == cost.macs
                    yield Term(branch.name, " × ".join(map(str, factors)), cost.macs)
                inside = cost.shape
