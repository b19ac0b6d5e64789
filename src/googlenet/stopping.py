"""Ctrl-C, SIGTERM and a closed terminal: they end a command in order, or let work finish first.

Signals that the caller ignores (``nohup``, ``trap ''``) stay ignored. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

HANGUP: int | None = getattr(signal, "SIGHUP", None)  # the terminal was closed; not on Windows
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
CODE = 128  # added to the number of a signal in an exit code
ECHO_SECONDS = 0.5  # `timeout` and terminals send a signal twice: one that follows so soon is not a second request
RETRY_SECONDS = 0.05  # until an interrupt that was lost is raised again


@contextmanager
def interrupts(for_good: bool) -> Iterator[list[int]]:
    """Make each stopping signal end a command as Ctrl-C does, with all cleanup. Yields a list for the signal.

    A second request ends the process at once. With ``for_good`` the process ends with the command, and signals that
    arrive afterwards no longer change its exit code.
    """
    with _heard(_interrupt, _end) as (caught, numbers), _not_lost(caught):
        yield caught
        if for_good and hasattr(signal, "pthread_sigmask"):  # Python restores default handlers as it exits
            signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers if for_good else ():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def stop_signals(*, hear_again: bool = True) -> Iterator[list[int]]:
    """Collect the signal that asks to stop, so that work can finish in order. Yields a list for the signal.

    A second request goes to the previous handler, unless ``hear_again`` is false. In a thread, where no signal
    arrives, this does nothing.
    """
    before = {number: signal.getsignal(number) for number in STOPPING}

    def hand_on(number: int) -> None:
        signal.signal(number, before[signal.Signals(number)])
        signal.raise_signal(number)

    with _heard(_nothing, hand_on if hear_again else _nothing) as (caught, _):
        yield caught


@contextmanager
def _heard(
    first: Callable[[int], object], again: Callable[[int], object]
) -> Iterator[tuple[list[int], list[signal.Signals]]]:
    """Call ``first`` with the first signal, which is recorded, and ``again`` with further requests."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught, []
        return
    since = 0.0

    def note(number: int, _: object) -> None:
        nonlocal since
        if number == HANGUP:
            _leave_terminal()
        if not caught:
            caught.append(number)
            since = time.monotonic()
            first(number)
        elif number != HANGUP and time.monotonic() - since > ECHO_SECONDS:  # a terminal closes only once
            again(number)

    handlers = {number: signal.getsignal(number) for number in STOPPING}
    before: dict[signal.Signals, Any] = {
        number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)
    }
    for number in before:
        signal.signal(number, note)
    try:
        yield caught, list(before)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _not_lost(caught: list[int]) -> Iterator[None]:
    """Raise an interrupt again if Python lost it in a finalizer, which no exception leaves; imports run many."""
    before = sys.unraisablehook

    def hook(lost: Any) -> None:
        if caught and isinstance(lost.exc_value, KeyboardInterrupt):
            threading.Timer(RETRY_SECONDS, signal.raise_signal, [caught.pop()]).start()
        else:
            before(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _nothing(_: int) -> None:
    pass


def _interrupt(_: int) -> NoReturn:
    raise KeyboardInterrupt


def _end(number: int) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, b"googlenet: stopped\n")
    os._exit(CODE + number)


def _leave_terminal() -> None:
    """Print nowhere from now on: writing to a closed terminal would end the work before it is saved."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(number).st_mode):
                os.dup2(nowhere, number)
    os.close(nowhere)
