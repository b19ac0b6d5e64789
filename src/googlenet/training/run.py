"""The whole way of a training run: pictures → network → epochs → bundle, in one directory."""

from __future__ import annotations

import copy
import csv
import io
import json
import logging
import shutil
import signal
import tempfile
import time
import warnings
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console

import googlenet
from googlenet import bundle as bundles
from googlenet.bundle import Bundle
from googlenet.card import ModelCard, Preprocessing, ToSquare
from googlenet.data.pictures import LabelledData, Pictures, open_data
from googlenet.errors import (
    CheckpointError,
    DataError,
    DeviceError,
    ImageError,
    InputSizeError,
    RecipeError,
    RunError,
    StoppedError,
)
from googlenet.evaluation.report import draw_learning_curve
from googlenet.images.decode import Pixels
from googlenet.images.preprocess import prepare
from googlenet.inference.export import write_bundle
from googlenet.models import zoo
from googlenet.models.analysis import minimum_size, too_small
from googlenet.models.build import ConvNet, create
from googlenet.models.spec import Network, from_json, to_json
from googlenet.stopping import stop_signals
from googlenet.training import checkpoint, distributed, memory, transfer
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.display import Display, say
from googlenet.training.distributed import Processes
from googlenet.training.fit import EpochResult, Fit
from googlenet.training.pace import Minutes
from googlenet.training.precision import fastest
from googlenet.training.recipe import Recipe, load_recipe
from googlenet.training.settings import read_settings

Balance = Literal["none", "loss", "sample"]
Device = Literal["auto", "cpu", "cuda", "mps"]
OnBadImage = Literal["skip", "stop"]
GOLDEN_PICTURES = 4
CHECKPOINTS_GROW = 3  # the first holds no state of the optimizer yet, and the last is followed by the best weights

SETTINGS, LOG, CURVE, UNREADABLE = "run.json", "log.csv", "learning_curve.png", "unreadable.csv"
CHECKPOINTS = "checkpoints"
_CONTENTS = (SETTINGS, LOG, CURVE, UNREADABLE, CHECKPOINTS, bundles.IN_RUN)


def train(
    data: str | Path | LabelledData,
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    network: str | Network | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    image_size: int | None = None,
    in_channels: int | None = None,
    fit: ToSquare | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    start: str | Path | None = None,
    freeze: str | None = None,
    download: bool = False,
    seed: int | None = None,
    balance: Balance | None = None,
    device: Device = "auto",
    precision: Literal["auto", "fp32", "bf16"] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_bad_image: OnBadImage = "skip",
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
) -> Bundle:
    """Train a classifier and write it, with its log, checkpoints and learning curve, to the run directory ``out``.

    Args:
        data: a folder with one sub-folder of pictures per class, one with ``train/`` and ``val/``, a list (``.csv`` or
            ``.jsonl``), ``"digits"``, the name of a set that was fetched, or :class:`LabelledData` made by hand. Where
            its pictures may have several labels, the classes no longer exclude each other, and the bundle says of
            each from which probability on it is named.
        out: the run directory; it must be new, unless ``resume`` or ``overwrite``.
        network: a name of the zoo, or a ``Network`` of your own; unless given, that of ``start``, else the recipe's.
        recipe: ``"default"``, ``"finetune"``, ``"paper"``, ``"notes"``, ``"digits"``, or a TOML file; what follows
            overrides it. Unless given, ``"finetune"`` where there is a ``start``, else ``"default"``.
        minutes: train as well as can be done in so many minutes of wall time instead of ``epochs``; this call, the
            bundle included, ends within about a twentieth of it. Two runs differ then, as their speeds do.
        start: weights to begin with (``--from``): a run, a bundle, a ``.safetensors`` file, or ``"torchvision"``. Every
            tensor whose name and shape fit is taken; classifiers only where the classes are the same.
        freeze: with ``start``, the last of the stages that do not learn; heads on these are left out.
        download: allow torchvision's weights to be fetched where they are not on this machine.
        in_channels: 1 for grey, 3 (unless told) for RGB: any picture becomes so. 4 or any other number: what the files
            hold, as :func:`googlenet.images.decode.decode` tells.
        balance: what to do where classes differ in size: nothing (``"none"``), weigh the small ones more
            (``"loss"``), or draw each class equally often (``"sample"``: not where pictures have several labels).
        fit: how a picture becomes square: ``"crop"`` its centre, ``"pad"`` it with grey, or ``"squash"`` it.
        device: where to compute; ``"auto"`` takes CUDA or Apple's GPU where there is one.
        precision: what to compute in; ``"auto"`` tries what the device has and takes the fastest, which is recorded.
        resume: go on from the newest sound checkpoint in ``out``, exactly where it stood.
        overwrite: delete the run that is in ``out`` first.
        on_bad_image: leave out a picture that cannot be read, or stop at once.
        workers: processes that read and augment pictures, 0 or more; unless given, one a core and at most 8. They
            change no weight, and may differ when a run is resumed.
        checkpoint_minutes: save so often within an epoch; at its end a run is saved anyway.

    Where ``torchrun`` started several processes they train as one: ``batch_size`` is split among them, the first
    one writes, and all return the same bundle (docs/scaling.md).

    Raises:
        DataError, RecipeError, NetworkError, DeviceError, RunError: before any work is done.
        WeightsError, BundleError: ``start`` cannot be read or does not fit; before any work is done.
        StoppedError: Ctrl-C or SIGTERM, after a checkpoint was written.
        NonFiniteLossError: the loss became NaN or infinite; it names the pictures.
        DiskFullError: a checkpoint could not be written; the one before is intact.

    ::

        bundle = googlenet.train("photos/", out="runs/flowers")
    """
    begun = time.perf_counter()
    _check_options(workers, checkpoint_minutes)
    run = Path(out)
    computer = _device(device)
    memory.keep_freed()
    processes = distributed.join(computer)
    resume = processes.first(resume or _is_to_go_on(run))
    source = None if start is None or resume else transfer.open_source(start, network, download)
    network = network or (source.network if source else None)
    name = network.name if isinstance(network, Network) else network
    overrides = {"network": name, "epochs": epochs, "minutes": minutes, "image_size": image_size,
                 "in_channels": in_channels, "fit": fit, "batch_size": batch_size, "lr": lr, "freeze": freeze,
                 "seed": seed, "balance": balance, "precision": precision}  # fmt: skip
    if resume:
        before = _settings(run)
        settings, spec = _resumed(run, before, overrides, start)
        origin = before.get("from")
    else:
        settings = load_recipe(recipe or (transfer.RECIPE if source else "default"), **overrides)
        spec = network if isinstance(network, Network) else zoo.find(settings.network)
        settings = transfer.sized_alike(settings, source) if source else settings
        origin = source.record() if source else None
    _check_freeze(settings, origin)
    spec = replace(transfer.unfrozen(spec, settings.freeze), in_channels=settings.in_channels)
    rule = transfer.fed_alike(_preprocessing(settings, spec), origin or {})
    _check_divisible(settings, processes)
    pictures = open_data(data, seed=settings.seed, val_fraction=settings.val_fraction, channels=rule.channels)
    _check_balance(settings, pictures)
    described = _describe(pictures)
    _golden(pictures.val, rule)  # pictures of which none can be read are told of before any work
    with torch.random.fork_rng(devices=[processes.device] if computer == "cuda" else []):
        torch.manual_seed(settings.seed)
        built = _build(spec, settings, pictures.class_names, source, rule, processes.is_first)
        if settings.precision == "auto":  # what is chosen is recorded, so that the run goes on in it
            chosen = fastest(built, rule, settings.batch_size // processes.count, computer)
            settings = settings.model_copy(update={"precision": processes.first(chosen)})
        if resume:
            _check_same_data(run, before["data"], described)
        elif processes.is_first:
            recorded = {"recipe": settings.model_dump(mode="json"), "network": to_json(spec), "data": described,
                        "launch": distributed.launch_id()}  # fmt: skip
            recorded |= {"from": origin} if origin else {}
            _start(run, recorded, overwrite)
        if processes.rank:  # each process drops out other units
            torch.manual_seed(int(np.random.SeedSequence((settings.seed, processes.rank)).generate_state(1)[0]))
        fabric, strict = _fabric(computer, settings.precision), on_bad_image == "stop"
        fitting = Fit(built, pictures, settings, rule, fabric, strict, begun, workers, checkpoint_minutes)
        if source:
            fitting.save(Checkpoints(run / CHECKPOINTS))  # so that --resume never needs the source
        if resume:
            fitting.restore(Checkpoints(run / CHECKPOINTS), say)
        if isinstance(fitting.pace, Minutes):
            fitting.pace.foresee(*_foresee_the_end(fitting, run, described))
        _run(fitting, run)
    if processes.is_first:
        _finish(fitting, run, described)
    processes.wait()
    return bundles.read(run)


def _build(
    spec: Network,
    settings: Recipe,
    class_names: tuple[str, ...],
    source: transfer.Source | None,
    rule: Preprocessing,
    tell: bool,
) -> ConvNet:
    """Make the network: freshly initialised, then with what of ``source`` fits, the first stages perhaps frozen."""
    built = create(
        spec,
        num_classes=len(class_names),
        dropout=settings.dropout,
        init=None if settings.init == "own" else settings.init,
    )
    if source:
        taken = transfer.take(built, source, class_names, rule)
        if tell:
            say(str(taken))
    transfer.freeze_through(built, settings.freeze)
    return built


def _run(fit: Fit, run: Path) -> None:
    silent = None if fit.processes.is_first else Console(quiet=True, force_terminal=False)
    with Display(fit.recipe, silent) as display, _signals() as caught:
        display.begin(fit)
        watcher = _Recorder(display, run, fit, caught)
        try:
            finished = fit.run(watcher, Checkpoints(run / CHECKPOINTS))
        except RuntimeError as error:
            if distributed.says_lost_process(error):
                raise RunError(
                    f"process {fit.processes.rank} of {fit.processes.count} lost another one, which ended or did not "
                    f"answer for {distributed.TIMEOUT.seconds} s; go on with --resume"
                ) from error
            raise
        finally:
            fit.close()
    if fit.processes.is_first:
        _write_unreadable(run, fit.progress.unreadable)
    if not finished:
        if fit.processes.is_first:
            _draw(run, fit)
        again = f"googlenet train {fit.data.name} --out {run} --resume"
        raise StoppedError(
            f"stopped in {display.place(fit.progress)}, saved; go on with: {again}",
            128 + (caught or [signal.SIGTERM])[0],  # another process may have been the one that was asked
        )


class _Recorder:
    """Keeps the log on disk up to date, passes everything on to the display, and stops when a signal came."""

    def __init__(self, display: Display, run: Path, fit: Fit, caught: list[int]) -> None:
        self.step, self.unreadable, self.warn = display.step, display.unreadable, display.warn
        self.display, self.run, self.fit, self.caught = display, run, fit, caught

    def epoch(self, result: EpochResult) -> None:
        self.display.epoch(result)
        if self.fit.processes.is_first:
            _write_log(self.run / LOG, self.fit.progress.history)

    def should_stop(self) -> bool:
        return bool(self.caught)


def _foresee_the_end(fit: Fit, run: Path, described: dict[str, Any]) -> tuple[float, float]:
    """Go through the end once before the beginning: the seconds of validation with its checkpoints, and of the bundle.

    A network that cannot be shipped is found out here too, before time is spent on it.
    """
    begun = time.perf_counter()
    fit.save(Checkpoints(run / CHECKPOINTS))
    saving = CHECKPOINTS_GROW * (time.perf_counter() - begun)
    begun = time.perf_counter()
    if fit.processes.is_first:
        with tempfile.TemporaryDirectory(dir=run / CHECKPOINTS) as folder:
            # A copy: what is shipped is moved to the processor.
            network = copy.deepcopy(fit.best_network)
            _write_bundle(fit, Path(folder) / bundles.IN_RUN, network, _card(fit, described, {}, fit.thresholds))
    writing = time.perf_counter() - begun
    return fit.processes.first((fit.foresee_validation() + saving, writing))


def _finish(fit: Fit, run: Path, described: dict[str, Any]) -> None:
    """Make the bundle of the best epoch."""
    best = fit.best
    assert best is not None
    path = Checkpoints(run / CHECKPOINTS).best(best.epoch)
    tensors, state = checkpoint.load(path)
    network = fit.best_network
    checkpoint.restore_module(network, tensors, path)
    metrics = {**best.val, "val_loss": best.val_loss, "epoch": best.epoch}
    card = _card(fit, described, metrics, tuple(state["thresholds"]))
    _draw(run, fit)
    _write_bundle(fit, run / bundles.IN_RUN, network, card)


def _write_bundle(fit: Fit, path: Path, network: ConvNet, card: ModelCard) -> Bundle:
    try:
        return write_bundle(path, network, card, _golden(fit.data.val, fit.rule))
    except OSError as error:
        raise checkpoint.explain(error, path) from error


def _card(fit: Fit, described: dict[str, Any], metrics: dict[str, float], thresholds: tuple[float, ...]) -> ModelCard:
    network = fit.network.network
    return ModelCard(
        name=network.name,
        network=to_json(network),
        class_names=fit.data.class_names,
        preprocessing=fit.rule,
        metrics=metrics,
        multi_label=fit.data.multi_label,
        thresholds=thresholds,
        data=described,
        recipe=fit.recipe.model_dump(mode="json"),
        versions={"googlenet": googlenet.__version__},
    )


def _golden(pictures: Pictures, rule: Preprocessing) -> Pixels:
    """Pick a few readable pictures, spread over the classes."""
    found: list[Pixels] = []
    stride = max(1, len(pictures) // GOLDEN_PICTURES)
    for item in (*pictures.items[::stride], *pictures.items):
        try:
            found.append(prepare(item.read(rule.channels, rule.resize), rule))
        except ImageError as error:
            reason = str(error)
        if len(found) == GOLDEN_PICTURES:
            break
    if not found:
        raise DataError(f"none of the {len(pictures)} validation pictures could be read: {reason}")
    return np.stack(found)


def _preprocessing(recipe: Recipe, network: Network) -> Preprocessing:
    size = recipe.image_size or network.input_size
    if size < minimum_size(network):
        raise InputSizeError(f"--image-size {size}: {too_small(network, size, size)}")
    return network.preprocessing(size, recipe.crop_fraction, recipe.fit)


def _check_balance(recipe: Recipe, data: LabelledData) -> None:
    if recipe.balance == "sample" and data.multi_label:
        raise RecipeError(
            f"--balance sample draws by class, and pictures of {data.name} have several labels, or none: "
            "use --balance loss or none"
        )


def _describe(data: LabelledData) -> dict[str, Any]:
    return {
        "name": data.name,
        "split": "by file name" if data.made_here else "as given",
        "train": len(data.train),
        "val": len(data.val),
        "multi_label": data.multi_label,
        "fingerprint": data.split("all").fingerprint(),
    }


# The run directory.


def _start(run: Path, settings: dict[str, Any], overwrite: bool) -> None:
    if run.exists() and not run.is_dir():
        raise RunError(f"{run} is a file: --out names a directory for the run")
    there = [entry.name for entry in run.iterdir()] if run.is_dir() else []
    if there and SETTINGS not in there:
        raise RunError(f"{run} is not empty and holds no run: choose another --out")
    if there and not overwrite:
        raise RunError(f"{run} holds a run: go on with --resume, replace it with --overwrite, or choose another --out")
    try:
        for name in _CONTENTS:
            shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink(missing_ok=True)
        (run / CHECKPOINTS).mkdir(parents=True)
    except OSError as error:
        raise checkpoint.explain(error, run) from error
    checkpoint.write_whole(run / SETTINGS, json.dumps(settings, indent=2, ensure_ascii=False).encode())


def _settings(run: Path) -> dict[str, Any]:
    try:
        return read_settings(run / SETTINGS)
    except FileNotFoundError as error:
        raise RunError(f"{run} holds no run to resume: leave --resume out to start one") from error


def _resumed(
    run: Path, settings: dict[str, Any], overrides: dict[str, Any], start: str | Path | None
) -> tuple[Recipe, Network]:
    """Take recipe and network of the run; what was asked for beside --resume must agree with them."""
    recipe = Recipe(**settings["recipe"])
    differing = [
        f"--{name.replace('_', '-')} {value} (it has {getattr(recipe, name)})"
        for name, value in overrides.items()
        if value is not None and getattr(recipe, name) != value
    ]
    origin = settings.get("from")
    if start is not None and str(start) != (origin or {}).get("source"):
        differing.append(f"--from {start} (it has {origin and origin['source']})")
    if differing:
        raise RunError(f"{run} was started with other settings: {', '.join(differing)}; leave them out to resume")
    if origin and not Checkpoints(run / CHECKPOINTS).newest_first():
        raise RunError(f"{run} was stopped before it had the weights of {origin['source']}: start it with --overwrite")
    return recipe, from_json(settings["network"])


def _is_to_go_on(run: Path) -> bool:
    """Whether torchrun has started this run before, and again after a process failed."""
    if not distributed.is_restarted() or not (run / SETTINGS).exists():
        return False
    return bool(_settings(run).get("launch") == distributed.launch_id())


def _check_options(workers: int | None, checkpoint_minutes: float) -> None:
    if workers is not None and workers < 0:
        raise RecipeError(f"--workers {workers}: should be 0 or more")
    if not checkpoint_minutes > 0:
        raise RecipeError(f"--checkpoint-minutes {checkpoint_minutes}: should be greater than 0")


def _check_divisible(recipe: Recipe, processes: Processes) -> None:
    if recipe.batch_size % processes.count:
        near = max(1, recipe.batch_size // processes.count) * processes.count
        raise RecipeError(
            f"--batch-size {recipe.batch_size} cannot be split among {processes.count} processes: "
            f"give a multiple of {processes.count}, {near} for one"
        )


def _check_freeze(recipe: Recipe, origin: dict[str, Any] | None) -> None:
    if recipe.freeze is not None and origin is None:
        raise RecipeError(
            f"--freeze {recipe.freeze} without --from: weights that nobody trained would never learn; say whose to "
            "begin with, or leave it out"
        )


def _check_same_data(run: Path, before: dict[str, Any], described: dict[str, Any]) -> None:
    same = before["fingerprint"] == described["fingerprint"]
    if not same or before.get("multi_label", False) != described["multi_label"]:
        raise CheckpointError(
            f"{run} was started on other pictures ({before['train']} + {before['val']} of {before['name']}, now "
            f"{described['train']} + {described['val']} of {described['name']}): start a new run"
        )


def _write_log(path: Path, history: list[EpochResult]) -> None:
    rows = []
    for result in history:
        row = result.to_row()
        losses = {f"loss_aux{n}" if n else "loss_main": loss for n, loss in enumerate(row.pop("head_losses"))}
        rows.append({"epoch": row.pop("epoch"), "lr": row.pop("lr"), "loss": row.pop("loss"), **losses, **row})
    _write_csv(path, rows)


def _write_unreadable(run: Path, unreadable: dict[str, str]) -> None:
    if unreadable:
        rows = [{"picture": name, "reason": reason} for name, reason in sorted(unreadable.items())]
        _write_csv(run / UNREADABLE, rows)


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    checkpoint.write_whole(path, text.getvalue().encode())


def _draw(run: Path, fit: Fit) -> None:
    if fit.progress.history:
        draw_learning_curve([result.to_row() for result in fit.progress.history], run / CURVE, fit.task.metric)


# The machine.


def _device(device: Device) -> str:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    if device not in available:
        raise DeviceError(f"no device is called {device!r}: allowed are auto, {', '.join(available)}")
    if not available[device]:
        usable = ", ".join(name for name, there in available.items() if there)
        raise DeviceError(f"this machine has no {device}: it has {usable}; --device auto takes the best")
    return device


def _fabric(device: str, precision: str) -> Fabric:
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning_fabric")
    return distributed.fabric_for(device, "bf16-mixed" if precision == "bf16" else "32-true")


def _signals() -> AbstractContextManager[list[int]]:
    """Collect signals. torchrun passes on what the terminal has sent to all already: a second one is no second wish."""
    return stop_signals(lambda *_: None) if distributed.is_launched() else stop_signals()
