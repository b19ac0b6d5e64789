"""``googlenet compare``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from googlenet.benchmarking.compare import Compared, Comparison

PLOT = Path("compare.png")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare", short_help="Compare networks: cost, speed, accuracy.")(compare)


def compare(
    networks: Annotated[list[str] | None, typer.Argument(help="Networks of the zoo; by default all of them.")] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Side of the input images in pixels; by default each network's own.")
    ] = None,
    train: Annotated[
        str | None, typer.Option("--train", metavar="DATA", help="Labelled images to train all networks on.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="How long to train each network; by default the recipe's epochs.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch where throughput is measured.")] = 16,
    plot: Annotated[
        Path | None, typer.Option(help=f"File to draw to; by default {PLOT} with --train, else none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: googlenet compare googlenet resnet50 vgg16 --image-size 64 --train photos/ --minutes 10

    Compare networks: parameters, multiply-accumulates, size on disk, latency and throughput on this machine.

    With --train all are trained with the same recipe, and their top-1 on the held-out images is shown.
    """
    if minutes is not None and train is None:
        raise typer.BadParameter("--minutes is how long to train: give the images to train on with --train DATA")
    from googlenet.cli import look

    image = plot or (PLOT if train else None)
    if image:
        look.check_plot(image)
    from googlenet.benchmarking import compare as comparing
    from googlenet.cli.output import show_json, warn
    from googlenet.stages import stage

    with stage("comparing"), _bar() as report:
        result = comparing.compare(
            networks, image_size=image_size, data=train, minutes=minutes, batch_size=batch_size, say=warn,
            progress=report,
        )  # fmt: skip
    if as_json:
        show_json(result.to_json())
    else:
        _show(result)
    if image:
        _draw(result, image, asked=plot is not None, quiet=as_json)


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Show a bar from the first measurement on: training, before it, shows its own."""
    from contextlib import ExitStack

    from googlenet.cli.output import progress

    bars: list[Callable[[int, int | None], None]] = []
    with ExitStack() as stack:

        def report(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress("measuring")))
            bars[0](done, total)

        yield report


def _show(result: Comparison) -> None:
    from googlenet.cli.output import say, show_table

    precisions = [speed.precision for row in result.rows for speed in row.speeds]
    precisions = list(dict.fromkeys(precisions))
    headings = ["parameters", "MACs", "activations", "file"]
    for precision in precisions:
        headings += [f"{precision}\nms", f"{precision}\nimages/s"]
    headings += ["top-1"] * (result.data is not None)
    columns = [("network", "left"), ("size", "right"), *((heading, "right") for heading in headings)]
    title = f"latency of one image, throughput in batches of {result.batch_size}"
    show_table(title, columns, [_cells(row, precisions) for row in result.rows])
    for row in result.rows:
        if row.failure:
            say(f"{row.network}: {row.failure}")
    machine = result.machine
    say(f"measured on {machine['processor']}, {machine['cores']} cores, OpenVINO {machine['versions']['openvino']}")
    for claim in result.claims:
        say(claim)


def _cells(row: Compared, precisions: list[str]) -> list[str]:
    speeds = {speed.precision: speed for speed in row.speeds}
    cells = [row.network, str(row.size), *(_number(n) for n in (row.parameters, row.macs, row.activations))]
    cells.append("" if row.file_bytes is None else f"{row.file_bytes / 1e6:.1f} MB")
    for precision in precisions:
        speed = speeds.get(precision)
        cells += [f"{speed.latency_ms:.2f}", f"{speed.images_per_second:.1f}"] if speed else ["", ""]
    return [*cells, "" if row.top1 is None else f"{row.top1:.2%}"]


def _number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _draw(result: Comparison, path: Path, asked: bool, quiet: bool) -> None:
    """Draw accuracy against MACs if the networks were trained, else latency against parameters."""
    from googlenet.cli.look import plot
    from googlenet.cli.output import say, warn

    tell = warn if quiet else say
    if all(row.failure for row in result.rows):
        tell("nothing to draw: every network failed")
    elif plot(lambda: _draw_points(result, path), path, asked):
        tell(f"plot: {path}")


def _draw_points(result: Comparison, path: Path) -> None:
    from googlenet.benchmarking.plots import Point, draw_trade_off

    machine = f"{result.machine['processor']}, {result.machine['cores']} cores"
    if result.data is not None:
        labels = ("multiply-accumulates per image", "top-1 on held-out images, %")
        title = f"{result.data}, trained alike; area: parameters"
        points = [
            Point(row.network, row.macs, 100 * row.top1, row.parameters)
            for row in result.rows
            if row.macs and row.top1 is not None and row.parameters
        ]
    else:
        labels = ("parameters", "latency of one image in fp32, ms")
        title = f"on {machine}"
        points = [
            Point(row.network, row.parameters, row.speeds[0].latency_ms)
            for row in result.rows
            if row.parameters and row.speeds
        ]
    draw_trade_off(points, labels, title, path)
