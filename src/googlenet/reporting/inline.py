"""Texts in both languages as HTML and SVG: everything is escaped, and a user's name cannot change what is around it."""

from __future__ import annotations

import html
import re

from googlenet.reporting.blocks import MAX_NAME, Command, Inline, Name, Names, Text
from googlenet.text import printable

_PLACE = re.compile(r"\{(\w+)\}")


def shortened(text: str, longest: int = MAX_NAME) -> str:
    """Return a name on one line, with an ellipsis in the middle if it is long: names differ at their ends.

    >>> shortened("holiday/2024/a.jpg", 9)
    'holi….jpg'
    """
    plain = printable(text)
    if len(plain) <= longest:
        return plain or '""'
    half = (longest - 1) // 2
    return f"{plain[:half]}…{plain[-(longest - 1 - half) :]}"


def name_html(name: str) -> str:
    """Return a name as HTML, isolated from the direction of writing around it."""
    return f"<bdi>{html.escape(shortened(name))}</bdi>"


def to_html(inline: Inline) -> str:
    """Return a text in both languages as HTML; the style sheet shows one of them."""
    if isinstance(inline, Name):
        return name_html(inline.text)
    if isinstance(inline, Command):
        words = (f"<span>{html.escape(word)}</span>" for word in printable(inline.text).split(" "))
        return f"<code>{' '.join(words)}</code>"
    if isinstance(inline, str):
        return html.escape(printable(inline))
    return "".join(
        f'<span class="{language}" lang="{language}">{in_language(inline, language)}</span>'
        for language in ("en", "zh")
    )


def in_language(inline: Inline, language: str) -> str:
    """Return a text in one language as HTML."""
    if isinstance(inline, Names):
        shown = [name_html(name) for name in inline.names[: inline.longest]]
        between = " = " if inline.equal else ", " if language == "en" else "、"
        return between.join(shown) + _more(inline, language)
    if not isinstance(inline, Text):
        return to_html(inline)
    template, parts, end = inline.en if language == "en" else inline.zh, [], 0
    for found in _PLACE.finditer(template):
        parts += [html.escape(template[end : found.start()]), in_language(inline.values[found[1]], language)]
        end = found.end()
    return "".join([*parts, html.escape(template[end:])])


def _more(inline: Names, language: str) -> str:
    more = len(inline.names) - inline.longest
    if more <= 0:
        return ""
    return f" and {more:,} more" if language == "en" else f" 等另外 {more:,} 个"


def plain(inline: Inline, language: str) -> str:
    """Return a text in one language without HTML."""
    if isinstance(inline, (Name, Command)):
        return shortened(inline.text)
    if isinstance(inline, str):
        return printable(inline)
    if isinstance(inline, Names):
        return ", ".join(map(shortened, inline.names[: inline.longest])) + _more(inline, language)
    template = inline.en if language == "en" else inline.zh
    return _PLACE.sub(lambda found: plain(inline.values[found[1]], language), template)


def svg_text(inline: Inline, x: float, y: float, classes: str, longest: int = 18) -> str:
    """Return a text of a drawing, in both languages where these differ."""
    start = f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}'
    if isinstance(inline, (Text, Names)):
        return "".join(
            f'{start} {language}" lang="{language}">{html.escape(plain(inline, language))}</text>'
            for language in ("en", "zh")
        )
    text = printable(inline) if isinstance(inline, str) else shortened(inline.text, longest)
    return f'{start}">{html.escape(text)}</text>'
