"""Names of users in plots: plain text, in a font that has its letters; other names are numbered and listed.

By itself matplotlib reads ``$`` as mathematics, and draws a box for a letter that its font lacks.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from matplotlib import ft2font, rc_context
from matplotlib.font_manager import FontProperties, findfont, findSystemFonts, fontManager, get_font

from googlenet.files import fitting_name
from googlenet.text import printable

OWN_FONT = "DejaVu Sans"  # comes with matplotlib
PREFERRED = ("notosanscjk", "notosans", "sourcehansans", "wqy", "wenquanyi", "droidsansfallback", "msyh", "pingfang")
SHAPES = hasattr(ft2font, "__libraqm_version__")  # whether matplotlib joins letters and writes from right to left


@contextmanager
def plain_text(texts: Iterable[str]) -> Iterator[None]:
    """Draw every text in this context as it is written, ``texts`` in fonts of this machine, without warnings."""
    families, _ = _fonts_for(frozenset("".join(texts)))
    settings: dict[Any, Any] = {"text.parse_math": False, "text.usetex": False, "font.family": [OWN_FONT, *families]}
    with rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def shown(text: str, longest: int = 100) -> str:
    """Return a user's text for a title: on one line, not too long; letters that no font has are escaped."""
    _, missing = _fonts_for(frozenset(text))
    escaped = "".join(c.encode("unicode_escape").decode() if c in missing else c for c in printable(text))
    return shortened(escaped, longest)


def shortened(text: str, longest: int) -> str:
    """Return a text of at most ``longest`` places, with an ellipsis in the middle: names differ at their ends.

    >>> shortened("photos/2024/holiday/IMG_0001.jpg", 20), shortened("cat", 20)
    ('photos/20…G_0001.jpg', 'cat')
    """
    if width(text) <= longest:
        return text
    head, tail = text, ""
    while width(head) > longest // 2 - 1:
        head = head[:-1]
    for letter in reversed(text):
        if width(letter + tail) + width(head) + 1 > longest:
            break
        tail = letter + tail
    return f"{head}…{tail}"


def width(text: str) -> int:
    """Return the width of a text in places: East Asian letters take two.

    >>> width("cat"), width("猫")
    (3, 2)
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


class Labels:
    """The labels of names in a plot, all different: ``labels[name]``.

    A name is its own label. If it is longer than ``longest``, looks like another one, or no font of this machine has
    its letters, its label is a number, such as ``#3`` for the third, and :meth:`write_beside` lists it.

    >>> labels = Labels(["cat", "dog", "$5"], 20)
    >>> labels["$5"], labels.numbered
    ('$5', {})
    """

    def __init__(self, names: Iterable[str], longest: int) -> None:
        self.numbered: dict[str, str] = {}
        self._labels: dict[str, str] = {}
        every = list(dict.fromkeys(names))
        plain = {name: _quoted(printable(name)) for name in every}
        _, missing = _fonts_for(frozenset("".join(plain.values())))
        taken: set[str] = set()
        names_seen = set(map(_seen, plain.values()))
        for number, name in enumerate(every, start=1):
            text = plain[name]
            if width(text) > longest or missing.intersection(text) or _seen(text) in taken:
                label = f"#{number}"
                while label in names_seen:  # a class has this name
                    label = f"#{label}"
                self.numbered[label] = name
                if not missing.intersection(text):
                    label += f" {shortened(text, longest - len(label) - 1)}"
            else:
                label = text
            taken.add(_seen(label))
            self._labels[name] = label

    def __getitem__(self, name: str) -> str:
        return self._labels[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels.values())

    def note(self, path: Path) -> str:
        """Return where the numbered names are listed, for the end of a title; empty if all are shown."""
        return f"\n#: see {shown(list_beside(path).name, 60)}" if self.numbered else ""

    def write_beside(self, path: Path) -> None:
        """Write the list of numbered names, if any, beside the plot ``path``. Raises :class:`OSError`."""
        if self.numbered:
            write_list(path, self.numbered.items())


def list_beside(path: Path) -> Path:
    """Return the path of the text file beside a plot that lists its names."""
    return path.with_name(fitting_name(path.stem, ".txt"))


def write_list(path: Path, names: Iterable[tuple[object, str]]) -> None:
    """Write names with their numbers beside the plot ``path``, one in each line. Raises :class:`OSError`."""
    lines = (f"{number}\t{printable(name)}\n" for number, name in names)
    list_beside(path).write_text("".join(lines), "utf-8")


def _quoted(text: str) -> str:
    """Quote a text that is empty, or begins or ends with a blank: it would not be seen otherwise."""
    return text if text and text == text.strip() else f'"{text}"'


def _seen(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@lru_cache(maxsize=64)
def _fonts_for(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the fonts of this machine with the letters that matplotlib's own lacks, and the letters none has."""
    missing = {letter for letter in letters if not letter.isascii()}
    missing = _lacked(get_font(findfont(OWN_FONT)), missing)
    families: list[str] = []
    for path in sorted(findSystemFonts(), key=_preference) if missing else ():
        family = _family_with(path, missing)
        if family is not None:
            families.append(family)
            missing = _lacked(get_font(findfont(FontProperties(family=[family]))), missing)
        if not missing:
            break
    backwards = {letter for letter in letters if not SHAPES and unicodedata.bidirectional(letter) in ("R", "AL", "AN")}
    return tuple(families), frozenset(missing | backwards)


def _family_with(path: str, letters: set[str]) -> str | None:
    """Return the family of a font that has any of the letters, and register it with matplotlib."""
    try:
        font = ft2font.FT2Font(path)
        if not font.scalable or _lacked(font, letters) == letters:
            return None
        fontManager.addfont(path)
        found = get_font(findfont(FontProperties(family=[font.family_name]), fallback_to_default=False))
        found.load_char(ord(min(letters - _lacked(found, letters))))
    except (OSError, RuntimeError, ValueError):  # not a font, a bitmap font, or one of a family without the letters
        return None
    return str(font.family_name)


def _lacked(font: ft2font.FT2Font, letters: set[str]) -> set[str]:
    return {letter for letter in letters if not font.get_char_index(ord(letter))}


def _preference(path: str) -> tuple[int, bool, str]:
    name = Path(path).stem.casefold().replace("-", "").replace("_", "")
    rank = next((rank for rank, each in enumerate(PREFERRED) if name.startswith(each)), len(PREFERRED))
    return rank, "regular" not in name, path
