"""Uvicorn's HTTP/1.1 protocol, with the deadlines that it lacks: for headers, and for whoever reads too slowly."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from googlenet.serving.limits import Limits


class Protocol(H11Protocol):
    """A connection that is closed if its headers come, or its answers are read, too slowly."""

    limits = Limits()
    _timer: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for headers."""
        super().connection_made(transport)
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; once the headers are there, stop waiting for them."""
        super().data_received(data)
        if self._is_answering():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the headers of a further request."""
        super().on_response_complete()
        if not self._is_answering():
            self._wait_for_headers()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.limits.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        if self.flow is not None:
            super().resume_writing()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_headers(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(self.limits.header_seconds, self._abort)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _abort(self) -> None:
        self.transport.abort()


def protocol_with(given: Limits) -> type[asyncio.Protocol]:
    """Return the protocol with the times of a server."""

    class LimitedProtocol(Protocol):
        """A connection of this server."""

        limits = given

    return LimitedProtocol
