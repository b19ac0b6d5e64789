"""What `evaluate` says of certainty: on the terminal, as JSON and in Python; never the plain calibration error."""

import json

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

import googlenet
from googlenet.data.image_set import LabelledImage
from googlenet.evaluation.answers import Answers
from googlenet.evaluation.reliability import Reliability


def answers(stated, group=None, several=False):
    """N answers that are right as often as they say, of two classes."""
    random = np.random.default_rng(0)
    right = random.random(len(stated)) < stated
    probabilities = np.column_stack([stated, 1 - stated])
    labels = [(0,) if hit else ((1,) if not several else ()) for hit in right]
    images = tuple(LabelledImage(f"{n}", label, group=group and f"{group}{n // 2}") for n, label in enumerate(labels))
    return Answers(images, probabilities, ("a", "b"), (0.5, 0.5) if several else ()), right


def test_the_parts_are_those_of_isotonic_regression_and_a_perfect_model_shows_nothing():
    stated = np.random.default_rng(1).uniform(0.5, 1, 2000)
    found, right = answers(stated)
    reliability = Reliability.of(found)
    best = IsotonicRegression(y_min=0, y_max=1).fit_transform(stated, right)
    parts = reliability.brier
    assert parts.miscalibration == pytest.approx(np.mean((stated - right) ** 2) - np.mean((best - right) ** 2))
    assert abs(parts.score - (parts.miscalibration - parts.discrimination + parts.uncertainty)) < 1e-12
    assert not reliability.error.is_visible
    assert reliability.verdict == "no more than chance explains"
    surer, _ = answers(stated)
    sure = Answers(surer.images, np.column_stack([stated**0.2, 1 - stated**0.2]), surer.class_names)
    assert Reliability.of(sure).verdict == "more than chance explains"


def test_an_error_of_less_than_chance_adds_is_shown_as_none():
    few = Reliability.of(answers(np.full(2, 0.5))[0])  # one right, one wrong
    assert few.error.error < -0.1
    assert few.described()[0].startswith("calibration error 0.0% (a perfect model shows up to ")


def test_of_groups_no_verdict_is_given_and_several_labels_are_answers_each():
    stated = np.random.default_rng(1).uniform(0.5, 1, 100)
    grouped = Reliability.of(answers(stated, group="patient ")[0])
    assert grouped.verdict == ""
    assert all("chance" not in line for line in grouped.described())
    assert Reliability.of(answers(stated, several=True)[0]).error.images == 200


def test_the_command_says_it_in_80_columns_and_json_has_the_same(trained_run, tmp_path, call):
    photos, plot = trained_run.parent / "photos", tmp_path / "plot.png"
    code, out, err = call("evaluate", trained_run, photos, "--plot", plot)
    assert code == 0, err
    evaluation = googlenet.evaluate(trained_run, photos)
    lines = out.splitlines()
    (error,) = [line for line in lines if line.startswith("calibration error ")]
    found = evaluation.reliability.error
    assert error.startswith(f"calibration error {found.shown} (a perfect model shows up to {found.perfect:.1%})")
    (parts,) = [at for at, line in enumerate(lines) if line.startswith("Brier score of the answers ")]
    assert "miscalibration" in lines[parts]
    assert "discrimination" in lines[parts + 1]
    assert max(map(len, lines[parts - 2 :])) <= 80 + len(str(plot))
    assert any(line.startswith(("temperature ", "not calibrated")) for line in lines)
    assert any(line.startswith("Brier score 0") for line in lines)
    assert any(line.startswith("log loss 0") for line in lines)
    _, out, _ = call("evaluate", trained_run, photos, "--json", "--plot", plot)
    said = json.loads(out)["reliability"]
    assert said == json.loads(json.dumps(evaluation.to_dict()["reliability"]))
    assert said["calibration_error"] == found.error
    card = googlenet.load(trained_run).card
    assert said["temperature"] == card.temperature
    assert said["images"] == card.calibration["images"]
