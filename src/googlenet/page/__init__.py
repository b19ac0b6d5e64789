"""The page that shows answers to images, as files: `serve` and the web export share it. Standard library only.

``page.js`` knows how an answer looks and how images come in, ``exif.js`` how these are turned; where answers come
from is a file of ``serving`` or of ``exporting``, which calls ``startPage``.
"""

from __future__ import annotations

from pathlib import Path

HEAD = "<!-- head -->"  # in page.html: where scripts and styles are named
SCRIPTS = ("exif.js", "page.js")  # in the order in which they are loaded
HERE = Path(__file__).parent


def read(name: str) -> str:
    """Return the text of a file of the page.

    >>> read("page.html").count(HEAD)
    1
    """
    return (HERE / name).read_text("utf-8")


def markup(head: str) -> str:
    """Return ``page.html`` with these lines in its head."""
    return read("page.html").replace(HEAD, head)
