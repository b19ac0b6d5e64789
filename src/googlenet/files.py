"""Files that are written whole or not at all: temporary siblings, fsync, locks, errors explained in one line.

Files named by users are opened here too: a FIFO or device is refused instead of waited for.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from googlenet.errors import DiskFullError, RunError
from googlenet.text import printable

MAX_NAME_BYTES = 255  # of a file name, on common file systems
TOO_LARGE = "the file would be larger than is allowed there: raise the limit (ulimit -f), or use another disk"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Opening a FIFO does not wait, and child processes do not inherit the handle. Flags a system lacks are left out.
_READ_FLAGS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"))


class NotARegularFileError(OSError):
    """A FIFO, device, socket or folder in place of a file; ``strerror`` says which."""


def open_regular(path: str | Path) -> BinaryIO:
    """Open a file for reading, following links, without ever waiting: a FIFO, device, socket or folder is refused.

    Every file named by a user, a list or an archive is opened with this function.

    Raises:
        NotARegularFileError: it is not a regular file. Devices are not opened at all.
        OSError: it does not exist or may not be read, as with ``open``.

    >>> open_regular("/")
    Traceback (most recent call last):
    googlenet.files.NotARegularFileError: [Errno 22] is a folder, not a file: '/'
    """
    _require_regular(os.stat(path).st_mode, path)  # noqa: PTH116 - takes any text; opening some devices does something
    return open(path, "rb", opener=_open_regular)


def refuse_irregular(path: str | Path) -> None:
    """Raise :class:`NotARegularFileError` if something other than a file has this name, which is to be written."""
    with contextlib.suppress(FileNotFoundError):
        _require_regular(os.stat(path).st_mode, path)  # noqa: PTH116 - takes any text


def _open_regular(path: str, flags: int) -> int:
    handle = os.open(path, flags | _READ_FLAGS)
    try:
        _require_regular(os.fstat(handle).st_mode, path)  # of the open file: the name may lead elsewhere by now
    except BaseException:
        os.close(handle)
        raise
    return handle


def _require_regular(mode: int, path: str | Path) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise NotARegularFileError(errno.EINVAL, f"is {kind}, not a file", str(path))


def write_error(path: Path, error: OSError, when_full: str = "") -> RunError:
    """Return an error that says in one line why ``path`` could not be written; a full disk has its own class.

    ``when_full`` is what to tell the user about the work if the disk is full.
    """
    name = printable(str(path))
    full = error.errno in _DISK_FULL
    if full and when_full:
        return DiskFullError(f"no space left to write {name}; {when_full}")
    why = TOO_LARGE if error.errno == errno.EFBIG else error.strerror or error
    return (DiskFullError if full else RunError)(f"{name} cannot be written: {why}")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and sync it to disk. Raises :class:`OSError`."""
    replace_file(path, lambda fresh: fresh.write_bytes(content))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` write a temporary sibling, sync it to disk, and rename it to ``path``: whole, or not at all."""
    fresh = sibling(path, f".{os.getpid()}.new")
    try:
        write(fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_directory(path.parent)
    finally:
        with contextlib.suppress(OSError):  # on a disk that became read-only this fails even if there is no file
            fresh.unlink()


def sibling(path: Path, ending: str) -> Path:
    """Return the name of a hidden file beside ``path``. If the name of ``path`` is too long, so is this one.

    >>> sibling(Path("runs/results.parquet"), ".new").name
    '.results.parquet.new'
    """
    name = f".{path.name}"
    too_long = len(os.fsencode(path.name)) > MAX_NAME_BYTES  # writing must fail now, not the rename at the end
    return path.with_name(name + ending if too_long else fitting_name(name, ending))


def fitting_name(stem: str, ending: str = "") -> str:
    """Return ``stem + ending``; if that is too long for a file system, the start of the stem and a hash.

    >>> len(fitting_name(300 * "x", ".png")), fitting_name("x", ".png")
    (255, 'x.png')
    """
    whole = os.fsencode(stem + ending)
    if len(whole) <= MAX_NAME_BYTES:
        return stem + ending
    mark = f"-{hashlib.sha256(whole).hexdigest()[:12]}"
    room = MAX_NAME_BYTES - len(mark) - len(os.fsencode(ending))
    if room < 0:  # the ending is too long to be one
        return fitting_name(stem + ending)
    return os.fsencode(stem)[:room].decode("utf-8", "ignore") + mark + ending


def sync_directory(path: Path) -> None:
    """Make renames inside a directory survive a power cut (does nothing where directories cannot be synced)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(handle: int) -> bool:
    """Lock an open file or folder until it is closed. Raises :class:`BlockingIOError` if it is locked already.

    Returns ``False`` where the system or the file system has no locks.
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
    """Return this package's folder in the user's cache; ``None`` if the user has no home directory."""
    return _of_user("LOCALAPPDATA", "XDG_CACHE_HOME", {"win32": "AppData/Local", "darwin": "Library/Caches"}, ".cache")


def user_config() -> Path | None:
    """Return this package's folder among the user's settings; ``None`` if the user has no home directory."""
    below = {"win32": "AppData/Roaming", "darwin": "Library/Application Support"}
    return _of_user("APPDATA", "XDG_CONFIG_HOME", below, ".config")


def _of_user(windows: str, variable: str, below: Mapping[str, str], otherwise: str) -> Path | None:
    given = os.environ.get(windows if os.name == "nt" else variable)
    if given:
        return Path(given) / "googlenet"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / below.get(sys.platform, otherwise) / "googlenet"


def check_output_path(path: Path) -> None:
    """Raise :class:`RunError` if nothing could be written to ``path``; called before any work is done.

    The nearest existing folder must be writable, and the names of missing folders must be allowed in it. Whether
    ``path`` may exist already is for the caller to decide.
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
            raise NotADirectoryError(errno.ENOTDIR, f"{printable(str(place))} is not a folder")
        if not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else 0)):
            raise _forbidden(place, path)
    except (OSError, ValueError) as error:
        raise write_error(path, error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))) from error


def _check_name(name: str) -> None:
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        raise OSError(errno.ENAMETOOLONG, f"a name has more than {MAX_NAME_BYTES} bytes")


def _forbidden(place: Path, path: Path) -> OSError:
    """Return the error for ``place``, which is ``path`` or above it: a read-only disk, or no permission."""
    read_only = os.name == "posix" and os.statvfs(place).f_flag & os.ST_RDONLY
    number = errno.EROFS if read_only else errno.EACCES
    where = "" if place == path else f"{printable(str(place))}: "
    return OSError(number, where + os.strerror(number))
