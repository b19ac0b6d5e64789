"""Two classifiers on the same images: chance is called chance, real differences are found, groups count as groups."""

import numpy as np
import pytest
from scipy import stats

from googlenet.evaluation.comparison import compare_answers, mcnemar, smallest_difference


def test_two_equal_classifiers_are_no_different_in_95_of_100_cases():
    random, verdicts, covered = np.random.default_rng(0), [], []
    for _ in range(400):
        shared = random.random(1000) < 0.85
        apart = random.random(1000) < 0.25  # where the two do not err together
        first, second = (np.where(apart, random.random(1000) < 0.85, shared) for _ in range(2))
        found = compare_answers(first, second)
        verdicts.append(found.verdict == "no difference")
        covered.append(found.difference.low <= 0 <= found.difference.high)
    assert np.mean(verdicts) >= 0.93
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_the_smallest_difference_is_found_in_80_of_100_cases():
    random, n, discordant = np.random.default_rng(0), 2000, 0.1
    change = smallest_difference(discordant, n)
    assert 100 * change == pytest.approx(2.0, abs=0.05)
    shares = [(discordant + change) / 2, (discordant - change) / 2, 1 - discordant]
    counts = random.multinomial(n, shares, 1000)
    assert np.mean([mcnemar(a, b) < 0.05 for a, b, _ in counts]) == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(("a", "b"), [(10, 0), (7, 3), (0, 0), (25, 40)])
def test_mcnemar_is_the_exact_binomial_test(a, b):
    expected = min(1.0, 2 * stats.binom.cdf(min(a, b), a + b, 0.5)) if a + b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected)


def test_counts_and_verdicts():
    first = np.array([True] * 90 + [False] * 10)
    second = np.array([True] * 70 + [False] * 30)
    found = compare_answers(first, second)
    assert (found.both_right, found.only_first, found.only_second, found.both_wrong) == (70, 20, 0, 10)
    assert found.difference.value == pytest.approx(0.2)
    assert found.difference.low < 0.2 < found.difference.high
    assert (found.verdict, compare_answers(second, first).verdict) == ("better", "worse")
    same = compare_answers(first, first)
    assert (same.verdict, same.p_value, same.detectable) == ("no difference", 1.0, None)


def test_groups_that_err_together_are_not_counted_as_so_many_images():
    random, by_group, by_image = np.random.default_rng(0), [], []
    names = [str(group) for group in range(40) for _ in range(20)]
    for _ in range(150):
        base = np.repeat(random.random(40) < 0.8, 20)
        flipped = np.repeat(random.choice([-1, 0, 1], 40, p=[0.1, 0.8, 0.1]), 20)
        first, second = np.where(flipped > 0, True, base), np.where(flipped < 0, True, base)
        by_group.append(compare_answers(first, second, names).verdict == "no difference")
        by_image.append(compare_answers(first, second).verdict == "no difference")
    assert np.mean(by_group) >= 0.93
    assert np.mean(by_image) < 0.7
    few = compare_answers(first, second, ["a", "b"] * 400)
    assert few.difference.low is None
