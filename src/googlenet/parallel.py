"""Bulk work: as many threads as there are cores, results in order and in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from googlenet.errors import ImageError

Source = TypeVar("Source")
Result = TypeVar("Result")

PREFETCH = 2  # batches for each thread that are begun before the oldest is asked for


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_ordered(
    work: Callable[[list[Source]], Result], sources: Iterable[Source], batch_size: int, threads: int | None = None
) -> Iterator[Result]:
    """Do ``work`` on batches of sources, a batch a thread at a time, and give its results in the order of the sources.

    There are as many ``threads`` as cores unless told. However many sources there are, no more than two batches a
    thread are taken ahead. What ``work`` raises ends it.
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
    """Prepare sources in threads; give them back in their order, ``batch_size`` at a time.

    A source that raises :class:`ImageError` is paired with that error; any other exception ends the work.
    """
    return map_ordered(
        lambda batch: [(source, result_or_error(prepare, source)) for source in batch], sources, batch_size
    )


def result_or_error(prepare: Callable[[Source], Result], source: Source) -> Result | ImageError:
    """Prepare a source, or give the :class:`ImageError` that came of it."""
    try:
        return prepare(source)
    except ImageError as error:
        return error
