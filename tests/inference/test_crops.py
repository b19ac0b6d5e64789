"""The crops of the paper, box by box; their mean; and more of them only while an image is unsure."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet.errors import GoogLeNetError
from googlenet.images.resize import cut
from googlenet.inference import crops as module
from googlenet.inference.crops import crops

TABLE = Path(__file__).with_name("crops.csv")  # width, height, size of the shorter side, square, box in the image


@pytest.fixture(scope="module")
def pictures(trained_run):
    """Photographs of the run, larger and not square."""
    found = []
    for path in sorted((trained_run.parent / "photos").rglob("*.png"))[::20]:
        with Image.open(path) as image:
            found.append(np.asarray(image.resize((60, 45))))
    return found


@pytest.mark.parametrize(("width", "height"), [(300, 400), (400, 300), (300, 300)])
def test_the_144_crops_are_those_of_the_written_table(width, height):
    with TABLE.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (int(row["width"]), int(row["height"])) == (width, height)]
    expected = [tuple(float(row[side]) for side in ("left", "top", "right", "bottom")) for row in rows]
    found = crops(width, height, 144)
    assert len(found) == 144
    assert [crop.mirrored for crop in found] == [False, True] * 72
    np.testing.assert_allclose([crop.box for crop in found[::2]], expected, atol=1e-4)
    assert [crop.box for crop in found[1::2]] == [crop.box for crop in found[::2]]


def test_the_10_crops_are_the_corners_and_the_centre_of_the_centre_square_at_256():
    found = crops(400, 300, 10)
    assert len(found) == 10
    assert found[0].box == (50, 0, 312.5, 262.5)
    assert found[8].box == (68.75, 18.75, 331.25, 281.25)
    assert set(found) <= set(crops(400, 300, 144))


def test_of_a_square_image_48_crops_are_there_three_times_each():
    every = crops(300, 300, 144)
    parts = [every[at : at + 36] for at in range(0, 144, 36)]  # of each size: three squares of twelve
    for part in parts:
        assert part[:12] == part[12:24] == part[24:]
    assert len(set(every)) == 42  # the whole square is the same for each of the four sizes


def test_48_crops_with_weight_3_are_the_144(trained_run):
    classifier = googlenet.load(trained_run, "fp32", crops=144)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    every = crops(50, 50, 144)
    views = [cut(pixels, 32, crop.box)[:, ::-1] if crop.mirrored else cut(pixels, 32, crop.box) for crop in every]
    expected = classifier.engine.probabilities(np.stack(views)).astype(float).mean(axis=0)
    distinct = [view for at, view in enumerate(views) if at % 36 < 12]
    assert len(distinct) == 48
    np.testing.assert_allclose(classifier.engine.probabilities(np.stack(distinct)).mean(axis=0), expected, atol=1e-6)
    np.testing.assert_allclose(classifier.predict(pixels).probabilities, expected, atol=1e-6)
    assert (classifier.crops_computed, classifier.images_answered) == (42, 1)


def test_padded_and_squashed_images_have_one_square():
    assert {crop.box for crop in crops(400, 300, 10, "squash")[:2]} == {(0, 0, 350, 262.5)}
    assert crops(400, 300, 144, "pad")[10].box == (0, -50, 400, 350)
    assert len(set(crops(400, 300, 144, "pad"))) == 42


def test_auto_takes_more_crops_only_while_the_answer_is_unsure(trained_run, pictures, monkeypatch):
    few, many = (googlenet.load(trained_run, "fp32", crops=count) for count in (1, 144))
    auto = googlenet.load(trained_run, "fp32", crops="auto")
    for margin, passes, other in ((0.0, 1, few), (1.1, 1 + 10 + 126, many)):
        monkeypatch.setattr(module, "MARGINS", {"1": margin, "10": margin})
        auto.crops_computed = auto.images_answered = 0
        np.testing.assert_allclose(auto.probabilities(pictures), other.probabilities(pictures), atol=1e-5)
        assert auto.crops_computed == passes * len(pictures)


def test_mirrored_crops_are_left_out_where_training_had_none(trained_run):
    import dataclasses

    classifier = googlenet.load(trained_run)
    recipe = {**classifier.card.recipe, "augmentation": {"hflip_prob": 0.0}}
    assert module._has_mirrored(classifier.card)
    assert not module._has_mirrored(dataclasses.replace(classifier.card, recipe=recipe))
    assert not module._has_mirrored(dataclasses.replace(classifier.card, mirror=True))


def test_a_classifier_of_many_crops_is_pickled_and_has_no_sets(trained_run, pictures, tmp_path):
    classifier = googlenet.load(trained_run, crops=10)
    again = pickle.loads(pickle.dumps(classifier))
    first, second = classifier.predict(pictures), again.predict(pictures)
    assert first == second
    assert (again.crops, first[0].p_value, first[0].is_unknown) == ("10", None, False)
    with pytest.raises(GoogLeNetError, match="sets are calibrated by answers from one crop, and these are from 10"):
        first[0].set(0.9)
    assert first[0].heatmap().shape == pictures[0].shape[:2]
    for wrong in (0, 11, "all", True):
        with pytest.raises(GoogLeNetError, match="crops are 1, 10, 144 or auto, got"):
            googlenet.load(trained_run, crops=wrong)


def test_predict_answers_from_many_crops(trained_run, call, tmp_path):
    photos = trained_run.parent / "photos"
    report = googlenet.predict(trained_run, photos, tmp_path / "ten.csv", crops=10)
    code, _, err = call("predict", trained_run, photos, "--out", tmp_path / "command.csv", "--crops", "10")
    assert code == 0, err
    assert (tmp_path / "ten.csv").read_text() == (tmp_path / "command.csv").read_text()
    assert report.images == 120
    code, _, err = call("predict", trained_run, photos, "--out", tmp_path / "ten.csv", "--resume")
    assert "holds answers of another classifier" in err
    assert code != 0
    code, _, err = call("predict", trained_run, photos, "--crops", "10", "--sets", "0.9")
    assert (code, "--crops and --sets exclude each other" in " ".join(err.split())) == (2, True)
    with pytest.raises(GoogLeNetError, match="crops=10 and unknown exclude each other"):
        googlenet.predict(trained_run, photos, tmp_path / "no.csv", crops=10, unknown=0.1)
