"""What the verbs print on stdout: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from googlenet.text import csv_line, json_text, no_formula, no_formula_path, printable

if TYPE_CHECKING:
    from googlenet.inference.results import Summary

CLASSES_SHOWN = 20


def show_table(title: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]]) -> None:
    """Print a table. A column is its heading and ``"left"`` or ``"right"``."""
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, side in columns:
        table.add_column(Text(_plain(heading)), justify=side, no_wrap=side == "right")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*("" if cell is None else Text(_plain(str(cell))) for cell in row))
    out().print(table)


def out() -> Console:
    """Give the console of stdout. Where it is no terminal nothing is cut to 80 columns."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def _plain(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def say(text: str = "") -> None:
    """Print a line for people on stdout."""
    out().print(_plain(text), soft_wrap=True, markup=False, emoji=False)


def show_json(value: Any) -> None:
    """Print JSON on stdout."""
    sys.stdout.write(json_text(value, indent=2) + "\n")


def show_csv(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows of the same keys as CSV on stdout, each as it comes. No cell is a formula to a spreadsheet.

    On a terminal, which would obey them, control characters are escaped; into a file or a pipe they go as they are.
    """
    stdout = sys.stdout  # now: once a bar is shown on stderr, what is printed goes there
    shown = printable if stdout.isatty() else str
    for number, row in enumerate(rows):
        if not number:
            stdout.write(csv_line(row))
        stdout.write(csv_line(shown(_cell(name, value)) for name, value in row.items()))


def _cell(name: str, value: Any) -> str:
    text = "" if value is None else str(value)
    return no_formula_path(text) if name == "path" else no_formula(text)


def warn(text: str) -> None:
    """Print a line on stderr."""
    Console(stderr=True, highlight=False).print(_plain(text), soft_wrap=True, markup=False, emoji=False)


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar with ETA on stderr, on a terminal only. Call what it gives with (done, total).

    The first call shows it: what is printed before then, a download's own bar for one, is left alone.
    """
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(what, total=total)

    def report(done: int, all_: int | None) -> None:
        bar.start()
        bar.update(task, completed=done, total=all_)

    try:
        yield report
    finally:
        bar.stop()


def show_summary(where: str, summary: Summary, new: int, seconds: float, audited: str = "") -> None:
    """Say what is in results, how many of it are new and how fast these came, and how many are of each class."""
    earlier = f", {summary.pictures - new:,} of them from before" if summary.pictures > new else ""
    speed = f"; {new / max(seconds, 1e-9):,.0f} pictures/s" if new else ""
    say(f"{where}: {summary.pictures:,} pictures{audited}{earlier}, {summary.unread:,} could not be read{speed}")
    most = summary.classes.most_common(CLASSES_SHOWN)
    left = summary.classes.total() - sum(count for _, count in most)
    rest = [(f"{len(summary.classes) - len(most)} more classes", f"{left:,}")] if left else []
    if most:
        show_table("", [("class", "left"), ("pictures", "right")], [*((name, f"{n:,}") for name, n in most), *rest])
