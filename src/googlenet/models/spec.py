"""The nouns a network is written in. A network is data: nothing here computes anything.

A :class:`Network` is a sequence of named :class:`Stage` s, each a sequence of layers. ``analysis`` reads
the same data to print Table 1; ``build`` turns it into a ``torch.nn.Module``. Input channels are
never typed: they follow from what comes before.

>>> from dataclasses import replace
>>> tiny = Network(
...     "tiny",
...     stages=[
...         Stage("stem", [Conv(8, 3, stride=2)]),
...         Stage("mixed", [Parallel([Stage("1x1", [Conv(4)]), Stage("3x3", [Conv(2), Conv(4, 3)])])]),
...         *classifier(dropout=0.4),
...     ],
... )
>>> [stage.name for stage in tiny.insert_after("stem", Stage("more", [Conv(8, 3)])).stages][:3]
['stem', 'more', 'mixed']
>>> replace(tiny, num_classes=5).num_classes
5
"""

from __future__ import annotations

import dataclasses
import math
import operator
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from googlenet.errors import NetworkError
from googlenet.preprocessing import IMAGENET_MEAN, IMAGENET_STD, LUMA, OTHER_MEAN, OTHER_STD, Preprocessing, ResizeMode
from googlenet.text import nearest, printable

Size = int | tuple[int, int]  # one number for a square, or (height, width)

# What is read back may come from anywhere. No network has more; what has fewer can be built.
MAX_PARTS = 20_000
MAX_NUMBER = 4096  # of kernels, strides, padding, sizes
MAX_WIDTHS = {"out": 2**20, "num_classes": 2**20, "groups": 2**20, "in_channels": 2**20, "multiplier": 2**10}
MAX_TEXT = 2**16


@dataclass(frozen=True)
class Conv:
    """A convolution, the network's normalisation (if it has one) and a ReLU.

    ``out=None`` means the network's number of classes. ``padding=None`` pads by ``kernel // 2`` on every
    side, which keeps the size at stride 1. ``norm=False`` gives this one a bias instead of the normalisation.
    """

    out: int | None
    kernel: Size = 1
    stride: int = 1
    padding: Size | None = None
    groups: int = 1
    norm: bool = True
    relu: bool = True

    def __post_init__(self) -> None:
        _check_whole(self, "out", "kernel", "stride", "groups")
        _check_whole(self, "padding", least=0)


@dataclass(frozen=True)
class SeparableConv:
    """A convolution of each channel on its own (``multiplier`` outputs a channel), then a 1×1 over all.

    The normalisation and the ReLU follow the 1×1 only (Chollet, *Xception*, 2016, section 3).
    """

    out: int
    kernel: Size = 3
    stride: int = 1
    padding: Size | None = None
    multiplier: int = 1
    relu: bool = True

    def __post_init__(self) -> None:
        _check_whole(self, "out", "kernel", "stride", "multiplier")
        _check_whole(self, "padding", least=0)


@dataclass(frozen=True)
class Pool:
    """Max or average pooling.

    ``ceil`` rounds the output size up, as Caffe does. ``count_padding`` lets the zeros of the padding count
    in averages. ``output`` fixes the output to ``output × output`` whatever comes in: with a ``kernel`` the
    plain windows are used where they give that size, adaptive windows elsewhere; without one the windows
    are always adaptive.
    """

    kind: Literal["max", "avg"]
    kernel: int | None = None
    stride: int = 1
    padding: int = 0
    ceil: bool = True
    count_padding: bool = False
    output: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("max", "avg") or (self.kernel is None and self.output is None):
            raise NetworkError(f"a pool is 'max' or 'avg' and has a kernel or an output, got {self}")
        _check_whole(self, "kernel", "stride", "output")
        _check_whole(self, "padding", least=0)


@dataclass(frozen=True)
class LRN:
    """Local response normalisation across channels: x / (k + alpha/size · Σ x²) ** beta.

    Krizhevsky et al., *ImageNet classification with deep convolutional networks*, 2012, section 3.3,
    with the constants of Caffe's GoogLeNet.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        _check_whole(self, "size")


@dataclass(frozen=True)
class ReLU:
    """A ReLU on its own, where one stands before a convolution instead of after it."""


@dataclass(frozen=True)
class Dropout:
    """Zeroes each value with probability ``p`` in training; nothing at inference."""

    p: float

    def __post_init__(self) -> None:
        if not isinstance(self.p, (int, float)) or not 0 <= self.p < 1:
            raise NetworkError(f"dropout is a probability from 0 up to, not including, 1; got {self.p!r}")


@dataclass(frozen=True)
class Linear:
    """A fully connected layer over the flattened map. ``out=None`` means the network's number of classes."""

    out: int | None = None
    relu: bool = False

    def __post_init__(self) -> None:
        _check_whole(self, "out")


@dataclass(frozen=True)
class Parallel:
    """Branches that see the same input; their outputs are joined on the channel axis.

    A branch without layers passes its input on.
    """

    branches: Sequence[Stage]

    def __post_init__(self) -> None:
        _check_sequence(self, "branches", Stage)
        _check_unique("branch", [branch.name for branch in self.branches])


@dataclass(frozen=True)
class Residual:
    """shortcut(x) + scale · body(x), then a ReLU. An empty shortcut passes x on."""

    body: Sequence[Layer]
    shortcut: Sequence[Layer] = ()
    scale: float = 1.0
    relu: bool = True

    def __post_init__(self) -> None:
        _check_sequence(self, "body", Layer)
        _check_sequence(self, "shortcut", Layer)


Layer = Conv | SeparableConv | Pool | LRN | ReLU | Dropout | Linear | Parallel | Residual


@dataclass(frozen=True)
class Stage:
    """A named step: a row of Table 1, or a branch of a module."""

    name: str
    layers: Sequence[Layer]

    def __post_init__(self) -> None:
        _check_sequence(self, "layers", Layer)
        if not isinstance(self.name, str) or not self.name or "." in self.name:
            raise NetworkError(f"a stage's name must be non-empty and without dots, got {self.name!r}")


@dataclass(frozen=True)
class AuxTap:
    """An auxiliary head on the output of stage ``after``. ``weight`` is what its loss counts in training."""

    name: str
    after: str
    layers: Sequence[Layer]
    weight: float = 0.3

    def __post_init__(self) -> None:
        _check_sequence(self, "layers", Layer)


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation after every convolution, which then has no bias (Ioffe & Szegedy, 2015).

    ``bias=True`` leaves the convolutions the biases that the normalisation makes superfluous.
    """

    eps: float = 1e-5
    momentum: float = 0.1
    bias: bool = False


@dataclass(frozen=True)
class Network:
    """A whole network. A variant is ``dataclasses.replace`` or one of the methods here.

    ``input_size`` (pixels), ``crop_fraction``, ``mean`` and ``std`` (R, G, B on a scale of 0 to 1) are how its makers
    fed it; ``paper`` is where it comes from and ``differences`` where it departs from it.
    """

    name: str
    stages: Sequence[Stage]
    aux: Sequence[AuxTap] = ()
    norm: BatchNorm | None = None
    init: str = "kaiming"
    input_size: int = 224
    crop_fraction: float = 0.875
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    in_channels: int = 3
    num_classes: int = 1000
    paper: str = ""
    differences: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        for name, kind in (("stages", Stage), ("aux", AuxTap), ("differences", str)):
            _check_sequence(self, name, kind)
        _check_sequence(self, "mean", (int, float))
        _check_sequence(self, "std", (int, float))
        if not isinstance(self.name, str) or not isinstance(self.init, str):
            raise NetworkError(f"Network: name and init are texts, got {self.name!r:.80} and {self.init!r:.80}")
        _check_whole(self, "input_size", "in_channels", "num_classes")
        stages = [stage.name for stage in self.stages]
        _check_unique("stage", [*stages, *(tap.name for tap in self.aux)])
        for tap in self.aux:
            if tap.after not in stages:
                raise NetworkError(f"head {tap.name!r} sits on stage {tap.after!r}: {nearest(str(tap.after), stages)}")

    def change(self, stage: str, layers: Sequence[Layer]) -> Network:
        """Give one stage other layers."""
        at = self._index(stage)
        return replace(self, stages=(*self.stages[:at], Stage(stage, layers), *self.stages[at + 1 :]))

    def insert_after(self, stage: str, new: Stage) -> Network:
        """Add a stage after the one named."""
        at = self._index(stage) + 1
        return replace(self, stages=(*self.stages[:at], new, *self.stages[at:]))

    def remove(self, stage: str) -> Network:
        """Leave one stage out."""
        at = self._index(stage)
        return replace(self, stages=(*self.stages[:at], *self.stages[at + 1 :]))

    def through(self, stage: str) -> tuple[Stage, ...]:
        """The stages up to and including the one named. Raises :class:`NetworkError` where there is none."""
        return tuple(self.stages[: self._index(stage) + 1])

    def rewrite(self, preprocessing: Callable[[Layer], Layer | None]) -> Network:
        """Apply ``preprocessing`` to every layer, inside modules and heads too. ``None`` leaves the layer out."""
        return replace(
            self,
            stages=[replace(stage, layers=_rewrite(stage.layers, preprocessing)) for stage in self.stages],
            aux=[replace(tap, layers=_rewrite(tap.layers, preprocessing)) for tap in self.aux],
        )

    def with_dropout(self, p: float) -> Network:
        """Give every dropout layer outside the heads the probability ``p``.

        Raises :class:`NetworkError` where there is none.
        """
        changed = self.rewrite(lambda layer: Dropout(p) if isinstance(layer, Dropout) else layer)
        if not any(isinstance(layer, Dropout) for stage in self.stages for layer in stage.layers):
            raise NetworkError(f"{self.name} has no dropout: leave dropout out, or insert a Stage with a Dropout layer")
        return replace(changed, aux=self.aux)

    def preprocessing(
        self, size: int | None = None, crop_fraction: float | None = None, resize: ResizeMode = "crop"
    ) -> Preprocessing:
        """Say how an image becomes what this network sees; what is not given is the network's own.

        Where its mean and deviation are of R, G and B and it takes grey images, they are weighed as luma is; where it
        takes other channels, which have none known, they are 0.5 and 0.25.

        >>> [round(value, 3) for value in replace(Network("grey", []), in_channels=1).preprocessing().mean]
        [0.459]
        """
        crop = self.crop_fraction if crop_fraction is None else crop_fraction
        mean = _for_channels(self.mean, self.in_channels, OTHER_MEAN)
        std = _for_channels(self.std, self.in_channels, OTHER_STD)
        return Preprocessing(size or self.input_size, crop, mean, std, resize=resize)

    def stages_before_pooling(self) -> tuple[Stage, ...] | None:
        """The stages whose output the class activation maps are made from.

        After them comes global average pooling, then one linear layer, which makes the maps of Zhou et al.
        (*Learning deep features for discriminative localization*, 2016); or nothing, where a convolution already
        gave one map a class (Lin et al., *Network in network*, 2013, section 3.2). ``None`` for any other ending.
        """
        if self._averages_class_maps():
            return tuple(self.stages[:-1])
        at = len(self.stages) - 1
        while at > 0 and all(isinstance(layer, Dropout) for layer in self.stages[at - 1].layers):
            at -= 1
        last = self.stages[-1].layers if self.stages else ()
        if at < 1 or last != (Linear(),) or self.stages[at - 1].layers != (GLOBAL_AVERAGE,):
            return None
        return tuple(self.stages[: at - 1])

    def _averages_class_maps(self) -> bool:
        *_, before, last = (Stage("none", ()), Stage("none", ()), *self.stages)
        maps = [layer for layer in before.layers if not isinstance(layer, Dropout)][-1:]
        return last.layers == (GLOBAL_AVERAGE,) and any(isinstance(layer, Conv) and layer.out is None for layer in maps)

    def _index(self, stage: str) -> int:
        names = [each.name for each in self.stages]
        if stage not in names:
            raise NetworkError(f"{self.name} has no stage {stage!r}: {nearest(str(stage), names)}")
        return names.index(stage)


def _rewrite(layers: Sequence[Layer], preprocessing: Callable[[Layer], Layer | None]) -> tuple[Layer, ...]:
    result = []
    for layer in layers:
        if isinstance(layer, Parallel):
            layer = Parallel([replace(b, layers=_rewrite(b.layers, preprocessing)) for b in layer.branches])
        elif isinstance(layer, Residual):
            body, shortcut = _rewrite(layer.body, preprocessing), _rewrite(layer.shortcut, preprocessing)
            layer = replace(layer, body=body, shortcut=shortcut)
        new = preprocessing(layer)
        if new is not None:
            result.append(new)
    return tuple(result)


def _for_channels(of_rgb: tuple[float, ...], channels: int, unknown: float) -> tuple[float, ...]:
    if len(of_rgb) == channels:
        return of_rgb
    if channels == 1 and len(of_rgb) == len(LUMA):
        return (sum(weight * value for weight, value in zip(LUMA, of_rgb, strict=True)),)
    return (unknown,) * channels


def _check_whole(noun: Any, *fields: str, least: int = 1) -> None:
    """Make plain whole numbers of fields that are some, numpy's for example, or pairs of them."""
    for name in fields:
        value, most = getattr(noun, name), MAX_WIDTHS.get(name, MAX_NUMBER)
        if value is None:
            continue
        pair = isinstance(value, (tuple, list))
        numbers = tuple(map(whole_number, value if pair else (value,)))
        if not all(number is not None and least <= number <= most for number in numbers):
            raise NetworkError(
                f"{type(noun).__name__}: {name} must be a whole number from {least} to {most:,}, got {value!r:.80}"
            )
        object.__setattr__(noun, name, numbers if pair else numbers[0])


def whole_number(value: Any) -> int | None:
    """Return any kind of whole number as an ``int``; ``None`` for what is none, as ``True`` and 1.0 are.

    >>> whole_number(3), whole_number(True), whole_number(3.0)
    (3, None, None)
    """
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def _check_sequence(noun: Any, name: str, kind: Any) -> None:
    """Make a tuple of a field that is a sequence of parts of one ``kind``."""
    value = getattr(noun, name)
    parts = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else None
    wrong = [value] if parts is None else [part for part in parts if not isinstance(part, kind)]
    if wrong:
        kinds = get_args(kind) or (kind if isinstance(kind, tuple) else (kind,))
        allowed = ", ".join(each.__name__ for each in kinds)
        raise NetworkError(
            f"{type(noun).__name__}: {name} is a list of parts of these kinds: {allowed}; got {wrong[0]!r:.80}"
        )
    object.__setattr__(noun, name, parts)


def _check_unique(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise NetworkError(f"each {what} needs a name of its own, used twice: {', '.join(twice)}")


GLOBAL_AVERAGE = Pool("avg", output=1)


def classifier(dropout: float) -> tuple[Stage, ...]:
    """Global average pooling instead of fully connected layers, dropout, one linear layer."""
    return (
        Stage("avgpool", [GLOBAL_AVERAGE]),
        Stage("dropout", [Dropout(dropout)]),
        Stage("fc", [Linear()]),
    )


# A bundle carries its network as data, so that a changed network can be read back without this project's zoo.

_NOUNS = (
    Conv, SeparableConv, Pool, LRN, ReLU, Dropout, Linear, Parallel, Residual, Stage, AuxTap, BatchNorm, Network,
)  # fmt: skip
_NOUN_BY_NAME = {noun.__name__: noun for noun in _NOUNS}


def to_json(value: Any) -> Any:
    """Turn a network, or any part of one, into what ``json.dumps`` takes. Defaults are left out.

    >>> to_json(Conv(64, 7, stride=2))
    {'Conv': {'out': 64, 'kernel': 7, 'stride': 2}}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        given = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        defaults = {f.name: f.default for f in dataclasses.fields(value)}
        return {
            type(value).__name__: {k: to_json(v) for k, v in given.items() if v != defaults[k]},
        }
    return [to_json(item) for item in value] if isinstance(value, (tuple, list)) else value


def require_network(value: Any) -> Network:
    """Return a network as it is. Raises :class:`NetworkError` for anything else."""
    if not isinstance(value, Network):
        raise NetworkError(f"a network is a Network (or, where that is said, the name of one), got {value!r:.80}")
    return value


def from_json(value: Any) -> Any:
    """Read back what :func:`to_json` gave. Raises :class:`NetworkError` on anything else.

    >>> from_json({"Conv": {"out": 64, "kernel": 7, "stride": 2}})
    Conv(out=64, kernel=7, stride=2, padding=None, groups=1, norm=True, relu=True)
    >>> from_json({"Conv": {"out": 64, "kernel": "7"}})
    Traceback (most recent call last):
    googlenet.errors.NetworkError: Conv: kernel cannot be '7'
    """
    return _Parts().read(value)


class _Parts:
    def __init__(self) -> None:
        self.count = 0

    def read(self, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(map(self.read, value))
        if not isinstance(value, dict):
            return value
        self.count += 1
        if self.count > MAX_PARTS:
            raise NetworkError(f"a network of more than {MAX_PARTS:,} parts")
        (name, fields), *more = value.items() or [("", {})]
        if more or name not in _NOUN_BY_NAME or not isinstance(fields, dict):
            what = printable(str(value)[:80])
            raise NetworkError(f"not a part of a network: {what!r}; allowed: {', '.join(_NOUN_BY_NAME)}")
        try:
            return self.part(_NOUN_BY_NAME[name], {key: self.read(item) for key, item in fields.items()})
        except (TypeError, AttributeError, RecursionError) as error:
            raise NetworkError(f"not a {name}: {printable(str(error))[:200]}") from error

    def part(self, noun: Any, fields: dict[str, Any]) -> Any:
        kinds = _kinds(noun)
        for name, value in fields.items():
            if name in kinds and not _is_of(kinds[name], value, MAX_WIDTHS.get(name, MAX_NUMBER)):
                raise NetworkError(f"{noun.__name__}: {name} cannot be {printable(repr(value))[:80]}")
        return noun(**fields)


@cache
def _kinds(noun: Any) -> dict[str, Any]:
    return get_type_hints(noun)


def _is_of(kind: Any, value: Any, most: int) -> bool:
    """Whether a value is what a field of a noun is declared to be, and in range."""
    origin, of = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_is_of(each, value, most) for each in of)
    if origin is Literal:
        return value in of
    if origin is tuple and of[-1] is not ...:
        return isinstance(value, tuple) and len(value) == len(of) and all(map(_is_of, of, value, [most] * len(of)))
    if origin is not None:  # a sequence of one kind
        return isinstance(value, tuple) and all(_is_of(of[0], each, most) for each in value)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value) and abs(value) <= most
    if kind is int:
        return type(value) is int and 0 <= value <= most
    return type(value) is kind and (kind is not str or len(value) <= MAX_TEXT)
