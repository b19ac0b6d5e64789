"""``log.csv`` of a run whose epochs were measured by versions with other metrics, or with the same in another order."""

from __future__ import annotations

import csv

from googlenet.training.progress import EpochResult, Progress
from googlenet.training.ship import write_log


def result(epoch, val):
    return EpochResult(epoch, 0.1, 1.0, (1.0,), {"top1": 0.5}, 1.0, val, 9.0, 1.0, 0.0)


def test_every_value_is_below_its_own_name(tmp_path):
    history = [result(1, {"top5": 0.9, "top1": 0.1}), result(2, {"top1": 0.2, "top5": 0.8, "recall": 0.7})]
    write_log(tmp_path / "log.csv", history)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["val_top1"], row["val_top5"], row["val_recall"]) for row in rows] == [
        ("0.1", "0.9", ""),
        ("0.2", "0.8", "0.7"),
    ]


def test_the_best_epoch_is_the_latest_of_the_highest_that_is_not_lost():
    history = [result(epoch, {"top1": value}) for epoch, value in enumerate((0.9, 0.5, 0.7, 0.7, 0.1), start=1)]
    assert Progress(history=history).best("top1").epoch == 1
    assert Progress(history=history, lost=1).best("top1").epoch == 4
    assert Progress(history=history, lost=5).best("top1") is None
