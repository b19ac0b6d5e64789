"""Controls of a run: when it ends early, and what chooses its best epoch."""

from __future__ import annotations

import csv
import os
import signal
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

import googlenet
from googlenet.errors import RecipeError, RunError, StoppedError
from googlenet.metrics import METRICS
from googlenet.training import run
from googlenet.training.progress import EpochResult, Progress


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
