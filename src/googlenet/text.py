"""Text for people: names from files and users on one printable line, lists cut short, words that are near.

Standard library only. Whatever a user or a file named reaches a terminal, a message or a plot through here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

FIRST_FEW = 5  # names that a message lists before it counts the rest
MAX_LISTED_WORDS = 16  # allowed words that are all listed even where some are near
_JOINERS = "\u200c\u200d"  # not printable to Python, but part of Persian words and of emoji


def printable(text: str) -> str:
    r"""Return a text on one line: what a terminal would obey, or could not show, is escaped.

    That is control characters, line ends, marks that turn the direction of writing, and the bytes of a file name
    that is not UTF-8, which Python holds as lone surrogates.

    >>> printable("caf\udce9\n\x1b[31m猫.jpg")
    'caf\\udce9\\n\\x1b[31m猫.jpg'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else c.encode("unicode_escape").decode() for c in text)


def escape_surrogates(text: str) -> str:
    r"""Return a text that UTF-8 can hold: bytes of a name that are not UTF-8 are escaped as by :func:`printable`.

    >>> escape_surrogates("caf\udce9.jpg")
    'caf\\udce9.jpg'
    """
    return text.encode("utf-8", "backslashreplace").decode()


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
