"""Sections → one HTML file that asks for nothing: styles, script, images and figures are inside."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from googlenet._version import __version__
from googlenet.reporting.blocks import (
    Cell,
    Chart,
    Code,
    Details,
    Facts,
    Gallery,
    Inline,
    Listing,
    Matrix,
    Name,
    Paragraph,
    Row,
    Strip,
    Table,
    Text,
)
from googlenet.reporting.inline import plain, shortened, to_html
from googlenet.reporting.thumbnails import Thumbnail, Thumbnails
from googlenet.text import json_text, printable

HERE = Path(__file__).parent
MIN_SEARCHED = 20  # rows of a table from which on it can be searched
MAX_JSON_BYTES = 1_200_000  # of figures as they are; longer ones are compressed
FULL = 100  # percent
TINT = 46  # percent of the colour in the darkest cell of a matrix

KIND = {"": "", "lead": ' class="lead"', "note": ' class="note"', "warning": ' class="warning"'}


@dataclass(frozen=True)
class Part:
    """A section with its blocks."""

    name: str
    title: Text
    blocks: Sequence[Any]


class Page:
    """Writes parts as HTML. ``shown`` are the numbers of thumbnails that stand in the page by now."""

    def __init__(self, thumbnails: Thumbnails) -> None:
        self.thumbnails = thumbnails
        self.shown: set[int] = set()
        self._ids = 0

    def part(self, part: Part) -> str:
        """Return a section."""
        blocks = "".join(map(self.block, part.blocks))
        return (
            f'<section id="{part.name}" aria-labelledby="{part.name}-title">'
            f'<h2 id="{part.name}-title">{to_html(part.title)}</h2>{blocks}</section>\n'
        )

    def block(self, block: Any) -> str:
        """Return a block."""
        return _WRITERS[type(block)](self, block)

    def paragraph(self, block: Paragraph) -> str:
        """Return a paragraph."""
        return f"<p{KIND[block.kind]}>{to_html(block.text)}</p>"

    def listing(self, block: Listing) -> str:
        """Return a list."""
        return f"<ul>{''.join(f'<li>{to_html(item)}</li>' for item in block.items)}</ul>"

    def facts(self, block: Facts) -> str:
        """Return a list of descriptions."""
        rows = (f"<div><dt>{to_html(what)}</dt><dd>{to_html(value)}</dd></div>" for what, value in block.rows)
        return f"<dl>{''.join(rows)}</dl>"

    def chart(self, block: Chart) -> str:
        """Return a figure. A screen reader reads its caption, and the words in the drawing."""
        return f'<figure class="chart">{block.svg}<figcaption>{to_html(block.caption)}</figcaption></figure>'

    def row(self, block: Row) -> str:
        """Return blocks beside each other."""
        return f'<div class="row">{"".join(map(self.block, block.blocks))}</div>'

    def table(self, block: Table) -> str:
        """Return a table in a frame that scrolls sideways."""
        head = "".join(
            f'<th scope="col"{_number(column.number)}>{_heading(column.title, block.sorts)}</th>'
            for column in block.columns
        )
        numbers = [column.number for column in block.columns]
        body = "".join(f"<tr>{''.join(map(self._cell, row, numbers, range(len(row))))}</tr>" for row in block.rows)
        search = _search() if block.sorts and len(block.rows) >= MIN_SEARCHED else ""
        kind = "sorts" if block.sorts else "plain"
        return self._framed(block.caption, kind, f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>", before=search)

    def _framed(self, caption: Inline, kind: str, content: str, before: str = "") -> str:
        """Return a table with its caption; it scrolls sideways where it is too wide, by keys as well."""
        title = f'<p class="caption" id="{self._next_id()}">{to_html(caption)}</p>'
        named = f'aria-labelledby="{self._last_id()}"'
        table = f'<table class="{kind}" {named}>{content}</table>'
        return f'<div>{title}{before}<div class="scroll" tabindex="0" role="region" {named}>{table}</div></div>'

    def _cell(self, cell: Cell, number: bool, column: int) -> str:
        shown = to_html(cell.shown)
        if cell.opens:
            shown = f'<button type="button" class="open" data-open="{html.escape(cell.opens)}">{shown}</button>'
        if cell.span:
            value, low, high = (round(FULL * each, 1) for each in cell.span)
            drawn = f'<i class="span" style="--v:{value}%;--l:{low}%;--h:{high}%"></i>'
            shown = f"{drawn}<span>{shown}</span>"
        sorted_by = cell.value if isinstance(cell.value, str) else f"{cell.value:.6g}"
        data = f' data-v="{html.escape(shortened(sorted_by))}"' if cell.value != "" else ""
        tag = 'th scope="row"' if not column else "td"
        return f"<{tag}{_number(number)}{data}>{shown}</{tag.split()[0]}>"

    def matrix(self, block: Matrix) -> str:
        """Return a matrix whose cells are buttons: one stop of the Tab key, then the arrow keys."""
        most = max((n for i, row in enumerate(block.counts) for j, n in enumerate(row) if (i, j) not in block.right),
                   default=0)  # fmt: skip
        head = "".join(f'<th scope="col"><div>{to_html(name)}</div></th>' for name in block.columns)
        rows = []
        for i, counts in enumerate(block.counts):
            total = max(sum(counts), 1)
            cells = "".join(self._count(block, i, j, n, total, most) for j, n in enumerate(counts))
            rows.append(f'<tr><th scope="row">{to_html(block.rows[i])}</th>{cells}</tr>')
        opening = f"<thead><tr><td>{to_html(block.corner)}</td>{head}</tr></thead>"
        return self._framed(block.caption, "matrix", f"{opening}<tbody>{''.join(rows)}</tbody>")

    def _count(self, block: Matrix, i: int, j: int, n: int, total: int, most: int) -> str:
        right = (i, j) in block.right
        if not n:
            return f'<td class="none{" right" if right else ""}">·</td>'
        share = n / total if right else n / max(most, 1)
        shade = f' class="{"right" if right else "wrong"}" style="--s:{TINT * share:.0f}%"'
        key = block.opens.get((i, j))
        if key is None:
            return f"<td{shade}>{n:,}</td>"
        return f'<td{shade}><button type="button" class="open" data-open="{html.escape(key)}">{n:,}</button></td>'

    def gallery(self, block: Gallery) -> str:
        """Return thumbnails with their captions, and a switch for heat maps."""
        switch, heat = "", any(each.heat and self._has_heat(each.key) for each in block.figures)
        if heat:
            label = to_html(Text("show where it looked", "显示依据区域"))
            switch = f'<label class="switch"><input type="checkbox" checked class="heat-switch"> {label}</label>'
        figures = "".join(
            f"<figure>{self._image(each.key, each.heat)}<figcaption>"
            f"{''.join(f'<div>{to_html(line)}</div>' for line in each.lines)}</figcaption></figure>"
            for each in block.figures
        )
        return f'<div class="heats">{switch}<div class="gallery{" large" if block.large else ""}">{figures}</div></div>'

    def _has_heat(self, key: int) -> bool:
        found = self.thumbnails.get(key)
        return found is not None and found.heat is not None

    def _image(self, key: int, with_heat: bool = False) -> str:
        found = self.thumbnails.get(key)
        if found is None:
            return ""
        mark = "" if key in self.shown else f' id="image-{key}"'
        self.shown.add(key)
        image = f'<img{mark} src="{found.url}" width="{found.width}" height="{found.height}" alt="">'
        if not with_heat or found.heat is None:
            return f'<span class="thumb">{image}</span>' if with_heat else image
        left, top, wide, high = (round(each, 2) for each in found.heat.box)
        place = f"left:{left}%;top:{top}%;width:{wide}%;height:{high}%"
        return f'<span class="thumb">{image}<img class="heat" src="{found.heat.url}" style="{place}" alt=""></span>'

    def strip(self, block: Strip) -> str:
        """Return a row of thumbnails for each class."""
        rows = (
            f"<li><div><b>{to_html(name)}</b> <small>{to_html(what)}</small></div>"
            f'<div class="samples">{"".join(map(self._image, keys))}</div></li>'
            for name, what, keys in block.rows
        )
        return f'<ul class="strip">{"".join(rows)}</ul>'

    def code(self, block: Code) -> str:
        """Return code, with its title."""
        text = "\n".join(map(printable, block.text.split("\n")))
        title = f'<figcaption id="{self._next_id()}">{to_html(block.title)}</figcaption>'
        opening = f'<pre tabindex="0" role="region" aria-labelledby="{self._last_id()}">'
        return f'<figure class="code">{title}{opening}<code>{html.escape(text)}</code></pre></figure>'

    def details(self, block: Details) -> str:
        """Return blocks that open on request."""
        return f"<details><summary>{to_html(block.summary)}</summary>{''.join(map(self.block, block.blocks))}</details>"

    def _next_id(self) -> str:
        self._ids += 1
        return self._last_id()

    def _last_id(self) -> str:
        return f"part-{self._ids}"


_WRITERS: dict[type, Callable[[Page, Any], str]] = {
    Paragraph: Page.paragraph, Listing: Page.listing, Facts: Page.facts, Chart: Page.chart, Row: Page.row,
    Table: Page.table, Matrix: Page.matrix, Gallery: Page.gallery, Strip: Page.strip, Code: Page.code,
    Details: Page.details,
}  # fmt: skip


def _number(number: bool) -> str:
    return ' class="number"' if number else ""


def _heading(title: Inline, sorts: bool) -> str:
    return f'<button type="button" class="sort">{to_html(title)}</button>' if sorts else to_html(title)


def _search() -> str:
    label = to_html(Text("Find a class", "查找类别"))
    return f'<label class="search">{label} <input type="search" autocomplete="off" spellcheck="false"></label>'


def page(title: Name, subtitle: Inline, parts: Sequence[Part], thumbnails: Thumbnails, data: Mapping[str, Any]) -> str:
    """Return the whole page. ``data``: ``figures``, what ``evaluate --json`` prints, and what the script needs."""
    writer = Page(thumbnails)
    body = "".join(map(writer.part, parts))
    links = "".join(f'<li><a href="#{part.name}">{to_html(part.title)}</a></li>' for part in parts)
    others = {str(key): each.url for key, each in thumbnails.found.items() if key not in writer.shown}
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en" data-language="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f'<meta name="generator" content="googlenet {__version__}">\n'
        f"<title>{html.escape(plain(title, 'en'))}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n<body>\n"
        f"{_header(title, subtitle, links)}<main>\n{body}</main>\n{_footer()}{_dialog()}"
        f"{_figures(data['figures'])}"
        f'<script type="application/json" id="images">{_json({**data["images"], "thumbs": others})}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _header(title: Name, subtitle: Inline, links: str) -> str:
    contents = to_html(Text("Contents", "目录"))
    return (
        f"<header><div><h1>{to_html(title)}</h1><p>{to_html(subtitle)}</p></div>"
        '<button type="button" id="language" hidden><span class="en" lang="zh">中文</span>'
        '<span class="zh" lang="en">English</span></button>'
        f'<nav aria-labelledby="contents"><span id="contents" class="hidden">{contents}</span><ul>{links}</ul></nav>'
        "</header>\n"
    )


def _footer() -> str:
    text = to_html(Text("Every figure as JSON", "全部数据（JSON）"))
    made = Text(
        "Made by googlenet {version}. This file needs no network and sends nothing.",
        "由 googlenet {version} 生成。本文件无需网络，也不发送任何数据。",
    )
    save = f'<button type="button" id="save" hidden>{text}</button>'
    return f"<footer><p>{to_html(made.of(version=__version__))}</p>{save}</footer>\n"


def _dialog() -> str:
    close = to_html(Text("Close", "关闭"))
    more = to_html(Text("Only the surest are listed.", "仅列出最有把握的图片。"))
    return (
        '<dialog id="behind" aria-labelledby="behind-title"><div class="bar"><h2 id="behind-title"></h2>'
        f'<form method="dialog"><button>{close}</button></form></div><div class="gallery" id="behind-images"></div>'
        f'<p class="note" id="behind-more" hidden>{more}</p></dialog>\n'
    )


def _figures(figures: Mapping[str, Any]) -> str:
    """Return the figures: as they are, or compressed where they are long, or without the longest parts."""
    text = _json(figures)
    if len(text) <= MAX_JSON_BYTES:
        return f'<script type="application/json" id="figures">{text}</script>\n'
    packed = _packed(text)
    if len(packed) > MAX_JSON_BYTES:
        left_out = sorted(figures, key=lambda name: -len(_json(figures[name])))[:2]
        kept = {name: value for name, value in figures.items() if name not in left_out}
        packed = _packed(_json({**kept, "left_out_of_report": left_out}))
    return f'<script type="text/plain" id="figures" data-encoding="gzip, base64">{packed}</script>\n'


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _json(value: Any) -> str:
    """Return JSON for inside of a script: nothing in it can end the script, or begin a comment."""
    text = json_text(value, compact=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _asset(name: str) -> str:
    return (HERE / name).read_text("utf-8")


__all__ = ["Page", "Part", "Thumbnail", "page"]
