"""Archives of images, zip and tar: unpacked within limits into a temporary folder, deleted when this process ends.

An archive is untrusted: no name in it can lead out of the folder, no link is created, and bombs are refused.
"""

from __future__ import annotations

import atexit
import bz2
import contextlib
import errno
import gzip
import io
import os
import re
import shutil
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from googlenet.errors import DataError
from googlenet.files import NotARegularFileError, lock, open_regular
from googlenet.images.kinds import advice_for, suffix_of
from googlenet.images.pixels import suffixes
from googlenet.text import first_few, printable

_DRIVE = re.compile(r"[A-Za-z]:")  # how a path on Windows begins
MAX_FILES = 2_000_000
MAX_BYTES = 256 << 30
MAX_RATIO = 100  # unpacked : packed; images hardly compress
MIN_BUDGET_BYTES = 256 << 20  # that any archive may unpack to, whatever its ratio
MAX_HEADER = 1 << 20  # bytes of a name, or of other metadata, in a tar
CHUNK = 1 << 20
PREFIX = "googlenet-archive-"  # of the temporary folders
LOCK_DELAY_SECONDS = 60.0  # a younger folder may not be locked yet by the process that made it
MAX_FREE_SHARE = 0.9  # of the free space that may be filled
MAX_ERROR_LENGTH = 240  # characters of an error of a library
_METHODS = (
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2,
)  # others may take any memory


@dataclass(frozen=True)
class Unpacked:
    """Where an archive was unpacked to, and how many links and devices in it were left out."""

    folder: Path
    left_out: int


_unpacked: dict[tuple[str, int, int], Unpacked] = {}  # by path, size and time: in one process each only once


def unpack(path: str) -> Unpacked:
    """Unpack the images of an archive. Other files are created empty.

    Raises :class:`DataError`: not an archive, damaged, encrypted, a name that leads out of it, or too large.
    """
    try:
        with open_regular(path) as file:
            facts = os.fstat(file.fileno())
            key = (os.path.realpath(path), facts.st_size, facts.st_mtime_ns)
            if key not in _unpacked:
                _unpacked[key] = _unpack(path, file, facts.st_size)
    except NotARegularFileError as error:
        raise DataError(f"{printable(path)} {error.strerror}") from error
    except OSError as error:
        raise DataError(f"{printable(path)} cannot be unpacked: {error.strerror or error}") from error
    return _unpacked[key]


def _unpack(path: str, file: BinaryIO, size: int) -> Unpacked:
    _clear_left_behind()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    atexit.register(_remove, folder, os.getpid())
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(shutil.rmtree, folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            on_failure.callback(os.close, _hold(folder))
        free = int(shutil.disk_usage(folder).free * MAX_FREE_SHARE)
        writer = _Writer(folder, path, min(MAX_BYTES, free, max(MIN_BUDGET_BYTES, MAX_RATIO * size)))
        with _errors_of(path):
            left_out = (_unpack_zip if path.lower().endswith(".zip") else _unpack_tar)(path, file, writer)
        on_failure.pop_all()
    return Unpacked(folder, left_out)


def _clear_left_behind() -> None:
    """Delete the folders of processes that were killed: those that no process holds a lock on."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.lstat().st_mtime > LOCK_DELAY_SECONDS:
                handle = _hold(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(handle)


def _hold(folder: Path) -> int:
    """Lock a folder until this process ends. Raises :class:`OSError` if another holds it, or locks do not work.

    Links are not followed: anybody can put one into the temporary folder.
    """
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        if lock(handle):
            return handle
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    except OSError:
        os.close(handle)
        raise


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not a process that was forked from it
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _errors_of(path: str) -> Iterator[None]:
    damaged = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RuntimeError,
               NotImplementedError, OverflowError)  # fmt: skip
    try:
        yield
    except DataError:
        raise
    except damaged as error:
        said = printable(str(error))[:MAX_ERROR_LENGTH] or type(error).__name__
        raise DataError(f"{printable(path)} is damaged or no archive: {said}") from error


class _Writer:
    """Writes files into a folder, up to a number and a total size."""

    def __init__(self, folder: Path, archive: str, budget: int) -> None:
        self.folder, self.archive, self.budget = folder, printable(archive), budget
        self.bytes = self.files = 0
        self.read = suffixes(0)

    def reserve(self, size: int) -> None:
        """Count one more file of ``size`` bytes before it is read. Raises :class:`DataError` if that is too much."""
        self.files += 1
        self.bytes += size
        if self.files > MAX_FILES:
            raise DataError(f"{self.archive} holds more than {MAX_FILES:,} files: unpack it yourself")
        if self.bytes > self.budget:
            raise DataError(
                f"{self.archive} unpacks to more than {self.budget:,} bytes ({MAX_RATIO} times its size, or what "
                f"is free in {tempfile.gettempdir()}): unpack it yourself if you trust it, or set TMPDIR"
            )

    def write(self, name: str, open_it: Callable[[], IO[bytes]]) -> None:
        """Write one file; an empty one if it is no image."""
        target = self.folder.joinpath(*self._parts(name))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_hold(name, error) from error
        try:
            with target.open("xb") as out:
                if suffix_of(name) in self.read or advice_for(name):
                    with open_it() as source:
                        shutil.copyfileobj(source, out, CHUNK)
        except FileExistsError as error:
            raise DataError(f"{self.archive} holds {printable(name)} twice: unpack it yourself") from error
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR):
                raise self._cannot_hold(name, error) from error
            raise

    def _cannot_hold(self, name: str, error: OSError) -> DataError:
        where = f"{self.archive} holds {first_few([name[-80:]])}"
        return DataError(f"{where}, which cannot be unpacked: {error.strerror or error}; unpack it yourself")

    def _parts(self, name: str) -> tuple[str, ...]:
        """Split a name in an archive. Some archives made on Windows have backslashes."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or parts[0] == "/" or ".." in parts or _DRIVE.match(parts[0]) or "\0" in name:
            raise DataError(f"{self.archive} holds {printable(name)!r}, which leads out of it: it is not unpacked")
        return parts


def _unpack_zip(path: str, file: BinaryIO, writer: _Writer) -> int:
    left_out = 0
    with zipfile.ZipFile(file) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        for info in infos:  # check all before the first is written
            writer.reserve(info.file_size)
            if info.flag_bits & 1:
                raise DataError(f"{printable(path)} needs a password: unpack it yourself")
            if info.compress_type not in _METHODS:
                raise DataError(f"{printable(path)} is packed in a way that is not read: unpack it yourself")
        for info in infos:
            if (info.external_attr >> 16) & 0o170000 == 0o120000:  # a link
                left_out += 1
            else:
                writer.write(info.filename, partial(archive.open, info))
    return left_out


def _unpack_tar(path: str, file: BinaryIO, writer: _Writer) -> int:
    left_out = 0
    source = _Bounded(path, file, writer)
    with tarfile.open(fileobj=cast(BinaryIO, source), mode="r:") as archive:
        while member := archive.next():
            if member.isreg():
                writer.reserve(member.size)
                writer.write(member.name, partial(cast("Callable[..., IO[bytes]]", archive.extractfile), member))
            elif not member.isdir():
                left_out += 1
            archive.members.clear()  # type: ignore[attr-defined] # otherwise a million are kept in memory
        source.seek(archive.offset)
        if source.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile stops silently at a damaged header
            raise tarfile.ReadError("a header is damaged")
    return left_out


class _Bounded(io.RawIOBase):
    """The file that tarfile reads: decompressed on the way, never past the budget, and little at a time."""

    def __init__(self, path: str, file: BinaryIO, writer: _Writer) -> None:
        self.path, self.writer = printable(path), writer
        start = file.read(3)
        file.seek(0)
        opened = gzip.GzipFile(fileobj=file) if start[:2] == b"\x1f\x8b" else file
        self.file = cast(BinaryIO, bz2.BZ2File(file) if start == b"BZh" else opened)
        self.most = writer.budget + MAX_HEADER * 64

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= max(MAX_HEADER, CHUNK):
            raise DataError(f"{self.path} has a header of more than {MAX_HEADER:,} bytes: it is not unpacked")
        content = self.file.read(size)
        self._check()
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET and offset > self.most:
            self.writer.reserve(offset)
        place = self.file.seek(offset, whence)
        self._check()
        return place

    def tell(self) -> int:
        return self.file.tell()

    def _check(self) -> None:
        if self.file.tell() > self.most:
            self.writer.reserve(self.most)
