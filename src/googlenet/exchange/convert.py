"""``convert``: weights of other projects become a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from googlenet import bundle as bundles
from googlenet._version import __version__
from googlenet.bundle import Bundle
from googlenet.card import ModelCard
from googlenet.errors import InputSizeError, WeightsError
from googlenet.exchange import files, hub
from googlenet.exchange.check import HUB, check_free, check_source, unfit
from googlenet.exchange.files import WeightsFile
from googlenet.exchange.places import CONFIG
from googlenet.exporting.bundles import write_bundle
from googlenet.files import write_error
from googlenet.images.decode import COLOURS, Pixels
from googlenet.models import weights, zoo
from googlenet.models.analysis import analyse, minimum_size, too_small
from googlenet.models.build import create
from googlenet.models.spec import Network, to_json
from googlenet.models.weights import LoadedWeights
from googlenet.preprocessing import Preprocessing
from googlenet.text import first_few

GOLDEN_IMAGES = 4
IMAGENET_CLASSES = 1000
IMAGENET_LAYOUTS = ("torchvision", "timm", "caffe", "caffe2")  # their 1000 classes are ImageNet's, in its order

_ONE = (1 / 255, 1 / 255, 1 / 255)
_HALF = (0.5, 0.5, 0.5)

# The preprocessing these weights were trained with: mostly pixels from 0 to 255 minus a mean.
_CAFFE: dict[str, Any] = {"mean": (123 / 255, 117 / 255, 104 / 255), "std": _ONE, "channel_order": "BGR"}
_BY_LAYOUT: dict[str, dict[str, Any]] = {
    "caffe": _CAFFE,
    "caffe2": _CAFFE,
    "tensorflow": {"mean": (117 / 255, 117 / 255, 117 / 255), "std": _ONE},
}
_VGG = {**_CAFFE, "mean": (123.68 / 255, 116.779 / 255, 103.939 / 255)}
_BY_NETWORK: dict[tuple[str, str], dict[str, Any]] = {
    ("resnet50", "caffe2"): {"channel_order": "BGR"},
    **{(name, "caffe"): _VGG for name in ("vgg11", "vgg16", "vgg19")},
}

# torchvision's published GoogLeNet and Inception v3 came from TensorFlow and take (pixel / 255 - 0.5) / 0.5; its
# modules convert ImageNet's normalisation into that (transform_input), which is not in the state dict. The published
# files are recognised by the start of their sha256, which is also in their names.
_PUBLISHED = ("1378be20", "0cc3c7bd", "1a9a5a14")
_TRANSFORMED = ("googlenet_torchvision", "inception_v3")

LABELS_5H, OUTPUTS_5H = 1001, 1008  # lines of the label list that comes with inception5h, and its outputs


def convert(
    source: str | Path,
    out: str | Path,
    *,
    network: str,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
    download: bool = False,
    key: str | None = None,
    transform_input: bool | None = None,
) -> Bundle:
    """Convert weights of another project into a run in the new directory ``out``. No code of the source is run.

    Args:
        source: a .pth, .pt, .bin, .ckpt, .pth.tar, .safetensors, .npz, .caffemodel, .onnx, .pb or .index.json file, a
            folder as timm or the Hugging Face Hub writes it, or ``"hf:OWNER/NAME"``.
        out: the directory to write; it must be new or empty.
        network: the network of the zoo whose weights these are.
        class_names: the classes in the order of the weights; by default those of the source, or of ImageNet.
        image_size: side of the input images in pixels; by default that of the source, else the network's.
        download: allow ``hf:`` sources to be downloaded.
        key: which weights to take from a checkpoint that holds several, such as ``"model_ema"``; by default those
            that fit best: among equals an average (EMA), else the first.
        transform_input: whether torchvision's GoogLeNet or Inception v3 was built with ``transform_input=True``, as
            ``weights=`` does; by default this is assumed of its published files only.

    ``bundle.card.data["notes"]`` lists what was chosen or assumed.

    Raises:
        WeightsError: the source cannot be read or downloaded, holds NaN or infinite values, or does not fit: every
            wrong tensor is named.
        NetworkError: there is no network of that name.
        RunError: ``out`` is not empty, or cannot be written.
        MissingExtraError: ``hf:`` without the hub extra.

    ::

        bundle = googlenet.convert("googlenet.pth", "runs/theirs", network="googlenet_torchvision")
    """
    for name, path in (("source", source), ("out", out)):
        if not isinstance(path, (str, Path)) or not str(path):
            raise WeightsError(f"{name} is a path, as str or Path, got {path!r:.80}")
    run = Path(out)
    spec = zoo.find(network)
    check_free(run)
    check_source(source, download)
    origin, path = _fetched(source, download)
    card, taken = read_weights(path, spec, origin, class_names, image_size, key, transform_input)
    with torch.random.fork_rng():  # drawing initial weights must not change the caller's random state
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
    key: str | None = None,
    transform_input: bool | None = None,
) -> tuple[ModelCard, LoadedWeights]:
    """Read weights of another project for ``network``. Returns a card and the weights.

    ``origin`` is their name on the card. Raises :class:`WeightsError` as :func:`convert` does.
    """
    return describe(files.read(path), network, origin, class_names, image_size, key, transform_input)


def describe(
    found: WeightsFile,
    network: Network,
    origin: str,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
    key: str | None = None,
    transform_input: bool | None = None,
) -> tuple[ModelCard, LoadedWeights]:
    """Return a card and the weights of a file that was read; otherwise like :func:`read_weights`."""
    try:
        taken = weights.from_layout(network, found.tensors, key)
    except WeightsError as error:
        raise unfit(found, network, error) from error
    names, named = _class_names(class_names, found, taken)
    preprocessing, fed = _preprocessing(image_size, found, taken, transform_input)
    data = {"source": origin, "sha256": found.sha256, "layout": taken.layout}
    data |= {"place": taken.place} if taken.place else {}
    card = ModelCard(
        name=taken.network.name,
        network=to_json(taken.network),
        class_names=names,
        preprocessing=preprocessing,
        data={**data, "notes": [*taken.notes, *named, *fed]},
        versions={"googlenet": __version__},
    )
    return card, taken


def describe_body(found: WeightsFile, network: Network) -> tuple[Preprocessing, LoadedWeights]:
    """Return how images are fed, and the weights of a file that holds a part of ``network``, such as all but its head.

    Raises :class:`WeightsError` where nothing is of this network.
    """
    taken = weights.body_from_layout(network, found.tensors)
    preprocessing, notes = _preprocessing(None, found, taken, None)
    return preprocessing, replace(taken, notes=(*taken.notes, *notes))


def _fetched(source: str | Path, download: bool) -> tuple[str, Path]:
    """Return the source's name for the card, and its path on this machine."""
    name = str(source)
    if name.startswith(HUB):
        return hub.fetch(name.removeprefix(HUB), download)
    return Path(source).name or name, Path(source)


# Class names.


def _class_names(
    given: Sequence[str] | None, found: WeightsFile, taken: LoadedWeights
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the class names, and notes about them."""
    count = taken.network.num_classes
    source, names = ("--classes", tuple(given)) if given is not None else _stated_names(found)
    if names is None:
        return _imagenet(taken) if count == IMAGENET_CLASSES else _numbered(0, count), ()
    notes: tuple[str, ...] = ()
    if taken.layout == "tensorflow" and (len(names), count) == (LABELS_5H, OUTPUTS_5H):
        names += tuple(f"unused {number}" for number in range(len(names) + 1, count + 1))
        unused = f"{names[LABELS_5H]} to {names[-1]}"
        notes = (f"{source} names {LABELS_5H:,} classes of {OUTPUTS_5H:,} outputs: the others are {unused}",)
    if len(names) != count:
        raise WeightsError(
            f"{source} names {len(names)} classes, the weights have {count}: give --classes with {count}"
        )
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise WeightsError(f"{source} names classes twice: {first_few(twice)}; each needs a name of its own")
    return names, notes


def _numbered(first: int, end: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(first, end))


def _stated_names(found: WeightsFile) -> tuple[str, tuple[str, ...] | None]:
    """Return where the source states its class names, and the names."""
    if found.card is not None:
        return bundles.CARD, found.card.class_names
    names = _settings(found.config).get("label_names")
    if isinstance(names, dict):  # number → name
        names = [names[key] for key in sorted(names, key=lambda key: (len(key), key))]
    if not isinstance(names, list) or not names:
        return CONFIG, None
    return CONFIG, tuple(map(str, names))


def _imagenet(taken: LoadedWeights) -> tuple[str, ...]:
    if taken.layout not in IMAGENET_LAYOUTS:
        return _numbered(0, IMAGENET_CLASSES)
    from torchvision.models import ResNet18_Weights  # the names only: nothing is downloaded

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


# Preprocessing.


def _preprocessing(
    size: int | None, found: WeightsFile, taken: LoadedWeights, transform_input: bool | None
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Return the preprocessing, and notes about what was assumed."""
    if size is not None and size < minimum_size(taken.network):
        raise InputSizeError(f"--image-size {size}: {too_small(taken.network, size, size)}")
    notes: tuple[str, ...] = ()
    if found.card is not None and transform_input is None:
        preprocessing = found.card.preprocessing
    else:
        fed, notes = _fed(found, taken, transform_input)
        preprocessing = replace(taken.network.preprocessing(), color_profiles="ignored", **fed)
    if preprocessing.channels != taken.network.in_channels:
        raise WeightsError(
            f"the weights take images of {taken.network.in_channels} channels, but they come with a mean for "
            f"{preprocessing.channels}: give one for each channel in a {CONFIG} beside them"
        )
    preprocessing = preprocessing if size is None else replace(preprocessing, size=size)
    analyse(taken.network, max(preprocessing.size, minimum_size(taken.network)))  # holds together at this size
    return preprocessing, notes


def _fed(
    found: WeightsFile, taken: LoadedWeights, transform_input: bool | None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the preprocessing fields that differ from the network's defaults, and notes about what was assumed."""
    settings = _settings(found.config)
    stated = "mean" in settings or "input_size" in settings
    may_transform = taken.layout == "torchvision" and taken.network.name in _TRANSFORMED and not stated
    if transform_input is not None and not may_transform:
        raise WeightsError(
            f"--transform-input is for weights of torchvision's {' and '.join(_TRANSFORMED)}; these are of "
            f"{taken.network.name} ({taken.layout}), or come with a preprocessing of their own"
        )
    if stated:
        return _from_config(settings, taken.network.in_channels), ()
    if may_transform and taken.network.in_channels == COLOURS:
        return _transformed(found, transform_input)
    fed = _BY_NETWORK.get((taken.network.name, taken.layout), _BY_LAYOUT.get(taken.layout, {}))
    return fed if taken.network.in_channels == COLOURS else {}, ()


def _transformed(found: WeightsFile, transform_input: bool | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    published = found.sha256.startswith(_PUBLISHED) or any(f"-{start}." in found.path.name for start in _PUBLISHED)
    fed = {"mean": _HALF, "std": _HALF} if transform_input or (transform_input is None and published) else {}
    if transform_input is not None:
        return fed, ()
    if published:
        return fed, ("transform_input: yes, as torchvision's published weights have it; --transform-input chooses",)
    return fed, (
        "transform_input: no, by default; if these weights were fine-tuned from torchvision's published ones, give "
        "--transform-input yes",
    )


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the two levels of timm's config.json."""
    inner = config.get("pretrained_cfg")
    return {**config, **(inner if isinstance(inner, dict) else {})}


def _from_config(settings: Mapping[str, Any], channels: int) -> dict[str, Any]:
    try:
        preprocessing: dict[str, Any] = {}
        for name in ("mean", "std"):
            if name in settings:
                preprocessing[name] = tuple(float(number) for number in settings[name])
                if len(preprocessing[name]) != channels:
                    raise ValueError(f"{name} needs {channels} numbers, one per channel, got {settings[name]}")
        if "input_size" in settings:
            preprocessing["size"] = int(settings["input_size"][-1])
        if "crop_pct" in settings:
            preprocessing["crop_fraction"] = float(settings["crop_pct"])
        if settings.get("crop_mode"):
            ours = {theirs: ours for ours, theirs in weights.TIMM_CROP_MODES.items()}
            preprocessing["resize"] = ours[settings["crop_mode"]]
        if not 1 <= preprocessing.get("size", 1) <= 4096 or not 0.1 <= preprocessing.get("crop_fraction", 1) <= 1:
            raise ValueError(f"input_size must be 1 to 4096 and crop_pct 0.1 to 1, got {preprocessing}")
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise WeightsError(f"{CONFIG} has no usable mean, std, input_size, crop_pct, crop_mode: {error}") from error
    return preprocessing


def _golden(preprocessing: Preprocessing) -> Pixels:
    """Draw noise as golden images: there are no real ones."""
    shape = (GOLDEN_IMAGES, preprocessing.size, preprocessing.size, preprocessing.channels)
    pixels: Pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return pixels
