"""Bundles → weights that plain PyTorch, torchvision and timm load."""

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
from googlenet.exchange.check import TORCH, check_outwards
from googlenet.exchange.files import CONFIG
from googlenet.exchange.program import program_of
from googlenet.files import write_error, write_whole
from googlenet.models import weights
from googlenet.models.build import create
from googlenet.models.spec import Network
from googlenet.text import json_text, printable

TIMM_WEIGHTS = "model.safetensors"


def export_weights(run: str | Path, out: str | Path, layout: str) -> Path:
    """Write the weights of a run or bundle as another project names them. Gives the path written.

    ``"torch"`` writes a state dict, to a .pth or a .safetensors file, and beside it a .py file of the same name that
    builds the network with PyTorch alone, for every network; ``"torchvision"`` a state dict for its module of that
    name; ``"timm"`` a folder with ``config.json`` and ``model.safetensors`` for
    ``timm.create_model("local-dir:FOLDER", pretrained=True)``.

    Raises :class:`BundleError` when there is no bundle, :class:`WeightsError` when its network is not known in that
    layout, and :class:`RunError` when ``out`` is in the way or cannot be written.
    """
    bundle, path = bundles.read(run), Path(out)
    check_outwards(bundle.network, path, layout)
    contents = timm_files(bundle) if layout == "timm" else _one_file(bundle, path, layout)
    folder = path if layout == "timm" else path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_whole(folder / name, content)
    except OSError as error:
        raise write_error(path, error) from error
    return path


def timm_files(bundle: Bundle) -> dict[str, bytes]:
    """Give the files of a folder that timm loads. Raises :class:`WeightsError` when timm has no such network."""
    ours = tensors_of(bundle)
    given = weights.to_layout(bundle.network, ours, "timm")
    config = json_text(_timm_config(bundle, ours), indent=2) + "\n"
    return {CONFIG: config.encode(), TIMM_WEIGHTS: _safetensors(given)}


def _one_file(bundle: Bundle, path: Path, layout: str) -> dict[str, bytes]:
    """Give the weights file, and of ``"torch"`` the program beside it."""
    tensors = tensors_of(bundle)
    if layout != TORCH:
        return {path.name: _state_dict(weights.to_layout(bundle.network, tensors, layout), path)}
    built = create(replace(bundle.network, aux=()))
    built.load_state_dict({key: tensors[key] for key in built.state_dict()})  # the heads give no answers
    program = program_of(built, bundle.card, path.name)
    return {path.name: _state_dict(built.state_dict(), path), f"{path.stem}.py": program.encode()}


def _state_dict(tensors: dict[str, Tensor], path: Path) -> bytes:
    if path.suffix == ".safetensors":
        return _safetensors(tensors)
    content = io.BytesIO()
    torch.save(dict(tensors), content)
    return content.getvalue()


def tensors_of(bundle: Bundle) -> dict[str, Tensor]:
    """Give a bundle's weights by our names. Raises :class:`BundleError` where they are missing or damaged."""
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
    # What timm replaces when it is asked for other channels or other classes.
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
    """Give timm's name of the module that holds the weights of a stage with one layer."""
    weight = next(key for key, tensor in ours.items() if key.startswith(f"{stage}.") and tensor.ndim > 1)
    (theirs,) = weights.to_layout(network, {weight: ours[weight]}, "timm")
    return theirs.removesuffix(".weight")
