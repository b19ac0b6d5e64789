"""A run that is stopped, killed, damaged or short of space continues, and ends with the same weights bit for bit.

`make soak` does the same at many more places.
"""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from functools import partial

import pytest
import torch

import googlenet
from googlenet.errors import CheckpointError, NonFiniteLossError, RecipeError, RunError, StoppedError
from googlenet.training import checkpoint, run
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.trainer import Trainer

EVERY_STEP = 1e-9  # minutes between checkpoints
RECIPE = "precision = 'fp32'\nepochs = 3\nbatch_size = 32\naveraging = 0.9\n"  # 3 steps an epoch


@pytest.fixture(scope="module")
def train(tiny, trained_run, tmp_path_factory):
    """`googlenet.train` on three colours; with dropout, batch normalisation, momentum and moving average."""
    recipe = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    recipe.write_text(RECIPE)
    return partial(googlenet.train, trained_run.parent / "photos", network=tiny, recipe=recipe, workers=0)


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """The run that nothing happened to."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(out=out, workers=2)
    return out


def newest(out):
    return Checkpoints(out / "checkpoints").newest_first()[0]


def assert_same(one, other):
    """Weights, average, optimizer, counters, random numbers, history and bundle are bit for bit equal."""
    (a, state_a), (b, state_b) = checkpoint.load(newest(one)), checkpoint.load(newest(other))
    assert a.keys() == b.keys()
    assert {"network", "averaged", "optimizer", "random"} == {name.partition(".")[0] for name in a}
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    rows = [[(row["loss"], row["val_loss"]) for row in s["progress"]["history"]] for s in (state_a, state_b)]
    assert rows[0] == rows[1]
    bundles = [(out / "bundle" / "weights.safetensors").read_bytes() for out in (one, other)]
    assert bundles[0] == bundles[1]


def interrupt(monkeypatch, name, count, act):
    """Call ``act`` after the method ``name`` of a run has been called ``count`` times."""
    owner = run.Display if name == "step" else Trainer
    original, calls = getattr(owner, name), []

    def wrapped(self, *arguments):
        result = original(self, *arguments)
        calls.append(name)
        if len(calls) == count:
            act(self)
        return result

    monkeypatch.setattr(owner, name, wrapped)


def terminate(_):
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(("step", "workers", "then"), [(1, 0, 1), (4, 2, 0), (9, 1, 2)])
def test_stopped_at_any_step_it_ends_the_same_with_any_number_of_workers(
    train, whole, tmp_path, monkeypatch, step, workers, then
):
    with monkeypatch.context() as patched:
        interrupt(patched, "step", step, terminate)
        with pytest.raises(StoppedError) as stopped:
            train(out=tmp_path / "cut", workers=workers)
    assert stopped.value.exit_code == 143
    train(out=tmp_path / "cut", resume=True, workers=then)
    assert_same(whole, tmp_path / "cut")


def test_stopped_in_validation_it_saves_at_once_and_validates_again(train, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        original, asked = run.Recorder.should_stop, []

        def should_stop(recorder):
            asked.append(recorder)
            if len(asked) == 4:  # after the three steps, before the first batch that is validated
                terminate(recorder)
            return original(recorder)

        patched.setattr(run.Recorder, "should_stop", should_stop)
        with pytest.raises(StoppedError, match="stopped in epoch 1 of 3"):
            train(out=tmp_path / "cut")
    _, state = checkpoint.load(newest(tmp_path / "cut"))
    assert (state["progress"]["batch"], state["progress"]["history"]) == (3, [])
    train(out=tmp_path / "cut", resume=True)
    assert_same(whole, tmp_path / "cut")


def test_the_last_two_are_kept_with_their_best_weights_and_within_an_epoch_too(train, whole, tmp_path, monkeypatch):
    names = sorted(path.name for path in (whole / "checkpoints").iterdir())
    assert names[-2:] == ["step-000006.safetensors", "step-000009.safetensors"]
    assert 1 <= len([name for name in names if name.startswith("best-")]) <= 2
    saved = []
    with monkeypatch.context() as patched:
        interrupt(patched, "save", 1, lambda fit: saved.append(fit.progress.batch))
        train(out=tmp_path / "often", checkpoint_minutes=EVERY_STEP)
    assert saved == [1]
    assert_same(whole, tmp_path / "often")


def test_a_damaged_newest_checkpoint_is_left_out_for_the_one_before(train, whole, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    last = newest(out)
    last.write_bytes(last.read_bytes()[:-1000] + bytes(1000))
    train(out=out, resume=True)
    said = capsys.readouterr().err
    assert f"{last} is damaged: its sha256 does not match; continuing from the one before" in said
    assert last.with_name(f"{last.name}.damaged").exists()
    assert_same(whole, out)


def test_a_foreign_newest_checkpoint_is_left_out_for_the_one_before(train, whole, tmp_path, capsys):
    train(out=tmp_path / "other", seed=1, epochs=1)
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shutil.copy(newest(tmp_path / "other"), newest(out))
    train(out=out, resume=True)
    assert "belongs to a run with another recipe; continuing from the one before" in capsys.readouterr().err
    assert_same(whole, out)


def test_best_weights_that_are_damaged_are_written_anew_from_a_checkpoint_that_has_them(train, whole, tmp_path, capsys):
    best = Checkpoints(whole / "checkpoints").newest_first("best")[0].name
    for damage in (b"", b"no", (whole / "checkpoints" / best).read_bytes()[:-1000] + bytes(1000), None):
        out = tmp_path / "run"
        shutil.copytree(whole, out)
        for path in Checkpoints(out / "checkpoints").newest_first("best"):
            path.unlink() if damage is None else path.write_bytes(damage)
        train(out=out, resume=True)
        assert f"{best} " in capsys.readouterr().err
        assert_same(whole, out)
        shutil.rmtree(out)


def test_best_weights_of_another_run_are_not_taken(train, whole, tmp_path, capsys):
    train(out=tmp_path / "other", seed=1)
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    foreign = Checkpoints(tmp_path / "other" / "checkpoints").newest_first("best")[0]
    for path in Checkpoints(out / "checkpoints").newest_first("best"):
        shutil.copy(foreign, path)
    train(out=out, resume=True)
    assert "belongs to another run" in capsys.readouterr().err
    assert_same(whole, out)


def test_best_weights_that_no_checkpoint_has_are_told_of_and_the_run_goes_on(train, whole, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    checkpoints = Checkpoints(out / "checkpoints")
    for path in checkpoints.newest_first():  # as if the first epoch had been the best
        tensors, state = checkpoint.load(path)
        state["progress"]["history"][0]["val"]["top1"] = 2.0
        checkpoint.save(path, tensors, state)
    for path in checkpoints.newest_first("best"):
        path.unlink()
    bundle = train(out=out, resume=True)
    said = capsys.readouterr().err
    assert (
        "best-0001.safetensors does not exist; continuing from step-000009.safetensors: only epochs after 2 can" in said
    )
    assert bundle.card.metrics["epoch"] == 3
    train(out=out, resume=True)  # and is whole again
    assert "best-" not in capsys.readouterr().err


def test_a_checkpoint_of_a_run_on_other_images_is_not_taken(train, whole, tmp_path, trained_run, capsys):
    shutil.copytree(trained_run.parent / "photos", tmp_path / "photos")
    for path in sorted((tmp_path / "photos").rglob("*.png"))[::7]:
        path.unlink()
    googlenet.train(tmp_path / "photos", tmp_path / "other", **train.keywords)
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shutil.copy(newest(tmp_path / "other"), newest(out))
    train(out=out, resume=True)
    assert "belongs to another run; continuing from the one before" in capsys.readouterr().err
    assert_same(whole, out)


def test_best_weights_of_a_later_epoch_are_deleted(train, whole, tmp_path):
    """Left by a process that was killed between the two files."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    checkpoints = Checkpoints(out / "checkpoints")
    shutil.copy(checkpoints.newest_first("best")[0], checkpoints.best(99))
    train(out=out, resume=True)
    assert not checkpoints.best(99).exists()
    assert_same(whole, out)


def test_where_no_checkpoint_is_sound_nothing_is_trained_over_it(train, whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    for path in Checkpoints(out / "checkpoints").newest_first():
        path.write_bytes(b"no")
    with pytest.raises(CheckpointError, match="is damaged or not a checkpoint"):
        train(out=out, resume=True)


def poison(trainer):
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))


def test_a_nan_is_never_saved_and_the_run_goes_on_from_before_it(train, whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        interrupt(patched, "_step", 5, poison)
        with pytest.raises(NonFiniteLossError, match="the weights became NaN or infinite in epoch 2, batch"):
            train(out=out, checkpoint_minutes=EVERY_STEP)
    assert newest(out).name == "step-000004.safetensors"
    train(out=out, resume=True)
    assert_same(whole, out)


def test_a_nan_in_validation_is_never_the_best(train, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        interrupt(patched, "_step", 6, lambda fit: next(fit.best_network.parameters()).data.fill_(float("nan")))
        with pytest.raises(NonFiniteLossError, match=r"loss in validation .* images of that batch: .*png") as caught:
            train(out=out)
    assert all("/" in name for name in caught.value.files)
    assert [path.name for path in Checkpoints(out / "checkpoints").newest_first("best")] == ["best-0001.safetensors"]
    assert newest(out).name == "step-000003.safetensors"


def kill_while_it_trains(train, out, rounds, steps_an_epoch):
    """Train, saving every step, in a process that is killed, again and again; then without. Gives the kills."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["googlenet.training.run"])
    checkpoints, chance = Checkpoints(out / "checkpoints"), random.Random(0)
    options = {**train.keywords, "out": out, "checkpoint_minutes": EVERY_STEP}

    def reached():
        return max((int(path.stem[5:]) for path in checkpoints.newest_first()), default=0)

    kills = 0
    for _ in range(rounds):
        before = reached()
        process = context.Process(target=train.func, args=train.args, kwargs={**options, "resume": before > 0})
        process.start()
        while reached() <= before and process.is_alive():
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            break
        kills += 1
        _, state = checkpoint.load(newest(out))  # the newest is whole
        progress = state["progress"]
        assert progress["epoch"] * steps_an_epoch + progress["batch"] == reached() > before
        half_written = [int(path.name[6:12]) for path in checkpoints.folder.glob(".step-*.new")]
        assert all(number <= reached() + 1 for number in half_written)  # one interval is lost at most
    train(out=out, resume=True)
    return kills


def test_killed_at_random_moments_it_loses_one_interval_at_most(train, tmp_path):
    train = partial(train, batch_size=8)  # 12 steps an epoch
    train(out=tmp_path / "whole")
    assert kill_while_it_trains(train, tmp_path / "run", 6, steps_an_epoch=12) >= 2
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_a_disk_that_becomes_read_only_is_said_and_the_run_goes_on_later(train, whole, small_disk, monkeypatch):
    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", small_disk], check=True)

    with monkeypatch.context() as patched:
        interrupt(patched, "_step", 5, lambda _: remount("ro"))
        with pytest.raises(RunError, match=r"step-000005.safetensors cannot be written: Read-only file system"):
            train(out=small_disk / "run", checkpoint_minutes=EVERY_STEP)
    remount("rw")
    train(out=small_disk / "run", resume=True)
    assert_same(whole, small_disk / "run")


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"workers": -1}, "workers = -1: should be greater than or equal to 0"),
        ({"checkpoint_minutes": 0}, "checkpoint_minutes = 0: should be greater than 0"),
        ({"checkpoint_minutes": float("nan")}, "checkpoint_minutes = nan: should be a finite number"),
    ],
)
def test_wrong_options_are_said_before_any_work(train, tmp_path, option, says):
    with pytest.raises(RecipeError, match=says):
        train(out=tmp_path / "run", **option)
    assert not (tmp_path / "run").exists()
