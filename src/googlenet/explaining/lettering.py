"""Text in images, by Pillow alone: each letter in a font of this machine that has it, any script.

Pillow's own font has Latin letters. For others the fonts of the machine are searched; a letter that none has is written
as its code, so that no two names look alike.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import ImageDraw, ImageFont, features

from googlenet.text import printable

FOLDERS = {
    "linux": ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts"),
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("C:/Windows/Fonts", "~/AppData/Local/Microsoft/Windows/Fonts"),
}
SUFFIXES = (".ttf", ".otf", ".ttc")
PREFERRED = ("notosanscjk", "notosans", "dejavusans", "sourcehansans", "wqy", "droidsansfallback", "msyh", "pingfang")
LACKING = "\U0010ffff"  # no font has it: its shape is that of every missing letter
SHAPES = features.check("raqm")  # whether Pillow joins letters and writes from right to left
MAX_FONTS = 400
PROBE = 24  # pixels


def text_width(text: str, size: int) -> float:
    """Return the width of a text in pixels."""
    return float(sum(_font(name, size).getlength(run) for name, run in _runs(text)))


def write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, colour: Any) -> None:
    """Write one line of text; ``at`` is the left end of its base line."""
    x, y = at
    for name, run in _runs(text):
        font = _font(name, size)
        draw.text((x, y), run, colour, font, anchor="ls")
        x += font.getlength(run)


def fitted(text: str, size: int, width: float) -> str:
    """Return a text of at most ``width`` pixels on one line, cut in the middle: names differ at their ends.

    >>> fitted("cat", 12, 100), len(fitted(100 * "cat", 12, 100)) < 30
    ('cat', True)
    """
    text = printable(text)
    if text_width(text, size) <= width:
        return text
    keep = len(text)
    while keep > 1 and text_width(_cut(text, keep), size) > width:
        keep = min(keep - 1, int(keep * width / text_width(_cut(text, keep), size)) + 1)
    return _cut(text, keep)


def _cut(text: str, keep: int) -> str:
    head = (keep + 1) // 2
    return f"{text[:head]}…{text[len(text) - (keep - head) :]}"


def wrapped(text: str, size: int, width: float) -> list[str]:
    """Break a text into lines of at most ``width`` pixels, between words; longer words are cut."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined, size) <= width:
            lines[-1] = joined
        else:
            lines.append(fitted(word, size, width))
    return lines


def _runs(text: str) -> list[tuple[str, str]]:
    """Divide a text into runs of one font each: the font's path, which is empty for Pillow's own, and the run."""
    letters = frozenset(text)
    if any(unicodedata.bidirectional(letter) in ("R", "AL", "AN") for letter in letters):
        whole = _font_of(letters) if SHAPES else None  # an order from right to left takes one run
        if whole is not None:
            return [(whole, text)]
        text = "".join(_code(c) if unicodedata.bidirectional(c) in ("R", "AL", "AN") else c for c in text)
    fonts = [(_font_of(frozenset(letter)), letter) for letter in text]
    pieces = [("", _code(letter)) if font is None else (font, letter) for font, letter in fonts]
    return [(font, "".join(run for _, run in each)) for font, each in groupby(pieces, lambda piece: piece[0])]


def _code(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


@lru_cache(maxsize=4096)
def _font_of(letters: frozenset[str]) -> str | None:
    """Return the first font that has all of these letters, or ``None``."""
    if all(letter.isascii() for letter in letters) or _has("", letters):
        return ""
    return next((path for path in _fonts() if _has(path, letters)), None)


def _has(path: str, letters: frozenset[str]) -> bool:
    try:
        font = _font(path, PROBE)
        missing = bytes(font.getmask(LACKING))
        return all(bytes(font.getmask(letter)) != missing for letter in letters if not _invisible(letter))
    except (OSError, ValueError):  # not a font, or one of bitmaps
        return False


def _invisible(letter: str) -> bool:
    return unicodedata.category(letter) in ("Zs", "Cf", "Mn", "Me", "Mc")


@lru_cache(maxsize=256)
def _font(path: str, size: int) -> Any:
    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)


@lru_cache(maxsize=1)
def _fonts() -> tuple[str, ...]:
    """Return the fonts of this machine, those with many scripts first."""
    folders = (Path(os.path.expandvars(each)).expanduser() for each in FOLDERS.get(sys.platform, FOLDERS["linux"]))
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*"))
             if path.suffix.lower() in SUFFIXES]  # fmt: skip
    return tuple(map(str, sorted(found, key=_preference)[:MAX_FONTS]))


def _preference(path: Path) -> tuple[int, bool, str]:
    name = path.stem.casefold().replace("-", "").replace("_", "")
    rank = next((rank for rank, each in enumerate(PREFERRED) if name.startswith(each)), len(PREFERRED))
    return rank, any(style in name for style in ("bold", "italic", "oblique", "mono", "condensed")), str(path)
