"""``googlenet quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from googlenet.benchmarking.precisions import Precisions


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("quantize", short_help="Make a classifier smaller and faster with 8-bit numbers.")(quantize)


def quantize(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    data: Annotated[
        str | None,
        typer.Option(help="The labelled images it was trained on; by default where they were at training."),
    ] = None,
    measure_only: Annotated[
        bool, typer.Option("--measure-only", help="Measure the precisions there are, without quantising.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: googlenet quantize runs/flowers

    Add an 8-bit graph to a classifier, measure accuracy and speed in every precision, and store both in its bundle.

    Only held-out images are used. If int8 loses more than 0.5 points, the most sensitive layers are kept in floating
    point and listed. `predict` then uses the fastest precision that is as accurate as fp32, within 0.5 points.
    """
    _check(run, quantises=not measure_only)
    from googlenet.benchmarking import precisions
    from googlenet.cli.output import progress, show_json
    from googlenet.stages import stage

    what = "measuring" if measure_only else "quantising"
    with stage(f"{what} {run}"), progress(what) as bar:
        work = precisions.measure_precisions if measure_only else precisions.quantize
        found = work(run, data, progress=lambda _, done, total: bar(done, total))
    if as_json:
        card = found.bundle.card
        show_json({
            "bundle": str(found.bundle.path), "precisions": card.precisions, "measured_on": card.measured_on,
            "kept_in_floating_point": list(found.kept),
        })  # fmt: skip
    else:
        _show(found)


def _check(run: Path, quantises: bool) -> None:
    """Raise where there is no bundle, it cannot be written, or a package is missing, before any work is done."""
    from googlenet import bundle
    from googlenet.extras import require
    from googlenet.files import check_output_path

    path = bundle.read(run).path
    require("train", "sklearn", *(("nncf", "torch") if quantises else ()))
    check_output_path(path.parent / bundle.IN_RUN)
    check_output_path(path)


def _show(found: Precisions) -> None:
    from googlenet.benchmarking.measure import file_bytes
    from googlenet.cli.output import say, show_table
    from googlenet.inference.engine import best_precision
    from googlenet.metrics import METRICS

    bundle, card = found.bundle, found.bundle.card
    rows = []
    for precision, measured in card.precisions.items():
        rows.append((
            precision, f"{measured['score']:.2%}", f"{measured['latency_ms']:.1f} ms",
            f"{measured['images_per_second']:,.0f}", f"{file_bytes(bundle, precision) / 1e6:.1f} MB",
        ))  # fmt: skip
    score = METRICS["map" if card.multi_label else "top1"].title
    columns = [("precision", "left"), (score, "right"), ("one image", "right"), ("images/s", "right"),
               ("size", "right")]  # fmt: skip
    show_table("", columns, rows)
    say(f"{score} on {found.images:,} held-out images; speed without decoding, on {card.measured_on}")
    if found.plain_loss is not None:
        say(
            f"with all layers in 8 bits {100 * found.plain_loss:.2f} points were lost: kept in floating point are "
            f"{', '.join(found.kept) or 'none'}"
        )
    say(f"{bundle.path}: `predict` uses {best_precision(bundle)} here")
