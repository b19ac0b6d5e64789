"""What a network is written in. A network is data: frozen dataclasses that say what it is, and run nothing.

A :class:`Network` is a sequence of named :class:`Stage` s, each a sequence of layers. ``analysis`` computes Table 1
from it, ``build`` a ``torch.nn.Module``, ``exporting.graph`` an ONNX graph. Input channels are never typed: they
follow from the layer before.

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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from googlenet.errors import NetworkError
from googlenet.models.layers.base import Layer, check_sequence, check_unique, check_whole
from googlenet.models.layers.containers import LAYER_TYPES, Parallel, Residual, Stage
from googlenet.models.layers.weighted import Conv, Linear, SeparableConv
from googlenet.models.layers.weightless import LRN, Dropout, Pool, ReLU
from googlenet.models.serialization import Reader, to_json
from googlenet.preprocessing import IMAGENET_MEAN, IMAGENET_STD, LUMA, OTHER_MEAN, OTHER_STD, Preprocessing, ResizeMode
from googlenet.text import nearest

__all__ = [
    "GLOBAL_AVERAGE",
    "LRN",
    "AuxTap",
    "BatchNorm",
    "Conv",
    "Dropout",
    "Layer",
    "Linear",
    "Network",
    "Parallel",
    "Pool",
    "ReLU",
    "Residual",
    "SeparableConv",
    "Stage",
    "classifier",
    "from_json",
    "require_network",
    "to_json",
]


@dataclass(frozen=True)
class AuxTap:
    """An auxiliary head on the output of stage ``after``. ``weight`` is the weight of its loss in training."""

    name: str
    after: str
    layers: Sequence[Layer]
    weight: float = 0.3

    def __post_init__(self) -> None:
        check_sequence(self, "layers", Layer)


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation after every convolution, which then has no bias (Ioffe & Szegedy, 2015).

    ``bias=True`` keeps the biases of the convolutions, which the normalisation makes redundant.
    """

    eps: float = 1e-5
    momentum: float = 0.1
    bias: bool = False


@dataclass(frozen=True)
class Network:
    """A whole network. Variants are made by ``dataclasses.replace`` and the methods here.

    ``pooled`` names stages, in order, whose maps are averaged into the input of the classifier, before those of the
    last stage (Evci et al., *Head2Toe*, 2022). ``input_size`` (pixels), ``crop_fraction``, ``mean``, ``std`` (R, G, B
    on a scale of 0 to 1) are the preprocessing of its authors; ``paper`` is where it was published, ``differences`` are
    those from the paper.
    """

    name: str
    stages: Sequence[Stage]
    aux: Sequence[AuxTap] = ()
    norm: BatchNorm | None = None
    pooled: Sequence[str] = ()
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
        for name, kind in (("stages", Stage), ("aux", AuxTap), ("pooled", str), ("differences", str)):
            check_sequence(self, name, kind)
        check_sequence(self, "mean", (int, float))
        check_sequence(self, "std", (int, float))
        if not isinstance(self.name, str) or not isinstance(self.init, str):
            raise NetworkError(f"Network: name and init are texts, got {self.name!r:.80} and {self.init!r:.80}")
        check_whole(self, "input_size", "in_channels", "num_classes")
        stages = [stage.name for stage in self.stages]
        check_unique("stage", [*stages, *(tap.name for tap in self.aux)])
        for tap in self.aux:
            if tap.after not in stages:
                raise NetworkError(f"head {tap.name!r} sits on stage {tap.after!r}: {nearest(str(tap.after), stages)}")
        if self.pooled:
            self._check_pooled()

    def change(self, stage: str, layers: Sequence[Layer]) -> Network:
        """Return the network with other layers in one stage."""
        at = self._index(stage)
        return replace(self, stages=(*self.stages[:at], Stage(stage, layers), *self.stages[at + 1 :]))

    def insert_after(self, stage: str, new: Stage) -> Network:
        """Return the network with another stage after the one named."""
        at = self._index(stage) + 1
        return replace(self, stages=(*self.stages[:at], new, *self.stages[at:]))

    def remove(self, stage: str) -> Network:
        """Return the network without one stage."""
        at = self._index(stage)
        return replace(self, stages=(*self.stages[:at], *self.stages[at + 1 :]))

    def through(self, stage: str) -> tuple[Stage, ...]:
        """Return the stages up to and including the one named. Raises :class:`NetworkError` if there is none."""
        return tuple(self.stages[: self._index(stage) + 1])

    def stages_after(self, stage: str | None) -> tuple[Stage, ...]:
        """Return the stages after the one named, or all for ``None``."""
        return tuple(self.stages if stage is None else self.stages[self._index(stage) + 1 :])

    def rewrite(self, change: Callable[[Layer], Layer | None]) -> Network:
        """Return the network with ``change`` applied to every layer, inside modules and heads too.

        A layer for which ``change`` returns ``None`` is left out.
        """
        return replace(
            self,
            stages=[replace(stage, layers=_rewrite(stage.layers, change)) for stage in self.stages],
            aux=[replace(tap, layers=_rewrite(tap.layers, change)) for tap in self.aux],
        )

    def with_dropout(self, p: float) -> Network:
        """Return the network with probability ``p`` in every dropout layer outside the heads.

        Raises :class:`NetworkError` if there is none.
        """
        changed = self.rewrite(lambda layer: Dropout(p) if isinstance(layer, Dropout) else layer)
        if not any(isinstance(layer, Dropout) for stage in self.stages for layer in stage.layers):
            raise NetworkError(f"{self.name} has no dropout: leave dropout out, or insert a Stage with a Dropout layer")
        return replace(changed, aux=self.aux)

    def preprocessing(
        self, size: int | None = None, crop_fraction: float | None = None, resize: ResizeMode = "crop"
    ) -> Preprocessing:
        """Return the preprocessing of images for this network, by default that of its authors.

        For grey images, mean and standard deviation of R, G and B are combined with the weights of luma. For other
        channels, whose statistics are unknown, they are 0.5 and 0.25.

        >>> [round(value, 3) for value in replace(Network("grey", []), in_channels=1).preprocessing().mean]
        [0.459]
        """
        crop = self.crop_fraction if crop_fraction is None else crop_fraction
        mean = _for_channels(self.mean, self.in_channels, OTHER_MEAN)
        std = _for_channels(self.std, self.in_channels, OTHER_STD)
        return Preprocessing(size or self.input_size, crop, mean, std, resize=resize)

    def stages_before_pooling(self) -> tuple[Stage, ...] | None:
        """Return the stages whose output the class activation maps are computed from; ``None`` if there are no maps.

        After them comes global average pooling, then one linear layer (Zhou et al., *Learning deep features for
        discriminative localization*, 2016); or nothing, where a convolution has one map per class (Lin et al., *Network
        in network*, 2013, section 3.2).
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

    @property
    def averages_then_classifies(self) -> bool:
        """Whether the network ends in global average pooling and one linear layer, and may have stages ``pooled``."""
        return self.stages_before_pooling() is not None and self.stages[-1].layers == (Linear(),)

    @property
    def pooling(self) -> str | None:
        """The stage of global average pooling after which the averages of ``pooled`` come in, if there are any."""
        before = self.stages_before_pooling() if self.pooled else None
        return None if before is None else self.stages[len(before)].name

    def _check_pooled(self) -> None:
        before = self.stages_before_pooling()
        if before is None or not self.averages_then_classifies:
            raise NetworkError(f"{self.name} does not end in global average pooling and one linear layer: pooled is ()")
        allowed = [stage.name for stage in before[:-1]]
        for tap in self.aux:
            if tap.after not in [stage.name for stage in before]:
                raise NetworkError(f"head {tap.name!r} sits after the pooling of {self.name}: pooled is ()")
        for name in self.pooled:
            if name not in allowed:
                raise NetworkError(f"stage {name!r} cannot be pooled for the classifier: {nearest(name, allowed)}")
        if list(self.pooled) != [name for name in allowed if name in self.pooled]:
            raise NetworkError(f"pooled is not in the order of the stages: {', '.join(self.pooled)}")

    def _averages_class_maps(self) -> bool:
        *_, before, last = (Stage("none", ()), Stage("none", ()), *self.stages)
        maps = [layer for layer in before.layers if not isinstance(layer, Dropout)][-1:]
        return last.layers == (GLOBAL_AVERAGE,) and any(isinstance(layer, Conv) and layer.out is None for layer in maps)

    def _index(self, stage: str) -> int:
        names = [each.name for each in self.stages]
        if stage not in names:
            raise NetworkError(f"{self.name} has no stage {stage!r}: {nearest(str(stage), names)}")
        return names.index(stage)


def _rewrite(layers: Sequence[Layer], change: Callable[[Layer], Layer | None]) -> tuple[Layer, ...]:
    result = []
    for layer in layers:
        if isinstance(layer, Parallel):
            layer = Parallel([replace(b, layers=_rewrite(b.layers, change)) for b in layer.branches])
        elif isinstance(layer, Residual):
            body, shortcut = _rewrite(layer.body, change), _rewrite(layer.shortcut, change)
            layer = replace(layer, body=body, shortcut=shortcut)
        new = change(layer)
        if new is not None:
            result.append(new)
    return tuple(result)


def _for_channels(of_rgb: tuple[float, ...], channels: int, unknown: float) -> tuple[float, ...]:
    if len(of_rgb) == channels:
        return of_rgb
    if channels == 1 and len(of_rgb) == len(LUMA):
        return (sum(weight * value for weight, value in zip(LUMA, of_rgb, strict=True)),)
    return (unknown,) * channels


GLOBAL_AVERAGE = Pool("avg", output=1)


def classifier(dropout: float) -> tuple[Stage, ...]:
    """Return the final stages: global average pooling, dropout, one linear layer."""
    return (
        Stage("avgpool", [GLOBAL_AVERAGE]),
        Stage("dropout", [Dropout(dropout)]),
        Stage("fc", [Linear()]),
    )


def require_network(value: Any) -> Network:
    """Return a network unchanged. Raises :class:`NetworkError` for anything else."""
    if not isinstance(value, Network):
        raise NetworkError(f"a network is a Network, or the name of one of the zoo, got {value!r:.80}")
    return value


def from_json(value: Any) -> Any:
    """Read what :func:`to_json` returned. Raises :class:`NetworkError` on anything else.

    >>> from_json({"Conv": {"out": 64, "kernel": 7, "stride": 2}})
    Conv(out=64, kernel=7, stride=2, padding=None, groups=1, norm=True, relu=True)
    >>> from_json({"Conv": {"out": 64, "kernel": "7"}})
    Traceback (most recent call last):
    googlenet.errors.NetworkError: Conv: kernel cannot be '7'
    """
    return Reader(_PARTS).read(value)


_PARTS = {part.__name__: part for part in (*LAYER_TYPES, Stage, AuxTap, BatchNorm, Network)}
