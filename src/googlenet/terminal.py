"""Lines and a progress bar on stdout and stderr. The only module that makes a console.

All text is plain text: no markup, no emoji codes, no highlighting, and control characters are escaped. On a terminal
lines are broken between words and the bar is live; in a pipe or a file each line stays whole.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from googlenet import stages
from googlenet.text import printable

UNCUT_WIDTH = 1_000_000  # cells, if there is no terminal: no line is broken or cut
REFRESH_SECONDS = 0.1  # between two states of a bar
MIN_BAR_WIDTH, MAX_BAR_WIDTH = 8, 40  # cells
COMMAND = " with: "  # stands before a command to copy, at the end of a message
PROGRAM = "googlenet "
SPELT = str.maketrans(
    {"×": "x", "·": ".", "–": "-", "…": "...", "≈": "~", "→": "->"}
)  # where the encoding is not Unicode
GAP = "  "  # between the parts of a line

Part = tuple[str, int]  # text and rank: where not all fit, the highest rank is left out first, 0 never

_with_bar: list[Console] = []  # consoles whose last line is a bar; lines are printed above it
_muted: list[bool] = []  # not empty while new consoles of stderr print nothing


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Return the console of stdout or stderr. It prints plain text, and escape codes on terminals only."""
    stream = sys.stderr if stderr else sys.stdout
    quiet = quiet or (stderr and bool(_muted))
    terminal = stream.isatty()
    if _with_bar and terminal and not quiet:
        return _with_bar[-1]
    if hasattr(stream, "reconfigure"):  # a letter that the locale lacks is escaped
        stream.reconfigure(errors="backslashreplace")
    width = _width(stream) if terminal else UNCUT_WIDTH
    return Console(
        file=stream,
        quiet=quiet,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=terminal,
        width=width,
        height=width and 24,  # with TERM=dumb rich ignores a width without a height
    )


@contextmanager
def muted() -> Iterator[None]:
    """Print nothing on stderr meanwhile, but on consoles made before: for work that is a part of other work."""
    _muted.append(True)
    try:
        with stages.silenced():
            yield
    finally:
        _muted.pop()


def _width(stream: TextIO) -> int | None:
    """Return the width of a terminal that rich does not ask; ``None`` where rich asks at every line."""
    if _obeys_codes():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def _obeys_codes() -> bool:
    return os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def plain(text: str, to: Console) -> str:
    """Return a text on one line; characters that the console's encoding lacks are spelt or escaped."""
    line = printable(text)
    if to.options.ascii_only:
        line = line.translate(SPELT).encode(to.encoding, "backslashreplace").decode(to.encoding)
    return line


def say(text: str = "", *, to: Console | None = None, style: str = "", wrap: bool = True) -> None:
    """Print one line. On a terminal it is broken between words; long words are not broken, so they are copied whole.

    ``wrap=False`` never breaks the line: for commands.
    """
    to = to or console()
    line = plain(text, to)
    to.print(
        Text(_broken(line, to.width) if wrap and to.is_terminal else line), style=style, overflow="ignore", crop=False
    )


def _broken(line: str, width: int) -> str:
    """Break a line between words and indent the rest like its beginning; a command at its end stays whole."""
    line, before, command = line.partition(COMMAND + PROGRAM)
    line += before and COMMAND.rstrip()
    indent = " " * (len(line) - len(line.lstrip(" ·")))
    lines = [""]
    for word in re.findall(r"\s*\S+", line):
        if lines[-1].strip() and cell_len(lines[-1] + word) > width:
            lines.append(indent + word.lstrip())
        else:
            lines[-1] += word
    return "\n".join(lines) + (f"\n  {PROGRAM}{command}" if before else "")


def one_line(parts: Sequence[Part], width: int) -> str:
    """Join the parts that fit into a line of ``width`` cells.

    >>> one_line([("epoch 3", 1), ("loss 0.25", 0), ("40 images/s", 2)], 20)
    'epoch 3  loss 0.25'
    """
    kept = list(parts)
    for part in sorted(parts, key=lambda part: -part[1]):
        if part[1] and cell_len(GAP.join(text for text, _ in kept)) > width:
            kept.remove(part)
    return GAP.join(text for text, _ in kept)


class Bar:
    """A line with the progress of work and the time left, on a terminal only, from the first step on.

    It starts no thread, so that processes may be forked beside it, and leaves the cursor visible.
    """

    def __init__(self, to: Console) -> None:
        self.console = to
        self.live = to.is_terminal and not to.quiet and _obeys_codes()
        self._parts: Sequence[Part] = ()
        self._done, self._total = 0.0, 0.0
        self._first: tuple[float, float] | None = None  # progress and time at the first step
        self._painted = 0.0
        self._screen = Live(self, console=to, transient=True, auto_refresh=False, redirect_stdout=sys.stdout.isatty())

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._screen.is_started:
            self._screen.stop()
            _with_bar.remove(self.console)

    def step(self, done: float, total: float | None, parts: Sequence[Part]) -> None:
        """Show that ``done`` of ``total`` is done, with these parts and the ETA beside the bar."""
        now = time.monotonic()
        if self._first is None or done < self._done or (total or 0.0) != self._total:  # other work
            self._first = done, now
        self._done, self._total, self._parts = done, total or 0.0, parts
        if not self.live or (now - self._painted < REFRESH_SECONDS and done != total):
            return
        self._painted = now
        if not self._screen.is_started:
            self._screen.start()
            self.console.show_cursor(True)
            _with_bar.append(self.console)
        self._screen.refresh()

    def eta(self) -> str:
        """Return the time left at the speed since the first step."""
        if self._first is None or self._done <= self._first[0] or not self._total:
            return "ETA –:––"
        done, since = self._first
        pace = (time.monotonic() - since) / (self._done - done)
        return f"ETA {duration(pace * max(self._total - self._done, 0))}"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        width = options.max_width - 1  # some terminals begin a new line after the last cell
        parts = [*((plain(text, console), rank) for text, rank in self._parts), (plain(self.eta(), console), 3)]
        line = one_line(parts, width)
        room = width - cell_len(line) - len(GAP)
        if room < MIN_BAR_WIDTH or not self._total:
            yield Text(line, no_wrap=True, overflow="ellipsis")
            return
        first, _, rest = line.partition(GAP)
        row = Table.grid(padding=(0, len(GAP), 0, 0))
        row.add_row(Text(first), ProgressBar(self._total, self._done, width=min(room, MAX_BAR_WIDTH)), Text(rest))
        yield row


def duration(seconds: float) -> str:
    """Return a time as people read it.

    >>> duration(3723), duration(59.7)
    ('1:02:03', '1:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
