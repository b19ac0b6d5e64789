"""The figures that papers print about their networks, row by row, and where they differ from the networks.

Printed figures are quoted from the papers; exact ones are computed from the networks' data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from googlenet.models import table1
from googlenet.models.analysis import analyse
from googlenet.models.networks import classics, googlenet, inception_v2, inception_v3, xception
from googlenet.models.spec import Network

Rows = Mapping[str, Mapping[str, str]]  # row → column → as printed


def _nothing() -> list[str]:
    return []


@dataclass(frozen=True)
class Printed:
    """The figures a paper prints. ``total`` is what it says of the whole network, ``remarks`` explain differences."""

    rows: Rows = field(default_factory=dict)
    total: str = ""
    remarks: Callable[[], list[str]] = _nothing

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the paper has figures for."""
        return tuple(dict.fromkeys(column for row in self.rows.values() for column in row))


def find(network: Network, size: int) -> Printed:
    """Return what is printed about a network: nothing at another input size, or if the paper has no figures.

    >>> find(googlenet.GOOGLENET, 224).rows["inception_3a"]["params"]
    '159K'
    """
    return PRINTED.get(network.name, Printed()) if size == network.input_size else Printed()


def claims(names: Collection[str]) -> list[str]:
    """Compare common statements about GoogLeNet's size with the exact figures, for networks among ``names``.

    >>> claims(["googlenet", "alexnet"])
    ["said: 1/12 of AlexNet's parameters; true: 1/8.7 (6,998,552 against 60,965,224)"]
    """
    said = (("1/12", "AlexNet", classics.ALEXNET), ("1/3", "VGG-16", classics.VGG16))
    ours = analyse(googlenet.GOOGLENET).parameters
    return [
        f"said: {share} of {rival}'s parameters; true: 1/{theirs / ours:.1f} ({ours:,} against {theirs:,})"
        for share, rival, network in said
        if googlenet.GOOGLENET.name in names and network.name in names
        for theirs in [analyse(network).parameters]
    ]


def _column(name: str, rows: Mapping[str, str]) -> Rows:
    return {row: {name: figure} for row, figure in rows.items()}


def _columns(names: tuple[str, ...], rows: Mapping[str, tuple[str, ...]]) -> Rows:
    return {row: dict(zip(names, figures, strict=True)) for row, figures in rows.items()}


def _lenet5() -> list[str]:
    parameters = analyse(classics.LENET5).parameters
    return [f"the learnt subsampling and the sparse c3 of the paper make the difference between its 60,000 and "
            f"{parameters:,} parameters."]  # fmt: skip


def _alexnet() -> list[str]:
    conv1 = {row.name: row.cost.shape for row in analyse(classics.ALEXNET).rows}["conv1"]
    channels, height, width = conv1
    return [
        f"conv1: 253,440 neurons would be {253_440 // channels:,} places a map; its maps are {height}×{width}, "
        f"{channels * height * width:,} neurons."
    ]


def _resnet50() -> list[str]:
    return [f"3.8 billion is with the stride in the first 1×1 of a block; here it is in the 3×3, as in torchvision: "
            f"{analyse(classics.RESNET50).macs:,}."]  # fmt: skip


def _inception_v2() -> list[str]:
    return [
        "inception_3c, inception_4e: the sizes printed are those before the module halves the map.",
        f"the paper speaks of 13.6 million parameters; the widths of figure 5 give "
        f"{analyse(inception_v2.INCEPTION_V2).parameters:,}.",
    ]


def _inception_v3() -> list[str]:
    table = analyse(inception_v3.INCEPTION_V3)
    return [
        "conv4, conv5: the printed sizes belong to three 3×3 convolutions; the released network has others.",
        f"the Xception paper counts 23,626,728 parameters for it; with a scale in every normalisation it is "
        f"{table.parameters:,}.",
        f"5 billion multiply-adds were said; the released network takes {table.macs:,}.",
    ]


def _xception() -> list[str]:
    return [f"the parameters agree to the last one: {analyse(xception.XCEPTION).parameters:,}."]


_RESNET = _column("output", {
    "conv1": "112×112", "layer1": "56×56", "layer2": "28×28", "layer3": "14×14", "layer4": "7×7", "avgpool": "1×1",
})  # fmt: skip
_STEM_OF_2016 = {"conv1": "149×149×32", "conv2": "147×147×32", "conv3": "147×147×64"}

PRINTED: dict[str, Printed] = {
    "googlenet": Printed(_columns(("params", "ops"), table1.PRINTED), remarks=table1.errata),
    "lenet5": Printed(
        _columns(("params", "connections"), {
            "c1": ("156", "122,304"), "s2": ("12", "5,880"), "c3": ("1,516", "151,600"), "s4": ("32", "2,000"),
            "c5": ("48,120", "48,120"), "f6": ("10,164", "10,164"),
        }),
        "60,000 parameters, 340,908 connections",
        _lenet5,
    ),
    "alexnet": Printed(
        _column("neurons", {
            "conv1": "253,440", "conv2": "186,624", "conv3": "64,896", "conv4": "64,896", "conv5": "43,264",
            "fc6": "4096", "fc7": "4096", "fc8": "1000",
        }),
        "60 million parameters, 650,000 neurons",
        _alexnet,
    ),
    "vgg11": Printed(total="133 million parameters"),
    "vgg16": Printed(total="138 million parameters"),
    "vgg19": Printed(total="144 million parameters"),
    "resnet18": Printed(_RESNET, "1.8 billion multiply-adds"),
    "resnet50": Printed(_RESNET, "3.8 billion multiply-adds", _resnet50),
    "inception_v2": Printed(
        _columns(("output", "depth"), {
            "conv1": ("112×112×64", "1"), "maxpool1": ("56×56×64", "0"), "conv2": ("56×56×192", "1"),
            "maxpool2": ("28×28×192", "0"), "inception_3a": ("28×28×256", "3"), "inception_3b": ("28×28×320", "3"),
            "inception_3c": ("28×28×576", "3"), "inception_4a": ("14×14×576", "3"), "inception_4b": ("14×14×576", "3"),
            "inception_4c": ("14×14×576", "3"), "inception_4d": ("14×14×576", "3"),
            "inception_4e": ("14×14×1024", "3"), "inception_5a": ("7×7×1024", "3"), "inception_5b": ("7×7×1024", "3"),
            "avgpool": ("1×1×1024", "0"),
        }),
        "13.6 million parameters",
        _inception_v2,
    ),
    "inception_v3": Printed(
        _column("output", {
            "conv1": "149×149×32", "conv2": "147×147×32", "conv3": "147×147×64", "maxpool1": "73×73×64",
            "conv4": "71×71×80", "maxpool2": "35×35×192", "mixed_5d": "35×35×288", "mixed_6a": "17×17×768",
            "mixed_6e": "17×17×768", "mixed_7a": "8×8×1280", "mixed_7c": "8×8×2048", "avgpool": "1×1×2048",
            "fc": "1×1×1000",
        }),
        "less than 25 million parameters, 5 billion multiply-adds",
        _inception_v3,
    ),
    "inception_v4": Printed(
        _column("output", {
            **_STEM_OF_2016, "mixed_3a": "73×73×160", "mixed_4a": "71×71×192", "mixed_5a": "35×35×384",
            "inception_a": "35×35×384", "reduction_a": "17×17×1024", "inception_b": "17×17×1024",
            "reduction_b": "8×8×1536", "inception_c": "8×8×1536", "avgpool": "1536",
        }),
    ),
    "inception_resnet_v1": Printed(
        _column("output", {
            **_STEM_OF_2016, "maxpool1": "73×73×64", "conv4": "73×73×80", "conv5": "71×71×192", "conv6": "35×35×256",
            "block_35": "35×35×256", "reduction_a": "17×17×896", "block_17": "17×17×896", "reduction_b": "8×8×1792",
            "block_8": "8×8×1792", "avgpool": "1792",
        }),
    ),
    "xception": Printed(
        _column("output", {"block3": "19×19×728", "middle": "19×19×728", "avgpool": "2048"}),
        "22,855,952 parameters",
        _xception,
    ),
}  # fmt: skip
