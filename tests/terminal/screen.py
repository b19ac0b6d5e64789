"""A real pseudo-terminal for a command: what is on its screen at the end, and what was written to get there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyte
from rich.cells import cell_len

HEIGHT = 3000  # lines of the screen: nothing scrolls away
OURS = re.compile(r"\x1b\[(\d+(;\d+)*)?m|\x1b\[\d*[AK]|\x1b\[2K|\x1b\[\?25[lh]")  # colour, line up, erase, cursor


@dataclass(frozen=True)
class Shown:
    """What one command left."""

    code: int
    screen: str  # as a reader sees it
    raw: str  # as it was written to the terminal
    piped: str  # what went elsewhere
    columns: int

    @property
    def lines(self) -> list[str]:
        return self.screen.splitlines()

    @property
    def plain(self) -> str:
        """What was written, without the escape codes that a bar and colours take."""
        return OURS.sub("", self.raw).replace("\r\n", "\n")

    @property
    def joined(self) -> str:
        """The screen as one line, words apart by one space."""
        return " ".join(self.screen.split())


def show(
    arguments: Sequence[object],
    *,
    columns: int = 80,
    environment: Mapping[str, str | None] | None = None,
    piped: str = "",
    cwd: Path | None = None,
    keys: Sequence[tuple[str, str]] = (),
    resize: int | None = None,
    limit: float = 240,
) -> Shown:
    """Run a command in a terminal of so many columns.

    Args:
        environment: variables that differ from this process's; ``None`` takes one away.
        piped: ``"stdout"`` or ``"stderr"`` goes into a pipe instead; ``"both"``.
        keys: pairs of a text that is waited for, and what is typed then.
        resize: columns that the terminal has from the first of ``keys`` on, or from its first output on.
    """
    master, slave = pty.openpty()
    _set_size(slave, columns)

    def control() -> None:  # keys that are typed reach the command as signals
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [str(each) for each in arguments],
        stdin=slave,
        stdout=subprocess.PIPE if piped in ("stdout", "both") else slave,
        stderr=subprocess.PIPE if piped in ("stderr", "both") else slave,
        env=_variables(environment or {}),
        cwd=cwd,
        start_new_session=True,
        preexec_fn=control,
    )
    os.close(slave)
    pipes = [pipe.fileno() for pipe in (process.stdout, process.stderr) if pipe]
    written = dict.fromkeys((master, *pipes), b"")
    waiting = list(keys)
    for _ in _reads(written, time.monotonic() + limit, process):
        if resize and written[master]:
            _set_size(master, resize)
            resize = None
        if waiting and waiting[0][0].encode() in written[master]:
            os.write(master, waiting.pop(0)[1].encode())
    code = process.wait()
    os.close(master)
    for pipe in filter(None, (process.stdout, process.stderr)):
        pipe.close()
    raw = written[master].decode("utf-8", "replace")
    rest = b"".join(written[fd] for fd in pipes).decode("utf-8", "replace")
    return Shown(code, _screen(raw, columns), raw, rest, columns)


def _variables(other: Mapping[str, str | None]) -> dict[str, str]:
    plain = dict.fromkeys(("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"))
    wanted = {**os.environ, **plain, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **other}
    return {name: value for name, value in wanted.items() if value is not None}


def _reads(written: dict[int, bytes], until: float, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Collect what comes until nobody has any of the ends open; one step a turn."""
    open_ones = list(written)
    while open_ones:
        if time.monotonic() > until:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"still running: {written}")
        for fd in select.select(open_ones, [], [], 0.2)[0]:
            try:
                chunk = os.read(fd, 65536)
            except OSError:  # the last process has left the terminal
                chunk = b""
            written[fd] += chunk
            if not chunk:
                open_ones.remove(fd)
        yield


def googlenet(*arguments: object) -> list[object]:
    return [sys.executable, "-m", "googlenet", *arguments]


def _set_size(fd: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def _screen(raw: str, columns: int) -> str:
    screen = pyte.Screen(columns, HEIGHT)
    pyte.Stream(screen).feed(raw)
    return "\n".join(line.rstrip() for line in screen.display).rstrip()


def assert_tidy(shown: Shown, any_width: bool = False) -> None:
    """No escape of another's making, no traceback, nothing wider than the terminal but commands and long words."""
    assert "Traceback" not in shown.plain
    assert "\x1b" not in shown.plain, [line for line in shown.plain.splitlines() if "\x1b" in line]
    for line in shown.plain.split("\n"):
        last = line.rsplit("\r", 1)[-1]
        whole = "googlenet " in last or any(cell_len(word) > shown.columns for word in last.split())
        assert any_width or whole or cell_len(last.rstrip()) <= shown.columns, last


def assert_no_codes(text: str) -> None:
    """Nothing that a terminal would obey but line ends."""
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text.replace("\r\n", "\n")), text
