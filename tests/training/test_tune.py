"""Search for better settings: what is tried, kept, ended early, stopped and continued; and the range test."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest

import googlenet
from googlenet.errors import CallbackError, RecipeError, RunError, StoppedError
from googlenet.training.search import STARTUP_TRIALS, Search
from googlenet.training.search_space import Choices, Span
from tests.conftest import TINY, write_coloured_classes

SPACE = {"lr": Span(1e-4, 1e-1, log=True), "image_size": Choices((32, 48))}
SHORT = {"network": TINY, "recipe": "default", "epochs": 2, "batch_size": 8, "precision": "fp32", "workers": 0}
search = partial(googlenet.tune, minutes=100, trials=3, settings=["lr", "augmentation"], test_fraction=0.2, **SHORT)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_coloured_classes(tmp_path_factory.mktemp("tuned") / "photos", per_class=15)


@pytest.fixture(scope="module")
def tuned(photos):
    return search(photos, photos.parent / "tuned")


def test_the_best_trial_and_its_recipe_are_kept(tuned, photos):
    assert [trial.number for trial in tuned.trials] == [1, 2, 3]
    assert tuned.trials[0].values == {"lr": googlenet.Recipe().lr, "augmentation": "recipe"}
    assert len({trial.values["lr"] for trial in tuned.trials}) == 3
    assert tuned.best.score == max(trial.score for trial in tuned.trials)
    assert tuned.best.score == tuned.bundle.card.metrics["top1"]
    for trial in tuned.trials:
        assert (trial.run / "bundle").exists() == (trial.run / "checkpoints").exists() == (trial is tuned.best)
        assert (trial.run / "log.csv").exists()
    ours = googlenet.Recipe.load(tuned.recipe_file)
    assert ours == tuned.recipe
    assert ours.lr == tuned.best.values["lr"]
    trained = json.loads((tuned.best.run / "run.json").read_text())["recipe"]
    assert ours.model_dump(mode="json") == trained
    assert json.loads((tuned.out / "trials.json").read_text()) == json.loads(json.dumps(tuned.to_dict()))


def test_images_kept_to_report_say_how_good_the_best_is(tuned, photos):
    assert (tuned.honest.split, tuned.honest.images) == ("test", 9)
    again = googlenet.evaluate(tuned.best.run, photos, split="test")
    assert tuned.honest.metrics.values == again.metrics.values


class Interrupts:
    """Sends the process Ctrl-C in the second epoch of the second run."""

    def __init__(self):
        self.epochs = 0

    def on_step(self, result):
        self.epochs += result.batch == 1
        if self.epochs == 4:
            self.epochs += 1
            os.kill(os.getpid(), signal.SIGINT)


def test_a_search_that_is_stopped_ends_as_if_it_had_not_been(tuned, photos, tmp_path, capsys):
    out = tmp_path / "stopped"
    with pytest.raises(
        StoppedError,
        match=rf"the best so far is in .*recipe.toml; continue with: googlenet tune {photos} --out {out} --resume",
    ):
        search(photos, out, callbacks=[Interrupts()])
    assert googlenet.Recipe.load(out / "recipe.toml").lr == tuned.trials[0].values["lr"]
    with pytest.raises(RunError, match="continue it with --resume"):
        search(photos, out)
    with pytest.raises(RunError, match="was started with: leave --batch-size, --weights out"):
        googlenet.tune(photos, out, batch_size=16, weights=tuned.best.run, resume=True)
    with pytest.raises(RunError, match="other images"):
        googlenet.tune(write_coloured_classes(tmp_path / "few", per_class=6), out, resume=True)
    capsys.readouterr()
    resumed = googlenet.tune(photos, out, resume=True, workers=0)
    said = capsys.readouterr().err
    assert [(trial.values, trial.score) for trial in resumed.trials] == [
        (trial.values, trial.score) for trial in tuned.trials
    ]
    assert (resumed.bundle.path / "weights.safetensors").read_bytes() == (
        tuned.bundle.path / "weights.safetensors"
    ).read_bytes()
    assert len(re.findall(r"^trial \d, ", said, re.M)) == 2  # a line for each trial, and none for its epochs
    assert "epoch" not in said


def test_a_search_that_is_over_is_shown_again_in_a_table(tuned, photos, call):
    code, out, _ = call("tune", photos, "--out", tuned.out, "--resume", "--trials", 3)
    assert code == 0
    rows = [line.split() for line in out.splitlines() if re.match(r"\s*\*?\d ", line)]
    assert [row[0].strip("*") for row in rows] == ["1", "2", "3"]
    assert [row[0] for row in rows if row[0].startswith("*")] == [f"*{tuned.best.number}"]
    assert "9 images that nothing was chosen by" in out
    assert f"--recipe {tuned.recipe_file}" in out
    code, out, _ = call("tune", photos, "--out", tuned.out, "--resume", "--trials", 3, "--json")
    assert json.loads(out)["trials"] == tuned.to_dict()["trials"]


def test_time_is_divided_among_the_trials_and_kept(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("googlenet.training.tune.LR_SHARE", 1e-6)
    begun = time.perf_counter()
    found = search(photos, tmp_path / "out", trials=1, minutes=0.08, epochs=None, settings=["lr"])
    assert time.perf_counter() - begun < 60 * 0.08 + 2  # of a busy machine
    assert 0 < found.recipe.minutes < 0.08
    assert [trial.state for trial in found.trials] == ["finished"]
    assert found.lr_range is None  # there is no time for one
    with pytest.raises(RunError, match=r"no trial finished in 0:02: allow more --minutes"):
        search(photos, tmp_path / "none", minutes=0.03, epochs=100_000)


def test_what_cannot_be_is_refused_before_any_work(photos, tmp_path):
    out = tmp_path / "out"
    for changes, error, says in (
        ({"minutes": None}, RecipeError, "needs --minutes"),
        ({"minutes": -1}, RecipeError, "minutes = -1"),
        ({"trials": 0}, RecipeError, "trials = 0"),
        ({"settings": ["rate"]}, RecipeError, "does not try 'rate'"),
        ({"settings": ["lr"], "lr": 0.1}, RecipeError, "--lr 0.1 leaves nothing to try"),
        ({"settings": "lr"}, RecipeError, "should be a list"),
        ({"network": "lenet5", "settings": ["dropout"]}, RecipeError, "dropout has nothing to try with lenet5"),
        ({"resume": True, "settings": None}, RunError, "no search to resume"),
    ):
        with pytest.raises(error, match=says):
            search(photos, out, **changes)
    assert not out.exists()
    out.mkdir()
    (out / "mine").write_text("")
    with pytest.raises(RunError, match="holds no search: choose another"):
        search(photos, out, overwrite=True)


class Fails:
    def on_epoch(self, result):
        raise ValueError("mine")


def test_a_callback_that_fails_ends_the_search(photos, tmp_path):
    with pytest.raises(CallbackError, match="ValueError: mine"):
        search(photos, tmp_path / "out", callbacks=[Fails()], settings=["weight_decay"])


# The search itself.


def opened(folder: Path) -> Search:
    found = Search(folder)
    found.begin(SPACE, seed=1)
    return found


def test_what_is_worse_than_most_ends_early(tmp_path):
    found = opened(tmp_path)
    for number in range(STARTUP_TRIALS):
        trial = found.ask()
        assert not any(trial.report(0.5 + share / 10, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0))
        found.tell(trial, 0.6 + number / 100, {"seconds": 1.0})
    good, bad = found.ask(), found.ask()
    assert not any(good.report(0.9, share) for share in (0.2, 0.4, 0.6, 0.8))
    assert not bad.report(0.1, 0.3)  # too early
    assert bad.report(0.1, 0.5)
    assert not bad.report(0.1, 0.5)  # once at each tenth of the schedule
    assert not bad.report(0.1, 0.95)  # it is nearly over
    found.tell(bad, None, {"seconds": 1.0, "state": "pruned"})
    assert [each.state for each in found.outcomes()] == [*["finished"] * STARTUP_TRIALS, "pruned"]


def test_a_killed_search_tries_the_same_values_again(tmp_path):
    first = opened(tmp_path)
    values = first.ask()
    second = opened(tmp_path)  # the first was never told
    assert second.interrupted
    again = second.ask()
    assert not second.interrupted
    assert (again.number, again.values) == (values.number, values.values)
    assert not opened(tmp_path).outcomes()


def test_proposals_stay_within_the_space_and_learn(tmp_path):
    found = opened(tmp_path)
    for _ in range(30):
        trial = found.ask()
        assert 1e-4 <= trial.values["lr"] <= 1e-1
        assert trial.values["image_size"] in (32, 48)
        found.tell(trial, -abs(trial.values["lr"] - 0.01), {"seconds": 1.0})
    tried = [each.values["lr"] for each in found.outcomes()]
    near = [sum(0.003 < lr < 0.03 for lr in some) for some in (tried[:10], tried[-10:])]
    assert near[1] > near[0]


def test_a_damaged_journal_is_one_line(tmp_path):
    opened(tmp_path)
    (tmp_path / "trials.journal").write_text("{}\n{}\n")
    with pytest.raises(RunError, match=r"cannot be read .*: start again with --overwrite"):
        Search(tmp_path)


# The learning-rate range test.


def test_the_range_test_finds_a_rate_that_learns(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = googlenet.find_lr(photos, steps=60, **SHORT)
    assert not list(tmp_path.iterdir())  # nothing is written
    assert found.rates[0] == pytest.approx(1e-6)
    assert list(found.rates) == sorted(found.rates)
    assert min(found.smoothed) < 0.9 * found.smoothed[0]
    assert 1e-4 < found.suggestion < 0.3
    assert found.precision == "fp32"
    found.save(tmp_path / "lr.png")
    assert (tmp_path / "lr.png").stat().st_size > 5000
    same = googlenet.find_lr(photos, steps=60, **SHORT)
    assert same.losses == found.losses
    with pytest.raises(RecipeError, match="steps = 3: should be a whole number, 20 to"):
        googlenet.find_lr(photos, steps=3)


def test_no_rate_is_suggested_where_nothing_was_learnt():
    assert googlenet.LRRange((1e-3, 1e-2, 1e-1), (1.0, 1.0, 0.99)).suggestion is None
