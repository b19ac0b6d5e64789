"""Files of ``torch.save`` → what they hold, read by hand: no class is imported, no function of the file is called.

A pickle is a small program that may name any function of any module. Here every name stands for an inert placeholder,
but for the few that rebuild tensors and dictionaries, which are done by classes of this module. Both formats of
``torch.save`` are read: the zip archive, and the row of pickles from before PyTorch 1.6.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

from googlenet.models.shapes import Header
from googlenet.text import printable

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file from before PyTorch 1.6
_MAX_DEPTH = 64  # dictionaries within each other
MAX_RATIO = 100  # that an archive's members may be larger than the archive: more is an attack on the memory
_FREE_BYTES = 2**24  # that may be unpacked at any ratio

# A kind of storage → what PyTorch calls its numbers, and their bytes.
_DTYPES = {
    "FloatStorage": ("float32", 4), "DoubleStorage": ("float64", 8), "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2), "LongStorage": ("int64", 8), "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2), "CharStorage": ("int8", 1), "ByteStorage": ("uint8", 1), "BoolStorage": ("bool", 1),
}  # fmt: skip

# Of the standard library, what checkpoints hold beside tensors. Any other name of it is there to run something.
_HARMLESS = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|(collections|datetime|enum|pathlib|uuid|decimal|fractions)\..*"
    r"|_codecs\.encode|copyreg\.(_reconstructor|__newobj__)|copy_reg\._reconstructor|functools\.partial"
    r"|(builtins|__builtin__)\.(set|frozenset|bytearray|bytes|complex|slice|x?range|object|int|long|float|str|unicode"
    r"|list|dict|tuple|bool)"
)
_STANDARD = sys.stdlib_module_names | {"__builtin__", "copy_reg", "commands"}  # with Python 2's


@dataclass(frozen=True)
class Pickled:
    """The tensors of a file by the path to each, the names of what was passed over, and what gives the values.

    ``content`` gives the bytes of a storage, as many as there are, as long as the file is open.
    """

    tensors: dict[str, Record]
    objects: tuple[str, ...]
    content: Callable[[Storage], bytes]


def read_torch(file: BinaryIO) -> Pickled:
    """Read a file of ``torch.save``, but for the values. Raises :class:`ValueError` saying why it cannot be read."""
    with explained():
        is_archive = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        return _read_archive(file) if is_archive else _read_stream(file)


@contextmanager
def explained() -> Iterator[None]:
    """Turn whatever a damaged file raises into a :class:`ValueError` that says so."""
    try:
        yield
    except (_RefusedError, MemoryError):
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError("not a file of torch.save, or damaged: copy it again") from error


def check_members(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive of ``size`` bytes whose members would unpack to very much more."""
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > max(MAX_RATIO * size, _FREE_BYTES):
        raise _RefusedError(
            f"its members unpack to {unpacked:,} bytes, more than {MAX_RATIO} times its size: no weights pack like that"
        )


class _RefusedError(ValueError):
    """Not damaged: refused on purpose, with a message of its own."""


# The two formats.


def _read_archive(file: BinaryIO) -> Pickled:
    archive = zipfile.ZipFile(file)  # closed with the file: the values are read later
    check_members(archive, file.seek(0, io.SEEK_END))
    members = {name.partition("/")[2]: name for name in archive.namelist()}
    if "constants.pkl" in members:
        raise _RefusedError(
            "a TorchScript program, which would have to be run: save the weights alone, module.state_dict()"
        )
    if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
        raise _RefusedError("written on a big-endian machine: load and save it again on another one")
    found = _Unpickler(archive.open(members["data.pkl"])).load_all()
    return _collected(found, lambda storage: archive.read(members[f"data/{storage.key}"]))


def _read_stream(file: BinaryIO) -> Pickled:
    first = _Unpickler(file).load_all()
    if first.names:
        raise _RefusedError(_no_tensors(first.names))
    if first.value != _MAGIC:
        raise ValueError("not a file of torch.save")
    _Unpickler(file).load_all()  # the version of the protocol
    system = _Unpickler(file).load_all().value
    if not system["little_endian"]:
        raise _RefusedError("written on a big-endian machine: load and save it again on another one")
    found = _Unpickler(file).load_all()
    keys, here = _Unpickler(file).load_all().value, file.tell()
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


# From a pickle to records.


class _Inert:
    """Stands for an object of any class, or for what any function returned. Keeps the items it was given, no more."""

    name = ""
    items: dict[Any, Any]

    def __init__(self, *arguments: object, **named: object) -> None:
        """Forget what it is made of."""

    def __new__(cls, *arguments: object, **named: object) -> _Inert:
        inert = super().__new__(cls)  # a pickle may leave out __init__
        inert.items = {}
        return inert

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: object) -> None:
        """Forget it."""

    def extend(self, values: object) -> None:
        """Forget them."""


@dataclass(frozen=True)
class Storage:
    """A row of numbers of a file; ``dtype`` is what PyTorch calls them. A tensor looks at it from ``start`` on."""

    key: str
    dtype: str
    itemsize: int
    count: int
    start: int = 0


@dataclass(frozen=True)
class Record(Header):
    """A tensor that was not read yet: it begins at ``start`` of its storage."""

    storage: Storage = field(kw_only=True)
    start: int = field(kw_only=True)
    stride: tuple[int, ...] = field(kw_only=True)

    def check_within(self, name: str, count: int) -> None:
        """Raise :class:`ValueError` where the ``count`` numbers that its storage has do not hold this tensor."""
        last = self.start + sum((side - 1) * step for side, step in zip(self.shape, self.stride, strict=True))
        if self.numel() > count or (self.numel() and last >= count):
            raise _RefusedError(
                f"{printable(name)} is damaged: it should have {self.numel():,} values, the file has {count:,}"
            )

    def __setstate__(self, state: object) -> None:
        pass


class _Call:
    """A function of this module that a pickle may call; it can neither be looked into nor changed from there."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        pass


def _record(storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> Any:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage):
        return _Inert()
    if len(size) != len(stride) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError("a tensor has no proper shape")
    is_float = "float" in storage.dtype
    return Record(tuple(size), is_float, storage=storage, start=storage.start + offset, stride=tuple(stride))


def _first(value: Any, *_: object) -> Any:
    return value


def _word(key: Any) -> str:
    return "<a key that is no text>" if isinstance(key, _Inert) else str(key)


def _dictionary(pairs: Any = ()) -> _Inert:
    found = _Inert()
    for key, value in pairs:
        found[_key(key)] = value
    return found


def _key(key: Any) -> Any:
    """Leave out keys whose hash would have to be computed from what lies within them: that may be deep without end."""
    return key if isinstance(key, (str, int, float, bytes)) or key is None else _Inert()


_REBUILD: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _record,
    "torch._utils._rebuild_tensor_v2": _record,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.nn.parameter.Parameter": _first,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "collections.OrderedDict": _dictionary,
    "torch._tensor._rebuild_from_type_v2": lambda rebuild, _, arguments, __: rebuild(*arguments),
}


@dataclass
class _Loaded:
    value: Any
    names: list[str]
    storages: dict[str, Storage]


class _Unpickler(pickle._Unpickler):
    """The unpickler of the standard library that is written in Python: its every step can be changed."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: Any) -> None:
        super().__init__(file, fix_imports=False, encoding="utf-8", errors="replace")
        self._names: dict[str, None] = {}
        self._storages: dict[str, Storage] = {}

    def load_all(self) -> _Loaded:
        value = self.load()
        return _Loaded(value, list(self._names), self._storages)

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _REBUILD:
            return _Call(_REBUILD[full])
        if module.partition(".")[0] == "torch" and name in _DTYPES:
            return type("Storage", (_Inert,), {"name": name})
        if module.partition(".")[0] in _STANDARD and not _HARMLESS.fullmatch(full):
            raise _RefusedError(_no_tensors([full]))
        self._names[full] = None
        return type("Inert", (_Inert,), {"name": full})

    def persistent_load(self, pid: Any) -> Storage:
        kind, storage, key, _, count, *view = pid
        kind = kind.decode() if isinstance(kind, bytes) else kind
        if kind != "storage" or not isinstance(count, int):
            raise ValueError("it refers to something else than a storage")
        if storage.name not in _DTYPES:
            raise _RefusedError(
                f"it holds numbers of a kind that is not read ({printable(storage.name)}: float8, complex or quantised "
                "ones): save them as float32"
            )
        start = view[0][1] if view and view[0] is not None else 0
        found = Storage(str(key), *_DTYPES[storage.name], count, start)
        return self._storages.setdefault(str(key), found) if not start else found

    def _load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][_key(key)] = value

    def _load_setitems(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1][_key(key)] = value

    def _load_dict(self) -> None:
        items = self.pop_mark()
        self.append(_dictionary(zip(items[::2], items[1::2], strict=True)))

    def _load_additems(self) -> None:
        self.pop_mark()

    def _load_frozenset(self) -> None:
        self.pop_mark()
        self.append(_Inert())

    def _load_bytearray(self) -> None:
        (count,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(count))  # which is no longer than what there is

    dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray
    dispatch[pickle.SETITEM[0]] = _load_setitem
    dispatch[pickle.SETITEMS[0]] = _load_setitems
    dispatch[pickle.DICT[0]] = _load_dict
    dispatch[pickle.ADDITEMS[0]] = _load_additems
    dispatch[pickle.FROZENSET[0]] = _load_frozenset


# From what a pickle holds to its tensors.


def _collected(found: _Loaded, content: Callable[[Storage], bytes]) -> Pickled:
    records = _flat(found.value)
    if not records and found.names:
        raise _RefusedError(_no_tensors(found.names))
    return Pickled(records, tuple(found.names), content)


def _flat(value: Any) -> dict[str, Record]:
    """Name every tensor by the keys that lead to it: a.b.c."""
    found: dict[str, Record] = {}
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while waiting:
        path, each = waiting.pop()
        if isinstance(each, Record):
            name = ".".join(path)
            if found.setdefault(name, each) != each and "<" not in name:  # objects as keys have no names of their own
                raise _RefusedError(f"two tensors are called {printable(name)}: save the weights alone")
        elif id(each) not in seen and len(path) < _MAX_DEPTH:
            seen.add(id(each))  # what is there twice, or within itself, is looked at once
            waiting += [((*path, _word(key)), inner) for key, inner in reversed(_items(each))]
    return found


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, _Inert):
        value = value.items
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, (list, tuple)) else []


def _no_tensors(names: list[str]) -> str:
    return (
        f"its pickle holds more than tensors ({printable(names[0])}) and could run code: save the weights alone, "
        "torch.save(module.state_dict(), …)"
    )
