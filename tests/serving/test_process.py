"""``googlenet serve`` as a process: signals, a model that is replaced, what is refused before it begins."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from googlenet import bundle as bundles
from googlenet.serving.server import Settings, bind, make_server

REQUEST = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
WATCHED = """
import sys
from googlenet.cli import main
sys.argv = ["googlenet", *sys.argv[1:]]
try:
    main()
finally:
    print("torch" in sys.modules, flush=True)
"""


@pytest.fixture
def started(tmp_path):
    """Start the command on a free port; returns the process and its address."""
    processes = []

    def start(*arguments):
        command = [sys.executable, "-c", WATCHED, "serve", *map(str, arguments), "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        line = process.stderr.readline()
        found = re.search(r"at (http://127\.0\.0\.1:\d+)", line)
        assert found, line + process.stderr.read()
        return process, found[1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


class Asking:
    """Clients that ask without a pause, until an answer closes their connection: the server stops then."""

    def __init__(self, url, images):
        self.url, self.images, self.hashes, self.failed, self.answered = url, images, set(), [], 0
        self.stop = threading.Event()

    def __enter__(self):
        self.pool = ThreadPoolExecutor(4)
        for number in range(4):
            self.pool.submit(self.ask, number)
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.pool.shutdown()

    def ask(self, number):
        with httpx.Client(base_url=self.url) as client:
            while not self.stop.is_set():
                try:
                    answer = client.post("/v1/classify", content=self.images[number])
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))
                    return
                self.note(answer)
                if answer.headers.get("connection") == "close":
                    return

    def note(self, answer):
        if answer.status_code == 200:
            self.answered += 1
            self.hashes.add(answer.json()["model"]["sha256"])
        elif answer.status_code != 503 or answer.json()["error"]["code"] != "stopping":
            self.failed.append(answer.text)


def with_other_golden_answers(files):
    """The files of a bundle that says it answered otherwise."""
    with np.load(io.BytesIO(files["golden.npz"])) as arrays:
        lies = {name: arrays[name][:, ::-1] if name == "probabilities" else arrays[name] for name in arrays}
    content = io.BytesIO()
    np.savez(content, **lies)
    return files | {"golden.npz": content.getvalue()}


def test_it_drains_and_replaces_models_while_it_serves(started, trained_run, tmp_path, images):
    run = tmp_path / "flowers"
    shutil.copytree(trained_run / "bundle", run / "bundle")
    process, url = started(run)
    bundle = bundles.read(run)
    files = {name: bundle.read(name) for name in bundle.card.files}
    old = httpx.get(f"{url}/v1/models/flowers").json()["sha256"]

    def reload():
        process.send_signal(signal.SIGHUP)
        return process.stderr.readline()

    with Asking(url, images) as asking:
        (run / "bundle" / "model.onnx").write_bytes(files["model.onnx"][:-1])
        assert "refused, the old version stays" in reload()
        bundles.write(run / "bundle", bundle.card, with_other_golden_answers(files))
        assert "golden probability differs" in reload()
        del files["certainty.npz"]
        bundles.write(run / "bundle", bundle.card, files)
        assert reload() == "flowers: replaced\n"
        assert reload() == "flowers: unchanged\n"
        new = httpx.get(f"{url}/v1/models/flowers").json()["sha256"]
        enough = asking.answered + 20
        while asking.answered < enough and not asking.failed:
            time.sleep(0.01)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "False\n", "stopped: every request that was accepted is answered\n")
    assert time.monotonic() - begun < 10
    assert not asking.failed
    assert asking.hashes == {old, new}
    assert old != new


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["RUN", "RUN"], "two models are called run"),
        (["RUN", "--precision", "int8"], "has no int8 graph"),
        (["RUN", "--host", "256.0.0.1"], "cannot be listened at"),
        (["RUN", "--keep", "/proc/kept"], "/proc"),
    ],
)
def test_what_cannot_be_served_is_one_line(call, trained_run, arguments, said):
    code, out, err = call("serve", *[str(trained_run) if each == "RUN" else each for each in arguments], "--port", "0")
    assert code in (1, 2)
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def started_here(trained_run):
    """Return a server and the socket it listens at, for a loop of the test's own."""
    listening = bind("127.0.0.1", 0)
    server = make_server(Settings({"flowers": trained_run}), lambda line: None)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    return server, listening


def test_whoever_waits_at_the_door_when_it_stops_is_answered(trained_run):
    server, listening = started_here(trained_run)

    async def stop_while_one_waits():
        await server.startup(sockets=[listening])
        with socket.create_connection(listening.getsockname()) as client:  # the loop does not run before it is closed
            client.sendall(REQUEST)
            server.stop()
            await server.shutdown(sockets=[listening])
            return client.recv(100_000)

    answer = asyncio.run(stop_while_one_waits())
    server.service.close()
    assert answer.startswith(b"HTTP/1.1 ")
    assert b"connection: close" in answer


def test_whoever_has_asked_when_connections_are_closed_is_answered(trained_run, monkeypatch):
    monkeypatch.setattr("googlenet.serving.server.UNREAD_SECONDS", 60)  # on a slow machine they need longer to ask
    server, listening = started_here(trained_run)

    async def stop_on_a_busy_machine():
        await server.startup(sockets=[listening])
        clients = [socket.create_connection(listening.getsockname(), timeout=10) for _ in range(24)]
        while len(server.server_state.connections) < len(clients):
            await asyncio.sleep(0.01)
        loop, waiting = asyncio.get_running_loop(), list(clients)

        def have_no_time():  # each time a request comes, which the loop could not have read before
            waiting.pop().sendall(REQUEST)
            time.sleep(0.05)
            if waiting:
                loop.call_soon(have_no_time)

        server.stop()
        loop.call_soon(have_no_time)
        await server.shutdown(sockets=[listening])
        answers = [client.recv(100_000) for client in clients]
        for client in clients:
            client.close()
        return answers

    answers = asyncio.run(stop_on_a_busy_machine())
    server.service.close()
    assert [answer[:9] for answer in answers] == [b"HTTP/1.1 "] * 24
