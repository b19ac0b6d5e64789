"""Options made from settings that are declared elsewhere: meaning, type and range have that one declaration."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from googlenet.training.settings import Settings


def settings_options(model: type[Settings], names: Iterable[str], *, defaults: bool = False) -> list[inspect.Parameter]:
    """Return an option for each of these settings: ``--image-size`` for ``image_size``.

    It is ``None`` where it is not given, unless the help should show its default.
    """
    return [_option(model, name, defaults) for name in names]


def with_options(
    command: Callable[..., None], options: Iterable[inspect.Parameter], before: str
) -> Callable[..., None]:
    """Return a command that takes ``**settings``, with these options instead; help shows them ``before`` another."""
    own = inspect.signature(command, eval_str=True).parameters
    every = [each.replace(kind=each.KEYWORD_ONLY) for each in own.values() if each.kind is not each.VAR_KEYWORD]
    at = list(own).index(before)

    @functools.wraps(command)
    def with_settings(**given: Any) -> None:
        command(**given)

    with_settings.__signature__ = inspect.Signature([*every[:at], *options, *every[at:]])  # type: ignore[attr-defined]
    return with_settings


def _option(model: type[Settings], name: str, show_default: bool) -> inspect.Parameter:
    from googlenet.training.settings import help_of

    field = model.model_fields[name]
    default = field.default if show_default else None
    kind: Any = field.annotation if default is not None else field.annotation | None  # type: ignore[operator]
    option = typer.Option(f"--{name.replace('_', '-')}", help=help_of(field).replace("`", ""))
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
