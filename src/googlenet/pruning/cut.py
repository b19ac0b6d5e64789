"""The bundle of a network whose branches were removed, before it is fine-tuned. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from googlenet.bundle import Bundle
from googlenet.errors import BundleError
from googlenet.exchange.state_dicts import tensors_of
from googlenet.exporting.bundles import write_bundle
from googlenet.files import write_error
from googlenet.inference.golden import golden
from googlenet.models.build import create
from googlenet.models.spec import Network, to_json
from googlenet.pruning.ranking import Branch, Ranking
from googlenet.pruning.slicing import Sliced, without_branches
from googlenet.text import printable

ENDING = "_pruned"


def write_cut(path: Path, bundle: Bundle, ranking: Ranking, removed: Sequence[Branch]) -> Sliced:
    """Write the bundle of a network without some branches: it answers as the whole one with these at their means.

    Raises :class:`RunError` where it cannot be written, :class:`BundleError` where the weights are not the network's.
    """
    weights = {key: tensor.float().numpy() for key, tensor in tensors_of(bundle).items()}
    constants = {branch.key: ranking.constants[branch.key] for branch in removed}
    try:
        sliced = without_branches(bundle.network, weights, constants)
        sliced = replace(sliced, network=_named(sliced.network, removed))
        module = create(sliced.network)
        module.load_state_dict({key: torch.from_numpy(value) for key, value in sliced.weights.items()})
    except (KeyError, IndexError, RuntimeError) as error:
        raise BundleError(
            f"{printable(str(bundle.path))} does not hold the weights of {bundle.card.name}: copy it again"
        ) from error
    card = replace(
        bundle.card, name=sliced.network.name, network=to_json(sliced.network), metrics={}, intervals={},
        precisions={}, measured_on="", calibration={}, explanations={}, versions=dict(bundle.card.versions),
    )  # fmt: skip
    images, _ = golden(bundle)
    try:
        write_bundle(path, module, card, images.copy())
    except OSError as error:
        raise write_error(path, error) from error
    return sliced


def _named(network: Network, removed: Sequence[Branch]) -> Network:
    name = network.name if network.name.endswith(ENDING) else network.name + ENDING
    what = ", ".join(f"{branch.module} {branch.name}" for branch in removed)
    return replace(network, name=name, differences=(*network.differences, f"without the branches {what}"))
