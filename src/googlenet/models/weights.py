"""Key maps between this project's weights and those of others. Tensors go in and out unchanged.

A layout is how others name the tensors of one of our networks, as patterns and replacements from our names to
theirs, applied in order. The way back follows from the names a network has, so that nothing is written twice.
Nothing here reads a file: a map takes names and tensors that a safe reader gave. Whether they fit is told by names and
shapes alone, :class:`Header` s, without PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from googlenet.errors import WeightsError
from googlenet.models import zoo
from googlenet.models.networks.classics import (
    ALEXNET_CAFFE,
    RESNET50_CAFFE,
    VGG11,
    VGG11_BN,
    VGG16,
    VGG16_BN,
    VGG19,
    VGG19_BN,
)
from googlenet.models.networks.inception_v2 import INCEPTION_BN, INCEPTION_BN_ONNX
from googlenet.models.shapes import Header, state_dict_on_meta
from googlenet.models.spec import Conv, Network, Pool
from googlenet.text import first_few, printable

if TYPE_CHECKING:
    from torch import Tensor

Layout = tuple[tuple[str, str], ...]

OWN = "googlenet"  # the layout of our own weights.safetensors
TIMM_NAMES = {"xception": "legacy_xception"}  # where timm calls a network otherwise
TIMM_CROP_MODES = {"crop": "center", "pad": "border", "squash": "squash"}  # what timm calls Preprocessing.fit


# What wrappers put into the names of what they wrap: of several devices, of a compiled module, of one cut in pieces.
_WRAPPERS = re.compile(r"(?<![^./])(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)[./]")
_AVERAGED = re.compile(r"(?<![a-z])(?:ema|swa|averaged?)(?![a-z])", re.IGNORECASE)
_UPDATES = "n_averaged"  # how often torch.optim.swa_utils.AveragedModel was updated
_MAX_PARTS = 24  # of a name, from its end, in which ours is looked for


@dataclass(frozen=True)
class LoadedWeights:
    """Weights that fit. ``layout`` is whose names they had, ``state`` loads into ``create(network)``.

    ``network`` has the number of classes and of input channels of the weights, and no heads where they have none. It is
    the one asked for as the makers of these weights had it. ``place`` is where in their file the weights lay, and
    ``notes`` say what was chosen.
    """

    layout: str
    network: Network
    state: dict[str, Tensor]
    place: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """What of a file has a place in a network: ``found`` is our key → a name of the file, ``wanted`` → the layout's.

    ``asked`` names the network that was asked for, ``network`` is it as its makers had it. ``left`` are names of the
    file beside those found, ``biases`` those to be merged into the running mean of a key.
    """

    asked: str
    layout: str
    network: Network
    prefix: str
    found: dict[str, str] = field(repr=False)
    wanted: dict[str, str] = field(repr=False)
    left: tuple[str, ...] = ()
    biases: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where the weights lie, as a person would say it."""
        return self.prefix.rstrip("./")

    def state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what was found by our names."""
        state = {key: tensors[name] for key, name in self.found.items()}
        for key, name in self.biases.items():  # a constant before a normalisation is less of its mean
            if key in state and state[key].shape == tensors[name].shape:
                state[key] = state[key].float() - tensors[name].float()
        return state


def from_layout(network: Network, tensors: Mapping[str, Tensor], key: str | None = None) -> LoadedWeights:
    """Rename the tensors of another project to ours, whichever of the network's layouts they are in.

    They may lie anywhere among ``tensors``, under a prefix of their own; ``key`` says under which where there are
    several. Raises :class:`WeightsError` naming every kind of tensor that is unknown, missing, of another shape, or
    that holds NaN or infinite values.

    >>> from googlenet.models.build import create
    >>> from googlenet.models.zoo import find
    >>> theirs = to_layout(find("lenet5"), create("lenet5").state_dict(), "googlenet")
    >>> from_layout(find("lenet5"), {f"model.{name}": tensor for name, tensor in theirs.items()}).place
    'model'
    """
    match, fitted = fit(network, tensors, key)
    wanted = state_dict_on_meta(fitted)
    state = {each: tensor for each, tensor in match.state(tensors).items() if each in wanted}
    check_finite({match.found[each]: tensor for each, tensor in state.items()})
    zero = next(iter(state.values())).new_zeros(()).long()
    counters = {each: zero.clone() for each in wanted if is_a_counter(each)}
    return LoadedWeights(match.layout, fitted, {**counters, **state}, match.place, (*match.notes, *_rounded(state)))


def _rounded(state: Mapping[str, Tensor]) -> list[str]:
    """Say where numbers are finer than those of the network, which are of 32 bits."""
    finer = {str(tensor.dtype).removeprefix("torch.") for tensor in state.values() if tensor.element_size() > 4}
    return [f"weights of {first_few(sorted(finer))} were rounded to float32"] if finer else []


def fit(network: Network, tensors: Mapping[str, Header | Tensor], key: str | None = None) -> tuple[Match, Network]:
    """Look, at names and shapes alone, where these tensors have their places in ``network``, and what it then is.

    Raises :class:`WeightsError` as :func:`take` does, but for values that are not finite.
    """
    try:
        return _fit(network, tensors, key)
    except _UnfitError as error:
        others = [name for name in fitting(tensors, key) if name != network.name]
        meant = f"; they fit {first_few(others)}: give --network {others[0]}" if others else ""
        raise WeightsError(f"{error}{meant}") from error


class _UnfitError(WeightsError):
    """Weights of another network."""


def fitting(tensors: Mapping[str, Header | Tensor], key: str | None = None) -> list[str]:
    """Name the networks of the zoo that have a place for every one of these tensors, and need no others."""
    names = []
    for name, network in zoo.NETWORKS.items():
        try:
            _fit(network, tensors, key)
        except WeightsError:
            continue
        names.append(name)
    return names


def _fit(network: Network, tensors: Mapping[str, Header | Tensor], key: str | None) -> tuple[Match, Network]:
    match = find_match(network, tensors, key)
    if 2 * len(match.found) < min(len(match.wanted), len(match.found) + len(match.left)):
        raise _no_weights_of(network, tensors)
    known = {each: tensors[name] for each, name in match.found.items()}
    _check_not_empty(match, tensors)
    fitted = _without_missing_heads(_adapted(match.network, known), known)
    wanted = {each: header.shape for each, header in state_dict_on_meta(fitted).items() if not is_a_counter(each)}
    state = {each: tensor for each, tensor in known.items() if each in wanted}
    wrong = {
        "unknown": [*match.left, *(match.found[each] for each in known if each not in wanted)],
        "missing": [match.wanted[each] for each in wanted if each not in known],
        "of another shape": [
            f"{match.found[each]} {tuple(tensor.shape)}, needed {tuple(wanted[each])}"
            for each, tensor in state.items()
            if tensor.shape != wanted[each]
        ],
        "not of floating point": [
            match.found[each] for each, tensor in state.items() if not tensor.is_floating_point()
        ],
    }
    if any(wrong.values()):
        listed = "; ".join(f"{what}: {first_few(keys)}" for what, keys in wrong.items() if keys)
        raise _UnfitError(f"the weights ({match.layout}) do not fit {network.name}: {listed}")
    return match, fitted


def _check_not_empty(match: Match, tensors: Mapping[str, Header | Tensor]) -> None:
    empty = [f"{name} {tuple(tensors[name].shape)}" for name in match.found.values() if not tensors[name].numel()]
    if empty:
        raise WeightsError(f"tensors without any values: {first_few(empty)}; save the weights again, after training")


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise :class:`WeightsError` naming every tensor that has a NaN or an infinite value as float32."""
    wrong = [name for name, tensor in tensors.items() if not tensor.float().isfinite().all()]
    if wrong:
        raise WeightsError(
            f"{len(wrong)} of {len(tensors)} tensors hold NaN or infinite values, with which nothing can be predicted: "
            f"{first_few(wrong)}; take weights from before the training failed"
        )


def to_layout(network: Network, state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
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
    rules = _rules(network.name, layout)
    return {key: _renamed(key, rules) for key in keys}


def _renamed(key: str, rules: Layout) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def find_match(network: Network, tensors: Mapping[str, Header | Tensor], key: str | None = None) -> Match:
    """Find the layout, and the place among ``tensors``, in which most of the network's names are there.

    Of places that are alike the one with shapes that fit is taken, then an average of weights (EMA), then the first.
    Raises :class:`WeightsError` where there is none of its names.
    """
    names = _plain_names(tensors, key)
    options = [each for layout in layouts_of(network) for each in _options(network, layout, names)]
    if not options:
        raise _no_weights_of(network, tensors)
    updates = {each.prefix: _updates(each.prefix, names, tensors) for each in options}
    shapes = {each.layout: state_dict_on_meta(each.network) for each in options}

    def rank(each: Match) -> tuple[int, int, bool]:
        fits = sum(tensors[name].shape == shapes[each.layout][ours].shape for ours, name in each.found.items())
        return len(each.found), fits, updates[each.prefix] > 0

    best = max(options, key=rank)
    alike = [each.place for each in options if each.layout == best.layout and len(each.found) == len(best.found)]
    return _completed(best, names, tensors, _choice(best, alike, names, tensors))


def _no_weights_of(network: Network, tensors: Mapping[str, Header | Tensor]) -> _UnfitError:
    theirs = first_few(_names(network, layouts_of(network)[-1], _keys(network)).values())
    return _UnfitError(
        f"these are no weights of {network.name}: they have {first_few(tensors)}; it has {theirs} "
        f"(layouts: {', '.join(layouts_of(network))})"
    )


def _plain_names(tensors: Mapping[str, Header | Tensor], key: str | None) -> dict[str, str]:
    """Names without what wrappers put into them → names of the file; of batch counters none."""
    plain: dict[str, str] = {}
    for name in tensors:
        short = _WRAPPERS.sub("", name)
        if not is_a_counter(name):
            plain[name if short in plain else short] = name
    if key is None:
        return plain
    within = {
        short: name for short, name in plain.items() if re.match(rf"{re.escape(_WRAPPERS.sub('', key))}[./]", short)
    }
    if not within:
        places = dict.fromkeys(re.split(r"[./]", short)[0] for short in plain)
        raise WeightsError(f"--key {printable(key)}: no tensors lie under it; there are {first_few(places)}")
    return within


def _options(network: Network, layout: str, names: Mapping[str, str]) -> Iterable[Match]:
    """For every prefix that names of the layout have among ``names``: what lies there."""
    made = AS_MADE.get((network.name, layout), network)
    wanted = _names(network, layout, _keys(made))
    ours = {theirs: each for each, theirs in wanted.items()}
    found: dict[str, dict[str, str]] = {}
    for name, full in names.items():
        cuts = [0, *(match.end() for match in re.finditer(r"[./]", name))]
        for cut in (cuts[0], *cuts[1:][-_MAX_PARTS:]):
            if name[cut:] in ours:
                found.setdefault(name[:cut], {})[ours[name[cut:]]] = full
    return [Match(network.name, layout, made, prefix, there, wanted) for prefix, there in found.items()]


def _completed(
    match: Match, names: Mapping[str, str], tensors: Mapping[str, Header | Tensor], notes: list[str]
) -> Match:
    """Add what other names of the file stand for, and which are left."""
    found = {**match.found, **_inside_sequential(match, names)}
    moved = sorted({match.wanted[key].rpartition(".")[0] for key in found.keys() - match.found.keys()})
    notes += [f"took the one layer inside of {first_few(moved)} for it"] if moved else []
    biases = _biases(match, names)
    used = {*found.values(), *biases.values()}
    left = [name for short, name in names.items() if short.startswith(match.prefix) and name not in used]
    numbers = [name for name in left if tensors[name].ndim == 0]
    said = [name for name in numbers if not name.endswith(_UPDATES)]
    notes += [f"left out single numbers: {first_few(said)}"] if said else []
    left = [name for name in left if tensors[name].ndim]
    return replace(match, found=found, left=tuple(left), biases=biases, notes=tuple(notes))


def _inside_sequential(match: Match, names: Mapping[str, str]) -> dict[str, str]:
    """Find a classifier that was put behind a dropout: fc.1.weight for fc.weight, where there is but one such layer."""
    last = (match.network.stages[-1].name, *(tap.name for tap in match.network.aux))
    found: dict[str, str] = {}
    for key, name in match.wanted.items():
        if key not in match.found and key.startswith(tuple(f"{stage}." for stage in last)):
            stem, _, kind = name.rpartition(".")
            pattern = re.compile(rf"{re.escape(match.prefix + stem)}\.\d+\.{kind}")
            inside = [full for short, full in names.items() if pattern.fullmatch(short)]
            found |= {key: inside[0]} if len(inside) == 1 else {}
    return found


def _biases(match: Match, names: Mapping[str, str]) -> dict[str, str]:
    """Find biases of convolutions that a normalisation follows, where our network has none: its mean → the bias."""
    means = [key for key in match.wanted if key.endswith(".bn.running_mean")]
    convs = {key: f"{key.removesuffix('.bn.running_mean')}.conv.bias" for key in means}
    rules = _rules(match.asked, match.layout)
    theirs = {key: match.prefix + _renamed(conv, rules) for key, conv in convs.items() if conv not in match.wanted}
    return {key: names[name] for key, name in theirs.items() if name in names}


def _updates(prefix: str, names: Mapping[str, str], tensors: Mapping[str, Header | Tensor]) -> int:
    """How often the weights at ``prefix`` were averaged, as far as that is told: 0 is never; a header tells nothing."""
    counter = tensors[names[prefix + _UPDATES]] if prefix + _UPDATES in names else None
    if counter is not None and counter.numel() == 1 and not counter.is_floating_point():
        return 1 if isinstance(counter, Header) else int(counter)
    return 1 if _AVERAGED.search(prefix) else 0


def _choice(
    best: Match, alike: list[str], names: Mapping[str, str], tensors: Mapping[str, Header | Tensor]
) -> list[str]:
    """Say which place was taken, where there were several."""
    others = [place or "the outermost" for place in dict.fromkeys(alike) if place != best.place]
    if not others:
        return []
    count = _updates(best.prefix, names, tensors) if best.prefix + _UPDATES in names else 0
    kind = f" (EMA of {count:,} updates)" if count else ""
    return [
        f"took {printable(best.place) or 'the outermost'}{kind} rather than {first_few(others)}; --key NAME chooses"
    ]


def _keys(network: Network) -> list[str]:
    return [key for key in state_dict_on_meta(network) if not is_a_counter(key)]


def _rules(name: str, layout: str) -> Layout:
    return () if layout == OWN else LAYOUTS[name][layout]


def is_a_counter(key: str) -> bool:
    """Whether this is a count of batches, which some sources leave out and which decides nothing."""
    return key.endswith("num_batches_tracked")


def _adapted(network: Network, known: Mapping[str, Header | Tensor]) -> Network:
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


def _without_missing_heads(network: Network, known: Mapping[str, Header | Tensor]) -> Network:
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
        *(
            preprocessing
            for block in (*halving, *middle)
            for n in (1, 2, 3)
            for preprocessing in unit(block, n, 3 * n - 2)
        ),
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


_ALEXNET_CAFFE: Layout = (
    (r"^(conv\d)\.(?:0\.)?conv\.", r"\1."),
    (r"^(fc[67])\.0\.", r"\1."),
)

# Caffe normalises in two layers: the statistics are the first one's, what is learnt the second one's.
_INCEPTION_BN: Layout = (
    (r"^conv1\.", r"conv1/7x7_s2."),
    (r"^conv2\.0\.", r"conv2/3x3_reduce."),
    (r"^conv2\.1\.", r"conv2/3x3."),
    (r"^(inception_\w\w)\.1x1\.", r"\1/1x1."),
    (r"^(inception_\w\w)\.3x3\.0\.", r"\1/3x3_reduce."),
    (r"^(inception_\w\w)\.3x3\.1\.", r"\1/3x3."),
    (r"^(inception_\w\w)\.double_3x3\.0\.", r"\1/double3x3_reduce."),
    (r"^(inception_\w\w)\.double_3x3\.1\.", r"\1/double3x3a."),
    (r"^(inception_\w\w)\.double_3x3\.2\.", r"\1/double3x3b."),
    (r"^(inception_\w\w)\.pool_proj\.1\.", r"\1/pool_proj."),
    (r"^fc\.", r"loss3/classifier."),
    (r"\.conv\.", r"."),
    (r"\.bn\.running", r"/bn.running"),
    (r"\.bn\.", r"/bn/sc."),
)


def _resnet_caffe() -> Layout:
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


def _resnet_caffe2() -> Layout:
    units = [(f"body\\.{n}", f"branch2{letter}") for n, letter in enumerate("abc")] + [("shortcut", "branch1")]
    return (
        *((rf"^layer{layer}\.(\d)\.{ours}\.", rf"res{layer + 1}_\1_{theirs}.")
          for layer in range(1, 5) for ours, theirs in units),
        (r"^conv1\.bn\.", r"res_conv1_bn."),
        (r"\.bn\.", r"_bn."),
        (r"\.conv\.", r"."),
        (r"^fc\.", r"pred."),
    )  # fmt: skip


def _vgg_caffe(network: Network) -> Layout:
    """Stage and place of a convolution, both counted from one: conv3_2."""
    numbered: list[tuple[str, str]] = []
    for stage in network.stages:
        convs = [n for n, layer in enumerate(stage.layers) if isinstance(layer, Conv)]
        for n in convs:
            ours = rf"^{stage.name}\.{n}" if len(stage.layers) > 1 else rf"^{stage.name}"
            numbered.append((rf"{ours}\.conv\.", f"{stage.name}_{n + 1}."))
    return (*numbered, (r"^(fc[67])\.0\.", r"\1."))


LAYOUTS: dict[str, dict[str, Layout]] = {
    "googlenet_torchvision": {"torchvision": _GOOGLENET_TORCHVISION},
    "googlenet": {"caffe": _CAFFE},
    "inception5h": {"tensorflow": _TENSORFLOW},
    "inception_v2": {"caffe": _INCEPTION_BN, "caffe2": (*_INCEPTION_BN[:-2], (r"\.bn\.", r"/bn."))},
    "inception_v3": {"torchvision": _INCEPTION_V3, "timm": _INCEPTION_V3},
    "inception_v4": {"timm": _inception_v4()},
    "inception_resnet_v2": {"timm": _INCEPTION_RESNET_V2},
    "xception": {"timm": _xception()},
    "alexnet": {"caffe": _ALEXNET_CAFFE},
    "alexnet_torchvision": {"torchvision": _ALEXNET},
    "resnet18": {"torchvision": _RESNET, "timm": _RESNET},
    "resnet50": {"torchvision": _RESNET, "timm": _RESNET, "caffe": _resnet_caffe(), "caffe2": _resnet_caffe2()},
    **{vgg.name: {"torchvision": _vgg(vgg), "caffe": _vgg_caffe(vgg)} for vgg in (VGG11, VGG16, VGG19)},
    **{vgg.name: {"torchvision": _vgg(vgg)} for vgg in (VGG11_BN, VGG16_BN, VGG19_BN)},
}

# Networks as the makers of weights in a layout had them, where they are others than ours in what no weight shows.
AS_MADE: dict[tuple[str, str], Network] = {
    ("alexnet", "caffe"): ALEXNET_CAFFE,
    ("inception_v2", "caffe"): INCEPTION_BN,
    ("inception_v2", "caffe2"): INCEPTION_BN_ONNX,
    ("resnet50", "caffe"): RESNET50_CAFFE,
}
