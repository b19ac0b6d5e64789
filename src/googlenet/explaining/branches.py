"""How much each branch of a module gave to a class: a part of its logit, exactly.

Where the last module joins its branches by plain concatenation, and global average pooling and one linear layer
follow, the logit is a sum over channels: each branch has its own channels, so each has its own part, and parts and bias
add up to the logit. A convolution after the join mixes the branches, and there are no such parts. There, and for
earlier modules, :mod:`googlenet.explaining.shapley` divides the logit fairly.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from googlenet.errors import BundleError, GoogLeNetError
from googlenet.explaining.explanation import Asked, Drawn
from googlenet.explaining.projection import Floats
from googlenet.images.pixels import ImageSource
from googlenet.models.layers.base import Layer
from googlenet.models.layers.containers import Parallel, Residual, cost_of, stage_costs
from googlenet.models.layers.weightless import Dropout
from googlenet.models.spec import Linear, Network
from googlenet.preprocessing import Preprocessing
from googlenet.text import escape_surrogates, printable

if TYPE_CHECKING:
    from PIL import Image

Array = NDArray[Any]


@dataclass(frozen=True)
class LastModule:
    """The last module of a network: its stage, the names of its branches, and how many channels each has."""

    stage: str
    names: tuple[str, ...]
    channels: tuple[int, ...]

    @classmethod
    def of(cls, network: Network, size: int) -> LastModule:
        """Find it. Raises :class:`GoogLeNetError` where the branches have no exact parts, and says why."""
        check_one_stage(network)
        before, name = network.stages_before_pooling(), printable(network.name)
        if not any(map(_has_branches, network.stages)):
            raise GoogLeNetError(f"{name} has no branches: GoogLeNet, Inception v2, v3 and v4 have")
        if not before or network.stages[-1].layers != (Linear(),):
            raise GoogLeNetError(
                f"{name} does not end in pooling and one linear layer: its branches have no exact parts"
            )
        shape = next(shape for stage, shape, _ in stage_costs(network, size) if stage.name == before[-1].name)
        layers = [layer for layer in before[-1].layers if not isinstance(layer, Dropout)]
        module = layers[-1] if layers else None
        if not isinstance(module, Parallel):
            raise GoogLeNetError(
                f"in {name} a convolution follows the join of the last branches and mixes them (stage "
                f"{printable(before[-1].name)}): they have no parts of the logit; name a module to get Shapley values"
            )
        shape = cost_of(layers[:-1], shape, network).shape
        channels = [cost_of(branch.layers, shape, network).shape[0] for branch in module.branches]
        return cls(before[-1].name, tuple(branch.name for branch in module.branches), tuple(channels))


def check_one_stage(network: Network) -> None:
    """Raise :class:`GoogLeNetError` where the classifier sees several stages: branches have no parts of its logit."""
    if network.pooled:
        raise GoogLeNetError(
            f"the classifier of {printable(network.name)} sees the maps of {len(network.pooled) + 1} stages: the "
            "branches of the last one do not make up the logit; explain it without branches, by its class activation "
            "map, which shows what all stages gave"
        )


def _has_branches(part: Any) -> bool:
    return any(map(_branches_in, part.layers))


def _branches_in(layer: Layer) -> bool:
    if isinstance(layer, Residual):
        return any(map(_branches_in, (*layer.body, *layer.shortcut)))
    return isinstance(layer, Parallel)


@dataclass(frozen=True)
class LastLayer:
    """The weights (M, K, D) and biases (M, K) of the last layers of M networks, 1 but in the bundle of folds."""

    weights: Array
    biases: Array

    @classmethod
    def of(cls, constants: Mapping[str, Array], name: str, members: int) -> LastLayer:
        """Find them among the constants of a graph. Raises :class:`BundleError` where an earlier version wrote it."""
        prefixes = [f"member_{number}." for number in range(1, members + 1)] if members > 1 else [""]
        try:
            found = [[constants[f"{prefix}{name}.{part}"] for prefix in prefixes] for part in ("weight", "bias")]
        except KeyError as error:
            raise BundleError(
                f"its graph does not name its last layer {name!r}: an earlier version wrote it"
            ) from error
        return cls(*(np.stack(each).astype(np.float64) for each in found))

    def parts(self, features: Array, class_index: int, against: int | None, channels: Sequence[int]) -> Array:
        """Return what branches of so many ``channels`` give to a class, from features (M · D,): (B,)."""
        row = self.weights[:, class_index] - (0 if against is None else self.weights[:, against])
        products = (row * features.reshape(row.shape)).mean(axis=0)  # (D,)
        return np.add.reduceat(products, np.cumsum([0, *channels[:-1]]))

    def bias(self, class_index: int, against: int | None) -> float:
        """Return the bias of a class, or of the difference of two."""
        found = self.biases[:, class_index] - (0 if against is None else self.biases[:, against])
        return float(found.mean())


@dataclass(frozen=True, eq=False)
class Branches(Drawn):
    """What each branch of a module gave to a class, in logits.

    ``parts`` (B,) and ``rest`` add up to ``total``, the logit before calibration (with a class ``against``: the
    difference of both). With ``method`` ``"sum"`` a part is the sum over the branch's own channels, and ``rest`` the
    bias; with ``"shapley"`` it is the branch's Shapley value, and ``rest`` the logit where all are switched off.
    ``average`` (B,) are the parts on average over held-out images of training, or ``None`` where these are not known;
    :attr:`shown` is what is left without them.
    """

    asked: Asked
    stage: str
    names: tuple[str, ...]
    parts: Floats
    rest: float
    total: float
    average: Floats | None
    stages: tuple[str, ...] = field(repr=False)
    precision: str = "fp32"
    method: str = "sum"
    preprocessing: Preprocessing = field(repr=False, kw_only=True)
    source: ImageSource | None = field(repr=False, kw_only=True)

    @property
    def shown(self) -> Floats:
        """The parts (B,), less their average over held-out images where that is known: what this image made of them."""
        return self.parts if self.average is None else self.parts - self.average

    @property
    def sentence(self) -> str:
        """What the branches gave, in one line."""
        from googlenet.explaining.network_drawing import named  # as the drawing beside it has them

        order = np.argsort(-self.shown, kind="stable")
        most, least = int(order[0]), int(order[-1])
        names = [printable(named(name)) for name in self.names]
        than = " more than on average" if self.average is not None else ""
        said = f"{self.asked.sentence()}: in {printable(self.stage)}, branch {names[most]} gives it most, "
        said += f"{self.shown[most]:+.2f} logits{than}"
        if self.shown[least] < 0:
            said += f"; {names[least]} takes most, {self.shown[least]:+.2f}"
        return said

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for ``json.dumps``."""
        path = os.fspath(self.source) if isinstance(self.source, (str, os.PathLike)) else None
        average = [None] * len(self.names) if self.average is None else self.average.tolist()
        return {
            "path": None if path is None else escape_surrogates(path),
            "class": escape_surrogates(self.asked.class_name),
            "against": None if self.asked.against is None else escape_surrogates(self.asked.against),
            "probability": self.asked.probability,
            "method": "branches",
            "by": self.method,
            "unit": "logit",
            "stage": self.stage,
            "branches": [
                {"name": name, "part": float(part), "average": mean}
                for name, part, mean in zip(self.names, self.parts, average, strict=True)
            ],
            "rest": self.rest,
            "total": self.total,
            "precision": self.precision,
            "sentence": escape_surrogates(self.sentence),
        }

    def image(self) -> Image.Image:
        """Draw the network up to its last module, and how much each branch gave. Raises :class:`ImageError`."""
        from googlenet.explaining.network_drawing import draw_branches

        return draw_branches(self)
