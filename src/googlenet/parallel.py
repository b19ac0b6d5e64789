"""Work on many items: one thread for each core, results in order and in bounded memory."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from googlenet.errors import ImageError

Source = TypeVar("Source")
Result = TypeVar("Result")

PREFETCH = 2  # batches per thread that are started before the oldest result is needed


def start_method() -> str | None:
    """Return how processes are started: as the program has set it, else by fork where that is safe."""
    import multiprocessing

    told = multiprocessing.get_start_method(allow_none=True)
    return told or ("fork" if sys.platform == "linux" else None)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_ordered(
    work: Callable[[list[Source]], Result], sources: Iterable[Source], batch_size: int, threads: int | None = None
) -> Iterator[Result]:
    """Call ``work`` on batches of sources in threads, and yield its results in the order of the sources.

    By default there are as many ``threads`` as cores. At most two batches per thread are started ahead, however many
    sources there are. An exception in ``work`` is re-raised and stops the iteration.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    remaining = iter(sources)
    threads = threads or cores()
    with ThreadPoolExecutor(threads, "images") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            while True:
                while len(waiting) < PREFETCH * threads and (batch := list(islice(remaining, batch_size))):
                    waiting.append(pool.submit(work, batch))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def in_batches(
    prepare: Callable[[Source], Result], sources: Iterable[Source], batch_size: int
) -> Iterator[list[tuple[Source, Result | ImageError]]]:
    """Call ``prepare`` on sources in threads, and yield (source, result) pairs in order, ``batch_size`` at a time.

    If it raises :class:`ImageError`, that error is the result; any other exception stops the iteration.
    """
    return map_ordered(
        lambda batch: [(source, result_or_error(prepare, source)) for source in batch], sources, batch_size
    )


def result_or_error(prepare: Callable[[Source], Result], source: Source) -> Result | ImageError:
    """Return what ``prepare`` returns for a source, or the :class:`ImageError` that it raises."""
    try:
        return prepare(source)
    except ImageError as error:
        return error
