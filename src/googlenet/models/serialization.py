"""Networks as JSON: dataclasses written by name, and read strictly. A bundle from elsewhere is untrusted input."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from googlenet.errors import NetworkError
from googlenet.models.layers.base import MAX_NUMBER, MAX_WIDTHS, Layer
from googlenet.text import printable

MAX_PARTS = 20_000  # of a network: no network of the zoo has more, and one with fewer can be built
MAX_TEXT = 2**16  # characters


def to_json(value: Any) -> Any:
    """Return a network, or any part of one, as what ``json.dumps`` takes. Defaults are left out.

    >>> from googlenet.models.spec import Conv
    >>> to_json(Conv(64, 7, stride=2))
    {'Conv': {'out': 64, 'kernel': 7, 'stride': 2}}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        given = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        defaults = {f.name: f.default for f in dataclasses.fields(value)}
        return {
            type(value).__name__: {k: to_json(v) for k, v in given.items() if v != defaults[k]},
        }
    return [to_json(item) for item in value] if isinstance(value, (tuple, list)) else value


class Reader:
    """Reads back what :func:`to_json` wrote, for the classes in ``known``. Raises :class:`NetworkError`."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self.known = known
        self.count = 0

    def read(self, value: Any) -> Any:
        """Return the parts that a JSON value describes."""
        if isinstance(value, list):
            return tuple(map(self.read, value))
        if not isinstance(value, dict):
            return value
        self.count += 1
        if self.count > MAX_PARTS:
            raise NetworkError(f"a network of more than {MAX_PARTS:,} parts")
        (name, fields), *more = value.items() or [("", {})]
        if more or name not in self.known or not isinstance(fields, dict):
            what = printable(str(value)[:80])
            raise NetworkError(f"not a part of a network: {what!r}; allowed: {', '.join(self.known)}")
        try:
            return self._part(self.known[name], {key: self.read(item) for key, item in fields.items()})
        except (TypeError, AttributeError, RecursionError) as error:
            raise NetworkError(f"not a {name}: {printable(str(error))[:200]}") from error

    def _part(self, kind: Any, fields: dict[str, Any]) -> Any:
        kinds = _kinds(kind)
        for name, value in fields.items():
            if name in kinds and not _is_of(kinds[name], value, MAX_WIDTHS.get(name, MAX_NUMBER)):
                raise NetworkError(f"{kind.__name__}: {name} cannot be {printable(repr(value))[:80]}")
        return kind(**fields)


@cache
def _kinds(part: Any) -> dict[str, Any]:
    return get_type_hints(part)


def _is_of(kind: Any, value: Any, most: int) -> bool:
    """Whether a value is of the type that a field is declared with, and in range."""
    origin, of = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_is_of(each, value, most) for each in of)
    if origin is Literal:
        return value in of
    if origin is tuple and of[-1] is not ...:
        return isinstance(value, tuple) and len(value) == len(of) and all(map(_is_of, of, value, [most] * len(of)))
    if origin is not None:  # a sequence of one type
        return isinstance(value, tuple) and all(_is_of(of[0], each, most) for each in value)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value) and abs(value) <= most
    if kind is int:
        return type(value) is int and 0 <= value <= most
    if kind is Layer:
        return isinstance(value, Layer)
    return type(value) is kind and (kind is not str or len(value) <= MAX_TEXT)
