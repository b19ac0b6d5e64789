"""``googlenet.visualize``: images that excite channels of a trained network most, beside those of the data that do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from googlenet.explaining.drawing import number
from googlenet.explaining.explanation import Drawn
from googlenet.explaining.neuron_drawing import Tile, draw_neurons
from googlenet.gradients import objectives
from googlenet.gradients.ascent import ascend, rescue
from googlenet.gradients.excitation import BATCH, Exciting, Stage
from googlenet.gradients.parametrisation import Spectrum
from googlenet.gradients.transforms import moved
from googlenet.images.decode import ImageSource, Pixels
from googlenet.inference.classifier import Classifier
from googlenet.stopping import stop_signals
from googlenet.text import escape_surrogates, printable

STEPS = 256
TOP = 4  # images of the data that stand beside the one found
FIRST = 64  # random images, of which each channel begins with the one that excites it most
GROUP = 8  # channels whose images are made at a time
Sources = Iterable[tuple[str, ImageSource]]


@dataclass(frozen=True)
class Neuron:
    """A channel: the image ``found`` for it, and the images of the ``data`` that excite it most, the most first."""

    channel: int
    found: Exciting
    data: tuple[Exciting, ...] = ()


@dataclass(frozen=True)
class Neurons(Drawn):
    """What :func:`googlenet.visualize` returns. ``neurons`` are fewer than asked for where ``stopped``, a signal, came.

    ``steps`` is how far the last ones came.
    """

    network: str
    stage: str
    neurons: tuple[Neuron, ...]
    steps: int
    stopped: int | None = field(default=None, repr=False)

    def image(self) -> Image.Image:
        """Draw a row for each channel."""
        rows = [[Tile(each.found.pixels, f"channel {each.channel}: {number(each.found.excitation)}"),
                 *(Tile(one.pixels, f"{number(one.excitation)}  {printable(Path(one.id).name)}") for one in each.data)]
                for each in self.neurons]  # fmt: skip
        text = "Each image was found by gradient ascent. Numbers: the mean of its channel over all places."
        if any(each.data for each in self.neurons):
            text = "Left: found by gradient ascent. Right: images of the data that excite it most. Numbers: its mean."
        return draw_neurons(f"What {printable(self.stage)} of {printable(self.network)} looks for", text, rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the excitations for ``json.dumps``, without the images."""
        return {
            "network": self.network,
            "stage": self.stage,
            "steps": self.steps,
            "channels": [
                {
                    "channel": each.channel,
                    "excitation": each.found.excitation,
                    "data": [{"path": escape_surrogates(one.id), "excitation": one.excitation} for one in each.data],
                }
                for each in self.neurons
            ],
        }


def find_neurons(
    classifier: Classifier,
    stage: str,
    channels: Sequence[int],
    sources: Sources = (),
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: Callable[[str, int, int | None], object] | None = None,
) -> Neurons:
    """Find an image for each of the ``channels`` of a stage, and those of ``sources`` that excite it most.

    A signal that asks to stop ends it early: what was found up to then is returned. ``progress`` is called with what
    is done, how much of it, and how much there is if that is known.
    """
    tell = progress or (lambda what, done, total: None)
    shown = Stage(classifier, stage)
    data = shown.most_exciting(sources, channels, TOP, lambda done: tell("looking at images", done, None))
    rescue(shown.module)
    neurons: list[Neuron] = []
    with stop_signals() as stopped:
        taken = 0
        for start in range(0, len(channels), GROUP):
            group = list(channels[start : start + GROUP])
            done = start * steps

            def report(step: int, _: int, done: int = done, count: int = len(group)) -> None:
                tell("finding images", done + step * count, len(channels) * steps)

            pixels, taken = _found(shown, group, (steps, seed + start), stopped, report)
            values = shown.excitations(pixels)
            neurons += [
                Neuron(channel, Exciting(pixels[at], float(values[at, channel])), tuple(data[start + at]))
                for at, channel in enumerate(group)
            ]
            if stopped:
                break
    return Neurons(classifier.card.name, stage, tuple(neurons), taken, stopped[0] if stopped else None)


def _found(
    shown: Stage, channels: list[int], how: tuple[int, int], stopped: list[int], report: Callable[[int, int], object]
) -> tuple[Pixels, int]:
    """Return an image for each channel, (N, S, S, C) uint8, and the steps taken."""
    steps, seed = how
    random = torch.Generator().manual_seed(seed)
    preprocessing = shown.classifier.card.preprocessing
    images = Spectrum(FIRST, preprocessing.channels, preprocessing.size, random)
    with torch.no_grad():
        excited = torch.cat([shown.quick_maps(some).mean((2, 3)) for some in images().split(BATCH)])
    images.keep(excited[:, channels].argmax(0))

    def score(of: torch.Tensor, left: float) -> torch.Tensor:
        amount = max(0.0, 2 * left - 1)  # movements end half-way
        return objectives.channels(shown.quick_maps(moved(of, random, amount)), channels)

    taken = ascend(images, score, steps, stopped, report)
    with torch.no_grad():
        values = (255 * images()).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(values.permute(0, 2, 3, 1).numpy()), taken
