"""How torchvision, timm, Caffe and Caffe2 name the tensors of AlexNet, VGG and ResNet."""

from __future__ import annotations

from googlenet.models.layouts.base import Layout
from googlenet.models.spec import Conv, Network, Pool

ALEXNET: Layout = (
    *((rf"^conv{n}\.conv\.", rf"features.{theirs}.") for n, theirs in zip(range(1, 6), (0, 3, 6, 8, 10), strict=True)),
    (r"^fc6\.1\.", r"classifier.1."),
    (r"^fc7\.1\.", r"classifier.4."),
    (r"^fc8\.", r"classifier.6."),
)

RESNET: Layout = (
    (r"^conv1\.conv\.", r"conv1."),
    (r"^conv1\.bn\.", r"bn1."),
    *((rf"\.body\.{n}\.conv\.", rf".conv{n + 1}.") for n in range(3)),
    *((rf"\.body\.{n}\.bn\.", rf".bn{n + 1}.") for n in range(3)),
    (r"\.shortcut\.conv\.", r".downsample.0."),
    (r"\.shortcut\.bn\.", r".downsample.1."),
)


def vgg(network: Network) -> Layout:
    """Number the flat list of theirs: a convolution, its normalisation and its ReLU count one each, a pool one."""
    rules: list[tuple[str, str]] = []
    at = 0
    for stage in network.stages:
        for n, layer in enumerate(stage.layers):
            if isinstance(layer, Conv):
                ours = rf"^{stage.name}\.{n}" if len(stage.layers) > 1 else rf"^{stage.name}"
                rules += [(rf"{ours}\.conv\.", f"features.{at}."), (rf"{ours}\.bn\.", f"features.{at + 1}.")]
                at += 2 if network.norm is None else 3
            elif isinstance(layer, Pool):
                at += 1
    hidden = [(r"^fc6\.0\.", "classifier.0."), (r"^fc7\.0\.", "classifier.3."), (r"^fc8\.", "classifier.6.")]
    return (*rules, *hidden)


ALEXNET_CAFFE: Layout = (
    (r"^(conv\d)\.(?:0\.)?conv\.", r"\1."),
    (r"^(fc[67])\.0\.", r"\1."),
)


def resnet_caffe() -> Layout:
    """Return the names of Caffe's ResNet-50."""
    blocks = [(layer, block) for layer, count in zip(range(1, 5), (3, 4, 6, 3), strict=True) for block in range(count)]
    units = [(f"body\\.{n}", f"2{letter}") for n, letter in enumerate("abc")] + [("shortcut", "1")]
    return (
        *((rf"^layer{layer}\.{block}\.{ours}\.", rf"{layer + 1}{chr(ord('a') + block)}_branch{theirs}.")
          for layer, block in blocks for ours, theirs in units),
        (r"^fc\.", r"fc1000."),
        (r"^conv1\.conv\.", r"conv1."),
        (r"^(.+)\.conv\.", r"res\1."),
        (r"^conv1\.bn\.running", r"bn_conv1.running"),
        (r"^conv1\.bn\.", r"scale_conv1."),
        (r"^(.+)\.bn\.running", r"bn\1.running"),
        (r"^(.+)\.bn\.", r"scale\1."),
    )  # fmt: skip


def resnet_caffe2() -> Layout:
    """Return the names of Caffe2's ResNet-50."""
    units = [(f"body\\.{n}", f"branch2{letter}") for n, letter in enumerate("abc")] + [("shortcut", "branch1")]
    return (
        *((rf"^layer{layer}\.(\d)\.{ours}\.", rf"res{layer + 1}_\1_{theirs}.")
          for layer in range(1, 5) for ours, theirs in units),
        (r"^conv1\.bn\.", r"res_conv1_bn."),
        (r"\.bn\.", r"_bn."),
        (r"\.conv\.", r"."),
        (r"^fc\.", r"pred."),
    )  # fmt: skip


def vgg_caffe(network: Network) -> Layout:
    """Stage and place of a convolution, both counted from one: conv3_2."""
    numbered: list[tuple[str, str]] = []
    for stage in network.stages:
        convs = [n for n, layer in enumerate(stage.layers) if isinstance(layer, Conv)]
        for n in convs:
            ours = rf"^{stage.name}\.{n}" if len(stage.layers) > 1 else rf"^{stage.name}"
            numbered.append((rf"{ours}\.conv\.", f"{stage.name}_{n + 1}."))
    return (*numbered, (r"^(fc[67])\.0\.", r"\1."))
