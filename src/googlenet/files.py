"""Files that are whole or absent: temporary siblings, syncing, locks, and why one could not be written."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from googlenet.errors import DiskFullError, RunError
from googlenet.text import printable

MAX_NAME_BYTES = 255  # of a file's name, on nearly every file system
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_error(path: Path, error: OSError, when_full: str = "") -> RunError:
    """Return, in one line, why ``path`` could not be written; a full disk has an error of its own.

    ``when_full`` says what became of the work, and what to do, where the disk is full.
    """
    name = printable(str(path))
    full = error.errno in _DISK_FULL
    if full and when_full:
        return DiskFullError(f"no space left to write {name}; {when_full}")
    return (DiskFullError if full else RunError)(f"{name} cannot be written: {error.strerror or error}")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent, down to the disk. Raises :class:`OSError`."""
    replace_file(path, lambda fresh: fresh.write_bytes(content))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Put what ``write`` writes to a temporary sibling under ``path``, down to the disk: whole, or not at all."""
    fresh = sibling(path, f".{os.getpid()}.new")
    try:
        write(fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_directory(path.parent)
    finally:
        with contextlib.suppress(OSError):  # on a disk that became read-only this fails even where there is none
            fresh.unlink()


def sibling(path: Path, ending: str) -> Path:
    """Name a hidden file beside ``path``, after it.

    >>> sibling(Path("runs/results.parquet"), ".new").name
    '.results.parquet.new'
    """
    return path.with_name(fitting_name(f".{path.name}", ending))


def fitting_name(stem: str, ending: str = "") -> str:
    """Return ``stem + ending``; where that is longer than a file system takes, some of the stem, and a hash of it.

    >>> len(fitting_name(300 * "x", ".png")), fitting_name("x", ".png")
    (255, 'x.png')
    """
    whole = os.fsencode(stem + ending)
    if len(whole) <= MAX_NAME_BYTES:
        return stem + ending
    mark = f"-{hashlib.sha256(whole).hexdigest()[:12]}"
    room = MAX_NAME_BYTES - len(mark) - len(os.fsencode(ending))
    if room < 0:  # what looks like an ending is no such thing
        return fitting_name(stem + ending)
    return os.fsencode(stem)[:room].decode("utf-8", "ignore") + mark + ending


def sync_directory(path: Path) -> None:
    """Make renames inside a directory survive a power cut (a no-op where directories cannot be synced)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(handle: int) -> None:
    """Keep others out of an open file or folder until it is closed; :class:`BlockingIOError` where one is in."""
    if os.name == "nt":
        return
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return
