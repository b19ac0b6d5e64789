"""Images and archives from the web (http, https): fetched only if the user asked for it, within limits."""

from __future__ import annotations

import errno
import http.client
import io
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import IO

from googlenet.data.addresses import ARCHIVES, archive_suffix, is_url
from googlenet.data.archives import Unpacked, unpack
from googlenet.errors import DataError
from googlenet.text import printable

SILENCE_SECONDS = 20.0  # that a server may take before the next bytes
MAX_SECONDS = 12 * 3600.0
MAX_BYTES = 256 << 30  # of an archive
MAX_IMAGE_SECONDS = 120.0
MAX_IMAGE_BYTES = 256 << 20
CHUNK = 1 << 20
AGENT = "googlenet"


def fetch_archive(url: str) -> Unpacked:
    """Fetch and unpack an archive.

    Raises :class:`DataError`: it cannot be fetched, is too large, or is no archive that is read.
    """
    suffix = archive_suffix(url)
    if suffix is None:
        raise DataError(f"{printable(url)} names no archive: an address of DATA ends in one of {', '.join(ARCHIVES)}")
    with tempfile.TemporaryDirectory(prefix="googlenet-") as folder:
        path = Path(folder, f"archive{suffix}")
        try:
            with path.open("wb") as file:
                for chunk in _chunks(url, MAX_BYTES, MAX_SECONDS):
                    file.write(chunk)
        except OSError as error:
            raise DataError(f"{printable(url)} could not be fetched: {_reason(error)}") from error
        try:
            return unpack(str(path))
        except DataError as error:
            raise DataError(str(error).replace(str(path), printable(url))) from error


def fetch_image(url: str) -> io.BytesIO | Unreachable:
    """Fetch an image. If that fails, return a file that raises the reason when it is read."""
    try:
        content = io.BytesIO(b"".join(_chunks(url, MAX_IMAGE_BYTES, MAX_IMAGE_SECONDS)))
    except OSError as error:
        return Unreachable(url, _reason(error))
    content.name = url  # for messages
    return content


class Unreachable(io.RawIOBase):
    """A file that raises a reason when it is read."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason

    def read(self, size: int = -1) -> bytes:
        """Raise the reason."""
        raise OSError(errno.EIO, self.reason)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Do nothing: readers seek before they read."""
        return 0


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if not is_url(newurl):
            raise urllib.error.URLError(f"it leads to {printable(newurl)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _chunks(url: str, max_bytes: int, max_seconds: float) -> Iterator[bytes]:
    """Fetch an address in pieces. Raises :class:`OSError` for whatever goes wrong."""
    begun, there = time.monotonic(), 0
    try:
        request = urllib.request.Request(url, headers={"User-Agent": AGENT})
        with urllib.request.build_opener(_Redirects).open(request, timeout=SILENCE_SECONDS) as answer:
            length = answer.headers.get("Content-Length", "")
            expected = int(length) if length.isascii() and length.isdigit() else None
            while True:
                if max(there, expected or 0) > max_bytes:
                    raise OSError(errno.EFBIG, f"it has more than {max_bytes:,} bytes")
                if time.monotonic() - begun > max_seconds:
                    raise OSError(errno.ETIMEDOUT, f"it took more than {max_seconds:,.0f} seconds")
                chunk = answer.read1(CHUNK)
                if not chunk:
                    break
                there += len(chunk)
                yield chunk
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(errno.EIO, str(error) or type(error).__name__) from error
    if expected is not None and there != expected:
        raise OSError(errno.EIO, f"it ended after {there:,} of {expected:,} bytes")


def _reason(error: OSError) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {printable(str(error.reason))}"
    if isinstance(error, urllib.error.URLError):
        return printable(str(error.reason))
    return printable(str(error.strerror or error))
