"""Weights of other projects, renamed to ours and back. The tensors themselves are not changed.

Nothing here reads a file: tensors come from the safe readers of ``exchange``. Whether they fit is decided by names and
shapes alone (:class:`Header`), without PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from googlenet.errors import WeightsError
from googlenet.models import zoo
from googlenet.models.layouts.table import LAYOUTS
from googlenet.models.matching import OWN, Match, UnfitError, find_match, layouts_of, names_in, no_weights_of
from googlenet.models.shapes import Header, is_a_counter, state_dict_on_meta
from googlenet.models.spec import Conv, Network
from googlenet.text import first_few

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "LAYOUTS",
    "OWN",
    "TIMM_CROP_MODES",
    "TIMM_NAMES",
    "LoadedWeights",
    "body_from_layout",
    "check_finite",
    "find_match",
    "fit",
    "fitting",
    "from_layout",
    "is_a_counter",
    "layouts_of",
    "nearest_networks",
    "to_layout",
]

MIN_SHARE = 0.5  # of the tensors of a network's body: with fewer, a file is not taken for its weights
TIMM_NAMES = {"xception": "legacy_xception"}  # networks that have another name in timm
TIMM_CROP_MODES = {"crop": "center", "pad": "border", "squash": "squash"}  # Preprocessing.resize → timm's crop_mode


@dataclass(frozen=True)
class LoadedWeights:
    """Weights that fit a network. ``layout`` is the one they were in; ``state`` loads into ``create(network)``.

    ``network`` is the one asked for, as the makers of these weights had it: with their number of classes and input
    channels, and without heads if they have none. ``place`` is where in the file the weights were, ``notes`` say what
    was chosen.
    """

    layout: str
    network: Network
    state: dict[str, Tensor]
    place: str = ""
    notes: tuple[str, ...] = ()


def from_layout(network: Network, tensors: Mapping[str, Tensor], key: str | None = None) -> LoadedWeights:
    """Rename the tensors of another project to ours, whichever of the network's layouts they are in.

    They may lie anywhere among ``tensors``, under a common prefix; ``key`` chooses the prefix if there are several.
    Raises :class:`WeightsError` naming the tensors that are unknown, missing, of another shape, or hold NaN or infinite
    values.

    >>> from googlenet.models.build import create
    >>> from googlenet.models.zoo import find
    >>> theirs = to_layout(find("lenet5"), create("lenet5").state_dict(), "googlenet")
    >>> from_layout(find("lenet5"), {f"model.{name}": tensor for name, tensor in theirs.items()}).place
    'model'
    """
    match, fitted = fit(network, tensors, key)
    wanted = state_dict_on_meta(fitted)
    state = {each: tensor for each, tensor in match.state(tensors).items() if each in wanted}
    check_finite({match.found[each]: tensor for each, tensor in state.items()})
    zero = next(iter(state.values())).new_zeros(()).long()
    counters = {each: zero.clone() for each in wanted if is_a_counter(each)}
    return LoadedWeights(match.layout, fitted, {**counters, **state}, match.place, (*match.notes, *_rounded(state)))


def body_from_layout(network: Network, tensors: Mapping[str, Tensor]) -> LoadedWeights:
    """Rename as many tensors as are of ``network``, whichever of its layouts they are in: one without its classifier.

    Raises :class:`WeightsError` where none is. Neither shapes nor values are checked.
    """
    match = find_match(network, tensors)
    state = match.state(tensors)
    return LoadedWeights(match.layout, _adapted(match.network, state), state, match.place, match.notes)


def _rounded(state: Mapping[str, Tensor]) -> list[str]:
    """Return a note if weights have more than 32 bits, which are those of the network."""
    finer = {str(tensor.dtype).removeprefix("torch.") for tensor in state.values() if tensor.element_size() > 4}
    return [f"weights of {first_few(sorted(finer))} were rounded to float32"] if finer else []


def fit(network: Network, tensors: Mapping[str, Header | Tensor], key: str | None = None) -> tuple[Match, Network]:
    """Match tensors to ``network`` by names and shapes alone. Returns the match, and the network with these weights.

    Raises :class:`WeightsError` as :func:`from_layout` does, but does not check values.
    """
    try:
        return _fit(network, tensors, key)
    except UnfitError as error:
        others = [name for name in fitting(tensors, key) if name != network.name]
        meant = f"; they fit {first_few(others)}: give --network {others[0]}" if others else ""
        raise WeightsError(f"{error}{meant}") from error


def fitting(tensors: Mapping[str, Header | Tensor], key: str | None = None) -> list[str]:
    """Return the networks of the zoo that have exactly these tensors."""
    names = []
    for name, network in zoo.NETWORKS.items():
        try:
            _fit(network, tensors, key)
        except WeightsError:
            continue
        names.append(name)
    return names


def nearest_networks(tensors: Mapping[str, Header | Tensor]) -> list[str]:
    """Return the networks of the zoo that most of these tensors are of, by name and shape: a body without classifier.

    It is empty where no network finds more than half of its own among them, and has several names where these are
    alike.
    """
    shares: dict[str, float] = {}
    for name, network in zoo.NETWORKS.items():
        try:
            match = find_match(network, tensors)
        except WeightsError:
            continue
        wanted = state_dict_on_meta(match.network)
        fits = [key for key, theirs in match.found.items() if tensors[theirs].shape == wanted[key].shape]
        body = {key for key in match.wanted if not any(key.startswith(f"{tap.name}.") for tap in match.network.aux)}
        # Of its own tensors, the share that is there; of those that are there, the share that it has.
        shares[name] = min(len(body.intersection(fits)) / len(body), len(fits) / (len(match.found) + len(match.left)))
    best = max(shares.values(), default=0.0)
    return [name for name, share in shares.items() if share == best > MIN_SHARE]


def _fit(network: Network, tensors: Mapping[str, Header | Tensor], key: str | None) -> tuple[Match, Network]:
    match = find_match(network, tensors, key)
    if 2 * len(match.found) < min(len(match.wanted), len(match.found) + len(match.left)):
        raise no_weights_of(network, tensors)
    known = {each: tensors[name] for each, name in match.found.items()}
    _check_not_empty(match, tensors)
    fitted = _without_missing_heads(_adapted(match.network, known), known)
    wanted = {each: header.shape for each, header in state_dict_on_meta(fitted).items() if not is_a_counter(each)}
    state = {each: tensor for each, tensor in known.items() if each in wanted}
    wrong = {
        "unknown": [*match.left, *(match.found[each] for each in known if each not in wanted)],
        "missing": [match.wanted[each] for each in wanted if each not in known],
        "of another shape": [
            f"{match.found[each]} {tuple(tensor.shape)}, needed {tuple(wanted[each])}"
            for each, tensor in state.items()
            if tensor.shape != wanted[each]
        ],
        "not of floating point": [
            match.found[each] for each, tensor in state.items() if not tensor.is_floating_point()
        ],
    }
    if any(wrong.values()):
        listed = "; ".join(f"{what}: {first_few(keys)}" for what, keys in wrong.items() if keys)
        raise UnfitError(f"the weights ({match.layout}) do not fit {network.name}: {listed}")
    return match, fitted


def _check_not_empty(match: Match, tensors: Mapping[str, Header | Tensor]) -> None:
    empty = [f"{name} {tuple(tensors[name].shape)}" for name in match.found.values() if not tensors[name].numel()]
    if empty:
        raise WeightsError(f"tensors without any values: {first_few(empty)}; save the weights again, after training")


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise :class:`WeightsError` naming the tensors that hold NaN or infinite values as float32."""
    wrong = [name for name, tensor in tensors.items() if not tensor.float().isfinite().all()]
    if wrong:
        raise WeightsError(
            f"{len(wrong)} of {len(tensors)} tensors hold NaN or infinite values, and cannot be used: "
            f"{first_few(wrong)}; take weights from before the training failed"
        )


def to_layout(network: Network, state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Rename our tensors to another layout. Raises :class:`WeightsError` if the network is not known in it."""
    if layout not in layouts_of(network):
        raise WeightsError(f"{network.name} has no layout {layout!r}: allowed are {', '.join(layouts_of(network))}")
    names = names_in(network, layout, state)
    return {names[key]: tensor for key, tensor in state.items()}


def _adapted(network: Network, known: Mapping[str, Header | Tensor]) -> Network:
    """Return the network with the number of classes and input channels of the weights."""
    first, last = network.stages[0].name, network.stages[-1].name
    weights = {key: tensor for key, tensor in known.items() if key.endswith(".weight") and tensor.ndim > 1}
    classes = [tensor.shape[0] for key, tensor in weights.items() if key.startswith(f"{last}.")]
    stem = next((t for key, t in weights.items() if key.startswith(f"{first}.") and t.ndim == 4), None)
    if classes:
        network = replace(network, num_classes=classes[-1])
    opening = network.stages[0].layers[0]
    if stem is not None and isinstance(opening, Conv):
        network = replace(network, in_channels=stem.shape[1] * opening.groups)
    return network


def _without_missing_heads(network: Network, known: Mapping[str, Header | Tensor]) -> Network:
    """Return the network without heads of which the weights have nothing; they are not needed for predictions."""
    there = [tap for tap in network.aux if any(key.startswith(f"{tap.name}.") for key in known)]
    return replace(network, aux=there)
