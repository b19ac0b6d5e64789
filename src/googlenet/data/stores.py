"""Images in object stores, by their addresses: ``s3://bucket/folder``, ``gs://bucket/a.jpg``. Through pyarrow.

Endpoints and credentials come from the usual environment variables: AWS_PROFILE, AWS_ENDPOINT_URL, …
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, BinaryIO

from googlenet.data.addresses import ADDRESS
from googlenet.data.folders import HIDDEN, NO_IMAGE, NO_SUFFIX, SYSTEM, Reason, note_of, unread_for
from googlenet.errors import DataError, MissingExtraError
from googlenet.files import open_regular
from googlenet.images.kinds import advice_for, is_left_by_a_system, suffix_of
from googlenet.images.pixels import COLOURS, suffixes
from googlenet.text import printable

SCHEMES = ("s3", "gs", "file")
MAX_ERROR_LENGTH = 240  # characters of an error of a store


def stored_below(address: str, channels: int = COLOURS, tell: Callable[[str], object] = lambda note: None) -> list[str]:
    """Return the addresses of the images below one, by their suffix, sorted; or the address itself if it is a file.

    Whatever else is there is left out, as in a folder, and told to ``tell``, one sentence for each reason.

    Raises:
        DataError: nothing there; an unknown kind of store, or one that cannot be reached or denies access.
        MissingExtraError: pyarrow is not installed.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "a.jpg").touch()
    ...     [found.removeprefix(f"file://{folder}") for found in stored_below(f"file://{folder}")]
    ['/a.jpg']
    """
    with _reaching(address) as (system, path):
        from pyarrow.fs import FileSelector, FileType

        if system.get_file_info(path).type == FileType.File:
            return [address]
        below = system.get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
    scheme, known = address.partition("://")[0], suffixes(channels)
    found: list[str] = []
    left_out: defaultdict[Reason, list[str]] = defaultdict(list)
    for each in sorted(each.path for each in below if each.is_file):
        reason = _reason_to_leave(each[len(path) :].lstrip("/"), known)
        (found if reason is None else left_out[reason]).append(each)
    notes = [note_of(path, reason, paths) for reason, paths in left_out.items()]
    if not found:
        nothing = f"{printable(address)} holds no images, or does not exist: check the address"
        raise DataError("; ".join((nothing, *notes)))
    for note in notes:
        tell(f"{printable(address)}: {note}")
    return [f"{scheme}://{name}" for name in found]


@contextmanager
def opened(address: str) -> Iterator[BinaryIO]:
    """Open a file with random access. Raises :class:`FileNotFoundError`, or what :func:`stored_below` raises."""
    with _reaching(address) as (system, path):
        on_this_disk = address.startswith("file://")
        with open_regular(path) if on_this_disk else system.open_input_file(path) as file:
            yield file


def _reason_to_leave(below: str, known: frozenset[str]) -> Reason | None:
    *folders, name = below.split("/")
    if is_left_by_a_system(name, is_folder=False) or any(is_left_by_a_system(each, is_folder=True) for each in folders):
        return SYSTEM
    if any(each.startswith(".") for each in (*folders, name)):
        return HIDDEN
    if suffix_of(name) in known:
        return None
    advice = advice_for(name)
    return unread_for(advice) if advice else NO_IMAGE if suffix_of(name) else NO_SUFFIX


@contextmanager
def _reaching(address: str) -> Iterator[tuple[Any, str]]:
    """Yield the store of an address and the path in it; its errors become one line."""
    matched = ADDRESS.fullmatch(address)
    scheme, path = matched.groups() if matched else ("", "")
    if scheme not in SCHEMES:
        allowed = ", ".join(f"{name}://" for name in SCHEMES)
        raise DataError(f"{address}: stores are reached by {allowed}, not by {scheme}://")
    try:
        yield _store(scheme, path.partition("/")[0]), path.rstrip("/")
    except ImportError as error:
        raise MissingExtraError("parquet", "pyarrow") from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(
            f"{address} cannot be reached ({printable(str(error))[:MAX_ERROR_LENGTH]}): check the address, the network "
            f"and the credentials {_CREDENTIALS[scheme]}"
        ) from error


_CREDENTIALS = {
    "s3": "(AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; AWS_ENDPOINT_URL where it is not Amazon's)",
    "gs": "(GOOGLE_APPLICATION_CREDENTIALS)",
    "file": "of the file",
}


@cache
def _store(scheme: str, bucket: str) -> Any:
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(f"{scheme}://{bucket or '/'}")[0]
