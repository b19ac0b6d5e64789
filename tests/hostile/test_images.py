"""Hostile images: small files of large cost, and files with changed bytes, within the budget of one image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import without_stages

HERE = Path(__file__).parent
SECONDS, MEGABYTES = 5, 1024  # the budget of one image, as googlenet.images.budget states it


def run(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bombs") / "a"
    made = run(HERE / "bombs.py", folder)
    assert made.returncode == 0, made.stderr
    return folder


def refused(bombs: Path, way: str) -> set[str]:
    """Read each bomb of a folder within its budget. Returns the names of those that were refused."""
    done = run(HERE / "measure.py", "bombs", bombs, way)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(list(bombs.iterdir()))
    for each in found:
        assert each["seconds"] <= SECONDS, each
        assert each["megabytes"] <= MEGABYTES, each
        assert not each["outcome"].startswith("!"), each
        assert each["outcome"] == "read" or each["outcome"].startswith(str(bombs)), each
    return {each["file"] for each in found if each["outcome"] != "read"}


REFUSED = {"fill.jpg", "scans_200.jpg", "animated_canvas.webp", "ends_of_lines.bmp", "strips.tif"}
READ = {"rgba.png", "floats.tif", "frames.gif", "pages.tif", "one_colour.avif"}
measurable = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs Linux, which says what memory was used"
)


@measurable
def test_every_bomb_is_read_or_refused_within_the_budget_of_one_image(bombs: Path) -> None:
    found = refused(bombs, "predict")
    assert found >= REFUSED
    assert not READ & found


@measurable
def test_training_reads_or_refuses_the_same_bombs(bombs: Path, tmp_path: Path) -> None:
    """Some of each kind, as training opens images as prediction does; tests/soak/test_images.py has every bomb."""
    for name in REFUSED | READ:
        (tmp_path / name).hardlink_to(bombs / name)
    assert refused(tmp_path, "train") == REFUSED


def test_random_changes_cost_no_more_and_raise_nothing_else() -> None:
    done = run(HERE / "measure.py", "mutations", 200, 0)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["slowest"] <= SECONDS
    assert found["megabytes"] <= MEGABYTES


def test_a_limit_is_raised_by_the_option_that_the_message_names(trained_run: Path, bombs: Path) -> None:
    def predict(*options: str) -> subprocess.CompletedProcess[str]:
        return run("-m", "googlenet", "predict", trained_run, bombs / "see_through.gif", *options)

    def evaluate(*options: str) -> subprocess.CompletedProcess[str]:
        return run("-m", "googlenet", "doctor", data, *options)

    refused = predict("--max-megapixels", "20")
    assert refused.returncode == 1
    assert "100,000,000 pixels, 20,000,000 are allowed: shrink it, or raise max_pixels (--max-megapixels 100)" in (
        refused.stderr.replace("\n", " ")
    )
    done = predict("--max-megapixels", "100")
    assert (done.returncode, without_stages(done.stderr)) == (0, "")  # and Pillow warns of nothing
    for wrong in ("0", "-1", "nan", "inf"):
        failed = predict("--max-megapixels", wrong)
        assert failed.returncode == 2
        assert "is not a number of megapixels above 0" in failed.stderr
    data = bombs.parent
    found = evaluate("--max-megapixels", "1", "--json")
    assert "--max-megapixels 100" in found.stdout
    assert found.stderr == f"{data}: left out 1 file that is no image (.npy 1: {bombs.name}/header.npy)\n"


def test_what_pillow_warns_of_is_never_printed(trained_run: Path, bombs: Path, tmp_path: Path) -> None:
    noisy = [
        bombs / name for name in ("exif_that_overlaps.jpg", "tags_that_overlap.tif", "frames.png", "giant_tile.tif")
    ]
    done = run("-m", "googlenet", "predict", trained_run, *noisy, "--json")
    lines = done.stderr.splitlines()
    assert all(line.startswith("not read: ") or line == "" for line in lines), done.stderr
