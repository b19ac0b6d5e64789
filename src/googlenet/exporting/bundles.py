"""A trained network becomes the files of a bundle. Needs torch; the bundle does not."""

from __future__ import annotations

import io
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from googlenet import bundle as bundles
from googlenet.bundle import GOLDEN, MODEL, WEIGHTS, Bundle
from googlenet.card import ModelCard
from googlenet.errors import WeightsError
from googlenet.exporting.graph import to_onnx
from googlenet.images.decode import Pixels
from googlenet.models.build import ConvNet, Normalise, create
from googlenet.models.grids import to_grid
from googlenet.models.spec import Network, to_json
from googlenet.preprocessing import Preprocessing


class Deployed(nn.Module):
    """A network as it is shipped: uint8 (N, H, W, C) → probabilities (N, K) and, where they exist, maps (N, K, h, w).

    The probabilities of an image sum to 1; with ``multi_label`` they are independent. The maps are the class
    activation maps: the last layer applied at every place of the last feature map, or that map itself where it has
    one channel per class. Averaged over (h, w) they are the logits. With ``mirror`` both are means over an image and
    its mirror image, whose maps are mirrored back.

    ``exporting.graph`` writes the same as ONNX, and is checked against the outputs of this module.
    """

    temperature: Tensor

    def __init__(
        self,
        network: ConvNet,
        preprocessing: Preprocessing,
        temperature: float | tuple[float, ...],
        multi_label: bool = False,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.temperature: Tensor
        self.register_buffer("temperature", torch.tensor(temperature), persistent=False)
        self.multi_label = multi_label
        self.mirror = mirror
        self.normalise = Normalise(preprocessing)
        self.has_maps = network.network.stages_before_pooling() is not None

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, H, W, C) uint8 → (probabilities,) or (probabilities, maps)."""
        logits, *maps = self._of_one_view(images)
        if self.mirror:
            other, *others = self._of_one_view(images.flip(2))
            maps = [(one + back.flip(3)) / 2 for one, back in zip(maps, others, strict=True)]
            logits = self._logits_of((self._probabilities(logits) + self._probabilities(other)) / 2)
        return self._probabilities(logits / self.temperature), *maps

    def _of_one_view(self, images: Tensor) -> tuple[Tensor, ...]:
        x = self.normalise(images.permute(0, 3, 1, 2))
        if not self.has_maps:
            return (self.network(x),)
        *others, features = averaged = self.network.averaged_maps(x)
        fc = self.network.get_submodule(self.network.network.stages[-1].name)
        if not isinstance(fc, nn.Linear):
            return features.mean((2, 3)), features
        logits = fc(torch.cat([maps.mean((2, 3)) for maps in averaged], dim=1))
        if not others:
            return logits, nn.functional.conv2d(features, fc.weight[:, :, None, None], fc.bias)
        rows, columns = (max(maps.shape[side] for maps in averaged) for side in (2, 3))
        weights = torch.split(fc.weight, [maps.shape[1] for maps in averaged], dim=1)
        evidence = fc.bias[:, None, None]
        for maps, weight in zip(averaged, weights, strict=True):
            grids = zip(maps.shape[2:], (rows, columns), strict=True)
            down, across = (torch.from_numpy(to_grid(*sides)) for sides in grids)
            evidence = evidence + down @ nn.functional.conv2d(maps, weight[:, :, None, None]) @ across.T
        return logits, evidence

    def _probabilities(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits) if self.multi_label else torch.softmax(logits, dim=1)

    def _logits_of(self, probabilities: Tensor) -> Tensor:
        return torch.logit(probabilities) if self.multi_label else torch.log(probabilities)


def write_bundle(
    path: str | Path,
    network: ConvNet,
    card: ModelCard,
    golden_inputs: Pixels,
    others: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Export a network and write it as a bundle. ``golden_inputs`` are a few images, (N, size, size, C) uint8.

    ``others`` are further files of it, by their names.

    Versions and hashes of the card are filled in here. Raises :class:`WeightsError` if the outputs are not finite.
    """
    network = network.cpu().eval()
    deployed = Deployed(network, card.preprocessing, card.temperature, card.multi_label, card.mirror).eval()
    with torch.inference_mode():
        outputs = deployed(torch.from_numpy(golden_inputs))
    if not all(output.isfinite().all() for output in outputs):
        raise WeightsError(
            f"the answers of {card.name} with these weights are not finite: they are too large, or a running variance "
            "of batch normalisation is below 0; take weights from before the training failed"
        )
    named = dict(zip(("probabilities", "maps"), (output.numpy() for output in outputs), strict=False))
    golden = io.BytesIO()
    np.savez_compressed(golden, images=golden_inputs, **named)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    preprocessing, names = card.preprocessing, card.class_names
    files = {
        MODEL: to_onnx(network.network, arrays, preprocessing, card.temperature, names, card.multi_label, card.mirror),
        WEIGHTS: save_tensors(state),
        GOLDEN: golden.getvalue(),
        **(others or {}),
    }
    versions = {"python": platform.python_version(), "torch": torch.__version__, "onnx": onnx.__version__}
    card.versions.update(versions)
    return bundles.write(path, card, files)


def write_untrained(path: str | Path, network: Network, size: int) -> Bundle:
    """Write the bundle of a network with fresh weights, to measure its speed for images of ``size`` pixels.

    The weights are in the graph alone, which halves the disk space.
    """
    names = tuple(f"class {number}" for number in range(network.num_classes))
    card = ModelCard(network.name, to_json(network), names, network.preprocessing(size))
    noise = np.random.default_rng(0).integers(0, 256, (1, size, size, card.preprocessing.channels), dtype=np.uint8)
    bundle = write_bundle(path, create(network), card, noise)
    (bundle.path / WEIGHTS).unlink()
    return bundle
