"""What a run does once it was looked at and nothing was wrong: network → epochs → bundle. From here on with torch."""

from __future__ import annotations

import copy
import logging
import shlex
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric

from googlenet import bundle as bundles
from googlenet._version import __version__
from googlenet.bundle import Bundle
from googlenet.card import ModelCard
from googlenet.data.image_set import LabelledImage
from googlenet.data.splits import AT_ONCE, content_hashes, hashes_told
from googlenet.errors import BundleError, DeviceError, DiskFullError, RunError, StoppedError
from googlenet.evaluation.drawing import attempt
from googlenet.exporting.bundles import write_bundle
from googlenet.images.depth import described as described_range
from googlenet.inference.verify import golden_inputs
from googlenet.models.build import ConvNet, create
from googlenet.models.spec import to_json
from googlenet.stages import stage
from googlenet.stopping import CODE, stop_signals
from googlenet.training import checkpoint, directory, distributed, memory, torchrun, transfer
from googlenet.training.budget import Minutes
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.directory import CHECKPOINTS, CURVE, LOG, SETTINGS
from googlenet.training.display import Display, say
from googlenet.training.distributed import Processes
from googlenet.training.precision import fastest
from googlenet.training.trainer import EpochResult, Trainer

if TYPE_CHECKING:
    from googlenet.training.run import Device, Plan

T = TypeVar("T")
CHECKPOINTS_GROW = 3  # the first holds no state of the optimizer yet, and the last is followed by the best weights


def of_first(device: Device, value: T) -> T:
    """Meet the other processes that torchrun started, and give what the first one has."""
    return distributed.join(_device(device)).broadcast(value)


def hashes_together(items: Sequence[LabelledImage]) -> list[str]:
    """Hash images, a share in each process that trains: all are busy, so that none is taken to be lost."""
    processes = Processes(torch.device("cpu"))

    def hashes(some: Sequence[LabelledImage]) -> list[str]:
        shares = processes.all_gather(content_hashes(some[processes.rank :: processes.count]))
        return [shares[index % processes.count][index // processes.count] for index in range(len(some))]

    return hashes_told(items, hashes, AT_ONCE * processes.count)


def train(plan: Plan) -> Bundle:
    """Train as planned. What may be raised is that of :func:`googlenet.train`."""
    run = plan.run
    computer = _device(plan.device)
    memory.disable_malloc_trim()
    processes = distributed.join(computer)
    _say_notes(plan, processes)
    source = None
    if plan.weights is not None and not plan.resume:
        with stage(f"reading {plan.weights}"):
            source = transfer.open_source(plan.weights, plan.asked, plan.download)
        plan = plan.begun_with(source.card, source.record())
    with torch.random.fork_rng(devices=[processes.device] if computer == "cuda" else []):
        torch.manual_seed(plan.settings.seed)
        with stage(f"building {plan.network.name}"):
            built = _build(plan, source, processes.is_first)
        plan = _with_precision(plan, built, processes, computer)
        if not plan.resume:
            plan = plan.with_hashes(hashes_together(plan.data.split("all").items))
        if processes.is_first:
            if plan.resume:
                directory.clear_leftovers(run)
            else:
                directory.start(run, plan.recorded(), plan.record, plan.overwrite)
        if processes.rank:  # each process drops out other units
            torch.manual_seed(int(np.random.SeedSequence((plan.settings.seed, processes.rank)).generate_state(1)[0]))
        with _told_how_to_go_on(plan):
            _train(plan, _begin(plan, built, computer), from_elsewhere=source is not None)
    processes.barrier()
    return bundles.read(run)


def _train(plan: Plan, trainer: Trainer, from_elsewhere: bool) -> None:
    run = plan.run
    if from_elsewhere:
        trainer.save(Checkpoints(run / CHECKPOINTS))  # so that --resume never needs the source
    if plan.resume:
        trainer.restore(Checkpoints(run / CHECKPOINTS), say)
        _lengthen(plan, trainer)
    with stage("trying what is written at the end"):
        writing = _try_the_end(trainer, run, plan)
        if isinstance(trainer.pace, Minutes):
            trainer.pace.foresee(_foresee_validation(trainer, run), writing)
    _run(trainer, run)
    if trainer.processes.is_first:
        with stage("writing the bundle"):
            _finish(trainer, run, plan.described)


@contextmanager
def _told_how_to_go_on(plan: Plan) -> Iterator[None]:
    """Where work is interrupted that is not finished first, say how to go on, if anything of the run is kept."""
    try:
        yield
    except KeyboardInterrupt as error:
        if not (plan.run / SETTINGS).exists():
            raise
        line = f"stopped; what was saved before is whole, go on with: {_command(plan.data.name, plan.run)}"
        raise StoppedError(line, CODE + signal.SIGINT) from error


def _command(data: str, run: Path) -> str:
    return shlex.join(["googlenet", "train", data, "--out", str(run), "--resume"])


def _say_notes(plan: Plan, processes: Processes) -> None:
    for note in plan.data.notes if processes.is_first else ():
        say(note)
    if plan.preprocessing.value_range and processes.is_first:
        say(described_range(plan.preprocessing.value_range))


def _lengthen(plan: Plan, trainer: Trainer) -> None:
    """Note that a run which is resumed is to go on for longer, if it is: the next --resume knows of it then."""
    if plan.goes_on_longer and trainer.processes.is_first:
        directory.write_settings(plan.run, plan.before | {"recipe": plan.settings.model_dump(mode="json")})
        say(f"going on for longer, at a learning rate of {trainer.learning_rate:.3g}: as a run of this length has here")


def _begin(plan: Plan, built: ConvNet, computer: str) -> Trainer:
    fabric, strict = _fabric(computer, plan.settings.precision), plan.on_bad_image == "stop"
    return Trainer(built, plan.data, plan.settings, plan.preprocessing, fabric, strict, plan.begun, plan.workers,
               plan.checkpoint_minutes, plan.identity)  # fmt: skip


def _with_precision(plan: Plan, built: ConvNet, processes: Processes, computer: str) -> Plan:
    """Choose a precision where none is told: what is chosen is recorded, so that the run goes on in it."""
    if plan.settings.precision != "auto":
        return plan
    with stage("trying precisions"):
        chosen = fastest(built, plan.preprocessing, plan.settings.batch_size // processes.count, computer)
    return replace(plan, settings=plan.settings.model_copy(update={"precision": processes.broadcast(chosen)}))


def _build(plan: Plan, source: transfer.Source | None, tell: bool) -> ConvNet:
    """Make the network: freshly initialised, then with what of ``source`` fits, the first stages perhaps frozen."""
    settings, class_names = plan.settings, plan.data.class_names
    built = create(
        plan.network,
        num_classes=len(class_names),
        dropout=settings.dropout,
        init=settings.init,
    )
    if source:
        taken = transfer.load_matching(built, source, class_names, plan.preprocessing)
        for line in str(taken).splitlines() if tell else ():
            say(line)
    transfer.freeze_through(built, settings.freeze)
    return built


def _run(trainer: Trainer, run: Path) -> None:
    with Display(trainer.recipe, quiet=not trainer.processes.is_first) as display, _signals() as caught:
        display.begin(trainer)
        callback = _Recorder(display, run, trainer, caught)
        try:
            finished = trainer.run(callback, Checkpoints(run / CHECKPOINTS))
        except RuntimeError as error:
            if distributed.says_lost_process(error):
                raise RunError(
                    f"process {trainer.processes.rank} of {trainer.processes.count} lost another one, which ended or "
                    f"did not answer for {distributed.TIMEOUT.seconds} s; go on with --resume"
                ) from error
            raise
        finally:
            trainer.close()
    if trainer.processes.is_first:
        directory.write_unreadable(run, trainer.progress.unreadable)
    if not finished:
        if trainer.processes.is_first:
            _draw(run, trainer.progress.history, trainer.task.metric)
        raise StoppedError(
            f"stopped in {display.place(trainer.progress)}, saved; go on with: {_command(trainer.data.name, run)}",
            CODE + (caught or [signal.SIGTERM])[0],  # another process may have been the one that was asked
        )


class _Recorder:
    """Keeps the log on disk up to date, passes everything on to the display, and stops when a signal came."""

    def __init__(self, display: Display, run: Path, trainer: Trainer, caught: list[int]) -> None:
        self.step, self.unreadable, self.warn = display.step, display.unreadable, display.warn
        self.display, self.run, self.trainer, self.caught = display, run, trainer, caught

    def epoch(self, result: EpochResult) -> None:
        self.display.epoch(result)
        if self.trainer.processes.is_first:
            _write_log(self.run / LOG, self.trainer.progress.history)

    def should_stop(self) -> bool:
        return bool(self.caught)


def _try_the_end(trainer: Trainer, run: Path, plan: Plan) -> float:
    """Write once, before the first epoch, all that is written after the last; return the seconds that it took.

    A network that cannot be shipped, names that cannot be written and a disk that is full are found out here, before
    time is spent. What was written is deleted, and where it fails all of a new run.
    """
    begun = time.perf_counter()
    if trainer.processes.is_first:
        try:
            with tempfile.TemporaryDirectory(prefix=directory.TRIAL, dir=run / CHECKPOINTS) as folder:
                _write_the_end(trainer, Path(folder), plan.described)
                directory.read_settings(run)
        except BaseException as error:
            if not plan.resume:
                directory.clear(run)
            if isinstance(error, DiskFullError) and not plan.resume:
                raise directory.nothing_saved(run) from error
            if isinstance(error, OSError):
                raise directory.explain(error, run) from error
            raise
    return trainer.processes.broadcast(time.perf_counter() - begun)


def _write_the_end(trainer: Trainer, folder: Path, described: dict[str, Any]) -> None:
    history = trainer.progress.history or [_made_up_epoch(trainer)]
    _write_log(folder / LOG, history)
    _draw(folder, history, trainer.task.metric)
    odd = {item.name: "unread" for item in trainer.data.split("all").items if not item.name.isascii()}
    directory.write_unreadable(folder, {**odd, **trainer.progress.unreadable})
    network = copy.deepcopy(trainer.best_network)  # what is shipped is moved to the processor
    bundle = _write_bundle(trainer, folder / bundles.IN_RUN, network, _card(trainer, described, {}, trainer.thresholds))
    _read_back(bundle)


def _read_back(bundle: Bundle) -> None:
    """Raise :class:`RunError` where what was written is not what is read: nothing would take the bundle."""
    try:
        for name in bundles.read(bundle.path).card.files:
            bundle.read(name)
    except BundleError as error:
        raise RunError(f"what is trained could not be shipped: {error}".replace(f"{bundle.path}: ", "")) from error


def _made_up_epoch(trainer: Trainer) -> EpochResult:
    scores = {trainer.task.metric: 0.5}
    losses = (1.0,) * (1 + len(trainer.network.network.aux))
    return EpochResult(1, trainer.recipe.lr, 1.0, losses, scores, 1.0, scores, 1.0, 1.0, 0.0)


def _foresee_validation(trainer: Trainer, run: Path) -> float:
    """Return the seconds of a validation with its checkpoints."""
    begun = time.perf_counter()
    trainer.save(Checkpoints(run / CHECKPOINTS))
    saving = CHECKPOINTS_GROW * (time.perf_counter() - begun)
    return trainer.processes.broadcast(trainer.foresee_validation() + saving)


def _finish(trainer: Trainer, run: Path, described: dict[str, Any]) -> None:
    """Make the bundle of the best epoch."""
    best = trainer.best
    assert best is not None
    path = Checkpoints(run / CHECKPOINTS).best(best.epoch)
    tensors, state = checkpoint.load(path)
    network = trainer.best_network
    checkpoint.restore_module(network, tensors, path)
    metrics = {**best.val, "val_loss": best.val_loss, "epoch": best.epoch}
    card = _card(trainer, described, metrics, tuple(state["thresholds"]))
    _draw(run, trainer.progress.history, trainer.task.metric)
    _write_bundle(trainer, run / bundles.IN_RUN, network, card)


def _write_bundle(trainer: Trainer, path: Path, network: ConvNet, card: ModelCard) -> Bundle:
    try:
        return write_bundle(path, network, card, golden_inputs(trainer.data.val, trainer.preprocessing))
    except OSError as error:
        raise directory.explain(error, path) from error


def _card(
    trainer: Trainer, described: dict[str, Any], metrics: dict[str, float], thresholds: tuple[float, ...]
) -> ModelCard:
    network = trainer.network.network
    return ModelCard(
        name=network.name,
        network=to_json(network),
        class_names=trainer.data.class_names,
        preprocessing=trainer.preprocessing,
        metrics=metrics,
        multi_label=trainer.data.multi_label,
        thresholds=thresholds,
        data=described,
        recipe=trainer.recipe.model_dump(mode="json"),
        versions={"googlenet": __version__},
    )


def _write_log(path: Path, history: list[EpochResult]) -> None:
    rows = []
    for result in history:
        row = result.to_row()
        losses = {f"loss_aux{n}" if n else "loss_main": loss for n, loss in enumerate(row.pop("head_losses"))}
        rows.append({"epoch": row.pop("epoch"), "lr": row.pop("lr"), "loss": row.pop("loss"), **losses, **row})
    directory.write_csv(path, rows[0], (row.values() for row in rows))


def _draw(run: Path, history: list[EpochResult], metric: str) -> None:
    if not history:
        return

    def draw() -> None:
        from googlenet.evaluation.plots import draw_learning_curve

        draw_learning_curve([result.to_row() for result in history], run / CURVE, metric)

    if why := attempt(draw, run / CURVE):
        say(why)


# The machine.


def _device(device: Device) -> str:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
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
    return stop_signals(hear_again=not torchrun.is_launched())
