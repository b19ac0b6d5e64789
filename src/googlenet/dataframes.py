"""Results as tables: a pandas DataFrame, or HTML for a notebook. Pandas is imported only when needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from googlenet.errors import MissingExtraError
from googlenet.text import printable

if TYPE_CHECKING:
    import pandas

MAX_HTML_ROWS = 20

Rows = Sequence[Mapping[str, Any]]


def to_dataframe(rows: Rows, columns: Sequence[str]) -> pandas.DataFrame:
    """Return rows as a pandas DataFrame. Raises :class:`MissingExtraError` if pandas is missing."""
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("pandas", "pandas") from error
    return pandas.DataFrame([dict(row) for row in rows], columns=list(columns))


def to_html(title: str, rows: Rows) -> str:
    """Return an HTML table under a title. All text is escaped; only the first 20 rows are shown.

    >>> to_html("1 class", [{"class": "a<b", "recall": 0.5}])
    '<p>1 class</p><table><tr><th>class</th><th>recall</th></tr><tr><td>a&lt;b</td><td>0.5</td></tr></table>'
    """
    lines = [list(rows[0]), *([_cell(cell) for cell in row.values()] for row in rows[:MAX_HTML_ROWS])] if rows else []
    tags = ["th", *["td"] * len(lines)]
    table = "".join(
        "<tr>" + "".join(f"<{tag}>{_escaped(cell)}</{tag}>" for cell in line) + "</tr>"
        for tag, line in zip(tags, lines, strict=False)
    )
    more = f"<p>… and {len(rows) - MAX_HTML_ROWS:,} more</p>" if len(rows) > MAX_HTML_ROWS else ""
    return f"<p>{_escaped(title)}</p><table>{table}</table>{more}"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _escaped(text: str) -> str:
    return escape(printable(text))
