"""The page at ``/``: a few files as they are, without a build step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Response

from googlenet import page

ASKING = "asking.js"
HEAD = "\n".join([
    '<link rel="icon" href="icon.svg">', '<link rel="stylesheet" href="page.css">',
    *(f'<script src="{name}" defer></script>' for name in (*page.SCRIPTS, ASKING)),
])  # fmt: skip


def add(app: FastAPI) -> None:
    """Add the page to an application."""
    asking = Path(__file__).with_name(ASKING).read_text("utf-8")
    files = {
        "/": (page.markup(HEAD), "text/html"),
        "/page.css": (page.read("page.css"), "text/css"),
        **{f"/{name}": (page.read(name), "text/javascript") for name in page.SCRIPTS},
        f"/{ASKING}": (asking, "text/javascript"),
        "/icon.svg": (page.read("icon.svg"), "image/svg+xml"),
    }
    for path, (content, kind) in files.items():
        app.add_api_route(path, _served(content, kind), include_in_schema=False)


def _served(content: str, kind: str) -> Callable[[], Awaitable[Response]]:
    async def serve() -> Response:
        return Response(content, media_type=f"{kind}; charset=utf-8")

    return serve
