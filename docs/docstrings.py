"""A griffe extension: docstrings written in reStructuredText become Markdown before they are documented.

Roles (:class:`Network`) become code, ``::`` blocks and doctests become fenced blocks.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|data|attr|mod|exc):`~?([^`]+)`")
LITERAL = re.compile(r"::\n\n((?:[ \t]+\S.*\n?|[ \t]*\n)+)")
DOCTEST = re.compile(r"(?:^|(?<=\n))([ \t]*)>>> .*(?:\n\1\S.*)*")


class Markdown(griffe.Extension):
    """Turns every docstring into Markdown."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Convert the docstring of one object, once."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(text: str) -> str:
    """Convert one docstring."""
    text = LITERAL.sub(lambda block: f"\n\n{_fenced(block[1], 'python')}\n", text)
    text = DOCTEST.sub(lambda block: _fenced(block[0], "pycon"), text)
    return ROLE.sub(lambda role: f"`{role[1].removeprefix('googlenet.')}`", text)


def _fenced(block: str, language: str) -> str:
    indent = re.match(r"[ \t]*", block)[0] if language == "pycon" else ""
    code = textwrap.dedent(block).strip("\n")
    return textwrap.indent(f"```{language}\n{code}\n```", indent)
