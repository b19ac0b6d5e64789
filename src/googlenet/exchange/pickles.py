"""Files of ``torch.save``, read without PyTorch: no class is imported, no function of the file is called.

Both formats of ``torch.save`` are read: the zip archive, and the sequence of pickles from before PyTorch 1.6.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from googlenet.exchange.unpickler import Inert, Loaded, Record, RefusedError, Storage, Unpickler, no_tensors, word
from googlenet.text import printable

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file from before PyTorch 1.6
_MAX_DEPTH = 64  # of nested dictionaries
MAX_RATIO = 100  # unpacked size over size of an archive: more is an attack on the memory
_FREE_BYTES = 2**24  # may be unpacked at any ratio


@dataclass(frozen=True)
class Pickled:
    """The tensors of a file by the keys that lead to them, and the names of objects that were not opened.

    ``content`` returns the bytes of a storage, as many as there are, as long as the file is open.
    """

    tensors: dict[str, Record]
    objects: tuple[str, ...]
    content: Callable[[Storage], bytes]


def read_torch(file: BinaryIO) -> Pickled:
    """Read a file of ``torch.save`` without the values. Raises :class:`ValueError` saying why it cannot be read."""
    with explained():
        is_archive = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        return _read_archive(file) if is_archive else _read_stream(file)


@contextmanager
def explained() -> Iterator[None]:
    """Turn any error of a damaged file into a :class:`ValueError` that says so."""
    try:
        yield
    except (RefusedError, MemoryError):
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError("not a file of torch.save, or damaged: copy it again") from error


def check_members(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive of ``size`` bytes whose members unpack to far more."""
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > max(MAX_RATIO * size, _FREE_BYTES):
        raise RefusedError(
            f"its members unpack to {unpacked:,} bytes, more than {MAX_RATIO} times its size: these are no weights"
        )


# The two formats.


def _read_archive(file: BinaryIO) -> Pickled:
    archive = zipfile.ZipFile(file)  # closed with the file: the values are read later
    check_members(archive, file.seek(0, io.SEEK_END))
    members = {name.partition("/")[2]: name for name in archive.namelist()}
    if "constants.pkl" in members:
        raise RefusedError(
            "a TorchScript program, which would have to be run: save the weights alone, module.state_dict()"
        )
    if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
        raise RefusedError("written on a big-endian machine: load and save it again on another one")
    found = Unpickler(archive.open(members["data.pkl"])).load_all()
    return _collected(found, lambda storage: archive.read(members[f"data/{storage.key}"]))


def _read_stream(file: BinaryIO) -> Pickled:
    first = Unpickler(file).load_all()
    if first.names:
        raise RefusedError(no_tensors(first.names))
    if first.value != _MAGIC:
        raise ValueError("not a file of torch.save")
    Unpickler(file).load_all()  # the version of the protocol
    system = Unpickler(file).load_all().value
    if not system["little_endian"]:
        raise RefusedError("written on a big-endian machine: load and save it again on another one")
    found = Unpickler(file).load_all()
    keys, here = Unpickler(file).load_all().value, file.tell()
    places = {}
    end = file.seek(0, io.SEEK_END)
    for key in keys:
        file.seek(here)
        (count,) = struct.unpack("<q", file.read(8))
        here, size = here + 8, count * found.storages[str(key)].itemsize
        places[str(key)] = (here, size if 0 <= size <= end - here else 0)
        here += places[str(key)][1]

    def content(storage: Storage) -> bytes:
        start, size = places[storage.key]
        file.seek(start)
        return file.read(size)

    return _collected(found, content)


# From the content of a pickle to its tensors.


def _collected(found: Loaded, content: Callable[[Storage], bytes]) -> Pickled:
    records = _flat(found.value)
    if not records and found.names:
        raise RefusedError(no_tensors(found.names))
    return Pickled(records, tuple(found.names), content)


def _flat(value: Any) -> dict[str, Record]:
    """Return every tensor by the keys that lead to it: a.b.c."""
    found: dict[str, Record] = {}
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while waiting:
        path, each = waiting.pop()
        if isinstance(each, Record):
            name = ".".join(path)
            if found.setdefault(name, each) != each and "<" not in name:  # objects as keys have no names
                raise RefusedError(f"two tensors are called {printable(name)}: save the weights alone")
        elif id(each) not in seen and len(path) < _MAX_DEPTH:
            seen.add(id(each))  # objects that come twice, or contain themselves, are visited once
            waiting += [((*path, word(key)), inner) for key, inner in reversed(_items(each))]
    return found


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Inert):
        value = value.items
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, (list, tuple)) else []
