"""Shipping: the log, the learning curve, and the bundle of the best epoch; all of it is rehearsed before training."""

from __future__ import annotations

import copy
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from googlenet import bundle as bundles
from googlenet._version import __version__
from googlenet.bundle import Bundle
from googlenet.card import ModelCard
from googlenet.errors import BundleError, DiskFullError, RunError
from googlenet.evaluation.certainty import described as calibration_described
from googlenet.evaluation.drawing import attempt
from googlenet.evaluation.intervals import wilson
from googlenet.exporting.bundles import write_bundle
from googlenet.inference.verify import golden_inputs
from googlenet.metrics import METRICS
from googlenet.models.build import ConvNet
from googlenet.models.spec import to_json
from googlenet.training import checkpoint, directory
from googlenet.training.certainty import calibrate, calibration_images, max_images, rehearse_calibration
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.directory import CHECKPOINTS, CURVE, LOG
from googlenet.training.display import say
from googlenet.training.neighbours import described as neighbours_described
from googlenet.training.neighbours import images_to_keep, kept, rehearse_neighbours
from googlenet.training.plan import Plan
from googlenet.training.progress import EpochResult
from googlenet.training.report import RunReport
from googlenet.training.trainer import Trainer


def rehearse(trainer: Trainer, plan: Plan, report: RunReport) -> float:
    """Write once, before the first epoch, all that is written after the last one; return the seconds it took.

    A network that cannot be shipped, names that cannot be written and a full disk are found here, before time is
    spent. What was written is deleted; where it fails, all of a new run is.
    """
    begun, run, more = time.perf_counter(), plan.run, 0.0
    if trainer.processes.is_first:
        try:
            with tempfile.TemporaryDirectory(prefix=directory.TRIAL, dir=run / CHECKPOINTS) as folder:
                more = _rehearse_in(Path(folder), trainer, plan.described, report)
                directory.read_settings(run)
        except BaseException as error:
            if not plan.resume:
                directory.clear(run)
            if isinstance(error, DiskFullError) and not plan.resume:
                raise directory.nothing_saved(run) from error
            if isinstance(error, OSError):
                raise directory.explain(error, run) from error
            raise
    return trainer.processes.broadcast(time.perf_counter() - begun + more)


def _rehearse_in(folder: Path, trainer: Trainer, described: dict[str, Any], report: RunReport) -> float:
    history = trainer.progress.history or [_sample_epoch(trainer)]
    write_log(folder / LOG, history)
    draw_curve(folder, history, trainer.state.metric)
    odd = {item.name: "unread" for item in trainer.data.split("all").items if not item.name.isascii()}
    directory.write_unreadable(folder, {**odd, **trainer.progress.unreadable})
    network = copy.deepcopy(trainer.best_network)  # shipping moves it to the CPU
    bundle = _write_bundle(
        trainer, folder / bundles.IN_RUN, network, _card(trainer, described, {}, trainer.state.thresholds)
    )
    _read_back(bundle)
    more = rehearse_calibration(bundle, trainer, timed=trainer.recipe.minutes is not None)
    more += rehearse_neighbours(bundle, trainer)
    return more + report.rehearse(bundle)


def _read_back(bundle: Bundle) -> None:
    """Raise :class:`RunError` where the bundle cannot be read back."""
    try:
        for name in bundles.read(bundle.path).card.files:
            bundle.read(name)
    except BundleError as error:
        raise RunError(f"the trained network could not be shipped: {error}".replace(f"{bundle.path}: ", "")) from error


def _sample_epoch(trainer: Trainer) -> EpochResult:
    scores = {metric.name: 0.5 for metric in trainer.task.metrics}
    losses = (1.0,) * (1 + len(trainer.network.network.aux))
    return EpochResult(1, trainer.recipe.lr, 1.0, losses, scores, 1.0, scores, 1.0, 1.0, 0.0)


def ship(trainer: Trainer, run: Path, described: dict[str, Any]) -> None:
    """Write the bundle of the best epoch, and the learning curve."""
    best = trainer.state.best
    assert best is not None
    path = Checkpoints(run / CHECKPOINTS).best(best.epoch)
    tensors, state = checkpoint.load(path)
    network = trainer.best_network
    checkpoint.restore_module(network, tensors, path)
    metrics = {**best.val, "val_loss": best.val_loss, "epoch": best.epoch}
    if best.mirror_gain is not None:
        metrics["mirror_gain"] = best.mirror_gain
    card = replace(_card(trainer, described, metrics, tuple(state["thresholds"])), intervals=_intervals(trainer, best))
    draw_curve(run, trainer.progress.history, trainer.state.metric)
    items, near, files = calibration_images(trainer), images_to_keep(trainer), dict[str, bytes]()
    if items or near:
        with tempfile.TemporaryDirectory(prefix=directory.TRIAL, dir=run / CHECKPOINTS) as folder:
            draft = _write_bundle(trainer, Path(folder) / bundles.IN_RUN, network, card)
            try:
                card, files = calibrate(draft, items, max_images(trainer)) if items else (card, files)
                files |= kept(draft, near) if near else {}
            except BundleError as error:  # the weights are worth keeping all the same
                say(f"not calibrated: {error}".replace(f"{draft.path}/", ""))
    for line in (calibration_described(card), *neighbours_described(files, len(near))):
        say(line)
    _write_bundle(trainer, run / bundles.IN_RUN, network, card, files)


def _intervals(trainer: Trainer, best: EpochResult) -> dict[str, dict[str, float]]:
    """Return the 95 % intervals of the metrics that are shares of the held-out images; none if these have groups."""
    items = [item for item in trainer.data.val.items if item.name not in trainer.progress.unreadable]
    if any(item.group is not None for item in items) or not items:
        return {}
    shares = [
        METRICS[name]
        for name in best.val
        if name in METRICS and METRICS[name].over == "images" and METRICS[name].unit == "fraction"
    ]
    found = {each.name: wilson(round(best.val[each.name] * len(items)), len(items)).to_dict() for each in shares}
    return {name: {end: each[end] for end in ("low", "high", "n")} for name, each in found.items()}


def _write_bundle(
    trainer: Trainer, path: Path, network: ConvNet, card: ModelCard, files: dict[str, bytes] | None = None
) -> Bundle:
    try:
        return write_bundle(path, network, card, golden_inputs(trainer.data.val, trainer.preprocessing), files)
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
        mirror=trainer.recipe.mirror,
        multi_label=trainer.data.multi_label,
        thresholds=thresholds,
        data=described,
        recipe=trainer.recipe.model_dump(mode="json"),
        versions={"googlenet": __version__},
    )


def write_log(path: Path, history: list[EpochResult]) -> None:
    """Write ``log.csv``: a row for each epoch, the loss of each head in a column of its own."""
    rows = [result.to_columns() for result in history]
    columns = list(dict.fromkeys(name for row in rows for name in row))  # versions may have logged other metrics
    directory.write_csv(path, columns, ([row.get(name, "") for name in columns] for row in rows))


def draw_curve(run: Path, history: list[EpochResult], metric: str) -> None:
    """Draw the learning curve; a curve that cannot be drawn is only reported."""
    if not history:
        return

    def draw() -> None:
        from googlenet.evaluation.plots import draw_learning_curve

        draw_learning_curve([result.to_row() for result in history], run / CURVE, metric)

    if why := attempt(draw, run / CURVE):
        say(why)
