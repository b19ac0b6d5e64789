"""The stages of a network whose outputs are maps: what Grad-CAM and images of channels can be asked of."""

from __future__ import annotations

from googlenet.errors import GoogLeNetError, NetworkError
from googlenet.models.layers.base import Shape
from googlenet.models.layers.containers import stage_costs
from googlenet.models.spec import Network
from googlenet.text import nearest, printable


def stage_shapes(network: Network, size: int) -> dict[str, Shape]:
    """Return what each stage puts out, (C, h, w), for images of ``size`` pixels a side."""
    return {stage.name: cost.shape for stage, _, cost in stage_costs(network, size)}


def find_stage(network: Network, size: int, name: str) -> Shape:
    """Return what the stage ``name`` puts out. Raises :class:`NetworkError` naming the nearest where there is none."""
    shapes = stage_shapes(network, size)
    if name not in shapes:
        raise NetworkError(f"{printable(network.name)} has no stage {name!r}: {nearest(str(name), shapes)}")
    return shapes[name]


def last_maps(network: Network, size: int) -> str:
    """Return the last stage before the pooling whose maps have more than one place.

    Raises :class:`GoogLeNetError` if all have one, as for very small images.
    """
    before = network.stages_before_pooling()
    names = [stage.name for stage in (network.stages if before is None else before)]
    shapes = stage_shapes(network, size)
    wide = [name for name in names if shapes[name][1:] != (1, 1)]
    if not wide:
        raise GoogLeNetError(_one_place(network, size, "every stage"))
    return wide[-1]


def check_places(network: Network, size: int, name: str) -> None:
    """Raise :class:`GoogLeNetError` if there is no stage ``name``, or its map is one place, which tells no where."""
    if find_stage(network, size, name)[1:] == (1, 1):
        raise GoogLeNetError(_one_place(network, size, f"stage {printable(name)}"))


def _one_place(network: Network, size: int, what: str) -> str:
    shapes = stage_shapes(network, size)
    wide = [name for name, shape in shapes.items() if shape[1:] != (1, 1)]
    todo = f"the last with more is {printable(wide[-1])}" if wide else "train with a larger --image-size"
    return f"the map of {what} of {printable(network.name)} at {size} px is 1×1, which says nothing about where: {todo}"
