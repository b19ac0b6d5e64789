"""What every layer type is made of: checked fields, a cost, tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from googlenet.errors import InputSizeError, NetworkError

if TYPE_CHECKING:
    from googlenet.models.spec import Network

Size = int | tuple[int, int]  # one number for a square, or (height, width)
Shape = tuple[int, int, int]  # channels, height, width

MAX_NUMBER = 4096  # of kernels, strides, padding, sizes
MAX_WIDTHS = {"out": 2**20, "num_classes": 2**20, "groups": 2**20, "in_channels": 2**20, "multiplier": 2**10}


class Layer:
    """A part of a stage: (C, H, W) in, (C', H', W') out. Every layer type is a frozen dataclass derived from it."""

    __slots__ = ()


@dataclass(frozen=True)
class Cost:
    """The output shape of some layers, and what they cost: see :mod:`googlenet.models.analysis`."""

    shape: Shape
    weights: int = 0
    parameters: int = 0
    macs: int = 0
    depth: int = 0
    depth_with_pooling: int = 0
    activations: int = 0


NamedShapes = Iterator[tuple[str, tuple[int, ...]]]  # tensors, by their keys in the state dict


def no_tensors(name: str, layer: Any, shape: Shape, network: Network) -> NamedShapes:
    """Yield nothing: such a layer has no weights."""
    yield from ()


@dataclass(frozen=True)
class LayerType:
    """The entry of a layer type in its table.

    ``kind`` is what Table 1 calls it, a template of ``layer``; ``cost(layer, input shape, network)`` its cost;
    ``tensors(name, layer, input shape, network)`` the tensors of its module.
    """

    kind: str
    cost: Callable[[Any, Shape, Network], Cost]
    tensors: Callable[[str, Any, Shape, Network], NamedShapes] = no_tensors


def pair(size: Size) -> tuple[int, int]:
    """Return (height, width) of a size written either way."""
    return (size, size) if isinstance(size, int) else size


def check_output(shape: Shape, network: Network) -> Shape:
    """Return the shape as it is. Raises :class:`InputSizeError` where a side of it is below 1."""
    if min(shape) < 1:
        raise InputSizeError(f"{network.name}: a layer is left with nothing, {shape}")
    return shape


# Checks of fields.


def check_whole(part: Any, *fields: str, least: int = 1) -> None:
    """Check fields that hold whole numbers, or pairs of them, and make plain ``int`` of them (numpy's, for example).

    Raises :class:`NetworkError` where one is no whole number or out of range. ``None`` is left as it is.
    """
    for name in fields:
        value, most = getattr(part, name), MAX_WIDTHS.get(name, MAX_NUMBER)
        if value is None:
            continue
        is_pair = isinstance(value, (tuple, list))
        numbers = tuple(map(whole_number, value if is_pair else (value,)))
        if not all(number is not None and least <= number <= most for number in numbers):
            raise NetworkError(
                f"{type(part).__name__}: {name} must be a whole number from {least} to {most:,}, got {value!r:.80}"
            )
        object.__setattr__(part, name, numbers if is_pair else numbers[0])


def whole_number(value: Any) -> int | None:
    """Return a whole number of any kind as an ``int``; ``None`` for anything else, ``True`` and 1.0 included.

    >>> whole_number(3), whole_number(True), whole_number(3.0)
    (3, None, None)
    """
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def check_sequence(part: Any, name: str, kind: Any) -> None:
    """Check that a field is a sequence of parts of one ``kind``, and make a tuple of it.

    Raises :class:`NetworkError` where it is none, or holds something else.
    """
    value = getattr(part, name)
    parts = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else None
    wrong = [value] if parts is None else [each for each in parts if not isinstance(each, kind)]
    if wrong:
        kinds = Layer.__subclasses__() if kind is Layer else kind if isinstance(kind, tuple) else (kind,)
        allowed = ", ".join(each.__name__ for each in kinds)
        raise NetworkError(
            f"{type(part).__name__}: {name} is a list of parts of these kinds: {allowed}; got {wrong[0]!r:.80}"
        )
    object.__setattr__(part, name, parts)


def check_unique(what: str, names: Sequence[str]) -> None:
    """Raise :class:`NetworkError` where two have the same name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise NetworkError(f"each {what} needs a name of its own, used twice: {', '.join(twice)}")
