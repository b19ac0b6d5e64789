"""Controls of a run: when it ends early, what chooses its best epoch, batches in parts where memory is short."""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

import googlenet
from googlenet.errors import MachineError, RecipeError, RunError, StoppedError
from googlenet.metrics import METRICS
from googlenet.training import microbatches, run
from googlenet.training.display import Display
from googlenet.training.progress import EpochResult, Progress
from googlenet.training.recipe import Recipe
from googlenet.training.setup import make_fabric


@pytest.fixture
def train(tiny):
    """`googlenet.train` with a small network."""
    return partial(googlenet.train, network=tiny, batch_size=8, ema_decay=0.5, precision="fp32", workers=0)


def rows_of(out):
    with (out / "log.csv").open() as file:
        return list(csv.DictReader(file))


def first_best(rows, column):
    """The first epoch with the best value."""
    return 1 + max(range(len(rows)), key=lambda at: (float(rows[at][column]), -at))


def result(epoch, top1, loss=1.0):
    return EpochResult(epoch, 0.1, 1.0, (1.0,), {"top1": 0.5}, loss, {"top1": top1}, 9.0, 1.0, 0.0)


def test_an_epoch_as_good_as_the_best_is_no_improvement():
    history = [result(1, 0.5, 0.9), result(2, 0.7, 0.4), result(3, 0.7, 0.6), result(4, 0.6, 0.5)]
    progress = Progress(history=history)
    assert [progress.stale_epochs(metric) for metric in ("top1", "loss")] == [2, 2]
    assert [progress.best(metric).epoch for metric in ("top1", "loss")] == [3, 2]
    assert Progress().stale_epochs("top1") == 0


def test_patience_ends_a_run_which_a_longer_patience_continues(train, coloured, tmp_path, capsys):
    bundle = train(coloured, tmp_path / "run", epochs=90, patience=1, lr=0.01)
    rows = rows_of(tmp_path / "run")
    assert len(rows) == first_best(rows, "val_top1") + 1 < 90
    assert f"ended early: no better top-1 for an epoch; the best was epoch {bundle.card.metrics['epoch']}" in (
        " ".join(capsys.readouterr().err.split())
    )
    assert train(coloured, tmp_path / "run", resume=True).card.files == bundle.card.files  # nothing is left to do
    assert len(rows_of(tmp_path / "run")) == len(rows)
    with pytest.raises(RunError, match="--patience 0 "):
        train(coloured, tmp_path / "run", resume=True, patience=0)
    train(coloured, tmp_path / "run", resume=True, patience=2)
    rows = rows_of(tmp_path / "run")
    assert len(rows) == first_best(rows, "val_top1") + 2


def test_patience_is_counted_on_where_a_run_was_stopped(train, coloured, tmp_path, monkeypatch):
    settings = {"epochs": 90, "patience": 1, "lr": 0.01}
    whole = train(coloured, tmp_path / "whole", **settings)
    epoch = run.Display.epoch

    def stopping(display, result):
        epoch(display, result)
        if result.epoch == len(rows_of(tmp_path / "whole")) - 1:  # one epoch before its end
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(run.Display, "epoch", stopping)
        with pytest.raises(StoppedError):
            train(coloured, tmp_path / "cut", **settings)
    cut = train(coloured, tmp_path / "cut", resume=True)
    weights = [load_file(bundle.path / "weights.safetensors") for bundle in (whole, cut)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert len(rows_of(tmp_path / "cut")) == len(rows_of(tmp_path / "whole"))


@pytest.mark.parametrize("metric", ["loss", "macro_f1"])
def test_the_best_epoch_is_chosen_by_what_was_asked_for(train, coloured, tmp_path, metric, call):
    bundle = train(coloured, tmp_path / "run", epochs=3, best_by=metric)
    rows = rows_of(tmp_path / "run")
    key = METRICS[metric].key
    best = max(rows, key=lambda row: (key(float(row[f"val_{metric}"])), int(row["epoch"])))
    assert bundle.card.metrics["epoch"] == int(best["epoch"])
    assert bundle.card.metrics[f"val_{metric}" if metric == "loss" else metric] == float(best[f"val_{metric}"])
    assert bundle.card.recipe["best_by"] == metric
    if metric != "loss":  # `evaluate` computes the same from the bundle
        again = googlenet.evaluate(tmp_path / "run", coloured).metrics
        assert getattr(again, metric) == pytest.approx(bundle.card.metrics[metric])


def test_a_metric_that_is_not_measured_is_refused_before_any_work(train, coloured, tmp_path, call):
    with pytest.raises(RecipeError, match=r"--best-by map .* allowed are top1, balanced_accuracy, macro_f1, loss"):
        train(coloured, tmp_path / "run", best_by="map")
    assert not (tmp_path / "run").exists()
    code, _, err = call("train", coloured, "--out", tmp_path / "run", "--best-by", "accuracy")
    assert code == 2
    assert "balanced_accuracy" in err


def test_a_batch_in_parts_learns_what_the_whole_batch_learns(tiny, coloured, tmp_path):
    """Up to rounding, where no batch normalization sees the parts."""
    plain = replace(tiny, norm=None, name="plain")
    train = partial(googlenet.train, coloured, network=plain, epochs=1, batch_size=10, lr=0.01, precision="fp32",
                    optimizer="sgd", dropout=0.0, ema_decay=0.0, workers=0)  # fmt: skip
    whole, parts = train(tmp_path / "whole"), train(tmp_path / "parts", accumulate=3)
    weights = [load_file(bundle.path / "weights.safetensors") for bundle in (whole, parts)]
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-4, atol=1e-5)
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])  # it was in parts
    assert parts.card.recipe["accumulate"] == 3


def test_where_memory_is_short_a_batch_is_taken_in_parts_which_is_recorded(
    train, coloured, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(microbatches, "free_bytes", lambda device: 900_000)
    bundle = train(coloured, tmp_path / "run", epochs=1, batch_size=16)
    parts = bundle.card.recipe["accumulate"]
    assert parts in (2, 4, 8)
    said = " ".join(capsys.readouterr().err.split())
    assert f"memory is short: each batch of 16 is taken in {parts} parts" in said
    monkeypatch.undo()  # a resumed run keeps its parts
    assert train(coloured, tmp_path / "run", resume=True, epochs=2, batch_size=16).card.recipe["accumulate"] == parts
    monkeypatch.setattr(microbatches, "free_bytes", lambda device: 1000)
    with pytest.raises(MachineError, match="not enough memory"):
        train(coloured, tmp_path / "none", epochs=1, batch_size=16)
    assert not (tmp_path / "none").exists()


def test_memory_that_is_refused_in_the_trial_step_halves_the_part(tiny, monkeypatch):
    step, tried = microbatches._step, []

    def refusing(objective, size, fabric, images):
        tried.append(images)
        if images > 8:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        step(objective, size, fabric, images)

    monkeypatch.setattr(microbatches, "_step", refusing)
    monkeypatch.setattr(microbatches, "free_bytes", lambda device: None)
    fabric, preprocessing = make_fabric("cpu", "fp32"), tiny.preprocessing(32)
    network = googlenet.create(tiny, num_classes=3)
    recipe = googlenet.Recipe(batch_size=32)
    assert microbatches.fit_into_memory(recipe, network, preprocessing, fabric, processes=1) == 4
    assert tried[2:] == [32, 16, 8]


def test_fewer_than_two_images_in_a_part_are_refused(train, coloured, tmp_path):
    with pytest.raises(RecipeError, match=r"accumulate = 5 leaves less than two images .* should be 1 to 4"):
        train(coloured, tmp_path / "run", accumulate=5)


@pytest.mark.parametrize("classes", [5, 6])
def test_top_5_is_shown_where_there_are_more_classes(classes, capsys):
    display = Display(Recipe())
    display.classes = classes
    display.epoch(replace(result(1, 0.5), val={"top1": 0.5, "top5": 0.9}))
    assert ("top-5 90.00%" in capsys.readouterr().err) == (classes > 5)


def test_patience_ends_a_phase_and_the_next_one_has_the_rest_of_the_schedule(train, coloured, tmp_path, capsys):
    train(coloured, tmp_path / "base", epochs=1)
    settings = {"weights": tmp_path / "base", "unfreeze": "gradual", "cache_after": "inception_1", "cached_share": 0.5,
                "epochs": 12, "patience": 1, "lr": 0.01, "cached_views": 1}  # fmt: skip
    whole = train(coloured, tmp_path / "run", **settings)
    said = " ".join(capsys.readouterr().err.split())
    assert "no better epoch for a while (patience): more stages learn from now on" in said
    rows = rows_of(tmp_path / "run")
    assert [int(row["epoch"]) for row in rows] == [*range(1, len(rows) + 1)]
    assert len(rows) < 12  # both phases ended early
    rates = [float(row["lr"]) for row in rows]
    # Each has warmed up: a second phase at its usual place on the schedule would still wait for its first step.
    assert len(set(rates)) == len(rates)
    assert "top-5" not in said  # of three classes
    train(coloured, tmp_path / "plain", **settings | {"cached_views": 0, "epochs": 1})
    assert "with cached_views in the recipe it would be fitted before" in " ".join(capsys.readouterr().err.split())
    ended = Interrupt(at=len(rows) - 1)
    with pytest.raises(StoppedError):
        train(coloured, tmp_path / "cut", callbacks=[ended], **settings)
    again = train(coloured, tmp_path / "cut", resume=True)
    assert rows_of(tmp_path / "cut")[-1]["val_loss"] == rows[-1]["val_loss"]
    assert (again.path / "weights.safetensors").read_bytes() == (whole.path / "weights.safetensors").read_bytes()


class Interrupt:
    """Sends Ctrl-C after an epoch."""

    def __init__(self, at):
        self.at = at

    def on_epoch(self, result):
        if result.epoch == self.at:
            os.kill(os.getpid(), signal.SIGINT)
