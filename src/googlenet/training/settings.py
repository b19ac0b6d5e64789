"""``run.json``, read as what anyone may have written: bounded, typed, in one line where it is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from googlenet.card import MAX_CARD_BYTES, parse_json
from googlenet.errors import NetworkError, RunError
from googlenet.files import open_regular
from googlenet.models.spec import Network, from_json
from googlenet.text import printable
from googlenet.training.recipe import Recipe

_ORIGIN = {"source": str, "sha256": str}  # of weights that a run began with
_DATA = {"name": str, "fingerprint": str, "train": int, "val": int}


def read_run_json(path: Path) -> dict[str, Any]:
    """Read ``run.json``: recipe, network, data and, where there is one, the origin of the weights.

    Raises :class:`FileNotFoundError` where there is none, :class:`RunError` where it is damaged.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_CARD_BYTES:
                raise ValueError(f"{size:,} bytes, allowed are {MAX_CARD_BYTES:,}")
            settings: dict[str, Any] = parse_json(file.read(size).decode())
        _check(settings)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{printable(str(path))} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError, NetworkError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{printable(str(path))} is damaged: {type(error).__name__}: {printable(reason)}") from error
    return settings


def _check(settings: Any) -> None:
    if not isinstance(settings, dict) or not isinstance(settings["recipe"], dict):
        raise TypeError("it is no table with a recipe")
    try:
        Recipe(**settings["recipe"])
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"recipe: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if not isinstance(from_json(settings["network"]), Network):
        raise TypeError("its network is none")
    _check_table("data", settings["data"], _DATA)
    origin = settings.get("from")
    if origin is not None:
        _check_table("from", origin, _ORIGIN)
        numbers = [origin.get("mean", []), origin.get("std", [])]
        if not all(isinstance(each, list) and all(type(n) in (int, float) for n in each) for each in numbers):
            raise TypeError("mean and std of what it began with are no numbers")


def _check_table(name: str, table: Any, kinds: Mapping[str, type]) -> None:
    wrong = [key for key, kind in kinds.items() if not isinstance(table, dict) or type(table.get(key)) is not kind]
    if wrong:
        raise TypeError(f"{name}: {', '.join(wrong)}")
