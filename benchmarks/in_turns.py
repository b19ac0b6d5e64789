"""What is compared, each in a process of its own, so that neither sees what the other set, and one at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

Round = Callable[[], float]  # does a round and gives its images per second


def serve(make: Callable[..., tuple[Round, Any]], arguments: tuple[Any, ...], asked: Connection) -> None:
    """Answer with what ``make`` says, then with a round whenever one is asked for."""
    warnings.filterwarnings("ignore")
    do_round, said = make(*arguments)
    asked.send(said)
    while asked.recv():
        asked.send(do_round())


class Runner:
    """One of them: ``make(*arguments)`` is called in its process. ``said`` is what it says beside its rounds.

    A context manager, so that no process is left where another one fails.
    """

    def __init__(self, make: Callable[..., tuple[Round, Any]], *arguments: Any) -> None:
        self.pipe, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=serve, args=(make, arguments, there))
        self.process.start()
        there.close()  # so that its end is noticed
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
