"""Callbacks of the caller's, and loggers: what they are told, and what happens where they fail."""

from __future__ import annotations

import csv
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

import googlenet
from googlenet.errors import CallbackError, MissingExtraError, RecipeError
from googlenet.training import callbacks


@pytest.fixture
def train(tiny, coloured):
    """`googlenet.train` with a small network, on 27 images: 3 batches an epoch."""
    how = {"recipe": "default", "batch_size": 8, "epochs": 2, "precision": "fp32", "workers": 0}
    return partial(googlenet.train, coloured, network=tiny, **how)


class Listening:
    def __init__(self, fail_at=None):
        self.steps, self.epochs, self.fail_at = [], [], fail_at

    def on_step(self, result):
        self.steps.append(result)
        if result.step == self.fail_at:
            raise ZeroDivisionError("divided\nby zero")

    def on_epoch(self, result):
        self.epochs.append(result)
        if result.epoch == -(self.fail_at or 0):
            raise ZeroDivisionError


def rows_of(out):
    with (out / "log.csv").open() as file:
        return list(csv.DictReader(file))


def weights(out):
    return load_file(out / "bundle" / "weights.safetensors")


@pytest.mark.parametrize("fail_at", [4, -2], ids=["in a step", "after the last epoch"])
def test_a_callback_hears_everything_and_one_that_fails_stops_the_run_after_it_was_saved(train, tmp_path, fail_at):
    whole, cut = Listening(), Listening(fail_at)
    train(tmp_path / "whole", callbacks=[whole])
    assert [(s.epoch, s.batch, s.batches) for s in whole.steps] == [(e, b, 3) for e in (1, 2) for b in (1, 2, 3)]
    assert [step.step for step in whole.steps] == [1, 2, 3, 4, 5, 6]
    rows = rows_of(tmp_path / "whole")
    assert [str(each.val["top1"]) for each in whole.epochs] == [row["val_top1"] for row in rows]
    assert str(whole.steps[-1].lr) == rows[-1]["lr"]
    said = "Listening.on_step failed after step 1 of epoch 2: ZeroDivisionError: divided by zero; the run is saved, "
    said = said if fail_at > 0 else "Listening.on_epoch failed after epoch 2: ZeroDivisionError; the run is saved, "
    with pytest.raises(CallbackError, match=said + "continue with: googlenet train .* --resume") as caught:
        train(tmp_path / "cut", callbacks=[cut])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert not (tmp_path / "cut" / "bundle").exists()
    train(tmp_path / "cut", resume=True)
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_what_is_no_callback_is_refused(train, tmp_path):
    with pytest.raises(RecipeError, match="int, number 2, has neither on_step nor on_epoch"):
        train(tmp_path / "run", callbacks=[Listening(), 3])
    with pytest.raises(RecipeError, match=r"log = 'mlfow'.*'tensorboard', 'mlflow' or 'wandb'"):
        train(tmp_path / "run", log="mlfow")


def test_a_logger_that_is_not_installed_is_told_with_its_extra(train, tmp_path, monkeypatch):
    monkeypatch.setitem(callbacks.LOGGERS, "wandb", {"not_installed_here": "wandb"})
    with pytest.raises(MissingExtraError, match=r"pip install 'googlenet\[wandb\]'"):
        train(tmp_path / "run", log="wandb")
    assert not (tmp_path / "run").exists()


def test_tensorboard_shows_what_log_csv_has_also_of_a_run_that_was_resumed(train, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with pytest.raises(CallbackError):
        train(tmp_path / "run", log="tensorboard", callbacks=[Listening(4)])
    train(tmp_path / "run", log="tensorboard", resume=True)
    log = events.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    log.Reload()
    rows = rows_of(tmp_path / "run")
    for name in ("val_top1", "val_loss", "loss", "loss_aux1"):
        logged = log.Scalars(f"epoch/{name}")
        assert [each.step for each in logged] == [3, 6]
        assert [each.value for each in logged] == pytest.approx([float(row[name]) for row in rows])
    assert "step/loss" in log.Tags()["scalars"]
