"""What a run does once everything was checked: network → epochs → bundle. From here on with torch."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from googlenet import bundle as bundles
from googlenet.bundle import Bundle
from googlenet.data.image_set import LabelledImage
from googlenet.data.splits import HASH_BATCH, content_hashes, hashes_with_progress
from googlenet.errors import CallbackError, RunError, StoppedError
from googlenet.images.depth import described as described_range
from googlenet.models.spec import Network
from googlenet.stages import stage
from googlenet.stopping import CODE, stop_signals
from googlenet.training import directory, distributed, memory, sources, speed_trial, torchrun
from googlenet.training.budget import Minutes
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.deepening import with_phases
from googlenet.training.directory import CHECKPOINTS, SETTINGS
from googlenet.training.display import Display, say
from googlenet.training.distributed import Processes
from googlenet.training.estimate import estimate_validation
from googlenet.training.plan import Plan
from googlenet.training.recorder import Recorder
from googlenet.training.report import RunReport
from googlenet.training.setup import (
    choose_device,
    make_network,
    make_trainer,
    read_weights,
    with_parts_that_fit,
    with_precision,
)
from googlenet.training.ship import draw_curve, rehearse, ship
from googlenet.training.speed import Speed
from googlenet.training.trainer import Trainer

T = TypeVar("T")


def train(plan: Plan) -> Bundle:
    """Train as planned. Raises what :func:`googlenet.train` raises."""
    device = choose_device(plan.options.device)
    memory.disable_malloc_trim()
    processes = distributed.join(device)
    _show_notes(plan, processes)
    plan, source = read_weights(plan)
    with torch.random.fork_rng(devices=[processes.device] if device == "cuda" else []):
        torch.manual_seed(plan.recipe.seed)
        with stage(f"building {plan.network.name}"):
            network = make_network(plan, source, processes.is_first)
        plan = with_precision(plan, network, processes, device)
        plan = with_phases(plan, network, processes, device)
        if not plan.resume:
            plan = with_parts_that_fit(plan, network, processes, device)
            plan = plan.with_hashes(hashes_together(plan.data.split("all").items))
        if processes.is_first:
            _open_directory(plan)
        if processes.rank:  # dropout differs between processes
            torch.manual_seed(int(np.random.SeedSequence((plan.recipe.seed, processes.rank)).generate_state(1)[0]))
        with _explain_interrupt(plan):
            trainer = make_trainer(plan, network, device)
            report = RunReport(trainer, plan.run)
            _train(plan, trainer, report, has_source=source is not None)
    processes.barrier()
    if processes.is_first:  # the others need not wait for it
        report.write()
    return bundles.read(plan.run)


def measure() -> Speed:
    """Measure how fast this machine trains."""
    memory.disable_malloc_trim()
    return speed_trial.measure()


def network_of(weights: str | Path) -> Network | None:
    """Return the network of a file of weights that must be read whole."""
    with stage(f"reading {weights}"):
        return sources.network_of(weights)


def broadcast_from_first(device: str, value: T) -> T:
    """Join the other processes that torchrun started, and return what the first one has."""
    return distributed.join(choose_device(device)).broadcast(value)


def hashes_together(items: Sequence[LabelledImage]) -> list[str]:
    """Hash images, a share in each process: all of them work, so that none is taken for lost."""
    processes = Processes(torch.device("cpu"))

    def hashes(some: Sequence[LabelledImage]) -> list[str]:
        shares = processes.all_gather(content_hashes(some[processes.rank :: processes.count]))
        return [shares[index % processes.count][index // processes.count] for index in range(len(some))]

    return hashes_with_progress(items, hashes, HASH_BATCH * processes.count)


def _open_directory(plan: Plan) -> None:
    if plan.resume:
        directory.clear_leftovers(plan.run)
    else:
        directory.start(plan.run, plan.to_json(), plan.record, plan.overwrite)


def _train(plan: Plan, trainer: Trainer, report: RunReport, has_source: bool) -> None:
    checkpoints = Checkpoints(plan.run / CHECKPOINTS)
    if has_source:
        trainer.save(checkpoints)  # so that --resume never needs the pretrained weights
    if plan.resume:
        trainer.restore(checkpoints, say)
        _record_longer(plan, trainer)
    with stage("checking that the results can be written"):
        writing = rehearse(trainer, plan, report)
        if isinstance(trainer.budget, Minutes):
            trainer.budget.reserve(estimate_validation(trainer, checkpoints), writing)
    _run(trainer, plan.run)
    if trainer.processes.is_first:
        with stage("writing the bundle"):
            ship(trainer, plan.run, plan.described)


def _run(trainer: Trainer, run: Path) -> None:
    with Display(trainer.recipe, quiet=not trainer.processes.is_first) as display, _signals() as caught:
        display.begin(trainer)
        callback = Recorder(display, run, trainer, caught)
        try:
            finished = trainer.run(callback, Checkpoints(run / CHECKPOINTS))
        except RuntimeError as error:
            if distributed.says_lost_process(error):
                raise RunError(
                    f"process {trainer.processes.rank} of {trainer.processes.count} lost another one, which ended or "
                    f"did not answer for {distributed.TIMEOUT.seconds} s; continue with --resume"
                ) from error
            raise
        finally:
            trainer.close()
            callback.close()
        display.end(trainer)
    if trainer.processes.is_first:
        directory.write_unreadable(run, trainer.progress.unreadable)
    command, failure = _command(trainer.data.name, run), callback.failure()
    if failure or not finished:
        if trainer.processes.is_first:
            draw_curve(run, trainer.progress.history, trainer.state.metric)
        if failure:
            raise CallbackError(f"{failure}; the run is saved, continue with: {command}") from failure.__cause__
        raise StoppedError(
            f"stopped in {display.place(trainer.progress)}, saved; continue with: {command}",
            CODE + (caught or [signal.SIGTERM])[0],  # another process may have been the one that was asked
        )


def _show_notes(plan: Plan, processes: Processes) -> None:
    for note in plan.data.notes if processes.is_first else ():
        say(note)
    if plan.preprocessing.value_range and processes.is_first:
        say(described_range(plan.preprocessing.value_range))


def _record_longer(plan: Plan, trainer: Trainer) -> None:
    """Record the new length of a run that is resumed for longer: the next --resume finds it."""
    if plan.trains_longer and trainer.processes.is_first:
        directory.write_settings(plan.run, plan.before | {"recipe": plan.recipe.model_dump(mode="json")})
        say(f"training for longer, from a learning rate of {trainer.learning_rate:.3g}: that of a run of this length")


@contextmanager
def _explain_interrupt(plan: Plan) -> Iterator[None]:
    """Where an interrupt ends work outside the loop, say how to continue, if anything of the run is kept."""
    try:
        yield
    except KeyboardInterrupt as error:
        if not (plan.run / SETTINGS).exists():
            raise
        line = f"stopped; what was saved before is intact, continue with: {_command(plan.data.name, plan.run)}"
        raise StoppedError(line, CODE + signal.SIGINT) from error


def _command(data: str, run: Path) -> str:
    return shlex.join(["googlenet", "train", data, "--out", str(run), "--resume"])


def _signals() -> AbstractContextManager[list[int]]:
    """Collect signals. torchrun repeats those of the terminal: under it, a second one does not mean to end at once."""
    return stop_signals(hear_again=not torchrun.is_launched())
