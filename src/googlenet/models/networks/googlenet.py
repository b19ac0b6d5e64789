"""GoogLeNet: Table 1 of Szegedy et al., *Going deeper with convolutions* (2014), typed in as data.

The layer types are in ``models/layers``. Every dialect below is the paper's network with something replaced.
"""

from __future__ import annotations

from dataclasses import replace

from googlenet.models.spec import (
    LRN,
    AuxTap,
    BatchNorm,
    Conv,
    Dropout,
    Layer,
    Linear,
    Network,
    Parallel,
    Pool,
    SeparableConv,
    Stage,
    classifier,
)


def inception(c1: int, r3: int, c3: int, r5: int, c5: int, proj: int) -> list[Layer]:
    """Build the Inception module with 1×1 reductions (figure 2b); arguments in the order of Table 1."""
    return [
        Parallel([
            Stage("1x1", [Conv(c1)]),
            Stage("3x3", [Conv(r3), Conv(c3, 3)]),
            Stage("5x5", [Conv(r5), Conv(c5, 5)]),
            Stage("pool_proj", [Pool("max", 3, stride=1, padding=1), Conv(proj)]),
        ])
    ]  # fmt: skip


def naive_inception(c1: int, c3: int, c5: int, proj: int | None = None) -> list[Layer]:
    """Build the naive Inception module (figure 2a). ``proj`` adds a 1×1 after the pool, which the figure lacks."""
    pool: list[Layer] = [Pool("max", 3, stride=1, padding=1)]
    return [
        Parallel([
            Stage("1x1", [Conv(c1)]),
            Stage("3x3", [Conv(c3, 3)]),
            Stage("5x5", [Conv(c5, 5)]),
            Stage("pool_proj", pool if proj is None else [*pool, Conv(proj)]),
        ])
    ]  # fmt: skip


HALVE = Pool("max", 3, stride=2)

# Section 5: average pooling 5×5/3, 128 1×1 convolutions, 1024 units, dropout 70 %, a linear layer.
# output=4 keeps the 4×4 grid the linear layer needs at input sizes other than 224.
AUX_HEAD: list[Layer] = [Pool("avg", 5, stride=3, output=4), Conv(128), Linear(1024, relu=True), Dropout(0.7), Linear()]

GOOGLENET = Network(
    "googlenet",
    stages=[
        #                          #1×1  #3×3r #3×3  #5×5r #5×5  proj
        Stage("conv1", [Conv(64, 7, stride=2)]),
        Stage("maxpool1", [HALVE, LRN()]),
        Stage("conv2", [Conv(64), Conv(192, 3), LRN()]),
        Stage("maxpool2", [HALVE]),
        Stage("inception_3a", inception(64, 96, 128, 16, 32, 32)),
        Stage("inception_3b", inception(128, 128, 192, 32, 96, 64)),
        Stage("maxpool3", [HALVE]),
        Stage("inception_4a", inception(192, 96, 208, 16, 48, 64)),
        Stage("inception_4b", inception(160, 112, 224, 24, 64, 64)),
        Stage("inception_4c", inception(128, 128, 256, 24, 64, 64)),
        Stage("inception_4d", inception(112, 144, 288, 32, 64, 64)),
        Stage("inception_4e", inception(256, 160, 320, 32, 128, 128)),
        Stage("maxpool4", [HALVE]),
        Stage("inception_5a", inception(256, 160, 320, 32, 128, 128)),
        Stage("inception_5b", inception(384, 192, 384, 48, 128, 128)),
        *classifier(dropout=0.4),
    ],
    aux=[AuxTap("aux1", "inception_4a", AUX_HEAD), AuxTap("aux2", "inception_4d", AUX_HEAD)],
    init="xavier",
    paper="Szegedy et al., Going deeper with convolutions, 2014, Table 1",
    differences=[
        "LRN after pool1 and after conv2, as in Caffe: Table 1 does not list these layers",
        "every convolution pads by half its kernel and pooling rounds up, as in Caffe",
    ],
)


def _without_lrn(layer: Layer) -> Layer | None:
    return None if isinstance(layer, LRN) else layer


def _third_branch_3x3(layer: Layer) -> Layer:
    return replace(layer, kernel=3) if isinstance(layer, Conv) and layer.kernel == 5 else layer


GOOGLENET_PLAIN = replace(
    GOOGLENET.rewrite(_without_lrn),
    name="googlenet_plain",
    init="kaiming",
    differences=["no local response normalisation: convolutions, biases and ReLU only"],
)

GOOGLENET_BN = replace(
    GOOGLENET_PLAIN,
    name="googlenet_bn",
    norm=BatchNorm(),
    init="truncated_normal",
    differences=[
        "batch normalisation after every convolution, which then has no bias (Ioffe & Szegedy, 2015)",
        "no local response normalisation",
    ],
)

# Two steps of halving less than the paper's stem has: 16×16 maps in 3a for images of 32 pixels.
GOOGLENET_SMALL = replace(
    GOOGLENET_BN.change("conv1", [Conv(64, 3)]).remove("maxpool2"),
    name="googlenet_small",
    input_size=32,
    crop_fraction=1.0,
    differences=[
        *GOOGLENET_BN.differences,
        "for small images: a 3×3 convolution of stride 1 first, and a stem that halves once where the paper's "
        "halves thrice",
    ],
)

_TORCHVISION_HEAD: list[Layer] = [Pool("avg", output=4), *AUX_HEAD[1:]]

GOOGLENET_TORCHVISION = replace(
    GOOGLENET_BN.rewrite(_third_branch_3x3)
    .change("maxpool4", [Pool("max", 2, stride=2)])
    .change("dropout", [Dropout(0.2)]),
    name="googlenet_torchvision",
    aux=[replace(tap, layers=_TORCHVISION_HEAD) for tap in GOOGLENET.aux],
    norm=BatchNorm(eps=0.001),
    init="truncated_normal",
    differences=[
        "batch normalisation (ε 0.001) after every convolution, which then has no bias; no LRN",
        "the third branch is 3×3 where the paper has 5×5 (its column is still called 5×5 here)",
        "pool4 is 2×2/2 where the paper has 3×3/2",
        "dropout 0.2 before the classifier where the paper has 0.4",
        "the heads' pooling is adaptive to 4×4 where the paper has 5×5/3",
    ],
)

INCEPTION5H = replace(
    GOOGLENET.change("inception_4a", inception(192, 96, 204, 16, 48, 64)).change(
        "inception_5a", inception(256, 160, 320, 48, 128, 128)
    ),
    name="inception5h",
    differences=[
        *GOOGLENET.differences,
        "#3×3 of 4a is 204 where Table 1 has 208, as in the released TensorFlow weights",
        "#5×5 reduce of 5a is 48 where Table 1 has 32, as in the released TensorFlow weights",
    ],
)

GOOGLENET_NAIVE = replace(
    GOOGLENET.change("inception_3a", naive_inception(64, 128, 32))
    .change("inception_3b", naive_inception(128, 192, 96))
    .change("inception_4a", naive_inception(192, 208, 48))
    .change("inception_4b", naive_inception(160, 224, 64))
    .change("inception_4c", naive_inception(128, 256, 64))
    .change("inception_4d", naive_inception(112, 288, 64))
    .change("inception_4e", naive_inception(256, 320, 128))
    .change("inception_5a", naive_inception(256, 320, 128))
    .change("inception_5b", naive_inception(384, 384, 128)),
    name="googlenet_naive",
    paper="Szegedy et al., Going deeper with convolutions, 2014, figure 2(a) with the widths of Table 1",
    differences=[
        "naive modules: no 1×1 reductions, and the pooled input is joined whole, so that every module is "
        "wider than the one before",
    ],
)

# The stem that the printed 2.7K parameters and 34M operations of Table 1's first row fit.
SEPARABLE_STEM = [SeparableConv(64, 7, stride=2, multiplier=8)]
