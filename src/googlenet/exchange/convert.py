"""Weights of other projects → a bundle that ``load``, ``evaluate`` and ``verify`` read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import googlenet
from googlenet import bundle as bundles
from googlenet.bundle import Bundle
from googlenet.card import ModelCard, Preprocessing
from googlenet.errors import InputSizeError, WeightsError
from googlenet.exchange import files, hub
from googlenet.exchange.check import HUB, check_free
from googlenet.exchange.files import WeightsFile
from googlenet.files import write_error
from googlenet.images.decode import Pixels
from googlenet.inference.export import write_bundle
from googlenet.models import weights, zoo
from googlenet.models.analysis import minimum_size, too_small
from googlenet.models.build import create
from googlenet.models.spec import Network, to_json
from googlenet.models.weights import Taken

GOLDEN_PICTURES = 4
IMAGENET_CLASSES = 1000
IMAGENET_LAYOUTS = ("torchvision", "timm", "caffe")  # whose 1000 classes are ImageNet's, in its order

_ONE = (1 / 255, 1 / 255, 1 / 255)
_HALF = (0.5, 0.5, 0.5)

# How the makers of these files fed their networks: pixels of 0 to 255 less a mean.
_BY_LAYOUT: dict[str, dict[str, Any]] = {
    "caffe": {"mean": (123 / 255, 117 / 255, 104 / 255), "std": _ONE, "channel_order": "BGR"},
    "tensorflow": {"mean": (117 / 255, 117 / 255, 117 / 255), "std": _ONE},
}

# torchvision's published GoogLeNet and Inception v3 came from TensorFlow and saw (pixel / 255 - 0.5) / 0.5; its modules
# turn ImageNet's normalisation into that (transform_input). The published files are known by how their sha256 begins.
_PUBLISHED = ("1378be20", "0cc3c7bd", "1a9a5a14")


def convert(
    source: str | Path,
    out: str | Path,
    *,
    network: str,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
    download: bool = False,
) -> Bundle:
    """Turn weights of another project into a bundle in the new directory ``out``. No code of the source is run.

    Args:
        source: a .pth, .pt, .bin, .safetensors, .caffemodel, .onnx or .pb file, a folder in the style of timm or the
            Hugging Face Hub, or ``"hf:OWNER/NAME"``.
        out: the directory to write; it must be new or empty.
        network: the name of the zoo whose weights these are.
        class_names: the classes in the order of the weights; unless given, what the source or ImageNet says.
        image_size: side of the pictures the network sees, in pixels; unless given, what the source or the network says.
        download: allow ``hf:`` sources to be fetched.

    Raises:
        WeightsError: the source cannot be read or fetched, or does not fit; every wrong tensor is named.
        NetworkError, RunError, MissingExtraError: no such network, ``out`` is in the way, ``hf:`` without its extra.

    ::

        bundle = googlenet.convert("googlenet.pth", "runs/theirs", network="googlenet_torchvision")
    """
    run = Path(out)
    spec = zoo.find(network)
    check_free(run)
    origin, path = _fetched(source, download)
    card, taken = read_weights(path, spec, origin, class_names, image_size)
    with torch.random.fork_rng():  # the initial weights, drawn and thrown away, leave the caller's numbers alone
        built = create(taken.network)
    built.load_state_dict(taken.state)
    try:
        return write_bundle(run / bundles.IN_RUN, built, card, _golden(card.preprocessing))
    except OSError as error:
        raise write_error(run, error) from error


def read_weights(
    path: Path,
    network: Network,
    origin: str,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
) -> tuple[ModelCard, Taken]:
    """Read weights of another project for ``network``: what a card says of them, and the tensors.

    ``origin`` is what the card calls them. Raises :class:`WeightsError` as :func:`convert` does.
    """
    found = files.read(path)
    taken = weights.take(network, found.tensors)
    card = ModelCard(
        name=taken.network.name,
        network=to_json(taken.network),
        class_names=_class_names(class_names, found, taken),
        preprocessing=_preprocessing(image_size, found, taken),
        data={"source": origin, "sha256": found.sha256, "layout": taken.layout},
        versions={"googlenet": googlenet.__version__},
    )
    return card, taken


def _fetched(source: str | Path, download: bool) -> tuple[str, Path]:
    """Give the source a name for the card, and a place on this machine."""
    name = str(source)
    if name.startswith(HUB):
        return hub.fetch(name.removeprefix(HUB), download)
    return Path(source).name or name, Path(source)


# What the classes are called.


def _class_names(given: Sequence[str] | None, found: WeightsFile, taken: Taken) -> tuple[str, ...]:
    count = taken.network.num_classes
    source, names = ("--classes", tuple(given)) if given is not None else _told(found)
    if names is None:
        return _imagenet(taken) if count == IMAGENET_CLASSES else tuple(f"class {n}" for n in range(count))
    if len(names) != count:
        raise WeightsError(
            f"{source} names {len(names)} classes, the weights have {count}: give --classes with {count}"
        )
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise WeightsError(f"{source} names classes twice: {', '.join(twice[:5])}; each needs a name of its own")
    return names


def _told(found: WeightsFile) -> tuple[str, tuple[str, ...] | None]:
    """Give the classes that the source itself names."""
    if found.card is not None:
        return bundles.CARD, found.card.class_names
    names = _settings(found.config).get("label_names")
    if isinstance(names, dict):  # number → name
        names = [names[key] for key in sorted(names, key=lambda key: (len(key), key))]
    if not isinstance(names, list) or not names:
        return files.CONFIG, None
    return files.CONFIG, tuple(map(str, names))


def _imagenet(taken: Taken) -> tuple[str, ...]:
    if taken.layout not in IMAGENET_LAYOUTS:
        return tuple(f"class {n}" for n in range(IMAGENET_CLASSES))
    from torchvision.models import ResNet18_Weights  # the names only: nothing is downloaded

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


# How the network is fed.


def _preprocessing(size: int | None, found: WeightsFile, taken: Taken) -> Preprocessing:
    if size is not None and size < minimum_size(taken.network):
        raise InputSizeError(f"--image-size {size}: {too_small(taken.network, size, size)}")
    if found.card is not None:
        rule = found.card.preprocessing
    else:
        rule = replace(taken.network.preprocessing(), **_fed(found, taken))
    if rule.channels != taken.network.in_channels:
        raise WeightsError(
            f"the weights take pictures of {taken.network.in_channels} channels, but they come with a mean for "
            f"{rule.channels}: give one for each channel in a {files.CONFIG} beside them"
        )
    return rule if size is None else replace(rule, size=size)


def _fed(found: WeightsFile, taken: Taken) -> dict[str, Any]:
    """Say what of the preprocessing is another one than the network's own."""
    settings = _settings(found.config)
    if "mean" in settings or "input_size" in settings:
        return _from_config(settings, taken.network.in_channels)
    if taken.layout == "torchvision" and found.sha256.startswith(_PUBLISHED):
        return {"mean": _HALF, "std": _HALF}
    return _BY_LAYOUT.get(taken.layout, {})


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the two levels of timm's config.json over each other."""
    inner = config.get("pretrained_cfg")
    return {**config, **(inner if isinstance(inner, dict) else {})}


def _from_config(settings: Mapping[str, Any], channels: int) -> dict[str, Any]:
    try:
        rule: dict[str, Any] = {}
        for name in ("mean", "std"):
            if name in settings:
                rule[name] = tuple(float(number) for number in settings[name])
                if len(rule[name]) != channels:
                    raise ValueError(f"{name} needs {channels} numbers, one a channel, got {settings[name]}")
        if "input_size" in settings:
            rule["size"] = int(settings["input_size"][-1])
        if "crop_pct" in settings:
            rule["crop_fraction"] = float(settings["crop_pct"])
        if settings.get("crop_mode"):
            ours = {theirs: ours for ours, theirs in weights.TIMM_CROP_MODES.items()}
            rule["fit"] = ours[settings["crop_mode"]]
        if not 1 <= rule.get("size", 1) <= 4096 or not 0.1 <= rule.get("crop_fraction", 1) <= 1:
            raise ValueError(f"input_size must be 1 to 4096 and crop_pct 0.1 to 1, got {rule}")
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise WeightsError(
            f"{files.CONFIG} says nothing usable about mean, std, input_size, crop_pct, crop_mode: {error}"
        ) from error
    return rule


def _golden(rule: Preprocessing) -> Pixels:
    """Draw the pictures a bundle is checked with; there are no others."""
    shape = (GOLDEN_PICTURES, rule.size, rule.size, rule.channels)
    pixels: Pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return pixels
