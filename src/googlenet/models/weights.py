"""Key maps between this project's weights and those of others. Tensors go in and out unchanged.

A layout is how others name the tensors of one of our networks, as patterns and replacements from our names to
theirs, applied in order. The way back follows from the names a network has, so that nothing is written twice.
Nothing here reads a file: a map takes names and tensors that a safe reader gave.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from googlenet.errors import WeightsError
from googlenet.models.build import create
from googlenet.models.classics import VGG11, VGG11_BN, VGG16, VGG16_BN, VGG19, VGG19_BN
from googlenet.models.spec import Conv, Network, Pool
from googlenet.text import first_few

Layout = tuple[tuple[str, str], ...]

OWN = "googlenet"  # the layout of our own weights.safetensors
TIMM_NAMES = {"xception": "legacy_xception"}  # where timm calls a network otherwise
TIMM_CROP_MODES = {"crop": "center", "pad": "border", "squash": "squash"}  # what timm calls Preprocessing.fit


@dataclass(frozen=True)
class Taken:
    """Weights that fit. ``layout`` is whose names they had, ``state`` loads into ``create(network)``.

    ``network`` has the number of classes and of input channels of the weights, and no heads where they have none.
    """

    layout: str
    network: Network
    state: dict[str, Tensor]


def take(network: Network, tensors: Mapping[str, Tensor]) -> Taken:
    """Rename the tensors of another project to ours, whichever of the network's layouts they are in.

    Raises :class:`WeightsError` naming every kind of tensor that is unknown, missing or of another shape.

    >>> from googlenet.models.zoo import find
    >>> theirs = give(find("lenet5"), create("lenet5").state_dict(), "googlenet")
    >>> take(find("lenet5"), theirs).layout
    'googlenet'
    """
    tensors = {key: tensor for key, tensor in tensors.items() if not is_a_counter(key)}
    layout, names = _recognised(network, tensors)
    known = {key: tensors[name] for key, name in names.items() if name in tensors}
    fitted = _without_missing_heads(_adapted(network, known), known)
    whole = laid_out(fitted)
    counters = {key: torch.tensor(0) for key in whole if is_a_counter(key)}
    wanted = {key: tensor.shape for key, tensor in whole.items() if key not in counters}
    state = {key: tensor for key, tensor in known.items() if key in wanted}
    wrong = {
        "unknown": [name for name in tensors if name not in names.values()],
        "missing": [names[key] for key in wanted if key not in known],
        "of another shape": [
            f"{names[key]} {tuple(tensor.shape)}, needed {tuple(wanted[key])}"
            for key, tensor in state.items()
            if tensor.shape != wanted[key]
        ],
    }
    if any(wrong.values()):
        listed = "; ".join(f"{what}: {first_few(keys)}" for what, keys in wrong.items() if keys)
        raise WeightsError(f"the weights ({layout}) do not fit {network.name}: {listed}")
    return Taken(layout, fitted, {**counters, **state})


def give(network: Network, state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Rename our tensors to a layout of others. Raises :class:`WeightsError` where the network has no such layout."""
    if layout not in layouts_of(network):
        raise WeightsError(f"{network.name} has no layout {layout!r}: allowed are {', '.join(layouts_of(network))}")
    names = _names(network, layout, state)
    return {names[key]: tensor for key, tensor in state.items()}


def layouts_of(network: Network) -> tuple[str, ...]:
    """Name the layouts a network's weights are known in, our own first."""
    return (OWN, *LAYOUTS.get(network.name, {}))


def _names(network: Network, layout: str, keys: Iterable[str]) -> dict[str, str]:
    """Our key → theirs."""
    rules = () if layout == OWN else LAYOUTS[network.name][layout]
    return {key: _renamed(key, rules) for key in keys}


def _renamed(key: str, rules: Layout) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def _recognised(network: Network, tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, str]]:
    """Find the layout that most of the tensors have their names from: our key → theirs."""
    ours = [key for key in laid_out(network) if not is_a_counter(key)]
    candidates = {layout: _names(network, layout, ours) for layout in layouts_of(network)}
    layout, names = max(candidates.items(), key=lambda item: len(set(item[1].values()) & tensors.keys()))
    if not set(names.values()) & tensors.keys():
        raise WeightsError(
            f"these are no weights of {network.name}: they have {first_few(tensors)}; "
            f"it has {first_few(names.values())} "
            f"(layouts: {', '.join(candidates)})"
        )
    return layout, names


def laid_out(network: Network) -> dict[str, Tensor]:
    """Every tensor of a network's module by its name: shapes, no memory."""
    with torch.device("meta"):
        return create(network).state_dict()


def is_a_counter(key: str) -> bool:
    """Whether this is a count of batches, which some sources leave out and which decides nothing."""
    return key.endswith("num_batches_tracked")


def _adapted(network: Network, known: Mapping[str, Tensor]) -> Network:
    """Give the network as many classes and input channels as the weights have."""
    first, last = network.stages[0].name, network.stages[-1].name
    weights = {key: tensor for key, tensor in known.items() if key.endswith(".weight") and tensor.ndim > 1}
    classes = [tensor.shape[0] for key, tensor in weights.items() if key.startswith(f"{last}.")]
    stem = next((t for key, t in weights.items() if key.startswith(f"{first}.") and t.ndim == 4), None)
    if classes:
        network = replace(network, num_classes=classes[-1])
    opening = network.stages[0].layers[0]
    if stem is not None and isinstance(opening, Conv):
        network = replace(network, in_channels=stem.shape[1] * opening.groups)
    return network


def _without_missing_heads(network: Network, known: Mapping[str, Tensor]) -> Network:
    """Leave out the heads of which the weights have nothing: they are not needed for answers."""
    there = [tap for tap in network.aux if any(key.startswith(f"{tap.name}.") for key in known)]
    return replace(network, aux=there)


# The layouts. A pattern is of our names, a replacement of theirs.

_GOOGLENET_TORCHVISION: Layout = (
    (r"^conv2\.0\.", r"conv2."),
    (r"^conv2\.1\.", r"conv3."),
    (r"^inception_(\d)(\w)\.", r"inception\1\2."),
    (r"\.1x1\.", r".branch1."),
    (r"\.3x3\.", r".branch2."),
    (r"\.5x5\.", r".branch3."),
    (r"\.pool_proj\.1\.", r".branch4.1."),
    (r"^(aux\d)\.1\.", r"\1.conv."),
    (r"^(aux\d)\.2\.", r"\1.fc1."),
    (r"^(aux\d)\.4\.", r"\1.fc2."),
)

_CAFFE: Layout = (
    (r"^conv1\.conv\.", r"conv1/7x7_s2."),
    (r"^conv2\.0\.conv\.", r"conv2/3x3_reduce."),
    (r"^conv2\.1\.conv\.", r"conv2/3x3."),
    (r"^(inception_\w\w)\.1x1\.conv\.", r"\1/1x1."),
    (r"^(inception_\w\w)\.(3x3|5x5)\.0\.conv\.", r"\1/\2_reduce."),
    (r"^(inception_\w\w)\.(3x3|5x5)\.1\.conv\.", r"\1/\2."),
    (r"^(inception_\w\w)\.pool_proj\.1\.conv\.", r"\1/pool_proj."),
    (r"^aux(\d)\.1\.conv\.", r"loss\1/conv."),
    (r"^aux(\d)\.2\.", r"loss\1/fc."),
    (r"^aux(\d)\.4\.", r"loss\1/classifier."),
    (r"^fc\.", r"loss3/classifier."),
)

_TENSORFLOW: Layout = (
    (r"^conv1\.conv\.", r"conv2d0."),
    (r"^conv2\.0\.conv\.", r"conv2d1."),
    (r"^conv2\.1\.conv\.", r"conv2d2."),
    (r"^inception_(\w\w)\.1x1\.conv\.", r"mixed\1_1x1."),
    (r"^inception_(\w\w)\.(3x3|5x5)\.0\.conv\.", r"mixed\1_\2_bottleneck."),
    (r"^inception_(\w\w)\.(3x3|5x5)\.1\.conv\.", r"mixed\1_\2."),
    (r"^inception_(\w\w)\.pool_proj\.1\.conv\.", r"mixed\1_pool_reduce."),
    (r"^aux1\.1\.conv\.", r"head0_bottleneck."),
    (r"^aux2\.1\.conv\.", r"head1_bottleneck."),
    (r"^aux1\.2\.", r"nn0."),
    (r"^aux2\.2\.", r"nn1."),
    (r"^aux1\.4\.", r"softmax0."),
    (r"^aux2\.4\.", r"softmax1."),
    (r"^fc\.", r"softmax2."),
    (r"\.weight$", r"_w"),
    (r"\.bias$", r"_b"),
)

# torchvision and timm name Inception v3 alike but for the head.
_INCEPTION_V3: Layout = (
    (r"^conv1\.", r"Conv2d_1a_3x3."),
    (r"^conv2\.", r"Conv2d_2a_3x3."),
    (r"^conv3\.", r"Conv2d_2b_3x3."),
    (r"^conv4\.", r"Conv2d_3b_1x1."),
    (r"^conv5\.", r"Conv2d_4a_3x3."),
    (r"^mixed_(7[bc])\.3x3\.0\.", r"Mixed_\1.branch3x3_1."),
    (r"^mixed_(7[bc])\.3x3\.1\.1x3\.", r"Mixed_\1.branch3x3_2a."),
    (r"^mixed_(7[bc])\.3x3\.1\.3x1\.", r"Mixed_\1.branch3x3_2b."),
    (r"^mixed_(7[bc])\.double_3x3\.0\.", r"Mixed_\1.branch3x3dbl_1."),
    (r"^mixed_(7[bc])\.double_3x3\.1\.", r"Mixed_\1.branch3x3dbl_2."),
    (r"^mixed_(7[bc])\.double_3x3\.2\.1x3\.", r"Mixed_\1.branch3x3dbl_3a."),
    (r"^mixed_(7[bc])\.double_3x3\.2\.3x1\.", r"Mixed_\1.branch3x3dbl_3b."),
    (r"^mixed_", r"Mixed_"),
    (r"\.1x1\.", r".branch1x1."),
    (r"\.pool_proj\.1\.", r".branch_pool."),
    *((rf"\.{ours}\.{n}\.", rf".branch{theirs}_{n + 1}.")
      for ours, theirs in (("5x5", "5x5"), ("double_3x3", "3x3dbl"), ("7x7", "7x7"), ("double_7x7", "7x7dbl"),
                           ("3x3", "3x3"), ("7x7_3x3", "7x7x3"))
      for n in range(5)),
    (r"\.3x3\.", r".branch3x3."),
    (r"^aux\.1\.", r"AuxLogits.conv0."),
    (r"^aux\.2\.", r"AuxLogits.conv1."),
    (r"^aux\.3\.", r"AuxLogits.fc."),
)  # fmt: skip


def _inception_v4() -> Layout:
    first = {"inception_a": 6, "inception_b": 11, "inception_c": 19}
    counts = {"inception_a": 4, "inception_b": 7, "inception_c": 3}
    named = ["conv1", "conv2", "conv3", "mixed_3a", "mixed_4a", "mixed_5a"]
    numbers = {name: number for number, name in enumerate(named)} | {"reduction_a": 10, "reduction_b": 18}
    return (
        *((rf"^{name}\.(?=conv|bn)", rf"features.{numbers[name]}.") for name in named[:3]),
        (r"^mixed_3a\.3x3\.", r"features.3.conv."),
        (r"^mixed_4a\.3x3\.", r"features.4.branch0."),
        (r"^mixed_4a\.7x7_3x3\.", r"features.4.branch1."),
        (r"^mixed_5a\.3x3\.", r"features.5.conv."),
        (r"^reduction_a\.3x3\.", r"features.10.branch0."),
        (r"^reduction_a\.double_3x3\.", r"features.10.branch1."),
        (r"^reduction_b\.3x3\.", r"features.18.branch0."),
        (r"^reduction_b\.7x7_3x3\.", r"features.18.branch1."),
        *((rf"^{name}\.{n}\.", rf"features.{first[name] + n}.") for name in first for n in range(counts[name])),
        (r"^(features\.(?:19|20|21))\.3x3\.0\.", r"\1.branch1_0."),
        (r"^(features\.(?:19|20|21))\.3x3\.1\.1x3\.", r"\1.branch1_1a."),
        (r"^(features\.(?:19|20|21))\.3x3\.1\.3x1\.", r"\1.branch1_1b."),
        (r"^(features\.(?:19|20|21))\.double_3x3\.([012])\.", r"\1.branch2_\2."),
        (r"^(features\.(?:19|20|21))\.double_3x3\.3\.1x3\.", r"\1.branch2_3a."),
        (r"^(features\.(?:19|20|21))\.double_3x3\.3\.3x1\.", r"\1.branch2_3b."),
        (r"\.1x1\.", r".branch0."),
        (r"\.(?:3x3|7x7)\.", r".branch1."),
        (r"\.(?:double_3x3|double_7x7)\.", r".branch2."),
        (r"^(features\.(?:19|20|21))\.pool_proj\.", r"\1.branch3."),
        (r"\.pool_proj\.", r".branch3."),
        (r"^fc\.", r"last_linear."),
    )


_INCEPTION_RESNET_V2: Layout = (
    (r"^conv1\.", r"conv2d_1a."),
    (r"^conv2\.", r"conv2d_2a."),
    (r"^conv3\.", r"conv2d_2b."),
    (r"^conv4\.", r"conv2d_3b."),
    (r"^conv5\.", r"conv2d_4a."),
    (r"^conv7\.", r"conv2d_7b."),
    (r"^reduction_a\.3x3\.", r"mixed_6a.branch0."),
    (r"^reduction_a\.double_3x3\.", r"mixed_6a.branch1."),
    (r"^reduction_b\.3x3_a\.", r"mixed_7a.branch0."),
    (r"^reduction_b\.3x3_b\.", r"mixed_7a.branch1."),
    (r"^reduction_b\.double_3x3\.", r"mixed_7a.branch2."),
    (r"^mixed_5b\.1x1\.", r"mixed_5b.branch0."),
    (r"^mixed_5b\.5x5\.", r"mixed_5b.branch1."),
    (r"^mixed_5b\.double_3x3\.", r"mixed_5b.branch2."),
    (r"^mixed_5b\.pool_proj\.", r"mixed_5b.branch3."),
    (r"^block_35\.", r"repeat."),
    (r"^block_17\.", r"repeat_1."),
    (r"^block_8\.9\.", r"block8."),
    (r"^block_8\.", r"repeat_2."),
    (r"\.body\.0\.", r"."),
    (r"\.body\.1\.conv\.", r".conv2d."),
    (r"^fc\.", r"classif."),
)


def _xception() -> Layout:
    # A block of theirs is a flat list of ReLU, convolution and normalisation; the first block has no ReLU in front.
    def unit(block: str, ours: int, theirs: int) -> Layout:
        return (
            (rf"^{block}\.body\.{ours}\.depthwise\.", rf"{block}.rep.{theirs}.conv1."),
            (rf"^{block}\.body\.{ours}\.conv\.", rf"{block}.rep.{theirs}.pointwise."),
            (rf"^{block}\.body\.{ours}\.bn\.", rf"{block}.rep.{theirs + 1}."),
        )

    halving = ("block2", "block3", "block12")
    middle = tuple(f"block{number}" for number in range(4, 12))
    return (
        *((rf"^middle\.{n}\.", rf"{block}.") for n, block in enumerate(middle)),
        *unit("block1", 0, 0),
        *unit("block1", 1, 3),
        *(rule for block in (*halving, *middle) for n in (1, 2, 3) for rule in unit(block, n, 3 * n - 2)),
        (r"\.shortcut\.conv\.", r".skip."),
        (r"\.shortcut\.bn\.", r".skipbn."),
        (r"^conv([34])\.depthwise\.", r"conv\1.conv1."),
        (r"^conv([34])\.conv\.", r"conv\1.pointwise."),
        (r"^conv([12])\.conv\.", r"conv\1."),
        (r"^conv(\d)\.bn\.", r"bn\1."),
    )


_ALEXNET: Layout = (
    *((rf"^conv{n}\.conv\.", rf"features.{theirs}.") for n, theirs in zip(range(1, 6), (0, 3, 6, 8, 10), strict=True)),
    (r"^fc6\.1\.", r"classifier.1."),
    (r"^fc7\.1\.", r"classifier.4."),
    (r"^fc8\.", r"classifier.6."),
)

_RESNET: Layout = (
    (r"^conv1\.conv\.", r"conv1."),
    (r"^conv1\.bn\.", r"bn1."),
    *((rf"\.body\.{n}\.conv\.", rf".conv{n + 1}.") for n in range(3)),
    *((rf"\.body\.{n}\.bn\.", rf".bn{n + 1}.") for n in range(3)),
    (r"\.shortcut\.conv\.", r".downsample.0."),
    (r"\.shortcut\.bn\.", r".downsample.1."),
)


def _vgg(network: Network) -> Layout:
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


LAYOUTS: dict[str, dict[str, Layout]] = {
    "googlenet_torchvision": {"torchvision": _GOOGLENET_TORCHVISION},
    "googlenet": {"caffe": _CAFFE},
    "inception5h": {"tensorflow": _TENSORFLOW},
    "inception_v3": {"torchvision": _INCEPTION_V3, "timm": _INCEPTION_V3},
    "inception_v4": {"timm": _inception_v4()},
    "inception_resnet_v2": {"timm": _INCEPTION_RESNET_V2},
    "xception": {"timm": _xception()},
    "alexnet_torchvision": {"torchvision": _ALEXNET},
    "resnet18": {"torchvision": _RESNET, "timm": _RESNET},
    "resnet50": {"torchvision": _RESNET, "timm": _RESNET},
    **{vgg.name: {"torchvision": _vgg(vgg)} for vgg in (VGG11, VGG11_BN, VGG16, VGG16_BN, VGG19, VGG19_BN)},
}
