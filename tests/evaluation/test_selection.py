"""Which images a run is measured on: held out of its own data, of any other all that it did not learn from."""

import dataclasses
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet import bundle as bundles
from googlenet.data import roles
from googlenet.data.opening import find_data
from googlenet.data.splits import RECORD, draw_by_name
from googlenet.errors import DataError
from googlenet.evaluation.selection import select_images


@pytest.fixture
def photos(trained_run, tmp_path) -> Path:
    """What the shared run was trained on, to be changed: 40 of each colour, 24 held out."""
    return shutil.copytree(trained_run.parent / "photos", tmp_path / "photos")


def foreign(root: Path, seed: int = 1, **counts: int) -> Path:
    """Images of colours that no run has seen, under the names that those of the run have."""
    noise = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for n in range(count):
            Image.fromarray(noise.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(root / name / f"{n:03d}.png")
    return root


def measured(run, data, **options):
    result = googlenet.evaluate(run, data, **options)
    return result.split, result.images, result.left_out


def test_the_data_of_the_run_is_measured_on_what_was_held_out(trained_run, photos):
    result = googlenet.evaluate(trained_run, photos)  # another place, the same images
    assert (result.split, result.images, result.left_out) == ("val", 24, 0)
    assert result.metrics.top1 == bundles.read(trained_run).card.metrics["top1"]
    (note,) = result.notes
    assert note == (
        f"measured on the 24 images of {photos} that {trained_run} held out of its training; its best epoch was chosen "
        "by them, so the figures are slightly too good"
    )
    assert measured(trained_run, trained_run.parent / "photos") == ("val", 24, 0)


def test_without_data_the_run_is_measured_on_what_it_was_trained_on(trained_run, tmp_path):
    assert measured(trained_run, None) == measured(trained_run, trained_run.parent / "photos") == ("val", 24, 0)
    moved = bundles.read(trained_run)
    card = dataclasses.replace(moved.card, data={**moved.card.data, "name": str(tmp_path / "gone")})
    moved = bundles.write(tmp_path / "moved", card, {name: moved.read(name) for name in moved.card.files})
    hint = r"name the labelled images where they are now\)$"
    with pytest.raises(DataError, match=rf"gone.* \({moved.path} was trained on it: {hint}"):
        googlenet.evaluate(moved.path)
    unnamed = dataclasses.replace(card, data={})
    unnamed = bundles.write(tmp_path / "unnamed", unnamed, {name: moved.read(name) for name in card.files})
    with pytest.raises(DataError, match=r"unnamed does not record what it was trained on: name the labelled images$"):
        googlenet.evaluate(unnamed.path)


def test_images_under_other_names_and_in_another_layout_are_known_again(trained_run, photos, tmp_path):
    for number, path in enumerate(sorted(photos.glob("*/*.png"))):
        path.rename(path.with_name(f"renamed-{number:03d}.png"))
    assert measured(trained_run, photos) == ("val", 24, 0)
    lines = ["path,label", *(f"{path},{path.parent.name}" for path in photos.glob("*/*.png"))]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    assert measured(trained_run, tmp_path / "list.csv") == ("val", 24, 0)


@pytest.mark.parametrize(
    "counts", [{"red": 50, "blue": 50}, {"red": 2, "green": 2}, {"red": 1}, {"red": 20}, {"red": 3, "blue": 0}]
)
def test_foreign_data_is_measured_whole(trained_run, tmp_path, counts):
    data = foreign(tmp_path / "new", **counts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = googlenet.evaluate(trained_run, data)
    total = sum(counts.values())
    assert (result.split, result.images, result.left_out) == ("all", total, 0)
    assert result.notes[0] == (f"measured on all {total} images of {data}: {trained_run} was trained on none of them")
    absent = [name for name in ("blue", "green", "red") if not counts.get(name)]
    assert result.notes[1] == f"no image of {', '.join(absent)} was measured: their accuracy is not known"
    assert all(np.isfinite([c.precision, c.recall, c.f1]).all() for c in result.metrics.classes)


def test_of_a_class_without_images_nothing_is_stated(trained_run, tmp_path, call):
    data = foreign(tmp_path / "new", red=3)
    code, out, _ = call("evaluate", trained_run, data, "--plot", tmp_path / "confusion.png")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[:6] if line.strip()}
    assert (code, rows["blue"]) == (0, ["0", "–", "–", "–", "–"])
    assert rows["red"][0] == "3"
    assert rows["red"][2].endswith("%")


@pytest.mark.parametrize("splits", [["test"], ["val"], ["train", "val", "test"]])
def test_foreign_data_with_splits_is_measured_whole_or_by_the_split_asked_for(trained_run, tmp_path, splits):
    for number, split in enumerate(splits):
        foreign(tmp_path / "new" / split, number, red=4, green=3)
    assert measured(trained_run, tmp_path / "new") == ("all", 7 * len(splits), 0)
    assert measured(trained_run, tmp_path / "new", split=splits[-1]) == (splits[-1], 7, 0)


def test_a_list_of_test_images_alone(trained_run, tmp_path):
    data = foreign(tmp_path / "new", red=6)
    (data / "list.csv").write_text("path,label,split\n" + "".join(f"red/{n:03d}.png,red,test\n" for n in range(6)))
    assert measured(trained_run, data / "list.csv") == ("all", 6, 0)
    assert measured(trained_run, data / "list.csv", split="test") == ("test", 6, 0)


def test_of_grown_data_what_was_learnt_from_is_left_out_and_said(trained_run, photos, tmp_path):
    new = foreign(tmp_path / "new", red=5)
    for path in (new / "red").iterdir():
        shutil.copy(path, photos / "red" / f"new-{path.name}")
    result = googlenet.evaluate(trained_run, photos)
    assert (result.split, result.images, result.left_out) == ("unseen", 24 + 5, 96)
    assert result.notes[0] == (f"measured on 29 images of {photos}; 96 that {trained_run} was trained on are left out")
    assert measured(trained_run, photos, split="val") == ("val", 24, 0)
    assert measured(trained_run, photos, split="all") == ("all", 125, 0)


def test_what_was_all_learnt_from_is_refused(trained_run, photos, tmp_path):
    record = (trained_run / RECORD).read_text().splitlines()
    held_out = {line.split(",", 2)[2] for line in record if line.startswith("val")}
    for path in photos.glob("*/*.png"):
        if path.relative_to(photos).as_posix() in held_out:
            path.unlink()
    with pytest.raises(DataError, match=r"was trained on all 96 images of .*: give other images, or .* --split all$"):
        googlenet.evaluate(trained_run, photos)
    assert measured(trained_run, photos, split="train") == ("train", 96, 0)


def test_val_of_data_that_the_run_learnt_from_is_said(trained_run, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "mixed" / "val")
    foreign(tmp_path / "mixed" / "train", red=1, blue=1)
    result = googlenet.evaluate(trained_run, tmp_path / "mixed", split="val")
    assert result.images == 120
    assert result.notes == (f"{trained_run} was trained on 96 of the images of val in {tmp_path / 'mixed'}",)


def test_classes_that_the_run_does_not_know_are_one_line(trained_run, tmp_path, call):
    data = foreign(tmp_path / "new", red=2, **{f"odd{n}": 1 for n in range(7)})
    code, out, err = call("evaluate", trained_run, data)
    assert (code, out) == (2, "")
    assert err == (
        f"googlenet: {data} has classes the classifier does not know: odd0, odd1, odd2, odd3, odd4 and 2 more; "
        "it knows blue, green, red\n"
    )


def test_no_images_at_all(trained_run, tmp_path):
    (tmp_path / "new/red").mkdir(parents=True)
    with pytest.raises(DataError, match="has no images: give labelled images to measure on"):
        googlenet.evaluate(trained_run, tmp_path / "new")


def test_the_command_says_which_images_it_measured(trained_run, photos, tmp_path, call):
    code, out, err = call("evaluate", trained_run, photos, "--plot", tmp_path / "c.png", "--json")
    assert code == 0
    assert (json.loads(out)["split"], json.loads(out)["left_out"]) == ("val", 0)
    assert f"measured on the 24 images of {photos} that" in err


# Held-out images with one role each


@pytest.fixture(scope="module")
def divided(tmp_path_factory, tiny) -> Path:
    """A run whose 40 held-out images of two colours have one role each: 20 val, 10 calibrate, 10 test."""
    root = tmp_path_factory.mktemp("divided")
    photos = foreign(root / "photos", red=60, blue=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roles, "MIN_ROLE_IMAGES", 10)
        googlenet.train(photos, root / "run", network=tiny, epochs=1, val_fraction=1 / 3, device="cpu")
    return root / "run"


def split_of(run: Path) -> dict[str, str]:
    return {name: split for split, _, name in (line.split(",", 2) for line in (run / RECORD).read_text().splitlines())}


def test_a_run_reports_on_images_that_decided_nothing(divided):
    photos = divided.parent / "photos"
    result = googlenet.evaluate(divided)
    assert (result.split, result.images, result.left_out) == ("test", 10, 0)
    assert result.notes == (f"measured on the 10 images of {photos} that {divided} kept to report how good it is",)
    parts = {"train": 80, "val": 20, "calibrate": 10, "test": 10}
    for split, count in parts.items():
        assert measured(divided, photos, split=split) == (split, count, 0)
    data = bundles.read(divided).card.data
    assert {name: data[name] for name in parts} == parts


def test_what_decides_something_is_not_what_is_reported(divided):
    bundle = bundles.read(divided)
    assert select_images(bundle, to_choose=True).split == "val"
    val = {item.name for item in select_images(bundle, to_choose=True).images.items}
    assert val == {name for name, split in split_of(divided).items() if split == "val"}


def test_roles_stay_where_images_are_renamed_removed_and_added(divided, tmp_path):
    photos, split = shutil.copytree(divided.parent / "photos", tmp_path / "photos"), split_of(divided)
    first = {role: next(name for name in split if split[name] == role) for role in ("train", "calibrate", "test")}
    for name in first.values():
        (photos / name).unlink()
    for number, path in enumerate(sorted(photos.glob("*/*.png"))):
        path.rename(path.with_name(f"renamed-{number:03d}.png"))
    assert measured(divided, photos) == ("test", 9, 0)
    for path in (foreign(tmp_path / "new", seed=9, red=5) / "red").iterdir():
        shutil.copy(path, photos / "red")
    result = googlenet.evaluate(divided, photos)
    assert (result.split, result.images, result.left_out) == ("unseen", 9 + 5, 79 + 20 + 9)
    assert result.notes[0] == (
        f"measured on 14 images of {photos}; 79 that {divided} was trained on and 29 that it was chosen or calibrated "
        "by are left out"
    )


def test_images_that_decided_something_are_measured_where_there_are_no_others(divided, tmp_path):
    photos = shutil.copytree(divided.parent / "photos", tmp_path / "photos")
    for name, split in split_of(divided).items():
        if split in ("train", "test"):
            (photos / name).unlink()
    assert measured(divided, photos) == ("all", 30, 0)


def test_a_bundle_alone_draws_the_roles_again(divided, tmp_path, monkeypatch):
    monkeypatch.setattr(roles, "MIN_ROLE_IMAGES", 10)
    alone = shutil.copytree(divided / "bundle", tmp_path / "shipped")
    photos = divided.parent / "photos"
    for split, count in {None: 10, "val": 20, "calibrate": 10, "train": 80}.items():
        assert measured(alone, photos, split=split) == (split or "test", count, 0)


def test_a_divided_run_goes_on(divided, tmp_path, tiny):
    run = shutil.copytree(divided, tmp_path / "run")
    bundle = googlenet.train(divided.parent / "photos", run, network=tiny, epochs=2, resume=True)
    assert bundle.card.data["record"] == bundles.read(divided).card.data["record"]
    assert measured(run, divided.parent / "photos") == ("test", 10, 0)


# Without the record


def test_a_bundle_alone_knows_its_own_data_and_says_what_it_does_not_know(trained_run, photos, tmp_path):
    alone = shutil.copytree(trained_run / "bundle", tmp_path / "shipped")
    assert measured(alone, photos) == ("val", 24, 0)
    assert measured(alone, photos, split="train") == ("train", 96, 0)
    result = googlenet.evaluate(alone, data := foreign(tmp_path / "new", red=10))
    assert (result.split, result.images) == ("all", 10)
    assert result.notes[0] == (f"measured on all 10 images of {data}: what {alone} was trained on is not recorded")


def test_a_record_that_was_altered_is_refused(trained_run, photos, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")
    with (run / RECORD).open("a") as file:
        file.write("val,0,red/new.png\n")
    with pytest.raises(DataError, match=r"split.csv is not the record that was written with this run"):
        googlenet.evaluate(run, photos)
    assert measured(run, photos, split="all") == ("all", 120, 0)


def test_runs_of_version_0_1_0_are_measured_as_ever(trained_run, photos, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")
    (run / RECORD).unlink()
    bundle = bundles.read(run)
    data = {"name": "photos", "split": "by file name", "train": 90, "val": 30, "fingerprint": "0" * 64}
    files = {name: bundle.read(name) for name in bundle.card.files}
    bundles.write(bundle.path, dataclasses.replace(bundle.card, data=data), files)
    items = find_data(photos).split("all").items
    by_name = draw_by_name(items, 0, 0.2).count("val")
    result = googlenet.evaluate(run, photos)
    assert (result.split, result.images) == ("val", by_name)
    assert "held out by their names, as 0.1.0 did" in result.notes[0]
    assert measured(run, photos, split="train") == ("train", 120 - by_name, 0)


def test_images_that_cannot_be_read_are_named_and_none_at_all_is_an_error(trained_run, tmp_path):
    broken = foreign(tmp_path / "broken", red=1, blue=1)
    (broken / "red" / "000.png").write_bytes(b"no image")
    result = googlenet.evaluate(trained_run, broken)
    assert (result.images, list(result.unreadable)) == (2, ["red/000.png"])
    (broken / "blue" / "000.png").write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"broken: none of the 2 images of all could be read: .*blue/000\.png is not an"
    ):
        googlenet.evaluate(trained_run, broken)


def test_a_folder_without_images_and_a_split_that_is_not_there(trained_run, photos, tmp_path):
    (tmp_path / "empty" / "red").mkdir(parents=True)
    with pytest.raises(DataError, match="empty"):
        googlenet.evaluate(trained_run, tmp_path / "empty")
    with pytest.raises(DataError, match=r"photos has no split 'test'; it has train, val and all$"):
        googlenet.evaluate(trained_run, photos, split="test")
