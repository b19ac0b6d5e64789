"""Inception v4: Szegedy et al., *Inception-v4, Inception-ResNet and the impact of residual connections* (2016).

Figure 9 is the network, figure 3 its stem, figures 4 to 6 its modules, figures 7 and 8 the reductions.
"""

from __future__ import annotations

from dataclasses import replace

from googlenet.models.networks.inception_v3 import COLUMN, HALVE, HALVE_SMALL, ROW
from googlenet.models.spec import BatchNorm, Conv, Layer, Network, Parallel, Pool, Stage, classifier

AVERAGE = Pool("avg", 3, stride=1, padding=1)

STEM = [
    Stage("conv1", [Conv(32, 3, stride=2, padding=0)]),
    Stage("conv2", [Conv(32, 3, padding=0)]),
    Stage("conv3", [Conv(64, 3)]),
    Stage("mixed_3a", [Parallel([Stage("pool", [HALVE]), Stage("3x3", [Conv(96, 3, stride=2, padding=0)])])]),
    Stage("mixed_4a", [
        Parallel([
            Stage("3x3", [Conv(64), Conv(96, 3, padding=0)]),
            Stage("7x7_3x3", [Conv(64), Conv(64, ROW), Conv(64, COLUMN), Conv(96, 3, padding=0)]),
        ])
    ]),
    Stage("mixed_5a", [Parallel([Stage("3x3", [Conv(192, 3, stride=2, padding=0)]), Stage("pool", [HALVE])])]),
]  # fmt: skip

SMALL_STEM = [
    Stage("conv1", [Conv(32, 3)]),
    Stage("conv2", [Conv(32, 3)]),
    Stage("conv3", [Conv(64, 3)]),
    Stage("mixed_5a", [
        Parallel([
            Stage("3x3", [Conv(192, 3, stride=2)]),
            Stage("pool", [HALVE_SMALL, Conv(192)]),
        ])
    ]),
]  # fmt: skip

INCEPTION_A: Layer = Parallel([
    Stage("1x1", [Conv(96)]),
    Stage("3x3", [Conv(64), Conv(96, 3)]),
    Stage("double_3x3", [Conv(64), Conv(96, 3), Conv(96, 3)]),
    Stage("pool_proj", [AVERAGE, Conv(96)]),
])  # fmt: skip

INCEPTION_B: Layer = Parallel([
    Stage("1x1", [Conv(384)]),
    Stage("7x7", [Conv(192), Conv(224, ROW), Conv(256, COLUMN)]),
    Stage("double_7x7", [Conv(192), Conv(192, COLUMN), Conv(224, ROW), Conv(224, COLUMN), Conv(256, ROW)]),
    Stage("pool_proj", [AVERAGE, Conv(128)]),
])  # fmt: skip

_SPREAD = Parallel([Stage("1x3", [Conv(256, (1, 3))]), Stage("3x1", [Conv(256, (3, 1))])])
INCEPTION_C: Layer = Parallel([
    Stage("1x1", [Conv(256)]),
    Stage("3x3", [Conv(384), _SPREAD]),
    Stage("double_3x3", [Conv(384), Conv(448, (3, 1)), Conv(512, (1, 3)), _SPREAD]),
    Stage("pool_proj", [AVERAGE, Conv(256)]),
])  # fmt: skip


def reduction_a(k: int, l: int, m: int, n: int) -> Layer:  # noqa: E741 - the paper's letters
    """Build the first reduction (figure 7); Table 1 of the paper gives k, l, m, n for each of its networks."""
    return Parallel([
        Stage("3x3", [Conv(n, 3, stride=2, padding=0)]),
        Stage("double_3x3", [Conv(k), Conv(l, 3), Conv(m, 3, stride=2, padding=0)]),
        Stage("pool", [HALVE]),
    ])  # fmt: skip


REDUCTION_B: Layer = Parallel([
    Stage("3x3", [Conv(192), Conv(192, 3, stride=2, padding=0)]),
    Stage("7x7_3x3", [Conv(256), Conv(256, ROW), Conv(320, COLUMN), Conv(320, 3, stride=2, padding=0)]),
    Stage("pool", [HALVE]),
])  # fmt: skip

BODY = [
    Stage("inception_a", 4 * [INCEPTION_A]),
    Stage("reduction_a", [reduction_a(192, 224, 256, 384)]),
    Stage("inception_b", 7 * [INCEPTION_B]),
    Stage("reduction_b", [REDUCTION_B]),
    Stage("inception_c", 3 * [INCEPTION_C]),
    *classifier(dropout=0.2),
]

INCEPTION_V4 = Network(
    "inception_v4",
    stages=[*STEM, *BODY],
    norm=BatchNorm(eps=0.001),
    init="truncated_normal",
    input_size=299,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    paper="Szegedy et al., Inception-v4, Inception-ResNet and the impact of residual connections, 2016, figure 9",
    differences=["the order of rows and columns in the 7×7 branches is that of the released weights"],
)

INCEPTION_V4_SMALL = replace(
    INCEPTION_V4,
    name="inception_v4_small",
    stages=[*SMALL_STEM, *BODY],
    input_size=32,
    crop_fraction=1.0,
    differences=[*INCEPTION_V4.differences, "for small images: the stem halves once where the paper's halves thrice"],
)
