"""What each branch of a network is worth: how much the loss grows when it says the same of every image. No torch.

A branch is held at the mean of its channels over held-out images, so that it tells images apart no longer; the rest of
the network stays as it is. Beside that stands what the branch costs: its own multiply-accumulates, and those that later
layers spend on its channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from googlenet.bundle import Bundle
from googlenet.data.image_set import LabelledImage
from googlenet.errors import DataError, ImageError, NetworkError
from googlenet.evaluation.answers import Answers
from googlenet.evaluation.intervals import Interval, mean
from googlenet.explaining.branches import LastModule
from googlenet.explaining.shapley import modules_of
from googlenet.images.pixels import Pixels
from googlenet.inference.classifier import Classifier
from googlenet.inference.switches import Constants, Switches, branch_slices
from googlenet.models.analysis import analyse
from googlenet.models.spec import Network
from googlenet.parallel import in_batches
from googlenet.pruning.slicing import Key, drop_branches, without_branches
from googlenet.text import printable

Array = NDArray[Any]
Report = Callable[[int, int], object]
BATCH = 32
MIN_IMAGES = 2


@dataclass(frozen=True)
class Branch:
    """A branch of a module, and what it is worth.

    ``channels`` is what it puts out, ``macs`` the multiply-accumulates of an image that end without it. ``loss``: how
    much the mean loss of the held-out images grows, in nats, where the branch is held at its mean; ``right``: how much
    the share of images that are answered right changes, a fraction of 1.
    """

    module: str
    name: str
    channels: int
    macs: int
    loss: Interval
    right: float

    @property
    def key(self) -> Key:
        """The names of its module and its own."""
        return self.module, self.name

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {
            "module": self.module,
            "branch": self.name,
            "channels": self.channels,
            "macs": self.macs,
            "loss": self.loss.to_dict(),
            "right": self.right,
        }


@dataclass(frozen=True)
class Ranking:
    """What each branch that can be removed is worth, the least useful for its cost first, on ``images`` images.

    ``constants`` has the mean of each channel of each branch.
    """

    branches: tuple[Branch, ...]
    images: int
    constants: Constants


def removable(network: Network, size: int) -> dict[str, LastModule]:
    """Return the modules that have branches which can be removed, by name. ``size`` is the side of the images.

    Raises :class:`NetworkError` where there are none, and says why.
    """
    modules = modules_of(network, size, None)
    if not modules:
        raise NetworkError(f"{printable(network.name)} has no branches to remove: GoogLeNet and other Inceptions have")
    several = {name: module for name, module in modules.items() if len(module.names) > 1}
    reason = "each is alone in its module"
    if several and not _why_not(network, several):
        return several
    found = {}
    for name, module in several.items():
        why = _why_not(network, {name: module})
        if why:
            reason = why
        else:
            found[name] = module
    if not found:
        raise NetworkError(f"no branch of {printable(network.name)} can be removed: {reason}")
    return found


def _why_not(network: Network, modules: Mapping[str, LastModule]) -> str:
    """Say why no branch of these modules can be removed; nothing where one of each can."""
    first = {(name, module.names[0]): np.zeros(module.channels[0]) for name, module in modules.items()}
    try:
        without_branches(network, {}, first)
    except NetworkError as error:
        return str(error)
    return ""


def costs_of(network: Network, size: int, modules: Mapping[str, LastModule]) -> dict[Key, int]:
    """Return how many multiply-accumulates of an image end with each branch, those of later layers included."""
    whole = analyse(network, size).macs
    return {
        (name, branch): whole - analyse(drop_branches(network, [(name, branch)]), size).macs
        for name, module in modules.items()
        for branch in module.names
    }


def rank(
    bundle: Bundle,
    modules: Mapping[str, LastModule],
    items: Sequence[LabelledImage],
    progress: Report | None = None,
) -> Ranking:
    """Measure what each branch of ``modules`` is worth, on held-out images.

    Raises :class:`DataError` where fewer than two images can be read.
    """
    classifier, switches = Classifier(bundle, "fp32"), Switches(bundle, modules)
    costs = costs_of(bundle.network, classifier.card.preprocessing.size, modules)
    read, pixels = _read(classifier, items)
    total, done = (len(costs) + 2) * len(pixels), 0

    def counted(batch: Pixels) -> Pixels:
        nonlocal done
        done += len(batch)
        if progress:
            progress(done, total)
        return batch

    constants = _means(switches, pixels, counted)

    def answers(held: Constants) -> Answers:
        found = [switches.probabilities(counted(batch), held) for batch in _batches(pixels)]
        return Answers(tuple(read), np.concatenate(found), classifier.class_names, classifier.card.thresholds)

    whole, branches = answers({}), []
    for (module, name), macs in costs.items():
        without = answers({(module, name): constants[module, name]})
        loss = mean(without.losses - whole.losses, whole.groups)
        right = float(without.right.mean() - whole.right.mean())
        branches.append(Branch(module, name, len(constants[module, name]), macs, loss, right))
    branches.sort(key=lambda each: each.loss.value / max(each.macs, 1))
    return Ranking(tuple(branches), len(read), constants)


def _read(classifier: Classifier, items: Sequence[LabelledImage]) -> tuple[list[LabelledImage], Pixels]:
    """Return the images that can be read, and what the network sees of them, (N, size, size, C)."""
    by_source = [pair for batch in in_batches(lambda item: classifier.preprocess(item.source), items, BATCH)
                 for pair in batch]  # fmt: skip
    readable = [(item, pixels) for item, pixels in by_source if not isinstance(pixels, ImageError)]
    if len(readable) < MIN_IMAGES:
        raise DataError(
            f"{len(readable)} of {len(items)} held-out images could be read, and {MIN_IMAGES} are needed to tell what "
            "branches are worth"
        )
    return [item for item, _ in readable], np.stack([pixels for _, pixels in readable])


def _means(switches: Switches, pixels: Pixels, counted: Callable[[Pixels], Pixels]) -> dict[Key, Array]:
    """Return the mean of each channel of each branch, over images and places."""
    sums: dict[str, Array] = {}
    for batch in _batches(pixels):
        for name, mean_of_batch in switches.means(counted(batch)).items():
            sums[name] = sums.get(name, 0.0) + mean_of_batch * len(batch)
    return {
        (name, branch): sums[name][channels] / len(pixels)
        for name, module in switches.modules.items()
        for branch, channels in branch_slices(module).items()
    }


def _batches(pixels: Pixels) -> Iterator[Pixels]:
    for start in range(0, len(pixels), BATCH):
        yield pixels[start : start + BATCH]
