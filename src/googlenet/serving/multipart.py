"""The images and fields of a request's body, in memory: nothing is written to a disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from googlenet.serving.refusal import Refusal

FORM = "multipart/form-data"
MAX_FIELDS = 16
MAX_FIELD_BYTES = 1000
MAX_HEADER_BYTES = 4096  # of one part
MAX_FILE_NAME = 255  # characters


@dataclass(frozen=True)
class Upload:
    """An image as it was sent: its bytes, and the name that the sender gave it."""

    content: bytes
    name: str | None = None


@dataclass
class Form:
    """The parts of a body: images, and other fields by name."""

    images: list[Upload] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


def read_body(body: bytes, content_type: str, max_images: int) -> Form:
    """Read a body: a form with one image or several, or the bytes of one image.

    Raises :class:`Refusal` if it is empty, damaged, or has too many parts.
    """
    kind, boundary = _content_type(content_type)
    if kind != FORM:
        if not body:
            raise Refusal(400, "empty", "the request has no image: send the bytes of one, or a form with images")
        return Form([Upload(body)])
    if not boundary:
        raise Refusal(400, "bad_form", "the form names no boundary: let your HTTP library write the Content-Type")
    form = Form()
    for headers, content in _parts(body, boundary, max_images + MAX_FIELDS + 1):
        _add(form, headers, content, max_images)
    if not form.images:
        raise Refusal(400, "empty", "the form has no image: add one as a file, such as curl -F image=@daisy.jpg")
    return form


def _content_type(header: str) -> tuple[str, bytes]:
    message = Message()
    message["content-type"] = header
    boundary = message.get_param("boundary")
    return message.get_content_type() if header else "", boundary.encode() if isinstance(boundary, str) else b""


def _parts(body: bytes, boundary: bytes, most: int) -> Iterator[tuple[Mapping[str, str], bytes]]:
    """Yield the headers and the content of each part."""
    collector = _Collector(most)
    try:
        parser = MultipartParser(boundary, collector.callbacks(), max_header_size=MAX_HEADER_BYTES)
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Refusal(400, "bad_form", f"the form is damaged: {str(error)[:100]}") from error
    if not collector.ended:
        raise Refusal(400, "bad_form", "the form is cut short: its last boundary is missing")
    yield from collector.parts


class _Collector:
    """Collects what the parser finds, up to ``most`` parts."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.parts: list[tuple[Mapping[str, str], bytes]] = []
        self.ended = False
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[str, str] = {}
        self._content = bytearray()

    def callbacks(self) -> Any:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self._content.extend(data[start:end]),
            "on_part_end": lambda: self.parts.append((self._headers, bytes(self._content))),
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) >= self.most:
            raise ValueError(f"it has more than {self.most} parts")
        self._headers, self._content = {}, bytearray()

    def _end_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._name, self._value = bytearray(), bytearray()

    def _end(self) -> None:
        self.ended = True


def _add(form: Form, headers: Mapping[str, str], content: bytes, max_images: int) -> None:
    message = Message()
    message["content-disposition"] = headers.get("content-disposition", "").replace("\r", " ").replace("\n", " ")
    name = message.get_param("name", header="content-disposition")
    file_name = message.get_filename()
    if file_name is None and not headers.get("content-type", "").startswith("image/"):
        if len(form.fields) >= MAX_FIELDS or len(content) > MAX_FIELD_BYTES:
            raise Refusal(400, "bad_form", f"a form has {MAX_FIELDS} fields of {MAX_FIELD_BYTES:,} bytes at most")
        form.fields[str(name)] = content.decode("utf-8", "replace")
        return
    if len(form.images) >= max_images:
        raise Refusal(413, "too_many_images", f"a request has {max_images} images at most: send the others after it")
    form.images.append(Upload(content, file_name[:MAX_FILE_NAME] if file_name else None))
