"""``googlenet augment``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from googlenet.cli.data_options import FollowLinks, LabelColumn, MultiLabel, PathColumn
from googlenet.cli.limits import MaxMegapixels
from googlenet.cli.settings import Options, add_command, settings_options

RECIPE_OPTIONS = ("augmentation", "network", "image_size", "in_channels", "resize", "seed")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, augment, _options, before="follow_links", short_help="Draw what training sees of your images.")


def _options() -> Options:
    from googlenet.training.recipe import Recipe

    return settings_options(Recipe, RECIPE_OPTIONS)


def augment(
    data: Annotated[str, typer.Argument(help="Labelled images, as for `googlenet train`.")],
    sheet: Annotated[
        Path, typer.Option("--sheet", "-o", help="The image file to draw: .png, .jpg, .webp, .pdf, .svg.")
    ],
    recipe: Annotated[
        str | None,
        typer.Option(help="Name of a training recipe, or a TOML file. By default the one that train would choose."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="Images to draw, of all classes in turn.")] = 6,
    views: Annotated[int, typer.Option(min=1, max=20, help="How often to draw each, spread over the run.")] = 7,
    follow_links: FollowLinks = False,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    multi_label: MultiLabel = False,
    max_megapixels: MaxMegapixels = None,
    **settings: Any,
) -> None:
    """Example: googlenet augment photos/ --sheet sheet.png --augmentation aerial

    Draw what training sees of your images: each as it is, and as it is changed at random in some epochs.

    These are the very pixels that `googlenet train` trains on with the same recipe, options and seed. Where MixUp or
    CutMix mix images, some of the first step that is mixed are drawn below, with the share of each label.
    """
    from googlenet.cli import look

    look.check_plot(sheet, "--sheet")
    from googlenet.cli.output import say, say_command
    from googlenet.data.source import DataSource
    from googlenet.training.sheet import augment as augmented

    source = DataSource(
        data, follow_links=follow_links, path_column=path_column, label_column=label_column, multi_label=multi_label
    )
    seen = augmented(source, recipe=recipe, count=count, views=views, **settings)
    look.plot(lambda: seen.save(sheet), sheet, asked=True)
    changes = seen.recipe.augmentation
    say(f"{sheet}: {len(seen.images):,} images in {len(seen.epochs):,} epochs, augmentation {changes}")
    given = [
        word for name, value in settings.items() if value is not None for word in (f"--{name.replace('_', '-')}", value)
    ]
    named = [] if recipe is None else ["--recipe", recipe]
    say_command("next:", "googlenet", "train", data, "--out", "runs/mine", *named, *given)
