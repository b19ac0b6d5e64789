"""What a server does under faults and load, each row by name; the machine should be idle.

    python benchmarks/serving.py runs/flowers photos idle steady load distinct innocent
    python benchmarks/serving.py runs/flowers photos abandoned slow hostile sigterm swap

Load is open-loop: requests arrive at times drawn beforehand (Poisson), whatever became of those before. Clients are
asyncio streams in this process, the server is another one; both share the cores. Figures are printed as JSON lines.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import googlenet
from googlenet import bundle as bundles
from googlenet.parallel import cores

Row = Callable[["Place", argparse.Namespace], dict[str, Any]]
ROWS: dict[str, Row] = {}


def row(function: Row) -> Row:
    """Name a row of the table."""
    ROWS[function.__name__] = function
    return function


# The server, and what asks it.


@dataclass
class Place:
    """A run to serve, and images to send."""

    run: Path
    images: list[bytes]

    @contextlib.contextmanager
    def server(self, *options: object) -> Iterator[Server]:
        """Start a server on a free port; kill it at the end."""
        command = [sys.executable, "-m", "googlenet", "serve", str(self.run), "--port", "0", *map(str, options)]
        began = time.perf_counter()
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        found = next(filter(None, (re.search(r"http://([\d.]+):(\d+)", line) for line in lines)))
        try:
            yield Server(process, found[1], int(found[2]), began)
        finally:
            process.kill()
            process.communicate()


@dataclass
class Server:
    """A process that serves."""

    process: subprocess.Popen[str]
    host: str
    port: int
    began: float

    def megabytes(self, what: str = "VmRSS") -> float:
        """Memory in MB; ``VmHWM`` is the highest so far."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", text)[1]) * 1024 / 1e6  # type: ignore[index]

    def cpu_seconds(self) -> float:
        """Processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Answer:
    """What came back: the status (0: the connection was lost, -1: nobody listened), how long it took, the body."""

    status: int
    seconds: float
    body: bytes = b""
    headers: bytes = b""

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class Client:
    """Asks a server over connections that are kept open."""

    server: Server
    free: list[Any] = field(default_factory=list)

    async def ask(self, content: bytes | None = None, path: str = "/v1/classify", seconds: float = 60) -> Answer:
        """Send a request: POST if there is content."""
        began = time.perf_counter()
        while self.free and self.free[-1][0].at_eof():  # the server has closed it
            self.free.pop()[1].close()
        try:
            reader, writer = self.free.pop() if self.free else await self.connect()
        except OSError:
            return Answer(-1, time.perf_counter() - began)
        try:
            method = "GET" if content is None else "POST"
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: {self.server.host}\r\nContent-Length: {len(content or b'')}\r\n\r\n"
            )
            writer.write(head.encode() + (content or b""))
            status, headers, body = await asyncio.wait_for(_answer(reader), seconds)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            writer.close()
            return Answer(0, time.perf_counter() - began)
        if b"connection: close" in headers:
            writer.close()
        else:
            self.free.append((reader, writer))
        return Answer(status, time.perf_counter() - began, body, headers)

    async def connect(self) -> Any:
        """Open a connection."""
        return await asyncio.open_connection(self.server.host, self.server.port)

    async def figure(self, name: str) -> float:
        """One of the server's figures."""
        text = (await self.ask(path="/metrics")).body.decode()
        return float(re.search(rf"^{name} (\S+)", text, re.MULTILINE)[1])  # type: ignore[index]


def request(content: bytes | None, path: str = "/v1/classify") -> bytes:
    """The bytes of a request: POST if there is content."""
    method, body = ("GET", b"") if content is None else ("POST", content)
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    headers = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = re.search(rb"content-length: (\d+)", headers)
    return int(headers[9:12]), headers, await reader.readexactly(int(length[1]) if length else 0)


async def closed_loop(client: Client, contents: AsyncIterator[bytes] | Iterator[bytes], clients: int) -> list[Answer]:
    """Ask with a number of clients, each of which waits for its answer."""
    found: list[Answer] = []
    waiting = iter(contents)  # type: ignore[arg-type]

    async def one() -> None:
        for content in waiting:
            found.append(await client.ask(content))

    await asyncio.gather(*(one() for _ in range(clients)))
    return found


async def open_loop(client: Client, images: list[bytes], rate: float, seconds: float) -> list[Answer]:
    """Ask at random times, ``rate`` a second."""
    times = np.cumsum(np.random.default_rng(0).exponential(1 / rate, int(rate * seconds)))
    began, tasks = time.perf_counter(), []
    for number, at in enumerate(times):
        if (wait := began + at - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.ensure_future(client.ask(images[number % len(images)])))
        if number % 20 == 0:
            await asyncio.sleep(0)
    return list(await asyncio.gather(*tasks))


def percentile(seconds: list[float], share: float) -> float:
    """A percentile in milliseconds."""
    return round(1000 * float(np.percentile(seconds, share)), 2) if seconds else float("nan")


def times(answers: list[Answer]) -> dict[str, float]:
    """The median and the 99th percentile in milliseconds."""
    seconds = [each.seconds for each in answers]
    return {"p50_ms": percentile(seconds, 50), "p99_ms": percentile(seconds, 99)}


def within(images: list[bytes], seconds: float) -> Iterator[bytes]:
    """Images again and again, until a time has passed."""
    until, number = time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        yield images[number % len(images)]
        number += 1


def small(number: int, side: int = 64) -> bytes:
    """An image that no other number has."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(content, "PNG", compress_level=1)
    return content.getvalue()


# The rows.


@row
def idle(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from the start to the first answer, memory, and processor time with nothing to do."""

    async def first(server: Server) -> float:
        answer = await Client(server).ask(place.images[0])
        assert answer.status == 200
        return time.perf_counter() - server.began

    with place.server() as server:  # fills the cache of compiled graphs
        asyncio.run(first(server))
    with place.server() as server:
        took, megabytes = asyncio.run(first(server)), server.megabytes()
        time.sleep(1)
        before = server.cpu_seconds()
        time.sleep(options.seconds)
        share = (server.cpu_seconds() - before) / options.seconds
    return {"first_answer_s": round(took, 2), "rss_mb": round(megabytes), "core_percent": round(100 * share, 2)}


@row
def steady(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """16 clients with one image a request, beside the engine's own throughput with decoding."""
    classifier = googlenet.load(place.run)
    list(classifier.predict_many(place.images[:32]))
    began = time.perf_counter()
    alone = sum(1 for _ in classifier.predict_many(within(place.images, options.seconds)))
    alone_rate = alone / (time.perf_counter() - began)

    async def ask(server: Server) -> tuple[list[Answer], float]:
        client = Client(server)
        await closed_loop(client, within(place.images, 1), 16)
        begun = time.perf_counter()
        return await closed_loop(client, within(place.images, options.seconds), 16), time.perf_counter() - begun

    with place.server() as server:
        found, took = asyncio.run(ask(server))
    rate = len(found) / took
    assert all(each.status == 200 for each in found)
    return {"engine_images_per_s": round(alone_rate, 1), "served_images_per_s": round(rate, 1),
            "share": round(rate / alone_rate, 3), **times(found)}  # fmt: skip


@row
def load(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Requests at shares of the capacity, which is measured first."""
    queue = options.queue or cores() + 1

    async def ask(server: Server) -> dict[str, Any]:
        client = Client(server)
        await closed_loop(client, within(place.images, 1), queue)
        begun, found = time.perf_counter(), await closed_loop(client, within(place.images, options.seconds), queue)
        capacity = sum(each.status == 200 for each in found) / (time.perf_counter() - begun)
        result: dict[str, Any] = {"capacity_per_s": round(capacity, 1), "memory_mb": round(server.megabytes())}
        for percent in (50, 80, 95, 120, 1000):
            answers = await open_loop(client, place.images, capacity * percent / 100, options.seconds)
            good = [each for each in answers if each.status == 200]
            refused = [each for each in answers if each.status == 503]
            result[f"{percent} %"] = {
                "answered_per_s": round(len(good) / options.seconds, 1), **times(good), "refused": len(refused),
                "refused_p99_ms": times(refused)["p99_ms"], "lost": len(answers) - len(good) - len(refused),
                "memory_mb": round(server.megabytes()),
            }  # fmt: skip
        return result

    with place.server("--queue", queue) as server:
        return asyncio.run(ask(server))


@row
def distinct(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Distinct images at the same time: each answer is the offline one of its own image."""
    classifier, wrong = googlenet.load(place.run), 0

    async def ask(client: Client, number: int, limit: asyncio.Semaphore) -> bool:
        async with limit:
            content = small(number)
            answer = await client.ask(content)
        (result,) = answer.json["results"]
        offline = classifier.predict(content)
        return [(each["label"], each["probability"]) for each in result["top"]] == offline.top(len(result["top"]))

    async def every(server: Server) -> int:
        limit = asyncio.Semaphore(50)
        client = Client(server)
        return sum([not ok for ok in await asyncio.gather(*(ask(client, n, limit) for n in range(options.count)))])

    with place.server() as server:
        wrong = asyncio.run(every(server))
    return {"requests": options.count, "not_the_offline_answer": wrong}


@row
def innocent(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Good images with a bad one after every ninth: only the bad ones fail."""

    async def ask(server: Server) -> tuple[int, int]:
        client = Client(server)
        good = [place.images[n % len(place.images)] for n in range(options.count)]
        bad = [each[: len(each) // 2] for each in place.images[: options.count // 9]]
        mixed = [(each, 200) for each in good] + [(bad[n % len(bad)], 422) for n in range(options.count // 9)]
        random.Random(0).shuffle(mixed)
        limit = asyncio.Semaphore(32)

        async def one(content: bytes, status: int) -> tuple[int, int]:
            async with limit:
                return status, (await client.ask(content)).status

        found = await asyncio.gather(*(one(*each) for each in mixed))
        return (
            sum(got != 200 for want, got in found if want == 200),
            sum(got == 200 for want, got in found if want != 200),
        )

    with place.server() as server:
        innocents, accepted = asyncio.run(ask(server))
    return {"good": options.count, "innocent_failures": innocents, "bad_ones_answered": accepted}


@row
def abandoned(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Clients that leave at once: how many of their images were computed nevertheless."""

    async def ask(server: Server) -> dict[str, Any]:
        client = Client(server)
        await client.ask(place.images[0])
        before, busy = await client.figure("googlenet_computed"), []
        for number in range(1000):
            if number % 50 == 0:
                busy.append(asyncio.ensure_future(client.ask(place.images[1])))
                await asyncio.sleep(0)
            _, writer = await client.connect()
            writer.write(request(place.images[number % len(place.images)]))
            await asyncio.sleep(0.002)
            writer.transport.abort()
        answered = [await each for each in busy]
        await asyncio.sleep(1)
        computed = await client.figure("googlenet_computed") - before
        return {"left": 1000, "stayed": len(answered), "computed_of_those_who_left": int(computed) - len(answered)}

    with place.server() as server:
        return asyncio.run(ask(server))


@row
def slow(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """500 clients that send a byte a second, beside good ones."""

    async def drip(client: Client, begun: float) -> float:
        reader, writer = await client.connect()
        head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
        ended = asyncio.ensure_future(reader.read())
        for byte in head + bytes(1000):
            with contextlib.suppress(OSError):
                writer.write(bytes([byte]))
            done, _ = await asyncio.wait([ended], timeout=1)
            if done or writer.is_closing():
                break
        with contextlib.suppress(OSError):
            await ended
        return time.perf_counter() - begun

    async def ask(server: Server) -> dict[str, Any]:
        client = Client(server)
        await closed_loop(client, within(place.images, 2), 2)
        alone = times(await closed_loop(client, within(place.images, options.seconds), 2))
        begun = time.perf_counter()
        dripping = [asyncio.ensure_future(drip(client, begun)) for _ in range(500)]
        await asyncio.sleep(0.5)
        beside = times(await closed_loop(client, within(place.images, options.seconds), 2))
        return {"alone": alone, "beside_500": beside, "last_closed_s": round(max(await asyncio.gather(*dripping)), 1)}

    with place.server() as server:
        return asyncio.run(ask(server))


@row
def hostile(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Random bytes, images with changed bytes, and headers of 65535² pixels."""
    made = random.Random(0)

    def content(number: int) -> bytes:
        if number % 3 == 0:
            return made.randbytes(made.randrange(1, 5000))
        changed = bytearray(place.images[number % len(place.images)])
        for _ in range(made.randrange(1, 20)):
            changed[made.randrange(len(changed))] = made.randrange(256)
        return bytes(changed)

    async def ask(server: Server) -> dict[str, Any]:
        client = Client(server)
        await closed_loop(client, iter(place.images), 4)
        before = server.megabytes()
        answers = await closed_loop(client, (content(n) for n in range(options.count)), 8)
        statuses = {status: sum(each.status == status for each in answers) for status in {a.status for a in answers}}
        alive = (await client.ask(place.images[0])).status
        return {"statuses": statuses, "alive": alive == 200, "grown_mb": round(server.megabytes("VmHWM") - before)}

    with place.server() as server:
        return asyncio.run(ask(server))


@row
def sigterm(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """SIGTERM under load: requests that were sent on a connection that was taken, and not answered."""
    lost = answered = 0
    seconds, codes = [], set()
    for _ in range(options.times):
        with place.server() as server:

            async def ask(server: Server = server) -> list[Answer]:
                client = Client(server)
                asking = asyncio.ensure_future(closed_loop(client, _until_ended(place.images, server), 8))
                await asyncio.sleep(0.7)
                server.process.send_signal(signal.SIGTERM)
                return await asking

            begun = time.perf_counter()
            found = asyncio.run(ask())
            codes.add(server.process.wait(20))
            seconds.append(time.perf_counter() - begun - 0.7)
            lost += sum(each.status == 0 for each in found)
            answered += sum(each.status == 200 for each in found)
    return {"times": options.times, "answered": answered, "lost": lost, "exit_codes": sorted(codes),
            "longest_s": round(max(seconds), 2)}  # fmt: skip


def _until_ended(images: list[bytes], server: Server) -> Iterator[bytes]:
    for content in within(images, 20):
        if server.process.poll() is not None:
            return
        yield content


@row
def swap(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """New versions while it answers."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "model"
        shutil.copytree(bundles.read(place.run).path, run)
        card = bundles.read(run).card
        files = {name: bundles.read(run).read(name) for name in card.files}
        one = {name: content for name, content in files.items() if name != "weights.safetensors"}
        with Place(run, place.images).server() as server:
            return asyncio.run(_swapped(server, place.images, run, [(card, one), (card, files)], options.times))


async def _swapped(server: Server, images: list[bytes], run: Path, versions: Any, count: int) -> dict[str, Any]:
    client, stop = Client(server), asyncio.Event()

    def contents() -> Iterator[bytes]:
        for content in within(images, 600):
            if stop.is_set():
                return
            yield content

    asking = asyncio.ensure_future(closed_loop(client, contents(), 4))
    said = []
    for number in range(count):
        card, files = versions[number % 2]
        await asyncio.to_thread(bundles.write, run, card, files)
        server.process.send_signal(signal.SIGHUP)
        said.append(await asyncio.to_thread(server.process.stderr.readline))  # type: ignore[union-attr]
    stop.set()
    found = await asking
    hashes = {each.json["model"]["sha256"] for each in found if each.status == 200}
    return {"swaps": sum("replaced" in line for line in said), "answers": len(found), "versions": len(hashes),
            "errors": sum(each.status != 200 for each in found), "p99_ms": times(found)["p99_ms"]}  # fmt: skip


def main() -> None:
    """Print the rows that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("rows", nargs="+", choices=ROWS)
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--count", type=int, default=2000, help="of requests, where they are counted")
    parser.add_argument("--times", type=int, default=10, help="of signals")
    parser.add_argument("--queue", type=int, help="of the server under load; by default one more than cores")
    options = parser.parse_args()
    files = sorted(path for path in options.images.rglob("*") if path.is_file())[:200]
    place = Place(options.run, [path.read_bytes() for path in files])
    print(json.dumps({"images": len(files), "median_kb": round(statistics.median(map(len, place.images)) / 1000)}))
    for name in options.rows:
        print(json.dumps({name: ROWS[name](place, options)}), flush=True)


if __name__ == "__main__":
    main()
