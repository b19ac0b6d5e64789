"""Bundles damaged at random, very many of them."""

import pytest

from tests.hostile.test_bundles import check_mutations, sound  # noqa: F401


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_thousand_bundles_damaged_at_random_are_refused_or_answer_as_before(sound, seed):  # noqa: F811
    check_mutations(sound, seed, 1000)
