"""What MkDocs cannot do by itself, in three marks that a page may use on a line of their own.

``{{ include ARCHITECTURE.md }}``
    puts a page of the repository here, with its links mended.
``{{ reference train load }}``
    documents these public names of the package; ``{{ reference * }}`` all that no other line on the page names.
``{{ decisions }}``
    lists docs/decisions/, each under its title.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "googlenet" / "__init__.py"
PAGES = {  # of the repository → of the site
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
INCLUDE = re.compile(r"^\{\{ include (\S+) \}\}$", re.MULTILINE)
REFERENCE = re.compile(r"^\{\{ reference (.+) \}\}$", re.MULTILINE)
DECISIONS = re.compile(r"^\{\{ decisions \}\}$", re.MULTILINE)
NUMBER = re.compile(r"^\d+\s*[·.]\s*")  # which some titles begin with, as their files do
LINK = re.compile(r"(?<=\]\()([^)#:]+)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page."""
    markdown = INCLUDE.sub(lambda mark: LINK.sub(_link, (ROOT / mark[1]).read_text("utf-8")), markdown)
    markdown = DECISIONS.sub(lambda _: list_decisions(), markdown)
    lines = [mark.split() for mark in REFERENCE.findall(markdown)]
    named = {name for line in lines for name in line}
    return REFERENCE.sub(lambda mark: _reference(mark[1].split(), named), markdown)


def _link(link: re.Match[str]) -> str:
    """Turn a link from the top of the repository into one from docs/."""
    target = link[1].removeprefix("docs/")
    return {"decisions": "decisions.md", **PAGES}.get(target.rstrip("/"), target)


def _reference(names: list[str], named: set[str]) -> str:
    public = public_names()
    shown = [name for name in public if name not in named] if names == ["*"] else [n for n in names if n in public]
    return "\n\n".join(f"::: googlenet.{name}" for name in shown)


def list_decisions() -> str:
    """Return one item for each page of docs/decisions/, with its number, title and link."""
    items = []
    for page in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        title = NUMBER.sub("", page.read_text("utf-8").splitlines()[0].removeprefix("# "))
        items.append(f"- {int(page.name[:4])} · [{title}](decisions/{page.name})")
    return "\n".join(items)


def public_names() -> list[str]:
    """Read the names in ``googlenet.__all__`` from the source; nothing is imported."""
    for statement in ast.parse(PACKAGE.read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return [ast.literal_eval(each) for each in statement.value.elts]  # type: ignore[attr-defined]
    raise LookupError(f"{PACKAGE} has no __all__")
