"""``googlenet export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from googlenet.benchmarking.precisions import Precisions
    from googlenet.exporting.formats import Exported


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export", short_help="Quantise a classifier, or write it for other programs.")(export)


def export(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="Add a graph in 8 bits (with --to: unless it has one), and measure.")
    ] = False,
    calibrate: Annotated[
        str | None,
        typer.Option(help="The labelled images it was trained on, to measure with; unless told, as trained."),
    ] = None,
    to: Annotated[
        Literal["onnx", "openvino"] | None, typer.Option(help="Write a copy for other programs; onnx unless told.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder of that copy; unless told, exported/ in RUN.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: googlenet export runs/flowers --int8

    Make a classifier smaller and faster, or write it for other programs.

    --int8 quantises it with its own held-out images, measures every precision on them and keeps all in its bundle:
    `predict` then takes the fastest that is as right. --calibrate alone measures without quantising.

    --to writes model.onnx, or model.xml and model.bin; with --int8, the graph in 8 bits.
    """
    copied = to or ("onnx" if not (int8 or calibrate) else None)
    if out and not copied:
        raise typer.BadParameter("--out is where a copy for other programs goes: say which with --to onnx or openvino")
    if int8 and copied == "onnx":
        raise typer.BadParameter("the graph in 8 bits is one of OpenVINO: --int8 goes with --to openvino")
    measures = bool(calibrate or (int8 and not (copied and _has_int8(run))))
    _look(run, out or run / "exported" if copied else None, measures, quantises=measures and int8)
    import googlenet
    from googlenet.cli.output import progress, show_json
    from googlenet.stages import stage

    said: dict[str, Any] = {}
    if measures:
        what = "quantising" if int8 else "measuring"
        with stage(f"{what} {run}"), progress(what) as bar:
            work = googlenet.quantize if int8 else googlenet.measure_precisions
            precisions = work(run, calibrate, progress=lambda _, done, total: bar(done, total))
        said |= _as_json(precisions)
        if not as_json:
            _show(precisions)
    if copied:
        with stage("writing and replaying"):
            written = googlenet.export(run, out or run / "exported", copied, int8=int8)
        said |= {"files": [str(file) for file in written.files], "largest_difference": written.largest_difference}
        if not as_json:
            _show_files(written)
    if as_json:
        show_json(said)


def _look(run: Path, out: Path | None, measures: bool, quantises: bool) -> None:
    """Raise where the bundle is not there, or what is to be written cannot be, before any work is done."""
    from googlenet import bundle
    from googlenet.extras import require
    from googlenet.files import check_output_path

    there = bundle.read(run).path
    if measures:
        require("train", "sklearn")
        check_output_path(there.parent / bundle.IN_RUN)
        check_output_path(there)
    if quantises:
        require("train", "nncf", "torch")
    if out is not None:
        check_output_path(out)


def _has_int8(run: Path) -> bool:
    from googlenet import bundle

    return bundle.INT8 in bundle.read(run).card.files


def _as_json(found: Precisions) -> dict[str, Any]:
    card = found.bundle.card
    return {
        "bundle": str(found.bundle.path),
        "precisions": card.precisions,
        "measured_on": card.measured_on,
        "kept_in_floating_point": list(found.kept),
    }


def _show(found: Precisions) -> None:
    from googlenet.benchmarking.measure import file_bytes
    from googlenet.card import METRIC_TITLES
    from googlenet.cli.output import say, show_table
    from googlenet.inference.engine import best_precision

    bundle, card = found.bundle, found.bundle.card
    rows = []
    for precision, measured in card.precisions.items():
        rows.append((
            precision, f"{measured['score']:.2%}", f"{measured['latency_ms']:.1f} ms",
            f"{measured['images_per_second']:,.0f}", f"{file_bytes(bundle, precision) / 1e6:.1f} MB",
        ))  # fmt: skip
    score = METRIC_TITLES["map" if card.multi_label else "top1"]
    columns = [("precision", "left"), (score, "right"), ("one image", "right"), ("images/s", "right"),
               ("size", "right")]  # fmt: skip
    show_table("", columns, rows)
    say(f"{score} on {found.images:,} held-out images; speed without decoding, on {card.measured_on}")
    if found.plain_loss is not None:
        say(
            f"all layers in 8 bits lost {100 * found.plain_loss:.2f} points: kept in floating point are "
            f"{', '.join(found.kept) or 'none'}"
        )
    say(f"{bundle.path}: `predict` takes {best_precision(bundle)} here")


def _show_files(written: Exported) -> None:
    from googlenet.cli.output import say

    say(f"written: {', '.join(str(file) for file in written.files)}")
    say(
        f"replayed by {' and '.join(written.engines)}: largest difference of a probability "
        f"{written.largest_difference:.1e}"
    )
