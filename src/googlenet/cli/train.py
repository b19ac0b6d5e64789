"""``googlenet train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("train", short_help="Train a classifier on a folder of labelled pictures.")(train)


def train(
    data: Annotated[
        str,
        typer.Argument(help="Folder with one sub-folder per class, or with train/ and val/, or 'digits'."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the run: bundle, log, checkpoints, plots.")],
    recipe: Annotated[str, typer.Option(help="default, paper, notes, digits, or a TOML file.")] = "default",
    network: Annotated[str | None, typer.Option(help="A network of the zoo; unless told, the recipe's.")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often each picture is seen.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="How long to train instead, all in: as well as it can in that time.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the pictures the network sees, in pixels.")] = None,
    in_channels: Annotated[
        int | None,
        typer.Option(help="1: grey, 3: colour (unless told), 4: RGBA, or any other: TIFF of so many pages, or .npy."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures per step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides initial weights, order, augmentation and held-out part.")
    ] = None,
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"] | None,
        typer.Option(help="What to compute in; auto tries and takes the fastest."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in --out.")] = False,
    on_bad_image: Annotated[
        Literal["skip", "stop"], typer.Option(help="skip (and name) a picture that cannot be read, or stop.")
    ] = "skip",
) -> None:
    """Example: googlenet train photos/ --out runs/flowers

    Train a classifier on a folder of labelled pictures.

    What comes out is in --out: the bundle that predict, evaluate and verify read, log.csv,
    learning_curve.png and the checkpoints that --resume goes on from.
    """
    import googlenet
    from googlenet.cli.output import say, warn

    bundle = googlenet.train(
        data, out, recipe=recipe, network=network, epochs=epochs, minutes=minutes, image_size=image_size,
        in_channels=in_channels, batch_size=batch_size, lr=lr, seed=seed, device=device, precision=precision,
        resume=resume, overwrite=overwrite, on_bad_image=on_bad_image,
    )  # fmt: skip
    from googlenet.training.run import UNREADABLE

    metrics = bundle.card.metrics
    if (out / UNREADABLE).exists():
        count = len((out / UNREADABLE).read_text("utf-8").splitlines()) - 1
        warn(f"left out, because they could not be read: {count} (named in {out / UNREADABLE})")
    say(f"{bundle.card.name}: top-1 {metrics['top1']:.2%} on held-out pictures (epoch {metrics['epoch']:.0f})")
    say(f"bundle: {bundle.path}   learning curve: {out / 'learning_curve.png'}")
    say(f"next:   googlenet predict {out} PICTURE…      googlenet evaluate {out} {data}")
