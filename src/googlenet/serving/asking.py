"""One request on its way: its body read, its room taken, its deadline kept, given up when the client leaves."""

from __future__ import annotations

import asyncio
import io
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import Request

from googlenet.images.decode import Pixels
from googlenet.serving.admission import Cost, OverloadedError, Ticket
from googlenet.serving.answers import Options
from googlenet.serving.guard import LEFT
from googlenet.serving.metrics import Metrics
from googlenet.serving.models import ServedModel
from googlenet.serving.multipart import Upload
from googlenet.serving.refusal import Refusal
from googlenet.serving.service import Answered, Outcome, Question, Service, busy, stopping

Result = TypeVar("Result")
TIMEOUT = "x-request-timeout"  # header: seconds
LARGE_BODY = 300_000  # bytes


def takes_images(path: str) -> bool:
    """Whether a request to a path carries images."""
    return path in ("/v1/classify", "/v1/feedback") or (path.startswith("/v2/") and path.endswith("/infer"))


class Asked:
    """A request that was let in: ``body`` is its body."""

    def __init__(self, service: Service, request: Request, model: ServedModel, ticket: Ticket, body: bytes) -> None:
        self._service, self._request, self.model, self._ticket, self.body = service, request, model, ticket, body
        self._deadline = time.monotonic() + service.limits.deadline
        self.allow(_seconds(request))

    def allow(self, seconds: float | None) -> None:
        """Allow less time than the server does by itself."""
        if seconds is not None:
            self._deadline = min(self._deadline, time.monotonic() + seconds)

    async def parse(self, read: Callable[..., Result], *arguments: object) -> Result:
        """Call ``read`` with the body; in a thread if that is large, so that others need not wait."""
        if len(self.body) < LARGE_BODY:
            return read(self.body, *arguments)
        return await asyncio.to_thread(read, self.body, *arguments)

    def count(self, images: int) -> None:
        """Take room for the images of the request. Raises :class:`Refusal` for too many."""
        most = self._service.limits.images
        if images > most:
            raise Refusal(413, "too_many_images", f"a request has {most} images at most: send the others after it")
        _take(self._ticket, Cost(images=images - 1))

    async def classify(self, images: Sequence[Upload], options: Options | None = None) -> list[Outcome]:
        """Answer as :meth:`Service.classify` does, unless the client leaves."""
        return await self._unless_left(self._service.classify(self._question(options), images))

    async def predict_pixels(self, batch: Sequence[Pixels]) -> list[Answered]:
        """Answer as :meth:`Service.predict_pixels` does, unless the client leaves."""
        return await self._unless_left(self._service.predict_pixels(self._question(None), batch))

    def _question(self, options: Options | None) -> Question:
        return Question(self.model, options or Options(), self._deadline, self._ticket)

    async def _left(self) -> None:
        """Wait until the client leaves."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass

    async def _unless_left(self, work: Coroutine[Any, Any, Result]) -> Result:
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(self._left())
        try:
            await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise Refusal(LEFT, "left", "the client left before there was an answer")
        finally:
            for each in (working, leaving):
                each.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)


class Asking:
    """Lets requests in.

    Attributes:
        service: what answers.
        metrics: what is counted.
    """

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self.service, self.metrics = service, metrics

    def check(self, path: str, body: int) -> None:
        """Raise :class:`Refusal` if the path takes images and there is no room for a body of so many bytes now.

        Under overload most requests are refused: here that costs no more than their headers.
        """
        if not takes_images(path):
            return
        if not self.service.is_ready:
            raise stopping()
        try:
            self.service.admission.check(Cost(images=1, body=body))
        except OverloadedError as error:
            raise busy(error) from error

    @asynccontextmanager
    async def ask(self, request: Request, model: ServedModel) -> AsyncIterator[Asked]:
        """Let a request in before its body is read, and read that. Raises :class:`Refusal` if there is no room."""
        if not self.service.is_ready:
            raise stopping()
        with self.service.admission.ticket() as ticket:
            _take(ticket, Cost(images=1, body=int(request.headers.get("content-length", "0"))))
            body = await _body(request, ticket)
            yield Asked(self.service, request, model, ticket, body)


async def _body(request: Request, ticket: Ticket) -> bytes:
    parts, size, known = io.BytesIO(), 0, ticket.cost.body
    async for part in request.stream():
        size += parts.write(part)
        if size > known:  # without a Content-Length
            _take(ticket, Cost(body=size - known))
            known = size
    return parts.getvalue()  # not copied


def _take(ticket: Ticket, cost: Cost) -> None:
    try:
        ticket.take(cost)
    except OverloadedError as error:
        raise busy(error) from error


def _seconds(request: Request) -> float | None:
    given = request.headers.get(TIMEOUT)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise Refusal(400, "bad_request", f"{TIMEOUT} is a number of seconds above 0, got {given[:20]!r}")
    return seconds
