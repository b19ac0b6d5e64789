"""Many images through a classifier: in order, in bounded memory, every core at work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from numbers import Integral
from typing import TypeVar

import numpy as np

from googlenet.errors import GoogLeNetError, ImageError
from googlenet.images.decode import ImageSource, Pixels
from googlenet.inference.engine import Floats
from googlenet.parallel import cores, map_ordered, result_or_error

Answer = TypeVar("Answer")

BATCH = 8  # images that a thread decodes and then gives to the engine: enough to keep a core busy


def answer_many(
    preprocess: Callable[[ImageSource], Pixels],
    infer: Callable[[Pixels, int], Floats],
    sources: Iterable[ImageSource],
    batch_size: int,
    threads: int | None = None,
) -> Iterator[tuple[ImageSource, Floats | ImageError]]:
    """Yield each source with its answer, or with the error where it cannot be read.

    ``infer`` takes a batch (N, size, size, C) and the number of threads that ask at a time. ``threads`` is by default
    one per core.
    """
    remaining = iter(sources)
    first = list(islice(remaining, batch_size + 1))
    threads = threads or cores()
    streams = threads if len(first) > batch_size else 1  # a few images: all cores work on each

    def work(batch: list[ImageSource]) -> list[tuple[ImageSource, Floats | ImageError]]:
        seen = [result_or_error(preprocess, source) for source in batch]
        readable = [pixels for pixels in seen if not isinstance(pixels, ImageError)]
        answers = iter(infer(np.stack(readable), streams) if readable else ())
        return [
            (source, pixels if isinstance(pixels, ImageError) else next(answers))
            for source, pixels in zip(batch, seen, strict=True)
        ]

    for results in map_ordered(work, chain(first, remaining), batch_size, threads):
        yield from results


def all_read(answers: Iterable[Answer | ImageError]) -> Iterator[Answer]:
    """Pass answers on, and raise the first :class:`ImageError` among them."""
    for answer in answers:
        if isinstance(answer, ImageError):
            raise answer
        yield answer


def whole_count(value: object, what: str) -> int:
    """Return a whole number of at least 1. Raises :class:`GoogLeNetError`, which begins with ``what``, for others."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise GoogLeNetError(f"{what}, 1 or more, got {value!r}")
    return int(value)
