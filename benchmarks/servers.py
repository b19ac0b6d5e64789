"""Serving beside LitServe and MLServer: the same bundle, engine, precision and images; the machine should be idle.

    pip install litserve               # in an environment of its own that also has googlenet
    pip install mlserver 'uvloop<0.22' # in another one: it needs an older FastAPI
    python benchmarks/servers.py runs/flowers photos --litserve lit/bin/python --mlserver ml/bin/python

Each decodes as this project does, computes up to four images at a time, and has as many threads or processes as cores.
Every row is measured with all servers in turn. Figures are printed as JSON lines.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asking import Answer, Client, Server, closed_loop, open_loop, served, started, statuses, times, within

import googlenet

HERE = Path(__file__).parent
START_SECONDS = 100
LATE = 1.0  # seconds: what comes later is not counted as answered under load
Row = Callable[["Subject", argparse.Namespace], dict[str, Any]]
ROWS: dict[str, Row] = {}


def row(function: Row) -> Row:
    """Name a row."""
    ROWS[function.__name__] = function
    return function


def free_port() -> int:
    """Return a port that nobody listens at, nor at the two after it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


@dataclass
class Subject:
    """A server to measure: how it is started, how it is asked, what it said."""

    run: Path
    images: list[bytes]
    python: str = ""
    path: str = "/v1/classify"
    kind: str = "application/octet-stream"
    queue: int = 256
    counted: Path = field(default_factory=lambda: Path(tempfile.mkdtemp()) / "counted")

    @contextlib.contextmanager
    def server(self) -> Iterator[Server]:
        """Start it, and wait until it answers."""
        with served(self.run, "--queue", self.queue) as server:
            yield server

    def client(self, server: Server) -> Client:
        """Return what asks it."""
        return Client(server, self.path, self.kind)

    def wrap(self, content: bytes) -> bytes:
        """Return the body of a request with an image."""
        return content

    def said(self, answer: Answer) -> tuple[str, float]:
        """Return the label and the probability that it answered."""
        (result,) = answer.json["results"]
        return result["label"], result["probability"]

    async def computed(self, client: Client) -> int:
        """Return how many images were computed so far."""
        return int(await client.figure("googlenet_computed"))

    def wrapped(self) -> list[bytes]:
        """All images as bodies of requests."""
        return [self.wrap(each) for each in self.images]


@dataclass
class Other(Subject):
    """A server that is not ours."""

    workers: int = 2

    async def computed(self, client: Client) -> int:
        """Count the bytes that the classifier has written."""
        return self.counted.stat().st_size if self.counted.exists() else 0

    def _until_it_answers(self, server: Server) -> None:
        body, until = self.wrap(self.images[0]), time.perf_counter() + START_SECONDS
        while (answer := asyncio.run(self.client(server).ask(body, seconds=20))).status != 200:
            if server.process.poll() is not None or time.perf_counter() > until:
                raise SystemExit(f"it does not answer: {answer}")
            time.sleep(0.05)


@dataclass
class LitServe(Other):
    """LitServe: https://github.com/Lightning-AI/LitServe."""

    path: str = "/predict"
    kind: str = "application/json"

    @contextlib.contextmanager
    def server(self) -> Iterator[Server]:
        """Start it, and wait until it answers."""
        port = free_port()
        with started([self.python, HERE / "with_litserve.py", self.run, port, self.counted, self.workers]) as server:
            server.port = port
            self._until_it_answers(server)
            yield server

    def wrap(self, content: bytes) -> bytes:
        """Return JSON."""
        return json.dumps({"image": base64.b64encode(content).decode()}).encode()

    def said(self, answer: Answer) -> tuple[str, float]:
        """Return the label and the probability."""
        return answer.json["label"], answer.json["probability"]


@dataclass
class MLServer(Other):
    """MLServer: https://github.com/SeldonIO/MLServer."""

    path: str = "/v2/models/images/infer"
    kind: str = "application/json"

    @contextlib.contextmanager
    def server(self) -> Iterator[Server]:
        """Start it, and wait until it answers."""
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            settings = [Path(folder), self.run.absolute(), port, self.counted, self.workers]
            write = "import sys, with_mlserver as w; from pathlib import Path; a = sys.argv[1:];"
            write += "w.write_settings(Path(a[0]), Path(a[1]), int(a[2]), Path(a[3]), int(a[4]))"
            with started([self.python, "-c", write, *settings], self._environment()) as writing:
                writing.process.wait()
            command = [self.python, "-c", "from mlserver.cli import main; main()", "start", folder]
            with started(command, self._environment()) as server:
                server.port = port
                self._until_it_answers(server)
                yield server

    def _environment(self) -> dict[str, str]:
        return {"PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}"}

    def wrap(self, content: bytes) -> bytes:
        """Return an inference request."""
        data = [base64.b64encode(content).decode()]
        tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": data,
                  "parameters": {"content_type": "base64"}}  # fmt: skip
        return json.dumps({"inputs": [tensor]}).encode()

    def said(self, answer: Answer) -> tuple[str, float]:
        """Return the label and the probability."""
        found = {each["name"]: each["data"][0] for each in answer.json["outputs"]}
        return found["label"], found["probability"]


@row
def idle(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds to the first answer, memory of all processes, processor time with nothing to do."""
    body = subject.wrap(subject.images[0])
    with subject.server() as server:
        assert asyncio.run(subject.client(server).ask(body)).status == 200
        took = time.perf_counter() - server.began
        time.sleep(10)  # by now all workers are there
        megabytes = server.megabytes()
        before = server.cpu_seconds()
        time.sleep(3)
        share = (server.cpu_seconds() - before) / 3
    return {"first_answer_s": round(took, 2), "rss_mb": round(megabytes), "core_percent": round(100 * share, 2)}


@row
def steady(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """16 clients with one image a request."""

    async def ask(server: Server) -> dict[str, Any]:
        client, bodies = subject.client(server), subject.wrapped()
        await closed_loop(client, within(bodies, 1), 16)
        begun = time.perf_counter()
        found = await closed_loop(client, within(bodies, options.seconds), 16)
        rate = len(found) / (time.perf_counter() - begun)
        return {"images_per_s": round(rate, 1), **times(found), "statuses": statuses(found)}

    with subject.server() as server:
        return asyncio.run(ask(server))


@row
def distinct(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """Different images at the same time: answers that are not those of ``predict``, in any bit of the probability."""
    classifier = googlenet.load(subject.run)
    offline = [(each.label, each.probability) for each in map(classifier.predict, subject.images)]

    async def ask(server: Server) -> int:
        client, numbers, wrong = subject.client(server), iter(range(options.count)), 0

        async def one() -> None:
            nonlocal wrong
            for number in numbers:
                place = number % len(offline)
                answer = await client.ask(subject.wrap(subject.images[place]))
                wrong += answer.status != 200 or subject.said(answer) != offline[place]

        await asyncio.gather(*(one() for _ in range(16)))
        return wrong

    with subject.server() as server:
        return {"requests": options.count, "not_the_offline_answer": asyncio.run(ask(server))}


@row
def innocent(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """A bad image after every third good one, at the same time: good ones that failed."""

    async def ask(server: Server) -> dict[str, Any]:
        client, numbers, found = subject.client(server), iter(range(options.count)), {True: [], False: []}

        async def one() -> None:
            for number in numbers:
                content = subject.images[number % len(subject.images)]
                is_good = number % 4 != 3
                body = subject.wrap(content if is_good else content[: len(content) // 2])
                found[is_good].append(await client.ask(body))

        await asyncio.gather(*(one() for _ in range(16)))
        return {"good": len(found[True]), "innocent_failures": sum(each.status != 200 for each in found[True]),
                "bad": statuses(found[False])}  # fmt: skip

    with subject.server() as server:
        return asyncio.run(ask(server))


@row
def overload(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """Three times as many requests as can be answered, at random times."""

    async def ask(server: Server) -> dict[str, Any]:
        client, bodies = subject.client(server), subject.wrapped()
        await closed_loop(client, within(bodies, 1), 16)
        memory = server.megabytes()
        found = await open_loop(client, bodies, options.rate, options.seconds)
        good = [each for each in found if each.status == 200]
        soon = [each for each in good if each.seconds <= LATE]
        refused = [each for each in found if each.status == 503]
        return {"sent": len(found), "answered_within_1_s": round(len(soon) / options.seconds, 1), **times(good),
                "statuses": statuses(found), "refused_p99_ms": times(refused)["p99_ms"],
                "grown_mb": round(server.megabytes() - memory)}  # fmt: skip

    with subject.server() as server:
        return asyncio.run(ask(server))


@row
def abandoned(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """Clients that leave while 100 others wait: how many of their images were computed nevertheless."""

    async def ask(server: Server) -> dict[str, Any]:
        client, bodies = subject.client(server), subject.wrapped()
        await client.ask(bodies[0])
        before = await subject.computed(client)
        staying = [asyncio.ensure_future(client.ask(bodies[n % len(bodies)])) for n in range(100)]
        await asyncio.sleep(0.3)
        leaving = [asyncio.ensure_future(client.ask(bodies[n % len(bodies)])) for n in range(100)]
        await asyncio.sleep(0.1)
        in_time = not any(each.done() for each in leaving)
        for each in leaving:
            each.cancel()
        stayed = await asyncio.gather(*staying)
        await asyncio.sleep(3)
        computed = await subject.computed(client) - before - sum(each.status == 200 for each in stayed)
        return {"left": len(leaving), "in_time": in_time, "stayed": statuses(stayed), "computed_of_those": computed}

    with subject.server() as server:
        return asyncio.run(ask(server))


def main() -> None:
    """Print the rows of each server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--litserve", metavar="PYTHON", help="that has litserve")
    parser.add_argument("--mlserver", metavar="PYTHON", help="that has mlserver")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seconds", type=float, default=6, help="of each measurement")
    parser.add_argument("--count", type=int, default=400, help="of requests, where they are counted")
    parser.add_argument("--queue", type=int, default=256, help="of googlenet: images that wait, as serve takes it")
    parser.add_argument("--rate", type=float, default=200, help="of requests per second, as overload")
    options = parser.parse_args()
    files = sorted(path for path in options.images.rglob("*") if path.is_file())[:200]
    images = [path.read_bytes() for path in files]
    subjects: dict[str, Subject] = {"googlenet": Subject(options.run, images, queue=options.queue)}
    if options.litserve:
        subjects["litserve"] = LitServe(options.run, images, options.litserve)
    if options.mlserver:
        subjects["mlserver"] = MLServer(options.run, images, options.mlserver)
    for name in options.rows:
        for who, subject in subjects.items():
            print(json.dumps({name: {"server": who, **ROWS[name](subject, options)}}), flush=True)


if __name__ == "__main__":
    main()
