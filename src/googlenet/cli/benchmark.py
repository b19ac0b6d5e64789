"""``googlenet benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from googlenet.benchmarking.measure import Benchmark, Measured, Throughput

MIN_CORE_SHARE = 0.8  # of core time; below it the output says that other programs used the CPU


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("benchmark", short_help="Measure how fast a classifier is on this machine.")(benchmark)


def benchmark(
    run: Annotated[str, typer.Argument(metavar="RUN|NETWORK", help="A run, a bundle, or a network of the zoo.")],
    image_size: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="Side of the input images of a NETWORK in pixels; by default its own."),
    ] = None,
    batch_size: Annotated[
        list[int] | None, typer.Option(min=1, help="Images per batch; may be repeated. By default 1, 8 and 32.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="fp32, bf16 or int8; may be repeated. By default all there are.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Minimum duration of each measurement in seconds; by default 1.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="File to draw the figures to (PNG, SVG, PDF).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: googlenet benchmark runs/flowers --plot speed.png

    Measure how fast a classifier is on this machine in each precision: the latency of one image, throughput by batch
    size, compile time, memory, and the share reached of this processor's own measured peak. Decoding is not counted.

    A NETWORK is measured with fresh weights, which needs googlenet[train]; so does --plot.
    """
    from googlenet.cli import look

    if plot is not None:
        look.check_plot(plot)
    from googlenet.benchmarking import benchmark as benchmarking
    from googlenet.benchmarking.measure import BATCH_SIZES, SECONDS
    from googlenet.cli.output import progress, say, show_json, warn
    from googlenet.stages import stage

    with stage(f"measuring {run}"), progress("measuring") as bar:
        result = benchmarking.benchmark(
            run, image_size=image_size, precisions=precision, batch_sizes=batch_size or BATCH_SIZES,
            seconds=SECONDS if seconds is None else seconds, progress=bar,
        )  # fmt: skip
    if as_json:
        show_json(result.to_json())
    else:
        _show(result)
    if plot is not None:
        look.plot(lambda: _draw(result, plot), plot, asked=True)
        (warn if as_json else say)(f"plot: {plot}")


def _draw(result: Benchmark, plot: Path) -> None:
    from googlenet.benchmarking.plots import draw_benchmark

    draw_benchmark(result, plot)


def _show(result: Benchmark) -> None:
    from googlenet.cli.output import say, show_table
    from googlenet.metrics import METRICS

    rows, machine = result.precisions, result.machine
    headings = [] if all(row.score is None for row in rows) else [METRICS[result.score_is].title]
    headings += ["p50\nms", "p95\nms", "p99\nms", "at best\nimages/s", "10⁹ op/s", "of\npeak", "compile\nms"]
    headings += ["memory\nMB", "in bulk\nMB", "on disk\nMB"]
    say(f"{result.network} at {result.size}×{result.size}: {result.macs:,} multiply-accumulates (2 operations each)")
    columns = [("precision", "left"), *((heading, "right") for heading in headings)]
    show_table("", columns, [(row.precision, *_cells(row)[-len(headings) :]) for row in rows])
    say("images/s in bulk, one batch per core:")
    columns = [("batch size", "left"), *((row.precision, "right") for row in rows)]
    lines = ([of[0].batch_size, *map(_speed, of)] for of in zip(*(row.throughput for row in rows), strict=True))
    show_table("", columns, lines)
    for row in rows:
        say(f"peak of this processor in {row.precision}: {row.peak.gops:,.0f}·10⁹ op/s (kernel {row.peak.kernel})")
    say(f"measured on {machine['processor']}, {machine['cores']} cores, OpenVINO {machine['openvino']}")
    busy = min(row.best.busy for row in rows)
    if busy < MIN_CORE_SHARE:
        say(f"other programs used the CPU: only {busy:.0%} of core time was available, real throughput may be higher")


def _cells(row: Measured) -> list[str]:
    taken, best = row.latency_ms, row.best
    return [
        "" if row.score is None else f"{row.score:.2%}",
        *(f"{each:.2f}" for each in (taken.p50, taken.p95, taken.p99)),
        _speed(best), f"{best.gops:,.0f}", f"{best.share:.0%}", f"{row.compile_ms:,.0f}",
        *map(_megabytes, (row.memory_bytes, row.bulk_memory_bytes, row.file_bytes)),
    ]  # fmt: skip


def _speed(measured: Throughput) -> str:
    return f"{measured.images_per_second:,.1f}"


def _megabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e6:,.1f}"
