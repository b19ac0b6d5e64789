"""Archives as DATA and for `predict`: what is in them is found, and nothing in them does harm."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

from googlenet.data import archives
from googlenet.data.addresses import ARCHIVES
from googlenet.data.image_ids import ImageIds
from googlenet.data.inputs import find_images
from googlenet.data.opening import open_data
from googlenet.data.reading import read_images
from googlenet.errors import DataError

NAMES = [f"{name}/{number:03d}.jpg" for name in ("cat", "dog") for number in range(30)]


def pack(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return path
    with tarfile.open(path, {".tar": "w", ".bz2": "w:bz2"}.get(path.suffix, "w:gz")) as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path


def error_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_data(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("suffix", ARCHIVES)
def test_an_archive_is_split_as_the_folder_in_it(tmp_path: Path, suffix: str) -> None:
    for name in NAMES:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(name.encode())
    folder = open_data(tmp_path / "photos")
    files = {name: name.encode() for name in NAMES}
    plain = open_data(pack(tmp_path / f"plain{suffix}", files))
    wrapped = open_data(pack(tmp_path / f"wrapped{suffix}", {f"my photos/{name}": files[name] for name in NAMES}))
    for data in (plain, wrapped):
        for split in ("train", "val"):
            assert data.split(split).fingerprint() == folder.split(split).fingerprint()
        assert data.train.items[0].path.read_bytes() == data.train.items[0].name.encode()
    assert (plain.name, plain.notes) == (str(tmp_path / f"plain{suffix}"), ())


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_images_of_an_archive_are_named_by_it_and_what_is_left_out_is_said(tmp_path: Path, suffix: str) -> None:
    path = pack(tmp_path / f"a{suffix}", {"x/1.jpg": b"one", "2.jpg": b"two", "x\\3.jpg": b"three", "__MACOSX/._1": b"",
                                          "notes.txt": b"text"})  # fmt: skip
    notes: list[str] = []
    found = find_images(path, tell=notes.append)
    assert found.ids == [f"{path}/2.jpg", f"{path}/x/1.jpg", f"{path}/x/3.jpg"]
    assert [image.read() for image in read_images(found)] == [b"two", b"one", b"three"]
    assert [image.name for image in read_images(found)] == found.ids
    assert notes == [
        f"{path}: left out 1 file or folder that a system made (__MACOSX)",
        f"{path}: left out 1 file that is no image (.txt 1: notes.txt)",
    ]
    assert list(read_images(ImageIds(["elsewhere.jpg"]))) == ["elsewhere.jpg"]


@pytest.mark.parametrize("inside", ["", "my photos/"])
def test_every_command_names_the_archive_and_never_where_it_was_unpacked(
    trained_run: Path, tmp_path: Path, coloured: Path, call, inside: str
) -> None:
    files = {inside + path.relative_to(coloured).as_posix(): path.read_bytes() for path in coloured.rglob("*.png")}
    path = pack(
        tmp_path / "bomb.zip", {**files, f"{inside}red/bomb.jpg": b"", f"{inside}red/cut.png": b"\x89PNG\r\n\x1a\n"}
    )
    bomb, cut = f"{path}/{inside}red/bomb.jpg", f"{path}/{inside}red/cut.png"
    recipe = ("--network", "lenet5", "--epochs", 1, "--image-size", 32, "--batch-size", 8, "--workers", 0)
    for command in (
        ("evaluate", trained_run, path, "--split", "all"),
        ("evaluate", trained_run, path, "--split", "all", "--json"),
        ("predict", trained_run, path, "--json"),
        ("train", path, "--out", tmp_path / "run", *recipe),
    ):
        code, out, err = call(*command)
        assert code == (command[0] == "predict"), err
        said = (out + err).replace("\n", " ")
        assert f"{bomb} is not an image" in said
        assert f"{cut} is damaged: the file is truncated" in said
        assert f"{tempfile.gettempdir()}/googlenet-" not in said
    assert bomb in (tmp_path / "run/unreadable.csv").read_text()
    code, out, err = call("doctor", path, "--json")
    assert ("googlenet-" in out, "googlenet-" in err) == (False, False)
    code, out, err = call("doctor", path, "--fix", tmp_path / "clean.csv")
    assert code == 2
    assert "a list cannot name what lies in" in err


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz"])
@pytest.mark.parametrize("name", ["../out.jpg", "/tmp/out.jpg", "a/../../out.jpg", "..\\out.jpg", "C:\\out.jpg"])
def test_a_name_that_leads_out_is_refused(
    tmp_path: Path, suffix: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    path = pack(tmp_path / f"a{suffix}", {"cat/1.jpg": b"", name: b"!"})
    assert f"a{suffix} holds '" in error_of(path)
    assert "which leads out of it: it is not unpacked" in error_of(path)
    assert not list(tmp_path.glob("**/out.jpg"))
    assert not Path("/tmp/out.jpg").exists()


def test_links_and_devices_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as packed:
        for name in NAMES:
            packed.addfile(tarfile.TarInfo(name))
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)):
            member = tarfile.TarInfo(f"cat/link{number}.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            packed.addfile(member)
    data = open_data(path)
    assert data.split("all").counts() == {"cat": 30, "dog": 30}
    assert data.notes == (f"{path}: left out 4 links or devices in it",)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name in NAMES:
            packed.writestr(name, b"")
        link = zipfile.ZipInfo("cat/l.jpg")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    assert open_data(tmp_path / "a.zip").notes == (f"{tmp_path}/a.zip: left out 1 links or devices in it",)


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.bz2"])
def test_what_expands_too_far_is_refused_before_it_fills_the_disk(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MIN_BUDGET_BYTES", 1 << 20)
    path = pack(tmp_path / f"bomb{suffix}", {f"cat/{number}.jpg": bytes(4 << 20) for number in range(8)})
    before = set(Path(tempfile.gettempdir()).glob("googlenet-*"))
    message = error_of(path)
    assert "bytes (100 times its size, or what is free in " in message
    assert set(Path(tempfile.gettempdir()).glob("googlenet-*")) == before


def test_a_header_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = tarfile.TarInfo("cat/1.jpg")
    member.type, member.size = tarfile.XHDTYPE, 64 << 20
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(member.tobuf() + bytes(64 << 20), 1))
    assert "has a header of more than 1,048,576 bytes: it is not unpacked" in error_of(tmp_path / "a.tar.gz")


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", 50)
    assert "holds more than 50 files" in error_of(pack(tmp_path / "a.zip", dict.fromkeys(NAMES, b"")))


def test_what_is_damaged_locked_or_no_archive_is_one_line(tmp_path: Path) -> None:
    whole = pack(tmp_path / "whole.tar.gz", {name: os.urandom(500) for name in NAMES}).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.tar").write_text("no archive")
    (tmp_path / "text.zip").write_text("no archive")
    (tmp_path / "empty.tgz").touch()
    plain = bytearray(gzip.decompress(whole))
    plain[1024 * 20 : 1024 * 20 + 512] = b"?" * 512  # a header in the middle: tarfile would just end there
    (tmp_path / "header.tar").write_bytes(plain)
    for name in ("cut.tar.gz", "text.tar", "text.zip", "empty.tgz", "header.tar"):
        assert error_of(tmp_path / name).startswith(f"{tmp_path / name} is damaged or no archive: ")
    locked = bytearray(pack(tmp_path / "locked.zip", {"cat/1.jpg": b"1"}).read_bytes())
    locked[locked.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    assert "locked.zip needs a password" in error_of(tmp_path / "locked.zip")
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as packed:
        packed.writestr("cat/1.jpg", b"1")
        packed.writestr("cat//1.jpg", b"2")
    assert "twice.zip holds cat//1.jpg twice" in error_of(tmp_path / "twice.zip")
    (tmp_path / "bz.tar").write_bytes(bz2.compress(b"no archive" * 1000))
    assert "is damaged or no archive" in error_of(tmp_path / "bz.tar")
    os.mkfifo(tmp_path / "pipe.zip")
    assert "pipe.zip is a FIFO, not a file" in error_of(tmp_path / "pipe.zip")


def test_nothing_is_left_when_the_process_ends(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", dict.fromkeys(NAMES, b""))
    (tmp_path / "tmp").mkdir()
    code = f"from googlenet.data.opening import open_data; print(open_data({str(path)!r}).train.items[0].path)"
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path / "tmp/googlenet-"))
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_colon_in_a_name_is_no_drive(tmp_path: Path) -> None:
    files = {f"{name}/{number}.jpg": b"x" for name in (":dog:", "12:30", "cat") for number in range(5)}
    assert open_data(pack(tmp_path / "a.zip", files)).class_names == ("12:30", ":dog:", "cat")
    assert "leads out of it" in error_of(pack(tmp_path / "b.zip", {**files, "C:/x.jpg": b"x"}))


@pytest.mark.parametrize("name", [f"cat/{300 * 'x'}.jpg", "cat/0.jpg/1.jpg"])
def test_a_name_that_no_disk_takes_is_named(tmp_path: Path, name: str) -> None:
    files = {f"{label}/{number}.jpg": b"x" for label in ("cat", "dog") for number in range(5)}
    said = error_of(pack(tmp_path / "a.zip", {**files, name: b"x"}))
    assert f"holds {name[-80:]}, which cannot be unpacked: " in said
