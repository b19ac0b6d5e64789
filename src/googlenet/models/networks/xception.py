"""Xception: Chollet, *Xception: deep learning with depthwise separable convolutions* (2016), figure 5.

An Inception module taken to its extreme: every channel is its own branch.
"""

from __future__ import annotations

from dataclasses import replace

from googlenet.models.spec import BatchNorm, Conv, Network, Pool, ReLU, Residual, SeparableConv, Stage, classifier

HALVE = Pool("max", 3, stride=2, padding=1, ceil=False)


def entry(width: int, first: int | None = None) -> Residual:
    """Build a halving block: two separable convolutions and a pool, beside a 1×1 of stride 2."""
    separable = [SeparableConv(first or width), SeparableConv(width, relu=False)]
    return Residual([ReLU(), *separable, HALVE], [Conv(width, stride=2, relu=False)], relu=False)


# The stem ends in a ReLU: one at the start of the first block would change nothing.
FIRST = replace(entry(128), body=entry(128).body[1:])
MIDDLE = Residual([ReLU(), SeparableConv(728), SeparableConv(728), SeparableConv(728, relu=False)], relu=False)

XCEPTION = Network(
    "xception",
    stages=[
        Stage("conv1", [Conv(32, 3, stride=2, padding=0)]),
        Stage("conv2", [Conv(64, 3, padding=0)]),
        Stage("block1", [FIRST]),
        Stage("block2", [entry(256)]),
        Stage("block3", [entry(728)]),
        Stage("middle", 8 * [MIDDLE]),
        Stage("block12", [entry(1024, first=728)]),
        Stage("conv3", [SeparableConv(1536)]),
        Stage("conv4", [SeparableConv(2048)]),
        *classifier(dropout=0.5),
    ],
    norm=BatchNorm(),
    input_size=299,
    crop_fraction=0.8975,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    paper="Chollet, Xception: deep learning with depthwise separable convolutions, 2016, figure 5",
    differences=["pools pad by one pixel and round down, where the paper's framework pads to keep half the size"],
)

SAME_SIZE = Residual([SeparableConv(128), SeparableConv(128, relu=False)], [Conv(128, relu=False)], relu=False)

XCEPTION_SMALL = replace(
    XCEPTION.change("conv1", [Conv(32, 3)]).change("conv2", [Conv(64, 3)]).change("block1", [SAME_SIZE]),
    name="xception_small",
    input_size=32,
    crop_fraction=1.0,
    differences=[*XCEPTION.differences, "for small images: the first convolution and the first block keep the size"],
)
