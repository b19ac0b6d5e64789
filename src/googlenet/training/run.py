"""Training: everything is looked at before any work, without PyTorch; then ``work`` does it, in one directory."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from googlenet.bundle import Bundle
from googlenet.card import ModelCard
from googlenet.data.depths import common_range
from googlenet.data.image_set import DataLike, ImageSet, LabelledData, LabelledImage
from googlenet.data.opening import find_data, open_data, redraw
from googlenet.data.source import DataSource
from googlenet.data.splits import (
    BY_NAME,
    DRAWN,
    RECORD,
    Record,
    Recorded,
    hashes_told,
    read_record,
    record_of,
)
from googlenet.errors import (
    CheckpointError,
    DataError,
    DeviceError,
    InputSizeError,
    RecipeError,
    RunError,
)
from googlenet.extras import TRAINING, require
from googlenet.images.decode import COLOURS
from googlenet.inference.verify import golden_inputs
from googlenet.machine import explained
from googlenet.models import zoo
from googlenet.models.analysis import minimum_size, too_small
from googlenet.models.spec import Network, from_json, to_json
from googlenet.parallel import cores
from googlenet.preprocessing import Preprocessing, ResizeMode
from googlenet.stages import stage
from googlenet.text import escape_surrogates, first_few, printable
from googlenet.training import directory, inherit, torchrun
from googlenet.training.directory import SETTINGS
from googlenet.training.recipe import Recipe, load_recipe, recipe_of
from googlenet.training.settings import READING

INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"  # a folder that PyTorch makes as it is loaded, for what is never compiled here
Balance = Literal["none", "weighted_loss", "oversample"]
Device = Literal["auto", "cpu", "cuda", "mps"]
OnBadImage = Literal["skip", "stop"]


def train(
    data: DataLike,
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    network: str | Network | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    image_size: int | None = None,
    in_channels: int | None = None,
    resize: ResizeMode | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    weights: str | Path | None = None,
    freeze: str | None = None,
    download: bool = False,
    seed: int | None = None,
    val_fraction: float | None = None,
    test_fraction: float | None = None,
    class_balance: Balance | None = None,
    device: Device = "auto",
    precision: Literal["auto", "fp32", "bf16"] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_bad_image: OnBadImage = "skip",
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
    follow_links: bool = False,
    path_column: str | None = None,
    label_column: str | None = None,
    multi_label: bool = False,
) -> Bundle:
    """Train a classifier and write it, with its log, checkpoints and learning curve, to the run directory ``out``.

    Args:
        data: a folder with one sub-folder of images per class, one with ``train/`` and ``val/``, a list (``.csv`` or
            ``.jsonl``), ``"digits"``, the name of a set that was fetched, or :class:`LabelledData` made by hand. Where
            its images may have several labels, the classes no longer exclude each other, and the bundle says of
            each from which probability on it is named.
        out: the run directory; it must be new, unless ``resume`` or ``overwrite``.
        network: a name of the zoo, or a ``Network`` of your own; unless given, that of ``weights``, else the recipe's.
        recipe: ``"default"``, ``"finetune"``, ``"paper"``, ``"notes"``, ``"digits"``, or a TOML file; what follows
            overrides it. Unless given, ``"finetune"`` where there is a ``weights``, else ``"default"``.
        minutes: train as well as can be done in so many minutes of wall time instead of ``epochs``; this call, the
            bundle included, ends within about a twentieth of it. Two runs differ then, as their speeds do.
        weights: pretrained weights to start from: a run, a bundle, a ``.safetensors`` file, or ``"torchvision"``. Every
            tensor whose name and shape fit is taken; classifiers only where the classes are the same.
        freeze: with ``weights``, the last of the stages that do not learn; heads on these are left out.
        download: allow torchvision's weights, and ``data`` that is an address, to be fetched.
        in_channels: 1 for grey, 3 (unless told) for RGB: any image becomes so. 4 or any other number: what the files
            hold, as :func:`googlenet.images.decode.decode` tells.
        val_fraction: the share of each class, 0 to 1, that is held out to choose the best epoch by, where ``data`` does
            not say itself which images these are; unless given, the recipe's (0.2).
        test_fraction: the share of each class that is kept apart as well, and never looked at in training; unless
            given, the recipe's (0). ``evaluate(out, data, split="test")`` measures it.
        class_balance: what to do where classes differ in size: nothing (``"none"``), weigh the small ones more
            (``"weighted_loss"``), or draw every class equally often (``"oversample"``: not with several labels).
        fit: how an image becomes square: ``"crop"`` its centre, ``"pad"`` it with grey, or ``"squash"`` it.
        device: where to compute; ``"auto"`` takes CUDA or Apple's GPU where there is one.
        precision: what to compute in; ``"auto"`` tries what the device has and takes the fastest, which is recorded.
        resume: go on from the newest sound checkpoint in ``out``, exactly where it stood, with the same images
            wherever they are now. With more ``epochs`` or ``minutes`` than before it goes on for longer, a run that
            has ended too: the learning rate is then that of a run of the new length at the same place.
        overwrite: delete the run that is in ``out`` first.
        on_bad_image: leave out an image that cannot be read, or stop at once.
        workers: processes that read and augment images, 0 or more; unless given, one a core and at most 8. They
            change no weight, and may differ when a run is resumed.
        checkpoint_minutes: save so often within an epoch; at its end a run is saved anyway.
        follow_links: take in what links in ``data`` lead to, wherever that is; linked folders too, and each file once.
        path_column, label_column: the columns of a list, where they are not called ``path`` and ``label``.
        multi_label: an image of a list may have several labels, or none where the label is empty.

    What of ``data`` is left out, or taken otherwise than as written, is named on stderr.

    Where ``torchrun`` started several processes they train as one: ``batch_size`` is split among them, the first
    one writes, and all return the same bundle (docs/scaling.md).

    Raises:
        DataError, RecipeError, NetworkError, DeviceError, RunError: before any work is done.
        WeightsError, BundleError: ``weights`` cannot be read or does not fit; before any work is done.
        StoppedError: Ctrl-C, SIGTERM or a terminal that was closed, after a checkpoint was written.
        MachineError: memory, open files, processes or places that the machine refused.
        NonFiniteLossError: the loss became NaN or infinite; it names the images.
        DiskFullError: a checkpoint could not be written; the one before is intact.

    ::

        bundle = googlenet.train("photos/", out="runs/flowers")
    """
    begun = time.perf_counter()
    overrides = {"network": network, "epochs": epochs, "minutes": minutes, "image_size": image_size,
                 "in_channels": in_channels, "resize": resize, "batch_size": batch_size, "lr": lr, "freeze": freeze,
                 "seed": seed, "val_fraction": val_fraction, "test_fraction": test_fraction,
                 "class_balance": class_balance, "precision": precision}  # fmt: skip
    require("train", *TRAINING)
    _check_types(out, resume=resume, overwrite=overwrite, download=download)
    run = Path(out)
    _check_options(device, on_bad_image, workers, checkpoint_minutes)
    if torchrun.is_launched():
        resume = _work().of_first(device, resume or _is_to_go_on(run))
    plan = look(run, recipe, overrides, weights, resume=resume, overwrite=overwrite)
    if not isinstance(data, (DataSource, LabelledData)):
        data = DataSource(data, follow_links=follow_links, path_column=path_column, label_column=label_column,
                          multi_label=multi_label, download=download)  # fmt: skip
    plan = look_at_data(plan, data)
    if val_fraction is not None and not resume and not plan.data.made_here:
        raise DataError(
            f"{plan.data.name} says itself which images are {' and '.join(plan.data.splits)}: "
            f"--val-fraction {val_fraction:g} is for data that does not; leave it out"
        )
    plan = replace(plan, device=device, on_bad_image=on_bad_image, workers=workers, download=download, begun=begun,
                   checkpoint_minutes=checkpoint_minutes)  # fmt: skip
    with directory.held(run) if torchrun.is_first_process() else nullcontext(), explained():
        bundle: Bundle = _work().train(plan)
        return bundle


def _work() -> Any:
    """Load what trains, with PyTorch: not before everything was looked at."""
    was_told = INDUCTOR in os.environ
    with stage("loading PyTorch"):
        from googlenet.training import work
    if not was_told:
        with suppress(OSError, KeyError):  # it is not empty
            Path(os.environ[INDUCTOR]).rmdir()
    return work


# Looking before work: nothing here loads PyTorch, so that what is wrong is said within a second.


@dataclass(frozen=True)
class Plan:
    """What is to be trained, on what and how, once nothing is wrong with it.

    ``preprocessing`` is how an image becomes what the network sees; ``origin`` what is noted of the weights it begins
    with.
    """

    run: Path
    settings: Recipe
    network: Network
    preprocessing: Preprocessing
    origin: dict[str, Any] | None
    weights: str | Path | None
    asked: str | Network | None  # the network, where one was named
    resume: bool
    overwrite: bool
    before: dict[str, Any] = field(default_factory=dict)  # what a run that goes on was begun with
    taken_over: int | None = None  # channels of the images, where it is the weights that tell them
    described: dict[str, Any] = field(default_factory=dict)
    record: bytes = b""  # of a new run, once its images were hashed
    data: LabelledData = field(default=None)  # type: ignore[assignment]  # until it was looked at
    device: Device = "auto"
    on_bad_image: OnBadImage = "skip"
    workers: int | None = None
    download: bool = False
    begun: float = 0.0
    checkpoint_minutes: float = 10.0

    def begun_with(self, card: ModelCard | None, origin: dict[str, Any]) -> Plan:
        """Note the weights that were read, and take over what was not known of published ones before."""
        settings, network, preprocessing = _settled(self.settings, self.network, card, origin)
        preprocessing = replace(
            preprocessing, value_range=self.preprocessing.value_range, color_profiles=self.preprocessing.color_profiles
        )
        return replace(self, settings=settings, network=network, preprocessing=preprocessing, origin=origin)

    def with_hashes(self, hashes: Sequence[str]) -> Plan:
        """Note the sha256 of every image, in the order of ``data.split("all")``."""
        record = record_of({split: part.items for split, part in self.data.splits.items()}, hashes)
        return replace(self, record=record, described=self.described | {"record": hashlib.sha256(record).hexdigest()})

    @property
    def goes_on_longer(self) -> bool:
        """Whether a run is resumed for longer than it was begun for."""
        return self.resume and self.settings != recipe_of(self.before["recipe"])

    @property
    def identity(self) -> str:
        """What tells the checkpoints of this run from those of another with the same recipe."""
        begun_with = self.origin and self.origin.get("sha256")
        images = sorted((escape_surrogates(item.name), item.labels) for item in self.data.split("all").items)
        text = json.dumps([to_json(self.network), self.data.class_names, images, begun_with])
        return hashlib.sha256(text.encode()).hexdigest()

    def recorded(self) -> dict[str, Any]:
        """Give what ``run.json`` holds, for JSON."""
        recorded = {"recipe": self.settings.model_dump(mode="json"), "network": to_json(self.network),
                    "data": self.described, "launch": torchrun.launch_id(),
                    "reading": {name: getattr(self.preprocessing, name) for name in READING}}  # fmt: skip
        return recorded | ({"weights": self.origin} if self.origin else {})


def look(
    run: Path,
    recipe: str | Path | None,
    overrides: dict[str, Any],
    weights: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Plan:
    """Look at everything but the images. ``overrides`` are settings that go before the recipe's.

    Raises what :func:`train` raises before any work is done.
    """
    asked = overrides["network"]
    overrides = overrides | {"network": asked.name if isinstance(asked, Network) else asked}
    if resume:
        if torchrun.is_first_process():
            directory.check_writable(run)
        before = directory.read_settings(run)
        directory.check_resumable(run)
        settings, network = _resumed(run, before, overrides, weights)
        card, origin, taken_over = None, before.get("weights"), None
    else:
        before, taken_over = {}, None
        card = None if weights is None else inherit.card_of(weights)
        origin = None if weights is None else {"source": str(weights), **inherit.normalization(card)}
        settings, network = _begun(recipe, overrides, asked, weights, card)
        if "in_channels" not in settings.model_fields_set:
            taken_over = inherit.channels_of(weights, card, asked)
            settings = settings.model_copy(update={"in_channels": taken_over} if taken_over else {})
    _check_freeze(settings, origin)
    settings, network, preprocessing = _settled(settings, network, card, origin)
    _check_divisible(settings, torchrun.world_size())
    if not resume and torchrun.is_first_process():
        directory.check_free(run, overwrite)
    return Plan(run, settings, network, preprocessing, origin, weights, asked, resume, overwrite, before, taken_over)


def look_at_data(plan: Plan, data: DataLike) -> Plan:
    """Look at the images, too: at their names, and at a few of them."""
    settings = plan.settings
    name = data.name if isinstance(data, LabelledData) else data
    with stage(f"reading {name}"):
        if plan.resume:
            images = _data_of_run(plan, data)
        else:
            images = open_data(data, seed=settings.seed, val_fraction=settings.val_fraction,
                               test_fraction=settings.test_fraction, channels=plan.preprocessing.channels)  # fmt: skip
        _check_balance(settings, images)
        described = _describe(images)
        if plan.resume:
            _check_same_data(plan.run, plan.before["data"], described)
            described |= {key: plan.before["data"][key] for key in ("split", "record") if key in plan.before["data"]}
        preprocessing = _read_as(plan, images)
        try:
            golden_inputs(images.val, preprocessing)  # images of which none can be read are told of before any work
        except DataError as error:
            raise _of_other_channels(plan, error) from error
    return replace(plan, data=images, described=described, preprocessing=preprocessing)


def _of_other_channels(plan: Plan, error: DataError) -> DataError:
    """Say why images were to have the channels that they have not."""
    if plan.taken_over in (None, 1, COLOURS):
        return error
    return DataError(
        f"--weights were trained on {plan.taken_over} channels: {error}; with --in-channels 3 the first convolution is "
        "learnt anew, from any images as RGB"
    )


def _read_as(plan: Plan, data: LabelledData) -> Preprocessing:
    """Settle how images are read: a run goes on as it began; before there was a choice, profiles were ignored."""
    if not plan.resume:
        return replace(plan.preprocessing, value_range=common_range(data.train, plan.preprocessing.channels))
    reading = plan.before.get("reading", {"value_range": None, "color_profiles": "ignored"})
    found = reading["value_range"]
    return replace(plan.preprocessing, **{**reading, "value_range": found and tuple(found)})


def _begun(
    recipe: str | Path | None,
    overrides: dict[str, Any],
    asked: str | Network | None,
    weights: str | Path | None,
    card: ModelCard | None,
) -> tuple[Recipe, Network]:
    """Give recipe and network of a new run: as asked, else those of the weights it begins with, else the recipe's."""
    network = asked
    if network is None and card is not None:
        network = from_json(card.network)
    elif network is None and weights is not None and inherit.is_published(weights):
        network = zoo.find(inherit.TORCHVISION_NETWORK)
    name = network.name if isinstance(network, Network) else network
    usual = "default" if weights is None else inherit.RECIPE
    settings = load_recipe(usual if recipe is None else recipe, **overrides | {"network": name})
    return settings, network if isinstance(network, Network) else zoo.find(settings.network)


def _settled(
    settings: Recipe, network: Network, card: ModelCard | None, origin: Mapping[str, Any] | None
) -> tuple[Recipe, Network, Preprocessing]:
    """Take over from the weights what the settings leave open."""
    settings = inherit.inherit_image_size(settings, card)
    network = replace(inherit.drop_heads_on_frozen_stages(network, settings.freeze), in_channels=settings.in_channels)
    return settings, network, inherit.inherit_normalization(_preprocessing(settings, network), origin or {})


def _preprocessing(recipe: Recipe, network: Network) -> Preprocessing:
    size = recipe.image_size or network.input_size
    if size < minimum_size(network):
        raise InputSizeError(f"--image-size {size}: {too_small(network, size, size)}")
    return network.preprocessing(size, recipe.crop_fraction, recipe.resize)


def _check_balance(recipe: Recipe, data: LabelledData) -> None:
    if recipe.class_balance == "oversample" and data.multi_label:
        raise RecipeError(
            f"--class-balance oversample draws by class, and images of {data.name} have several labels, or none: "
            "use --class-balance weighted_loss or none"
        )


def _describe(data: LabelledData) -> dict[str, Any]:
    return {
        "name": escape_surrogates(data.name),
        "split": DRAWN if data.made_here else "as given",
        **{split: len(part) for split, part in data.splits.items()},
        "multi_label": data.multi_label,
        "fingerprint": data.split("all").fingerprint(),
    }


def _data_of_run(plan: Plan, data: DataLike) -> LabelledData:
    """Find the images of a run that goes on, wherever they are now, split and ordered as they were recorded."""
    before, settings = plan.before["data"], plan.settings
    found = find_data(data, plan.preprocessing.channels)
    if "record" not in before:  # it was begun by version 0.1.0
        by_name = before["split"] == BY_NAME
        return redraw(found, settings.seed, settings.val_fraction, None if by_name else settings.test_fraction)
    rows = read_record(plan.run / RECORD, before["record"])
    items = [(split, item) for split, part in found.splits.items() for item in part.items]
    if len(items) != len(rows):
        raise _other_images(plan, found.name, rows, [item.name for _, item in items])
    max_batches_per_step = _work().hashes_together if torchrun.is_launched() else hashes_told
    order, new = Record(rows).order(items, max_batches_per_step([item for _, item in items]))
    if new:
        missing = [row for row, index in zip(rows, order, strict=True) if index is None]
        raise _other_images(plan, found.name, missing, [items[index][1].name for index in new])
    splits: dict[str, list[LabelledImage]] = defaultdict(list)
    for row, index in zip(rows, order, strict=True):
        assert index is not None  # as many as there are rows, and none is new
        item = items[index][1]
        same = escape_surrogates(item.name) == row.name
        splits[row.split].append(item if same else replace(item, name=row.name))
    parts = {split: ImageSet(found.class_names, tuple(items)) for split, items in splits.items()}
    return replace(found, splits=parts)


def _other_images(plan: Plan, name: str, rows: Sequence[Recorded], names: Sequence[str]) -> CheckpointError:
    """Say which images of ``rows`` are not there, and which of ``names`` the run does not have."""
    known, there = {row.name for row in rows}, {escape_surrogates(name) for name in names}
    missing, new = sorted(known - there), sorted(there - known)
    changed = sorted(known & there) if len(rows) == len(names) else []
    parts = [
        f"{len(those):,} {what} ({first_few(those)})"
        for those, what in ((missing, "gone"), (changed, "changed"), (new, "new"))
        if those
    ]
    run = printable(str(plan.run))
    return CheckpointError(
        f"{run} was started on other images than those in {printable(name)}: {', '.join(parts)}; put back what was "
        f"there, or start a new run with these images and what {run} has learnt: --weights {run} --out NEW"
    )


def _resumed(
    run: Path, settings: dict[str, Any], overrides: dict[str, Any], weights: str | Path | None
) -> tuple[Recipe, Network]:
    """Take recipe and network of the run; what was asked for beside --resume must agree with them, or be longer."""
    recipe = recipe_of(settings["recipe"])
    longer = _longer(recipe, overrides)
    differing = [
        f"--{name.replace('_', '-')} {value} (it has {_had(recipe, name)})"
        for name, value in overrides.items()
        if value is not None and name not in longer and getattr(recipe, name) != value
    ]
    origin = settings.get("weights")
    if weights is not None and str(weights) != (origin or {}).get("source"):
        differing.append(f"--weights {weights} (it has {origin and origin['source']})")
    if differing:
        raise RunError(f"{run} was started with other settings: {', '.join(differing)}; leave them out to resume")
    if origin and not directory.has_checkpoint(run):
        raise RunError(f"{run} was stopped before it had the weights of {origin['source']}: start it with --overwrite")
    return recipe.model_copy(update=longer), from_json(settings["network"])


def _longer(recipe: Recipe, overrides: dict[str, Any]) -> dict[str, Any]:
    """Give those of epochs and minutes that are more than a run has been started with, where it goes by them."""
    length = "epochs" if recipe.minutes is None else "minutes"
    asked = overrides[length]
    return {length: asked} if asked is not None and getattr(recipe, length) < asked < math.inf else {}


def _had(recipe: Recipe, name: str) -> Any:
    if name == "epochs" and recipe.minutes is not None:
        return f"--minutes {recipe.minutes:g}"
    return f"--epochs {recipe.epochs}" if name == "minutes" and recipe.minutes is None else getattr(recipe, name)


def _is_to_go_on(run: Path) -> bool:
    """Whether torchrun has started this run before, and again after a process failed."""
    if not torchrun.is_restarted() or not (run / SETTINGS).exists():
        return False
    return bool(directory.read_settings(run).get("launch") == torchrun.launch_id())


def _check_types(out: Any, **switches: Any) -> None:
    if not isinstance(out, (str, os.PathLike)) or not str(out):
        raise RunError(f"out names the directory of the run, got {out!r}")
    for name, value in switches.items():
        if not isinstance(value, bool):  # "no" would be taken for yes
            raise RecipeError(f"{name} should be True or False, got {value!r}")


def _check_options(device: str, on_bad_image: str, workers: int | None, checkpoint_minutes: float) -> None:
    most = max(8, 4 * cores())
    if workers is not None and not (isinstance(workers, int) and 0 <= workers <= most):
        raise RecipeError(f"--workers {workers}: should be 0 to {most}, four for each core")
    if not isinstance(checkpoint_minutes, (int, float)) or not checkpoint_minutes > 0:
        raise RecipeError(f"--checkpoint-minutes {checkpoint_minutes}: should be greater than 0")
    if on_bad_image not in get_args(OnBadImage):
        raise RecipeError(f"on_bad_image {on_bad_image!r}: should be skip or stop")
    if device not in get_args(Device):
        raise DeviceError(f"no device is called {device!r}: allowed are {', '.join(get_args(Device))}")
    usable = [name for name in ("cpu", "cuda", "mps") if name not in _absent()]
    if device not in ("auto", *usable):
        raise DeviceError(f"this machine has no {device}: it has {', '.join(usable)}; --device auto takes the best")


def _absent() -> set[str]:
    """Name the devices that this machine has not for sure: what is known of that without PyTorch."""
    absent = set() if sys.platform == "darwin" else {"mps"}
    nodes = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvhost-ctrl", "/dev/nvmap", "/dev/kfd")
    without_driver = sys.platform == "linux" and not any(map(os.path.exists, nodes))
    if without_driver or importlib.metadata.version("torch").endswith("+cpu"):
        absent.add("cuda")
    return absent


def _check_divisible(recipe: Recipe, count: int) -> None:
    if recipe.batch_size % count:
        near = max(1, recipe.batch_size // count) * count
        raise RecipeError(
            f"--batch-size {recipe.batch_size} cannot be split among {count} processes: "
            f"give a multiple of {count}, {near} for one"
        )


def _check_freeze(recipe: Recipe, origin: dict[str, Any] | None) -> None:
    if recipe.freeze is not None and origin is None:
        raise RecipeError(
            f"--freeze {recipe.freeze} without --weights: weights that nobody trained would never learn; say whose to "
            "begin with, or leave it out"
        )


def _check_same_data(run: Path, before: dict[str, Any], described: dict[str, Any]) -> None:
    same = before["fingerprint"] == described["fingerprint"]
    if not same or before.get("multi_label", False) != described["multi_label"]:
        raise CheckpointError(
            f"{run} was started on other images ({before['train']} + {before['val']} of {before['name']}, now "
            f"{described['train']} + {described['val']} of {described['name']}): start a new run"
        )
