"""Inception-ResNet v1 and v2: Inception modules as the bodies of residual blocks.

Szegedy et al., *Inception-v4, Inception-ResNet and the impact of residual connections* (2016): figure 15 is the
network, figures 10 to 14 the parts of v1, figures 16 to 19 those of v2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from googlenet.models.networks.inception_v3 import COLUMN, HALVE, HALVE_SMALL, ROW, SMALL_STEM, STEM
from googlenet.models.networks.inception_v4 import AVERAGE, reduction_a
from googlenet.models.spec import BatchNorm, Conv, Layer, Network, Parallel, Residual, Stage, classifier


def block(branches: Sequence[Sequence[Layer]], width: int, scale: float, relu: bool = True) -> Residual:
    """Build x + scale · (branches joined, then a linear 1×1 back to ``width`` channels), and a ReLU."""
    joined = Parallel([Stage(f"branch{number}", layers) for number, layers in enumerate(branches)])
    return Residual([joined, Conv(width, norm=False, relu=False)], scale=scale, relu=relu)


def block_35(c3: tuple[int, int], width: int) -> Residual:
    """Build the block of the 35×35 grid (figures 10 and 16); ``c3`` are the widths of the two 3×3 in a row."""
    return block([[Conv(32)], [Conv(32), Conv(32, 3)], [Conv(32), Conv(c3[0], 3), Conv(c3[1], 3)]], width, scale=0.17)


def block_17(c1: int, r7: int, c7: tuple[int, int], width: int) -> Residual:
    """Build the block of the 17×17 grid (figures 11 and 17)."""
    return block([[Conv(c1)], [Conv(r7), Conv(c7[0], ROW), Conv(c7[1], COLUMN)]], width, scale=0.1)


def block_8(c3: tuple[int, int], width: int, scale: float = 0.2, relu: bool = True) -> Residual:
    """Build the block of the 8×8 grid (figures 13 and 19)."""
    return block([[Conv(192)], [Conv(192), Conv(c3[0], (1, 3)), Conv(c3[1], (3, 1))]], width, scale, relu)


def reduction_b(first: int, second: int, last: tuple[int, int]) -> Layer:
    """Build the second reduction (figures 12 and 18): three convolutional branches and a pool."""
    return Parallel([
        Stage("3x3_a", [Conv(256), Conv(first, 3, stride=2, padding=0)]),
        Stage("3x3_b", [Conv(256), Conv(second, 3, stride=2, padding=0)]),
        Stage("double_3x3", [Conv(256), Conv(last[0], 3), Conv(last[1], 3, stride=2, padding=0)]),
        Stage("pool", [HALVE]),
    ])  # fmt: skip


V1_BODY = [
    Stage("block_35", 5 * [block_35((32, 32), 256)]),
    Stage("reduction_a", [reduction_a(192, 192, 256, 384)]),
    Stage("block_17", 10 * [block_17(128, 128, (128, 128), 896)]),
    Stage("reduction_b", [reduction_b(384, 256, (256, 256))]),
    Stage("block_8", 5 * [block_8((192, 192), 1792)]),
    *classifier(dropout=0.2),
]

INCEPTION_RESNET_V1 = Network(
    "inception_resnet_v1",
    stages=[*STEM, Stage("conv6", [Conv(256, 3, stride=2, padding=0)]), *V1_BODY],
    norm=BatchNorm(eps=0.001),
    init="truncated_normal",
    input_size=299,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    paper="Szegedy et al., Inception-v4, Inception-ResNet and the impact of residual connections, 2016, figure 15 (v1)",
    differences=["residuals are scaled by 0.17, 0.10 and 0.20 where the paper says 0.1 to 0.3"],
)

MIXED_5B: Layer = Parallel([
    Stage("1x1", [Conv(96)]),
    Stage("5x5", [Conv(48), Conv(64, 5)]),
    Stage("double_3x3", [Conv(64), Conv(96, 3), Conv(96, 3)]),
    Stage("pool_proj", [AVERAGE, Conv(64)]),
])  # fmt: skip

V2_BODY = [
    Stage("mixed_5b", [MIXED_5B]),
    Stage("block_35", 10 * [block_35((48, 64), 320)]),
    Stage("reduction_a", [reduction_a(256, 256, 384, 384)]),
    Stage("block_17", 20 * [block_17(192, 128, (160, 192), 1088)]),
    Stage("reduction_b", [reduction_b(384, 288, (288, 320))]),
    Stage("block_8", [*9 * [block_8((224, 256), 2080)], block_8((224, 256), 2080, scale=1.0, relu=False)]),
    Stage("conv7", [Conv(1536)]),
    *classifier(dropout=0.2),
]

INCEPTION_RESNET_V2 = replace(
    INCEPTION_RESNET_V1,
    name="inception_resnet_v2",
    stages=[*STEM, Stage("maxpool2", [HALVE]), *V2_BODY],
    crop_fraction=0.8975,
    paper="Szegedy et al., Inception-v4, Inception-ResNet and the impact of residual connections, 2016, "
    "figure 15 (v2), as released",
    differences=[
        *INCEPTION_RESNET_V1.differences,
        "the stem of Inception v3 and a module before the first block, as released, where the paper has the stem of v4",
        "10, 20 and 10 blocks, as released, where figure 15 has 5, 10 and 5",
        "widths of 320, 1088 and 2080 channels, as released, where the paper has 384, 1154 and 2048",
        "the last block is neither scaled nor followed by a ReLU; a 1×1 convolution to 1536 follows, as released",
    ],
)

_SMALL = "for small images: the stem halves once where the paper's halves thrice"

INCEPTION_RESNET_V1_SMALL = replace(
    INCEPTION_RESNET_V1,
    name="inception_resnet_v1_small",
    stages=[*SMALL_STEM, Stage("conv6", [Conv(256, 3, stride=2)]), *V1_BODY],
    input_size=32,
    crop_fraction=1.0,
    differences=[*INCEPTION_RESNET_V1.differences, _SMALL],
)

INCEPTION_RESNET_V2_SMALL = replace(
    INCEPTION_RESNET_V2,
    name="inception_resnet_v2_small",
    stages=[*SMALL_STEM, Stage("maxpool2", [HALVE_SMALL]), *V2_BODY],
    input_size=32,
    crop_fraction=1.0,
    differences=[*INCEPTION_RESNET_V2.differences, _SMALL],
)
