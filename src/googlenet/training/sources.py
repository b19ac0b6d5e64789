"""Pretrained weights as they come: of a run, of a file in any layout that ``convert`` reads, or of torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from googlenet import bundle as bundles
from googlenet.card import ModelCard
from googlenet.errors import WeightsError
from googlenet.exchange import files
from googlenet.exchange.convert import describe, describe_body, read_weights
from googlenet.exchange.state_dicts import tensors_of
from googlenet.exchange.torchvision_weights import published
from googlenet.models import zoo
from googlenet.models.spec import Network, from_json
from googlenet.models.weights import OWN, nearest_networks
from googlenet.preprocessing import Preprocessing
from googlenet.training import inherit
from googlenet.training.inherit import TORCHVISION, TORCHVISION_NETWORK


@dataclass(frozen=True)
class Source:
    """Pretrained weights by our names, with their ``card``; a plain file of tensors has none.

    ``fed`` says how images are fed where there is no card, but is known of the project that the file is from.
    """

    name: str
    sha256: str
    tensors: Mapping[str, Tensor] = field(repr=False)
    card: ModelCard | None = None
    notes: tuple[str, ...] = ()  # what was chosen or assumed in reading it
    fed: Preprocessing | None = None

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How images are fed to these weights, where it is known."""
        return self.fed if self.card is None else self.card.preprocessing

    @property
    def network(self) -> Network | None:
        """The network of the weights, where it is known."""
        return None if self.card is None else from_json(self.card.network)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The classes of the weights, where they are known."""
        return None if self.card is None else self.card.class_names

    def record(self) -> dict[str, Any]:
        """Return what ``run.json`` records: where the weights came from, and how their images are normalized."""
        origin: dict[str, Any] = {"source": self.name, "sha256": self.sha256}
        return origin | inherit.normalization(self.preprocessing)


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


def network_of(path: str | Path) -> Network | None:
    """Read a file of weights whole, and return the network of the zoo that they are of; ``None`` if unknown."""
    names = nearest_networks(files.read(path).tensors)
    return zoo.find(names[0]) if len(names) == 1 else None


def _of_file(name: str, found: files.WeightsFile, asked: Network | None) -> Source:
    """Rename the tensors of a file for a network, as :func:`googlenet.convert` does, or as many as fit."""
    names = nearest_networks(found.tensors) if asked is None else []
    network = zoo.find(names[0]) if len(names) == 1 else asked
    plain = Source(name, found.sha256, found.tensors)
    if network is None:
        return plain
    try:
        card, taken = describe(found, network, name)
    except WeightsError:
        return _of_body(plain, found, network)
    if taken.layout == OWN:  # how their images were normalized is unknown
        return plain
    other = f"these are weights of {card.name}, not of {network.name}: leave out --network to train that"
    notes = (*card.data["notes"], *([other] if card.name != network.name else []))
    return Source(name, found.sha256, taken.state, card, notes)


def _of_body(plain: Source, found: files.WeightsFile, network: Network) -> Source:
    """Say of which network a file holds a part, and how images are fed to it: loading renames what fits."""
    try:
        fed, taken = describe_body(found, network)
    except WeightsError:  # it is of another network
        return plain
    if taken.layout == OWN:
        return plain
    note = f"recognised by its names as a part of {network.name} ({taken.layout})"
    return replace(plain, notes=(note, *taken.notes), fed=fed)
