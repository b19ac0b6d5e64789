"""Ctrl-C, SIGTERM and a terminal that is closed, where work is to be finished in order first. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

HANGUP: int | None = getattr(signal, "SIGHUP", None)  # that the terminal was closed; not on Windows


@contextmanager
def stop_signals(then: Callable[[int, Any], object] = signal.signal) -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP instead of dying of them. In a thread, where none arrive, nothing is done.

    ``then`` is called with each and what handled it before; unless told, that handles the next one: a second Ctrl-C
    is not caught.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, _: FrameType | None) -> None:
        caught.append(number)
        if number == HANGUP:
            _leave_terminal()
        then(number, before[signal.Signals(number)])

    # A SIGHUP that is ignored (nohup) stays ignored.
    hears = HANGUP is not None and signal.getsignal(HANGUP) not in (signal.SIG_IGN, None)
    numbers = (signal.SIGINT, signal.SIGTERM, *([signal.Signals(HANGUP)] if hears and HANGUP else []))
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_terminal() -> None:
    """Print nowhere from now on: a write to a terminal that is gone would end the work that is to be saved."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(number).st_mode):
                os.dup2(nowhere, number)
    os.close(nowhere)
