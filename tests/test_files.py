"""Opening what users name: a file is read, anything else is refused at once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from googlenet.files import NotARegularFileError, open_regular

HANDLES = Path("/proc/self/fd")


def test_a_file_is_opened_by_its_path_or_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a.txt")
    for path in (tmp_path / "a.txt", str(tmp_path / "link")):
        with open_regular(path) as file:
            assert (file.read(), file.name) == (b"content", str(path))


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("kind", ["FIFO", "folder", "socket", "device"])
def test_what_is_no_file_is_refused_at_once(
    kind: str, linked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    path = Path("x.jpg")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("x.jpg")
    else:
        path = Path("/dev/zero")
    if linked:
        Path("link.jpg").symlink_to(path)
        path = Path("link.jpg")
    with pytest.raises(NotARegularFileError) as refused:
        open_regular(path)
    assert refused.value.strerror == f"is a {kind}, not a file"
    assert refused.value.filename == str(path)


def test_what_is_not_there_or_has_an_odd_name_is_an_error_as_of_open(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
    with pytest.raises(OSError, match="too long"):
        open_regular(str(tmp_path / ("x" * 300)))


@pytest.mark.skipif(not HANDLES.is_dir(), reason="this system does not list open handles")
def test_no_handle_is_left_open(tmp_path: Path) -> None:
    def handles() -> int:
        return sum(1 for _ in HANDLES.iterdir())

    (tmp_path / "a.txt").touch()
    before = handles()
    with open_regular(tmp_path / "a.txt"):
        assert handles() == before + 1
    with pytest.raises(NotARegularFileError):
        open_regular(tmp_path)
    assert handles() == before
