"""Recognises addresses and archives by their names, without loading what fetches and unpacks them."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from googlenet.errors import DataError
from googlenet.text import printable

SCHEMES = ("http://", "https://")
ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://(.+)", re.DOTALL)
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2")


def is_url(text: str) -> bool:
    """Whether a text is an address (http, https) that ``--download`` fetches.

    >>> is_url("https://example.org/photos.zip"), is_url("s3://bucket/a.jpg")
    (True, False)
    """
    return text.lower().startswith(SCHEMES)


def is_address(text: str) -> bool:
    """Whether a text is an address, of the web or of a store, and not the path of a file.

    >>> is_address("s3://bucket/a.jpg"), is_address("photos/a.jpg")
    (True, False)
    """
    return is_url(text) or ADDRESS.fullmatch(text) is not None


def archive_suffix(url: str) -> str | None:
    """Return the suffix of the archive that an address (https) names, if it names one."""
    try:
        path = urlsplit(url).path.lower()
    except ValueError:  # not a valid address: fetching it gives the error
        return None
    return next((suffix for suffix in ARCHIVES if path.endswith(suffix)), None)


def refuse_url(url: str) -> DataError:
    """Return the error for an address without ``--download``."""
    return DataError(f"{printable(url)} is not on this machine: give --download to fetch it")


def is_archive(path: str) -> bool:
    """Whether a path names an archive, by its suffix, and is not a folder.

    >>> is_archive("photos.zip"), is_archive("photos.tar.GZ"), is_archive("photos.gz")
    (True, True, False)
    """
    return path.lower().endswith(ARCHIVES) and not os.path.isdir(path)  # noqa: PTH112 - takes any text
