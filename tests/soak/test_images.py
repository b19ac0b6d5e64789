"""Hostile images, the long version: every bomb in every way, and 20,000 files with changed bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HOSTILE = Path(__file__).parents[1] / "hostile"
SECONDS, MEGABYTES = 5, 1024


def run(*arguments: object) -> str:
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("way", ["predict", "train", "evaluate", "doctor"])
def test_every_bomb_in_every_way(tmp_path: Path, way: str) -> None:
    run(HOSTILE / "bombs.py", tmp_path)
    for line in run(HOSTILE / "measure.py", "bombs", tmp_path, way).splitlines():
        each = json.loads(line)
        assert each["seconds"] <= SECONDS, each
        assert each["megabytes"] <= MEGABYTES, each
        assert not each["outcome"].startswith("!"), each


@pytest.mark.parametrize("seed", range(1, 5))
def test_20_000_files_with_changed_bytes(seed: int) -> None:
    found = json.loads(run(HOSTILE / "measure.py", "mutations", 5000, seed))
    assert found["wrong"] == []
    assert found["slowest"] <= SECONDS
    assert found["megabytes"] <= MEGABYTES
