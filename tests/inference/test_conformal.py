"""Conformal sets: their guarantee in simulated splits, and MAPIE's own sets."""

from __future__ import annotations

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from scipy.special import softmax
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

from googlenet.errors import GoogLeNetError
from googlenet.inference import conformal


def test_the_sets_are_those_of_mapie():
    x, y = make_classification(1500, 12, n_informative=8, n_classes=6, flip_y=0.2, random_state=0)
    model = LogisticRegression().fit(x[:300], y[:300])
    known, new = slice(300, 800), slice(800, 1500)
    for level in (0.8, 0.9, 0.95):
        theirs = SplitConformalClassifier(model, confidence_level=level, conformity_score="lac", prefit=True)
        theirs.conformalize(x[known], y[known])
        scores = conformal.scores(model.predict_proba(x[known]), y[known])
        ours = conformal.sets(model.predict_proba(x[new]), conformal.limit(scores, level))
        assert (theirs.predict_set(x[new])[1][:, :, 0] == ours).all()


class NotRandom(np.random.RandomState):
    """Turns off the randomisation of MAPIE's scores, which ours do not have."""

    def uniform(self, low=0.0, high=1.0, size=None):
        return np.zeros(size)


def test_the_sets_of_aps_are_those_of_mapie_without_randomisation_with_the_most_probable_class():
    x, y = make_classification(1500, 12, n_informative=8, n_classes=6, flip_y=0.2, random_state=0)
    model = LogisticRegression().fit(x[:300], y[:300])
    known, new = slice(300, 800), slice(800, 1500)
    stated = model.predict_proba(x[new])
    for level in (0.4, 0.6, 0.8):
        theirs = SplitConformalClassifier(
            model, confidence_level=level, conformity_score="aps", prefit=True, random_state=NotRandom()
        )
        theirs.conformalize(x[known], y[known])
        without_last = {"include_last_label": False}  # the one that passes the limit
        expected = theirs.predict_set(x[new], conformity_score_params=without_last)[1][:, :, 0]
        expected[np.arange(len(expected)), stated.argmax(axis=1)] = True  # theirs may be empty
        scores = conformal.scores(model.predict_proba(x[known]), y[known], "aps")
        ours = conformal.sets(stated, conformal.limit(scores, level), "aps")
        assert 1 < ours.sum(axis=1).mean() < 5
        assert (ours == expected).all()


@pytest.mark.parametrize("method", conformal.METHODS)
def test_2000_splits_hold_the_true_class_as_often_as_stated(method):
    random = np.random.default_rng(0)
    z = random.normal(0, 2, (20_000, 6))
    labels = (softmax(z, axis=1).cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    stated = softmax(2 * z, axis=1)  # far too sure: the sets hold all the same
    scores, known, new, level = conformal.scores(stated, labels, method), 100, 200, 0.9
    held = []
    for _ in range(2000):
        drawn = random.integers(len(z), size=known + new)
        limit = conformal.limit(scores[drawn[:known]], level)
        inside = conformal.sets(stated[drawn[known:]], limit, method)
        held.append(inside[np.arange(new), labels[drawn[known:]]].mean())
    expected = np.ceil((known + 1) * level) / (known + 1)  # (vovk 2012: the mean of a beta distribution)
    if method == "lac":
        assert np.mean(held) == pytest.approx(expected, abs=0.005)
    else:  # each set has the most probable class, whether it needs it or not
        assert expected - 0.005 < np.mean(held) < expected + 0.05


def test_too_few_images_are_refused_with_the_number_that_is_needed():
    with pytest.raises(GoogLeNetError, match=r"sets at 95 % need 19 held-out images .* has 18: ask for at most 94.7 %"):
        conformal.limit(np.linspace(0, 1, 18), 0.95)
    assert conformal.limit(np.linspace(0, 1, 19), 0.95) == 1.0
    assert conformal.limit(np.linspace(0, 1, 9), 0.9) == 1.0  # (9 + 1) · 0.9 is 9 exactly
    for images in (5, 10, 37, 150):
        conformal.limit(np.ones(images), conformal.highest_level(images))


@pytest.mark.parametrize("level", [0, 1, -0.1, 90, "0.9", True, float("nan")])
def test_a_level_outside_of_0_to_1_is_refused(level):
    with pytest.raises(GoogLeNetError, match="between 0 and 1"):
        conformal.limit(np.ones(100), level)


def test_a_set_of_lac_may_be_empty_and_one_of_aps_has_the_most_probable_class():
    unsure = np.full((1, 4), 0.25)
    assert not conformal.sets(unsure, 0.5).any()
    assert conformal.sets(unsure, 0.1, "aps").tolist() == [[True, False, False, False]]
    assert conformal.sets(unsure, 0.5, "aps").tolist() == [[True, True, False, False]]
