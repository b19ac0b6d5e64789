import numpy as np
import pytest
from PIL import Image

from googlenet.evaluation.metrics import measure
from googlenet.evaluation.report import draw_confusion, draw_learning_curve, draw_predictions

# Six pictures of three classes; each row of probabilities names its winner.
LABELS = np.array([0, 0, 1, 1, 1, 2])
CALLED = np.array([0, 1, 1, 1, 2, 2])
PROBABILITIES = np.full((6, 3), 0.1, np.float32)
PROBABILITIES[np.arange(6), CALLED] = 0.8


def test_metrics_counted_by_hand():
    metrics = measure(LABELS, PROBABILITIES, ("ant", "bee", "cow"))
    assert metrics.top1 == pytest.approx(4 / 6)
    assert metrics.top5 == 1.0  # of three classes the true one is always among five
    np.testing.assert_array_equal(metrics.confusion, [[1, 1, 0], [0, 2, 1], [0, 0, 1]])
    ant, bee, cow = metrics.classes
    assert (ant.precision, ant.recall, ant.pictures) == (1.0, 0.5, 2)
    assert (bee.precision, bee.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (cow.precision, cow.recall, cow.f1) == (0.5, 1.0, pytest.approx(2 / 3))
    assert metrics.most_confused() == [("ant", "bee", 1), ("bee", "cow", 1)]


def test_top5_of_ten_classes():
    probabilities = np.tile(np.linspace(0, 1, 10, dtype=np.float32), (10, 1))  # class 9 first, class 0 last
    metrics = measure(np.arange(10), probabilities, tuple("abcdefghij"))
    assert (metrics.top1, metrics.top5) == (0.1, 0.5)


def test_a_class_without_pictures_and_two_classes():
    metrics = measure(np.array([0, 0]), np.array([[0.9, 0.1], [0.4, 0.6]], np.float32), ("yes", "no"))
    assert metrics.top1 == 0.5
    assert (metrics.classes[1].pictures, metrics.classes[1].recall) == (0, 0.0)


@pytest.mark.parametrize("classes", [3, 30, 60])
def test_every_picture_can_be_drawn(tmp_path, classes):
    labels = np.arange(classes)
    metrics = measure(labels, np.eye(classes, dtype=np.float32), tuple(f"class {n}" for n in range(classes)))
    draw_confusion(metrics, tmp_path / "deep" / "confusion.png")
    row = {"epoch": 1, "head_losses": (2.0, 2.5), "val_loss": 1.0, "train_top1": 0.5, "val_top1": 0.6}
    draw_learning_curve([row] * classes, tmp_path / "curve.png")
    draw_predictions([(np.zeros((8, 8, 3), np.uint8), "a", 0.5, "b")] * classes, tmp_path / "sheet.png")
    for name in ("deep/confusion.png", "curve.png", "sheet.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 150
