"""The page at ``/``: a few files as they are, without a build step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Response

HERE = Path(__file__).parent
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def add(app: FastAPI) -> None:
    """Add the page to an application."""
    for path, (name, kind) in FILES.items():
        app.add_api_route(path, _served((HERE / name).read_bytes(), kind), include_in_schema=False)


def _served(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def serve() -> Response:
        return Response(content, media_type=f"{kind}; charset=utf-8")

    return serve
