"""``googlenet tune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from googlenet.cli.data_options import FollowLinks, LabelColumn, MultiLabel, PathColumn
from googlenet.cli.limits import MaxMegapixels
from googlenet.cli.settings import Options, add_command, training_options

if TYPE_CHECKING:
    from googlenet.training.tuning import Trial, Tuning

RECIPE_OPTIONS = (
    "epochs", "network", "best_by", "image_size", "batch_size", "lr", "resize", "in_channels", "augmentation", "mirror",
    "class_balance", "freeze", "unfreeze", "val_fraction", "test_fraction", "seed", "precision",
)  # fmt: skip
RUN_OPTIONS = ("device", "workers", "on_bad_image", "cache_gib")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, tune, _options, before="follow_links", short_help="Search for better settings of training.")


def _options() -> Options:
    return training_options(RECIPE_OPTIONS, RUN_OPTIONS)


def tune(
    data: Annotated[str, typer.Argument(help="Labelled images, as for `googlenet train`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the search: a run for each trial, results.")],
    minutes: Annotated[
        float | None, typer.Option(help="Minutes of the whole search, everything included. Needed without --resume.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="How many trials, at most. By default what fits: 12, and more where some end early."),
    ] = None,
    settings: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="What to try: some of lr, weight_decay, augmentation, image_size, label_smoothing and dropout. By "
            "default all that no option sets.",
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="The recipe to begin with, as for `googlenet train`: auto by default.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Pretrained weights to start each trial from, as for `googlenet train`.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the search in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the search in --out.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Download torchvision's weights, if they are to be used.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    follow_links: FollowLinks = False,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    multi_label: MultiLabel = False,
    max_megapixels: MaxMegapixels = None,
    **options: Any,
) -> None:
    """Example: googlenet tune photos/ --minutes 60 --out runs/tuned

    Search for better settings: train many times, a few minutes each, and keep the best run and its recipe.

    Trials that do worse than most end early. Stop at any time; --resume goes on. recipe.toml in --out is for
    `googlenet train --recipe`.
    """
    from googlenet.data.source import DataSource
    from googlenet.training.tune import tune as search

    source = DataSource(
        data, follow_links=follow_links, path_column=path_column, label_column=label_column, multi_label=multi_label
    )
    names = None if settings is None else [name.strip().replace("-", "_") for name in settings.split(",")]
    found = search(source, out, recipe=recipe, weights=weights, resume=resume, overwrite=overwrite, minutes=minutes,
                   trials=trials, settings=names, download=download, **options)  # fmt: skip
    if as_json:
        from googlenet.cli.output import show_json

        show_json(found.to_dict())
        return
    _show(found, data)


def _show(found: Tuning, data: str) -> None:
    from googlenet.cli.output import say, say_command, show_table
    from googlenet.metrics import METRICS

    metric, names = METRICS[found.metric], list(found.trials[0].values)
    columns = [("trial", "right"), (metric.title.replace(" ", "\n"), "right"), ("time", "right")]
    columns += [(name.replace("_", "\n"), "left" if name == "augmentation" else "right") for name in names]
    show_table("", columns, [_row(trial, names, found) for trial in found.trials])
    best = found.best
    finished = sum(trial.state == "finished" for trial in found.trials)
    say(f"best: trial {best.number} of {len(found.trials)}, {metric.title} {metric.format(best.score or 0.0)} on the "
        f"{found.images:,} held-out images that chose it")  # fmt: skip
    if found.honest is not None:
        images = f"{found.honest.images:,} images that nothing was chosen by"
        say(f"on {images}: {', '.join(found.honest.described())}")
    elif finished > 1:
        say(
            f"that is optimistic: the best of {finished} on the same images is partly luck; of a run with "
            "--test-fraction 0.2, or more images, evaluate reports what to expect"
        )
    say(f"classifier: {best.run}   recipe: {found.recipe_file}")
    weights = [] if found.weights is None else ["--weights", found.weights]
    say_command("next:", "googlenet", "train", data, "--recipe", found.recipe_file, *weights, "--out", "runs/mine")
    say_command("", "googlenet", "predict", best.run, "IMAGE")


def _row(trial: Trial, names: list[str], found: Tuning) -> list[str]:
    from googlenet.metrics import METRICS
    from googlenet.terminal import duration
    from googlenet.training.trials import shown

    score = trial.state if trial.score is None else METRICS[found.metric].format(trial.score)
    mark = "*" if trial is found.best else ""
    return [f"{mark}{trial.number}", score, duration(trial.seconds), *(shown(trial.values[name]) for name in names)]
