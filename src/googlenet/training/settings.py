"""Settings that are declared once: a pydantic field with its meaning, type, range and default. No torch.

The command line's options, the errors and the documentation are made from these declarations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from googlenet.errors import RecipeError
from googlenet.text import nearest, printable

MAX_SHOWN = 80  # characters of a value in a message
NO_BOUND = 1e9  # a limit above it keeps numbers storable: nobody needs to know it

Fraction = Annotated[float, Field(ge=0, le=1)]

# What a value should be, by pydantic's name of what is wrong with it.
_SHOULD_BE = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string",
    "model_type": "a table",
    "callable_type": "a function",
    "tuple_type": "a list of two numbers",
    "too_long": "a list of two numbers",
    "missing": "a list of two numbers",
}


class Table(BaseModel):
    """A frozen table of values within :class:`Settings`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Settings(Table):
    """A frozen set of values. Mistakes raise one :class:`RecipeError` that lists all of them."""

    if not TYPE_CHECKING:  # type checkers see the fields

        def __init__(self, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise RecipeError("; ".join(_explain(type(self), each) for each in error.errors())) from error


def one_of(names: Iterable[str]) -> AfterValidator:
    """Allow the names of a table."""
    allowed = [f"'{name}'" for name in names]

    def check(name: str) -> str:
        if f"'{name}'" not in allowed:
            raise ValueError(f"should be {', '.join(allowed[:-1])} or {allowed[-1]}")
        return name

    return AfterValidator(check)


def help_of(field: FieldInfo) -> str:
    """Return what a setting means and, where it is a number, its range.

    >>> from typing import Annotated
    >>> help_of(FieldInfo.from_annotated_attribute(int, Field(default=1, ge=1, le=4096, description="Pixels.")))
    'Pixels. (1 to 4,096)'
    """
    limits = _limits(field)
    return f"{field.description} ({limits})" if limits else str(field.description)


def _limits(field: FieldInfo) -> str:
    low = next((each for each in field.metadata if isinstance(each, Ge | Gt)), None)
    high = next((each for each in field.metadata if isinstance(each, Le | Lt) and _bound(each) < NO_BOUND), None)
    if low and high and isinstance(low, Ge):
        return f"{_bound(low):,} to {'' if isinstance(high, Le) else 'less than '}{_bound(high):,}"
    least = f"{_bound(low):,} or more" if isinstance(low, Ge) else f"more than {_bound(low):,}" if low else ""
    most = f"{'at most' if isinstance(high, Le) else 'less than'} {_bound(high):,}" if high else ""
    return ", ".join(filter(None, (least, most)))


def _bound(limit: Ge | Gt | Le | Lt) -> Any:
    return dataclasses.astuple(limit)[0]


def plain(value: Any) -> Any:
    """Return a number of another library, NumPy for one, as Python's."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, Real) and not isinstance(value, bool | int) else value


def _explain(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    path = error["loc"]
    key = ".".join(str(part) for part in path)
    if error["type"] == "extra_forbidden":
        for part in path[:-1]:
            model = model.model_fields[str(part)].annotation  # type: ignore[assignment]
        return f"unknown key {key!r}, {nearest(str(path[-1]), model.model_fields)}"
    wanted = _SHOULD_BE.get(error["type"])
    message: str = (
        f"should be {wanted}" if wanted else error["msg"].removeprefix("Input ").removeprefix("Value error, ")
    )
    if not key:  # of several that do not go together
        return message
    return f"{printable(key)} = {printable(_as_toml(error['input']))}: {message}"


def _as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
