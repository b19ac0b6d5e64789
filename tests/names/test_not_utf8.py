"""Names that are not UTF-8, as old archives and network shares give them: no command loses work over one."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

import googlenet
from googlenet.data.image_set import LabelledData
from googlenet.data.opening import open_data
from googlenet.errors import DataError, DiskFullError, NetworkError

LATIN = os.fsdecode(b"caf\xe9")  # the name of a folder in Latin-1
CALLED = r"caf\udce9"  # what its class is called


@pytest.fixture
def latin(coloured):
    """Three classes; the name of one, and of two images, one of them damaged, is not UTF-8."""
    (coloured / "red").rename(coloured / LATIN)
    (coloured / "blue/000.png").rename(coloured / "blue" / os.fsdecode(b"gr\xfcn.png"))
    (coloured / "blue" / os.fsdecode(b"b\xf6se\n.png")).write_bytes(b"damaged")
    return coloured


def test_a_training_is_finished_resumed_and_used(latin, tiny, tmp_path, call):
    run = tmp_path / os.fsdecode(b"l\xe4ufe")
    trained = googlenet.train(latin, run, network=tiny, epochs=2, batch_size=8, workers=0)
    assert trained.card.class_names == ("blue", CALLED, "green")
    shutil.rmtree(trained.path)  # as after a kill between the last epoch and the bundle
    resumed = googlenet.train(latin, run, resume=True)
    assert resumed.card == trained.card
    assert json.loads((run / "run.json").read_text("utf-8"))["data"]["name"] == str(latin)
    with (run / "unreadable.csv").open(encoding="utf-8", newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["blue/b\\udcf6se\n.png"]

    evaluation = googlenet.evaluate(run, latin)
    assert [each.name for each in evaluation.metrics.classes] == ["blue", CALLED, "green"]
    code, out, _err = call("evaluate", run, latin, "--json", "--split", "all")
    assert code == 0
    assert list(json.loads(out)["unreadable"]) == ["blue/b\\udcf6se\n.png"]


def test_answers_are_found_again_by_the_name(latin, tiny, tmp_path, call):
    run, everything = tmp_path / "run", tmp_path / "all"
    googlenet.train(latin, run, network=tiny, epochs=6, batch_size=8, workers=0)
    image = latin / LATIN / "000.png"
    shutil.copytree(latin / LATIN, everything / LATIN)
    for kind in ("csv", "jsonl", "parquet"):
        out = tmp_path / os.fsdecode(b"r\xe9sultats." + kind.encode())
        code, said, err = call("predict", run, everything, "--out", out)
        assert code == 0, err
        code, said, err = call("predict", run, everything, "--out", out, "--resume")
        assert code == 0, err
        assert f"{12:,} images, 12 of them from before" in said
        rows = {"csv": lambda file: list(csv.DictReader(file.open(encoding="utf-8"))),
                "jsonl": lambda file: [json.loads(line) for line in file.open(encoding="utf-8")],
                "parquet": lambda file: pq.read_table(file.open("rb")).to_pylist()}[kind](out)  # fmt: skip
        assert {row["path"] for row in rows} == {f"{everything}/{CALLED}/{n:03d}.png" for n in range(12)}
        assert CALLED in {row["class"] for row in rows}
    assert call("predict", run, everything, "--embeddings", "--out", tmp_path / "embeddings.parquet")[0] == 0
    code, out, _ = call("predict", run, image, "--sort-into", tmp_path / "sorted", "--json")
    [named] = json.loads(out)
    assert code == 0
    assert named["path"] == str(image.parent.parent / CALLED / "000.png")
    folder = named["class"].replace("\\", "_")
    assert (tmp_path / "sorted" / folder / "000.png").is_file()


def test_the_doctor_copies_them_byte_by_byte(latin, tmp_path, call):
    code, out, err = call("doctor", latin, "--fix", tmp_path / "clean")
    assert code == 0
    assert "left out" in out
    assert (tmp_path / "clean" / LATIN / "000.png").read_bytes() == (latin / LATIN / "000.png").read_bytes()
    assert (tmp_path / "clean/blue" / os.fsdecode(b"gr\xfcn.png")).is_file()
    assert open_data(tmp_path / "clean").class_names == ("blue", CALLED, "green")
    code, out, err = call("doctor", latin, "--fix", tmp_path / "clean.csv")
    assert code == 2
    assert "cannot be named in a list, which is UTF-8" in err
    assert len(err.splitlines()) == 1


def test_a_class_is_one_in_every_split(latin, tmp_path):
    for split in ("train", "val"):
        shutil.copytree(latin, tmp_path / "split" / split)
    assert open_data(tmp_path / "split").class_names == ("blue", CALLED, "green")


def test_two_folders_that_would_be_one_class_are_refused(latin, call, tmp_path):
    shutil.copytree(latin / "green", latin / CALLED)
    code, _out, err = call("train", latin, "--out", tmp_path / "run")
    assert code == 2
    assert "would be one class, caf\\udce9: rename one of them" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_class_of_ones_own_is_refused_before_training(latin):
    data = open_data(latin)
    with pytest.raises(DataError, match=r"the class caf\\udce9 is not UTF-8: give it another name"):
        LabelledData("mine", ("blue", LATIN, "green"), data.splits, made_here=True)


# The end is tried before the beginning.


def test_what_cannot_be_shipped_is_known_before_the_first_epoch(coloured, tiny, tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise NetworkError("cannot be written")

    monkeypatch.setattr("googlenet.exporting.bundles.to_onnx", broken)
    with pytest.raises(NetworkError, match="cannot be written"):
        googlenet.train(coloured, tmp_path / "run", network=tiny, epochs=2, batch_size=8, workers=0)
    assert "epoch   1" not in capsys.readouterr().err
    monkeypatch.undo()
    googlenet.train(coloured, tmp_path / "run", network=tiny, epochs=1, batch_size=8, workers=0)  # nothing in the way


def test_a_disk_too_small_for_the_bundle_is_known_before_the_first_epoch(coloured, tiny, small_disk, capsys):
    (small_disk / "filler").write_bytes(bytes(8_340_000))
    with pytest.raises(DiskFullError, match=r"no space left for the run .*: free some, then start again"):
        googlenet.train(coloured, small_disk / "run", network=tiny, epochs=2, batch_size=8, workers=0)
    assert "epoch   1" not in capsys.readouterr().err


def test_the_trial_leaves_nothing_behind(trained_run):
    assert [path.name for path in (trained_run / "checkpoints").iterdir() if path.is_dir()] == []


def test_in_a_locale_that_is_ascii_names_are_the_same(coloured, tmp_path, call):
    """Python holds the letters of a UTF-8 name as bytes there."""
    (coloured / "red").rename(coloured / "café")
    (coloured / "blue").rename(coloured / "猫")
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    def there(*words):
        command = [sys.executable, "-m", "googlenet", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=ascii_only)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run, results = tmp_path / "run", tmp_path / "r.csv"
    there("train", coloured, "--out", run, "--network", "lenet5", "--image-size", 32, "--epochs", 1, "--workers", 0)
    assert googlenet.load(run).class_names == ("café", "green", "猫")
    told, known = there("evaluate", run, coloured, "--json"), call("evaluate", run, coloured, "--json")[1]
    names = [list(json.loads(out)["classes"]) for out in (told, known)]
    assert names == 2 * [["café", "green", "猫"]]
    there("predict", run, coloured / "café", "--out", results)
    assert call("predict", run, coloured / "café", "--out", results, "--resume")[0] == 0
    assert results.read_text("utf-8").count(f"{coloured}/café/") == 12
