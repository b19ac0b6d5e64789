"""What the machine refused (memory, files, processes, permissions), in one line that says what to do.

Libraries raise these errors in many ways; none of them is a defect of this program. Standard library only.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from googlenet.errors import GoogLeNetError, MachineError
from googlenet.files import TOO_LARGE
from googlenet.text import printable

MEMORY = "there is not enough memory: use a smaller --batch-size or --image-size, fewer --workers, or a larger machine"
FILES = "too many files are open: raise the limit (ulimit -n), or train with --workers 0"
PROCESSES = "no more processes or threads may be started: raise the limit (ulimit -u), or train with --workers 0"
SPACE = "no space is left on the disk: free some; what was finished before is whole"

_BY_NUMBER = {
    errno.ENOMEM: MEMORY,
    errno.EMFILE: FILES,
    errno.ENFILE: FILES,
    errno.EAGAIN: PROCESSES,
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EFBIG: TOO_LARGE,
    errno.EACCES: "permission denied: choose another place, or ask who owns it",
    errno.EPERM: "permission denied: choose another place, or ask who owns it",
    errno.EROFS: "the file system is read-only: choose another place",
    errno.ENAMETOOLONG: "the name is too long: most file systems take 255 bytes",
    errno.ELOOP: "a symbolic link leads in a circle: correct it",
    errno.EIO: "the disk could not be read or written: check it",
}

# Messages of libraries written in other languages, and their meaning.
_BY_WORDS = (
    (("is killed by signal", "exited unexpectedly"),
     "a process that reads images was killed, mostly for lack of memory: train with fewer --workers, or 0"),
    (("too many open files", "received 0 items of ancdata"), FILES),
    (("can't start new thread", "resource temporarily unavailable", "thread creation failed"), PROCESSES),
    (("shared memory", "/dev/shm"),
     "there is not enough shared memory (/dev/shm): give it more, or train with --workers 0"),
    (("no space left",), SPACE),
    (("allocate memory", "bad alloc", "bad_alloc", "bad allocation", "out of memory", "failed to allocate",
      "failed to map segment", "can't alloc"), MEMORY),
    (("home directory",), "there is no home directory: set HOME"),
)  # fmt: skip


def explain(error: BaseException) -> str | None:
    """Return in one line what the machine refused, if ``error`` or one of its causes says so; else ``None``."""
    for each in _chain(error):
        if isinstance(each, MemoryError):
            return MEMORY
        if isinstance(each, RecursionError):
            return "the input is nested too deeply"
        if isinstance(each, OSError):
            return _of_system(each)
        if isinstance(each, UnicodeError):
            return f"a name or text cannot be read or written here ({each}): set a UTF-8 locale, or PYTHONUTF8=1"
        if isinstance(each, (RuntimeError, ImportError)) and (meaning := _meaning(str(each))):
            return meaning
    return None


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors of the machine into :class:`MachineError`; errors of this package pass unchanged."""
    try:
        yield
    except GoogLeNetError:
        raise
    except Exception as error:
        if why := explain(error):
            raise MachineError(why) from error
        raise


def _of_system(error: OSError) -> str:
    text = error.strerror or _last_line(error)
    known = _BY_NUMBER.get(error.errno or 0) or _meaning(text) or text
    if isinstance(error.filename, (str, bytes)):
        return f"{printable(os.fsdecode(error.filename))}: {known}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):  # errors about a user's file have its name
        return "standard output, or a temporary file, cannot be written: no space is left"
    return known


def _meaning(text: str) -> str | None:
    lowered = text.lower()
    return next((meaning for words, meaning in _BY_WORDS if any(word in lowered for word in words)), None)


def _last_line(error: BaseException) -> str:
    """Return the last line: an error from another process contains its traceback."""
    return next(reversed(str(error).strip().splitlines()), type(error).__name__)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
