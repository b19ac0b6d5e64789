"""Clusters for longer than `make test` may take: many workers killed, each worker killed, drivers killed often."""

import math
import os
import signal
import threading
import time

import pytest

from googlenet.bulk.ray_cluster import MAX_ATTEMPTS
from tests.bulk.test_ray_cluster import (  # noqa: F401
    assert_survives_the_driver,
    photos,
    predict,
    processes,
    read,
    started,
)
from tests.cli.test_bulk import write_many


@pytest.fixture(scope="module")
def many(trained_run, photos):  # noqa: F811
    return write_many(trained_run.parent / "very_many_of_a_cluster", photos, 6000)


class Killer(threading.Thread):
    """Kills workers that are at work, one every so many seconds, so many ``at_most``, until it is told to stop."""

    def __init__(self, seconds, at_most=math.inf):
        super().__init__()
        self.seconds, self.at_most, self.kills, self.stopping = seconds, at_most, 0, threading.Event()

    def run(self):
        while self.kills < self.at_most and not self.stopping.wait(self.seconds):
            busy = [pid for pid, name in processes(os.getpid()).items() if "MapBatches(Worker)).submit" in name]
            if busy:
                os.kill(busy[0], signal.SIGKILL)
                self.kills += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()


def test_workers_are_killed_again_and_again(predict, many, tmp_path):  # noqa: F811
    kills = 0
    for number in range(10):
        out = tmp_path / f"{number}"
        with Killer(0.5, at_most=MAX_ATTEMPTS - 1) as killer:  # were all of them at one part, it would still be done
            code, said, err = predict(many, "--out", out)
        assert (code, err) == (1, "")
        assert "6,000 images, each there once, 2 could not be read; " in said
        assert sorted(read(out)) == sorted(map(str, many.iterdir()))
        kills += killer.kills
    assert kills >= 10


def test_what_kills_every_worker_is_an_error_in_the_end(predict, many, tmp_path):  # noqa: F811
    begun = time.monotonic()
    with Killer(0.1):
        code, said, err = predict(many, "--out", tmp_path / "results")
    assert (code, said, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"googlenet: 4 workers died of the images from {many}/")
    assert time.monotonic() - begun < 300
    code, said, err = predict(many, "--out", tmp_path / "results", "--resume")
    assert (code, err) == (1, "")
    assert sorted(read(tmp_path / "results")) == sorted(map(str, many.iterdir()))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM] * 3)
def test_drivers_are_killed_and_stopped(predict, trained_run, many, tmp_path, number):  # noqa: F811
    code = -9 if number == signal.SIGKILL else 128 + number
    assert_survives_the_driver(predict, trained_run, many, tmp_path / "results", number, code)
