"""The table of metrics, against scikit-learn on random answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as oracle

from googlenet.metrics import METRICS, SEVERAL_LABELS, metrics_for


@pytest.fixture
def answers():
    random = np.random.default_rng(0)
    probabilities = random.random((200, 12)).astype(np.float32)
    return random.integers(12, size=200), random.random((200, 12)) < 0.3, probabilities


def test_top_k_is_what_scikit_learn_computes(answers):
    truth, _, probabilities = answers
    for k in (1, 5):
        expected = oracle.top_k_accuracy_score(truth, probabilities, k=k, labels=np.arange(12))
        assert METRICS[f"top{k}"](truth, probabilities) == pytest.approx(expected)


def test_metrics_of_classes_are_what_scikit_learn_computes(answers):
    truth, several, probabilities = answers
    probabilities = probabilities.astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    expected = {
        "balanced_accuracy": oracle.balanced_accuracy_score(truth, predicted),
        "macro_f1": oracle.f1_score(truth, predicted, average="macro"),
        "loss": oracle.log_loss(truth, probabilities),
    }
    assert {name: METRICS[name](truth, probabilities) for name in expected} == pytest.approx(expected)
    each = [oracle.log_loss(several[:, k], probabilities[:, k]) for k in range(12)]
    assert METRICS["loss"](several, probabilities) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_brier_score_and_log_loss_are_those_of_scikit_learn(classes):
    random = np.random.default_rng(classes)
    truth, probabilities = random.integers(classes, size=200), random.dirichlet(np.ones(classes), 200)
    stated, labels = (probabilities[:, 1], None) if classes == 2 else (probabilities, np.arange(classes))
    assert METRICS["brier"](truth, probabilities) == pytest.approx(
        oracle.brier_score_loss(truth, stated, labels=labels)
    )
    assert METRICS["log_loss"](truth, probabilities) == pytest.approx(oracle.log_loss(truth, probabilities))
    several = random.random((200, classes)) < 0.3
    each = [oracle.brier_score_loss(several[:, k], probabilities[:, k]) for k in range(classes)]
    assert METRICS["brier"](several, probabilities) == pytest.approx(np.mean(each))


def test_a_class_without_images_does_not_count_and_a_certain_mistake_is_finite():
    probabilities = np.eye(12)[[0, 1, 1]]
    assert METRICS["balanced_accuracy"](np.array([0, 0, 1]), probabilities) == 0.75
    assert 200 < METRICS["loss"](np.array([0, 0, 1]), probabilities) < 300


def test_metrics_of_several_labels_are_what_scikit_learn_computes(answers):
    _, truth, probabilities = answers
    thresholds = np.linspace(0.2, 0.8, 12)
    named = probabilities >= thresholds
    expected = {
        "map": oracle.average_precision_score(truth, probabilities, average="macro"),
        "exact": oracle.accuracy_score(truth, named),
        "micro_f1": oracle.f1_score(truth, named, average="micro"),
        "macro_f1": oracle.f1_score(truth, named, average="macro"),
        "log_loss": np.mean([oracle.log_loss(truth[:, k], probabilities[:, k]) for k in range(12)]),
        "brier": np.mean([oracle.brier_score_loss(truth[:, k], probabilities[:, k]) for k in range(12)]),
    }
    assert {m.name: m(truth, probabilities, thresholds) for m in SEVERAL_LABELS} == pytest.approx(expected)


def test_a_metric_over_images_is_the_mean_of_its_batches(answers):
    one, several, probabilities = answers
    thresholds = np.full(12, 0.5)
    for metric in (m for m in METRICS.values() if m.over == "images"):
        truth = several if metric in SEVERAL_LABELS else one
        parts = [metric.function(truth[at : at + 7], probabilities[at : at + 7], thresholds) for at in range(0, 200, 7)]
        assert np.concatenate(parts).mean() == pytest.approx(metric(truth, probabilities, thresholds))


def test_of_equal_probabilities_the_first_class_wins():
    probabilities = np.full((1, 12), 1 / 12, np.float32)
    assert METRICS["top1"](np.array([0]), probabilities) == 1
    assert METRICS["top1"](np.array([1]), probabilities) == 0
    assert [METRICS["top5"](np.array([k]), probabilities) for k in (4, 5)] == [1, 0]


def test_nothing_measured_is_zero_and_a_loss_is_better_when_it_is_lower():
    assert all(m(np.zeros((0, 3), bool), np.zeros((0, 3))) == 0 for m in SEVERAL_LABELS)
    assert METRICS["top1"].key(0.5) > METRICS["top1"].key(0.4)
    assert next(m.name for m in metrics_for(multi_label=True)) == "map"
