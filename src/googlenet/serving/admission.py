"""Which requests are let in: each has a cost, what is inside is bounded, and whoever is refused learns when to return.

The cost of a request is its images, the bytes of its body and the pixels that these images have once decoded. Each of
the three is bounded over all requests inside; a request that is alone is always let in, as its own limits are lower.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from googlenet.serving.limits import Limits

MAX_RETRY_SECONDS = 60
RATE_SECONDS, MIN_RATE_SECONDS = 10.0, 0.5  # the time over which the rate of answers is measured, and of one sample
FIRST_RATE = 10.0  # images per second, until something was measured


class OverloadedError(Exception):
    """There is no room. ``retry_after`` is when there will probably be some, in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the server is busy: try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(frozen=True)
class Cost:
    """What a request costs: images, bytes of its body, pixels of its decoded images."""

    images: int = 0
    body: int = 0
    pixels: int = 0

    def plus(self, other: Cost, sign: int = 1) -> Cost:
        """Return the sum of both, or the difference if ``sign`` is -1."""
        return Cost(self.images + sign * other.images, self.body + sign * other.body, self.pixels + sign * other.pixels)


class Ticket:
    """What one request has taken of the room: it takes more as more becomes known, and returns all of it at its end.

    Use it in a ``with`` block. A thread may still work for it when that ends: then it takes and returns nothing.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.cost = Cost()
        self.ended = False

    def take(self, more: Cost) -> None:
        """Take more room. Raises :class:`OverloadedError`, and takes nothing, where there is not enough."""
        self._admission._take(self, more)

    def free(self, part: Cost) -> None:
        """Return a part before the end."""
        self._admission._free(self, part)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *_: object) -> None:
        self._admission._free(self, None)


class Admission:
    """The room of a server, and the rate at which it answers. Safe to use from many threads.

    >>> room = Admission(Limits(waiting_images=1))
    >>> with room.ticket() as first, room.ticket() as second:
    ...     first.take(Cost(images=1))
    ...     second.take(Cost(images=1))
    Traceback (most recent call last):
    googlenet.serving.admission.OverloadedError: the server is busy: try again in 1 s
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits, self._clock = limits, clock
        self._lock = threading.Lock()
        self._inside = Cost()
        self._rate, self._counted = FIRST_RATE, 0
        self._busy, self._since = 0.0, clock()  # seconds with a request inside, up to ``_since``

    @property
    def inside(self) -> Cost:
        """The cost of all requests inside."""
        return self._inside

    def ticket(self) -> Ticket:
        """Return a ticket that has taken nothing yet."""
        return Ticket(self)

    def check(self, cost: Cost) -> None:
        """Raise :class:`OverloadedError` where a new request of this cost would not be let in now."""
        with self._lock:
            self._check(Cost(), cost)

    def _take(self, ticket: Ticket, more: Cost) -> None:
        with self._lock:
            if ticket.ended:
                raise OverloadedError(self._retry_after())
            self._check(ticket.cost, more)
            self._count_busy_time()
            ticket.cost, self._inside = ticket.cost.plus(more), self._inside.plus(more)

    def _check(self, taken: Cost, more: Cost) -> None:
        after, limits = self._inside.plus(more), self.limits
        fits = (
            after.images <= limits.waiting_images
            and after.body <= limits.waiting_bytes
            and after.pixels <= limits.waiting_pixels
        )
        is_alone = self._inside == taken
        if not (fits or is_alone):
            raise OverloadedError(self._retry_after())

    def _free(self, ticket: Ticket, part: Cost | None) -> None:
        """Return a part of what a ticket has taken, or all of it, which ends the ticket."""
        with self._lock:
            if ticket.ended:
                return
            self._count_busy_time()
            returned, ticket.ended = part or ticket.cost, part is None
            ticket.cost, self._inside = ticket.cost.plus(returned, -1), self._inside.plus(returned, -1)

    def answered(self, images: int = 1) -> None:
        """Count images that were answered, for the rate."""
        with self._lock:
            self._count_busy_time()
            self._counted += images
            if self._busy >= MIN_RATE_SECONDS:
                weight = min(1.0, self._busy / RATE_SECONDS + 0.1)
                self._rate += weight * (self._counted / self._busy - self._rate)
                self._busy, self._counted = 0.0, 0

    @property
    def rate(self) -> float:
        """Images per second that were answered lately, while there was something to answer."""
        return self._rate

    def _count_busy_time(self) -> None:
        now = self._clock()
        if self._inside.images:
            self._busy += now - self._since
        self._since = now

    def _retry_after(self) -> int:
        seconds = self._inside.images / max(self._rate, 1e-3)
        return min(max(math.ceil(seconds), 1), MAX_RETRY_SECONDS)
