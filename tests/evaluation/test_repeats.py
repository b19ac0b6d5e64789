"""Ways of training, repeated: intervals that hold what they promise, and what so many seeds and images can show."""

import numpy as np
import pytest

from googlenet.errors import DataError
from googlenet.evaluation.comparison import compare_answers
from googlenet.evaluation.repeats import compare_repeats


def simulated(random, seeds, n, effect=0.0, luck=0.02):
    """Answers (S, N) of two ways of training: images differ in how hard they are, and each training in its luck."""
    hard = random.normal(0, 1, n)
    found = []
    for gain in (effect, 0.0):
        shift = random.normal(0, luck, (seeds, 1)) * 3 + 3 * gain
        found.append(random.normal(0, 0.5, (seeds, n)) < 0.8 - hard + shift)
    return found


def test_the_interval_holds_the_truth_and_a_pair_of_runs_does_not():
    random, held, too_sure = np.random.default_rng(0), 0, 0
    for _ in range(200):
        first, second = simulated(random, 5, 300, luck=0.05)
        found = compare_repeats(first, second)
        held += found.difference.low <= 0 <= found.difference.high
        pair = compare_answers(first[0], second[0]).difference
        too_sure += not pair.low <= 0 <= pair.high
    assert held >= 0.95 * 200
    assert too_sure > 0.1 * 200  # it does not know of the trainings' luck


def test_what_can_be_shown_is_shown_in_most_cases():
    random = np.random.default_rng(1)
    effect, shown = 0.07, 0
    detectable, values = [], []
    for _ in range(60):
        found = compare_repeats(*simulated(random, 5, 600, effect, luck=0.01))
        shown += found.verdict == "better"
        detectable.append(found.detectable)
        values.append(found.difference.value)
    assert np.mean(values) > np.mean(detectable)  # more than so many seeds and images need
    assert shown >= 0.8 * 60


def test_groups_one_seed_and_other_images():
    random = np.random.default_rng(2)
    first, second = (np.repeat(each, 10, axis=1) for each in simulated(random, 4, 40))
    groups = [f"{number // 10}" for number in range(400)]
    alone, grouped = compare_repeats(first, second), compare_repeats(first, second, groups)
    assert grouped.difference.value == alone.difference.value
    assert grouped.difference.high - grouped.difference.low > 1.5 * (alone.difference.high - alone.difference.low)
    one = compare_repeats(first[:1], second[:1])
    assert (one.verdict, one.difference.low, one.detectable) == ("unknown", None, None)
    assert one.detectable_by_one == one.pairs[0].detectable
    same = compare_repeats(first, first)
    assert (same.difference.low, same.difference.high, same.verdict) == (0.0, 0.0, "no difference")
    assert (same.detectable, same.detectable_by_one) == (None, None)
    with pytest.raises(DataError, match="on the same images"):
        compare_repeats(first, second[:, 1:])
