"""The process that serves: one Uvicorn, its signals, and how it stops without losing what it has accepted."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from googlenet.errors import MachineError
from googlenet.parallel import cores
from googlenet.serving.app import create_app, route_of
from googlenet.serving.asking import Asking
from googlenet.serving.guard import Access, Guard
from googlenet.serving.keeping import Keeper
from googlenet.serving.limits import Limits
from googlenet.serving.metrics import Metrics
from googlenet.serving.models import Models
from googlenet.serving.protocol import protocol_with
from googlenet.serving.service import Service
from googlenet.stages import stage
from googlenet.text import printable

CLOSING_SECONDS = 1.0  # in which connections that are in use are closed after an answer, not before one
UNREAD_SECONDS = 0.5  # more, at most, for requests that have arrived while the machine had no time to read them
POLL_SECONDS = 0.02
CORES_PER_WORKER = 2  # a lone image is answered sooner than by one core, and many as fast
BACKLOG = 2048
SWITCH_SECONDS = 0.001  # after which a thread that computes lets go of Python's lock, for whoever must be told to wait
MAX_HEADER_BYTES = 32_768
M_MMAP_THRESHOLD, LARGE_BLOCK = -3, 1 << 20  # of glibc's mallopt
SETTLE_SECONDS = 1.0  # after loading: not before the first answer

logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())  # what it says of bad requests helps nobody


@dataclass(frozen=True)
class Settings:
    """How a server is set up.

    Attributes:
        paths: runs or bundles by the names that requests call them.
        host, port: where it listens; port 0 takes a free one.
        precision: as for :func:`googlenet.load`.
        hosts: further names of this server.
        token: what requests must know; ``None``: nothing.
        keep: a folder for images that people judged; ``None``: none is kept.
        limits: what is let in.
    """

    paths: Mapping[str, Path]
    host: str = "127.0.0.1"
    port: int = 8000
    precision: str | None = None
    hosts: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)
    keep: Path | None = None
    limits: Limits = field(default_factory=Limits)


class Server(uvicorn.Server):
    """A server that SIGTERM and Ctrl-C drain, and SIGHUP makes reload its models."""

    def __init__(self, config: uvicorn.Config, guard: Guard, service: Service, tell: Callable[[str], object]) -> None:
        super().__init__(config)
        self._guard, self.service, self._tell = guard, service, tell

    def stop(self) -> None:
        """Take no more requests, answer those that were accepted, then end."""
        self.service.is_ready, self._guard.is_closing, self.should_exit = False, True, True

    def reload(self) -> None:
        """Load models that have changed, in a thread, and say what became of them."""
        threading.Thread(target=self._reload, daemon=True).start()

    def _reload(self) -> None:
        for name, what in self.service.models.reload().items():
            self._tell(f"{name}: {what}")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say where."""
        await super().startup(sockets)
        names = ", ".join(model.name for model in self.service.models)
        self._tell(f"serving {names} at {address_of((sockets or [])[0])} (Ctrl-C ends it)")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen no more; let connections that are in use end with an answer; then close the others."""
        backlogs = [each.dup() for each in sockets or []]  # closing a socket resets the connections that wait at it
        for server in self.servers:
            server.close()
        for backlog in backlogs:
            with contextlib.closing(backlog):
                await self._accept_waiting(backlog)
        loop = asyncio.get_running_loop()
        end = loop.time() + CLOSING_SECONDS
        while self.server_state.connections and loop.time() < end:
            await asyncio.sleep(POLL_SECONDS)
        end += UNREAD_SECONDS
        while self._has_unread() and loop.time() < end:
            await asyncio.sleep(POLL_SECONDS)
        await super().shutdown(sockets)

    async def _accept_waiting(self, listening: socket.socket) -> None:
        listening.setblocking(False)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # BlockingIOError: none waits any more
            for _ in range(BACKLOG):
                connection, _ = listening.accept()
                await loop.connect_accepted_socket(self._protocol, connection)

    def _has_unread(self) -> bool:
        """Whether something has arrived that was not read yet: closing its connection now would lose it."""
        with selectors.DefaultSelector() as selector:
            for each in self.server_state.connections:
                selector.register(each.transport.get_extra_info("socket"), selectors.EVENT_READ)
            return bool(selector.select(0))

    def _protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while it serves."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers: dict[int, Any] = {number: lambda *_: self.stop() for number in (signal.SIGINT, signal.SIGTERM)}
        if hasattr(signal, "SIGHUP"):
            closed = sys.stderr.isatty()  # then it says that the terminal was closed
            handlers[signal.SIGHUP] = lambda *_: self.stop() if closed else self.reload()
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def bind(host: str, port: int) -> socket.socket:
    """Listen at an address. Raises :class:`MachineError` if that cannot be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # Without a protocol asyncio would leave Nagle's algorithm on: answers would wait 40 ms for acknowledgements.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        why = error.strerror or error
        raise MachineError(f"{printable(host)}:{port} cannot be listened at: {why}; choose another --port") from error
    return listening


def address_of(listening: socket.socket) -> str:
    """Return the address of a server as a browser takes it."""
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def make_server(settings: Settings, tell: Callable[[str], object]) -> Server:
    """Load the models and make a server of them.

    Raises :class:`BundleError` if one is damaged or does not reproduce its golden answers, :class:`DeviceError` for a
    precision that this machine lacks, :class:`RunError` if the folder to keep images in cannot be written.
    """
    keeper = Keeper(settings.keep) if settings.keep else None
    limits = settings.limits
    workers = max(cores() // CORES_PER_WORKER, 1)
    service = Service(Models(settings.paths, settings.precision, workers), limits)
    metrics = Metrics(service)
    asking = Asking(service, metrics)
    app = create_app(asking, keeper)
    app.state.asks_for_token = settings.token is not None
    hosts = {name.lower() for name in (*settings.hosts, settings.host)}
    guard = Guard(
        app, Access(hosts, settings.token), limits,
        lambda _, path, status: metrics.requests.labels(route_of(path), str(status)).inc(), asking.check,
    )  # fmt: skip
    config = uvicorn.Config(
        guard, http=protocol_with(limits), ws="none", lifespan="off", log_config=None, access_log=False, loop="asyncio",
        timeout_keep_alive=int(limits.idle_seconds), timeout_graceful_shutdown=int(limits.drain_seconds),
        server_header=False, proxy_headers=False, h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )  # fmt: skip
    return Server(config, guard, service, tell)


def serve_models(settings: Settings, tell: Callable[[str], object]) -> None:
    """Serve until SIGTERM or Ctrl-C. ``tell`` is called with a line when the server is ready, and on each reload.

    Raises as :func:`make_server` and :func:`bind` do.
    """
    _return_large_blocks()
    with contextlib.closing(bind(settings.host, settings.port)) as listening:
        with stage(f"loading {', '.join(settings.paths)}"):
            server = make_server(settings, tell)
        settling = threading.Timer(SETTLE_SECONDS, _settle)
        settling.daemon = True
        settling.start()
        sys.setswitchinterval(SWITCH_SECONDS)
        server.run(sockets=[listening])
        server.service.close()


def _return_large_blocks() -> None:
    """Make glibc return blocks of a megabyte at once: after the first one it would keep what is as large as that."""
    with contextlib.suppress(AttributeError, OSError):  # another libc
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def _settle() -> None:
    """Give what loading has freed to the system, which glibc would keep, and never look at what it left for garbage.

    A full collection would look at every object of every module, and stop all threads meanwhile.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(AttributeError, OSError):  # another libc
        ctypes.CDLL(None).malloc_trim(0)
