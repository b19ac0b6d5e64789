"""``googlenet.dream``: DeepDream, an image changed so that it excites a stage more and more, at one size after another.

Mordvintsev, Olah & Tyka, *Inceptionism: going deeper into neural networks* (2015). Of the four parts of feature
visualisation the objective is :func:`~googlenet.gradients.objectives.energy`; the image is written as pixels, on top of
what smaller sizes added; it is shifted by chance before each step; and a step follows the smoothed gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from googlenet.explaining.explanation import Drawn
from googlenet.gradients import objectives
from googlenet.gradients.excitation import Stage
from googlenet.images.decode import ImageSource, Pixels
from googlenet.images.pixels import as_rgb
from googlenet.images.resize import read
from googlenet.inference.classifier import Classifier
from googlenet.stopping import stop_signals

STEPS = 24  # at each size
OCTAVE = 1.4  # between sizes
MAX_OCTAVES = 6
MAX_SIDE = 640  # pixels of the longer side: larger images are made smaller
STEP = 0.012  # how far a pixel moves in a step, of 0 to 1
SHIFT = 32  # pixels, to either side
BLURS = (0.5, 1.0, 2.0)  # standard deviations in pixels of the smoothed gradients that a step follows


@dataclass(frozen=True)
class Dream(Drawn):
    """What :func:`googlenet.dream` returns: ``pixels`` (H, W, C) uint8. ``stopped`` is the signal that ended it early.

    ``before`` and ``after`` are the energy of the stage, the mean square of its maps, of the image and of the dream.
    """

    stage: str
    pixels: Pixels = field(repr=False)
    before: float
    after: float
    stopped: int | None = None

    def image(self) -> Image.Image:
        """Return the dream as an image."""
        return Image.fromarray(as_rgb(self.pixels))


def dream_of(
    classifier: Classifier,
    source: ImageSource,
    stage: str,
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Dream:
    """Return the dream of a stage about an image. A signal that asks to stop ends it early, with what is there."""
    shown, random = Stage(classifier, stage), torch.Generator().manual_seed(seed)
    pixels = read(source, classifier.card.preprocessing)
    image = torch.tensor(pixels).permute(2, 0, 1)[None].float() / 255
    sizes = _sizes(int(image.shape[2]), int(image.shape[3]), classifier.card.preprocessing.size)
    done, total = 0, steps * len(sizes)
    whole = _resized(image, sizes[-1])
    added = torch.zeros(1, image.shape[1], 1, 1)
    with stop_signals() as stopped:
        for size in sizes:
            base = _resized(image, size)
            dreamt = (base + _resized(added, size)).clamp(0, 1)
            for _ in range(steps):
                if stopped:
                    break
                dreamt = _stepped(shown, dreamt, random)
                done += 1
                if progress:
                    progress(done, total)
            added = dreamt - base
    found = (whole + _resized(added, sizes[-1])).clamp(0, 1)
    with torch.no_grad():
        before, after = (float(objectives.energy(shown.maps(each))) for each in (whole, found))
    values = (255 * found[0].permute(1, 2, 0)).round().to(torch.uint8).numpy()
    return Dream(stage, np.ascontiguousarray(values), before, after, stopped[0] if stopped else None)


def _stepped(shown: Stage, image: Tensor, random: torch.Generator) -> Tensor:
    """Take one step: shift the image, follow the gradient smoothed to several widths, shift it back."""
    shift = tuple(torch.randint(-SHIFT, SHIFT + 1, (2,), generator=random).tolist())
    rolled = image.roll(shift, (2, 3)).requires_grad_()
    (gradient,) = torch.autograd.grad(objectives.energy(shown.quick_maps(rolled)), rolled)
    smooth = torch.stack([_blurred(gradient, width) for width in BLURS])
    smooth = (smooth / smooth.std((2, 3, 4), keepdim=True).clamp(min=1e-12)).mean(0)
    moved = rolled.detach() + STEP * smooth / smooth.abs().mean().clamp(min=1e-12)
    return moved.roll(tuple(-each for each in shift), (2, 3)).clamp(0, 1)


def _blurred(x: Tensor, width: float) -> Tensor:
    """(N, C, H, W) → the same, smoothed by a Gaussian of ``width`` pixels."""
    reach = int(3 * width + 0.5)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width) ** 2)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    across = F.conv2d(F.pad(x, (reach, reach, 0, 0), mode="replicate"), kernel, groups=x.shape[1])
    return F.conv2d(F.pad(across, (0, 0, reach, reach), mode="replicate"), kernel.mT, groups=x.shape[1])


def _sizes(height: int, width: int, side: int) -> list[tuple[int, int]]:
    """Return the sizes of an image from small to large: at most 640 pixels, at least what the network was trained for.

    >>> _sizes(600, 800, 224)
    [(245, 327), (343, 457), (480, 640)]
    """
    factor = min(1.0, MAX_SIDE / max(height, width))
    factor = max(factor, side / min(height, width))
    sizes = []
    for _ in range(MAX_OCTAVES):
        size = (max(round(height * factor), side), max(round(width * factor), side))
        sizes.append(size)
        factor /= OCTAVE
        if min(height, width) * factor < side:
            break
    return sizes[::-1]


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[2:]) == size:
        return image
    resized: Tensor = F.interpolate(image, size, mode="bicubic", align_corners=False, antialias=True)
    return resized
