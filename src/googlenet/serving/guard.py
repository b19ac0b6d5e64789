"""What stands before every route, in raw ASGI: who may ask, how large and how slow a body may be, headers of answers.

Nothing of a body is parsed, and no route is looked up, before a request has passed. A body is counted as it comes, with
or without a Content-Length.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from googlenet.page import SCRIPTS
from googlenet.serving.limits import Limits
from googlenet.serving.refusal import Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PUBLIC = (
    "/", "/page.css", *(f"/{name}" for name in SCRIPTS), "/asking.js", "/icon.svg",
    "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready",
)  # fmt: skip
SHORT_BODY = 1_000_000  # bytes that are skipped rather than the connection closed
DISCARDED_BYTES, DISCARD_SECONDS = 100_000_000, 2.0
LEFT = 499  # the status of a request whose client has left: nobody sees it
READING = ("GET", "HEAD", "OPTIONS")
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
SECURITY_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"permissions-policy": b"camera=(self), microphone=(), geolocation=()",
    b"cache-control": b"no-store",
}


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        hosts: names of this server, in lower case. ``localhost`` and addresses of numbers are always allowed: a page of
            somebody else can make a browser ask them, but not under a name that it has bound to them.
        token: without it only the page and the health routes answer; ``None``: no token is asked for.
    """

    hosts: Collection[str] = ()
    token: str | None = field(default=None, repr=False)

    def check(self, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        """Raise :class:`Refusal` unless the request may pass."""
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_ours(host):
            raise Refusal(
                421, "wrong_host", f"this server is not called {host[:80]!r}: start it with --allow-host NAME"
            )
        if method not in READING:
            _check_origin(host, headers)
        if self.token is not None and path not in PUBLIC:
            given = headers.get(b"authorization", b"")
            scheme, _, token = given.partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self.token.encode()):
                advice = "send the header Authorization: Bearer TOKEN"
                raise Refusal(401, "no_token", f"a token is needed: {advice}", {"WWW-Authenticate": "Bearer"})

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _check_origin(host: str, headers: dict[bytes, bytes]) -> None:
    """Refuse what a page of another site makes a browser send. Programs send neither header."""
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
    foreign = origin is not None and urlsplit(origin.decode("latin-1")).netloc.lower() != host.lower()
    if foreign or site not in (None, b"same-origin", b"none"):
        raise Refusal(403, "cross_site", "this request comes from a page of another site: open this server's own page")


class Guard:
    """Wraps the application. While ``is_closing`` is set, connections are closed after their answer.

    Args:
        app: what answers.
        access: who may ask.
        limits: how large and how slow a body may be.
        watch: called with (method, path, status) of every answer.
        enter: called with the path and the announced bytes of every POST; may raise :class:`Refusal`.
    """

    def __init__(
        self,
        app: App,
        access: Access,
        limits: Limits,
        watch: Callable[[str, str, int], object] = lambda *_: None,
        enter: Callable[[str, int], object] = lambda *_: None,
    ) -> None:
        self._app, self._access, self._limits, self._watch, self._enter = app, access, limits, watch, enter
        self.is_closing = False

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        body = _Body(receive, self._limits)
        answer = _Answer(send, body, lambda: self.is_closing)
        try:
            headers = dict(scope["headers"])
            body.check(headers, scope["headers"])
            self._access.check(scope["method"], scope["path"], headers)
            if scope["method"] == "POST":
                self._enter(scope["path"], int(headers.get(b"content-length", b"0")))
            await self._app(scope, body.receive, answer.send)
        except Refusal as refusal:
            if not answer.status:
                await _refuse(scope["path"], refusal, answer.send)
        finally:
            self._watch(scope["method"], scope["path"], answer.status)


class _Body:
    """Counts the bytes of a body, and the time that it takes."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._size, self._until = 0, time.monotonic() + limits.body_seconds
        self.ended = self._is_read = self._rest_is_short = False

    def check(self, headers: dict[bytes, bytes], pairs: Collection[tuple[bytes, bytes]]) -> None:
        """Raise :class:`Refusal` where the headers alone say that the body is too large, or compressed."""
        if any(value.lower() not in (b"", b"identity") for name, value in pairs if name == b"content-encoding"):
            raise Refusal(415, "compressed", "the body is compressed: send it as it is, images are compressed already")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18 or int(length) > self._limits.body:
            raise self._too_large()
        is_chunked = b"transfer-encoding" in headers
        self.ended = length == b"0" and not is_chunked
        self._rest_is_short = not is_chunked and int(length) <= SHORT_BODY

    @property
    def is_short(self) -> bool:
        """Whether it was read, or what is left is so short that it can be skipped before the next request."""
        return self.ended or self._rest_is_short

    async def discard(self) -> None:
        """Read on for a moment: a client that still sends when its connection is closed does not see the answer."""
        left, until = DISCARDED_BYTES, time.monotonic() + DISCARD_SECONDS
        while not self.ended and left > 0 and time.monotonic() < until:
            try:
                message = await asyncio.wait_for(self._receive(), DISCARD_SECONDS)
            except asyncio.TimeoutError:
                return
            left -= len(message.get("body", b""))
            self.ended = not message.get("more_body", False)

    def _too_large(self) -> Refusal:
        most = self._limits.body / 1e6
        return Refusal(413, "too_large", f"the body is too large: {most:g} MB are allowed, send fewer images at a time")

    async def receive(self) -> Message:
        """Return the next part. Raises :class:`Refusal` where there is too much, or it comes too slowly."""
        if self._is_read:
            return await self._receive()  # until the client leaves
        left = min(self._until - time.monotonic(), self._limits.idle_seconds)
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except asyncio.TimeoutError as error:
            self._rest_is_short = False
            raise Refusal(408, "too_slow", "the body came too slowly: send smaller images, or fewer") from error
        if message["type"] == "http.disconnect":
            raise Refusal(LEFT, "left", "the client left before the body had come")
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self.ended = self._is_read = not message.get("more_body", False)
            if self._size > self._limits.body:
                self.ended = self._rest_is_short = False
                raise self._too_large()
        return message


class _Answer:
    """Adds headers to an answer, and closes the connection where the body before it is not read."""

    def __init__(self, send: Send, body: _Body, is_closing: Callable[[], bool]) -> None:
        self._send, self._body, self._is_closing = send, body, is_closing
        self.status = 0

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {name.lower() for name, _ in message.get("headers", [])}
            more = [pair for pair in SECURITY_HEADERS.items() if pair[0] not in own]
            if not self._body.is_short:
                await self._body.discard()
            if self._is_closing() or not self._body.is_short:
                more.append((b"connection", b"close"))
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await self._send(message)


async def _refuse(path: str, refusal: Refusal, send: Send) -> None:
    said = {"error": refusal.message} if path.startswith("/v2") else refusal.to_dict()
    content = json.dumps(said).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
