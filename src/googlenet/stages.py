"""What long work is doing, on stderr: within two seconds a long stage is named. Standard library only."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from googlenet.text import printable

MAX_SILENCE = 1.3  # seconds without a line after which the current stage is named
MIN_STAGE_SECONDS = 0.2  # shorter stages are not named

_last_line = time.monotonic()  # of the last line, or the start of the program
_silenced: list[bool] = []  # not empty while no stage is named


def begin() -> None:
    """Measure the silence from now on: a command begins."""
    global _last_line
    _last_line = time.monotonic()


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Print ``what`` on stderr unless it ends soon. Of several training processes only the first one prints.

    ::

        with stage("loading PyTorch"):
            import torch
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    timer = threading.Timer(max(MIN_STAGE_SECONDS, _last_line + MAX_SILENCE - time.monotonic()), _say, [what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def silenced() -> Iterator[None]:
    """Name no stage meanwhile: for work that is a part of other work."""
    _silenced.append(True)
    try:
        yield
    finally:
        _silenced.pop()
        begin()


def _say(what: str) -> None:
    begin()
    if _silenced:
        return
    with contextlib.suppress(OSError, ValueError):  # stderr is closed
        print(f"{printable(what)} ...\n", end="", file=sys.stderr, flush=True)  # noqa: T201
