"""JSON from elsewhere, read strictly: bounded in size, depth and numbers, no key twice. Standard library only."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from typing import Any

from googlenet.text import json_text

# Far more than any file of ours holds, and little enough to be read in no time.
MAX_JSON_BYTES = 2**23
MAX_TEXT = 2**16  # characters of a text
MAX_DIGITS = 20  # of a whole number, with its sign
MAX_DEPTH = 64  # of lists and tables in each other


def parse_json(text: str) -> Any:
    """Parse JSON from elsewhere strictly: bounded, no key twice, only finite numbers and text that UTF-8 can hold.

    Raises :class:`ValueError`, whose text says what is wrong.
    """
    if len(text) > MAX_JSON_BYTES:
        raise ValueError(f"more than {MAX_JSON_BYTES:,} characters")
    try:
        value = json.loads(
            text, object_pairs_hook=_table, parse_constant=_finite, parse_float=_finite, parse_int=integer
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON from line {error.lineno}, column {error.colno} on") from error
    except RecursionError as error:
        raise ValueError(f"deeper than {MAX_DEPTH}") from error
    _check_plain(value)
    return value


def check_keys(table: Any, required: Iterable[str], known: Iterable[str], prefix: str = "") -> None:
    """Raise :class:`ValueError` unless ``table`` is one that has all keys that are ``required`` and none not ``known``.

    >>> check_keys({"newkey": 1}, ["name"], ["name", "network"])
    Traceback (most recent call last):
    ValueError: name is missing; newkey is not known
    """
    if not isinstance(table, dict):
        raise ValueError(f"{prefix or 'it'} should be a table, got {json_text(table)[:80]}")
    at = f"{prefix}." if prefix else ""
    wrong = [f"{at}{key} is missing" for key in required if key not in table]
    wrong += [f"{at}{key[:80]} is not known" for key in table.keys() - set(known)]
    if wrong:
        raise ValueError("; ".join(wrong[:5]))


def keys_of(cls: type[Any]) -> tuple[list[str], list[str]]:
    """Give the keys that a table for a dataclass must have, and those that it may have."""
    fields = dataclasses.fields(cls)
    unset = dataclasses.MISSING
    required = [each.name for each in fields if each.default is unset and each.default_factory is unset]
    return required, [each.name for each in fields]


def numbers(name: str, found: Any) -> tuple[float, ...]:
    """Return a list of numbers as a tuple. Raises :class:`ValueError`, which names it, where it is none."""
    if not isinstance(found, list) or not all(map(is_number, found)):
        raise ValueError(f"{name} should be a list of numbers, got {json_text(found)[:80]}")
    return tuple(found)


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key is there twice")
    return table


def integer(text: str) -> int:
    """Parse a whole number of JSON. Raises :class:`ValueError` where it has more than 63 bits."""
    if len(text) > MAX_DIGITS:
        raise ValueError("a number of more than 63 bits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


def _check_plain(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        _check_all(value, depth)
        _check_all(value.values(), depth)
    elif isinstance(value, list):
        _check_all(value, depth)
    elif isinstance(value, str):
        value.encode()
        if len(value) > MAX_TEXT:
            raise ValueError(f"a text of more than {MAX_TEXT:,} characters")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("a number of more than 63 bits")


def _check_all(values: Iterable[Any], depth: int) -> None:
    for each in values:
        _check_plain(each, depth + 1)


def is_number(value: Any) -> bool:
    """Whether a value is a number, and not true or false."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value: Any, least: float, most: float) -> bool:
    """Whether a value is a whole number from ``least`` to ``most``."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_table(value: Any) -> bool:
    """Whether a value is a table, as JSON's objects become."""
    return isinstance(value, dict)
