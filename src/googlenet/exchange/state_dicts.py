"""``export_weights``: a bundle becomes weights that plain PyTorch, torchvision and timm load."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from googlenet import bundle as bundles
from googlenet.bundle import Bundle
from googlenet.errors import BundleError
from googlenet.exchange.places import CONFIG
from googlenet.exchange.program import program_of
from googlenet.models import weights
from googlenet.models.build import create
from googlenet.models.spec import Network
from googlenet.text import json_text, printable

TIMM_WEIGHTS = "model.safetensors"


def torch_files(bundle: Bundle, path: Path) -> dict[str, bytes]:
    """Return the state dict by our names, without the heads, and the program that builds its module."""
    tensors = tensors_of(bundle)
    built = create(replace(bundle.network, aux=()))
    built.load_state_dict({key: tensors[key] for key in built.state_dict()})
    program = program_of(built, bundle.card, path.name)
    return {path.name: _state_dict(built.state_dict(), path), f"{path.stem}.py": program.encode()}


def torchvision_files(bundle: Bundle, path: Path) -> dict[str, bytes]:
    """Return the state dict by torchvision's names. Raises :class:`WeightsError` where it has no such network."""
    return {path.name: _state_dict(weights.to_layout(bundle.network, tensors_of(bundle), "torchvision"), path)}


def timm_files(bundle: Bundle) -> dict[str, bytes]:
    """Return the files of a folder that timm loads. Raises :class:`WeightsError` where timm has no such network."""
    ours = tensors_of(bundle)
    theirs = weights.to_layout(bundle.network, ours, "timm")
    config = json_text(_timm_config(bundle, ours), indent=2) + "\n"
    return {CONFIG: config.encode(), TIMM_WEIGHTS: _safetensors(theirs)}


def _state_dict(tensors: dict[str, Tensor], path: Path) -> bytes:
    if path.suffix == ".safetensors":
        return _safetensors(tensors)
    content = io.BytesIO()
    torch.save(dict(tensors), content)
    return content.getvalue()


def tensors_of(bundle: Bundle) -> dict[str, Tensor]:
    """Return a bundle's weights by our names. Raises :class:`BundleError` where they are missing or damaged."""
    content = bundle.read(bundles.WEIGHTS)
    try:
        tensors: dict[str, Tensor] = parse_safetensors(content)
    except SafetensorError as error:
        raise BundleError(f"{bundle.path / bundles.WEIGHTS} is damaged: {printable(str(error))}") from error
    return tensors


def _safetensors(tensors: dict[str, Tensor]) -> bytes:
    content: bytes = save_safetensors({name: t.contiguous() for name, t in tensors.items()}, {"format": "pt"})
    return content


def _timm_config(bundle: Bundle, ours: dict[str, Tensor]) -> dict[str, Any]:
    card, network = bundle.card, bundle.network
    preprocessing = card.preprocessing
    # The modules that timm replaces when other channels or classes are asked for.
    first, last = (_timm_module(network, stage.name, ours) for stage in (network.stages[0], network.stages[-1]))
    config = {
        "architecture": weights.TIMM_NAMES.get(network.name, network.name),
        "num_classes": network.num_classes,
        "label_names": list(card.class_names),
        "pretrained_cfg": {
            "input_size": [network.in_channels, preprocessing.size, preprocessing.size],
            "interpolation": "bilinear",
            "crop_pct": preprocessing.crop_fraction,
            "crop_mode": weights.TIMM_CROP_MODES[preprocessing.resize],
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "num_classes": network.num_classes,
            "first_conv": first,
            "classifier": last,
        },
    }
    if network.aux:
        config["model_args"] = {"aux_logits": True}
    return config


def _timm_module(network: Network, stage: str, ours: dict[str, Tensor]) -> str:
    """Return timm's name of the module that holds the weights of a stage with one layer."""
    weight = next(key for key, tensor in ours.items() if key.startswith(f"{stage}.") and tensor.ndim > 1)
    (theirs,) = weights.to_layout(network, {weight: ours[weight]}, "timm")
    return theirs.removesuffix(".weight")
