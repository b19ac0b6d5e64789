"""An unpickler that runs nothing of a file: no class is imported, no function of it is called.

A pickle is a small program that may name any function of any module. Here every name stands for an inert placeholder,
but for the few that rebuild tensors and dictionaries, which classes of this module do instead.
"""

from __future__ import annotations

import pickle
import re
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from googlenet.models.shapes import Header
from googlenet.text import printable

# Storage class → dtype of PyTorch, and bytes per number.
_DTYPES = {
    "FloatStorage": ("float32", 4), "DoubleStorage": ("float64", 8), "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2), "LongStorage": ("int64", 8), "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2), "CharStorage": ("int8", 1), "ByteStorage": ("uint8", 1), "BoolStorage": ("bool", 1),
}  # fmt: skip

# What checkpoints hold of the standard library beside tensors. Any other name of it is there to run something.
_HARMLESS = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|(collections|datetime|enum|pathlib|uuid|decimal|fractions)\..*"
    r"|_codecs\.encode|copyreg\.(_reconstructor|__newobj__)|copy_reg\._reconstructor|functools\.partial"
    r"|(builtins|__builtin__)\.(set|frozenset|bytearray|bytes|complex|slice|x?range|object|int|long|float|str|unicode"
    r"|list|dict|tuple|bool)"
)
_STANDARD = sys.stdlib_module_names | {"__builtin__", "copy_reg", "commands"}  # with Python 2's


class RefusedError(ValueError):
    """Not damaged: refused on purpose, with a message of its own."""


class Inert:
    """Stands for an object of any class, or the result of any function. It keeps the items it was given, no more."""

    name = ""
    items: dict[Any, Any]

    def __init__(self, *arguments: object, **named: object) -> None:
        """Ignore all arguments."""

    def __new__(cls, *arguments: object, **named: object) -> Inert:
        """Make one that has items: a pickle may leave out ``__init__``."""
        inert = super().__new__(cls)
        inert.items = {}
        return inert

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: object) -> None:
        """Ignore it."""

    def extend(self, values: object) -> None:
        """Ignore them."""


@dataclass(frozen=True)
class Storage:
    """A sequence of numbers in a file, of PyTorch's ``dtype``. A tensor views it from ``start`` on."""

    key: str
    dtype: str
    itemsize: int
    count: int
    start: int = 0


@dataclass(frozen=True)
class Record(Header):
    """A tensor whose values were not read yet. It begins at ``start`` of its storage."""

    storage: Storage = field(kw_only=True)
    start: int = field(kw_only=True)
    stride: tuple[int, ...] = field(kw_only=True)

    def check_within(self, name: str, count: int) -> None:
        """Raise :class:`ValueError` unless the ``count`` numbers of its storage hold this tensor."""
        last = self.start + sum((side - 1) * step for side, step in zip(self.shape, self.stride, strict=True))
        if self.numel() > count or (self.numel() and last >= count):
            raise RefusedError(
                f"{printable(name)} is damaged: it should have {self.numel():,} values, the file has {count:,}"
            )

    def __setstate__(self, state: object) -> None:
        pass


class _Call:
    """A function of this module that a pickle may call, but neither inspect nor change."""

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
        return Inert()
    if len(size) != len(stride) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError("a tensor has no proper shape")
    is_float = "float" in storage.dtype
    return Record(tuple(size), is_float, storage=storage, start=storage.start + offset, stride=tuple(stride))


def _first(value: Any, *_: object) -> Any:
    return value


def word(key: Any) -> str:
    """Return a key of a dictionary as text."""
    return "<a key that is no text>" if isinstance(key, Inert) else str(key)


def _dictionary(pairs: Any = ()) -> Inert:
    found = Inert()
    for key, value in pairs:
        found[_key(key)] = value
    return found


def _key(key: Any) -> Any:
    """Replace keys whose hash depends on their content, which may be nested without end."""
    return key if isinstance(key, (str, int, float, bytes)) or key is None else Inert()


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
class Loaded:
    """What a pickle held: its value, the names it asked for, its storages."""

    value: Any
    names: list[str]
    storages: dict[str, Storage]


class Unpickler(pickle._Unpickler):
    """The standard library's unpickler in Python, of which every step can be overridden."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: Any) -> None:
        super().__init__(file, fix_imports=False, encoding="utf-8", errors="replace")
        self._names: dict[str, None] = {}
        self._storages: dict[str, Storage] = {}

    def load_all(self) -> Loaded:
        """Read one pickle."""
        value = self.load()
        return Loaded(value, list(self._names), self._storages)

    def find_class(self, module: str, name: str) -> Any:
        """Return a placeholder, or our own function for the few names that rebuild tensors and dictionaries."""
        full = f"{module}.{name}"
        if full in _REBUILD:
            return _Call(_REBUILD[full])
        if module.partition(".")[0] == "torch" and name in _DTYPES:
            return type("Storage", (Inert,), {"name": name})
        if module.partition(".")[0] in _STANDARD and not _HARMLESS.fullmatch(full):
            raise RefusedError(no_tensors([full]))
        self._names[full] = None
        return type("Inert", (Inert,), {"name": full})

    def persistent_load(self, pid: Any) -> Storage:
        """Return the storage that a pickle refers to."""
        kind, storage, key, _, count, *view = pid
        kind = kind.decode() if isinstance(kind, bytes) else kind
        if kind != "storage" or not isinstance(count, int):
            raise ValueError("it refers to something other than a storage")
        if storage.name not in _DTYPES:
            raise RefusedError(
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
        self.append(Inert())

    def _load_bytearray(self) -> None:
        (count,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(count))  # no more than there is

    dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray
    dispatch[pickle.SETITEM[0]] = _load_setitem
    dispatch[pickle.SETITEMS[0]] = _load_setitems
    dispatch[pickle.DICT[0]] = _load_dict
    dispatch[pickle.ADDITEMS[0]] = _load_additems
    dispatch[pickle.FROZENSET[0]] = _load_frozenset


def no_tensors(names: list[str]) -> str:
    """Return why a pickle that asks for these names is refused."""
    return (
        f"its pickle holds more than tensors ({printable(names[0])}) and could run code: save the weights alone, "
        "torch.save(module.state_dict(), …)"
    )
