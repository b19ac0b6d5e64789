"""Convert a command line's plain words without pydantic, which takes a tenth of a second to import."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

_NUMBERS = {int: re.compile(r"[0-9]{1,9}", re.ASCII), float: re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)}
_UNKNOWN = object()


def convert_lightly(command: Any) -> None:
    """Make a command, and those below it, convert simple values themselves.

    These are texts, paths, ordinary numbers within their limits, one of several words, and options that are not given.
    Everything else, above all wrong values, is left to typer, which imports pydantic.
    """
    for each in getattr(command, "commands", {}).values():
        convert_lightly(each)
    every = command.get_params  # includes --help, which is not in ``params``
    command.get_params = lambda ctx: [_lightened(param) for param in every(ctx)]


def _lightened(param: Any) -> Any:
    typers = getattr(param, "get_runtime_param", None)  # of typer 0.29; other versions convert as they do
    if typers and "get_runtime_param" not in vars(param):
        param.get_runtime_param = lambda: _Lightly(param, typers)
    return param


class _Lightly:
    """Converter of one parameter, called by typer."""

    def __init__(self, param: Any, typers: Callable[[], Any]) -> None:
        self.described, self.typers = param.type_descriptor, typers

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        found = self._converted(value)
        return self.typers().coerce(value, param=param, ctx=ctx) if found is _UNKNOWN else found

    def _converted(self, value: Any) -> Any:
        kind, info = _without_none(self.described.annotation), self.described.parameter_info
        if info.parser is not None:
            return _UNKNOWN
        if get_origin(kind) is list and get_args(kind) == (str,) and isinstance(value, (list, tuple)):
            return list(value) if all(type(each) is str for each in value) else _UNKNOWN
        if kind in _NUMBERS:
            return _number(kind, value, info)
        if type(value) is not str:
            return _UNKNOWN
        if kind is str or (get_origin(kind) is Literal and value in get_args(kind)):
            return value
        if kind is Path and not (info.exists or info.resolve_path or info.path_type):
            return Path(value)
        return _UNKNOWN


def _number(kind: type, value: Any, info: Any) -> Any:
    """Convert a number that was written, or take a default."""
    if info.clamp or not (type(value) is kind or (type(value) is str and _NUMBERS[kind].fullmatch(value))):
        return _UNKNOWN
    number = kind(value)
    least, most = (number if limit is None else limit for limit in (info.min, info.max))
    return number if least <= number <= most else _UNKNOWN


def _without_none(kind: Any) -> Any:
    """Return ``T`` for ``T | None``; any other type as it is.

    >>> _without_none(int | None)
    <class 'int'>
    """
    if get_origin(kind) in (Union, UnionType):
        others = [each for each in get_args(kind) if each is not type(None)]
        return others[0] if len(others) == 1 else kind
    return kind
