"""Bulk work: pictures are decoded in threads beside inference, in order and in bounded memory."""

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


def in_batches(
    prepare: Callable[[Source], Result], sources: Iterable[Source], batch_size: int
) -> Iterator[list[tuple[Source, Result | ImageError]]]:
    """Prepare sources in threads; give them back in their order, ``batch_size`` at a time.

    Two batches are prepared ahead, no more, however many sources there are. A source that raises
    :class:`ImageError` is paired with that error; any other exception ends the work.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    remaining = iter(sources)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), "decode") as pool:
        waiting: deque[tuple[Source, Future[Result | ImageError]]] = deque()

        def refill() -> None:
            for source in islice(remaining, 3 * batch_size - len(waiting)):
                waiting.append((source, pool.submit(_caught, prepare, source)))

        try:
            refill()
            while waiting:
                ready = [waiting.popleft() for _ in range(min(batch_size, len(waiting)))]
                batch = [(source, future.result()) for source, future in ready]
                refill()
                yield batch
        finally:
            for _, future in waiting:
                future.cancel()


def _caught(prepare: Callable[[Source], Result], source: Source) -> Result | ImageError:
    try:
        return prepare(source)
    except ImageError as error:
        return error
