"""From a trained network to the files of a bundle. Needs torch; the files do not."""

from __future__ import annotations

import contextlib
import io
import logging
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from googlenet import bundle as bundles
from googlenet.bundle import GOLDEN, MODEL, WEIGHTS, Bundle
from googlenet.card import ModelCard, Preprocessing
from googlenet.images.decode import Pixels
from googlenet.models.build import ConvNet, Normalise

OPSET = 20


class Deployed(nn.Module):
    """A network as it is shipped: uint8 (N, H, W, 3) RGB → probabilities (N, K) and, where they exist, maps.

    ``maps`` (N, K, h, w) are the class activation maps: the classifier applied at every place of the last
    feature map. Averaged over the places they are the logits.
    """

    def __init__(self, network: ConvNet, rule: Preprocessing, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature
        self.normalise = Normalise(rule)
        self.has_maps = network.network.stages_before_pooling() is not None

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, H, W, 3) uint8 → (probabilities,) or (probabilities, maps)."""
        x = self.normalise(images.permute(0, 3, 1, 2))
        if not self.has_maps:
            return (self._probabilities(self.network(x)),)
        features = self.network.features(x)
        fc = self.network.get_submodule("fc")
        assert isinstance(fc, nn.Linear)
        maps = nn.functional.conv2d(features, fc.weight[:, :, None, None], fc.bias)
        return self._probabilities(fc(features.mean((2, 3)))), maps

    def _probabilities(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits / self.temperature, dim=1)


def write_bundle(path: str | Path, network: ConvNet, card: ModelCard, golden_inputs: Pixels) -> Bundle:
    """Export a network and write it as a bundle. ``golden_inputs`` are a few (N, size, size, 3) uint8 pictures.

    Versions and hashes of the card are filled in here.
    """
    network = network.cpu().eval()
    deployed = Deployed(network, card.preprocessing, card.temperature).eval()
    with torch.inference_mode():
        outputs = deployed(torch.from_numpy(golden_inputs))
    named = dict(zip(("probabilities", "maps"), (output.numpy() for output in outputs), strict=False))
    golden = io.BytesIO()
    np.savez_compressed(golden, images=golden_inputs, **named)
    files = {
        MODEL: to_onnx(deployed, golden_inputs.shape[1], card.class_names),
        WEIGHTS: save_tensors({name: t.contiguous() for name, t in network.state_dict().items()}),
        GOLDEN: golden.getvalue(),
    }
    versions = {"python": platform.python_version(), "torch": torch.__version__, "onnx": onnx.__version__}
    card.versions.update(versions)
    return bundles.write(path, card, files)


def to_onnx(deployed: Deployed, size: int, class_names: tuple[str, ...]) -> bytes:
    """Export to a single ONNX file of any batch size, the class names among its metadata."""
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    outputs = ["probabilities", "maps"] if deployed.has_maps else ["probabilities"]
    with _quiet():
        program = torch.onnx.export(
            deployed,
            (example,),
            input_names=["images"],
            output_names=outputs,
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {"class_names": "\n".join(class_names)})
    content: bytes = model.SerializeToString()
    return content


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress, deprecation notes and debug log off the user's screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
