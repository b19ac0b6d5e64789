"""A server for as long as it takes: the rows of benchmarks/serving.py with the numbers that were asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def test_100_000_requests_have_each_its_own_answer(measured):
    assert measured("distinct", "--count", 100_000)["not_the_offline_answer"] == 0


def test_bad_images_fail_alone(measured):
    found = measured("innocent", "--count", 10_000)
    assert (found["innocent_failures"], found["bad_ones_answered"]) == (0, 0)


def test_who_leaves_is_not_computed(measured):
    assert measured("abandoned")["computed_of_those_who_left"] == 0


def test_50_ends_lose_nothing(measured):
    found = measured("sigterm", "--times", 50)
    assert (found["lost"], found["exit_codes"]) == (0, [0])
    assert found["longest_s"] < 10


def test_100_swaps_without_an_error(measured):
    found = measured("swap", "--times", 100)
    assert (found["swaps"], found["errors"], found["versions"]) == (100, 0, 2)


def test_hostile_bytes_and_slow_clients(measured):
    found = measured("hostile", "--count", 10_000)
    assert found["alive"]
    assert set(found["statuses"]) <= {"200", "413", "422"}
    assert found["grown_mb"] <= 64
    assert measured("slow", "--seconds", 5)["last_closed_s"] <= 30
