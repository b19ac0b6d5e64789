"""What a section of the report is made of. Every text is in English and Chinese; nothing here is HTML yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Union

MAX_NAME = 80  # characters of a user's name that are shown

Inline = Union[
    "Text", "Name", "Names", "Command", str
]  # a plain string is the same in both languages, such as a number


@dataclass(frozen=True)
class Text:
    """A text in both languages, with ``{places}`` for values: texts, names, and strings that need no translation.

    >>> Text("{n} images", "{n} 张图片").of(n="3").values
    {'n': '3'}
    """

    en: str
    zh: str
    values: Mapping[str, Inline] = field(default_factory=dict)

    def of(self, **values: Inline) -> Text:
        """Return the text with its values."""
        return replace(self, values=values)


@dataclass(frozen=True)
class Name:
    """A name that a user gave: of a class, a file, a run. It is shown on one line, cut in the middle if it is long."""

    text: str


@dataclass(frozen=True)
class Names:
    """A few of many names."""

    names: Sequence[str]
    longest: int = 5
    equal: bool = False  # they are copies of each other


@dataclass(frozen=True)
class Command:
    """A command within a sentence."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph. ``kind``: ``"lead"`` opens a section, ``"note"`` is small, ``"warning"`` must not be missed."""

    text: Inline
    kind: Literal["", "lead", "note", "warning"] = ""


@dataclass(frozen=True)
class Listing:
    """A list of sentences."""

    items: Sequence[Inline]


@dataclass(frozen=True)
class Facts:
    """Names of things beside what they are."""

    rows: Sequence[tuple[Inline, Inline]]


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what is shown, and the value it is sorted by; ``opens`` is the key of images that it opens."""

    shown: Inline
    value: float | str = ""
    span: tuple[float, float, float] | None = None  # value, low and high, 0 to 1, drawn beside it
    opens: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: Inline
    number: bool = False


@dataclass(frozen=True)
class Table:
    """A table. ``sorts``: by a click on a heading, and rows can be searched."""

    caption: Inline
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    sorts: bool = False


@dataclass(frozen=True)
class Chart:
    """An SVG drawing, which :mod:`googlenet.reporting.charts` made."""

    svg: str
    caption: Inline


@dataclass(frozen=True)
class Row:
    """Blocks beside each other, below each other on a narrow screen."""

    blocks: Sequence[Any]


@dataclass(frozen=True)
class Matrix:
    """Counts of ``rows`` by ``columns``; a cell opens the images of its key in ``opens``."""

    caption: Inline
    corner: Inline
    rows: Sequence[Inline]
    columns: Sequence[Inline]
    counts: Sequence[Sequence[int]]
    opens: Mapping[tuple[int, int], str]
    right: frozenset[tuple[int, int]]  # cells that hold no mistakes


@dataclass(frozen=True)
class Figure:
    """A thumbnail by its key, with lines below it. ``heat`` lays the class activation map over it."""

    key: int
    lines: Sequence[Inline]
    heat: bool = False


@dataclass(frozen=True)
class Gallery:
    """Thumbnails."""

    figures: Sequence[Figure]
    large: bool = False


@dataclass(frozen=True)
class Strip:
    """Classes with thumbnails of each."""

    rows: Sequence[tuple[Inline, Inline, Sequence[int]]]


@dataclass(frozen=True)
class Code:
    """Something to copy: a command, or a program."""

    title: Inline
    text: str


@dataclass(frozen=True)
class Details:
    """Blocks that are shown on request."""

    summary: Inline
    blocks: Sequence[Any]


Block = Paragraph | Listing | Facts | Table | Chart | Row | Matrix | Gallery | Strip | Code | Details
