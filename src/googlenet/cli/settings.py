"""Options made from settings that are declared elsewhere: meaning, type and range have that one declaration."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
import typer.main

if TYPE_CHECKING:
    from googlenet.training.settings import Settings

Options = Sequence[inspect.Parameter]


def settings_options(model: type[Settings], names: Iterable[str], *, defaults: bool = False) -> Options:
    """Return an option for each of these settings: ``--image-size`` for ``image_size``.

    It is ``None`` where it is not given, unless help should show its default.
    """
    return [_option(model, name, defaults) for name in names]


def training_options(recipe: Iterable[str], run: Iterable[str]) -> Options:
    """Return the options of a command that trains: these settings of the recipe, and those of the run."""
    from googlenet.training.options import RunOptions
    from googlenet.training.recipe import Recipe

    return [*settings_options(Recipe, recipe), *settings_options(RunOptions, run, defaults=True)]


def add_command(
    app: typer.Typer, command: Callable[..., None], options: Callable[[], Options], before: str, short_help: str
) -> None:
    """Add a command that takes ``**settings``, with these options instead; its help shows them ``before`` another.

    They are made when the command is called, or its help is shown: ``googlenet --help`` does not wait for pydantic.
    """

    @functools.cache
    def whole() -> Any:
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command()(_with_options(command, options(), before))
        return typer.main.get_command(alone)

    class WithSettings(typer.core.TyperCommand):
        def get_params(self, ctx: Any) -> Any:
            self.callback = whole().callback
            return whole().get_params(ctx)

    def described() -> None: ...

    described.__doc__ = command.__doc__
    app.command(command.__name__, cls=WithSettings, short_help=short_help)(described)


def _with_options(command: Callable[..., None], options: Options, before: str) -> Callable[..., None]:
    own = inspect.signature(command, eval_str=True).parameters
    every = [each.replace(kind=each.KEYWORD_ONLY) for each in own.values() if each.kind is not each.VAR_KEYWORD]
    at = list(own).index(before)

    @functools.wraps(command)
    def with_settings(**given: Any) -> None:
        command(**given)

    with_settings.__signature__ = inspect.Signature([*every[:at], *options, *every[at:]])  # type: ignore[attr-defined]
    return with_settings


def _option(model: type[Settings], name: str, show_default: bool) -> inspect.Parameter:
    from googlenet.training.settings import Table, help_of

    field = model.model_fields[name]
    default = field.default if show_default else None
    annotation: Any = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, Table):  # by name, on the command line
        annotation = str
    kind: Any = annotation if default is not None else annotation | None
    flag = name.replace("_", "-")
    names = f"--{flag}/--no-{flag}" if field.annotation is bool else f"--{flag}"
    option = typer.Option(names, help=help_of(field).replace("`", ""))
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
