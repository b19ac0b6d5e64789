"""Cross-validation: every image held out once, runs that are kept, and one bundle that averages all of them."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from math import sqrt

import numpy as np
import pytest
from scipy import stats

import googlenet
from googlenet.data.folds import draw_folds
from googlenet.data.image_set import ImageSet, LabelledData, LabelledImage
from googlenet.errors import CallbackError, DataError, RecipeError, RunError, WeightsError


def data_of(items):
    sets = {"train": ImageSet(("a", "b"), tuple(items)), "val": ImageSet(("a", "b"), ())}
    return LabelledData("data", ("a", "b"), sets, made_here=True)


def test_every_image_is_held_out_once_with_equal_classes_and_whole_groups():
    items = [LabelledImage(f"{n}.png", (n % 2,), group=f"g{n // 4}") for n in range(160)]
    folds = draw_folds(data_of(items), 4, seed=1)
    assert Counter(item.name for fold in folds for item in fold.val.items) == Counter(item.name for item in items)
    for fold in folds:
        assert fold.val.counts() == {"a": 20, "b": 20}
        assert not {item.group for item in fold.val.items} & {item.group for item in fold.train.items}
        assert len(fold.train) + len(fold.val) == 160
    assert draw_folds(data_of(items[::-1]), 4, seed=1)[0].val == folds[0].val  # whatever the order
    assert draw_folds(data_of(items), 4, seed=2)[0].val != folds[0].val


def test_a_class_that_a_fold_would_not_learn_is_refused():
    items = [LabelledImage(f"{n}.png", (0,)) for n in range(9)] + [LabelledImage("one.png", (1,))]
    with pytest.raises(DataError, match="b would have no training image; give fewer --folds"):
        draw_folds(data_of(items), 3, seed=0)


@pytest.fixture
def validate(tiny):
    return partial(googlenet.cross_validate, network=tiny, folds=2, batch_size=8, epochs=1, precision="fp32", workers=0)


def noise():
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


class Failing:
    def on_epoch(self, result):
        raise ValueError


def test_folds_are_trained_resumed_and_become_one_bundle(validate, coloured, tmp_path, call):
    out = tmp_path / "out"
    with pytest.raises(CallbackError):
        validate(coloured, out, callbacks=[Failing()])
    with pytest.raises(RunError, match="continue with --resume"):
        validate(coloured, out)
    with pytest.raises(RunError, match="other folds or images"):
        validate(coloured, out, folds=3, resume=True)
    result = validate(coloured, out, resume=True)
    members = [googlenet.load(out / f"fold-{number}") for number in (1, 2)]
    scores = [each.card.metrics["val_loss"] for each in members]
    assert [fold["val_loss"] for fold in result.folds] == scores
    low, high = stats.t.interval(0.95, 1, np.mean(scores), np.std(scores, ddof=1) * sqrt(1 / 2 + 1))  # half is out
    assert [result.metrics["val_loss"].low, result.metrics["val_loss"].high] == pytest.approx([low, high])
    assert json.loads((out / "folds.json").read_text())["metrics"]["val_loss"]["mean"] == np.mean(scores)

    classifier, images = googlenet.load(out), sorted(coloured.rglob("*.png"))[::9]
    theirs = [each.probabilities(images) for each in members]
    np.testing.assert_allclose(classifier.probabilities(images), np.mean(theirs, axis=0), atol=1e-6)
    assert not np.allclose(*theirs, atol=1e-3)  # they are two classifiers
    pixels, engine, others = noise(), classifier.engine, [each.engine for each in members]
    np.testing.assert_allclose(engine.maps(pixels), np.mean([e.maps(pixels) for e in others], axis=0), atol=1e-4)
    embeddings = np.concatenate([each.embeddings(pixels) for each in others], axis=1)
    np.testing.assert_allclose(engine.embeddings(pixels), embeddings, atol=1e-4)
    assert googlenet.verify(out).largest_difference < 1e-5
    with pytest.raises(WeightsError, match=r"holds no weights, as it averages several classifiers: .* fold-1"):
        googlenet.train(coloured, tmp_path / "from", weights=out)
    with pytest.raises(DataError, match="was trained on all 36 images"):  # no image is left to judge it by
        googlenet.evaluate(out, coloured)
    before = (out / "fold-1" / "bundle" / "card.json").read_bytes()
    code, said, _ = call("train", coloured, "--out", out, "--folds", 2, "--resume")  # all is done
    assert code == 0
    assert "95 % interval" in said
    assert (out / "fold-1" / "bundle" / "card.json").read_bytes() == before


def test_folds_that_cannot_be_are_refused_before_any_work(validate, coloured, tmp_path):
    for changes, says in (({"folds": 1}, "2 to 50"), ({"val_fraction": 0.1}, "leave --val-fraction out")):
        with pytest.raises(RecipeError, match=says):
            validate(coloured, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    with pytest.raises(RunError, match="is not empty and holds no folds"):
        validate(coloured, tmp_path / "mine", overwrite=True)
