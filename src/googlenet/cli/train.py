"""``googlenet train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from googlenet.cli.data_options import FollowLinks, LabelColumn, MultiLabel, PathColumn
from googlenet.cli.limits import MaxMegapixels


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("train", short_help="Train a classifier on a folder of labelled images.")(train)


def train(
    data: Annotated[
        str,
        typer.Argument(
            help="Folder with one sub-folder per class, or with train/ and val/; a list (.csv, .tsv, .jsonl); digits, "
            "mnist, fashion-mnist, cifar10, cifar100, flowers102, food101, oxford-pets, imagenette or imagenet."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the run: bundle, log, checkpoints, plots.")],
    recipe: Annotated[
        str | None,
        typer.Option(help="default, finetune (unless told, with --weights), paper, notes, digits, or a TOML file."),
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="A network of the zoo; unless told, that of --weights or of the recipe.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", help="Weights to begin with: a run, a bundle, a .safetensors file, or 'torchvision'."
        ),
    ] = None,
    freeze: Annotated[
        str | None, typer.Option(help="With --weights: the last of the stages that do not learn.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="How often each image is seen.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="How long to train instead, all in: as well as it can in that time.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the images the network sees, in pixels.")] = None,
    in_channels: Annotated[
        int | None,
        typer.Option(help="1: grey, 3: colour (unless told), 4: RGBA, or any other: TIFF of so many pages, or .npy."),
    ] = None,
    resize: Annotated[
        Literal["crop", "pad", "squash"] | None,
        typer.Option(
            help="How an image becomes square: its centre, all of it with grey beside, or all of it squashed."
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides initial weights, order, augmentation and held-out part.")
    ] = None,
    val_fraction: Annotated[
        float | None, typer.Option(help="Share of each class to hold out, 0 to 1; unless told, the recipe's: 0.2.")
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(help="Share of each class to keep apart for `evaluate --split test`; unless told, none."),
    ] = None,
    class_balance: Annotated[
        Literal["none", "weighted_loss", "oversample"] | None,
        typer.Option(help="For classes of unequal size: loss weighs the small ones more, sample draws all as often."),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch DATA, a named set or an address, or torchvision's weights, first.")
    ] = False,
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"] | None,
        typer.Option(help="What to compute in; auto tries and takes the fastest."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; for longer with more --epochs or --minutes.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in --out.")] = False,
    on_bad_image: Annotated[
        Literal["skip", "stop"], typer.Option(help="skip (and name) an image that cannot be read, or stop.")
    ] = "skip",
    workers: Annotated[
        int | None, typer.Option(help="Processes that read images; unless told, one a core, at most 8.")
    ] = None,
    checkpoint_minutes: Annotated[float, typer.Option(help="Save so often within a long epoch.")] = 10.0,
    follow_links: FollowLinks = False,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    multi_label: MultiLabel = False,
    max_megapixels: MaxMegapixels = None,
) -> None:
    """Example: googlenet train photos/ --out runs/flowers

    Train a classifier on a folder of labelled images.

    What comes out is in --out: the bundle that predict, evaluate and verify read, log.csv,
    learning_curve.png and the checkpoints that --resume goes on from.
    """
    import googlenet
    from googlenet.cli import look
    from googlenet.cli.output import say, say_command, warn
    from googlenet.data.addresses import is_url
    from googlenet.data.datasets import NAMED

    settings: dict[str, Any] = {
        "network": network, "epochs": epochs, "minutes": minutes, "image_size": image_size, "in_channels": in_channels,
        "resize": resize, "batch_size": batch_size, "lr": lr, "freeze": freeze, "seed": seed,
        "val_fraction": val_fraction, "test_fraction": test_fraction, "class_balance": class_balance,
        "precision": precision,
    }  # fmt: skip
    if download and not is_url(data) and (weights is None or data in NAMED):
        from googlenet.training import run

        run.look(out, recipe, settings, weights, resume=resume, overwrite=overwrite)
        look.fetch(data)
    bundle = googlenet.train(
        data, out, recipe=recipe, weights=weights, download=download, device=device, resume=resume, overwrite=overwrite,
        on_bad_image=on_bad_image, workers=workers, checkpoint_minutes=checkpoint_minutes, follow_links=follow_links,
        path_column=path_column, label_column=label_column, multi_label=multi_label, **settings,
    )  # fmt: skip
    from googlenet.card import METRIC_TITLES
    from googlenet.training.torchrun import is_first_process

    if not is_first_process():
        return
    from googlenet.data.list_lines import csv_rows
    from googlenet.training.directory import CURVE, UNREADABLE

    metrics, score = bundle.card.metrics, "map" if bundle.card.multi_label else "top1"
    if (out / UNREADABLE).exists():
        count = sum(1 for _ in csv_rows(out / UNREADABLE)) - 1
        warn(f"left out, because they could not be read: {count} (named in {out / UNREADABLE})")
    what = f"{METRIC_TITLES[score]} {metrics[score]:.2%}"
    say(f"{bundle.card.name}: {what} on held-out images (epoch {metrics['epoch']:.0f})")
    curve = f"   learning curve: {out / CURVE}" if (out / CURVE).exists() else ""
    say(f"bundle: {bundle.path}{curve}")
    say_command("next:", "googlenet", "predict", out, "IMAGE")
    say_command("", "googlenet", "evaluate", out, data)
