"""Looking before work: what is to be trained, from which weights, in which directory. No torch."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from googlenet.card import ModelCard
from googlenet.data.image_set import LabelledData
from googlenet.data.splits import record_of
from googlenet.errors import InputSizeError, RecipeError, RunError
from googlenet.models import zoo
from googlenet.models.analysis import minimum_size, too_small
from googlenet.models.spec import Network, from_json, to_json
from googlenet.preprocessing import Preprocessing
from googlenet.text import escape_surrogates
from googlenet.training import directory, inherit, torchrun
from googlenet.training.options import RunOptions
from googlenet.training.recipe import LENGTH, Recipe, recipe_from_json
from googlenet.training.run_json import READING

AUTO, NONE = "auto", "none"  # recipe or weights that are to be chosen; no weights
NOWHERE = Path(os.devnull)  # the run of a plan by which nothing is written


@dataclass(frozen=True)
class Plan:
    """What is to be trained, on what and how, once everything was checked.

    ``origin`` is what ``run.json`` records of pretrained weights; ``before`` what a resumed run was started with;
    ``inherited_channels`` the channels of the images where the weights decide them; ``described`` what ``run.json`` and
    the card say of the data; ``record`` the images of a new run with their splits and hashes; ``choice`` what was
    chosen automatically, and from which facts; ``begun`` when ``train`` was called, by ``time.perf_counter()``.
    """

    run: Path
    recipe: Recipe
    network: Network
    preprocessing: Preprocessing
    origin: dict[str, Any] | None
    weights: str | Path | None
    asked: str | Network | None  # the network, where one was named
    resume: bool
    overwrite: bool
    before: dict[str, Any] = field(default_factory=dict)
    inherited_channels: int | None = None
    described: dict[str, Any] = field(default_factory=dict)
    record: bytes = b""
    choice: dict[str, Any] | None = None
    data: LabelledData = field(default=None)  # type: ignore[assignment]  # until it was looked at
    options: RunOptions = field(default_factory=lambda: RunOptions())
    begun: float = 0.0

    def with_weights(self, fed: Preprocessing | None, origin: dict[str, Any]) -> Plan:
        """Return the plan with weights that were read, which tells how their images are ``fed``."""
        recipe, network, preprocessing = _inherited(self.recipe, self.network, fed, origin)
        preprocessing = replace(
            preprocessing, value_range=self.preprocessing.value_range, color_profiles=self.preprocessing.color_profiles
        )
        return replace(self, recipe=recipe, network=network, preprocessing=preprocessing, origin=origin)

    def with_hashes(self, hashes: Sequence[str]) -> Plan:
        """Return the plan with the sha256 of every image, in the order of ``data.split("all")``."""
        record = record_of({split: part.items for split, part in self.data.splits.items()}, hashes)
        return replace(self, record=record, described=self.described | {"record": hashlib.sha256(record).hexdigest()})

    @property
    def trains_longer(self) -> bool:
        """Whether a run is resumed for longer than it was started for."""
        return self.resume and self.recipe != recipe_from_json(self.before["recipe"])

    @property
    def identity(self) -> str:
        """A hash that tells the checkpoints of this run from those of another with the same recipe."""
        weights = self.origin and self.origin.get("sha256")
        images = sorted((escape_surrogates(item.name), item.labels) for item in self.data.split("all").items)
        text = json.dumps([to_json(self.network), self.data.class_names, images, weights])
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return what ``run.json`` holds."""
        fields = {"recipe": self.recipe.model_dump(mode="json"), "network": to_json(self.network),
                  "data": self.described, "launch": torchrun.launch_id(),
                  "reading": {name: getattr(self.preprocessing, name) for name in READING}}  # fmt: skip
        fields |= {"weights": self.origin} if self.origin else {}
        return fields | ({"choice": self.choice} if self.choice else {})


def look(
    run: Path,
    recipe: str | Path | Recipe | None,
    overrides: Mapping[str, Any],
    weights: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Plan:
    """Check everything but the images. ``overrides`` replace settings of the recipe.

    Recipe and weights that are to be chosen are left for :mod:`~googlenet.training.choosing`, which calls this again.

    Raises what :func:`googlenet.train` raises before any work is done.
    """
    asked = overrides.get("network")
    overrides = {**overrides, "network": asked.name if isinstance(asked, Network) else asked}
    open_weights = weights is None or str(weights) == AUTO
    repeated = None if resume else _run_to_repeat(recipe)
    weights = _named(weights, repeated)
    if resume:
        if torchrun.is_first_process():
            directory.check_writable(run)
        before = directory.read_settings(run)
        directory.check_resumable(run)
        settings, network = _resumed(run, before, overrides, weights)
        card, origin, channels = None, before.get("weights"), None
    else:
        before, channels = {}, None
        card = None if weights is None else inherit.card_of(weights)
        origin = None if weights is None else {"source": str(weights), **inherit.normalization(_fed(card))}
        if repeated:
            origin = origin and {**_recorded_sha256(repeated, weights), **origin}
            recipe, asked = recipe_from_json(repeated["recipe"]), asked or from_json(repeated["network"])
        settings, network = _new(recipe, overrides, asked, weights, card)
        if "in_channels" not in settings.model_fields_set:
            channels = inherit.channels_of(weights, card, network)
            if channels:  # what images of such channels cannot have is refused, and presets leave it out
                settings, network = _new(recipe, {**overrides, "in_channels": channels}, asked, weights, card)
    if not (open_weights and recipe in (None, AUTO)):
        check_freeze(settings, origin)
    settings, network, preprocessing = _inherited(settings, network, _fed(card), origin)
    _check_divisible(settings, torchrun.world_size())
    if not resume and run != NOWHERE and torchrun.is_first_process():
        directory.check_free(run, overwrite)
    return Plan(run, settings, network, preprocessing, origin, weights, asked, resume, overwrite, before, channels)


def _new(
    recipe: str | Path | Recipe | None,
    overrides: Mapping[str, Any],
    asked: str | Network | None,
    weights: str | Path | None,
    card: ModelCard | None,
) -> tuple[Recipe, Network]:
    """Return recipe and network of a new run: the network that was asked for, else that of the weights."""
    network = asked
    if network is None and card is not None:
        network = from_json(card.network)
    elif network is None and weights is not None:
        published = inherit.is_published(weights)
        network = zoo.find(inherit.TORCHVISION_NETWORK) if published else inherit.network_of(weights)
    overrides = {**overrides, "network": network.name if isinstance(network, Network) else network}
    if isinstance(recipe, Recipe):
        settings = recipe.override(**overrides)
    else:
        default = "default" if weights is None else inherit.RECIPE
        settings = Recipe.load(default if recipe in (None, AUTO) else recipe, **overrides)
    return settings, network if isinstance(network, Network) else zoo.find(settings.network)


def _inherited(
    recipe: Recipe, network: Network, fed: Preprocessing | None, origin: Mapping[str, Any] | None
) -> tuple[Recipe, Network, Preprocessing]:
    """Inherit from the weights, and how their images are ``fed``, what the recipe leaves open."""
    recipe = inherit.inherit_image_size(recipe, fed)
    network = inherit.pool_for_classifier(network, recipe.pool_from)
    _check_cache_after(recipe, network)
    network = replace(network, in_channels=recipe.in_channels, aux=network.aux[: recipe.aux])
    network = inherit.drop_heads_on_frozen_stages(network, recipe.freeze, recipe.unfreeze)
    return recipe, network, inherit.inherit_normalization(_preprocessing(recipe, network), origin or {})


def _fed(card: ModelCard | None) -> Preprocessing | None:
    return None if card is None else card.preprocessing


def _preprocessing(recipe: Recipe, network: Network) -> Preprocessing:
    size = recipe.image_size or network.input_size
    if size < minimum_size(network):
        raise InputSizeError(f"--image-size {size}: {too_small(network, size, size)}")
    return network.preprocessing(size, recipe.crop_fraction, recipe.resize)


def _resumed(
    run: Path, before: Mapping[str, Any], overrides: Mapping[str, Any], weights: str | Path | None
) -> tuple[Recipe, Network]:
    """Return recipe and network of a resumed run. Other settings must agree with them; a longer time is taken."""
    recipe = recipe_from_json(before["recipe"])
    longer = _longer(recipe, overrides)
    differing = [
        f"--{name.replace('_', '-')} {value} (it has {_current(recipe, name)})"
        for name, value in overrides.items()
        if value is not None and name not in longer and _differs(recipe, name, value)
    ]
    origin = before.get("weights")
    if weights is not None and str(weights) != (origin or {}).get("source"):
        differing.append(f"--weights {weights} (it has {origin and origin['source']})")
    if differing:
        raise RunError(f"{run} was started with other settings: {', '.join(differing)}; leave them out to resume")
    if origin and not directory.has_checkpoint(run):
        raise RunError(f"{run} was stopped before it had the weights of {origin['source']}: start it with --overwrite")
    return recipe.model_copy(update=longer), from_json(before["network"])


def _longer(recipe: Recipe, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the epochs, minutes and patience that are more than the run was started with, if it has them."""
    without = "minutes" if recipe.minutes is None else "epochs"
    asked = {name: overrides[name] for name in LENGTH if name != without and overrides.get(name) is not None}
    return {name: value for name, value in asked.items() if (getattr(recipe, name) or math.inf) < value < math.inf}


def _differs(recipe: Recipe, name: str, value: Any) -> bool:
    if name == "augmentation":  # a table of some of its settings
        return recipe.override(augmentation=value) != recipe
    return bool(getattr(recipe, name) != value)


def _current(recipe: Recipe, name: str) -> Any:
    if name == "epochs" and recipe.minutes is not None:
        return f"--minutes {recipe.minutes:g}"
    return f"--epochs {recipe.epochs}" if name == "minutes" and recipe.minutes is None else getattr(recipe, name)


def _check_divisible(recipe: Recipe, count: int) -> None:
    if recipe.batch_size % count:
        near = max(1, recipe.batch_size // count) * count
        raise RecipeError(
            f"--batch-size {recipe.batch_size} cannot be split among {count} processes: "
            f"give a multiple of {count}, for example {near}"
        )


def check_freeze(recipe: Recipe, origin: dict[str, Any] | None) -> None:
    """Raise :class:`RecipeError` where stages are to be frozen, and there are no weights to keep."""
    if recipe.freeze is not None and origin is None:
        raise RecipeError(
            f"--freeze {recipe.freeze} without --weights would keep random weights: name pretrained --weights, or "
            "leave --freeze out"
        )
    if recipe.unfreeze != "none" and origin is None:
        raise RecipeError(
            f'unfreeze = "{recipe.unfreeze}" without --weights would begin with random stages frozen: name pretrained '
            "--weights, or set it to none"
        )


def _check_cache_after(recipe: Recipe, network: Network) -> None:
    """Raise where the stage whose maps are kept is unknown, before the frozen ones, or leaves nothing to learn.

    Nor may it be after the first stage whose averaged maps the classifier sees: they are not kept.
    """
    kept = recipe.freeze if recipe.unfreeze == "none" else recipe.cache_after or recipe.freeze
    first = network.pooled[0] if network.pooled and recipe.cached_views else None
    if kept is not None and first is not None and len(network.through(kept)) > len(network.through(first)):
        raise RecipeError(
            f"the maps after {kept} are to be kept, but the classifier sees those of {first}, too: freeze up to that "
            "one at most, or set pool_from to a later stage"
        )
    if recipe.unfreeze == "none" or recipe.cache_after is None:
        return
    inherit.drop_heads_on_frozen_stages(network, recipe.cache_after)
    frozen = network.through(recipe.freeze) if recipe.freeze else ()
    if len(network.through(recipe.cache_after)) < len(frozen):
        raise RecipeError(
            f"cache_after = '{recipe.cache_after}' is before --freeze {recipe.freeze}: name that stage or a later one"
        )


def _run_to_repeat(recipe: str | Path | Recipe | None) -> dict[str, Any] | None:
    """Read the settings of a run whose recipe is to be used again, where ``recipe`` names one, or its ``run.json``."""
    if not isinstance(recipe, str | os.PathLike):
        return None
    path = Path(recipe)
    folder = path.parent if path.name == directory.SETTINGS else path
    return directory.read_settings(folder) if (folder / directory.SETTINGS).is_file() else None


def _recorded_sha256(repeated: Mapping[str, Any], weights: str | Path | None) -> dict[str, str]:
    """Return the sha256 that the weights of a run had, if these are meant."""
    before = repeated.get("weights") or {}
    return {"sha256": before["sha256"]} if before.get("source") == str(weights) else {}


def _named(weights: str | Path | None, repeated: Mapping[str, Any] | None) -> str | Path | None:
    """Return the weights that were named: by themselves, or by the run that is repeated."""
    if weights is None and repeated:
        return (repeated.get("weights") or {}).get("source")
    return None if str(weights) in (AUTO, NONE) else weights
