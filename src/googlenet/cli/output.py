"""What commands print on stdout: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from googlenet import terminal
from googlenet.text import csv_line, json_text, no_formula, no_formula_path, printable

if TYPE_CHECKING:
    from rich.console import Console

    from googlenet.preprocessing import Preprocessing

MIN_TEXT_WIDTH = 16  # cells to which a column of text may be folded; numbers are never folded
GAP = 2  # cells between columns


def say(text: str = "") -> None:
    """Print a line for people on stdout; print nothing if that is closed."""
    if not is_closed():
        terminal.say(text)


def is_closed() -> bool:
    """Whether stdout was closed before the program began: its stand-in then has an attribute ``lost``."""
    return hasattr(sys.stdout, "lost")


def warn(text: str) -> None:
    """Print a line on stderr."""
    terminal.say(text, to=terminal.console(stderr=True))


def say_command(what: str, *words: object, to_stderr: bool = False) -> None:
    """Print a command on a line of its own, quoted for a shell. Only the terminal breaks it, so it is copied whole."""
    if is_closed() and not to_stderr:
        return
    command = shlex.join(map(str, words))
    terminal.say(f"{what:<6}  {command}", to=terminal.console(stderr=to_stderr), wrap=False)


# Tables.


@dataclass(frozen=True)
class Column:
    """A column of a table. Its heading and its cells may have several lines."""

    heading: str
    side: str  # left or right
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        """The width in cells of a terminal, unfolded."""
        return max(cell_len(line) for text in (self.heading, *self.cells) for line in text.split("\n"))

    def least(self, screen: int) -> int:
        """The least width on a screen of ``screen`` cells: text may be folded, numbers may not."""
        if self.side == "right":
            return self.width
        heading = max(map(cell_len, self.heading.split()), default=0)
        return min(self.width, max(MIN_TEXT_WIDTH, screen // 4, heading))


def show_table(
    title: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]], groups: int = 1
) -> None:
    """Print a table. A column is its heading and a side; a cell of several lines is a list of them.

    The first column names the row. On a narrow terminal columns of text are folded; if that is not enough, columns
    move to further tables below, each with the names; if hardly one fits beside the names, every cell has a line of
    its own. Numbers are never folded, and nothing is cut. In a pipe each row is one line.

    Args:
        groups: the number of groups, with the same headings, that the columns after the first form. On a narrow
            terminal these are first of all put below each other.
    """
    console = terminal.console()
    lines = [[_cell(cell, console) for cell in row] for row in rows]
    made = [
        Column(_cell(heading.split("\n"), console), side, tuple(row[at] if at < len(row) else "" for row in lines))
        for at, (heading, side) in enumerate(columns)
    ]
    if title:
        say(title)
    size = (len(made) - 1) // groups
    stacked = made if _taken(made) <= console.width else _stacked(made, size)
    bands = _bands(stacked, console.width)
    if len(bands) > 1 and 2 * len(bands) > len(stacked) - 1:
        _print_list(made, size if groups > 1 else 1, console)
    else:
        for band in bands:
            _print_table(band, console)


def show_matrix(title: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a square table with the same names for rows and columns; wide names are replaced by numbers."""
    rows = [list(row) for row in rows]
    plain = [terminal.plain(name, terminal.console()) for name in names]
    cells = [cell_len(name) for name in plain]
    if max(cells) + sum(cells) + GAP * len(names) > terminal.console().width:
        numbers = [str(number) for number in range(1, len(names) + 1)]
        plain = [f"{number:>{len(numbers[-1])}} {name}" for number, name in zip(numbers, names, strict=True)]
    else:
        numbers = plain
    show_table(
        title,
        [("", "left"), *((number, "right") for number in numbers)],
        [(name, *row) for name, row in zip(plain, rows, strict=True)],
    )


def _cell(cell: object, console: Console) -> str:
    if isinstance(cell, list):
        return "\n".join(terminal.plain(str(line), console) for line in cell)
    return "" if cell is None else terminal.plain(str(cell), console)


def _taken(columns: Sequence[Column], screen: int | None = None) -> int:
    """Return the width of columns and the gaps between them: unfolded, or the least on a screen."""
    taken = sum(column.width if screen is None else column.least(screen) for column in columns)
    return taken + GAP * (len(columns) - 1)


def _stacked(columns: list[Column], size: int) -> list[Column]:
    """Put groups of ``size`` columns below each other: each row becomes one row for each group, named once."""
    first, *rest = columns
    groups = [rest[start : start + size] for start in range(0, len(rest), size)]
    names = tuple(name if not group else "" for name in first.cells for group in range(len(groups)))
    merged = [
        replace(
            alike[0], cells=tuple(cell for row in zip(*(each.cells for each in alike), strict=True) for cell in row)
        )
        for alike in zip(*groups, strict=True)
    ]
    return [replace(first, cells=names), *merged]


def _bands(columns: list[Column], screen: int) -> list[list[Column]]:
    """Divide columns into tables that fit, each with the first column and at least one more."""
    first, *rest = columns
    bands = [[first]]
    for column in rest:
        if len(bands[-1]) > 1 and _taken([*bands[-1], column], screen) > screen:
            bands.append([first])
        bands[-1].append(column)
    if any(_taken(band, screen) > screen for band in bands):
        return [[first, column] for column in rest]
    return bands


def _print_table(columns: list[Column], console: Console) -> None:
    """Print columns that fit; columns of text are folded as far as needed, the widest first."""
    widths = [column.width for column in columns]
    while sum(widths) + GAP * (len(columns) - 1) > console.width:
        spare = [at if at > column.least(console.width) else 0 for at, column in zip(widths, columns, strict=True)]
        widths[spare.index(max(spare))] -= 1
    table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)  # a line takes one
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            Text(column.heading), justify="right" if column.side == "right" else "left", width=width, overflow="fold"
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    console.print(table, crop=False)
    console.print()


def _print_list(columns: list[Column], size: int, console: Console) -> None:
    """Print each row as lines: its name, then ``size`` columns on each line, with their headings."""
    first, *rest = columns
    for row, name in enumerate(first.cells):
        console.print(Text(name), overflow="fold", style="bold")
        for start in range(0, len(rest), size):
            some = rest[start : start + size]
            line = " ".join(f"{column.heading} {column.cells[row]}" for column in some if column.cells[row])
            console.print(Text("  " + " ".join(line.split())), overflow="fold")
    console.print()


# Programs.


def show_json(value: Any) -> None:
    """Print JSON on stdout. Control characters, and what stdout cannot encode, are escaped as in JSON."""
    text = json_text(value, indent=2)
    is_utf = (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write((text if is_utf else json.dumps(json.loads(text), indent=2)) + "\n")


def show_csv(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows with the same keys as CSV on stdout, each as it comes. No cell is a formula to a spreadsheet.

    On a terminal control characters are escaped, and the rows are printed when all are known.
    """
    stdout = sys.stdout  # now: while a bar is shown, sys.stdout is replaced
    shown = printable if stdout.isatty() else str
    for number, row in enumerate(list(rows) if stdout.isatty() else rows):
        if not number:
            stdout.write(csv_line(row))
        stdout.write(csv_line(shown(_csv_cell(name, value)) for name, value in row.items()))


def _csv_cell(name: str, value: Any) -> str:
    text = "" if value is None else str(value)
    return no_formula_path(text) if name == "path" else no_formula(text)


def warn_of_range(preprocessing: Preprocessing) -> None:
    """Print which values of deep images become black and white, if the card has such a range."""
    from googlenet.images.depth import described

    if preprocessing.value_range:
        warn(described(preprocessing.value_range))


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar with ETA on stderr, on a terminal only. Yields a function to call with (done, total).

    The bar appears with the first call, so that it does not disturb what is printed before, such as a download's bar.
    """
    with terminal.Bar(terminal.console(stderr=True)) as bar:

        def report(done: int, all_: int | None) -> None:
            known = total if all_ is None else all_
            count = f"{done:,}" if known is None else f"{done:,}/{known:,}"
            bar.step(done, known, [(what, 1), (count, 0)])

        yield report
