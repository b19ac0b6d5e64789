"""Temperature, decomposition and calibration error, against scikit-learn, scipy and simulated models."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from googlenet.evaluation import calibration
from googlenet.evaluation.calibration import (
    calibrated,
    calibration_error,
    choose_temperature,
    decompose,
    fit_class_temperatures,
    fit_temperature,
    logits_of,
    moved_thresholds,
    stated_and_right,
)


def overconfident(n=2000, classes=8, factor=3.0, seed=0):
    """Labels drawn from softmax(z), and the probabilities of a model that states softmax(factor · z)."""
    random = np.random.default_rng(seed)
    z = random.normal(0, 1.5, (n, classes))
    labels = (softmax(z, axis=1).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return softmax(factor * z, axis=1).astype(np.float32), labels


def test_the_temperature_is_the_one_of_scikit_learn():
    x, y = make_classification(1500, 12, n_informative=8, n_classes=5, flip_y=0.2, random_state=0)
    model = LogisticRegression(C=1e4).fit(x[:200], y[:200])
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(x[200:], y[200:])
    (member,) = theirs.calibrated_classifiers_[:1]
    expected = 1 / member.calibrators[0].beta_
    assert fit_temperature(model.decision_function(x[200:]), y[200:]) == pytest.approx(expected, abs=1e-4)
    found = choose_temperature(model.predict_proba(x[200:]), y[200:])
    assert found.value == pytest.approx(expected, abs=1e-4)


def test_the_temperature_that_a_model_was_distorted_with_is_found_and_no_answer_changes():
    probabilities, labels = overconfident(8_000)
    found = choose_temperature(probabilities, labels)
    assert found.value == pytest.approx(3, rel=0.06)
    assert found.after < found.before
    after = calibrated(probabilities, found.value)
    assert (after.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert log_loss(labels, after) == pytest.approx(found.after, abs=1e-3)
    assert brier_score_loss(labels, after) < brier_score_loss(labels, probabilities)


def test_the_temperature_of_each_label_is_what_scipy_finds():
    random = np.random.default_rng(0)
    z = random.normal(0, 2, (3000, 3))
    truth = random.random((3000, 3)) < expit(z)
    stated = expit(z * np.array([3.0, 1.0, 0.5]))
    found = choose_temperature(stated, truth).value
    for k, temperature in enumerate(found):

        def loss(inverse, k=k):
            return np.mean(np.logaddexp(0, np.where(truth[:, k], -1, 1) * inverse * logits_of(stated, True)[:, k]))

        expected = 1 / minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9}).x
        assert temperature == pytest.approx(expected, abs=1e-4) or temperature == 1.0
    assert found[0] == pytest.approx(3, rel=0.1)


def test_thresholds_move_with_the_temperatures_so_that_the_same_labels_are_named():
    random = np.random.default_rng(0)
    probabilities = random.random((500, 3))
    thresholds, temperatures = (0.3, 0.5, 0.0), (2.5, 0.4, 3.0)
    moved = moved_thresholds(thresholds, temperatures)
    assert moved != thresholds
    assert ((calibrated(probabilities, temperatures) >= moved) == (probabilities >= thresholds)).all()


def test_where_the_held_out_loss_does_not_fall_the_temperature_stays_1():
    random = np.random.default_rng(0)
    kept = 0
    for _ in range(40):  # few images of a model that is calibrated already
        z = random.normal(0, 1.5, (40, 4))
        labels = (softmax(z, axis=1).cumsum(axis=1) < random.random((40, 1))).sum(axis=1)
        found = choose_temperature(softmax(z, axis=1), labels)
        kept += found.value == 1.0
        assert found.after <= found.before
        assert found.value != 1.0 or found.after == found.before
    assert kept >= 15
    few = overconfident(calibration.MIN_CALIBRATION_IMAGES - 1)
    assert choose_temperature(*few).value == 1.0


@pytest.mark.parametrize("several", [False, True])
def test_images_without_a_mistake_do_not_make_answers_certain(several):
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 30)
    truth = np.eye(3, dtype=bool)[labels] if several else labels
    stated = softmax(2 * np.eye(3)[labels] + random.normal(0, 0.3, (30, 3)), axis=1)
    after = calibrated(stated, choose_temperature(stated, truth).value)
    sure = np.maximum(after, 1 - after).mean(axis=0) if several else after.max(axis=1).mean()
    assert np.max(sure) == pytest.approx(31 / 32, abs=1e-4)  # the rule of succession
    certain = np.where(truth, 0.999, 0.001) if several else np.where(np.eye(3)[labels] > 0, 0.999, 0.0005)
    assert np.all(np.asarray(choose_temperature(certain, truth).value) == 1.0)


@pytest.mark.parametrize("classes", [1, 2])
def test_odd_sets_have_a_temperature_within_bounds(classes):
    probabilities, _ = overconfident(50, classes)
    always_right = probabilities.argmax(axis=1)
    found = choose_temperature(probabilities, always_right)
    assert calibration.MIN_TEMPERATURE <= found.value <= 1
    assert np.isfinite(calibrated(probabilities, found.value)).all()
    nothing = np.zeros((30, 2), bool)
    assert fit_class_temperatures(np.zeros((30, 2)), nothing) == (1.0, 1.0)


def test_probabilities_of_0_and_1_have_finite_logits():
    certain = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    for multi_label in (False, True):
        assert np.isfinite(logits_of(certain, multi_label)).all()
    assert calibrated(certain, 2.0).argmax(axis=1).tolist() == [0, 1]


def test_the_parts_of_the_brier_score_add_up_and_are_those_of_isotonic_regression():
    random = np.random.default_rng(0)
    for n in (1, 2, 50, 3000):
        stated = random.random(n).round(2)  # with ties
        right = random.random(n) < stated**2
        parts = decompose(stated, right)
        total = parts.miscalibration - parts.discrimination + parts.uncertainty
        assert abs(parts.score - total) < 1e-12
        assert parts.score == pytest.approx(np.mean((stated - right) ** 2), abs=1e-12)
        assert parts.uncertainty == pytest.approx(right.mean() * (1 - right.mean()), abs=1e-12)
        assert parts.miscalibration > -1e-12
        assert parts.discrimination > -1e-12
    # The recalibrated forecast is orthogonal to its own errors: what it discriminates is its variance.
    from sklearn.isotonic import IsotonicRegression

    best = IsotonicRegression().fit_transform(stated, right)
    assert parts.discrimination == pytest.approx(best.var(), abs=1e-12)


@pytest.mark.parametrize(("n", "repeats"), [(200, 1500), (2000, 200)])
def test_the_error_of_a_perfect_model_is_0_on_average_and_the_limit_holds_in_95_percent(n, repeats, monkeypatch):
    monkeypatch.setattr(calibration, "DRAWS", 100)
    random = np.random.default_rng(0)
    found = []
    for seed in range(repeats):
        stated = 0.1 + 0.9 * random.beta(4, 1, size=n)
        found.append(calibration_error(stated, random.random(n) < stated, seed))
    assert abs(np.mean([each.error for each in found])) < 0.002
    assert 0.92 <= np.mean([not each.is_visible for each in found]) <= 0.98


def test_a_miscalibration_that_is_there_is_measured():
    random = np.random.default_rng(0)
    stated = 0.5 + 0.5 * random.random(20_000)
    found = calibration_error(stated, random.random(20_000) < stated - 0.1)
    assert found.error == pytest.approx(0.1, abs=0.01)
    assert found.is_visible
    assert found.images == 20_000


def test_with_several_labels_every_label_of_every_image_is_an_answer():
    probabilities = np.array([[0.9, 0.2], [0.3, 0.6]])
    stated, right = stated_and_right(probabilities, np.array([[True, False], [False, True]]))
    assert stated.tolist() == [0.9, 0.2, 0.3, 0.6]
    assert right.tolist() == [True, False, False, True]
    stated, right = stated_and_right(probabilities, np.array([0, 0]))
    assert stated.tolist() == [0.9, 0.6]
    assert right.tolist() == [True, False]
