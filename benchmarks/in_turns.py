"""Runs what is compared in a process each, one at a time, so that settings of one do not affect the other."""

from __future__ import annotations

import contextlib
import multiprocessing
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

Round = Callable[[], float]  # runs one round and returns its images per second


def serve(make: Callable[..., tuple[Round, Any]], arguments: tuple[Any, ...], asked: Connection) -> None:
    """Send what ``make`` reports, then run one round for each request."""
    warnings.filterwarnings("ignore")
    do_round, said = make(*arguments)
    asked.send(said)
    while asked.recv():
        asked.send(do_round())


class Runner:
    """A process that calls ``make(*arguments)``, which returns its rounds and a report, ``said``.

    A context manager, so that no process remains if another one fails.
    """

    def __init__(self, make: Callable[..., tuple[Round, Any]], *arguments: Any) -> None:
        self.pipe, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=serve, args=(make, arguments, there))
        self.process.start()
        there.close()  # so that its end is detected
        self.said = self.pipe.recv()

    def round(self) -> float:
        """Images per second, while the others wait."""
        self.pipe.send(True)
        speed: float = self.pipe.recv()
        return speed

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(False)
        self.process.join()
