"""``run.json``, read as untrusted input: its size and types are checked, and what is wrong is one line. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from googlenet import former
from googlenet.errors import NetworkError, RecipeError, RunError
from googlenet.files import open_regular
from googlenet.models.spec import Network, from_json
from googlenet.preprocessing import Preprocessing, check_reading
from googlenet.strict_json import MAX_JSON_BYTES, check_keys, parse_json
from googlenet.text import printable
from googlenet.training.recipe import recipe_from_json

READING = ("value_range", "color_profiles")  # of the preprocessing, decided by the images
_REQUIRED = ("recipe", "network", "data")
_KNOWN = (*_REQUIRED, "choice", "launch", "reading", "weights")
_ORIGIN = {"source": str, "sha256": str}  # of pretrained weights
_NORMALIZATION = {"mean": list, "std": list, "channel_order": str}
_SHOULD_BE: dict[type, str] = {str: "a string", int: "a whole number", list: "a list", dict: "a table"}
_DATA = {"name": str, "fingerprint": str, "train": int, "val": int}


def read_run_json(path: Path) -> dict[str, Any]:
    """Read ``run.json``: recipe, network, data and, where there is one, the origin of the weights.

    Raises :class:`FileNotFoundError` where there is none, :class:`RunError` where it is damaged.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_JSON_BYTES:
                raise ValueError(f"{size:,} bytes, allowed are {MAX_JSON_BYTES:,}")
            settings: dict[str, Any] = former.run(parse_json(file.read(size).decode()))
        _check(settings)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{printable(str(path))} cannot be read: {error.strerror}") from error
    except (ValueError, RecipeError, NetworkError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{printable(str(path))} is damaged: {printable(reason)}") from error
    return settings


def _check(settings: Any) -> None:
    check_keys(settings, _REQUIRED, _KNOWN)
    if not isinstance(settings["recipe"], dict):
        raise ValueError("recipe should be a table")
    try:
        recipe_from_json(settings["recipe"])
    except RecipeError as error:
        raise ValueError(f"recipe: {error}") from error
    if not isinstance(from_json(settings["network"]), Network):
        raise ValueError("network is not a network")
    _check_table("data", settings["data"], _DATA)
    if "record" not in settings["data"]:  # a run of version 0.1.0 says how it was split instead
        _check_table("data", settings["data"], {"split": str})
    origin = settings.get("weights")
    if origin is not None:
        _check_table("weights", origin, _ORIGIN)
    if origin is not None and ("mean" in origin or "std" in origin):
        _check_table("weights", origin, _NORMALIZATION)
        if not all(type(n) in (int, float) for n in (*origin["mean"], *origin["std"])):
            raise ValueError("weights: mean and std should be lists of numbers")
    if "choice" in settings:
        _check_table("choice", settings["choice"], {"lines": list, "facts": dict})
    reading = settings.get("reading")
    if reading is not None:
        check_keys(reading, READING, READING, "reading")
        check_reading(Preprocessing(1, **reading))


def _check_table(name: str, table: Any, kinds: Mapping[str, type]) -> None:
    if not isinstance(table, dict):
        raise ValueError(f"{name} should be a table")
    wrong = [
        f"{name}.{key} should be {_SHOULD_BE[kind]}" for key, kind in kinds.items() if type(table.get(key)) is not kind
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
