"""Occlusion and RISE against scores whose truth is known."""

import numpy as np
import pytest

import googlenet
from googlenet.explaining.perturbing import log_odds, occlusion, rise
from googlenet.models.zoo import NETWORKS
from tests.explaining.conftest import photo

COVER = np.full(3, 127, np.uint8)


def bright_square(batch):
    """A score that grows with the light of one square, and falls with that of another."""
    light = batch.astype(np.float64).mean(axis=3) / 255
    return 4 * light[:, 8:16, 8:16].mean(axis=(1, 2)) - 2 * light[:, 32:40, 48:56].mean(axis=(1, 2))


@pytest.mark.parametrize("method", [occlusion, rise])
def test_what_the_score_depends_on_is_found_with_its_sign(method):
    image = np.full((64, 64, 3), 255, np.uint8)
    steps = []
    found = method(image, bright_square, COVER, lambda done, total: steps.append((done, total)))
    side = len(found.values)
    row, column = np.unravel_index(found.values.argmax(), found.values.shape)
    assert (abs((row + 0.5) / side - 12 / 64), abs((column + 0.5) / side - 12 / 64)) < (0.1, 0.1)
    row, column = np.unravel_index(found.values.argmin(), found.values.shape)
    assert abs((row + 0.5) / side - 36 / 64) < 0.12
    assert abs((column + 0.5) / side - 52 / 64) < 0.12
    assert found.score == pytest.approx(2)
    assert steps[-1][0] == steps[-1][1]
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert (np.abs(found.values) <= found.noise).mean() > 0.4  # most other cells are not told from chance


def test_a_score_that_depends_on_nothing_has_no_evidence():
    image = photo(64)[:64, :64]
    for method in (occlusion, rise):
        found = method(image, lambda batch: np.zeros(len(batch)), COVER)
        assert found.values.max() <= max(found.noise, 1e-6)
    noisy = np.random.default_rng(0)
    found = rise(image, lambda batch: noisy.normal(size=len(batch)), COVER)
    assert (np.abs(found.values) > found.noise).mean() < 0.02


def test_rise_is_seeded():
    image = np.full((32, 32, 3), 255, np.uint8)
    first, again = (rise(image, lambda b: b.mean(axis=(1, 2, 3)), COVER, masks=40).values for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != rise(image, lambda b: b.mean(axis=(1, 2, 3)), COVER, masks=40, seed=1).values).any()


def test_log_odds_do_not_vanish_where_a_network_is_sure():
    p = np.array([[1.0, 1e-12, 1e-13]], np.float32)
    assert log_odds(p, 0) == pytest.approx(-np.log(1.1e-12), abs=1e-3)
    assert log_odds(p, 1, 2) == pytest.approx(np.log(10), abs=1e-3)
    assert log_odds(np.array([[0.8, 0.5]]), 0, multi_label=True) == pytest.approx(np.log(4))
    assert log_odds(np.array([[0.8, 0.5]]), 0, 1, multi_label=True) == pytest.approx(np.log(4))


def test_networks_without_maps_are_explained_by_many_runs(write):
    bundle, _ = write(NETWORKS["lenet5"])
    prediction = googlenet.load(bundle.path).predict(photo(32))
    for method, name in ((None, "occlusion"), ("rise", "rise")):
        found = prediction.explain(method=method)
        assert (found.method, found.unit) == (name, "log-odds")
        p = prediction.probability
        assert found.total == pytest.approx(np.log(p / (1 - p)), abs=1e-4)
