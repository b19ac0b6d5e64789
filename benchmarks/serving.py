"""What a server does under faults and load, each row by name; the machine should be idle for the first three.

    python benchmarks/serving.py runs/flowers photos idle steady load
    python benchmarks/serving.py runs/flowers photos distinct innocent abandoned slow hostile
    python benchmarks/serving.py runs/flowers photos sigterm swap forged schemathesis

Load is open-loop: requests arrive at times drawn beforehand (Poisson), whatever became of those before. Clients are
asyncio streams in this process, the server is another one; both share the cores. Figures are printed as JSON lines.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from asking import (
    FORM,
    Answer,
    Client,
    Server,
    closed_loop,
    form,
    open_loop,
    percentile,
    request,
    served,
    statuses,
    times,
    within,
)
from PIL import Image

import googlenet
from googlenet import bundle as bundles
from googlenet.parallel import cores

BOMBS = Path(__file__).parents[1] / "tests" / "hostile" / "bombs.py"
CHUNK = 2000  # answers that are kept until they are compared
PATIENCE = 7200  # seconds for an answer, where what is counted does not depend on time: others may stop this machine
Row = Callable[["Place", argparse.Namespace], dict[str, Any]]
ROWS: dict[str, Row] = {}


def row(function: Row) -> Row:
    """Name a row of the table."""
    ROWS[function.__name__] = function
    return function


@dataclass
class Place:
    """A run to serve, and images to send."""

    run: Path
    images: list[bytes]

    def server(self, *options: object) -> AbstractContextManager[Server]:
        """Start a server."""
        return served(self.run, *options)

    def image(self, number: int) -> bytes:
        """Return an image; after the last one comes the first."""
        return self.images[number % len(self.images)]


def small(number: int, side: int = 64) -> bytes:
    """An image that no other number has."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(content, "PNG", compress_level=1)
    return content.getvalue()


# Speed.


@row
def idle(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from the start to the first answer, memory, and processor time with nothing to do."""

    async def first(server: Server) -> float:
        answer = await Client(server).ask(place.images[0])
        assert answer.status == 200
        return time.perf_counter() - server.began

    with place.server() as server:  # fills the cache of compiled graphs
        asyncio.run(first(server))
    took = []
    for _ in range(3):
        with place.server() as server:
            took.append(asyncio.run(first(server)))
            megabytes = server.megabytes()
            if len(took) == 3:
                time.sleep(1)
                before = server.cpu_seconds()
                time.sleep(options.seconds)
                share = (server.cpu_seconds() - before) / options.seconds
    return {"first_answer_s": round(statistics.median(took), 2), "rss_mb": round(megabytes),
            "core_percent": round(100 * share, 2)}  # fmt: skip


@row
def steady(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """16 clients with one image a request, beside the engine's own throughput with decoding: in turns, three times."""
    classifier = googlenet.load(place.run)
    list(classifier.predict_many(place.images[:32]))
    rounds = 3

    def alone() -> float:
        began = time.perf_counter()
        return sum(1 for _ in classifier.predict_many(within(place.images, options.seconds))) / (
            time.perf_counter() - began
        )

    async def ask(seconds: float) -> tuple[list[Answer], float]:
        client, begun = Client(server), time.perf_counter()
        return await closed_loop(client, within(place.images, seconds), 16), time.perf_counter() - begun

    rates: list[tuple[float, float]] = []
    found: list[Answer] = []
    with place.server() as server:
        asyncio.run(ask(1))
        for _ in range(rounds):
            answers, took = asyncio.run(ask(options.seconds))
            rates.append((alone(), len(answers) / took))
            found += answers
    assert all(each.status == 200 for each in found)
    engine, rate = (statistics.median(each) for each in zip(*rates, strict=True))
    return {"engine_images_per_s": round(engine, 1), "served_images_per_s": round(rate, 1),
            "shares": [round(mine / own, 3) for own, mine in rates], **times(found)}  # fmt: skip


@row
def load(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Requests at shares of the capacity: the most that was answered per second, at whatever rate of arrivals."""
    queue = options.queue or 2 * cores() + 1

    async def at(client: Client, rate: float, seconds: float) -> tuple[float, list[Answer]]:
        answers = await open_loop(client, place.images, rate, seconds)
        return sum(each.status == 200 for each in answers) / seconds, answers

    async def ask(server: Server) -> dict[str, Any]:
        client, seconds = Client(server), min(options.seconds, 6)
        await closed_loop(client, within(place.images, 1), queue)
        unloaded = times(await closed_loop(client, within(place.images, seconds), 1))
        begun, found = time.perf_counter(), await closed_loop(client, within(place.images, seconds), queue)
        capacity = len(found) / (time.perf_counter() - begun)
        for share in (1.2, 1.6, 2.5):
            capacity = max(capacity, (await at(client, capacity * share, seconds))[0])
        memory = server.megabytes()
        result: dict[str, Any] = {"queue": queue, "capacity_per_s": round(capacity, 1), "unloaded": unloaded}
        for percent in options.percent:
            before = time.process_time(), server.cpu_seconds()
            rate, answers = await at(client, capacity * percent / 100, options.seconds)
            used = {"clients": time.process_time() - before[0], "server": server.cpu_seconds() - before[1]}
            good = [each for each in answers if each.status == 200]
            refused = [each for each in answers if each.status == 503]
            result[f"{percent} %"] = {
                "answered_per_s": round(rate, 1), "share": round(rate / min(capacity, capacity * percent / 100), 2),
                **times(good), "refused": len(refused), "refused_p99_ms": percentile(refused, 99),
                "lost": len(answers) - len(good) - len(refused),
                "cores": {name: round(each / options.seconds, 2) for name, each in used.items()},
                "grown_mb": round(server.megabytes() - memory),
            }  # fmt: skip
        return result

    with place.server("--queue", queue) as server:
        return asyncio.run(ask(server))


# Answers.


@row
def distinct(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Distinct images at the same time: each answer is the offline one of its own image, and no other's."""

    async def every(server: Server, chunk: range) -> dict[int, dict[str, Any]]:
        client, found, numbers = Client(server), {}, iter(chunk)

        async def one() -> None:
            for number in numbers:
                answer = await client.ask(small(number), seconds=PATIENCE)
                assert answer.status == 200, answer
                (found[number],) = answer.json["results"]

        await asyncio.gather(*(one() for _ in range(50)))
        return found

    classifier, wrong, requests, different = googlenet.load(place.run), 0, 0, set()
    with place.server("--deadline", PATIENCE) as server:
        for first in range(0, options.count, CHUNK):
            found = asyncio.run(every(server, range(first, min(first + CHUNK, options.count))))
            for number, result in found.items():
                offline = classifier.predict(small(number))
                top = [(each["label"], each["probability"]) for each in result["top"]]
                wrong += top != offline.top(len(top)) or result["p_value"] != offline.p_value
            requests += len(found)
            different.update(hash(json.dumps(each["top"])) for each in found.values())
    return {"requests": requests, "not_the_offline_answer": wrong, "different_answers": len(different)}


@row
def innocent(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Good images with bad ones among them, in requests of their own and in the same form: only the bad ones fail."""
    counts = {"good": 0, "bad": 0, "innocent_failures": 0, "bad_ones_answered": 0}

    def count(is_good: bool, is_answered: bool) -> None:
        counts["good" if is_good else "bad"] += 1
        counts["innocent_failures"] += is_good and not is_answered
        counts["bad_ones_answered"] += is_answered and not is_good

    def bad(number: int) -> bytes:
        content = place.image(number)
        return content[: len(content) // 2] if number % 2 else content[:-1][::-1]

    async def alone(client: Client, number: int, is_good: bool) -> None:
        answer = await client.ask(place.image(number) if is_good else bad(number))
        assert is_good or answer.status in (200, 422), answer
        count(is_good, answer.status == 200)

    async def together(client: Client, number: int) -> None:
        answer = await client.ask(form([place.image(number), bad(number), place.image(number + 1)]), kind=FORM)
        results = answer.json["results"] if answer.status == 200 else [{}] * 3
        for place_, result in enumerate(results):
            count(place_ != 1, "label" in result)

    async def ask(server: Server) -> None:
        client, limit = Client(server), asyncio.Semaphore(16)
        works = [alone(client, n, True) for n in range(options.count // 2)]
        works += [alone(client, n, False) for n in range(options.count // 8)]
        works += [together(client, n) for n in range(options.count // 4)]
        random.Random(0).shuffle(works)

        async def one(work: Any) -> None:
            async with limit:
                await work

        await asyncio.gather(*map(one, works))

    with place.server() as server:
        asyncio.run(ask(server))
    return counts


@row
def abandoned(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Clients that leave while others keep the server busy: how many of their images were computed nevertheless."""
    wave, forms, images, figure = 50, 4, 60, "googlenet_computed"
    left = early = staying = 0

    async def send(client: Client, number: int) -> asyncio.StreamWriter:
        _, writer = await client.connect()
        sent = request(place.image(number), client.path)
        writer.write(sent[: len(sent) // 2] if number % 4 == 0 else sent)
        await writer.drain()
        return writer

    async def once(client: Client, number: int) -> None:
        nonlocal left, early, staying
        before = await client.figure(figure)
        content = form(place.image(number + n) for n in range(images))
        busy = [asyncio.ensure_future(client.ask(content, kind=FORM)) for _ in range(forms)]
        while await client.figure("googlenet_inside_images") < forms * images:
            await asyncio.sleep(0.001)
        writers = [await send(client, number + n) for n in range(wave)]
        await client.figure(figure)  # by now the server has read what they sent
        for writer in writers:
            writer.transport.abort()
        while await client.figure("googlenet_inside_images") > forms * images:  # it has not seen all of them leave
            await asyncio.sleep(0.001)
        still_busy = await client.figure(figure) - before < forms * images
        assert all(each.status == 200 for each in await asyncio.gather(*busy))
        if not still_busy:  # it may have been their turn
            return
        left, staying = left + wave, staying + forms * images
        while await client.figure("googlenet_inside_images"):
            await asyncio.sleep(0.01)
        early += int(await client.figure(figure) - before) - forms * images

    async def ask(server: Server) -> dict[str, Any]:
        client, number = Client(server), 0
        assert (await client.ask(place.images[0])).status == 200
        while left < options.count and number < 10 * options.count:
            await once(client, number)
            number += wave
        return {"left": left, "stayed": staying, "computed_of_those_who_left": early}

    with place.server("--queue", forms * images + 2 * wave) as server:
        return asyncio.run(ask(server))


@row
def slow(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """500 clients that send a byte a second, or nothing, or read nothing, beside two good ones."""

    async def drip(client: Client, number: int, begun: float) -> float:
        reader, writer = await client.connect()
        head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
        ended = asyncio.ensure_future(reader.read())
        sent = (head + bytes(1000), b"", head[:9] + bytes(1000), bytes(1000))[number % 4]
        if number % 4 == 0:  # its headers at once, its body slowly
            writer.write(head)
            sent = bytes(1000)
        for byte in sent:
            with contextlib.suppress(OSError):
                writer.write(bytes([byte]))
            done, _ = await asyncio.wait([ended], timeout=1)
            if done or writer.is_closing():
                break
        with contextlib.suppress(OSError):
            await ended
        writer.close()
        return time.perf_counter() - begun

    async def ask(server: Server) -> dict[str, Any]:
        client = Client(server)
        await closed_loop(client, within(place.images, 2), 2)
        alone = times(await closed_loop(client, within(place.images, options.seconds), 2))
        begun = time.perf_counter()
        dripping = [asyncio.ensure_future(drip(client, number, begun)) for number in range(500)]
        await asyncio.sleep(0.5)
        beside = await closed_loop(client, within(place.images, options.seconds), 2)
        closed = await asyncio.gather(*dripping)
        return {"alone": alone, "beside_500": times(beside), "statuses": statuses(beside),
                "last_closed_s": round(max(closed), 1)}  # fmt: skip

    with place.server("--queue", 600) as server:
        return asyncio.run(ask(server))


# Attacks.


def giants() -> dict[str, bytes]:
    """Images whose headers say 65535² pixels."""
    side, tiny = 65535, {}
    for name in ("JPEG", "BMP", "GIF", "PNG", "TIFF"):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, name)
        tiny[name] = bytearray(stream.getvalue())
    frame = tiny["JPEG"].index(b"\xff\xc0") + 5
    tiny["JPEG"][frame : frame + 4] = struct.pack(">HH", side, side)
    tiny["BMP"][18:26] = struct.pack("<ii", side, side)
    tiny["GIF"][6:10] = struct.pack("<HH", side, side)
    header = b"IHDR" + struct.pack(">II", side, side) + tiny["PNG"][24:29]
    tiny["PNG"][12:33] = header + struct.pack(">I", zlib.crc32(header))
    for tag in (256, 257):
        at = tiny["TIFF"].index(struct.pack("<H", tag), struct.unpack_from("<I", tiny["TIFF"], 4)[0])
        tiny["TIFF"][at : at + 12] = struct.pack("<HHII", tag, 4, 1, side)
    return {f"65535.{name.lower()}": bytes(content) for name, content in tiny.items()}


@row
def hostile(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Random bytes, images with changed bytes, bombs, and headers of 65535² pixels."""
    made = random.Random(0)

    def content(number: int) -> bytes:
        if number % 3 == 0:
            return made.randbytes(made.randrange(1, 5000))
        changed = bytearray(place.image(number))
        for _ in range(made.randrange(1, 20)):
            changed[made.randrange(len(changed))] = made.randrange(256)
        return bytes(changed)

    def bombs() -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, str(BOMBS), folder], check=True, stdout=subprocess.DEVNULL)
            return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}

    async def ask(server: Server) -> dict[str, Any]:
        client = Client(server)
        await closed_loop(client, iter(place.images), 8)
        before = server.megabytes()
        answers = await closed_loop(client, (content(n) for n in range(options.count)), 8)
        grown = server.megabytes("VmHWM") - before
        named = [(name, await client.ask(each)) for name, each in {**giants(), **bombs()}.items()]
        both = await closed_loop(client, list(giants().values()) * 20, 8)
        alive = (await client.ask(place.images[0])).status
        return {
            "statuses": statuses(answers), "grown_mb": round(grown), "bombs": statuses(each for _, each in named),
            "bombs_read": [name for name, each in named if each.status == 200], "headers": statuses(both),
            "slowest_bomb_s": round(max(each.seconds for _, each in named), 2), "alive": alive == 200,
            "grown_by_bombs_mb": round(server.megabytes("VmHWM") - before),
        }  # fmt: skip

    with place.server() as server:
        return asyncio.run(ask(server))


FORGED = {
    "another name": ("POST /v1/classify", "Host: evil.example"),
    "a name bound to this address": ("POST /v1/classify", "Host: 127.0.0.1.evil.example"),
    "a rebound name that reads": ("GET /v1/models", "Host: evil.example:8000"),
    "no name": ("POST /v1/classify", "Host:"),
    "a user before the name": ("POST /v1/classify", "Host: localhost@evil.example"),
    "a page of another site": ("POST /v1/classify", "Host: localhost\r\nOrigin: http://evil.example"),
    "a page in a sandbox": ("POST /v1/classify", "Host: localhost\r\nOrigin: null"),
    "a page at another port": ("POST /v1/classify", "Host: localhost:1\r\nOrigin: http://localhost:2"),
    "a browser that says cross-site": ("POST /v1/classify", "Host: localhost\r\nSec-Fetch-Site: cross-site"),
    "a form of another site": (
        "POST /v1/feedback?label=x", "Host: localhost\r\nSec-Fetch-Site: same-site\r\nOrigin: http://a.localhost"),
    "a preflight": ("OPTIONS /v1/classify", "Host: localhost\r\nOrigin: http://evil.example"),
    "a path in the name": ("POST /v1/classify?model=../../etc/passwd", "Host: localhost"),
    "a path in the route": ("GET /v1/models/../../../etc/passwd", "Host: localhost"),
    "an encoded path": ("GET /v1/models/..%2f..%2f..%2fetc%2fpasswd", "Host: localhost"),
    "a path encoded twice": ("GET /v1/models/%252e%252e%252fetc%252fpasswd", "Host: localhost"),
    "a path of v2": ("POST /v2/models/..%2f..%2fetc%2fpasswd/infer", "Host: localhost"),
    "an example that is a path": ("GET /v1/models/x/examples/..%2f..%2fetc%2fpasswd", "Host: localhost"),
    "a backslash": ("GET /v1/models/..\\..\\etc\\passwd", "Host: localhost"),
    "a nul": ("GET /v1/models/x%00.json", "Host: localhost"),
    "a URL for the server to fetch": ("POST /v1/classify?url=http://evil.example/a.png", "Host: localhost"),
    "two lengths": ("POST /v1/classify", "Host: localhost\r\nContent-Length: 9"),
    "a length and chunks": ("POST /v1/classify", "Host: localhost\r\nTransfer-Encoding: chunked"),
    "a compressed body": ("POST /v1/classify", "Host: localhost\r\nContent-Encoding: gzip"),
}  # fmt: skip


@row
def forged(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Requests under other names, of pages of other sites, with paths as names: those that were not refused."""

    async def ask(server: Server) -> dict[str, int]:
        client, found = Client(server), {}
        for name, (line, headers) in FORGED.items():
            body = b"GIF89a" if line.startswith("POST") else b""
            head = f"{line} HTTP/1.1\r\n{headers}\r\nContent-Length: {len(body)}\r\n\r\n"
            answer = await client.send_raw(head.encode() + body)
            assert b"root:" not in answer.body
            assert b"access-control" not in answer.body.lower()
            found[name] = answer.status
        assert (await client.ask(place.images[0])).status == 200
        return found

    with place.server() as server:
        found = asyncio.run(ask(server))
    return {"sent": len(found), "not_refused": {name: s for name, s in found.items() if not 400 <= s < 500}}


@row
def schemathesis(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Schemathesis tries to prove the OpenAPI description wrong, in all of its phases."""
    checks = ("not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
              "response_schema_conformance")  # fmt: skip
    with place.server("--queue", 64) as server, tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://{server.host}:{server.port}/openapi.json",
                   "--phases", "examples,coverage,fuzzing,stateful", "--checks", checks, "--no-color",
                   "--max-examples", str(options.count), "--continue-on-failure"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        text = asyncio.run(Client(server).ask(path="/metrics")).body.decode()
    found: dict[str, int] = {}
    for line in text.splitlines():
        if line.startswith("googlenet_requests_total{"):
            status = line.split('status="')[1][:3]
            found[status] = found.get(status, 0) + int(float(line.rpartition(" ")[2]))
    if done.returncode:
        print(done.stdout[-6000:], file=sys.stderr)
    return {"requests": sum(found.values()), "statuses": dict(sorted(found.items())), "failures": done.returncode}


# Signals.


@row
def sigterm(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """SIGTERM under load: requests that were sent on a connection that was taken, and not answered."""
    found: list[Answer] = []
    seconds, codes = [], set()

    async def ask(server: Server) -> list[Answer]:
        client = Client(server, again=False)  # what is lost is not hidden
        asking = asyncio.ensure_future(closed_loop(client, _until_ended(place.images, server), 8))
        await asyncio.sleep(0.7)
        server.process.send_signal(signal.SIGTERM)
        return await asking

    for _ in range(options.times):
        with place.server() as server:
            begun = time.perf_counter()
            found += asyncio.run(ask(server))
            codes.add(server.process.wait(20))
            seconds.append(time.perf_counter() - begun - 0.7)
    return {"times": options.times, "statuses": statuses(found), "lost": sum(each.status == 0 for each in found),
            "exit_codes": sorted(codes), "longest_s": round(max(seconds), 2)}  # fmt: skip


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
        with served(run) as server:
            return asyncio.run(_swapped(server, place.images, run, [(card, one), (card, files)], options.times))


async def _swapped(server: Server, images: list[bytes], run: Path, versions: Any, count: int) -> dict[str, Any]:
    client, stop = Client(server), asyncio.Event()

    def contents() -> Iterator[bytes]:
        for content in within(images, 3600):
            if stop.is_set():
                return
            yield content

    asking = asyncio.ensure_future(closed_loop(client, contents(), 4))
    said = []
    for number in range(count):
        card, files = versions[number % 2]
        await asyncio.to_thread(bundles.write, run, card, files)
        server.process.send_signal(signal.SIGHUP)
        said.append(await asyncio.to_thread(server.line))
    stop.set()
    found = await asking
    hashes = {each.json["model"]["sha256"] for each in found if each.status == 200}
    return {"swaps": sum("replaced" in line for line in said), "answers": len(found), "versions": len(hashes),
            "errors": sum(each.status != 200 for each in found), "statuses": statuses(found),
            "bodies": sorted({each.body.decode() for each in found if each.status != 200})[:3],
            "p99_ms": percentile(found, 99)}  # fmt: skip


def main() -> None:
    """Print the rows that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("rows", nargs="+", choices=ROWS)
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--count", type=int, default=1000, help="of requests, where they are counted")
    parser.add_argument("--times", type=int, default=10, help="of signals")
    parser.add_argument("--percent", type=int, nargs="+", default=[50, 80, 95, 120, 1000], help="of the capacity: load")
    parser.add_argument("--queue", type=int, help="of the server under load; by default one more than twice the cores")
    options = parser.parse_args()
    files = sorted(path for path in options.images.rglob("*") if path.is_file())[:200]
    place = Place(options.run, [path.read_bytes() for path in files])
    print(json.dumps({"images": len(files), "median_kb": round(statistics.median(map(len, place.images)) / 1000)}))
    for name in options.rows:
        begun = time.perf_counter()
        found = ROWS[name](place, options)
        print(json.dumps({name: found | {"took_s": round(time.perf_counter() - begun)}}), flush=True)


if __name__ == "__main__":
    main()
