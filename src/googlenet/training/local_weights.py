"""Pretrained weights that are on this machine already: those the user named, torchvision's, the Hub's. No torch.

Nothing is downloaded, and only names and shapes are read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from googlenet.errors import GoogLeNetError, RecipeError, WeightsError
from googlenet.exchange import places
from googlenet.files import user_config
from googlenet.models import weights as layouts
from googlenet.models import zoo
from googlenet.models.spec import Network, from_json
from googlenet.text import printable
from googlenet.training import inherit

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG = "config.toml"  # in the user's folder of settings: weights = "PATH"
MAX_CONFIG_BYTES = 2**16
MAX_REPOSITORIES = 1000  # folders of the Hub's cache that are looked at

# The networks whose published weights are worth starting from, the most accurate on ImageNet first.
WORTHWHILE = ("inception_v3", "resnet50", "googlenet_torchvision", "resnet18")


@dataclass(frozen=True)
class Pretrained:
    """Weights on this machine: their path, their ``network``, where they were ``found``, and the images they expect.

    ``side`` is that of their images in pixels, ``channels`` are those of their images; ``named`` says that the user
    chose them.
    """

    path: str
    network: Network
    found: str
    side: int
    channels: int = 3
    named: bool = False


def find(network: Network | None = None) -> list[Pretrained]:
    """Return the weights on this machine, the user's own first; only those of ``network`` if that is given.

    Raises :class:`RecipeError` or :class:`WeightsError` where the user's settings name weights that cannot be read.
    """
    every = [*_of_config(), *_of_torchvision(), *_of_hub()]
    return [each for each in every if network is None or each.network.name == network.name]


def _of_config() -> Iterator[Pretrained]:
    folder = user_config()
    path = None if folder is None else folder / CONFIG
    if path is None or not path.is_file():
        return
    name = printable(str(path))
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"it has more than {MAX_CONFIG_BYTES:,} bytes")
        weights = tomllib.loads(path.read_text("utf-8")).get("weights")
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f'{name} cannot be read ({error}): it may hold one line, weights = "PATH"') from error
    if weights is None:
        return
    if not isinstance(weights, str):
        raise RecipeError(f"{name}: weights should be the path of a run or a file in quotes, got {weights!r:.80}")
    try:
        found = _described(Path(weights).expanduser(), f"named in {name}", named=True)
    except GoogLeNetError as error:
        raise WeightsError(
            f"{name} names weights that cannot be used: {error}; change it or use --weights none"
        ) from error
    if found is None:
        raise WeightsError(f"{name} names weights of no known network, {printable(weights)}: use --weights none")
    yield found


def _described(path: Path, found: str, named: bool) -> Pretrained | None:
    """Describe a run, a bundle, or a file of weights."""
    card = inherit.card_of(path)
    if card is not None:
        fed = card.preprocessing
        return Pretrained(str(path), from_json(card.network), found, fed.size, fed.channels, named)
    network = inherit.network_of(path)
    return None if network is None else Pretrained(str(path), network, found, network.input_size, named=named)


def _of_torchvision() -> Iterator[Pretrained]:
    """Return what torchvision downloaded before, where PyTorch keeps it."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = Path(os.environ.get("TORCH_HOME") or f"{cache}/torch").expanduser()
    for name in WORTHWHILE:
        if inherit.TORCHVISION not in layouts.LAYOUTS[name]:
            continue
        stem = name.removesuffix(f"_{inherit.TORCHVISION}")
        files = sorted([*_glob(home / "hub" / "checkpoints", f"{stem}[-_]*.pth")], reverse=True)
        yield from _checked(files, name, "torchvision's cache")


def _of_hub() -> Iterator[Pretrained]:
    """Return what the Hugging Face Hub's client downloaded before, of networks that are in the zoo."""
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    cache = Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()
    folders = [path.parent for path in sorted(_glob(cache, f"models--*/snapshots/*/{places.CONFIG}"))]
    of: dict[str, list[Path]] = {}
    for folder in folders[:MAX_REPOSITORIES]:
        of.setdefault(_architecture(folder), []).append(folder)
    for name in WORTHWHILE:
        yield from _checked(of.get(layouts.TIMM_NAMES.get(name, name), []), name, "the Hub's cache")


def _architecture(folder: Path) -> str:
    try:
        return str(places.read_json(folder / places.CONFIG).get("architecture"))
    except WeightsError:
        return ""


def _checked(paths: list[Path], name: str, found: str) -> Iterator[Pretrained]:
    """Return the first of these that holds the weights of that network; others are not told of: nobody named them."""
    network = zoo.find(name)
    for path in paths:
        try:
            layouts.fit(network, inherit.headers_of(path))
        except (GoogLeNetError, OSError):
            continue
        yield Pretrained(str(path), network, found, network.input_size)
        return


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return list(folder.glob(pattern))
    except OSError:
        return []
