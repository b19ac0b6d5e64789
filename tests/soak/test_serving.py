"""A server for as long as it takes: the rows of benchmarks/serving.py with the numbers that were asked for.

``SOAK_SCALE=0.01`` takes a hundredth of each number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCALE = float(os.environ.get("SOAK_SCALE", "1"))
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "serving.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(50):
        pixels = random.integers(0, 256, (60 + number, 90, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(made / f"{number}.{('png', 'jpg')[number % 2]}")
    return made


@pytest.fixture
def measured(trained_run, folder):
    def measure(row, *options):
        command = [sys.executable, BENCHMARK, trained_run, folder, row, *options]
        done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])[row]

    return measure


def many(number):
    return max(1, round(number * SCALE))


def test_100_000_requests_have_each_its_own_answer(measured):
    found = measured("distinct", "--count", many(100_000))
    assert found["not_the_offline_answer"] == 0
    assert found["requests"] == many(100_000)
    assert found["different_answers"] > 0.9 * found["requests"]  # so that a mixed-up answer is noticed


def test_bad_images_fail_alone(measured):
    found = measured("innocent", "--count", many(10_000))
    assert (found["innocent_failures"], found["bad_ones_answered"]) == (0, 0)


def test_who_leaves_is_not_computed(measured):
    found = measured("abandoned", "--count", many(1000))
    assert found["left"] >= many(1000)
    assert found["computed_of_those_who_left"] == 0


def test_50_ends_lose_nothing(measured):
    found = measured("sigterm", "--times", many(50))
    assert (found["lost"], found["exit_codes"]) == (0, [0])
    assert found["longest_s"] < 10


def test_100_swaps_without_an_error(measured):
    found = measured("swap", "--times", max(2, many(100)))
    assert (found["swaps"], found["errors"], found["versions"]) == (max(2, many(100)), 0, 2)


def test_hostile_bytes(measured):
    found = measured("hostile", "--count", many(10_000))
    assert found["alive"]
    assert set(found["statuses"]) <= {"200", "413", "422"}
    assert set(found["bombs"]) <= {"200", "413", "422"}
    assert set(found["headers"]) == {"413"}
    assert found["grown_by_bombs_mb"] <= 64


def test_slow_clients(measured):
    found = measured("slow", "--seconds", 5)
    assert set(found["statuses"]) == {"200"}
    assert found["last_closed_s"] <= 30


def test_forged_requests(measured):
    assert measured("forged")["not_refused"] == {}


def test_schemathesis_in_all_phases(measured):
    found = measured("schemathesis", "--count", many(100))
    assert found["failures"] == 0
    assert not any(status.startswith("5") for status in found["statuses"])


def test_ten_times_what_can_be_answered(measured):
    found = measured("load", "--seconds", many(60))
    for percent in (50, 80, 95, 120, 1000):
        assert found[f"{percent} %"]["lost"] == 0
        assert found[f"{percent} %"]["grown_mb"] <= 50
