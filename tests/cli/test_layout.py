"""Folders, lists and archives as they come, from the command line: nothing is passed over, and nothing hangs."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

TRAIN = ["--network", "lenet5", "--epochs", "1", "--batch-size", "8", "--image-size", "32", "--workers", "0",
         "--precision", "fp32", "--device", "cpu"]  # fmt: skip
SECONDS = 120  # after which a command hangs


def run(*arguments, **options):
    """Run a command in a process of its own, which can be ended where it hangs."""
    command = [sys.executable, "-m", "googlenet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, **options)


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["error"] for row in csv.DictReader(file)}


# What is there and not read


def test_predict_gives_a_row_to_images_that_it_does_not_read(call, trained_run, coloured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.cr2", "b.jxl", "Thumbs.db", "notes.txt"):
        (coloured / "red" / name).write_bytes(b"x")
    shutil.copy(coloured / "red/000.png", coloured / "red/upper.PNG")
    code, out, err = call("predict", trained_run, "photos", "--out", "results.csv")
    assert code == 1
    rows = rows_of(tmp_path / "results.csv")
    assert len(rows) == 36 + 1 + 2
    assert rows["photos/red/upper.PNG"] == ""
    raw = "is of a kind that is not read: export camera raw files as JPEG or TIFF"
    assert rows["photos/red/a.cr2"] == f"photos/red/a.cr2 {raw}"
    assert "photos/red/b.jxl is of a kind that is not read: convert to" in rows["photos/red/b.jxl"]
    assert err.splitlines() == [
        "photos: left out 1 file or folder that a system made (red/Thumbs.db)",
        "photos: left out 1 file that is no image (.txt 1: red/notes.txt)",
    ]
    assert "2 could not be read" in out


def test_a_cameras_raw_file_is_not_taken_for_the_preview_in_it(call, trained_run, coloured, tmp_path):
    from PIL import Image

    Image.open(coloured / "red/000.png").save(tmp_path / "a.nef", format="TIFF")
    code, _, err = call("predict", trained_run, tmp_path / "a.nef")
    assert code == 1
    assert "a.nef is of a kind that is not read: export camera raw files" in err


def test_train_evaluate_and_doctor_name_what_they_leave_out(call, coloured, tmp_path):
    for name in ("a.cr2", "b.jxl", "c.jxl"):
        (coloured / "red" / name).write_bytes(b"x")
    (coloured / "blue/@eaDir").mkdir()
    shutil.copy(coloured / "red/000.png", coloured / "blue/@eaDir/THUMB.png")
    left_out = [
        f"{coloured}: left out 1 image (.cr2 1: red/a.cr2): export camera raw files as JPEG or TIFF",
        f"{coloured}: left out 2 images (.jxl 2: red/b.jxl, red/c.jxl): convert to JPEG or PNG",
        f"{coloured}: left out 1 file or folder that a system made (blue/@eaDir)",
    ]
    code, _, err = call("train", coloured, "--out", tmp_path / "run", *TRAIN)
    assert code == 0, err
    assert [line for line in err.splitlines() if "left out" in line] == left_out
    code, _, err = call("evaluate", tmp_path / "run", coloured)
    assert code == 0, err
    held_out = (
        f"measured on the 6 images of {coloured} that {tmp_path / 'run'} held out of its training; its best epoch was "
        "chosen by them, so the figures are slightly too good"
    )
    assert sorted(err.splitlines()) == sorted([*left_out, held_out])
    code, out, err = call("doctor", coloured, "--json")
    assert err.splitlines() == left_out
    assert [(one["names"], one["detail"]) for one in json.loads(out)["findings"] if one["kind"] == "ignored"] == [
        (["blue/@eaDir"], "file or folder that a system made"),
        (["red/a.cr2"], "not of a kind that is read: export camera raw files as JPEG or TIFF"),
        (["red/b.jxl"], "not of a kind that is read: convert to JPEG or PNG"),
        (["red/c.jxl"], "not of a kind that is read: convert to JPEG or PNG"),
    ]


def test_linked_folders_are_followed_on_demand_by_all(call, coloured, trained_run, tmp_path):
    shutil.copytree(coloured / "red", tmp_path / "more")
    (coloured / "red/more").symlink_to(tmp_path / "more")
    (coloured / "red/loop").symlink_to(coloured)
    code, _, err = call("train", coloured, "--out", tmp_path / "run", *TRAIN)
    assert (code, err.count("\n")) == (2, 1)
    assert "lead elsewhere by a link" in err
    assert not (tmp_path / "run").exists()
    for command in (
        ["train", coloured, "--out", tmp_path / "run", *TRAIN],
        ["evaluate", tmp_path / "run", coloured, "--split", "all"],
        ["doctor", coloured],
        ["predict", trained_run, coloured, "--out", tmp_path / "out.csv"],
    ):
        code, out, err = call(*command, "--follow-links")
        assert code == (1 if command[0] == "doctor" else 0), err  # the doctor finds the copies
        if command[0] in ("evaluate", "doctor"):
            assert "48 images" in out
    assert len(rows_of(tmp_path / "out.csv")) == 48


def test_a_run_inside_of_data_is_no_class_and_goes_on(coloured, monkeypatch):
    monkeypatch.chdir(coloured)
    begun = subprocess.Popen(
        [sys.executable, "-m", "googlenet", "train", ".", "--out", "runs/a", *TRAIN, "--epochs", "10"],
        stderr=subprocess.PIPE,
    )
    try:
        while not list((coloured / "runs").glob("a/checkpoints/step-*")):
            assert begun.poll() is None, begun.stderr.read()
            time.sleep(0.02)
        begun.send_signal(signal.SIGINT)
        assert begun.wait(SECONDS) == 130
    finally:
        begun.kill()
        begun.stderr.close()
    done = run("train", ".", "--out", "runs/a", "--resume")
    assert done.returncode == 0, done.stderr
    assert ".: left out 1 run or bundle of googlenet (runs/a)" in done.stderr


# What is no file


@pytest.fixture
def piped(coloured):
    os.mkfifo(coloured / "red/pipe.png")
    return coloured


def test_a_pipe_among_images_is_one_that_cannot_be_read(piped, trained_run, tmp_path):
    said = "pipe.png is a FIFO, not an image"
    done = run("train", piped, "--out", tmp_path / "run", *TRAIN)
    assert done.returncode == 0, done.stderr
    assert "images skipped because they could not be read: 1;" in done.stderr
    assert said in (tmp_path / "run/unreadable.csv").read_text()
    done = run("evaluate", trained_run, piped, "--split", "all")
    assert done.returncode == 0, done.stderr
    assert said in done.stderr
    done = run("predict", trained_run, piped, "--out", tmp_path / "out.csv")
    assert done.returncode == 1, done.stderr
    assert said in rows_of(tmp_path / "out.csv")[f"{piped}/red/pipe.png"]
    done = run("doctor", piped)
    assert done.returncode == 1
    assert "is a FIFO" in done.stdout


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", ".out.parquet.journal.jsonl"])
def test_a_pipe_in_place_of_results_is_refused(trained_run, coloured, tmp_path, name):
    os.mkfifo(tmp_path / name)
    out = tmp_path / name.removeprefix(".").removesuffix(".journal.jsonl")
    done = run("predict", trained_run, coloured, "--out", out, "--resume")
    assert done.returncode == 2
    assert done.stderr == f"googlenet: {tmp_path / name} is a FIFO, not a file: give another name\n"


@pytest.mark.parametrize(
    "command",
    [
        ["train", "list.csv", "--out", "run"],
        ["doctor", "list.csv"],
        ["predict", "RUN", "list.csv", "--column", "path"],
        ["predict", "RUN", "list.tsv", "--column", "path"],
        ["predict", "RUN", "a.zip"],
        ["train", "a.tar.gz", "--out", "run"],
    ],
)
def test_a_pipe_in_place_of_a_list_or_an_archive_is_refused(trained_run, tmp_path, command):
    for name in ("list.csv", "list.tsv", "a.zip", "a.tar.gz"):
        os.mkfifo(tmp_path / name)
    done = run(*(trained_run if word == "RUN" else word for word in command), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "is a FIFO, not a file" in done.stderr


# Archives


def test_an_archive_is_trained_on_evaluated_and_predicted(call, coloured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.make_archive("photos", "zip", tmp_path, "photos")
    code, _, err = call("train", "photos.zip", "--out", "run", *TRAIN)
    assert code == 0, err
    tops = []
    for data in ("photos.zip", "photos"):
        code, out, err = call("evaluate", "run", data)
        assert code == 0, err
        tops.append(out.split("top-1 ")[1].split()[0])
    assert tops[0] == tops[1]
    code, out, err = call("predict", "run", "photos.zip", "--out", "results.csv")
    assert code == 0, err
    before = (tmp_path / "results.csv").read_text()
    assert set(rows_of(tmp_path / "results.csv")) == {
        f"photos.zip/{path.relative_to(tmp_path)}" for path in coloured.glob("*/*.png")
    }
    code, out, err = call("predict", "run", "photos.zip", "--out", "results.csv", "--resume")
    assert (code, (tmp_path / "results.csv").read_text()) == (0, before)
    assert "36 images, 36 of them from before" in out
    code, out, err = call("predict", "run", "photos.zip", "--sort-into", "sorted")
    assert code == 2
    assert "--sort-into copies files, and photos.zip is an archive: unpack it first" in err


# One name that is wrong


def test_a_bracketed_name_that_is_not_there_costs_one_row(call, coloured, trained_run, monkeypatch):
    monkeypatch.chdir(coloured)
    code, out, _ = call("predict", trained_run, "photo [1].jpg", "red/000.png", "--csv")
    assert code == 1
    rows = list(csv.DictReader(out.splitlines()))
    assert [(row["path"], bool(row["error"])) for row in rows] == [("photo [1].jpg", True), ("red/000.png", False)]
