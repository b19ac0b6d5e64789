"""Names in files that earlier versions wrote; readers of such files replace them by today's names.

Cards up to format 4, runs, checkpoints and recipes of 0.1.0. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PREPROCESSING = {"fit": "resize"}
_MEASURED = {"pictures_per_second": "images_per_second"}  # in precisions and epochs
_RUN = {"from": "weights"}
_RECIPE = {
    "first_size": "initial_size",
    "grown": "growth_fraction",
    "together": "max_batches_per_step",
    "fit": "resize",
    "step_factor": "lr_gamma",
    "averaging": "ema_decay",
    "balance": "class_balance",
}
_AUGMENTATION = {
    "crop_area": "crop_scale",
    "crop_aspect": "crop_ratio",
    "flip": "hflip_prob",
    "distort": "photometric_prob",
    "erase": "erasing_prob",
}
_VALUES = {("class_balance", "loss"): "weighted_loss", ("class_balance", "sample"): "oversample", ("init", "own"): None}


def preprocessing(table: Any) -> Any:
    """Return the preprocessing of a card with today's names; anything but a table is returned unchanged.

    >>> preprocessing({"size": 224, "fit": "pad"})
    {'size': 224, 'resize': 'pad'}
    """
    return _renamed(table, _PREPROCESSING)


def measured(table: Any) -> Any:
    """Return what was measured of a precision, or in an epoch, with today's names."""
    return _renamed(table, _MEASURED)


def recipe(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe with today's names and values.

    >>> recipe({"init": "own", "balance": "loss", "augmentation": {"flip": 0.5}})
    {'init': None, 'class_balance': 'weighted_loss', 'augmentation': {'hflip_prob': 0.5}}
    """
    named = _renamed(dict(table), _RECIPE)
    if "augmentation" in named:
        named["augmentation"] = _renamed(named["augmentation"], _AUGMENTATION)
    return {key: _VALUES.get((key, value), value) if isinstance(value, str) else value for key, value in named.items()}


def run(table: Any) -> Any:
    """Return ``run.json`` with today's names."""
    named = _renamed(table, _RUN)
    if isinstance(named, dict) and isinstance(named.get("recipe"), dict):
        named["recipe"] = recipe(named["recipe"])
    return named


def _renamed(table: Any, names: Mapping[str, str]) -> Any:
    """Return a table with new keys. A key present under both names is kept, and later refused as unknown."""
    if not isinstance(table, dict):
        return table
    return {names[key] if key in names and names[key] not in table else key: value for key, value in table.items()}
