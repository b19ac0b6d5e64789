"""``googlenet prune``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from googlenet.cli.data_options import FollowLinks, LabelColumn, MultiLabel, PathColumn
from googlenet.cli.limits import MaxMegapixels
from googlenet.cli.settings import Options, add_command, training_options

if TYPE_CHECKING:
    from googlenet.benchmarking.in_turns import Median
    from googlenet.pruning.result import Pruning, State

RECIPE_OPTIONS = ("epochs", "minutes", "batch_size", "lr", "augmentation", "precision")
RUN_OPTIONS = ("device", "workers")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app, prune, _options, before="follow_links", short_help="Remove the least useful branches of a network."
    )


def _options() -> Options:
    return training_options(RECIPE_OPTIONS, RUN_OPTIONS)


def prune(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle, of a network with branches.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the pruned run, like that of `train`.")],
    data: Annotated[
        str | None,
        typer.Argument(help="Labelled images of the same classes; by default those that RUN was trained on."),
    ] = None,
    remove: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many branches to remove; each module keeps one.")
    ] = None,
    macs: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Share of the multiply-accumulates to keep at most. By default 0.75."),
    ] = None,
    images: Annotated[
        int, typer.Option(min=2, metavar="N", help="Held-out images that rank the branches, evenly over the classes.")
    ] = 500,
    resume: Annotated[bool, typer.Option("--resume", help="Continue in --out where it was stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    follow_links: FollowLinks = False,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    multi_label: MultiLabel = False,
    max_megapixels: MaxMegapixels = None,
    **options: Any,
) -> None:
    """Example: googlenet prune runs/flowers photos/ --macs 0.7 --out runs/small

    Remove the least useful branches, fine-tune what is left, and compare it with the original.

    A branch is worth as much as the loss of held-out images grows without it. The settings of training are those of
    RUN, but for 5 epochs at a quarter of its learning rate; --epochs and --minutes are of fine-tuning alone.
    """
    from googlenet.data.source import DataSource
    from googlenet.pruning.prune import prune as pruning

    source = data and DataSource(
        data, follow_links=follow_links, path_column=path_column, label_column=label_column, multi_label=multi_label
    )
    with _bars() as report:
        found = pruning(run, source, out, remove=remove, macs=macs, resume=resume, overwrite=overwrite, images=images,
                        progress=report, **options)  # fmt: skip
    if as_json:
        from googlenet.cli.output import show_json

        show_json(found.to_dict())
        return
    _show(found, out)


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each measurement: it is gone once that is complete, as training shows its own."""
    from googlenet.cli.output import progress

    bars: dict[str, Callable[[int, int | None], None]] = {}
    with ExitStack() as stack:

        def report(what: str, done: int, total: int) -> None:
            if what not in bars:
                stack.close()
                bars.clear()
                bars[what] = stack.enter_context(progress(what))
            bars[what](done, total)
            if done >= total:
                stack.close()
                bars.clear()

        yield report


def _show(found: Pruning, out: Path) -> None:
    from googlenet.cli.output import say, say_command, show_table, warn
    from googlenet.metrics import METRICS
    from googlenet.training.directory import PRUNING

    before = found.states[0].macs
    columns = [
        ("removed", "left"),
        ("channels", "right"),
        ("MACs", "right"),
        ("loss\nwithout", "right"),
        ("95 % interval", "right"),
    ]
    rows = [
        (f"{branch.module} {branch.name}", f"{branch.channels:,}", f"{branch.macs / before:.1%}",
         f"{branch.loss.value:+.4f}", _ends(branch.loss.low, branch.loss.high, "+.4f"))
        for branch in found.removed
    ]  # fmt: skip
    show_table(f"the least useful for their cost, on {found.images:,} held-out images", columns, rows)
    columns = [("", "left"), *((state.name, "right") for state in found.states)]
    show_table("", columns, _measures(found, METRICS[found.metric].title))
    for note in found.notes:
        warn(note)
    if found.bordered:
        warn(f"not exact at the border of {', '.join(found.bordered[:3])}, which pads what was removed with zeros")
    say(found.verdict)
    say(f"speed: medians of 9 rounds in turns with 96 % intervals, in {found.machine['precision']} on "
        f"{found.machine['processor']}")  # fmt: skip
    say(f"bundle: {found.bundle.path}   what each branch is worth: {out / PRUNING}")
    say_command("next:", "googlenet", "predict", out, "IMAGE")


def _measures(found: Pruning, title: str) -> list[tuple[Any, ...]]:
    """Return a row for each figure, with a column for each state of the network."""
    states = found.states
    rows: list[tuple[Any, ...]] = [
        (title, *([f"{state.score.value:.2%}", _percent(state.score.low, state.score.high)] for state in states)),
        ("difference", *(_difference(state) for state in states)),
        ("MACs", *(f"{state.macs / 1e6:,.1f} M" for state in states)),
        ("parameters", *(f"{state.parameters:,}" for state in states)),
    ]
    of_speed = (("one image", "latency_ms", " ms"), ("images/s", "images_per_second", ""),
                ("faster", "faster_in_bulk", "×"))  # fmt: skip
    for name, field, unit in of_speed:
        rows.append((name, *(state.speed and _median(getattr(state.speed, field), unit) for state in states)))
    return rows


def _difference(state: State) -> Any:
    if state.against is None:
        return ""
    change = state.against.difference
    return [f"{100 * change.value:+.2f} points", _points(change.low, change.high)]


def _median(found: Median, unit: str) -> list[str]:
    form = ".2f" if unit else ",.0f"
    return [f"{found.value:{form}}{unit}", _ends(found.low, found.high, form)]


def _ends(low: float | None, high: float | None, form: str) -> str:
    return "" if low is None or high is None else f"[{low:{form}}, {high:{form}}]"


def _percent(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{100 * low:.1f}, {100 * high:.1f}]"


def _points(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{100 * low:+.1f}, {100 * high:+.1f}]"
