"""A network that can only have learnt a mark: what is explained must lie on it."""

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet.gradients.explain import gradient_methods
from tests.conftest import TINY

SIDE, MARK = 32, 9
MARKS = ("checks", "columns", "rows")
TEST_IMAGES = 60


def mark_of(name):
    """A pattern (9, 9, 3) of two colours, the same for all classes."""
    at = np.arange(MARK) // 2 % 2
    on = {"checks": at[:, None] ^ at, "columns": at[None, :].repeat(MARK, 0), "rows": at[:, None].repeat(MARK, 1)}[name]
    return np.where(on[:, :, None] > 0, (250, 220, 40), (20, 30, 90)).astype(np.uint8)


def planted(name, random):
    """An image of coarse noise with a mark anywhere: the image and the top left corner of the mark."""
    coarse = random.integers(60, 200, (8, 8, 3))
    pixels = np.clip(np.kron(coarse, np.ones((4, 4, 1))) + random.normal(0, 12, (SIDE, SIDE, 3)), 0, 255)
    top, left = random.integers(0, SIDE - MARK + 1, 2)
    pixels[top : top + MARK, left : left + MARK] = mark_of(name)
    return pixels.astype(np.uint8), (top, left)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("planted"), np.random.default_rng(0)
    for name in MARKS:
        (root / "marks" / name).mkdir(parents=True)
        for number in range(80):
            Image.fromarray(planted(name, random)[0]).save(root / "marks" / name / f"{number:03d}.png")
    googlenet.train(root / "marks", root / "run", recipe="default", network=TINY, epochs=4, batch_size=16, workers=0,
                    precision="fp32", crop_fraction=1.0, augmentation="none", lr=0.05)  # fmt: skip
    return googlenet.load(root / "run", "fp32")


def explained_by(classifier, method):
    if method != "gradcam":
        return lambda image: classifier.explain(image, method=method)
    pytest.importorskip("captum")
    explain = gradient_methods(classifier, [method])[method]
    return lambda image: explain(classifier.question(image))


@pytest.mark.parametrize("method", ["cam", "gradcam", "occlusion"])
def test_the_peak_lies_on_the_mark(classifier, method):
    explain = explained_by(classifier, method)
    random, right, hits = np.random.default_rng(1), 0, 0
    for number in range(12 if method == "occlusion" else TEST_IMAGES):
        name = MARKS[number % len(MARKS)]
        image, (top, left) = planted(name, random)
        found = explain(image)
        if found.asked.answer != name:
            continue
        right += 1
        x, y = (SIDE * each for each in found.seen.peak)
        hits += left - 2 <= x <= left + MARK + 2 and top - 2 <= y <= top + MARK + 2  # half a cell of the map
    assert right >= 0.9 * (number + 1)
    assert hits >= 0.95 * right


def test_the_check_finds_that_the_map_points_at_the_mark_and_that_marks_carry_the_classes(classifier, tmp_path):
    random, lines = np.random.default_rng(2), ["path,left,top,right,bottom"]
    for name in MARKS:
        (tmp_path / "new" / name).mkdir(parents=True)
        for number in range(8):
            pixels, (top, left) = planted(name, random)
            Image.fromarray(pixels).save(tmp_path / "new" / name / f"{number}.png")
            lines.append(f"new/{name}/{number}.png,{left},{top},{left + MARK},{top + MARK}")
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    found = googlenet.check_explanations(classifier.bundle.path, tmp_path / "new", methods=["cam"], images=24,
                                         boxes=tmp_path / "boxes.csv", precision="fp32")  # fmt: skip
    (cam,) = found.methods
    measured = {gain.measure: gain for gain in cam.gains}
    assert measured["pointing"].value >= 0.95
    assert measured["pointing"].random < 0.5
    for gain in measured.values():
        assert gain.over_random.low > 0, gain
    assert cam.rank_correlation.value < 0.3
    background = next(each for each in found.carried if each.outer == "background")
    assert background.class_name is None
    assert background.difference.high < 0
    assert background.sentence().startswith("the box carries the answers: ")
