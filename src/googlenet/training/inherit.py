"""What a run inherits from pretrained weights: network, image size, normalization. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from googlenet import bundle as bundles
from googlenet.card import ModelCard
from googlenet.errors import RecipeError, WeightsError
from googlenet.exchange import headers, places
from googlenet.models import weights as layouts
from googlenet.models import zoo
from googlenet.models.analysis import analyse
from googlenet.models.shapes import Header
from googlenet.models.spec import Network
from googlenet.preprocessing import Preprocessing
from googlenet.text import printable
from googlenet.training.recipe import Recipe

RECIPE = "finetune"  # the default recipe with pretrained weights
TORCHVISION = "torchvision"  # stands for the weights that it publishes
TORCHVISION_NETWORK = "googlenet_torchvision"  # whose published weights are meant by default


def is_published(weights: str | Path) -> bool:
    """Whether torchvision's published weights are meant: a file or folder of that name has precedence."""
    return str(weights) == TORCHVISION and not Path(weights).exists()


def card_of(weights: str | Path) -> ModelCard | None:
    """Read the card of pretrained weights; ``None`` for a file of tensors and for published weights.

    Raises :class:`WeightsError` where there is nothing, or a bundle without weights, :class:`BundleError` where a
    folder is no run or bundle.
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
    if path.is_dir() and not _is_of_others(path):
        card = bundles.read(path).card
        if bundles.WEIGHTS not in card.files:
            raise WeightsError(
                f"--weights {printable(str(weights))} holds no weights, as it averages several classifiers: name one "
                "of its folds, such as fold-1 beside its bundle"
            )
        return card
    if path.is_file() and not size:
        raise WeightsError(f"{printable(str(weights))} is empty: copy it again")
    return None


def _is_of_others(folder: Path) -> bool:
    """Whether a folder holds weights as timm or the Hugging Face Hub writes them, and no bundle of ours."""
    ours = (folder / bundles.CARD, folder / bundles.IN_RUN / bundles.CARD)
    return not any(map(os.path.lexists, ours)) and any((folder / name).is_file() for name in places.IN_FOLDER)


def normalization(preprocessing: Preprocessing | None) -> dict[str, Any]:
    """Return what ``run.json`` records of how the images of these weights are normalized."""
    if preprocessing is None:
        return {}
    return {
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "channel_order": preprocessing.channel_order,
    }


def inherit_normalization(preprocessing: Preprocessing, origin: Mapping[str, Any]) -> Preprocessing:
    """Normalize images as these weights expect it, as :func:`normalization` recorded it, where the channels agree."""
    if len(origin.get("mean", ())) != preprocessing.channels:
        return preprocessing
    mean, std = tuple(origin["mean"]), tuple(origin["std"])
    return replace(preprocessing, mean=mean, std=std, channel_order=origin["channel_order"])


def inherit_image_size(recipe: Recipe, preprocessing: Preprocessing | None) -> Recipe:
    """Take size, crop, resize mode and channels of the images from the weights where the recipe does not set them."""
    if preprocessing is None:
        return recipe
    theirs = {"image_size": preprocessing.size, "crop_fraction": preprocessing.crop_fraction,
              "resize": preprocessing.resize, "in_channels": preprocessing.channels}  # fmt: skip
    given = recipe.model_fields_set
    return recipe.model_copy(update={name: value for name, value in theirs.items() if name not in given})


def network_of(weights: str | Path) -> Network | None:
    """Return the network of the zoo that a file's weights are of, by names and shapes alone; ``None`` if unknown."""
    names = layouts.nearest_networks(headers_of(Path(weights)))
    return zoo.find(names[0]) if len(names) == 1 else None


def must_be_read(weights: str | Path | None) -> bool:
    """Whether these weights are a file of a kind that does not tell its network before it is read whole."""
    if not isinstance(weights, str | os.PathLike):
        return False
    return Path(weights).suffix.lower() in headers.WHOLE and Path(weights).is_file()


def channels_of(weights: str | Path | None, card: ModelCard | None, network: str | Network) -> int | None:
    """Return the channels of the images that weights are for, where that is known; ``None`` elsewhere."""
    if weights is None or is_published(weights):
        return None
    if card is not None:
        return card.preprocessing.channels
    try:
        match, fitted = layouts.fit(zoo.resolve(network), headers_of(Path(weights)))
    except ValueError:  # loading will tell what fits
        return None
    return None if match.layout == layouts.OWN else fitted.in_channels


def headers_of(path: Path) -> Mapping[str, Header]:
    """Read names and shapes; none where the file must be read whole for them, or cannot be read, which is told then."""
    found: dict[str, Header] = {}
    try:
        for part in places.parts_of(places.file_of(path)):
            reader = headers.READERS.get(part.suffix.lower())
            found |= places.opened(part, reader)[0] if reader else {}
    except WeightsError:
        return {}
    return found


def pool_for_classifier(network: Network, first: str | None) -> Network:
    """Let the classifier see the averaged maps of the stage ``first`` and all later ones that have weights.

    Raises :class:`NetworkError` where there is no such stage, or the network does not end in global average pooling and
    one linear layer.
    """
    if first is None:
        return network
    before = {stage.name for stage in network.through(first)[:-1]}
    last = (network.stages_before_pooling() or network.stages)[-1].name
    with_weights = [row.name for row in analyse(network).rows if row.cost.parameters]
    until = with_weights.index(last) if last in with_weights else len(with_weights)
    return replace(network, pooled=tuple(name for name in with_weights[:until] if name not in before))


def drop_heads_on_frozen_stages(network: Network, freeze: str | None, unfreeze: str = "none") -> Network:
    """Drop auxiliary heads on frozen stages, which they could not change; all where stages are unfrozen by and by.

    Raises :class:`NetworkError` where there is no such stage, :class:`RecipeError` where everything is frozen.
    """
    if unfreeze != "none":
        network = replace(network, aux=[])
    if freeze is None:
        return network
    frozen = [stage.name for stage in network.through(freeze)]
    if not any(row.cost.parameters and row.name not in frozen for row in analyse(network).rows):
        raise RecipeError(f"--freeze {freeze} leaves nothing of {network.name} to learn: freeze up to an earlier stage")
    return replace(network, aux=[tap for tap in network.aux if tap.after not in frozen])
