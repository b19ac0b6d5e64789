"""Fine-tuning: start from pretrained weights, and change their early layers less.

Early layers hold what most images share, later ones what the first task was about (Yosinski et al., *How transferable
are features in deep neural networks?*, 2014). So all layers but the classifiers are loaded, the first stages may be
frozen, and the learning rate may be lower for early stages (Howard & Ruder, *Universal language model fine-tuning*,
2018, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from googlenet.errors import WeightsError
from googlenet.images.decode import COLOURS
from googlenet.models.build import ConvNet
from googlenet.models.shapes import state_dict_on_meta
from googlenet.models.spec import Network
from googlenet.models.weights import check_finite, find_match, is_a_counter
from googlenet.preprocessing import IMAGENET_STD, Preprocessing
from googlenet.text import first_few
from googlenet.training.loaded_weights import Classes, LoadedWeights, stage_of
from googlenet.training.sources import Source


def load_matching(
    built: ConvNet, source: Source, class_names: Sequence[str] | None, preprocessing: Preprocessing
) -> LoadedWeights:
    """Load every tensor of ``source`` into ``built`` whose name and shape match.

    The last layers of the classifier and of the heads are loaded row by row: a class keeps the row of the class of its
    name, and a new one begins with the mean of these rows: see :class:`Classes`. Where no class is known, linear ones
    start at zero (Kolesnikov et al., *Big Transfer*, 2020): no class is preferred, and nothing random reaches the
    pretrained layers. Where no ``class_names`` are given, these layers are judged by their shape as all others are. A
    first convolution for colour images is adapted to other ``in_channels``: see :func:`for_channels`.

    Raises :class:`WeightsError` where nothing matches, or what does holds NaN or infinite values.
    """
    source = _renamed(source, built.network)
    own = {key: tensor for key, tensor in built.state_dict().items() if not is_a_counter(key)}
    theirs = {key: tensor for key, tensor in source.tensors.items() if not is_a_counter(key)}
    classes = None if class_names is None else Classes(source.class_names, tuple(class_names))
    of_classes = _tied_to_classes(built.network) if classes and not classes.same else frozenset[str]()
    state: dict[str, Tensor] = {}
    for key, mine in own.items():
        given = theirs.get(key)
        if given is not None and key in of_classes:
            given = classes.rows(given) if classes and classes.kept else None
        elif given is not None:
            given = _fitted(key, given, built.network, source, preprocessing)
        if given is not None and given.shape == mine.shape and given.is_floating_point():
            state[key] = given
    parameters = sum(p.numel() for key, p in built.named_parameters() if key in state)
    if not parameters:
        raise WeightsError(
            f"nothing of {source.name} fits {built.network.name}: it has {first_few(theirs)}, the network has "
            f"{first_few(own)}; name its --network, or turn weights of another project into a run first: "
            "googlenet convert"
        )
    check_finite(state)
    built.load_state_dict(state, strict=False)
    for name, layer in built.named_modules():
        if isinstance(layer, nn.Linear) and f"{name}.weight" in of_classes - state.keys():
            nn.init.zeros_(layer.weight)
    stages = list(dict.fromkeys(map(stage_of, own)))
    # A file may have its tensors in any order.
    ordered = sorted(
        theirs, key=lambda key: (stages.index(stage_of(key)) if stage_of(key) in stages else len(stages), key)
    )
    kept = classes if of_classes & state.keys() else None
    reason = classes.reason if classes and of_classes else ""
    return LoadedWeights(source.name, list(state), parameters, list(own), ordered, reason, source.notes, kept)


def for_channels(weight: Tensor, channels: int, std: Sequence[float], new_std: Sequence[float]) -> Tensor:
    """Turn a first convolution for R, G, B, (O, 3, k, k), into one for other ``channels``, (O, channels, k, k).

    One channel gets the sum of the three, each scaled by ``new_std`` / ``std``, the ratio of the normalizations. A
    grey image then gives what it gave as R = G = B: exactly where all channels have the same mean, otherwise up to a
    constant that the batch normalization after it absorbs. More channels repeat R, G, B in turn with 3 / ``channels``
    of the weight, which is exact for grey images where ``channels`` is a multiple of 3.

    >>> import torch
    >>> colour = torch.tensor([0.2, 0.3, 0.5]).view(1, 3, 1, 1)
    >>> for_channels(colour, 1, (0.5, 0.5, 0.5), (0.5,)).flatten().tolist()
    [1.0]
    >>> for_channels(colour, 6, (1, 1, 1), (1, 1, 1)).sum().item()
    1.0
    """
    scale = weight.new_tensor([new_std[n % len(new_std)] for n in range(channels)]).view(1, -1, 1, 1)
    per_unit = weight / weight.new_tensor(std).view(1, -1, 1, 1)
    if channels == 1:
        return per_unit.sum(1, keepdim=True) * scale
    return per_unit[:, [n % COLOURS for n in range(channels)]] * scale * (COLOURS / channels)


# Freezing.


def freeze_through(built: ConvNet, stage: str | None) -> None:
    """Freeze every stage up to and including ``stage``, and no other: no gradient is computed for them."""
    built.requires_grad_(True)
    for each in built.network.through(stage) if stage else ():
        built.get_submodule(each.name).requires_grad_(False)


# What fits.


def _renamed(source: Source, network: Network) -> Source:
    """Rename the tensors of a plain file to ours, where they are in a known layout."""
    try:
        match = find_match(network, source.tensors) if source.card is None else None
    except WeightsError:  # nothing fits, which is reported later
        match = None
    if match is None:
        return source
    left = {name: source.tensors[name] for name in match.left}
    notes = tuple(dict.fromkeys((*source.notes, *match.notes)))
    return replace(source, tensors={**match.state(source.tensors), **left}, notes=notes)


def _tied_to_classes(network: Network) -> frozenset[str]:
    """Return the tensors whose shape depends on the number of classes."""
    more = state_dict_on_meta(replace(network, num_classes=network.num_classes + 1))
    return frozenset(key for key, tensor in state_dict_on_meta(network).items() if tensor.shape != more[key].shape)


def _fitted(key: str, given: Tensor, network: Network, source: Source, preprocessing: Preprocessing) -> Tensor:
    """Adapt a first convolution for colour images to another number of channels."""
    is_first = key.startswith(f"{network.stages[0].name}.") and given.ndim == 4 and given.shape[1] == COLOURS
    if not is_first or network.in_channels == COLOURS:
        return given
    std = IMAGENET_STD if source.preprocessing is None else source.preprocessing.std
    return for_channels(given, network.in_channels, std, preprocessing.std)
