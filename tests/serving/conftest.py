"""A server in this process for all tests of a worker, and images to send it."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet.serving.limits import Limits
from googlenet.serving.server import Server, Settings, address_of, bind, make_server
from tests.reporting.browser import browser  # noqa: F401


@dataclass(frozen=True)
class Running:
    """A server and where it is; ``client`` asks it."""

    server: Server
    url: str
    client: httpx.Client
    told: list[str]


class Reports(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[Running]:
    """Serve in a thread, on a free port; at the end it has stopped by itself, and asyncio had no error to report.

    A server that printed a traceback for each request would stop as soon as nobody reads what it prints.
    """
    told: list[str] = []
    reports = Reports()
    logging.getLogger("asyncio").addHandler(reports)
    settings = replace(settings, port=0)
    listening = bind(settings.host, 0)
    server = make_server(settings, told.append)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    url = address_of(listening)
    headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
    with httpx.Client(base_url=url, headers=headers, timeout=20) as client:
        try:
            yield Running(server, url, client, told)
        finally:
            server.stop()
            thread.join(20)
            server.service.close()
            logging.getLogger("asyncio").removeHandler(reports)
    assert not thread.is_alive()
    assert not reports.found


@pytest.fixture(scope="session")
def served(trained_run: Path) -> Iterator[Running]:
    limits = Limits(body=2_000_000, images=16)
    with running(Settings({"colours": trained_run}, hosts=("me.example",), limits=limits)) as found:
        yield found


@pytest.fixture(scope="session")
def classifier(trained_run: Path) -> googlenet.Classifier:
    return googlenet.load(trained_run)


@pytest.fixture(scope="session")
def images() -> list[bytes]:
    """Encoded images of several formats and sizes, no two alike."""
    random = np.random.default_rng(1)
    made = []
    for number in range(24):
        pixels = random.integers(0, 256, (30 + number, 50 - number, 3)).astype(np.uint8)
        pixels[:, :, number % 3] //= 3
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, ("PNG", "JPEG", "WEBP")[number % 3])
        made.append(content.getvalue())
    return made
