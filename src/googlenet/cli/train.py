"""``googlenet train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from googlenet.cli.data_options import FollowLinks, LabelColumn, MultiLabel, PathColumn
from googlenet.cli.limits import MaxMegapixels
from googlenet.cli.settings import Options, add_command, training_options

if TYPE_CHECKING:
    from googlenet.bundle import Bundle
    from googlenet.training.folds import CrossValidation

# The settings that are options here, in the order of the help. A setting is declared in training/recipe.py, or
# training/options.py: to make it an option, name it here.
RECIPE_OPTIONS = (
    "network", "epochs", "minutes", "patience", "best_by", "image_size", "batch_size", "accumulate", "lr", "resize",
    "in_channels", "augmentation", "mirror", "class_balance", "freeze", "unfreeze", "val_fraction", "test_fraction",
    "seed", "precision", "keep_neighbours",
)  # fmt: skip
RUN_OPTIONS = ("device", "workers", "on_bad_image", "checkpoint_minutes", "cache_gib", "log")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, train, _options, before="follow_links", short_help="Train a classifier on labelled images.")


def _options() -> Options:
    return training_options(RECIPE_OPTIONS, RUN_OPTIONS)


def train(
    data: Annotated[
        str,
        typer.Argument(
            help="Folder with one sub-folder per class, or with train/ and val/; a list (.csv, .tsv, .jsonl); an "
            "archive; or a data set: digits, mnist, fashion-mnist, cifar10, cifar100, flowers102, food101, "
            "oxford-pets, imagenette, imagenet."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the run: bundle, log, checkpoints, plots.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="auto (the default) chooses by the images, this machine and --minutes, and says what and why; or "
            "default, photos, small, finetune, finetune_photos, digits, notes, paper, a TOML file, or a run, whose "
            "recipe is used again. Options that are given replace its settings."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Pretrained weights to start from: a run, a bundle, a file that convert reads, or torchvision; auto "
            "(the default where the recipe is chosen) takes what is on this machine and fits; none starts from scratch."
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=50,
            help="Cross-validation: train once for each of this many folds, and make one classifier of all.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue the run in --out, or train it for longer with more --epochs or --minutes."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    download: Annotated[
        bool,
        typer.Option("--download", help="Download DATA (a data set, an https address) or torchvision's weights first."),
    ] = False,
    follow_links: FollowLinks = False,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    multi_label: MultiLabel = False,
    max_megapixels: MaxMegapixels = None,
    **settings: Any,
) -> None:
    """Example: googlenet train photos/ --out runs/flowers

    Train a classifier on labelled images.

    The run directory --out holds the bundle that predict, evaluate and verify read, log.csv, learning_curve.png and
    the checkpoints that --resume continues from.
    """
    from googlenet.cli import look
    from googlenet.data.addresses import is_url
    from googlenet.data.datasets import NAMED
    from googlenet.data.source import DataSource
    from googlenet.training import train as training
    from googlenet.training.torchrun import is_first_process

    if download and folds is None and not is_url(data) and (weights is None or data in NAMED):
        from googlenet.training import plan
        from googlenet.training.options import split_options

        recipe_settings, _ = split_options(settings)
        plan.look(out, recipe, recipe_settings, weights, resume=resume, overwrite=overwrite)
        look.fetch(data)
    source = DataSource(
        data, follow_links=follow_links, path_column=path_column, label_column=label_column, multi_label=multi_label,
        download=download,
    )  # fmt: skip
    settings |= {"recipe": recipe, "weights": weights, "resume": resume, "overwrite": overwrite, "download": download}
    if folds is not None:
        from googlenet.training.folds import cross_validate

        _show_folds(cross_validate(source, out, folds=folds, **settings), out)
        return
    bundle = training.train(source, out, **settings)
    if is_first_process():
        _show(bundle, data, out)


def _show_folds(result: CrossValidation, out: Path) -> None:
    from googlenet.cli.output import say, say_command, show_table
    from googlenet.metrics import METRICS

    named = {
        name: METRICS[name.removeprefix("val_")] for name in result.metrics if name.removeprefix("val_") in METRICS
    }
    rows = [
        (f"fold {number}", *(metric.format(fold[name]) for name, metric in named.items()))
        for number, fold in enumerate(result.folds, start=1)
    ]
    means = {name: result.metrics[name] for name in named}
    rows.append(("mean", *(named[name].format(each.mean) for name, each in means.items())))
    spans = (f"{named[name].format(each.low)} to {named[name].format(each.high)}" for name, each in means.items())
    rows.append(("95 % interval", *spans))
    show_table("", [("", "left"), *((metric.title, "right") for metric in named.values())], rows)
    say(f"bundle of all {len(result.folds)} folds: {result.bundle.path}")
    say_command("next:", "googlenet", "predict", out, "IMAGE")


def _show(bundle: Bundle, data: str, out: Path) -> None:
    from googlenet.cli.output import say, say_command, warn
    from googlenet.data.list_lines import csv_rows
    from googlenet.metrics import LOSS, METRICS, metrics_for
    from googlenet.reporting import REPORT
    from googlenet.training.directory import CURVE, UNREADABLE

    if (out / UNREADABLE).exists():
        count = sum(1 for _ in csv_rows(out / UNREADABLE)) - 1
        warn(f"images skipped because they could not be read: {count:,}; {out / UNREADABLE} names them")
    main, measured = metrics_for(bundle.card.multi_label)[0], bundle.card.metrics
    chosen = bundle.card.recipe.get("best_by") or main.name
    key = {main.name: main.name, chosen: "val_loss" if chosen == LOSS.name else chosen}
    score = ", ".join(f"{METRICS[name].title} {METRICS[name].format(measured[at])}" for name, at in key.items())
    if "mirror_gain" in measured:
        score += f" (mirror images: {100 * measured['mirror_gain']:+.2f} points of {main.title})"
    say(f"{bundle.card.name}: {score} on held-out images (epoch {measured['epoch']:.0f})")
    curve = f"   learning curve: {out / CURVE}" if (out / CURVE).exists() else ""
    say(f"bundle: {bundle.path}{curve}")
    if (out / REPORT).exists():
        say(f"report: {out / REPORT}")
    say_command("next:", "googlenet", "predict", out, "IMAGE")
    say_command("", "googlenet", "evaluate", out, data)
