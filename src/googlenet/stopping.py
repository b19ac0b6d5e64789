"""Ctrl-C and SIGTERM, where work is to be finished in order first. Standard library only."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def stop_signals(then: Callable[[int, Any], object] = signal.signal) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them. In a thread of its own, where none arrive, nothing is done.

    ``then`` is called with each and what handled it before; unless told, that handles the next one: a second Ctrl-C
    is not caught.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, _: FrameType | None) -> None:
        caught.append(number)
        then(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
