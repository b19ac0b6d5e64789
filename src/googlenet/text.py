"""Text for people: names from files and users on one printable line, lists cut short, similar words.

Standard library only. Every name from a user or a file passes through here before it is shown.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

FIRST_FEW = 5  # names that a message lists; the rest are counted
MAX_LISTED_WORDS = 16  # allowed words that are all listed even if some are similar
_JOINERS = "\u200c\u200d"  # not printable to Python, but part of Persian words and of emoji
_NOT_ASCII = re.compile(r"[^\n -~]")
_BYTES = re.compile("[\udc80-\udcff]+")  # of a name, that the locale could not decode
_COMPUTED = r"[=+\-@\t\r\n＝＋－＠]"  # the beginning of a cell that some spreadsheet takes for a formula
_FORMULA, _FORMULA_PATH = re.compile(f"'*{_COMPUTED}"), re.compile(rf"(\./)*{_COMPUTED}")
_NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", re.IGNORECASE)

BETWEEN_LABELS = "|"  # in CSV, where a field is one text: of lists and of results


def printable(text: str) -> str:
    r"""Return a text on one line, without anything that a terminal would obey or could not show.

    Escaped are control characters, line ends, marks that change the direction of writing, and the bytes of a file
    name that is not UTF-8, which Python holds as lone surrogates.

    >>> printable("caf\udce9\n\x1b[31m猫.jpg")
    'caf\\udce9\\n\\x1b[31m猫.jpg'
    """
    if text.isprintable():
        return text
    letters = _decoded(text)
    return "".join(c if c.isprintable() or c in _JOINERS else c.encode("unicode_escape").decode() for c in letters)


def escape_surrogates(text: str) -> str:
    r"""Return a text that can be encoded in UTF-8: other bytes of a name are escaped as by :func:`printable`.

    >>> escape_surrogates("caf\udce9.jpg")
    'caf\\udce9.jpg'
    """
    return _decoded(text).encode("utf-8", "backslashreplace").decode()


def _decoded(text: str) -> str:
    r"""Decode bytes that are UTF-8 and that Python, in another locale, holds as lone surrogates.

    >>> _decoded("caf\udcc3\udca9 \udce9")
    'café \udce9'
    """
    return _BYTES.sub(lambda run: run[0].encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"), text)


def first_few(names: Iterable[str], count: int = FIRST_FEW) -> str:
    """Return the first ``count`` names and the number of the others on one line; ``"nothing"`` if there are none.

    >>> first_few("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    every: Iterator[str] = iter(names)
    shown = [printable(name) for _, name in zip(range(count), every, strict=False)]
    more = sum(1 for _ in every)
    return (", ".join(shown) or "nothing") + (f" and {more:,} more" if more else "")


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return the allowed words that are similar; all allowed words if they are few, or none is similar.

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


def json_text(value: Any, indent: int | None = None, *, compact: bool = False) -> str:
    r"""Return JSON that can be encoded in UTF-8 and shown on a terminal, and that is read back unchanged.

    What :func:`printable` would escape is escaped as in JSON. Bytes of a name that are not UTF-8 are the exception:
    they are read back as :func:`escape_surrogates` writes them. ``compact``: without blanks.

    >>> print(json_text("caf\udce9\x9b 猫"))
    "caf\\udce9\u009b 猫"
    """
    separators = (",", ":") if compact else None
    text = json.dumps(value, indent=indent, ensure_ascii=False, separators=separators)
    return _NOT_ASCII.sub(_json_letter, _decoded(text))


def _json_letter(match: re.Match[str]) -> str:
    letter = match[0]
    if letter.isprintable() or letter in _JOINERS:
        return letter
    return ("\\" if "\ud800" <= letter <= "\udfff" else "") + json.dumps(letter)[1:-1]


def csv_line(cells: Iterable[Any]) -> str:
    r"""Return a line of CSV with its line end. A cell that contains a line end of any kind is quoted.

    >>> csv_line(["a\rb", 1, None])
    '"a\rb",1,\n'
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # only characters of the terminator are quoted
    return line.getvalue()[:-2] + "\n"


def no_formula(text: str) -> str:
    """Return a text for a cell of CSV; an apostrophe goes before one that a spreadsheet would take for a formula.

    >>> [no_formula(text) for text in ("=1+1", "-rf", "-1", "cat", "'=1+1")]
    ["'=1+1", "'-rf", '-1', 'cat', "''=1+1"]
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def from_no_formula(cell: str) -> str:
    """Return the text from which :func:`no_formula` made a cell.

    >>> [from_no_formula(cell) for cell in ("'=1+1", "-1", "cat", "''=1+1", "'n' Sync")]
    ['=1+1', '-1', 'cat', "'=1+1", "'n' Sync"]
    """
    text = cell.removeprefix("'")
    return text if no_formula(text) == cell else cell


def no_formula_path(path: str) -> str:
    """Return a path to the same file for a cell of CSV that no spreadsheet takes for a formula.

    >>> no_formula_path("=1+1.jpg"), no_formula_path("photos/=1+1.jpg")
    ('./=1+1.jpg', 'photos/=1+1.jpg')
    """
    return f"./{path}" if _FORMULA_PATH.match(path) else path


def from_no_formula_path(cell: str) -> str:
    """Return the path from which :func:`no_formula_path` made a cell."""
    path = cell.removeprefix("./")
    return path if no_formula_path(path) == cell else cell
