"""`train` end to end: what a run holds, stopping and resuming, and every way it can go wrong."""

import contextlib
import csv
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import googlenet
from googlenet.data.image_set import ImageSet, LabelledImage
from googlenet.errors import (
    CheckpointError,
    DataError,
    DeviceError,
    DiskFullError,
    InputSizeError,
    NonFiniteLossError,
    RecipeError,
    RunError,
    StoppedError,
    UnreadableImageError,
)
from googlenet.images.resize import resize_and_crop
from googlenet.preprocessing import Preprocessing
from googlenet.training import checkpoint, run
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.loading import ImageDataset, SampleKey
from googlenet.training.recipe import Augmentation, Recipe


def recipe_for(folder, **changes):
    settings = {"epochs": 2, "batch_size": 8, "ema_decay": 0.9, "precision": "fp32"} | changes
    path = folder / "recipe.toml"
    path.write_text("\n".join(f"{k} = {v!r}".replace("'", '"') for k, v in settings.items()))
    return path


def weights(bundle_or_run):
    return load_file(Path(bundle_or_run) / "bundle" / "weights.safetensors")


@pytest.fixture
def train(tiny):
    """`googlenet.train` with a small network unless told."""
    return partial(googlenet.train, network=tiny)


def test_a_run_holds_log_curve_checkpoints_and_a_bundle_that_learned(trained_run):
    assert {p.name for p in trained_run.iterdir()} == {
        "run.json", "split.csv", "log.csv", "learning_curve.png", "report.html", "checkpoints", "bundle",
    }  # fmt: skip
    with (trained_run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    for row in rows:  # each head is logged on its own
        main, aux = float(row["loss_main"]), float(row["loss_aux1"])
        assert float(row["loss"]) == pytest.approx(main + 0.3 * aux, rel=1e-5)
        assert float(row["gradient_norm_main"]) > 0
        assert float(row["gradient_norm_aux1"]) > 0
    assert float(rows[-1]["train_top1_aux1"]) > 0.6
    card = googlenet.load(trained_run).card
    assert card.class_names == ("blue", "green", "red")
    assert card.metrics["top1"] == max(float(row["val_top1"]) for row in rows) > 0.8


def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_random_numbers_alone(train, coloured, tmp_path):
    recipe = recipe_for(tmp_path, epochs=1)
    torch.manual_seed(123)
    expected = torch.rand(1)
    torch.manual_seed(123)
    first = train(coloured, tmp_path / "a", recipe=recipe)
    assert torch.rand(1) == expected
    train(coloured, tmp_path / "b", recipe=recipe)
    train(coloured, tmp_path / "c", recipe=recipe, seed=1)
    same, again, other = (weights(tmp_path / name)["fc.weight"] for name in "abc")
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    assert first.card.recipe["seed"] == 0


class StopAt:
    """Raises the signal a user's Ctrl-C would, after so many steps."""

    def __init__(self, monkeypatch, step, number=signal.SIGINT):
        self.left, self.number = step, number
        original = run.Display.step

        def stepping(display, *arguments):
            original(display, *arguments)
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), self.number)

        monkeypatch.setattr(run.Display, "step", stepping)


GROWING = {"initial_size": 0.5, "growth_fraction": 0.6, "max_batches_per_step": 2, "batch_size": 4}


@pytest.mark.parametrize(
    ("step", "changes"),
    [(1, {"optimizer": "sgd"}), (3, {}), (3, {"optimizer": "muon", "aux": 0}), (6, {}), (2, GROWING), (7, GROWING)],
    ids=["1-sgd", "3", "3-muon", "6", "2-growing", "7-growing"],
)
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_weights(
    train, coloured, tmp_path, monkeypatch, step, changes
):
    recipe = recipe_for(tmp_path, **changes)
    train(coloured, tmp_path / "whole", recipe=recipe)
    with monkeypatch.context() as patched:
        StopAt(patched, step)
        with pytest.raises(StoppedError, match=r"continue with: googlenet train .* --resume") as caught:
            train(coloured, tmp_path / "cut", recipe=recipe)
    assert caught.value.exit_code == 130
    assert not (tmp_path / "cut" / "bundle").exists()
    train(coloured, tmp_path / "cut", resume=True)
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    timing = {"images_per_second", "seconds", "waiting"}  # these differ, nothing else may
    logs = [
        [{name: value for name, value in row.items() if name not in timing} for row in rows_of(tmp_path / run)]
        for run in ("whole", "cut")
    ]
    assert logs[0] == logs[1]
    assert ("loss_aux1" in logs[0][0]) == (changes.get("aux") != 0)


def test_a_network_that_learns_nothing_is_said_so_with_what_to_try(train, tiny, coloured, tmp_path, capsys):
    plain = replace(tiny, norm=None, init="kaiming")
    train(coloured, tmp_path / "run", network=plain, recipe=recipe_for(tmp_path, epochs=1, lr=1e-9, batch_size=2))
    said = " ".join(capsys.readouterr().err.split())
    assert "aux1 learnt nothing in epoch 1: the loss is still 1.099, as by chance; try a --network with batch" in said


def newest(run):
    return Checkpoints(run / "checkpoints").newest_first()[0]


def rows_of(run):
    with (run / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_minutes_train_until_the_time_is_over(train, coloured, tmp_path):
    recipe = recipe_for(tmp_path, epochs=1000)  # which only give the schedule its shape
    bundle = train(coloured, tmp_path / "run", recipe=recipe, minutes=0.15)
    rows = rows_of(tmp_path / "run")
    assert float(rows[-1]["lr"]) < 0.0005 < 0.002 == Recipe.load(recipe).lr  # the schedule came to its end
    assert bundle.card.metrics["top1"] == max(float(row["val_top1"]) for row in rows)
    assert bundle.card.recipe["minutes"] == 0.15
    _, state = checkpoint.load(newest(tmp_path / "run"))
    assert state["progress"]["elapsed"] > 3  # of the 9 seconds; the rest is kept for the end


def test_minutes_too_few_for_anything_still_give_a_validated_bundle(train, coloured, tmp_path):
    bundle = train(coloured, tmp_path / "run", recipe=recipe_for(tmp_path), minutes=0.001)
    assert [row["epoch"] for row in rows_of(tmp_path / "run")] == ["1"]
    assert bundle.card.metrics["epoch"] == 1


def test_a_run_by_minutes_that_is_resumed_has_what_was_left(train, coloured, tmp_path, monkeypatch, capsys):
    recipe = recipe_for(tmp_path)
    with monkeypatch.context() as patched:
        StopAt(patched, 3)
        with pytest.raises(StoppedError, match=r"stopped in epoch 1, after 0:\d\d of 10:00, saved"):
            train(coloured, tmp_path / "run", recipe=recipe, minutes=10)
    with pytest.raises(RunError, match=r"--minutes 5 \(it has 10.0\)"):
        train(coloured, tmp_path / "run", resume=True, minutes=5)
    last = newest(tmp_path / "run")
    tensors, state = checkpoint.load(last)
    assert 0 < state["progress"]["elapsed"] < 60
    state["progress"]["elapsed"] = 600.0  # as if it had been stopped when its time was over
    checkpoint.save(last, tensors, state)
    bundle = train(coloured, tmp_path / "run", resume=True)
    assert [row["epoch"] for row in rows_of(tmp_path / "run")] == ["1"]
    _, state = checkpoint.load(newest(tmp_path / "run"))
    assert state["progress"]["elapsed"] > 600
    assert train(coloured, tmp_path / "run", resume=True).card.metrics == bundle.card.metrics


def test_sigterm_and_ctrl_c_from_outside_save_and_say_how_to_go_on(coloured, tmp_path):
    recipe = recipe_for(tmp_path, epochs=500, image_size=32)
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        out = tmp_path / f"run{number}"
        command = [
            sys.executable,
            "-m",
            "googlenet",
            "train",
            str(coloured),
            "--out",
            str(out),
            "--recipe",
            str(recipe),
            "--network",
            "lenet5",
        ]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while not (out / "log.csv").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        process.send_signal(number)
        _, err = process.communicate(timeout=300)
        assert process.returncode == code
        assert err.splitlines()[-1].endswith(f"--out {out} --resume")
        assert "Traceback" not in err
        checkpoint.load(newest(out))


def test_an_existing_run_is_never_overwritten_unasked(train, coloured, tmp_path):
    recipe = recipe_for(tmp_path, epochs=1)
    train(coloured, tmp_path / "run", recipe=recipe)
    before = (tmp_path / "run" / "bundle" / "card.json").read_bytes()
    with pytest.raises(RunError, match="--resume, replace it with --overwrite, or choose another"):
        train(coloured, tmp_path / "run", recipe=recipe)
    assert (tmp_path / "run" / "bundle" / "card.json").read_bytes() == before
    train(coloured, tmp_path / "run", recipe=recipe, seed=5, overwrite=True)
    assert (tmp_path / "run" / "bundle" / "card.json").read_bytes() != before


def test_a_directory_that_is_no_run_is_left_alone_even_with_overwrite(train, coloured, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="holds no run: choose another"):
        train(coloured, tmp_path / "mine", overwrite=True)
    with pytest.raises(RunError, match="is a file"):
        train(coloured, tmp_path / "mine" / "thesis.txt")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_resume_refuses_what_is_not_the_same_run(train, coloured, tmp_path):
    with pytest.raises(RunError, match="no run to resume"):
        train(coloured, tmp_path / "none", resume=True)
    train(coloured, tmp_path / "run", recipe=recipe_for(tmp_path, epochs=1))
    with pytest.raises(RunError, match=r"--lr 0.5 \(it has .*leave them out"):
        train(coloured, tmp_path / "run", resume=True, lr=0.5)
    (coloured / "red" / "000.png").unlink()
    with pytest.raises(CheckpointError, match="other images"):
        train(coloured, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b[:-1000] + bytes(1000), lambda b: b"", lambda b: b"no"]
)
def test_a_damaged_checkpoint_is_known_for_one(train, coloured, tmp_path, damage):
    train(coloured, tmp_path / "run", recipe=recipe_for(tmp_path, epochs=1))
    last = newest(tmp_path / "run")
    last.write_bytes(damage(last.read_bytes()))
    with pytest.raises(CheckpointError, match="is damaged"):
        train(coloured, tmp_path / "run", resume=True)


def test_a_nan_loss_stops_and_names_the_files(train, coloured, tmp_path):
    recipe = recipe_for(tmp_path, lr=1e30, warmup=0.0, optimizer="sgd")
    with pytest.raises(NonFiniteLossError, match=r"lower --lr .* images of that batch: .*png") as caught:
        train(coloured, tmp_path / "run", recipe=recipe)
    assert all((coloured / name).is_file() for name in caught.value.files)
    assert 2 <= len(caught.value.files) <= 8


def test_unreadable_images_are_named_and_training_goes_on(train, coloured, tmp_path, capsys):
    for name in ("red/bad.jpg", "green/cut.png"):
        (coloured / name).write_bytes(b"this is no image")
    train(coloured, tmp_path / "run", recipe=recipe_for(tmp_path, epochs=1, val_fraction=0.3))
    shown = capsys.readouterr().err
    assert shown.count("bad.jpg") == 1
    assert "is not an image" in shown
    with (tmp_path / "run" / "unreadable.csv").open() as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["green/cut.png", "red/bad.jpg"]


def test_on_bad_image_stop_stops(train, coloured, tmp_path):
    for number in range(8):
        (coloured / "red" / f"bad{number}.jpg").write_bytes(b"this is no image")
    with pytest.raises(UnreadableImageError, match=r"bad\d.jpg is not an image .*--on-bad-image skip"):
        train(coloured, tmp_path / "run", recipe=recipe_for(tmp_path), on_bad_image="stop")


def fill(disk):
    """Somebody else needs all of what is left."""
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_is_said_and_the_last_checkpoint_is_intact(train, coloured, tmp_path, small_disk, monkeypatch):
    out, recipe = small_disk / "run", recipe_for(tmp_path, epochs=3)
    saved, contents = run.Trainer.save, []

    def save_then_fill(trainer, checkpoints):
        saved(trainer, checkpoints)
        contents.append(checkpoints.newest_first()[0].read_bytes())
        fill(small_disk)

    with monkeypatch.context() as patched:
        patched.setattr(run.Trainer, "save", save_then_fill)
        with pytest.raises(DiskFullError, match=r"no space left to write .* intact: free some space, then .* --resume"):
            train(coloured, out, recipe=recipe)
    assert [newest(out).read_bytes()] == contents
    assert not list(out.glob("**/*.new"))
    (small_disk / "filler").unlink()
    assert train(coloured, out, resume=True).card.metrics["epoch"] >= 1


def test_an_output_that_cannot_be_made_is_said_before_any_work(train, coloured):
    with pytest.raises(RunError, match="cannot be written"):
        train(coloured, "/proc/run")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"image_size": 2}, InputSizeError, "--image-size 2: tiny got 2×2 pixels; it takes 3×3 or more"),
        ({"network": "googlenet_nb"}, ValueError, "did you mean 'googlenet_bn'"),
        ({"device": "tpu"}, DeviceError, "allowed are auto, cpu, cuda, mps"),
        ({"minutes": 0.0}, ValueError, "minutes = 0.0: should be greater than 0"),
        ({"minutes": 1, "epochs": 1}, ValueError, "--epochs and --minutes exclude each other"),
        ({"epochs": 0}, ValueError, "epochs = 0: should be greater than or equal to 1"),
        ({"init": "magic"}, ValueError, "init = 'magic': should be 'truncated_normal', 'kaiming' or 'xavier'"),
    ],
)
def test_a_wrong_setting_is_said_before_any_work(train, coloured, tmp_path, options, error, says):
    recipe = recipe_for(tmp_path, **{k: options.pop(k) for k in ("init",) if k in options})
    with pytest.raises(error, match=re.escape(says)):
        train(coloured, tmp_path / "run", recipe=recipe, **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there(train, coloured, tmp_path):
    with pytest.raises(DeviceError, match="this machine has no cuda: it has cpu"):
        train(coloured, tmp_path / "run", device="cuda")


def test_wrong_data_leaves_no_run_behind(train, tmp_path):
    with pytest.raises(DataError):
        train(tmp_path / "nowhere", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("network", ["googlenet", "googlenet_plain", "googlenet_torchvision"])
def test_other_dialects_train_too(coloured, tmp_path, network):
    recipe = recipe_for(tmp_path, epochs=1, image_size=32)
    bundle = googlenet.train(coloured, tmp_path / "run", recipe=recipe, network=network)
    assert bundle.card.name == network
    assert googlenet.load(bundle.path).predict(coloured / "red" / "001.png").label in bundle.card.class_names


@pytest.mark.parametrize("resize", ["pad", "squash"])
def test_how_images_become_square_is_in_the_run_and_its_bundle(train, coloured, tmp_path, resize):
    bundle = train(coloured, tmp_path / "run", recipe=recipe_for(tmp_path, epochs=1), resize=resize)
    assert bundle.card.preprocessing.resize == bundle.card.recipe["resize"] == resize
    other = {"pad": "squash", "squash": "pad"}[resize]
    with pytest.raises(RunError, match=f"--resize {other} \\(it has {resize}\\)"):
        train(coloured, tmp_path / "run", resize=other, resume=True)


def test_there_are_three_ways_to_become_square(coloured, tmp_path, call, train):
    code, _, err = call("train", coloured, "--out", tmp_path / "run", "--resize", "stretch")
    assert (code, err.count("\n")) == (2, 1)
    assert "'crop', 'pad', 'squash'" in err
    with pytest.raises(RecipeError, match="resize = 'stretch': should be 'crop', 'pad' or 'squash'"):
        train(coloured, tmp_path / "run", recipe=recipe_for(tmp_path, resize="stretch"))


@pytest.mark.parametrize("resize", ["pad", "squash"])
def test_training_sees_all_of_an_image_unless_it_crops(resize):
    preprocessing = Preprocessing(32, resize=resize)
    pixels = np.full((48, 144, 3), (200, 50, 40), np.uint8)
    pixels[:, :48] = (40, 60, 200)
    images = ImageSet(("a",), (LabelledImage("a", (0,), None, pixels),))
    everything = Augmentation(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), hflip_prob=0, erasing_prob=0)
    _, _, seen = ImageDataset(images, preprocessing, 0, everything)[SampleKey(0, 0, preprocessing.size)]
    assert np.abs(seen.permute(1, 2, 0).numpy().astype(int) - resize_and_crop(pixels, preprocessing)).mean() < 6


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"overwrite": "no"}, RecipeError, "overwrite should be True or False, got 'no'"),
        ({"resume": 1}, RecipeError, "resume should be True or False, got 1"),
        ({"workers": "2"}, RecipeError, "workers = '2': should be a whole number"),
        ({"workers": 100_000}, RecipeError, "workers = 100000: should be 0 to"),
        ({"checkpoint_minutes": "x"}, RecipeError, "checkpoint_minutes = 'x': should be a number"),
        ({"out": None}, RunError, "out should be the path of the run directory, got None"),
        (
            {"data": None, "overwrite": True},
            DataError,
            "DATA is a path, the name of a set, a DataSource or LabelledData, got NoneType",
        ),
        (
            {"data": "", "overwrite": True},
            DataError,
            "DATA is a path, the name of a set, a DataSource or LabelledData, got ''",
        ),
    ],
)
def test_what_is_of_another_type_is_refused_and_nothing_is_replaced(trained_run, coloured, given, error, says):
    before = (trained_run / "run.json").read_bytes()
    with pytest.raises(error, match=re.escape(says)):
        googlenet.train(**{"data": coloured, "out": trained_run, "network": "lenet5", **given})
    assert (trained_run / "run.json").read_bytes() == before
