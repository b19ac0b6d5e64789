"""The cost of one image in an ONNX graph: values in memory at one time, and multiply-accumulates.

A few operators suffice to need more memory than any machine has: a small array added to another is broadcast over both,
and concatenated with itself thirty times it is 10⁹ times as long. So all shapes are computed before anything is run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]

# Values in memory at one time: a fixed number, and a number per pixel. Xception for small images needs 640 per pixel.
SPARE_VALUES, VALUES_A_PIXEL, MAX_VALUES = 2**27, 2**12, 2**30
# Multiply-accumulates, likewise. Inception-ResNet-v2 for small images needs 2.5 million per pixel.
SPARE_MACS, MACS_A_PIXEL, MAX_MACS = 2**35, 2**23, 2**44


@dataclass(frozen=True)
class Budget:
    """The most that one image of ``size`` × ``size`` pixels may cost."""

    size: int

    @property
    def values(self) -> int:
        """Values in memory at one time, at most."""
        return min(MAX_VALUES, SPARE_VALUES + VALUES_A_PIXEL * self.size**2)

    @property
    def macs(self) -> int:
        """Multiply-accumulates, or comparisons, at most."""
        return min(MAX_MACS, SPARE_MACS + MACS_A_PIXEL * self.size**2)

    def check(self, values: int, macs: int) -> None:
        """Raise :class:`ValueError` if a cost is more than that."""
        if values > self.values or macs > self.macs:
            raise ValueError(
                f"would take more for one image than any network of ours: {4 * values:,} bytes and {macs:,} "
                f"multiply-accumulates, allowed at {self.size} pixels are {4 * self.values:,} and {self.macs:,}"
            )


@dataclass(frozen=True)
class Node:
    """An operator: names of its inputs and output, and its attributes as plain values."""

    operator: str
    inputs: Sequence[str]
    output: str
    attributes: Attributes


def check_cost(
    nodes: Sequence[Node], image: tuple[str, Shape], constants: Mapping[str, tuple[Shape, NDArray[Any]]]
) -> None:
    """Raise :class:`ValueError` if shapes do not fit together, or the cost exceeds the :class:`Budget`.

    ``image`` is name and shape (1, H, W, C) of the input; ``constants`` are shapes and values.
    """
    name, shape = image
    budget, held, macs = Budget(max(shape[1:3])), math.prod(shape), 0
    shapes = {name: shape} | {each: constant[0] for each, constant in constants.items()}
    last = {each: at for at, node in enumerate(nodes) for each in node.inputs}
    for at, node in enumerate(nodes):
        given = [shapes[each] for each in node.inputs]
        numbers = [constants[each][1] if each in constants else None for each in node.inputs]
        try:
            out, work = _SHAPES[node.operator](given, node.attributes, numbers)
            fits = min(out, default=1) >= 1
        except (LookupError, ValueError, TypeError, ZeroDivisionError):
            fits = False
        if not fits:
            raise ValueError(f"has a {node.operator} that does not fit what goes in")
        shapes[node.output] = out
        held, macs = held + math.prod(out), macs + work
        budget.check(held, macs)
        held -= sum(math.prod(shapes[each]) for each in {*node.inputs} - constants.keys() if last[each] == at)


# One function per operator: input shapes, attributes, values of inputs that are constants → output shape and work.

Given = Sequence[Shape]
Numbers = Sequence[Any]  # NDArray for a constant, else None
Result = tuple[Shape, int]


def _same(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    return given[0], 0


def _lrn(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    return given[0], math.prod(given[0]) * min(attributes["size"], given[0][1])


def _spread(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    return _broadcast(*given), 0


def _broadcast(one: Shape, other: Shape) -> Shape:
    rank = max(len(one), len(other))
    pairs = zip((1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other, strict=True)
    if any(a != b and 1 not in (a, b) for a, b in pairs):
        raise ValueError("not of one shape")
    return tuple(map(max, (1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other))


def _windows(sides: Shape, kernel: Sequence[int], attributes: Attributes) -> Shape:
    strides = attributes.get("strides", [1, 1])
    dilations = attributes.get("dilations", [1, 1])
    pads = attributes.get("pads", [0, 0, 0, 0])
    if not len(sides) == len(kernel) == len(strides) == len(dilations) == len(pads) / 2 == 2:
        raise ValueError("not two sides")
    spans = [side + pads[n] + pads[n + 2] - (kernel[n] - 1) * dilations[n] - 1 for n, side in enumerate(sides)]
    if min(spans) < 0:
        raise ValueError("a window larger than the map")
    up = [stride - 1 if attributes.get("ceil_mode") else 0 for stride in strides]
    return tuple((span + more) // stride + 1 for span, more, stride in zip(spans, up, strides, strict=True))


def _conv(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    (batch, channels, *sides), (out, each, *kernel) = given[0], given[1]
    group = attributes.get("group", 1)
    if channels != each * group or out % group or attributes.get("kernel_shape", kernel) != kernel:
        raise ValueError("other channels")
    shape = (batch, out, *_windows(tuple(sides), kernel, attributes))
    return shape, math.prod(shape) * each * math.prod(kernel)


def _pool(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    batch, channels, *sides = given[0]
    shape = (batch, channels, *_windows(tuple(sides), attributes["kernel_shape"], attributes))
    return shape, math.prod(shape) * math.prod(attributes["kernel_shape"])


def _global_pool(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    batch, channels, *sides = given[0]
    return (batch, channels, *(1 for _ in sides)), 0


def _gemm(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    (rows, inner), (inner_too, columns) = (
        shape[::-1] if attributes.get(flag) else shape for shape, flag in zip(given, ("transA", "transB"), strict=False)
    )
    if inner != inner_too or (len(given) == 3 and _broadcast(given[2], (rows, columns)) != (rows, columns)):
        raise ValueError("not of one size")
    return (rows, columns), rows * columns * inner


def _matmul(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    (*before, rows, inner), (*before_too, inner_too, columns) = given
    if inner != inner_too:
        raise ValueError("not of one size")
    shape = (*_broadcast(tuple(before), tuple(before_too)), rows, columns)
    return shape, math.prod(shape) * inner


def _flatten(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    at = _axis(attributes.get("axis", 1), len(given[0]) + 1)
    return (math.prod(given[0][:at]), math.prod(given[0][at:])), 0


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError("no such axis")
    return int(axis) % rank


def _concat(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    at = _axis(attributes["axis"], len(given[0]))
    if any(shape[:at] + shape[at + 1 :] != given[0][:at] + given[0][at + 1 :] for shape in given):
        raise ValueError("not of one size")
    return (*given[0][:at], sum(shape[at] for shape in given), *given[0][at + 1 :]), 0


def _transpose(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    if sorted(attributes["perm"]) != list(range(len(given[0]))):
        raise ValueError("not each axis once")
    return tuple(given[0][at] for at in attributes["perm"]), 0


def _gather(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    at = _axis(attributes.get("axis", 0), len(given[0]))
    if numbers[1].min() < 0 or numbers[1].max() >= given[0][at]:
        raise ValueError("no such place")
    return (*given[0][:at], *given[1], *given[0][at + 1 :]), 0


def _reshape(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    sides = [int(side) for side in numbers[1].flat]
    if sides.count(-1) == 1:  # which makes up the rest
        sides[sides.index(-1)] = math.prod(given[0]) // -math.prod(sides)
    if min(sides) < 1 or math.prod(sides) != math.prod(given[0]):
        raise ValueError("not as many values")
    return tuple(sides), 0


def _unsqueeze(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    rank = len(given[0]) + numbers[1].size
    places = {_axis(axis, rank) for axis in numbers[1].flat}
    rest = iter(given[0])
    return tuple(1 if at in places else next(rest) for at in range(rank)), 0


def _reduce(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    axes = {_axis(axis, len(given[0])) for axis in numbers[1].flat}
    kept = [1] if attributes.get("keepdims", 1) else []
    return tuple(s for at, side in enumerate(given[0]) for s in (kept if at in axes else [side])), 0


def _slice(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    sides = list(given[0])
    for start, end, axis in zip(*(each.flat for each in numbers[1:4]), strict=True):
        at = _axis(axis, len(sides))
        sides[at] = len(range(*slice(int(start), int(end)).indices(sides[at])))
    return tuple(sides), 0


def _pad(given: Given, attributes: Attributes, numbers: Numbers) -> Result:
    before, after = numbers[1].reshape(2, len(given[0])).tolist()
    if min(*before, *after) < 0:
        raise ValueError("less than nothing")
    return tuple(map(sum, zip(before, given[0], after, strict=True))), 0


_SHAPES: dict[str, Callable[[Given, Attributes, Numbers], Result]] = {
    **dict.fromkeys(("Cast", "Identity", "Log", "Relu", "Sigmoid", "Softmax"), _same),
    **dict.fromkeys(("Add", "Div", "Mul", "Pow", "Sub"), _spread),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(("ReduceMax", "ReduceMean"), _reduce),
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "LRN": _lrn,
    "MatMul": _matmul,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
