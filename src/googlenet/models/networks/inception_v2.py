"""Inception v2: the batch-normalised network of Ioffe & Szegedy, *Batch normalization* (2015), figure 5.

5×5 convolutions have become two of 3×3; two modules halve the map themselves; average pooling inside most.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from googlenet.models.networks.googlenet import HALVE, SEPARABLE_STEM
from googlenet.models.spec import BatchNorm, Conv, Layer, Network, Parallel, Pool, Stage, classifier


def inception(c1: int, r3: int, c3: int, rd3: int, cd3: int, pool: Literal["avg", "max"], proj: int) -> list[Layer]:
    """Build a module; arguments in the order of figure 5."""
    return [
        Parallel([
            Stage("1x1", [Conv(c1)]),
            Stage("3x3", [Conv(r3), Conv(c3, 3)]),
            Stage("double_3x3", [Conv(rd3), Conv(cd3, 3), Conv(cd3, 3)]),
            Stage("pool_proj", [Pool(pool, 3, stride=1, padding=1), Conv(proj)]),
        ])
    ]  # fmt: skip


def reduction(r3: int, c3: int, rd3: int, cd3: int) -> list[Layer]:
    """Build a module of stride 2: no 1×1 branch, and the pooled input is passed through."""
    return [
        Parallel([
            Stage("3x3", [Conv(r3), Conv(c3, 3, stride=2)]),
            Stage("double_3x3", [Conv(rd3), Conv(cd3, 3), Conv(cd3, 3, stride=2)]),
            Stage("pool", [Pool("max", 3, stride=2, padding=1, ceil=False)]),
        ])
    ]  # fmt: skip


INCEPTION_V2 = Network(
    "inception_v2",
    stages=[
        #                                  #1×1 #3×3r #3×3 d3×3r d3×3  pool   proj
        Stage("conv1", SEPARABLE_STEM),
        Stage("maxpool1", [HALVE]),
        Stage("conv2", [Conv(64), Conv(192, 3)]),
        Stage("maxpool2", [HALVE]),
        Stage("inception_3a", inception(64, 64, 64, 64, 96, "avg", 32)),
        Stage("inception_3b", inception(64, 64, 96, 64, 96, "avg", 64)),
        Stage("inception_3c", reduction(128, 160, 64, 96)),
        Stage("inception_4a", inception(224, 64, 96, 96, 128, "avg", 128)),
        Stage("inception_4b", inception(192, 96, 128, 96, 128, "avg", 128)),
        Stage("inception_4c", inception(160, 128, 160, 128, 160, "avg", 96)),
        Stage("inception_4d", inception(96, 128, 192, 160, 192, "avg", 96)),
        Stage("inception_4e", reduction(128, 192, 192, 256)),
        Stage("inception_5a", inception(352, 192, 320, 160, 224, "avg", 128)),
        Stage("inception_5b", inception(352, 192, 320, 192, 224, "max", 128)),
        *classifier(dropout=0.2),
    ],
    norm=BatchNorm(eps=0.001),
    init="truncated_normal",
    paper="Ioffe & Szegedy, Batch normalization: accelerating deep network training, 2015, figure 5",
    differences=[
        "no auxiliary heads: figure 5 does not place them",
        "dropout 0.2 before the classifier, as in the authors' released code; the paper finds that it can be left out",
    ],
)

# Two steps of halving less than the paper's stem has: 16×16 maps in 3a for images of 32 pixels.
INCEPTION_V2_SMALL = replace(
    INCEPTION_V2.change("conv1", [Conv(64, 3)]).remove("maxpool2"),
    name="inception_v2_small",
    input_size=32,
    crop_fraction=1.0,
    differences=[*INCEPTION_V2.differences, "for small images: the stem halves once where the paper's halves thrice"],
)


def _unpadded(layer: Layer) -> Layer:
    """Let pools that halve the map have no padding and round up; others count theirs, as Caffe does."""
    if not isinstance(layer, Pool) or not layer.padding:
        return layer
    return replace(layer, padding=0, ceil=True) if layer.stride == 2 else replace(layer, count_padding=True)


INCEPTION_BN = replace(
    INCEPTION_V2.change("conv1", [Conv(64, 7, stride=2)]).rewrite(_unpadded),
    name="inception_bn",
    norm=BatchNorm(),
    differences=[
        *INCEPTION_V2.differences,
        "an ordinary 7×7 convolution first, pools that halve without padding, averages that count it, and an epsilon "
        "of 0.00001, as in the networks of Caffe and MXNet that are called Inception-BN",
    ],
)

# As it was turned into ONNX, which leaves the padding out of averages.
INCEPTION_BN_ONNX = INCEPTION_BN.rewrite(
    lambda layer: replace(layer, count_padding=False) if isinstance(layer, Pool) else layer
)
