"""Text for people: names from files and users on one printable line, lists cut short, words that are near.

Standard library only. Whatever a user or a file named reaches a terminal, a message or a plot through here.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

FIRST_FEW = 5  # names that a message lists before it counts the rest
MAX_LISTED_WORDS = 16  # allowed words that are all listed even where some are near
_JOINERS = "\u200c\u200d"  # not printable to Python, but part of Persian words and of emoji
_NOT_ASCII = re.compile(r"[^\n -~]")
_BYTES = re.compile("[\udc80-\udcff]+")  # of a name, which the locale could not decode
_COMPUTED = r"[=+\-@\t\r\n＝＋－＠]"  # how a cell begins that some spreadsheet takes for a formula
_FORMULA, _FORMULA_PATH = re.compile(f"'*{_COMPUTED}"), re.compile(rf"(\./)*{_COMPUTED}")
_NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", re.IGNORECASE)


def printable(text: str) -> str:
    r"""Return a text on one line: what a terminal would obey, or could not show, is escaped.

    That is control characters, line ends, marks that turn the direction of writing, and the bytes of a file name
    that is not UTF-8, which Python holds as lone surrogates.

    >>> printable("caf\udce9\n\x1b[31m猫.jpg")
    'caf\\udce9\\n\\x1b[31m猫.jpg'
    """
    if text.isprintable():
        return text
    letters = _decoded(text)
    return "".join(c if c.isprintable() or c in _JOINERS else c.encode("unicode_escape").decode() for c in letters)


def escape_surrogates(text: str) -> str:
    r"""Return a text that UTF-8 can hold: bytes of a name that are not UTF-8 are escaped as by :func:`printable`.

    >>> escape_surrogates("caf\udce9.jpg")
    'caf\\udce9.jpg'
    """
    return _decoded(text).encode("utf-8", "backslashreplace").decode()


def _decoded(text: str) -> str:
    r"""Make letters of bytes that are UTF-8: in a locale that is not, Python holds them as lone surrogates.

    >>> _decoded("caf\udcc3\udca9 \udce9")
    'café \udce9'
    """
    return _BYTES.sub(lambda run: run[0].encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"), text)


def first_few(names: Iterable[str], count: int = FIRST_FEW) -> str:
    """Name the first ``count``, and how many more there are, on one line; ``"nothing"`` where there are none.

    >>> first_few("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    every: Iterator[str] = iter(names)
    shown = [printable(name) for _, name in zip(range(count), every, strict=False)]
    more = sum(1 for _ in every)
    return (", ".join(shown) or "nothing") + (f" and {more:,} more" if more else "")


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return which words are near; which are allowed where they are few, or none is near.

    >>> nearest("googlnet", ["lenet5", "googlenet"])
    "did you mean 'googlenet'? (googlenet, lenet5)"
    """
    words = sorted(map(printable, allowed))
    close = difflib.get_close_matches(word, words, n=3, cutoff=0.7) or difflib.get_close_matches(word, words, n=1)
    listing = ", ".join(words)
    if not close:
        return f"allowed: {listing}"
    meant = " or ".join(f"'{each}'" for each in close)
    return f"did you mean {meant}?" + (f" ({listing})" if len(words) <= MAX_LISTED_WORDS else "")


def json_text(value: Any, indent: int | None = None) -> str:
    r"""Return JSON that UTF-8 can hold and a terminal can show, from which every text is read back as it was.

    Letters stay letters; what :func:`printable` would escape is escaped as JSON does it. Bytes of a name that are not
    UTF-8 are the exception: they are read back as :func:`escape_surrogates` writes them.

    >>> print(json_text("caf\udce9\x9b 猫"))
    "caf\\udce9\u009b 猫"
    """
    return _NOT_ASCII.sub(_json_letter, _decoded(json.dumps(value, indent=indent, ensure_ascii=False)))


def _json_letter(match: re.Match[str]) -> str:
    letter = match[0]
    if letter.isprintable() or letter in _JOINERS:
        return letter
    return ("\\" if "\ud800" <= letter <= "\udfff" else "") + json.dumps(letter)[1:-1]


def csv_line(cells: Iterable[Any]) -> str:
    r"""Return a line of CSV, its line end too. A cell that has a line end of any kind in it is in quotes.

    >>> csv_line(["a\rb", 1, None])
    '"a\rb",1,\n'
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # only what is in the terminator is quoted
    return line.getvalue()[:-2] + "\n"


def no_formula(text: str) -> str:
    """Return a text for a cell of CSV that no spreadsheet takes for a formula: such a one begins with an apostrophe.

    >>> [no_formula(text) for text in ("=1+1", "-rf", "-1", "cat", "'=1+1")]
    ["'=1+1", "'-rf", '-1', 'cat', "''=1+1"]
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def from_no_formula(cell: str) -> str:
    """Return the text of which :func:`no_formula` made a cell.

    >>> [from_no_formula(cell) for cell in ("'=1+1", "-1", "cat", "''=1+1", "'n' Sync")]
    ['=1+1', '-1', 'cat', "'=1+1", "'n' Sync"]
    """
    text = cell.removeprefix("'")
    return text if no_formula(text) == cell else cell


def no_formula_path(path: str) -> str:
    """Return a path for a cell of CSV that no spreadsheet takes for a formula, and that leads to the same file.

    >>> no_formula_path("=1+1.jpg"), no_formula_path("photos/=1+1.jpg")
    ('./=1+1.jpg', 'photos/=1+1.jpg')
    """
    return f"./{path}" if _FORMULA_PATH.match(path) else path


def from_no_formula_path(cell: str) -> str:
    """Return the path of which :func:`no_formula_path` made a cell."""
    path = cell.removeprefix("./")
    return path if no_formula_path(path) == cell else cell
