"""Which images are wrong: named, written as a list that trains again, drawn; and two runs on the same images."""

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image
from scipy import stats

import googlenet
from googlenet import bundle as bundles
from googlenet.data.image_set import LabelledImage
from googlenet.data.splits import RECORD
from googlenet.errors import DataError, ResultsError
from googlenet.evaluation.answers import Answers
from googlenet.evaluation.sheet import draw_mistakes
from googlenet.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def confused(trained_run, tmp_path_factory):
    """New images, of which three of each colour lie in the folder of another: wrong answers of a run that is good."""
    root = tmp_path_factory.mktemp("confused") / "photos"
    noise = np.random.default_rng(7)
    colours = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
    names = list(colours)
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(13):
            colour = colours[names[(place + (number < 3)) % 3]]
            pixels = np.clip(np.array(colour) + noise.normal(0, 25, (40, 48, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"=new {number:02d}.png")
    return root


@pytest.fixture(scope="module")
def evaluation(trained_run, confused):
    return googlenet.evaluate(trained_run, confused)


def test_the_wrong_images_are_named_the_highest_loss_first(evaluation, confused):
    wrong = evaluation.mistakes
    assert {each.image.name for each in wrong} == {
        f"{name}/=new {number:02d}.png" for name in ("blue", "green", "red") for number in range(3)
    }
    losses = [each.loss for each in wrong]
    assert losses == sorted(losses, reverse=True)
    first, answers = wrong[0], evaluation.answers
    row = answers.probabilities[answers.images.index(first.image)]
    names = answers.class_names
    assert first.probability == row.max() == row[names.index(*first.predicted)]
    assert first.loss == pytest.approx(-np.log(row[names.index(*first.true)]))
    assert first.path == str(confused / first.image.name)


def test_every_figure_has_an_interval(evaluation):
    found = evaluation.to_dict()
    expected = stats.binomtest(30, 39).proportion_ci(method="wilson")
    assert found["intervals"]["top1"] == {
        "value": 30 / 39, "low": pytest.approx(expected.low), "high": pytest.approx(expected.high), "n": 39
    }  # fmt: skip
    shown = {"top1", "balanced_accuracy", "macro_f1", "log_loss", "brier"}  # of three classes top-5 says nothing
    assert set(found["intervals"]) == shown
    assert "top-5" not in str(evaluation)
    assert found["recall_intervals"]["red"]["n"] == 13
    assert json.loads(json.dumps(found)) == found


def test_the_card_has_the_interval_of_the_held_out_images(trained_run):
    card, held_out = bundles.read(trained_run).card, googlenet.evaluate(trained_run).intervals["top1"]
    assert card.intervals["top1"] == {"low": held_out.low, "high": held_out.high, "n": 24}


def test_the_command_writes_a_list_that_trains_once_its_labels_are_corrected(
    trained_run, confused, tmp_path, call, tiny
):
    files = {name: tmp_path / name for name in ("mistakes.csv", "sheet.png", "answers.parquet", "plot.png")}
    code, out, err = call(
        "evaluate", trained_run, confused, "--mistakes", files["mistakes.csv"], "--sheet", files["sheet.png"],
        "--answers", files["answers.parquet"], "--plot", files["plot.png"],
    )  # fmt: skip
    assert code == 0, err
    assert "9 wrong of 39 images, the highest loss first" in out
    assert "top-1 76.92% [61.66%, 87.35%]" in out
    with files["mistakes.csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "predicted", "probability", "loss"]
    assert len(rows) == 9
    with Image.open(files["sheet.png"]) as sheet:
        assert min(sheet.size) > 300
    table = pyarrow.parquet.read_table(files["answers.parquet"]).to_pylist()
    assert len(table) == 39
    assert sum(row["label"] != row["predicted"] for row in table) == 9
    assert all(row["p_blue"] + row["p_green"] + row["p_red"] == pytest.approx(1) for row in table)
    with files["mistakes.csv"].open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"label": row["predicted"]} for row in rows)  # the colours that they have
    bundle = googlenet.train(files["mistakes.csv"], tmp_path / "run", network=tiny, epochs=1, batch_size=4)
    assert bundle.card.class_names == ("blue", "green", "red")
    again = googlenet.evaluate(trained_run, files["mistakes.csv"])
    assert (again.metrics.top1, again.mistakes) == (1, ())


@pytest.mark.parametrize(
    ("option", "name", "says"),
    [
        ("--mistakes", "wrong.txt", "--mistakes .*wrong.txt should end in .csv"),
        ("--answers", "all.xlsx", "--answers .*all.xlsx should end in .csv or .parquet"),
        ("--answers", "photos.csv", "--answers .*photos.csv is a folder: name a file"),
        ("--sheet", "sheet.txt", "--sheet .*sheet.txt should end in .png"),
    ],
)
def test_files_that_cannot_be_written_are_refused_first(trained_run, confused, tmp_path, call, option, name, says):
    (tmp_path / "photos.csv").mkdir()
    code, out, err = call("evaluate", trained_run, confused, option, tmp_path / name)
    assert (code, out) == (2, "")
    assert re.search(says, " ".join(err.split()))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_sheet_of_grey_and_of_many_channels_and_names_of_any_script(tmp_path, channels):
    names = ("猫", "سلام", "🦉 owl", "$x$ <b>", "a\nb", "x" * 300)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, channels), dtype=np.uint8)
    images = tuple(LabelledImage(f"{name[:9]}/1.png", (n,), pixels=pixels) for n, name in enumerate(names))
    answers = Answers(images, np.roll(np.eye(6), 1, axis=1), names)
    preprocessing = Preprocessing(32, mean=(0.5,) * channels, std=(0.2,) * channels)
    draw_mistakes(answers.mistakes, tmp_path / "sheet.png", preprocessing, 6)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert min(sheet.size) > 150
    assert [each.predicted for each in answers.mistakes[:2]] == [("سلام",), ("🦉 owl",)]
    with pytest.raises(DataError, match="no image was answered wrong"):
        draw_mistakes((), tmp_path / "none.png", preprocessing, 6)


def test_wrong_labels_where_an_image_has_several():
    images = tuple(LabelledImage(str(n), labels, pixels=None) for n, labels in enumerate([(0, 1), (), (1,)]))
    answers = Answers(images, np.array([[0.9, 0.2], [0.7, 0.1], [0.1, 0.8]]), ("a", "b"), (0.5, 0.5))
    assert answers.right.tolist() == [False, False, True]
    first, second = answers.mistakes
    assert (first.true, first.predicted, first.probability) == (("a", "b"), ("a",), pytest.approx(0.2))
    assert (second.true, second.predicted, second.probability) == ((), ("a",), pytest.approx(0.7))
    assert first.loss == pytest.approx(-(np.log(0.9) + np.log(0.2)) / 2)
    assert first.to_dict()["label"] == "a|b"


# Two runs.


@pytest.fixture(scope="module")
def other(trained_run, tmp_path_factory, tiny):
    """A run on the same images with another seed: it was trained on most of what the first one held out."""
    out = tmp_path_factory.mktemp("other") / "run"
    googlenet.train(trained_run.parent / "photos", out, network=tiny, epochs=1, batch_size=16, seed=5)
    return out


def test_two_runs_are_compared_on_images_that_neither_was_trained_on(trained_run, other, confused, tmp_path, call):
    found = googlenet.evaluate(trained_run, confused, against=other).against
    right = [googlenet.evaluate(run, confused).answers.right for run in (trained_run, other)]
    comparison = found.comparison
    assert comparison.only_first == (right[0] & ~right[1]).sum()
    assert comparison.both_wrong == (~right[0] & ~right[1]).sum()
    assert comparison.difference.value == pytest.approx(right[0].mean() - right[1].mean())
    code, out, err = call("evaluate", trained_run, confused, "--against", other, "--mistakes", tmp_path / "m.csv",
                          "--plot", tmp_path / "plot.png")  # fmt: skip
    assert code == 0, err
    assert "points of accuracy" in out
    with (tmp_path / "m.csv").open(encoding="utf-8", newline="") as file:
        wrong = [row["wrong"] for row in csv.DictReader(file)]
    assert wrong.count("both") == comparison.both_wrong
    assert wrong.count("second") == comparison.only_first
    same = googlenet.evaluate(trained_run, confused, against=trained_run).against.comparison
    assert (same.verdict, same.only_first, same.only_second) == ("no difference", 0, 0)


def test_images_that_the_other_run_was_trained_on_are_left_out_or_refused(trained_run, other):
    photos = trained_run.parent / "photos"
    theirs = {line.split(",", 2)[2] for line in (other / RECORD).read_text().splitlines() if line.startswith("train")}
    mine = {line.split(",", 2)[2] for line in (trained_run / RECORD).read_text().splitlines() if line.startswith("val")}
    evaluation = googlenet.evaluate(trained_run, photos, against=other)
    assert {item.name for item in evaluation.answers.images} == mine - theirs
    assert evaluation.left_out == len(mine & theirs) > 0
    with pytest.raises(DataError, match=rf"was trained on {len(mine & theirs)} of the 24 images of val in .*photos"):
        googlenet.evaluate(trained_run, photos, split="val", against=other)


def test_runs_of_other_classes_are_not_compared(trained_run, confused, tmp_path):
    bundle = bundles.read(trained_run)
    card = bundle.card.__class__(**{**vars(bundle.card), "class_names": ("blue", "green", "pink")})
    other = bundles.write(tmp_path / "other", card, {name: bundle.read(name) for name in bundle.card.files})
    with pytest.raises(DataError, match=r"has other classes \(blue, green, pink\) than .* compare runs of the same"):
        googlenet.evaluate(trained_run, confused, against=other.path)
    card = replace(bundle.card, multi_label=True, thresholds=(0.5,) * 3)
    other = bundles.write(tmp_path / "several", card, {name: bundle.read(name) for name in bundle.card.files})
    with pytest.raises(DataError, match=r"several predicts several labels for an image, .* one class: compare runs of"):
        googlenet.evaluate(trained_run, confused, against=other.path)


def test_a_bundle_without_its_run_is_compared_with_a_warning(trained_run, confused, tmp_path):
    alone = shutil.copytree(trained_run / "bundle", tmp_path / "alone")
    evaluation = googlenet.evaluate(trained_run, confused, against=alone)
    assert evaluation.against.comparison.verdict == "no difference"
    assert any("what" in note and "was trained on is not recorded" in note for note in evaluation.notes)


def test_a_table_needs_a_name_that_says_its_format(tmp_path):
    from googlenet.evaluation.answers import check_table

    with pytest.raises(ResultsError, match="should end in"):
        check_table("--answers", tmp_path / "answers")
