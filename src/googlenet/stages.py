"""What long work is doing, on stderr: a stage that lasts is named within two seconds. Standard library only."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from googlenet.text import printable

SOON = 1.3  # seconds without a word after which the stage that is under way is named
SHORT = 0.2  # seconds: a stage that is over before is not worth a line

_said = time.monotonic()  # when something was last said, or the program began


def begin() -> None:
    """Count the seconds without a word from now on: a command begins."""
    global _said
    _said = time.monotonic()


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Name ``what`` on stderr, unless it is over soon. Of processes that train together the first one speaks.

    ::

        with stage("loading PyTorch"):
            import torch
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    timer = threading.Timer(max(SHORT, _said + SOON - time.monotonic()), _say, [what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(what: str) -> None:
    begin()
    with contextlib.suppress(OSError, ValueError):  # nobody reads it
        print(f"{printable(what)} ...", file=sys.stderr, flush=True)  # noqa: T201
