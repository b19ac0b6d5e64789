"""How long the end of a run will take, told from a few images: with a clock that only the work moves."""

from __future__ import annotations

import time

import pytest

from googlenet.training.estimate import seconds_each


@pytest.fixture
def work(monkeypatch):
    """Work that compiles for 5 seconds each time, and takes 0.01 for each image."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def work(count):
        now[0] += 5 + 0.01 * count

    return work


def test_what_it_takes_to_start_is_not_counted_for_each_image(work):
    assert seconds_each(work, 10_000) == pytest.approx(0.01)


@pytest.mark.parametrize("available", [1, 5, 32])
def test_of_a_few_images_all_are_tried(work, available):
    assert seconds_each(work, available) == pytest.approx(5 / available + 0.01)
