"""The detector of unknown images: its rate of false alarms, and what it finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from googlenet.inference.certainty import MAX_BYTES, Certainty
from googlenet.inference.unknown import Detector


def images(random, count, classes=(0, 1, 2, 3), dimensions=40, spread=1.0):
    """Embeddings around one point a class, and the probabilities of a classifier that knows these points."""
    centres = np.random.default_rng(1).normal(0, 3, (8, dimensions)).astype(np.float32)
    drawn = centres[random.choice(classes, count)] + random.normal(0, spread, (count, dimensions))
    distances = ((drawn[:, None] - centres[:4]) ** 2).sum(axis=2)
    return drawn.astype(np.float32), softmax(-distances / 200, axis=1).astype(np.float32)


@pytest.mark.parametrize("count", [60, 1000])
def test_false_alarms_come_at_the_stated_rate(count):
    random, alarms = np.random.default_rng(0), []
    for _ in range(80):  # of 60 images, the rate of one detector varies by 8 points
        detector = Detector.fit(*images(random, count))
        alarms.append([(detector.p_values(*images(random, 200)) <= rate).mean() for rate in (0.05, 0.2)])
    for rate, found in zip((0.05, 0.2), np.mean(alarms, axis=0), strict=True):
        assert 0.4 * rate < found < rate + 0.01


def test_other_classes_and_other_images_are_found_better_than_by_the_highest_probability():
    random = np.random.default_rng(0)
    detector, known = Detector.fit(*images(random, 1000)), images(random, 500)
    far = (random.normal(0, 1, (500, 40)).astype(np.float32) * 20, known[1])  # as sure as of known images
    for others, least in ((images(random, 500, classes=(4, 5)), 0.95), (far, 0.99)):
        truth = np.repeat([0, 1], 500)
        scores = np.concatenate([detector.scores(*known), detector.scores(*others)])
        doubts = np.concatenate([1 - known[1].max(axis=1), 1 - others[1].max(axis=1)])
        assert roc_auc_score(truth, scores) > max(least, roc_auc_score(truth, doubts) - 0.001)


def test_the_largest_detector_fits_in_the_file():
    random = np.random.default_rng(0)
    embeddings = random.normal(0, 1, (2500, 2048)).astype(np.float32)
    probabilities = np.full((2500, 10), 0.1, np.float32)
    detector = Detector.fit(embeddings, probabilities)
    scores = np.sort(random.random(2000).astype(np.float32))
    assert len(Certainty({"lac": scores, "aps": scores}, detector).to_bytes()) < MAX_BYTES
    assert Detector.fit(embeddings[:19], probabilities[:19]) is None
    assert Detector.fit(np.zeros((20, 4), np.float32), probabilities[:20]).p_values(
        np.zeros((3, 4), np.float32), probabilities[:3]
    ) == pytest.approx([1, 1, 1])


def test_how_long_an_embedding_is_says_nothing():
    """An embedding that is only longer, as of an image of higher contrast, is as usual as before."""
    random = np.random.default_rng(0)
    detector, (embeddings, probabilities) = Detector.fit(*images(random, 1000)), images(random, 100)
    scores = detector.scores(embeddings, probabilities)
    np.testing.assert_allclose(detector.scores(3 * embeddings, probabilities), scores, atol=1e-3)
    np.testing.assert_allclose(detector.centre, embeddings.mean(axis=0), atol=2)  # what explanations compare with
    opposite = detector.scores(-embeddings, probabilities)
    assert (opposite > scores + 1).mean() > 0.9


def test_four_numbers_as_of_earlier_bundles_and_of_several_labels_are_a_plain_sum():
    random = np.random.default_rng(0)
    known, new = images(random, 400), images(random, 50)
    several = Detector.fit(*known, several=True)
    assert len(several.scale) == 4
    assert len(Detector.fit(*known).scale) == 5
    x = (new[0] - several.centre) @ several.basis / several.spread[:-1]
    rest = ((new[0] - several.centre) ** 2).sum(axis=1) - (x**2 * several.spread[:-1] ** 2).sum(axis=1)
    near = np.sort(((x[:, None] - several.embeddings) ** 2).sum(axis=2), axis=1)[:, 4]
    distance = np.sqrt(near / x.shape[1] + np.maximum(rest, 0) / several.spread[-1] ** 2)
    mean, deviation, doubt, of_doubt = several.scale
    expected = (distance - mean) / deviation + (1 - new[1].max(axis=1) - doubt) / of_doubt
    np.testing.assert_allclose(Detector.of(several.arrays()).scores(*new), expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="scale has 3 numbers, not 4 or 5"):
        Detector.of({**several.arrays(), "scale": several.scale[:3]})
