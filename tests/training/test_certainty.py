"""What training learns about its own certainty on held-out images, and what predictions then tell."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

import googlenet
from googlenet import bundle as bundles
from googlenet.card import ModelCard
from googlenet.errors import BundleError, GoogLeNetError
from googlenet.evaluation.calibration import logits_of


@pytest.fixture(scope="module")
def run(trained_run):
    return trained_run


@pytest.fixture(scope="module")
def predictions(run):
    return googlenet.load(run).predict(sorted((run.parent / "photos").rglob("*.png")))


def test_the_card_has_the_temperature_and_the_graph_applies_it(run):
    card = bundles.read(run).card
    assert card.calibration["images"] == card.data["val"] == 24
    assert card.calibration["log_loss"] <= card.calibration["log_loss_uncalibrated"]
    assert card.temperature != 1
    module = googlenet.load_module(run)
    classifier = googlenet.load(run, "fp32")
    paths = sorted((run.parent / "photos").rglob("*.png"))[::9]
    import torch

    pixels = np.stack([classifier.preprocess(path) for path in paths])
    mean, std = (np.array(each, np.float32) for each in (card.preprocessing.mean, card.preprocessing.std))
    inputs = torch.from_numpy(((pixels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2))
    with torch.inference_mode():
        logits = module.eval()(inputs).numpy()
    expected = softmax(logits / card.temperature, axis=1)
    found = classifier.probabilities(paths)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (found.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_the_log_loss_on_the_card_is_that_of_the_held_out_images(run):
    classifier = googlenet.load(run, "fp32")
    card = classifier.card
    held = googlenet.evaluate(run, run.parent / "photos", precision="fp32")
    assert held.images == card.calibration["images"]
    rows = (run / "split.csv").read_text().splitlines()
    names = [line.split(",", 2)[2] for line in rows if line.startswith("val")]
    probabilities = classifier.probabilities([run.parent / "photos" / name for name in names])
    labels = [card.class_names.index(name.split("/")[0]) for name in names]
    before = softmax(logits_of(probabilities) * card.temperature, axis=1)
    assert log_loss(labels, before) == pytest.approx(card.calibration["log_loss_uncalibrated"], abs=1e-3)


def test_a_set_has_the_classes_that_fit_and_too_few_images_are_told(predictions):
    for prediction in predictions[::10]:
        assert set(prediction.set(0.9)) <= set(prediction.class_names)
        assert prediction.label in prediction.set(0.9, "aps")
        assert len(prediction.set(0.5)) <= len(prediction.set(0.95))
    with pytest.raises(GoogLeNetError, match="need 99 held-out images for calibration, the classifier has 24"):
        predictions[0].set(0.99)
    with pytest.raises(GoogLeNetError, match="lac or aps, got 'raps'"):
        predictions[0].set(0.9, "raps")


def test_an_image_unlike_all_others_has_the_lowest_p_value(run, predictions):
    assert np.mean([each.p_value <= 0.1 for each in predictions]) < 0.25
    grid = (np.indices((40, 48)).sum(axis=0) % 2 * 255).astype(np.uint8)
    strange = googlenet.load(run).predict(np.repeat(grid[:, :, None], 3, axis=2))
    assert strange.p_value <= min(each.p_value for each in predictions)
    for again in (pickle.loads(pickle.dumps(strange)), copy.copy(strange)):
        assert again.p_value == strange.p_value
        assert again.is_unknown is strange.is_unknown


def test_a_bundle_without_the_file_says_what_is_missing(run, tmp_path):
    bundle = bundles.read(run)
    files = {name: bundle.read(name) for name in bundle.card.files if name != bundles.CERTAINTY}
    bundles.write(tmp_path / "old", bundle.card, files)
    prediction = googlenet.load(tmp_path / "old").predict(next((run.parent / "photos").rglob("*.png")))
    assert prediction.p_value is None
    assert prediction.is_unknown is False
    with pytest.raises(BundleError, match="has no scores of held-out images, which sets need: train it"):
        prediction.set()


@pytest.mark.parametrize("data", [{"val": 7}, {"val": 60, "calibrate": 7}, {"val": 0}, {}], ids=str)
def test_a_bundle_of_too_few_held_out_images_says_how_many_it_takes(run, call, tmp_path, data):
    bundle = bundles.read(run)
    files = {name: bundle.read(name) for name in bundle.card.files if name != bundles.CERTAINTY}
    bundles.write(tmp_path / "few", replace(bundle.card, data=data), files)
    image = next((run.parent / "photos").rglob("*.png"))
    held_out = f"its training held out {7 if data.get('val') else 0}\n"
    for options, takes in (
        (("--sets", 0.5), "has no scores of held-out images, which sets need: that takes 10 images, and "),
        (("--unknown", 0.3), "cannot tell unknown images: that takes 20 held-out images, 38 for a rate of 5 %, and "),
    ):
        code, out, err = call("predict", tmp_path / "few", image, *options)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.endswith(takes + held_out)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"known": None}, "known is missing"),
        ({"known": np.arange(9.0, 0, -1, np.float32)}, "its scores are not sorted"),
        ({"embeddings": np.zeros((9, 1), np.float64)}, "embeddings is of float64"),
        ({"basis": np.zeros((5, 1), np.float32)}, "do not fit each other"),
        ({"lac": np.zeros(5000, np.float32)}, "with N from 1 to 2000"),
        ({"aps": np.full(9, np.nan, np.float32)}, "aps is not finite"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_damaged_file_is_refused_in_one_line(run, tmp_path, change, says):
    import io

    bundle = bundles.read(run)
    arrays = dict(np.load(io.BytesIO(bundle.read(bundles.CERTAINTY)))) | change
    content = io.BytesIO()
    np.savez(content, **{name: value for name, value in arrays.items() if value is not None})
    files = {name: bundle.read(name) for name in bundle.card.files} | {bundles.CERTAINTY: content.getvalue()}
    bundles.write(tmp_path / "bad", bundle.card, files)
    with pytest.raises(BundleError, match=says) as refused:
        googlenet.load(tmp_path / "bad")
    assert "certainty.npz is damaged" in str(refused.value)


def test_the_card_refuses_a_temperature_that_is_none(run):
    card = bundles.read(run).card
    for wrong in (0, -1, "hot", [1.0, 1.0, 1.0], None):
        fields = json.loads(card.to_json()) | {"temperature": wrong, "format": 3}
        fields.pop("sha256")
        with pytest.raises(BundleError, match="temperature must be a number above 0"):
            ModelCard.from_json(json.dumps(fields))


def test_predict_names_sets_and_unknown_images(run, call, tmp_path):
    image = sorted((run.parent / "photos").rglob("*.png"))[0]
    code, out, err = call("predict", run, image, "--sets", "0.9", "--unknown", "0.1", "--json")
    assert code == 0
    assert "the set of an image holds its true class in at least 90 % of cases, on average over images" in err
    (row,) = json.loads(out)
    assert list(row) == ["path", "error", "class", "probability", "set_0.9", "unknown_0.1"]
    prediction = googlenet.load(run).predict(image)
    assert tuple(row["set_0.9"]) == prediction.set(0.9)
    assert row["unknown_0.1"] is (prediction.p_value <= 0.1)
    code, out, _ = call("predict", run, image, "--sets", "0.9", "--unknown", "0.1")
    assert [word in out for word in ("set 0.9", "unknown", "blue")] == [True] * 3
    code, out, _ = call("predict", run, image, "--csv", "--unknown", "0.1")
    assert out.splitlines()[1].endswith((",true", ",false"))
    code, _, err = call("predict", run, image, "--out", tmp_path / "rows.parquet", "--sets", "0.9", "--unknown", "0.1")
    assert code == 0, err
    import pyarrow.parquet as pq

    (stored,) = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert stored["set_0.9"] == row["set_0.9"]
    assert stored["unknown_0.1"] is row["unknown_0.1"]


def test_python_writes_the_same_columns_and_aps_has_one_of_its_own(run, call, tmp_path):
    photos = run.parent / "photos"
    rows = {"sets": 0.9, "set_score": "aps", "unknown": 0.1}
    report = googlenet.predict(run, photos, tmp_path / "python.csv", **rows)
    assert "at least 90 % of cases" in report.notes[0]
    code, _, err = call("predict", run, photos, "--out", tmp_path / "command.csv", "--sets", "0.9", "--set-score",
                        "aps", "--unknown", "0.1")  # fmt: skip
    assert code == 0, err
    text = (tmp_path / "python.csv").read_text()
    assert text == (tmp_path / "command.csv").read_text()
    header, first, *_ = text.splitlines()
    assert header == "path,error,class,probability,set_0.9_aps,unknown_0.1"
    path, _, _, _, names, unknown = first.split(",")
    prediction = googlenet.load(run).predict(path)
    assert tuple(names.split("|")) == prediction.set(0.9, "aps")
    assert unknown == str(prediction.p_value <= 0.1).lower()
    with pytest.raises(GoogLeNetError, match="embeddings and sets exclude each other"):
        googlenet.predict(run, photos, tmp_path / "no.csv", sets=0.9, embeddings=True)
    with pytest.raises(GoogLeNetError, match=r"set_score='aps' says how sets are made: give a level"):
        googlenet.predict(run, photos, tmp_path / "no.csv", set_score="aps")
    with pytest.raises(TypeError, match="setz"):
        googlenet.predict(run, photos, tmp_path / "no.csv", setz=0.9)
    with pytest.raises(GoogLeNetError, match="needs 198 held-out images"):
        googlenet.predict(run, photos, tmp_path / "no.csv", unknown=0.01)


@pytest.mark.parametrize("score", ["lac", "aps"])
def test_evaluate_tells_how_often_the_sets_of_each_class_hold_it(run, call, tmp_path, score):
    photos = run.parent / "photos"
    evaluation = googlenet.evaluate(run, photos, split="all")
    found = evaluation.coverage(0.6, score)
    predictions = googlenet.load(run).predict([item.path for item in evaluation.answers.images])
    for each in found.classes:
        own = [p.set(0.6, score) for p in predictions if p.source.parent.name == each.name]
        assert each.held.value == pytest.approx(np.mean([each.name in names for names in own]))
        assert each.size == pytest.approx(np.mean([len(names) for names in own]))
        assert each.held.n == len(own) == 40
    assert found.held.value == pytest.approx(np.mean([each.held.value for each in found.classes]))
    code, out, err = call("evaluate", run, photos, "--split", "all", "--sets", "0.6", "--set-score", score,
                          "--plot", tmp_path / "plot.png")  # fmt: skip
    assert code == 0, err
    assert f"sets at 60 % hold the true class in {found.held.value:.1%}" in out
    assert f"sets of classes at 60 % ({score})" in out
    code, out, _ = call("evaluate", run, photos, "--split", "all", "--sets", "0.6", "--set-score", score, "--json",
                        "--plot", tmp_path / "plot.png")  # fmt: skip
    assert json.loads(out)["coverage"] == json.loads(json.dumps(found.to_dict()))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--sets", "0.99"), "sets at 99 % need 99 held-out images for calibration, the classifier has 24"),
        (("--sets", "90"), "the level of sets is between 0 and 1, got 90"),
        (("--unknown", "0.01"), "a rate of 1 % needs 198 held-out images"),
        (("--unknown", "5"), "the rate of false alarms is between 0 and 1, got 5"),
    ],
)
def test_what_cannot_be_told_is_refused_in_one_line(run, call, options, says):
    image = next((run.parent / "photos").rglob("*.png"))
    code, out, err = call("predict", run, image, *options)
    assert code in (1, 2)
    assert says in err
    assert not out
    if "--sets" in options:
        code, out, err = call("evaluate", run, run.parent / "photos", *options)
        assert (code in (1, 2), says in err, out) == (True, True, "")
