"""Recipe files: TOML that comes with the package or that anyone may have written, read within limits. No torch."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from googlenet.errors import RecipeError
from googlenet.text import nearest, printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_CHARACTERS, MAX_DOTS = 2**20, 64  # of a file, and of one of its keys
_COMMENTS, _KEYS = re.compile("#.*"), re.compile(r"[=,{}\[\]\n]")


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    folder = resources.files("googlenet.training") / "recipes"
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_recipe(source: str | Path) -> dict[str, Any]:
    """Read the table of a recipe, by its name or from a TOML file, unchecked.

    Raises :class:`RecipeError` where there is no such file, it cannot be read, or it is not TOML.
    """
    text = _text_of(source)
    # The parser's memory grows with the square of the dots in a key.
    if len(text) > MAX_CHARACTERS or any(key.count(".") > MAX_DOTS for key in _KEYS.split(_COMMENTS.sub("", text))):
        raise too_deep(source)
    try:
        fields: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {source} is not TOML: {error}") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise RecipeError(f"recipe {source} holds a number that is far too large") from error
    except RecursionError as error:
        raise too_deep(source) from error
    return fields


def recipe_text(fields: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """Return the TOML of a recipe's fields, as JSON has them, after some lines of comments.

    >>> print(recipe_text({"lr": 0.004, "augmentation": {"crop_scale": [0.4, 1.0]}}, ["Found by a search."]))
    # Found by a search.
    <BLANKLINE>
    lr = 0.004
    <BLANKLINE>
    [augmentation]
    crop_scale = [0.4, 1.0]
    <BLANKLINE>
    """
    lines = [f"# {printable(line)}".rstrip() for line in comments]
    plain = {name: value for name, value in fields.items() if not isinstance(value, Mapping)}
    tables = {name: value for name, value in fields.items() if isinstance(value, Mapping)}
    for head, table in (("", plain), *((f"[{name}]", table) for name, table in tables.items())):
        # JSON's numbers, strings, lists and booleans are TOML's; what is not set has no value there
        rows = [
            f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in table.items() if value is not None
        ]
        lines += ["", head, *rows] if head else ["", *rows]
    return "\n".join(lines).lstrip("\n") + "\n"


def too_deep(source: str | Path) -> RecipeError:
    """Return the error for a file that is far larger, or more deeply nested, than any recipe."""
    return RecipeError(f"recipe {source} is too long or nested too deeply: a recipe is a few keys and one table")


def _text_of(source: str | Path) -> str:
    if not isinstance(source, str | os.PathLike):
        raise RecipeError(
            f"recipe should be a Recipe, its name or a TOML file, got {printable(repr(source))[:80]}; "
            "epochs, lr and others are arguments of their own"
        )
    if str(source) in shipped_recipes():
        return (resources.files("googlenet.training") / "recipes" / f"{source}.toml").read_text("utf-8")
    path = Path(source)
    if not path.is_file():
        hint = nearest(str(source), shipped_recipes())
        raise RecipeError(f"no recipe is called {str(source)!r} and no such file exists: {hint}, or a TOML file")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"recipe {path} is not UTF-8: save it as UTF-8") from error
    except OSError as error:
        raise RecipeError(f"recipe {path} cannot be read: {error.strerror or error}") from error
