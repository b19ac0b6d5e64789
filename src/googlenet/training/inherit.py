"""What a run takes over from the weights it begins with, beside them: network, size, normalisation. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from googlenet import bundle as bundles
from googlenet.card import ModelCard
from googlenet.errors import RecipeError, WeightsError
from googlenet.exchange import headers
from googlenet.files import open_regular
from googlenet.models import weights as layouts
from googlenet.models import zoo
from googlenet.models.analysis import analyse
from googlenet.models.shapes import Header
from googlenet.models.spec import Network
from googlenet.preprocessing import Preprocessing
from googlenet.text import printable
from googlenet.training.recipe import Recipe

RECIPE = "finetune"  # that is trained by, unless another is asked for
TORCHVISION = "torchvision"  # the word for what it publishes
TORCHVISION_NETWORK = "googlenet_torchvision"  # whose published weights are meant, unless another is named


def is_published(weights: str | Path) -> bool:
    """Whether torchvision's published weights are meant: a file or folder of that name goes before them."""
    return str(weights) == TORCHVISION and not Path(weights).exists()


def card_of(weights: str | Path) -> ModelCard | None:
    """Read the card of what a run is to begin with; ``None`` for a file of tensors and for what is published.

    Raises :class:`WeightsError` where there is nothing, :class:`BundleError` where a folder is no run or bundle.
    """
    if is_published(weights):
        return None
    path = Path(weights)
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise WeightsError(
            f"--weights {printable(str(weights))} {why}: give a run, a bundle, a .safetensors file "
            f"or the word {TORCHVISION}"
        ) from error
    if path.is_dir():
        return bundles.read(path).card
    if path.is_file() and not size:
        raise WeightsError(f"{printable(str(weights))} is empty: copy it again")
    return None


def normalization(card: ModelCard | None) -> dict[str, Any]:
    """Give what a run notes of how the network of its weights is to be fed, for JSON."""
    if card is None:
        return {}
    preprocessing = card.preprocessing
    return {
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "channel_order": preprocessing.channel_order,
    }


def inherit_normalization(preprocessing: Preprocessing, origin: Mapping[str, Any]) -> Preprocessing:
    """Normalise images as the weights are used to, as :func:`normalization` noted it, where the channels agree."""
    if len(origin.get("mean", ())) != preprocessing.channels:
        return preprocessing
    mean, std = tuple(origin["mean"]), tuple(origin["std"])
    return replace(preprocessing, mean=mean, std=std, channel_order=origin["channel_order"])


def inherit_image_size(recipe: Recipe, card: ModelCard | None) -> Recipe:
    """Take size, shape and channels of the images from the card where the recipe does not tell them."""
    if card is None:
        return recipe
    preprocessing = card.preprocessing
    theirs = {"image_size": preprocessing.size, "crop_fraction": preprocessing.crop_fraction,
              "resize": preprocessing.resize, "in_channels": preprocessing.channels}  # fmt: skip
    told = recipe.model_fields_set
    return recipe.model_copy(update={name: value for name, value in theirs.items() if name not in told})


def channels_of(weights: str | Path | None, card: ModelCard | None, network: str | Network | None) -> int | None:
    """Tell for images of how many channels weights are that a run begins with, where it takes that over from them."""
    if weights is None or is_published(weights):
        return None
    if card is not None:
        return card.preprocessing.channels
    tensors = _headers(Path(weights))
    names = [network] if network is not None else layouts.fitting(tensors)
    try:
        (asked,) = (zoo.find(name) if isinstance(name, str) else name for name in names)
        match, fitted = layouts.fit(asked, tensors)
    except ValueError:  # of several networks, or of none: what of it fits is seen when it is taken
        return None
    return None if match.layout == layouts.OWN else fitted.in_channels


def _headers(path: Path) -> Mapping[str, Header]:
    reader = headers.READERS.get(path.suffix.lower())
    try:
        with open_regular(path) as file:
            return reader(file)[0] if reader else {}
    except (OSError, ValueError, MemoryError):  # which is said when it is read
        return {}


def drop_heads_on_frozen_stages(network: Network, freeze: str | None) -> Network:
    """Leave out the heads on stages that do not learn: nothing would come of what they learn.

    Raises :class:`NetworkError` on a stage it has not, :class:`RecipeError` where all is frozen.
    """
    if freeze is None:
        return network
    frozen = [stage.name for stage in network.through(freeze)]
    if not any(row.cost.parameters and row.name not in frozen for row in analyse(network).rows):
        raise RecipeError(f"--freeze {freeze} leaves nothing of {network.name} to learn: freeze up to an earlier stage")
    return replace(network, aux=[tap for tap in network.aux if tap.after not in frozen])
