"""How a pruned network is fine-tuned: as the original was trained, for less long and at a lower rate. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from googlenet.card import ModelCard
from googlenet.errors import RecipeError
from googlenet.text import nearest
from googlenet.training.options import RunOptions
from googlenet.training.recipe import Recipe, recipe_from_json

EPOCHS = 5
LR_SHARE = 0.25  # of the original's learning rate: the weights are near what they were
# What decides about the images, and what they show, is the original's: the split above all.
SETTINGS = ("epochs", "minutes", "patience", "best_by", "batch_size", "accumulate", "lr", "augmentation", "precision")
MACHINE = ("device", "workers", "on_bad_image", "checkpoint_minutes", "callbacks")
# What only suits a beginning from scratch, or from weights of other classes, stays at its default.
LEFT_OUT = (
    "network", "aux", "epochs", "minutes", "patience", "init", "initial_size", "growth_fraction",
    "max_batches_per_step", "freeze", "unfreeze", "freeze_norm", "lr_decay", "cached_views", "cache_after",
    "cached_share",
)  # fmt: skip


def check_options(options: Mapping[str, Any]) -> None:
    """Raise :class:`RecipeError` for an option that pruning does not have."""
    for name in options:
        if name not in (*SETTINGS, *MACHINE):
            known = name in Recipe.model_fields or name in RunOptions.model_fields
            why = "it stays as it was" if known else nearest(name, (*SETTINGS, *MACHINE))
            raise RecipeError(f"prune has no option {name!r}: {why}")


def recipe_for(card: ModelCard, settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a pruned network is fine-tuned with. Raises :class:`RecipeError` for wrong settings."""
    if card.recipe:
        kept = {name: value for name, value in card.recipe.items() if name not in LEFT_OUT}
        recipe = recipe_from_json(kept)
        recipe = recipe.model_copy(update={"lr": LR_SHARE * recipe.lr, "epochs": EPOCHS})
    else:  # it was converted: nobody knows how it was trained
        recipe = Recipe.load("finetune", epochs=EPOCHS)
    return recipe.override(**settings)
