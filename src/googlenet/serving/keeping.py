"""``--keep DIR``: images that people judged, in a folder for each class, which ``train`` accepts."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request

from googlenet.errors import ImageError
from googlenet.files import check_output_path, write_error, write_whole
from googlenet.images.decode import opened
from googlenet.serving.asking import Asking
from googlenet.serving.models import ServedModel
from googlenet.serving.multipart import Upload, read_body
from googlenet.serving.refusal import Refusal
from googlenet.text import nearest

ANSWERS = "answers.jsonl"
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif",
            "AVIF": ".avif", "HEIF": ".heic"}  # fmt: skip


class Keeper:
    """Keeps images in ``folder``: ``CLASS/SHA256.jpg``, and a line of ``answers.jsonl`` for each.

    Raises :class:`RunError` where the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock = folder, threading.Lock()
        check_output_path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(folder, error) from error

    def add(self, app: FastAPI, asking: Asking) -> None:
        """Add the route that takes what people say of an answer."""

        @app.post("/v1/feedback", tags=["Feedback"], openapi_extra={"requestBody": _BODY})
        async def feedback(
            request: Request,
            label: Annotated[str, Query(max_length=1000, description="The class that the image is of.")],
            model: Annotated[str | None, Query(description="The model that answered.")] = None,
            answer: Annotated[str | None, Query(max_length=1000, description="What it answered.")] = None,
        ) -> dict[str, Any]:
            """Keep an image under the class that a person named, to train on later."""
            found = asking.service.models.find(model)
            async with asking.ask(request, found) as asked:
                form = await asked.parse(read_body, request.headers.get("content-type", ""), 1)
                path = await asyncio.to_thread(self.keep, found, form.images[0], label, answer)
            asking.metrics.feedback.labels(found.name, "right" if answer == label else "corrected").inc()
            return {"kept": str(path.relative_to(self.folder))}

    def keep(self, model: ServedModel, image: Upload, label: str, answer: str | None) -> Path:
        """Write an image into the folder of a class. Raises :class:`Refusal` if it is none, or cannot be read."""
        names = model.classifier.class_names
        if label not in names:
            raise Refusal(422, "no_class", f"no class is called {label[:80]!r}: {nearest(label[:80], names)}")
        if not _is_a_folder(label):
            raise Refusal(422, "no_class", f"{label[:80]!r} cannot be the name of a folder")
        try:
            with opened(io.BytesIO(image.content)) as header:
                suffix = SUFFIXES.get(str(header.format), ".img")
        except ImageError as error:
            raise Refusal(422, "unreadable", str(error)) from error
        digest = hashlib.sha256(image.content).hexdigest()
        path = self.folder / label / f"{digest}{suffix}"
        row = {"path": f"{label}/{path.name}", "label": label, "answer": answer, "model": model.sha256,
               "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}  # fmt: skip
        try:
            self._write(path, image.content, row)
        except OSError as error:
            raise Refusal(500, "not_kept", str(write_error(path, error))) from error
        return path

    def _write(self, path: Path, content: bytes, row: dict[str, Any]) -> None:
        with self._lock:
            path.parent.mkdir(exist_ok=True)
            for other in self.folder.glob(f"*/{path.name}"):  # judged again: the last word counts
                other.unlink()
            write_whole(path, content)
            with (self.folder / ANSWERS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


_IMAGE = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "properties": {"image": _IMAGE}, "required": ["image"]}
_BODY = {"required": True, "content": {"multipart/form-data": {"schema": _FORM}, "image/*": {"schema": _IMAGE}}}


def _is_a_folder(name: str) -> bool:
    return 0 < len(name.encode("utf-8", "replace")) <= 255 and not set(name) & set("/\\\0") and name not in (".", "..")
