import copy
import pickle
import re

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

import googlenet.metrics as table
from googlenet.evaluation.metrics import best_thresholds, measure, measure_labels
from googlenet.evaluation.plots import draw_average_precisions, draw_confusion, draw_learning_curve, draw_predictions
from googlenet.metrics import Metric

# Six images of three classes; each row of probabilities names its winner.
LABELS = np.array([0, 0, 1, 1, 1, 2])
CALLED = np.array([0, 1, 1, 1, 2, 2])
PROBABILITIES = np.full((6, 3), 0.1, np.float32)
PROBABILITIES[np.arange(6), CALLED] = 0.8


def test_metrics_counted_by_hand():
    measured = measure(LABELS, PROBABILITIES, ("ant", "bee", "cow"))
    assert measured.top1 == pytest.approx(4 / 6)
    assert measured.top5 == 1.0  # of three classes the true one is always among five
    np.testing.assert_array_equal(measured.confusion, [[1, 1, 0], [0, 2, 1], [0, 0, 1]])
    ant, bee, cow = measured.classes
    assert (ant.precision, ant.recall, ant.images) == (1.0, 0.5, 2)
    assert (bee.precision, bee.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (cow.precision, cow.recall, cow.f1) == (0.5, 1.0, pytest.approx(2 / 3))
    assert measured.most_confused() == [("ant", "bee", 1), ("bee", "cow", 1)]


def test_top5_of_ten_classes():
    probabilities = np.tile(np.linspace(0, 1, 10, dtype=np.float32), (10, 1))  # class 9 first, class 0 last
    measured = measure(np.arange(10), probabilities, tuple("abcdefghij"))
    assert (measured.top1, measured.top5) == (0.1, 0.5)


def test_a_class_without_images_and_two_classes():
    measured = measure(np.array([0, 0]), np.array([[0.9, 0.1], [0.4, 0.6]], np.float32), ("yes", "no"))
    assert measured.top1 == 0.5
    assert (measured.classes[1].images, measured.classes[1].recall) == (0, 0.0)


def test_a_metric_that_is_added_to_the_table_is_everywhere(tmp_path, monkeypatch):
    def log_loss(truth, probabilities, _):
        return -np.log(probabilities[np.arange(len(truth)), truth])

    added = Metric("nll", "log loss", "lower", "", "images", log_loss)
    monkeypatch.setattr(table, "ONE_LABEL", (*table.ONE_LABEL, added))
    monkeypatch.setitem(table.METRICS, "nll", added)
    measured = measure(LABELS, PROBABILITIES, ("ant", "bee", "cow"))
    expected = metrics.log_loss(LABELS, PROBABILITIES)
    assert measured.nll == measured.to_dict()["nll"] == pytest.approx(expected)
    assert str(measured) == f"top-1 66.67%, log loss {expected:.4g}, 6 images"
    assert "nll" in dir(measured)
    rows = [{"epoch": n, "head_losses": (1.0,), "val_loss": 1.0, "val_nll": 1 / n} for n in (1, 2)]
    draw_learning_curve(rows, tmp_path / "curve.svg", "nll")
    drawn = (tmp_path / "curve.svg").read_text("utf-8")
    assert "<!-- validation, best 0.5 -->" in drawn
    assert "<!-- log loss -->" in drawn


@pytest.mark.parametrize(("epochs", "marked"), [(1, 1), (30, 30), (31, 0)])
def test_the_learning_curve_marks_each_measured_epoch_of_a_short_run(tmp_path, epochs, marked):
    measured = range(2, 2 * epochs + 2, 2)  # validated after every other epoch
    rows = [{"epoch": n, "head_losses": (2 / n, 3 / n), "val_loss": 1.0, "train_top1": 0.5, "val_top1": 1 - 1 / n}
            for n in measured]  # fmt: skip
    draw_learning_curve(rows, tmp_path / "curve.svg")
    drawn = (tmp_path / "curve.svg").read_text("utf-8")
    curves = re.findall(r"<g clip-path.*?</g>", drawn, re.DOTALL)  # what is drawn inside the axes
    curves = [set(re.findall(r'<use [^>]*x="([\d.]+)"', each)) for each in curves]
    *lines, best = [places for places in curves if places]
    assert [len(places) for places in lines] == [marked] * 5 * bool(marked)  # two heads, and on held-out images; top-1
    assert len(best) == 1
    assert "<!-- 2.1 -->" not in drawn  # there are whole epochs only


def test_metrics_have_no_other_attributes_and_survive_pickling():
    measured = measure(LABELS, PROBABILITIES, ("ant", "bee", "cow"))
    with pytest.raises(
        AttributeError,
        match=r"^Metrics has no .top3.; it has top1, top5, .*, macro_f1, log_loss, brier$",
    ):
        _ = measured.top3
    assert pickle.loads(pickle.dumps(measured)) == copy.deepcopy(measured) == measured
    assert measured != measure(LABELS[::-1], PROBABILITIES, ("ant", "bee", "cow"))
    assert measured != "top-1 66.67%, 6 images"
    assert len({measured, copy.deepcopy(measured)}) == 1


@pytest.mark.parametrize("classes", [3, 30, 60])
def test_every_image_can_be_drawn(tmp_path, classes):
    labels = np.arange(classes)
    measured = measure(labels, np.eye(classes, dtype=np.float32), tuple(f"class {n}" for n in range(classes)))
    draw_confusion(measured, tmp_path / "deep" / "confusion.png")
    row = {"epoch": 1, "head_losses": (2.0, 2.5), "val_loss": 1.0, "train_top1": 0.5, "val_top1": 0.6}
    draw_learning_curve([row] * classes, tmp_path / "curve.png")
    draw_predictions([(np.zeros((8, 8, 3), np.uint8), "a", 0.5, "b")] * classes, tmp_path / "sheet.png")
    for name in ("deep/confusion.png", "curve.png", "sheet.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 150


def test_a_single_epoch_is_a_whole_number(tmp_path):
    row = {"epoch": 5, "head_losses": (2.0, 2.5), "val_loss": 1.0, "train_top1": 0.5, "val_top1": 0.6}
    draw_learning_curve([row], tmp_path / "curve.svg")
    drawn = (tmp_path / "curve.svg").read_text("utf-8")
    assert "<!-- 5 -->" in drawn
    assert "<!-- 4.9 -->" not in drawn


# Several labels, held against scikit-learn.


@pytest.fixture
def several():
    """Truth of 200 images and 6 labels, the last of which no image has; probabilities that know a little of it."""
    random = np.random.default_rng(0)
    truth = random.random((200, 6)) < np.array([0.5, 0.3, 0.2, 0.1, 0.05, 0])
    probabilities = np.clip(0.3 * truth + 0.7 * random.random((200, 6)), 0, 1).round(2).astype(np.float32)
    return truth, probabilities


def test_several_labels_agree_with_scikit_learn(several):
    truth, probabilities = several
    thresholds = (0.5, 0.4, 0.6, 0.5, 0.5, 0.6)
    measured = measure_labels(truth, probabilities, thresholds, tuple("abcdef"))
    called = probabilities >= np.array(thresholds)
    assert measured.map == pytest.approx(metrics.average_precision_score(truth[:, :5], probabilities[:, :5]))
    assert measured.micro_f1 == pytest.approx(metrics.f1_score(truth, called, average="micro"))
    assert measured.macro_f1 == pytest.approx(metrics.f1_score(truth, called, average="macro", zero_division=0))
    assert measured.exact == metrics.accuracy_score(truth, called)
    precision, recall, f1, positives = metrics.precision_recall_fscore_support(truth, called, zero_division=0)
    assert [label.precision for label in measured.labels] == pytest.approx(precision.tolist())
    assert [label.recall for label in measured.labels] == pytest.approx(recall.tolist())
    assert [label.f1 for label in measured.labels] == pytest.approx(f1.tolist())
    assert [label.positives for label in measured.labels] == positives.tolist()
    assert measured.labels[5].average_precision is None
    assert measured.to_dict()["labels"]["f"]["average_precision"] is None


def test_a_label_that_nobody_has_and_nobody_was_said_to_have_does_not_count():
    truth = np.array([[True, False], [False, False]])
    measured = measure_labels(truth, truth.astype(np.float32), (0.5, 0.5), ("a", "b"))
    assert (measured.map, measured.macro_f1, measured.micro_f1, measured.exact) == (1, 1, 1, 1)


def test_no_threshold_has_a_higher_f1(several):
    truth, probabilities = several
    best = best_thresholds(truth, probabilities)
    assert best[5] == 0.5
    for label, threshold in enumerate(best[:5]):
        f1_at = [
            metrics.f1_score(truth[:, label], probabilities[:, label] >= t)
            for t in (threshold, *np.linspace(0, 1, 201))
        ]
        assert f1_at[0] == max(f1_at)


def test_a_threshold_lies_midway_between_those_that_have_a_label_and_those_that_have_not():
    truth = np.array([[False], [False], [True], [True]])
    assert best_thresholds(truth, np.array([[0.1], [0.2], [0.4], [0.9]], np.float32)) == (0.3,)
    assert best_thresholds(~np.zeros((2, 1), bool), np.array([[0.4], [0.9]], np.float32)) == (0.2,)


@pytest.mark.parametrize("labels", [1, 30, 150])
def test_average_precisions_can_be_drawn(tmp_path, labels):
    truth = np.random.default_rng(0).random((50, labels)) < 0.5
    names = tuple(f"label {n}" for n in range(labels))
    measured = measure_labels(truth, np.full((50, labels), 0.3, np.float32), [0.5] * labels, names)
    draw_average_precisions(measured, tmp_path / "bars.png")
    row = {"epoch": 1, "head_losses": (0.7,), "val_loss": 0.6, "val_map": 0.4}
    draw_learning_curve([row], tmp_path / "curve.png", "map")
    for name in ("bars.png", "curve.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 150
