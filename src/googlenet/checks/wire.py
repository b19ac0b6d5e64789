"""A strict reader of protocol buffers, for a given table of messages, and a writer of them.

Libraries accept much: a number written longer than needed, a field that comes twice, unknown fields. What one library
skips another may obey, so all of that is refused here, and a file has one meaning. Nothing is copied: values of type
``bytes`` are views of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

MAX_FIELDS = 400_000  # of a file; the largest network of the zoo has a tenth of them
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIRE_TYPES = {"int": _VARINT, "float": _FIXED32, "double": _FIXED64}  # all others have a length
_SIZES = {_FIXED64: 8, _FIXED32: 4}


class Field(NamedTuple):
    """A field of a message. ``kind`` is int, float, double, text, bytes, or the name of a message."""

    name: str
    kind: str
    repeated: bool
    wire_type: int


Messages = Mapping[str, Mapping[int, Field]]


def messages(table: Mapping[str, str]) -> Messages:
    """Read a table: for each message its fields, ``"1 name text, 2 dims int*, …"``, where * means repeated.

    >>> messages({"Pair": "1 key text, 2 values int*"})["Pair"][2].repeated
    True
    """
    return {message: dict(map(_field, fields.split(", "))) for message, fields in table.items()}


def _field(text: str) -> tuple[int, Field]:
    number, name, kind = text.split()
    single = kind.rstrip("*")
    return int(number), Field(name, single, kind != single, _WIRE_TYPES.get(single, _BYTES))


def parse(content: bytes | bytearray, message: str, known: Messages) -> dict[str, Any]:
    r"""Read ``content`` as a message: its fields by name, repeated ones as lists. Raises :class:`ValueError`.

    >>> parse(b"\x0a\x01a\x10\x05", "Pair", messages({"Pair": "1 key text, 2 values int*"}))
    {'key': 'a', 'values': [5]}
    >>> parse(b"\x0a\x01a\x90\x00\x05", "Pair", messages({"Pair": "1 key text, 2 values int*"}))
    Traceback (most recent call last):
    ValueError: byte 4: a number is written longer than it is
    """
    return _Reader(content, known).message(message, 0, len(content))


def serialize(values: Mapping[str, Any], message: str, known: Messages) -> bytes:
    r"""Write what :func:`parse` read, fields in the order of their numbers.

    >>> serialize({"key": "a", "values": [5]}, "Pair", messages({"Pair": "1 key text, 2 values int*"}))
    b'\n\x01a\x10\x05'
    """
    written = bytearray()
    for number, field in sorted(known[message].items()):
        if field.name in values:
            for value in values[field.name] if field.repeated else [values[field.name]]:
                written += _varint(number << 3 | field.wire_type) + _written(value, field, known)
    return bytes(written)


def _written(value: Any, field: Field, known: Messages) -> bytes:
    if field.wire_type == _VARINT:
        return _varint(value % 2**64)
    if field.kind == "text":
        value = value.encode()
    elif field.kind not in ("bytes", "float", "double"):
        value = serialize(value, field.kind, known)
    return bytes(value) if field.wire_type in _SIZES else _varint(len(value)) + bytes(value)


def _varint(number: int) -> bytes:
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


class _Reader:
    def __init__(self, content: bytes | bytearray, known: Messages) -> None:
        self.content, self.view, self.known = content, memoryview(content), known
        self.fields = 0

    def message(self, message: str, at: int, end: int) -> dict[str, Any]:
        fields, found = self.known[message], dict[str, Any]()
        while at < end:
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise ValueError(f"more than {MAX_FIELDS:,} fields")
            key, value_at = self.varint(at, end)
            field = fields.get(key >> 3)
            if field is None:
                raise ValueError(f"byte {at}: {message} has a field {key >> 3}, which no file of ours has")
            if key & 7 != field.wire_type:
                raise ValueError(f"byte {at}: {message}.{field.name} is written as another type")
            value, at = self.value(field, value_at, end)
            if field.repeated:
                found.setdefault(field.name, []).append(value)
            elif field.name in found:
                raise ValueError(f"byte {value_at}: {message}.{field.name} is there twice")
            else:
                found[field.name] = value
        return found

    def value(self, field: Field, at: int, end: int) -> tuple[Any, int]:
        if field.wire_type == _VARINT:
            number, at = self.varint(at, end)
            return (number if number < 2**63 else number - 2**64), at
        length = _SIZES.get(field.wire_type)
        if length is None:
            length, at = self.varint(at, end)
        stop = at + length
        if stop > end:
            raise ValueError(f"byte {at}: {field.name} ends beyond what holds it: the file is cut or damaged")
        if field.kind == "text":
            return str(self.view[at:stop], "utf-8"), stop
        if field.kind in ("bytes", "float", "double"):
            return self.view[at:stop], stop
        return self.message(field.kind, at, stop), stop

    def varint(self, at: int, end: int) -> tuple[int, int]:
        number = shift = 0
        for place in range(at, min(end, at + 10)):
            byte = self.content[place]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                if (byte == 0 and shift) or number >= 2**64:
                    raise ValueError(f"byte {place}: a number is written longer than it is")
                return number, place + 1
            shift += 7
        raise ValueError(f"byte {at}: a number does not end")
