"""Addresses as DATA and for `predict`: fetched from a server on this machine, only where that is allowed."""

from __future__ import annotations

import csv
import io
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from googlenet.data import downloads
from googlenet.data.image_ids import ImageIds
from googlenet.data.inputs import find_images
from googlenet.data.opening import open_data
from googlenet.data.reading import read_images
from googlenet.data.source import DataSource
from googlenet.errors import DataError, UnreadableImageError
from googlenet.images.decode import decode

NAMES = [f"{name}/{number:03d}.jpg" for name in ("cat", "dog") for number in range(30)]


class Handler(BaseHTTPRequestHandler):
    """Serves what a test put under a path, and notes what was asked for."""

    def __init__(self, pages, asked, *arguments):
        self.pages, self.asked = pages, asked
        super().__init__(*arguments)

    def do_GET(self):
        self.asked.append(self.path)
        status, headers, content = self.pages.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict, list]]:
    """An address of this machine, the pages under it, and the paths that were asked for."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")
    pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, pages, asked)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", pages, asked
        server.shutdown()
        thread.join()


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, each in files.items():
            packed.writestr(name, each)
    return content.getvalue()


def test_an_archive_is_fetched_only_where_that_is_allowed(web) -> None:
    address, pages, asked = web
    pages["/a.zip?x=1"] = (200, {}, zipped(dict.fromkeys(NAMES, b"")))
    url = f"{address}/a.zip?x=1"
    for refused in (lambda: open_data(url), lambda: find_images(url)):
        with pytest.raises(DataError) as caught:
            refused()
        assert str(caught.value) == f"{url} is not on this machine: give --download to fetch it"
    assert asked == []
    data = open_data(DataSource(url, download=True))
    assert data.split("all").counts() == {"cat": 30, "dog": 30}
    assert data.name == url
    assert find_images(DataSource(url, download=True)).ids[0] == f"{url}/cat/000.jpg"


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ((404, {}, b""), "could not be fetched: the server says 404 Not Found"),
        ((200, {"Content-Length": "9000"}, b"PK"), "could not be fetched: it ended after 2 of 9,000 bytes"),
        ((200, {"Content-Length": "5000000"}, b"PK"), "could not be fetched: it has more than 4,000,000 bytes"),
        ((200, {}, bytes(5_000_000)), "could not be fetched: it has more than 4,000,000 bytes"),
        ((302, {"Location": "file:///etc/passwd"}, b""), "could not be fetched: "),
        ((302, {"Location": "ftp://127.0.0.1/a.zip"}, b""), "could not be fetched: it leads to ftp://127.0.0.1/a.zip"),
        ((302, {"Location": "/a.zip"}, b""), "could not be fetched: "),
        ((200, {}, b"no archive"), "is damaged or no archive: File is not a zip file"),
        ((200, {}, zipped({"../out.jpg": b""})), "holds '../out.jpg', which leads out of it: it is not unpacked"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(web, monkeypatch, page, says) -> None:
    monkeypatch.setattr(downloads, "MAX_BYTES", 4_000_000)
    address, pages, _ = web
    pages["/a.zip"] = page
    with pytest.raises(DataError) as caught:
        open_data(DataSource(f"{address}/a.zip", download=True))
    assert str(caught.value).startswith(f"{address}/a.zip {says}")
    assert str(caught.value).isprintable()


def test_no_server_and_no_archive(web) -> None:
    address, _, _ = web
    with pytest.raises(DataError, match="names no archive: an address of DATA ends in one of"):
        open_data(DataSource(f"{address}/photos/", download=True))
    with pytest.raises(DataError, match="could not be fetched: "):
        open_data(DataSource("http://127.0.0.1:1/a.zip", download=True))


@pytest.mark.parametrize(
    "url", ["http://[bad/a.png", "http://127.0.0.1:port/a.png", "http://127.0.0.1/a b\n.png", "http://"]
)
def test_what_is_no_address_is_an_image_that_cannot_be_read(web, url: str) -> None:
    with pytest.raises(UnreadableImageError, match="cannot be read: "):
        decode(next(read_images(ImageIds([url], download=True))))


def test_a_server_that_says_nothing_is_left(web, monkeypatch) -> None:
    monkeypatch.setattr(downloads, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(Handler, "do_GET", lambda self: threading.Event().wait(3))
    with pytest.raises(DataError, match="could not be fetched: timed out"):
        open_data(DataSource(f"{web[0]}/a.zip", download=True))


def test_predict_fetches_images_and_what_cannot_be_fetched_is_a_row(web, call, trained_run, tmp_path) -> None:
    address, pages, asked = web
    pages["/a.png"] = (200, {}, (trained_run.parent / "photos/red/000.png").read_bytes())
    (tmp_path / "list.csv").write_text(f"url\n{address}/a.png\n{address}/none.png\n")
    code, _, err = call("predict", trained_run, f"{address}/a.png")
    assert (code, asked) == (2, [])
    assert "give --download to fetch it" in err
    code, out, _ = call("predict", trained_run, tmp_path / "list.csv", "--column", "url", "--csv", "--download")
    assert code == 1
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["class"] for row in rows] == ["red", ""]
    assert rows[1]["error"] == f"{address}/none.png cannot be read: the server says 404 Not Found"
    asked.clear()
    code, out, _ = call("predict", trained_run, tmp_path / "list.csv", "--column", "url", "--csv")
    assert (code, asked) == (1, [])
    assert "cannot be read: --download fetches it" in out


def test_train_refuses_an_address_before_any_work(call, tmp_path: Path) -> None:
    code, _, err = call("train", "https://127.0.0.1/photos.zip", "--out", tmp_path / "run")
    assert (code, err.count("\n")) == (2, 1)
    assert "https://127.0.0.1/photos.zip is not on this machine: give --download to fetch it" in err
