"""How much images excite the channels of a stage, and which of many images do most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from googlenet.errors import ImageError
from googlenet.exchange.module import load_module
from googlenet.images.decode import ImageSource, Pixels
from googlenet.inference.classifier import Classifier
from googlenet.inference.engine import precisions
from googlenet.models.build import Normalise

BATCH = 32


@dataclass(frozen=True)
class Exciting:
    """An image as the network sees it, (S, S, C) uint8, how much it excites a channel, and its id (an image found: "").

    The excitation is the mean of the channel over all places, after the ReLU.
    """

    pixels: Pixels
    excitation: float
    id: str = ""


class Stage:
    """A trained network up to one stage: what images it is shown excite there."""

    def __init__(self, classifier: Classifier, name: str) -> None:
        self.classifier, self.name = classifier, name
        module = load_module(classifier.bundle.path).requires_grad_(False)
        self.module = module.to(memory_format=torch.channels_last)
        self.normalise = Normalise(classifier.card.preprocessing)

    def maps(self, images: Tensor) -> Tensor:
        """(N, C, H, W) from 0 to 1 → the maps of the stage, (N, D, h, w)."""
        return self.module.maps_of(self.normalise(255 * images), self.name)

    def quick_maps(self, images: Tensor) -> Tensor:
        """Return the same as :meth:`maps`, in bf16 where this processor has it: its gradients are good enough."""
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in precisions()):
            return self.maps(images).float()

    @torch.no_grad()
    def excitations(self, pixels: Pixels, quick: bool = False) -> NDArray[np.float32]:
        """(N, S, S, C) uint8 → (N, D); ``quick`` by :meth:`quick_maps`."""
        images = torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255
        maps = self.quick_maps(images) if quick else self.maps(images)
        found: NDArray[np.float32] = maps.mean((2, 3)).numpy()
        return found

    def most_exciting(
        self,
        sources: Iterable[tuple[str, ImageSource]],
        channels: Sequence[int],
        count: int,
        progress: Callable[[int], object] | None = None,
    ) -> list[list[Exciting]]:
        """Return, for each channel, the ``count`` images of all (id, source) that excite it most, the most first.

        Images that cannot be read are left out. All are looked at quickly; twice as many as are returned then exactly.
        """
        best: list[list[Exciting]] = [[] for _ in channels]
        readable, done = self._readable(sources), 0
        while batch := list(islice(readable, BATCH)):
            values = self.excitations(np.stack([pixels for _, pixels in batch]), quick=True)
            for kept, channel in zip(best, channels, strict=True):
                kept += [Exciting(pixels, float(value), id_)
                         for (id_, pixels), value in zip(batch, values[:, channel], strict=True)]  # fmt: skip
                kept.sort(key=lambda each: -each.excitation)
                del kept[2 * count :]
            done += len(batch)
            if progress:
                progress(done)
        return [self._measured(kept, channel)[:count] for kept, channel in zip(best, channels, strict=True)]

    def _measured(self, found: list[Exciting], channel: int) -> list[Exciting]:
        """Return images with their exact excitation of a channel, the most exciting first."""
        if not found:
            return []
        values = self.excitations(np.stack([each.pixels for each in found]))[:, channel]
        exact = [replace(each, excitation=float(value)) for each, value in zip(found, values, strict=True)]
        return sorted(exact, key=lambda each: -each.excitation)

    def _readable(self, sources: Iterable[tuple[str, ImageSource]]) -> Iterator[tuple[str, Pixels]]:
        for id_, source in sources:
            try:
                yield id_, self.classifier.preprocess(source)
            except ImageError:
                continue
