"""Batches from single requests: what waits for the same model is computed in one go. Threads alone; no web.

A worker that is free takes its share of what waits, not more: nobody waits for others to come, and no worker is idle
while another has a long batch. Jobs that were given up or are past their deadline are never computed. If a batch fails,
each of its jobs is computed alone, so that a job fails by itself only.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ClosedError(Exception):
    """The server stops: it takes no more work."""


class DeadlineError(Exception):
    """The deadline passed before the work was begun."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """The result of a job, and how many seconds it waited and was computed."""

    result: Result
    queue_seconds: float
    infer_seconds: float


@dataclass(eq=False)
class _Job:
    item: Any
    run: Callable[[Sequence[Any]], Sequence[Any]]
    most: int
    deadline: float
    queued: float
    future: Future[Done[Any]] = field(default_factory=Future)


class Batcher:
    """Runs jobs in ``workers`` threads. ``computed`` counts what was computed.

    >>> with Batcher(workers=1) as batcher:
    ...     batcher.submit(2, lambda batch: [each + 1 for each in batch], most=8, deadline=time.monotonic() + 9)\
.result().result
    3
    """

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs: deque[_Job] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self.computed = 0
        self._threads = [threading.Thread(target=self._work, name=f"infer-{n}", daemon=True) for n in range(workers)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Batcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)

    def submit(
        self, item: Item, run: Callable[[Sequence[Item]], Sequence[Result]], *, most: int, deadline: float
    ) -> Future[Done[Result]]:
        """Queue an item. Its future can be cancelled until it is computed.

        Args:
            item: what ``run`` takes.
            run: called in a worker with up to ``most`` items of jobs that have the same ``run``, in the order in which
                they came; returns as many results.
            most: the largest batch.
            deadline: by the clock; past it the future raises :class:`DeadlineError`.

        Raises :class:`ClosedError` after :meth:`close`.
        """
        job = _Job(item, run, most, deadline, self._clock())
        with self._ready:
            if self._closed:
                raise ClosedError("the server stops: try again later, or another server")
            self._jobs.append(job)
            self._ready.notify()
        return job.future

    def close(self) -> None:
        """Take no more jobs, and wait until all that were taken are done."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._next():
            started = self._clock()
            try:
                results = batch[0].run([job.item for job in batch])
            except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
                self._one_by_one(batch, error)
                continue
            took = self._clock() - started
            for job, result in zip(batch, results, strict=True):
                job.future.set_result(Done(result, started - job.queued, took))

    def _one_by_one(self, batch: list[_Job], error: Exception) -> None:
        if len(batch) == 1:
            batch[0].future.set_exception(error)
            return
        for job in batch:
            started = self._clock()
            try:
                (result,) = job.run([job.item])
            except Exception as own:  # noqa: BLE001 - as above
                job.future.set_exception(own)
                continue
            job.future.set_result(Done(result, started - job.queued, self._clock() - started))

    def _next(self) -> list[_Job]:
        """Wait for a job, and take those after it that can be computed with it. Empty once all is done and closed."""
        with self._ready:
            while True:
                while not self._jobs and not self._closed:
                    self._ready.wait()
                if not self._jobs:
                    return []
                if batch := self._taken():
                    self.computed += len(batch)
                    return batch

    def _taken(self) -> list[_Job]:
        batch: list[_Job] = []
        others: list[_Job] = []
        now, share = self._clock(), math.ceil(len(self._jobs) / len(self._threads))
        while self._jobs and len(batch) < (min(batch[0].most, share) if batch else 1):
            job = self._jobs.popleft()
            if batch and job.run != batch[0].run:
                others.append(job)
            elif now > job.deadline:
                _past(job)
            elif job.future.set_running_or_notify_cancel():  # False: it was given up
                batch.append(job)
        self._jobs.extendleft(reversed(others))
        return batch


def _past(job: _Job) -> None:
    if job.future.set_running_or_notify_cancel():
        job.future.set_exception(DeadlineError("the deadline passed before the image was looked at"))
