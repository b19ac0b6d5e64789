"""Starts servers as processes, and asks them over HTTP as often as is wanted: what benchmarks of servers share.

Clients are asyncio streams in this process, the server is another one; both share the cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SEND_BYTES = 1 << 18  # of a connection's buffer: more than most images have


@dataclass
class Server:
    """A process that serves. ``lines`` are those that it writes to stderr: read as they come, so that it never waits.

    ``began`` is when it was started, by ``time.perf_counter``.
    """

    process: subprocess.Popen[str]
    began: float
    host: str = "127.0.0.1"
    port: int = 0
    lines: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.put(line)
        self.lines.put("")

    def line(self, seconds: float = 300) -> str:
        """Return the next line; empty at the end."""
        return self.lines.get(timeout=seconds)

    def megabytes(self, what: str = "VmRSS") -> float:
        """Memory in MB of the process and its children; ``VmHWM`` is the highest so far."""
        return sum(_kilobytes(pid, what) for pid in _family(self.process.pid)) * 1024 / 1e6

    def cpu_seconds(self) -> float:
        """Processor time so far, of the process and its children."""
        return sum(_ticks(pid) for pid in _family(self.process.pid)) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{each}/task/{each}/children").read_text().split())
    return found


def _kilobytes(pid: int, what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


@contextlib.contextmanager
def started(command: list[object], environment: dict[str, str] | None = None) -> Iterator[Server]:
    """Start a server; kill it and its children at the end, if they still run."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [str(each) for each in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    try:
        yield Server(process, began)
    finally:
        for pid in reversed(_family(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def served(run: Path, *options: object) -> Iterator[Server]:
    """Start ``googlenet serve`` on a free port, and wait until it serves."""
    with started([sys.executable, "-m", "googlenet", "serve", run, "--port", 0, *options]) as server:
        while not (found := re.search(r"http://([\d.]+):(\d+)", line := server.line())):
            if not line:
                raise SystemExit("the server ended")
        server.host, server.port = found[1], int(found[2])
        yield server


@dataclass
class Answer:
    """What came back: the status (0: the connection was lost, -1: nobody listened), how long it took, the body."""

    status: int
    seconds: float
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class Client:
    """Asks a server over connections that are kept open.

    ``path`` is where images go, ``kind`` their Content-Type. If a connection that was used before turns out to be
    closed, the request is sent again over a new one where ``again`` is set, as HTTP clients do.
    """

    server: Server
    path: str = "/v1/classify"
    kind: str = "application/octet-stream"
    again: bool = True
    free: list[Any] = field(default_factory=list)

    async def ask(
        self, content: bytes | None = None, path: str | None = None, seconds: float = 60, kind: str | None = None
    ) -> Answer:
        """Send a request: POST if there is content."""
        began = time.perf_counter()
        while self.free and self.free[-1][0].at_eof():  # the server has closed it
            self.free.pop()[1].close()
        was_used = bool(self.free)
        try:
            reader, writer = self.free.pop() if was_used else await self.connect()
        except OSError:
            return Answer(-1, time.perf_counter() - began)
        try:
            writer.write(request(content, path or self.path, kind or self.kind, self.server.host))
            status, headers, body = await asyncio.wait_for(_answer(reader), seconds)
        except asyncio.TimeoutError:
            writer.close()
            return Answer(0, time.perf_counter() - began)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            if was_used and self.again:
                return await self.ask(content, path, seconds, kind)
            return Answer(0, time.perf_counter() - began)
        except asyncio.CancelledError:  # the client leaves
            writer.transport.abort()
            raise
        if b"connection: close" in headers:
            writer.close()
        else:
            self.free.append((reader, writer))
        return Answer(status, time.perf_counter() - began, body)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        return await asyncio.open_connection(self.server.host, self.server.port)

    async def send_raw(self, sent: bytes, seconds: float = 10) -> Answer:
        """Send bytes over a connection of their own, and return the answer."""
        began = time.perf_counter()
        reader, writer = await self.connect()
        try:
            writer.write(sent)
            status, _, body = await asyncio.wait_for(_answer(reader), seconds)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            return Answer(0, time.perf_counter() - began)
        finally:
            writer.close()
        return Answer(status, time.perf_counter() - began, body)

    async def figure(self, name: str) -> float:
        """One of the server's figures."""
        text = (await self.ask(path="/metrics")).body.decode()
        return float(re.search(rf"^{name} (\S+)", text, re.MULTILINE)[1])  # type: ignore[index]


def request(content: bytes | None, path: str, kind: str = "application/octet-stream", host: str = "localhost") -> bytes:
    """The bytes of a request: POST if there is content."""
    method, body = ("GET", b"") if content is None else ("POST", content)
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


BOUNDARY = "0f7a"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(images: Iterable[bytes]) -> bytes:
    """The body of a form with images."""
    head = b'Content-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    between = f"--{BOUNDARY}\r\n".encode()
    return b"".join(between + head + each + b"\r\n" for each in images) + f"--{BOUNDARY}--\r\n".encode()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    headers = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = re.search(rb"content-length: (\d+)", headers)
    return int(headers[9:12]), headers, await reader.readexactly(int(length[1]) if length else 0)


async def closed_loop(client: Client, contents: Iterable[bytes], clients: int) -> list[Answer]:
    """Ask with a number of clients, each of which waits for its answer."""
    found: list[Answer] = []
    waiting = iter(contents)

    async def one() -> None:
        for content in waiting:
            found.append(await client.ask(content))

    await asyncio.gather(*(one() for _ in range(clients)))
    return found


class _Line(asyncio.Protocol):
    """One connection of :class:`OpenLoop`: a request at a time."""

    def __init__(self, load: OpenLoop) -> None:
        self._load, self._got = load, b""
        self._waits: tuple[float, bytes] | None = None
        self._was_used = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the system take a whole request at once."""
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)

    def send(self, due: float, sent: bytes) -> None:
        """Send a request that was due at a time."""
        self._waits, self._got = (due, sent), b""
        self._transport.write(sent)

    def data_received(self, data: bytes) -> None:
        """Note the answer once it is complete."""
        self._got += data
        head, separator, body = self._got.partition(b"\r\n\r\n")
        length = re.search(rb"\ncontent-length: *(\d+)", head.lower())
        if not separator or self._waits is None or len(body) < (int(length[1]) if length else 0):
            return
        (due, _), self._waits, self._was_used = self._waits, None, True
        self._load.answered(int(head[9:12]), due, body)
        if b"\nconnection: close" in head.lower():
            self._transport.close()
        else:
            self._load.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Send a request again where the connection had been used before, as HTTP clients do."""
        if self in self._load.free:
            self._load.free.remove(self)
        if self._waits is None:
            return
        if self._was_used and not self._got:
            self._load.send(*self._waits)
        else:
            self._load.answered(0, self._waits[0])

    def abort(self) -> None:
        """Wait no longer."""
        waits, self._waits = self._waits, None
        if waits is not None:
            self._load.answered(0, waits[0])
        self._transport.abort()


class OpenLoop:
    """Sends requests when they are due, whatever became of those before.

    An answer's time counts from then, so that it includes what a request waited for this process. Requests are prepared
    beforehand, and no task is made for each, so that the server has the cores.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.free: list[_Line] = []
        self._answers: list[Answer] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._lines: list[_Line] = []

    def send(self, due: float, sent: bytes) -> None:
        """Send a request on a connection that is free, or a new one."""
        if self.free:
            self.free.pop().send(due, sent)
        else:
            task = asyncio.ensure_future(self._open(due, sent))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, due: float, sent: bytes) -> None:
        server = self._client.server
        try:
            _, line = await asyncio.get_running_loop().create_connection(lambda: _Line(self), server.host, server.port)
        except OSError:
            self.answered(-1, due)
        else:
            self._lines.append(line)
            line.send(due, sent)

    def answered(self, status: int, due: float, body: bytes = b"") -> None:
        """Note an answer."""
        self._answers.append(Answer(status, time.perf_counter() - due, body))

    async def ask(self, images: list[bytes], rate: float, seconds: float) -> list[Answer]:
        """Ask at random times, ``rate`` a second; wait a minute at most for the last answers."""
        client = self._client
        sent = [request(image, client.path, client.kind, client.server.host) for image in images]
        times = np.cumsum(np.random.default_rng(0).exponential(1 / rate, int(rate * seconds)))
        began = time.perf_counter()
        for number, at in enumerate(times.tolist()):
            wait = began + at - time.perf_counter()
            if wait > 0 or number % 20 == 0:
                await asyncio.sleep(max(wait, 0))
            self.send(began + at, sent[number % len(sent)])
        until = time.perf_counter() + 60
        while len(self._answers) < len(times) and time.perf_counter() < until:
            await asyncio.sleep(0.01)
        for line in self._lines:
            line.abort()
        await asyncio.sleep(0.01)
        return self._answers


async def open_loop(client: Client, images: list[bytes], rate: float, seconds: float) -> list[Answer]:
    """Ask at random times, ``rate`` a second, whatever became of the requests before."""
    return await OpenLoop(client).ask(images, rate, seconds)


def percentile(answers: list[Answer], share: float) -> float:
    """A percentile of what answers took, in milliseconds."""
    seconds = [each.seconds for each in answers]
    return round(1000 * float(np.percentile(seconds, share)), 2) if seconds else float("nan")


def times(answers: list[Answer]) -> dict[str, float]:
    """The median and the 99th percentile in milliseconds."""
    return {"p50_ms": percentile(answers, 50), "p99_ms": percentile(answers, 99)}


def statuses(answers: Iterable[Answer]) -> dict[int, int]:
    """How often each status came."""
    found: dict[int, int] = {}
    for each in answers:
        found[each.status] = found.get(each.status, 0) + 1
    return dict(sorted(found.items()))


def within(images: list[bytes], seconds: float) -> Iterator[bytes]:
    """Images again and again, until a time has passed."""
    until, number = time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        yield images[number % len(images)]
        number += 1
