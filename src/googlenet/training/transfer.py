"""Fine-tuning: start from pretrained weights, and change their early layers less.

Early layers hold what most images share, later ones what the first task was about (Yosinski et al., *How transferable
are features in deep neural networks?*, 2014). So all layers but the classifiers are loaded, the first stages may be
frozen, and the learning rate may be lower for early stages (Howard & Ruder, *Universal language model fine-tuning*,
2018, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from googlenet import bundle as bundles
from googlenet.card import ModelCard
from googlenet.errors import WeightsError
from googlenet.exchange import files
from googlenet.exchange.convert import describe, read_weights
from googlenet.exchange.state_dicts import tensors_of
from googlenet.exchange.torchvision_weights import published
from googlenet.images.decode import COLOURS
from googlenet.models import zoo
from googlenet.models.build import ConvNet
from googlenet.models.shapes import state_dict_on_meta
from googlenet.models.spec import Network, from_json
from googlenet.models.weights import OWN, check_finite, find_match, fitting, is_a_counter
from googlenet.preprocessing import IMAGENET_STD, Preprocessing
from googlenet.text import first_few
from googlenet.training import inherit
from googlenet.training.inherit import TORCHVISION, TORCHVISION_NETWORK


@dataclass(frozen=True)
class Source:
    """Pretrained weights by our names, with their ``card``; a plain file of tensors has none."""

    name: str
    sha256: str
    tensors: Mapping[str, Tensor] = field(repr=False)
    card: ModelCard | None = None
    notes: tuple[str, ...] = ()  # what was chosen or assumed in reading it

    @property
    def network(self) -> Network | None:
        """The network of the weights, where it is known."""
        return None if self.card is None else from_json(self.card.network)

    def record(self) -> dict[str, Any]:
        """Return what ``run.json`` records: where the weights came from, and how their images are normalized."""
        origin: dict[str, Any] = {"source": self.name, "sha256": self.sha256}
        return origin | inherit.normalization(self.card)


@dataclass(frozen=True)
class LoadedWeights:
    """What a network loaded from a :class:`Source`: the keys of the ``matched`` tensors and their ``parameters``.

    ``own`` and ``theirs`` are all keys of the network and of the source. ``reason`` says why classifiers are new
    where the classes differ.
    """

    source: str
    matched: list[str]
    parameters: int
    own: list[str] = field(repr=False)
    theirs: list[str] = field(repr=False)
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def unused(self) -> list[str]:
        """The tensors of the source that fit nowhere."""
        return _without(self.theirs, self.matched)

    @property
    def new(self) -> list[str]:
        """The tensors of the network that start fresh."""
        return _without(self.own, self.matched)

    def __str__(self) -> str:
        """Return up to three lines, by stage, and a line for each note."""
        count = f"{len(self.matched)} tensors ({self.parameters:,} parameters)"
        lines = [f"loaded {count} from {self.source}: {_by_stage(self.matched, self.own)}"]
        if self.unused:
            lines.append(f"unused: {_by_stage(self.unused, self.theirs)}")
        if self.new:
            lines.append(f"new: {_by_stage(self.new, self.own)}" + (f" ({self.reason})" if self.reason else ""))
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def open_source(source: str | Path, network: str | Network | None = None, download: bool = False) -> Source:
    """Read pretrained weights.

    Args:
        source: a run, a bundle, any file of weights that :func:`googlenet.convert` reads, or ``"torchvision"``: those
            that it publishes for ``network``, by default for GoogLeNet.
        network: the one to be trained. By default, for a file, the one of the zoo that its weights fit.
        download: allow torchvision's weights to be fetched where they are not on this machine.

    Raises:
        WeightsError, BundleError: it cannot be read, is damaged, holds NaN, or may not be fetched.

    ::

        source = open_source("runs/flowers")
    """
    if inherit.is_published(source):
        name = network.name if isinstance(network, Network) else network
        wanted = zoo.find(name or TORCHVISION_NETWORK)  # as published, also where a variant of it is to be trained
        published_card, taken = read_weights(published(wanted, download), wanted, TORCHVISION)
        notes = tuple(published_card.data["notes"])
        return Source(TORCHVISION, published_card.data["sha256"], taken.state, published_card, notes)
    card = inherit.card_of(source)
    if card is None:
        return _of_file(str(source), files.read(source), zoo.find(network) if isinstance(network, str) else network)
    bundle = bundles.read(source)
    return Source(str(source), bundle.card.files[bundles.WEIGHTS], tensors_of(bundle), card)


def _of_file(name: str, found: files.WeightsFile, network: Network | None) -> Source:
    """Rename the tensors of a file for ``network``, as :func:`googlenet.convert` does, or as many as fit."""
    if network is None:
        fits = fitting(found.tensors)
        network = zoo.find(fits[0]) if len(fits) == 1 else None
    if network is None:
        return Source(name, found.sha256, found.tensors)
    try:
        card, taken = describe(found, network, name)
    except WeightsError:  # of an unknown network: loading will tell what fits
        return Source(name, found.sha256, found.tensors)
    if taken.layout == OWN:  # how their images were normalized is unknown
        return Source(name, found.sha256, found.tensors)
    other = f"these are weights of {card.name}, not of {network.name}: leave out --network to train that"
    notes = (*card.data["notes"], *([other] if card.name != network.name else []))
    return Source(name, found.sha256, taken.state, card, notes)


def load_matching(
    built: ConvNet, source: Source, class_names: Sequence[str] | None, preprocessing: Preprocessing
) -> LoadedWeights:
    """Load every tensor of ``source`` into ``built`` whose name and shape match.

    The last layers of the classifier and of the heads are loaded only where the classes are the same, in the same
    order. Otherwise linear ones start at zero (Kolesnikov et al., *Big Transfer*, 2020): no class is preferred, and
    nothing random reaches the pretrained layers. Where no ``class_names`` are given, these layers are
    judged by their shape as all others are. A first convolution for colour images is
    adapted to other ``in_channels``: see :func:`for_channels`.

    Raises :class:`WeightsError` where nothing matches, or what does holds NaN or infinite values.
    """
    source = _renamed(source, built.network)
    own = {key: tensor for key, tensor in built.state_dict().items() if not is_a_counter(key)}
    theirs = {key: tensor for key, tensor in source.tensors.items() if not is_a_counter(key)}
    reason = _unlike(source, class_names)
    of_classes = _tied_to_classes(built.network) if reason else frozenset[str]()
    state: dict[str, Tensor] = {}
    for key, mine in own.items():
        if key in theirs and key not in of_classes:
            given = _fitted(key, theirs[key], built.network, source, preprocessing)
            if given.shape == mine.shape and given.is_floating_point():
                state[key] = given
    parameters = sum(p.numel() for key, p in built.named_parameters() if key in state)
    if not parameters:
        raise WeightsError(
            f"nothing of {source.name} fits {built.network.name}: it has {first_few(theirs)}, the network has "
            f"{first_few(own)}; name its --network, or turn weights of another project into a run first: "
            "googlenet convert"
        )
    check_finite(state)
    built.load_state_dict(state, strict=False)
    for name, layer in built.named_modules():
        if isinstance(layer, nn.Linear) and f"{name}.weight" in of_classes:
            nn.init.zeros_(layer.weight)
    stages = list(dict.fromkeys(map(_stage, own)))
    # A file may have its tensors in any order.
    ordered = sorted(theirs, key=lambda key: (stages.index(_stage(key)) if _stage(key) in stages else len(stages), key))
    return LoadedWeights(source.name, list(state), parameters, list(own), ordered, reason, source.notes)


def for_channels(weight: Tensor, channels: int, std: Sequence[float], new_std: Sequence[float]) -> Tensor:
    """Turn a first convolution for R, G, B, (O, 3, k, k), into one for other ``channels``, (O, channels, k, k).

    One channel gets the sum of the three, each scaled by ``new_std`` / ``std``, the ratio of the normalizations. A
    grey image then gives what it gave as R = G = B: exactly where all channels have the same mean, otherwise up to a
    constant that the batch normalization after it absorbs. More channels repeat R, G, B in turn with 3 / ``channels``
    of the weight, which is exact for grey images where ``channels`` is a multiple of 3.

    >>> import torch
    >>> colour = torch.tensor([0.2, 0.3, 0.5]).view(1, 3, 1, 1)
    >>> for_channels(colour, 1, (0.5, 0.5, 0.5), (0.5,)).flatten().tolist()
    [1.0]
    >>> for_channels(colour, 6, (1, 1, 1), (1, 1, 1)).sum().item()
    1.0
    """
    scale = weight.new_tensor([new_std[n % len(new_std)] for n in range(channels)]).view(1, -1, 1, 1)
    per_unit = weight / weight.new_tensor(std).view(1, -1, 1, 1)
    if channels == 1:
        return per_unit.sum(1, keepdim=True) * scale
    return per_unit[:, [n % COLOURS for n in range(channels)]] * scale * (COLOURS / channels)


# Freezing.


def freeze_through(built: ConvNet, stage: str | None) -> None:
    """Freeze every stage up to and including ``stage``, and no other: no gradient is computed for them."""
    built.requires_grad_(True)
    for each in built.network.through(stage) if stage else ():
        built.get_submodule(each.name).requires_grad_(False)


# What fits.


def _renamed(source: Source, network: Network) -> Source:
    """Rename the tensors of a plain file to ours, where they are in a known layout."""
    try:
        match = find_match(network, source.tensors) if source.card is None else None
    except WeightsError:  # nothing fits, which is reported later
        match = None
    if match is None:
        return source
    left = {name: source.tensors[name] for name in match.left}
    return replace(source, tensors={**match.state(source.tensors), **left}, notes=match.notes)


def _unlike(source: Source, class_names: Sequence[str] | None) -> str:
    """Return how the classes differ from those of the source, '' where they do not."""
    if class_names is None:
        return ""
    if source.card is None:
        return "its classes are unknown"
    known = source.card.class_names
    if known == tuple(class_names):
        return ""
    shared = len(set(known) & set(class_names))
    return "other classes" + (f"; the {shared} that it knows start fresh" if shared else "")


def _tied_to_classes(network: Network) -> frozenset[str]:
    """Return the tensors whose shape depends on the number of classes."""
    more = state_dict_on_meta(replace(network, num_classes=network.num_classes + 1))
    return frozenset(key for key, tensor in state_dict_on_meta(network).items() if tensor.shape != more[key].shape)


def _fitted(key: str, given: Tensor, network: Network, source: Source, preprocessing: Preprocessing) -> Tensor:
    """Adapt a first convolution for colour images to another number of channels."""
    is_first = key.startswith(f"{network.stages[0].name}.") and given.ndim == 4 and given.shape[1] == COLOURS
    if not is_first or network.in_channels == COLOURS:
        return given
    std = IMAGENET_STD if source.card is None else source.card.preprocessing.std
    return for_channels(given, network.in_channels, std, preprocessing.std)


# How it is said.


def _by_stage(keys: Sequence[str], whole: Iterable[str]) -> str:
    """Name the stages that are in ``keys`` with all of their ``whole`` keys, and the layers of others.

    >>> _by_stage(["a.w", "b.w", "c.w", "d.0.w", "d.0.b"], ["a.w", "b.w", "c.w", "d.0.w", "d.0.b", "d.1.w"])
    'a to c, d.0'
    """
    among = set(keys)
    names: list[str] = []
    stages = [(stage, list(inside)) for stage, inside in groupby(whole, _stage)]
    for is_whole, group in groupby(stages, lambda stage: among.issuperset(stage[1])):
        if is_whole:
            names += _span([stage for stage, _ in group])
        else:
            inside = [key for _, every in group for key in every if key in among]
            names += [first_few(dict.fromkeys(".".join(key.split(".")[:2]) for key in inside))] if inside else []
    return ", ".join(names)


def _stage(key: str) -> str:
    return key.partition(".")[0]


def _span(stages: list[str]) -> list[str]:
    return stages if len(stages) < 3 else [f"{stages[0]} to {stages[-1]}"]


def _without(keys: Iterable[str], others: Iterable[str]) -> list[str]:
    there = set(others)
    return [key for key in keys if key not in there]
