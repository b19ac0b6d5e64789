"""Files that are whole or absent: temporary siblings, syncing, locks, and why one could not be written.

And files of users that are opened for reading without waiting for what is no file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from googlenet.errors import DiskFullError, RunError
from googlenet.text import printable

MAX_NAME_BYTES = 255  # of one name in a folder, on the file systems that are in use
TOO_LARGE = "the file would be larger than is allowed there: raise the limit (ulimit -f), or take another disk"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# What keeps the opening of a FIFO from waiting, and a handle from children; what a system lacks is left out.
_READ_FLAGS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"))


class NotARegularFileError(OSError):
    """A FIFO, device, socket or folder where a file was to be read; ``strerror`` says which."""


def open_regular(path: str | Path) -> BinaryIO:
    """Open a file for reading, following links, and never wait: a FIFO, device, socket or folder is refused.

    Every file that a user, a list or an archive named is opened through here.

    Raises:
        NotARegularFileError: it is no regular file; a device is not even opened.
        OSError: it does not exist, may not be read, and so on, as ``open`` does.

    >>> open_regular("/")
    Traceback (most recent call last):
    googlenet.files.NotARegularFileError: [Errno 22] is a folder, not a file: '/'
    """
    _require_regular(os.stat(path).st_mode, path)  # noqa: PTH116 - takes any text; opening some devices does something
    return open(path, "rb", opener=_open_regular)


def refuse_irregular(path: str | Path) -> None:
    """Raise :class:`NotARegularFileError` where something that is no file has this name; a name to write to."""
    with contextlib.suppress(FileNotFoundError):
        _require_regular(os.stat(path).st_mode, path)  # noqa: PTH116 - takes any text


def _open_regular(path: str, flags: int) -> int:
    handle = os.open(path, flags | _READ_FLAGS)
    try:
        _require_regular(os.fstat(handle).st_mode, path)  # what is open now, not what was there before
    except BaseException:
        os.close(handle)
        raise
    return handle


def _require_regular(mode: int, path: str | Path) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise NotARegularFileError(errno.EINVAL, f"is {kind}, not a file", str(path))


def write_error(path: Path, error: OSError, when_full: str = "") -> RunError:
    """Return, in one line, why ``path`` could not be written; a full disk has an error of its own.

    ``when_full`` says what became of the work, and what to do, where the disk is full.
    """
    name = printable(str(path))
    full = error.errno in _DISK_FULL
    if full and when_full:
        return DiskFullError(f"no space left to write {name}; {when_full}")
    why = TOO_LARGE if error.errno == errno.EFBIG else error.strerror or error
    return (DiskFullError if full else RunError)(f"{name} cannot be written: {why}")


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
    """Name a hidden file beside ``path``, after it; one that no file can have where ``path`` is none.

    >>> sibling(Path("runs/results.parquet"), ".new").name
    '.results.parquet.new'
    """
    name = f".{path.name}"
    too_long = len(os.fsencode(path.name)) > MAX_NAME_BYTES  # to be said now, not when it is renamed
    return path.with_name(name + ending if too_long else fitting_name(name, ending))


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


def lock(handle: int) -> bool:
    """Keep others out of an open file or folder until it is closed; :class:`BlockingIOError` where one is in.

    ``False`` where there are no locks.
    """
    if os.name == "nt":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return False
    return True


def user_cache() -> Path | None:
    """Return the folder of this package in the user's cache; ``None`` where the user has no home directory."""
    given = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    if given:
        return Path(given) / "googlenet"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    below = {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")
    return home / below / "googlenet"


def check_output_path(path: Path) -> None:
    """Raise :class:`RunError` where a file or folder could not be written to ``path``, before any work is done.

    The nearest folder that is there must be one that may be written; what is missing below it must have names that it
    takes. Whether ``path`` itself is in the way is for the caller to say.
    """
    try:
        if not path.is_absolute():
            os.getcwd()  # noqa: PTH109 - raises where the current folder was deleted
        place = path
        while not os.path.lexists(place):
            _check_name(place.name)
            place = place.parent
        place.stat()  # a link that leads in a circle, or nowhere
        if place != path and not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{printable(str(place))} is no folder")
        if not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else 0)):
            raise _forbidden(place, path)
    except (OSError, ValueError) as error:
        raise write_error(path, error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))) from error


def _check_name(name: str) -> None:
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        raise OSError(errno.ENAMETOOLONG, f"a name has more than {MAX_NAME_BYTES} bytes")


def _forbidden(place: Path, path: Path) -> OSError:
    """Return whether the disk or the folder forbids writing to ``place``, which is ``path`` or above it."""
    read_only = os.name == "posix" and os.statvfs(place).f_flag & os.ST_RDONLY
    number = errno.EROFS if read_only else errno.EACCES
    where = "" if place == path else f"{printable(str(place))}: "
    return OSError(number, where + os.strerror(number))
