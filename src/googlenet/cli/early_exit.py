"""``googlenet early-exit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from googlenet.benchmarking.early_exit import EarlyExit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("early-exit", short_help="Let auxiliary heads answer easy images, with a promise.")(early_exit)


def early_exit(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle, of a network with heads.")],
    data: Annotated[
        str | None,
        typer.Option(help="The labelled images it was trained on; by default where they were at training."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of answers that may be other than the full network's.")
    ] = 0.01,
    confidence: Annotated[
        float, typer.Option(metavar="P", help="Probability that this holds for images like the held-out ones.")
    ] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: googlenet early-exit runs/flowers --tolerance 0.01

    Let the auxiliary heads of a classifier answer easy images, and measure how much faster that is.

    Thresholds are chosen on held-out images so that, with this probability, at most this share of all answers is other
    than the full network's. They are stored in the bundle; `predict` answers early only with --exit auto, and only
    where that was measured to be 10 % faster or more.
    """
    from googlenet import bundle
    from googlenet.evaluation.early_exits import check_promise
    from googlenet.extras import require
    from googlenet.files import check_output_path

    check_promise(tolerance, confidence)
    path = bundle.read(run).path
    require("train", "onnx", "scipy")
    check_output_path(path.parent / bundle.IN_RUN)
    check_output_path(path)
    from googlenet.benchmarking import early_exit as exiting
    from googlenet.cli.output import progress, say, show_json
    from googlenet.stages import stage

    with stage(f"choosing thresholds for {run}"), progress("answering") as bar:
        found = exiting.early_exit(run, data, tolerance=tolerance, confidence=confidence, progress=bar)
    if as_json:
        exits = found.exits
        show_json({
            "bundle": str(found.bundle.path), "heads": list(found.heads), "thresholds": list(exits.thresholds),
            "shares": list(exits.shares), "tolerance": exits.tolerance, "confidence": exits.confidence,
            "images": exits.images, "differing": exits.differing, "gains": list(exits.gains),
            "worth": exits.is_worth,
        })  # fmt: skip
        return
    for note in found.notes:
        say(note)
    _show(found)


def _show(found: EarlyExit) -> None:
    from googlenet.cli.output import say, show_table
    from googlenet.inference.early import gains_described, why_off

    exits = found.exits
    promise = f"at most {100 * exits.tolerance:.4g} % other answers than the full network's, at "
    promise += f"{100 * exits.confidence:.4g} %"
    if not found.share:
        say(f"{found.bundle.path}: no head is sure enough of any image for {promise}; the bundle is as it was")
        return
    rows = [
        (name, f"{threshold:.4f}", f"{share:.1%}")
        for name, threshold, share in zip(found.heads, exits.thresholds, exits.shares, strict=True)
    ]
    rows.append(("full network", "", f"{1 - found.share:.1%}"))
    show_table("", [("answered by", "left"), ("from confidence", "right"), ("images", "right")], rows)
    say(f"{promise}: {exits.differing} of the {exits.images:,} held-out images that tested it")
    off = why_off(found.bundle)
    say(f"{found.bundle.path}: " + (off or f"{gains_described(exits)}; `predict --exit auto` has it"))
