"""What a run records of its images, and going on with it: the images elsewhere, more of them, for longer."""

import csv
import hashlib
import json
import shutil
import signal
from dataclasses import replace
from functools import partial

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import googlenet
from googlenet.data.opening import find_data, open_data, redraw
from googlenet.data.splits import RECORD
from googlenet.errors import CheckpointError, DataError, RunError, StoppedError
from googlenet.training import checkpoint
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.display import Display

RECIPE = "precision = 'fp32'\nepochs = 2\nbatch_size = 8\naveraging = 0.9\n"


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def train(tiny, recipe):
    return partial(googlenet.train, network=tiny, recipe=recipe, workers=0)


@pytest.fixture(scope="module")
def finished(tiny, trained_run, tmp_path_factory):
    """A run of two epochs that is only copied; its images lie beside it."""
    root = tmp_path_factory.mktemp("finished")
    (root / "recipe.toml").write_text(RECIPE)
    for path in sorted((trained_run.parent / "photos").glob("*/00*.png")):
        (root / "photos" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / "photos" / path.parent.name)
    googlenet.train(root / "photos", root / "run", network=tiny, recipe=root / "recipe.toml", workers=0)
    return root


@pytest.fixture
def own(finished, tmp_path):
    """A finished run of one's own, and its images elsewhere."""
    return shutil.copytree(finished / "run", tmp_path / "run"), shutil.copytree(finished / "photos", tmp_path / "moved")


def state_of(run):
    return checkpoint.load(Checkpoints(run / "checkpoints").newest_first()[0])


def assert_same_weights(one, other):
    a, b = (load_file(run / "bundle" / "weights.safetensors") for run in (one, other))
    assert all(torch.equal(a[name], b[name]) for name in a)


def cut(run):
    """Put a run back to the end of its first epoch, as if it had been stopped there."""
    shutil.rmtree(run / "bundle")
    first, last = sorted(Checkpoints(run / "checkpoints").newest_first())
    last.unlink()
    return first


# What is recorded


def test_a_run_records_every_image_with_its_split_and_content(train, coloured, tmp_path):
    bundle = train(coloured, tmp_path / "run", val_fraction=0.25, test_fraction=0.1, epochs=1)
    content = (tmp_path / "run" / RECORD).read_bytes()
    rows = list(csv.DictReader(content.decode().splitlines()))
    assert {row["name"] for row in rows} == {p.relative_to(coloured).as_posix() for p in coloured.glob("*/*")}
    for row in rows:
        assert row["sha256"] == hashlib.sha256((coloured / row["name"]).read_bytes()).hexdigest()
    of_red = [row["split"] for row in rows if row["name"].startswith("red")]
    assert {split: of_red.count(split) for split in ("train", "val", "test")} == {"train": 8, "val": 3, "test": 1}
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert recorded == bundle.card.data
    assert recorded["record"] == hashlib.sha256(content).hexdigest()
    assert (recorded["train"], recorded["val"], recorded["test"]) == (24, 9, 3)
    assert recorded["split"] == "drawn within each class"
    assert googlenet.evaluate(tmp_path / "run", coloured, split="test").images == 3
    assert googlenet.evaluate(tmp_path / "run", coloured).images == 3  # those set apart, where there are any
    assert googlenet.evaluate(tmp_path / "run", coloured, split="val").images == 9


def test_test_images_are_never_looked_at_in_training(train, coloured, tmp_path):
    for item in open_data(coloured, test_fraction=0.2).split("test").items:
        item.path.write_bytes(b"no image at all")
    train(coloured, tmp_path / "run", test_fraction=0.2, epochs=1, on_bad_image="stop")
    assert not (tmp_path / "run" / "unreadable.csv").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--val-fraction", "0"], "val_fraction = 0.0: should be greater than 0"),
        (["--val-fraction", "1.5"], "val_fraction = 1.5: should be less than 1"),
        (["--test-fraction", "-0.1"], "test_fraction = -0.1: should be greater than or equal to 0"),
        (["--val-fraction", "0.6", "--test-fraction", "0.4"], "leave no image to train on: their sum should be"),
    ],
)
def test_fractions_that_cannot_be_are_one_line(coloured, tmp_path, call, options, says):
    code, out, err = call("train", coloured, "--out", tmp_path / "run", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err


def test_fractions_that_data_decides_itself_are_refused(train, coloured, tmp_path):
    shutil.copytree(coloured, tmp_path / "split" / "train")
    shutil.copytree(coloured, tmp_path / "split" / "val")
    with pytest.raises(DataError, match=r"says itself which images are train and val: --test-fraction 0.1 .*leave it"):
        train(tmp_path / "split", tmp_path / "run", test_fraction=0.1)
    with pytest.raises(DataError, match=r"names its train and val images itself: --val-fraction 0.3 .*leave it"):
        train(tmp_path / "split", tmp_path / "run", val_fraction=0.3)


# Going on with the images elsewhere


def test_a_run_goes_on_with_its_images_wherever_they_are(train, own, finished):
    run, moved = own
    cut(run)
    train(moved, run, resume=True)
    assert_same_weights(run, finished / "run")


def test_images_of_a_list_on_another_drive_are_the_same(train, coloured, tmp_path):
    def listed(name, folder):
        lines = [f"{folder / p.relative_to(coloured)},{p.parent.name}" for p in coloured.glob("*/*")]
        (tmp_path / name).write_text("\n".join(["path,label", *lines]))
        return tmp_path / name

    train(listed("here.csv", coloured), tmp_path / "whole")
    run = shutil.copytree(tmp_path / "whole", tmp_path / "run")
    cut(run)
    (tmp_path / "drive").mkdir()
    for path in coloured.glob("*/*"):  # names that sort otherwise, too
        (tmp_path / "drive" / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "drive" / path.parent.name / path.name)
    train(listed("there.csv", tmp_path / "drive"), run, resume=True)
    assert_same_weights(run, tmp_path / "whole")


def test_renamed_images_keep_their_split_and_order(train, own, finished):
    run, moved = own
    cut(run)
    for number, path in enumerate(sorted(moved.glob("*/*"), reverse=True)):
        path.rename(path.with_name(f"{number:04d}-renamed.png"))
    train(moved, run, resume=True)
    assert_same_weights(run, finished / "run")


def test_the_split_of_a_run_is_the_recorded_one_whatever_would_be_drawn_now(train, own, finished, monkeypatch):
    run, moved = own
    cut(run)
    monkeypatch.setattr("googlenet.data.opening.draw", lambda items, *_: ["train"] * len(items))
    train(moved, run, resume=True)
    assert_same_weights(run, finished / "run")


def test_more_images_are_named_with_the_way_to_learn_from_them(train, own, call):
    run, moved = own
    for number in range(7):
        Image.new("RGB", (40, 40), "red").save(moved / "red" / f"new{number}.png")
    with pytest.raises(CheckpointError) as refused:
        train(moved, run, resume=True)
    assert str(refused.value) == (
        f"{run} was started on other images than those in {moved}: 7 new (red/new0.png, red/new1.png, "
        "red/new2.png, red/new3.png, red/new4.png and 2 more); put back what was there, or start a new run on these "
        f"images from the weights of {run}: --weights {run} --out NEW"
    )


def test_images_that_are_gone_or_changed_are_named(train, own):
    run, moved = own
    size = (moved / "red/003.png").stat().st_size
    content = (moved / "red/003.png").read_bytes()
    (moved / "red/003.png").write_bytes(content[:-8] + bytes(8))  # of the same size
    assert (moved / "red/003.png").stat().st_size == size
    with pytest.raises(CheckpointError, match=r"other images than .* 1 changed \(red/003.png\); put back"):
        train(moved, run, resume=True)
    (moved / "red/003.png").unlink()
    with pytest.raises(CheckpointError, match=r"other images than .* 1 gone \(red/003.png\); put back"):
        train(moved, run, resume=True)


def test_an_image_in_another_class_is_another_image(train, own):
    run, moved = own
    (moved / "red/003.png").rename(moved / "blue/103.png")
    with pytest.raises(CheckpointError, match="was started on other images"):
        train(moved, run, resume=True)


def test_a_run_of_version_0_1_0_goes_on_with_its_split_by_name(train, own, finished):
    run, moved = own
    (run / RECORD).unlink()
    settings = json.loads((run / "run.json").read_text())
    by_name = redraw(find_data(moved), 0, 0.2, None)
    del settings["data"]["record"], settings["recipe"]["test_fraction"]
    settings["data"] |= {"split": "by file name", "fingerprint": by_name.split("all").fingerprint()}
    (run / "run.json").write_text(json.dumps(settings))
    assert train(moved, run, resume=True).card.data["split"] == "by file name"
    (moved / "red/003.png").unlink()
    with pytest.raises(CheckpointError, match="was started on other images"):
        train(moved, run, resume=True)


# Going on for longer


def test_a_finished_run_goes_on_for_longer(train, own, capsys):
    run, moved = own
    bundle = train(moved, run, resume=True, epochs=5)
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert bundle.card.recipe["epochs"] == json.loads((run / "run.json").read_text())["recipe"]["epochs"] == 5
    said = capsys.readouterr().err
    assert "training for longer, from a learning rate of 0.0015: that of a run of this length" in said
    before = (run / "bundle" / "card.json").read_bytes()
    train(moved, run, resume=True)  # it knows its new length
    assert (run / "bundle" / "card.json").read_bytes() == before
    straight = train(moved, run.parent / "straight", epochs=5)
    lr = [row["lr"] for row in csv.DictReader((straight.path.parent / "log.csv").open())]
    assert [row["lr"] for row in rows][2:] == lr[2:]  # the schedule is that of 5 epochs from there on


def test_a_stopped_run_goes_on_for_longer_and_can_be_stopped_again(train, own, monkeypatch):
    run, moved = own
    cut(run)
    step = Display.step

    def terminated(display, *arguments):
        step(display, *arguments)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Display, "step", terminated)
        with pytest.raises(StoppedError, match="stopped in epoch 2 of 4"):
            train(moved, run, resume=True, epochs=4)
    train(moved, run, resume=True)
    assert state_of(run)[1]["progress"]["epoch"] == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epochs": 1}, r"--epochs 1 \(it has 2\)"),
        ({"minutes": 3}, r"--minutes 3 \(it has --epochs 2\)"),
        ({"epochs": 5, "lr": 0.5}, r"other settings: --lr 0.5 \(it has 0.002\); leave"),
        ({"val_fraction": 0.3}, r"--val-fraction 0.3 \(it has 0.2\)"),
        ({"test_fraction": 0.1}, r"--test-fraction 0.1 \(it has 0.0\)"),
    ],
)
def test_other_settings_are_still_refused(train, own, options, says):
    run, moved = own
    with pytest.raises(RunError, match=says):
        train(moved, run, resume=True, **options)


def test_minutes_may_become_more_too(train, coloured, tmp_path):
    train(coloured, tmp_path / "run", minutes=0.03)
    for options, says in (
        ({"epochs": 50}, r"--epochs 50 \(it has --minutes 0.03\)"),
        ({"minutes": float("inf")}, "inf"),
    ):
        with pytest.raises(RunError, match=says):
            train(coloured, tmp_path / "run", resume=True, **options)
    train(coloured, tmp_path / "run", resume=True, minutes=0.1)
    state = state_of(tmp_path / "run")[1]
    assert state["recipe"]["minutes"] == 0.1
    assert state["progress"]["elapsed"] > 0.03 * 60


def test_names_that_no_card_may_hold_are_refused_before_the_first_epoch(coloured, tmp_path, call):
    lines = [json.dumps({"path": str(path), "label": 700 * path.parent.name}) for path in coloured.rglob("*.png")]
    (tmp_path / "l.jsonl").write_text("\n".join(lines))
    code, _, err = call("train", tmp_path / "l.jsonl", "--out", tmp_path / "run", "--network", "lenet5")
    assert (code, "a class has a name of 2,800 characters, 1,024 are allowed" in err) == (2, True)
    assert not (tmp_path / "run").exists()


def test_a_bundle_that_could_not_be_read_is_known_before_the_first_epoch(coloured, tmp_path, tiny):
    """A card that is too large to be read: known by writing and reading one, whatever the limit is that it breaks."""
    network = replace(tiny, paper=9_000_000 * "x")
    with pytest.raises(RunError, match=r"is damaged|could not be shipped"):
        googlenet.train(coloured, tmp_path / "run", network=network, epochs=1, batch_size=8)
    assert not (tmp_path / "run" / "bundle").exists()
    assert not (tmp_path / "run" / "log.csv").exists()


@pytest.mark.parametrize(
    ("lost", "says"),
    [("checkpoints", "has no checkpoints to continue from: start again with --overwrite"),
     ("split.csv", "put back the file that was there, or train again")],
)  # fmt: skip
def test_a_run_that_lost_what_resuming_needs_says_what_to_do(trained_run, tmp_path, call, lost, says):
    run = shutil.copytree(trained_run, tmp_path / "run")
    shutil.rmtree(run / lost) if (run / lost).is_dir() else (run / lost).unlink()
    code, _, err = call("train", trained_run.parent / "photos", "--out", run, "--resume")
    assert code in (1, 2)
    assert says in err


def test_a_run_whose_checkpoints_are_all_damaged_says_what_to_do(trained_run, tmp_path, call):
    run = shutil.copytree(trained_run, tmp_path / "run")
    for path in (run / "checkpoints").glob("step-*"):
        path.write_bytes(path.read_bytes()[:100])
    code, _, err = call("train", trained_run.parent / "photos", "--out", run, "--resume")
    assert code == 1
    assert "no other checkpoint is left: start again with --overwrite" in err
