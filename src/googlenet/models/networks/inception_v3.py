"""Inception v3: Szegedy et al., *Rethinking the Inception architecture for computer vision* (2015), as released.

Figures 5 to 7 of the paper are :func:`inception_a`, :func:`inception_b` and :func:`inception_c` here.
"""

from __future__ import annotations

from dataclasses import replace

from googlenet.models.spec import (
    AuxTap,
    BatchNorm,
    Conv,
    Layer,
    Linear,
    Network,
    Parallel,
    Pool,
    Stage,
    classifier,
)

HALVE = Pool("max", 3, stride=2, ceil=False)
AVERAGE = Pool("avg", 3, stride=1, padding=1, count_padding=True)

ROW, COLUMN = (1, 7), (7, 1)  # the two halves of a 7×7


def inception_a(proj: int) -> list[Layer]:
    """Build the module of figure 5: the 5×5 of a branch become two 3×3."""
    return [
        Parallel([
            Stage("1x1", [Conv(64)]),
            Stage("5x5", [Conv(48), Conv(64, 5)]),
            Stage("double_3x3", [Conv(64), Conv(96, 3), Conv(96, 3)]),
            Stage("pool_proj", [AVERAGE, Conv(proj)]),
        ])
    ]  # fmt: skip


def inception_b(width: int) -> list[Layer]:
    """Build the module of figure 6: 7×7 convolutions as rows and columns, ``width`` wide inside."""
    return [
        Parallel([
            Stage("1x1", [Conv(192)]),
            Stage("7x7", [Conv(width), Conv(width, ROW), Conv(192, COLUMN)]),
            Stage("double_7x7", [
                Conv(width), Conv(width, COLUMN), Conv(width, ROW), Conv(width, COLUMN), Conv(192, ROW),
            ]),
            Stage("pool_proj", [AVERAGE, Conv(192)]),
        ])
    ]  # fmt: skip


def inception_c() -> list[Layer]:
    """Build the module of figure 7: the outputs of two branches are spread out."""
    spread = Parallel([Stage("1x3", [Conv(384, (1, 3))]), Stage("3x1", [Conv(384, (3, 1))])])
    return [
        Parallel([
            Stage("1x1", [Conv(320)]),
            Stage("3x3", [Conv(384), spread]),
            Stage("double_3x3", [Conv(448), Conv(384, 3), spread]),
            Stage("pool_proj", [AVERAGE, Conv(192)]),
        ])
    ]  # fmt: skip


REDUCTION_A: list[Layer] = [
    Parallel([
        Stage("3x3", [Conv(384, 3, stride=2, padding=0)]),
        Stage("double_3x3", [Conv(64), Conv(96, 3), Conv(96, 3, stride=2, padding=0)]),
        Stage("pool", [HALVE]),
    ])
]  # fmt: skip

REDUCTION_B: list[Layer] = [
    Parallel([
        Stage("3x3", [Conv(192), Conv(320, 3, stride=2, padding=0)]),
        Stage("7x7_3x3", [Conv(192), Conv(192, ROW), Conv(192, COLUMN), Conv(192, 3, stride=2, padding=0)]),
        Stage("pool", [HALVE]),
    ])
]  # fmt: skip

# output=5 keeps the 5×5 grid the second convolution needs at input sizes other than 299.
AUX_HEAD: list[Layer] = [Pool("avg", 5, stride=3, ceil=False, output=5), Conv(128), Conv(768, 5, padding=0), Linear()]

STEM = [
    Stage("conv1", [Conv(32, 3, stride=2, padding=0)]),
    Stage("conv2", [Conv(32, 3, padding=0)]),
    Stage("conv3", [Conv(64, 3)]),
    Stage("maxpool1", [HALVE]),
    Stage("conv4", [Conv(80)]),
    Stage("conv5", [Conv(192, 3, padding=0)]),
]

# For small images: no convolution and no pool of the stem halves.
SMALL_STEM = [
    Stage("conv1", [Conv(32, 3)]),
    Stage("conv2", [Conv(32, 3)]),
    Stage("conv3", [Conv(64, 3)]),
    Stage("conv4", [Conv(80)]),
    Stage("conv5", [Conv(192, 3)]),
]
HALVE_SMALL = replace(HALVE, padding=1)

INCEPTION_V3 = Network(
    "inception_v3",
    stages=[
        *STEM,
        Stage("maxpool2", [HALVE]),
        Stage("mixed_5b", inception_a(32)),
        Stage("mixed_5c", inception_a(64)),
        Stage("mixed_5d", inception_a(64)),
        Stage("mixed_6a", REDUCTION_A),
        Stage("mixed_6b", inception_b(128)),
        Stage("mixed_6c", inception_b(160)),
        Stage("mixed_6d", inception_b(160)),
        Stage("mixed_6e", inception_b(192)),
        Stage("mixed_7a", REDUCTION_B),
        Stage("mixed_7b", inception_c()),
        Stage("mixed_7c", inception_c()),
        *classifier(dropout=0.5),
    ],
    aux=[AuxTap("aux", "mixed_6e", AUX_HEAD, weight=0.4)],
    norm=BatchNorm(eps=0.001),
    init="truncated_normal",
    input_size=299,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    paper="Szegedy et al., Rethinking the Inception architecture for computer vision, 2015, Table 1, as released",
    differences=[
        "the stem of the released code: 1×1×80, 3×3×192 and a pool where Table 1 has three 3×3 convolutions",
        "four modules of figure 6 and an extra 5×5 branch in those of figure 5, as released",
        "the averages inside modules count the padding, as in torchvision and timm",
        "the head's loss counts 0.4, as in the released code: the paper gives no weight",
    ],
)

INCEPTION_V3_SMALL = replace(
    INCEPTION_V3,
    name="inception_v3_small",
    stages=[*SMALL_STEM, Stage("maxpool2", [HALVE_SMALL]), *INCEPTION_V3.stages[len(STEM) + 1 :]],
    input_size=32,
    crop_fraction=1.0,
    differences=[*INCEPTION_V3.differences, "for small images: the stem halves once where the paper's halves thrice"],
)
