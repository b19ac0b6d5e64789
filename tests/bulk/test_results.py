"""Results files: rows that are cut anywhere, names of every kind, files in the way, disks that are full or closed."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import googlenet
from googlenet.bulk.formats import FORMATS, open_results
from googlenet.bulk.rows import embedding_schema, labels_schema, ranked_schema
from googlenet.errors import DiskFullError, MissingExtraError, ResultsError, RunError, UnreadableImageError
from tests.conftest import fill_up

NAMES = [
    "a.png",
    'of "January",\nfine.png',
    "one\rline\r\nfeed.png",
    "花.png",
    os.fsdecode(b"latin-\xe9.png"),
    "gone.png",
]
SHOWN = [name.encode("utf-8", "backslashreplace").decode() for name in NAMES]


@pytest.fixture(scope="module")
def answer(trained_run):
    return googlenet.load(trained_run).predict(trained_run.parent / "photos" / "red" / "001.png")


@pytest.fixture
def fill(answer):
    """Write a file of results about ``names``, the last of which cannot be read, leaving out those it has already."""

    def run(path, names=NAMES, schema=None, **options):
        with open_results(path, schema or ranked_schema(2), **options) as results:
            for name, shown in zip(names, SHOWN, strict=False):
                if shown not in results.done:
                    results.add(name, UnreadableImageError(f"{name} is gone") if name == NAMES[-1] else answer)
            results.finish()
        return results.summary

    return run


def read(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_name_comes_back_as_it_was(fill, answer, tmp_path, suffix):
    summary = fill(tmp_path / f"results{suffix}")
    rows = read(tmp_path / f"results{suffix}")
    assert [row["path"] for row in rows] == SHOWN
    assert list(rows[0]) == ["path", "error", "class", "probability", "class2", "probability2"]
    assert [(row["class"], float(row["probability"])) for row in rows[:-1]] == [
        ("red", round(answer.probability, 6))
    ] * 5
    assert (rows[-1]["error"], rows[-1]["class"] or None) == ("gone.png is gone", None)
    assert (summary.images, summary.unreadable, summary.classes) == (6, 1, {"red": 5})
    assert len(list(tmp_path.iterdir())) == 1  # no journal, nothing temporary


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_cut_at_any_byte_and_resumed_it_is_as_if_nothing_had_happened(fill, tmp_path, suffix):
    path = tmp_path / f"results{suffix}"
    fill(path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        summary = fill(path, resume=True)
        assert path.read_bytes() == whole, size
        assert (summary.images, summary.unreadable) == (6, 1)


def test_a_journal_cut_at_any_byte_becomes_the_same_parquet(fill, tmp_path, answer):
    whole, path = tmp_path / "whole.parquet", tmp_path / "results.parquet"
    fill(whole)
    with open_results(path, ranked_schema(2)) as results:
        for name in NAMES[:3]:
            results.add(name, answer)
        results.flush()
    journal = results.path_in_progress.read_bytes()
    assert not path.exists()
    for size in range(0, len(journal), 7):
        path.unlink(missing_ok=True)
        results.path_in_progress.write_bytes(journal[:size])
        fill(path, resume=True)
        assert read(path) == read(whole)
        assert not results.path_in_progress.exists()


def test_killed_between_parquet_and_its_journal_no_row_is_doubled(fill, tmp_path, answer):
    path = tmp_path / "results.parquet"
    with open_results(path, ranked_schema(2)) as results:
        for name in NAMES[:2]:
            results.add(name, answer)
        results.flush()
        journal = results.path_in_progress.read_bytes()
        results.finish()
    results.path_in_progress.write_bytes(journal)  # as if it had not been deleted yet
    assert fill(path, NAMES[:4], resume=True).images == 4
    assert [row["path"] for row in read(path)] == SHOWN[:4]
    results.path_in_progress.write_bytes(journal)
    assert fill(path, NAMES[:4], resume=True).images == 4
    assert len(read(path)) == 4
    assert not results.path_in_progress.exists()


@pytest.mark.parametrize("suffix", FORMATS)
def test_more_images_can_be_added_later(fill, tmp_path, suffix):
    path = tmp_path / f"results{suffix}"
    fill(path, NAMES[:2], resume=True)  # nothing there yet: it just starts
    assert fill(path, resume=True).images == 6
    assert [row["path"] for row in read(path)] == SHOWN


@pytest.mark.parametrize("suffix", FORMATS)
def test_several_labels(answer, tmp_path, suffix):
    path = tmp_path / f"results{suffix}"
    # The least likely class is a label, one before it is none: thresholds are each class's own.
    order = np.argsort(-answer.probabilities)
    thresholds = [0.0, 0.0, 0.0]
    thresholds[order[1]] = 1.0
    several = replace(answer, thresholds=tuple(thresholds))
    none = replace(several, probabilities=np.full(3, -1, np.float32))
    with open_results(path, labels_schema()) as results:
        results.add("a.png", several)
        results.add("none.png", none)
        results.finish()
    with open_results(path, labels_schema(), resume=True) as results:
        names = [answer.class_names[order[0]], answer.class_names[order[2]]]
        assert results.summary.classes == dict.fromkeys(names, 1)
        assert results.summary.images == 2
    named, unnamed = read(path)
    assert named["labels"] == ("|".join(names) if suffix == ".csv" else names)
    assert unnamed["labels"] == ("" if suffix == ".csv" else [])


@pytest.mark.parametrize("suffix", FORMATS)
def test_embeddings_come_back_to_the_bit_and_are_of_one_length(tmp_path, suffix):
    path = tmp_path / f"results{suffix}"
    vectors = np.random.default_rng(0).normal(0, 1e-3, (3, 1024)).astype(np.float32)
    with open_results(path, embedding_schema(1024)) as results:
        for number, vector in enumerate(vectors):
            results.add(f"{number}.png", vector)
        results.add("gone.png", UnreadableImageError("gone.png is gone"))
        results.finish()
    with open_results(path, embedding_schema(1024), resume=True) as results:
        assert (results.summary.images, results.summary.unreadable) == (4, 1)
        results.finish()
    *rows, gone = read(path)
    back = [row["embedding"] if suffix != ".csv" else [row[f"f{i:04d}"] for i in range(1024)] for row in rows]
    assert (np.array(back, np.float32) == vectors).all()
    assert not any(value for name, value in gone.items() if name not in ("path", "error"))
    with pytest.raises(ResultsError, match="give the options it was begun with, or another name"):
        open_results(path, embedding_schema(512), resume=True)


# What is in the way


@pytest.mark.parametrize("suffix", FORMATS)
def test_nothing_is_overwritten(fill, tmp_path, suffix):
    path = tmp_path / f"results{suffix}"
    fill(path)
    before = path.read_bytes()
    with pytest.raises(ResultsError, match=f"results{suffix} already exists: --resume continues it.* or delete it"):
        fill(path)
    with pytest.raises(ResultsError, match="give the options it was begun with, or another name"):
        fill(path, schema=ranked_schema(3), resume=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_journal_is_not_overwritten(tmp_path, answer):
    path = tmp_path / "results.parquet"
    with open_results(path, ranked_schema()) as results:
        results.add("a.png", answer)
        results.flush()
    with pytest.raises(ResultsError, match=r"was begun already \(its journal is .*\): --resume continues it"):
        open_results(path, ranked_schema())


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("content", [b"my notes", b"my notes\n", b'"', b'{"path": "a.png"}\n', bytes(100)])
def test_a_file_of_something_else_is_left_as_it_is(tmp_path, suffix, content):
    path = tmp_path / f"results{suffix}"
    path.write_bytes(content)
    with pytest.raises(ResultsError) as caught:
        open_results(path, ranked_schema(), resume=True)
    assert str(caught.value).isprintable()
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".csv", b"a,b\n"),
        (".csv", b"\xff,,,,,\n"),
        (".jsonl", b"{}\n"),
        (".jsonl", b"[[\n"),
        (".jsonl", b"[" * 9999 + b"\n"),
    ],
)
def test_a_damaged_row_in_the_middle_is_said(fill, tmp_path, suffix, damage):
    path = tmp_path / f"results{suffix}"
    fill(path, ["a.png", "b.png"])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-1], damage, lines[-1]]))
    with pytest.raises(ResultsError, match=f"results{suffix}: row {len(lines)} does not fit"):
        open_results(path, ranked_schema(2), resume=True)


def test_a_quote_too_many_does_not_cut_a_large_file(fill, tmp_path):
    path = tmp_path / "results.csv"
    fill(path, ["a.png"])
    content = path.read_bytes() + b'"' + b"b.png,,red,0.9,blue,0.1\n" * 100_000
    path.write_bytes(content)
    with pytest.raises(ResultsError, match="row 3 does not fit"):
        open_results(path, ranked_schema(2), resume=True)
    assert path.read_bytes() == content


def test_two_do_not_write_to_one_file(fill, tmp_path):
    with (
        open_results(tmp_path / "results.csv", ranked_schema(2)),
        pytest.raises(ResultsError, match="is being written by another process"),
    ):
        fill(tmp_path / "results.csv", resume=True)
    fill(tmp_path / "results.csv", resume=True)


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("results.xlsx", ResultsError, "ends in none of .csv, .jsonl, .parquet"),
        ("folder.csv", ResultsError, "is a folder: give the name of a file"),
        ("file/results.csv", RunError, "cannot be written: "),
        ("new/folder/" + "x" * 300 + ".csv", RunError, "cannot be written: File name too long"),
        ("x" * 300 + ".parquet", RunError, "cannot be written: File name too long"),
    ],
)
def test_a_place_where_no_file_can_be(tmp_path, name, error, says):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(error) as caught:
        open_results(tmp_path / name, ranked_schema())
    assert says in str(caught.value)


def test_parquet_without_pyarrow_is_said_before_any_work(trained_run, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys\nsys.modules['pyarrow'] = None\n")
    before = os.environ.get("PYTHONPATH", "")
    environment = os.environ | {"PYTHONPATH": f"{hidden}{os.pathsep}{before}"}
    command = [sys.executable, "-m", "googlenet", "predict", "nowhere", "a.png", "--out"]
    result = subprocess.run([*command, "r.parquet"], capture_output=True, text=True, env=environment, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"googlenet: {MissingExtraError('parquet', 'pyarrow')}\n"
    result = subprocess.run([*command, "r.csv"], capture_output=True, text=True, env=environment, check=False)
    assert result.stderr.startswith("googlenet: nowhere does not exist")


# Disks


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_is_said_and_the_rows_before_are_whole(fill, answer, small_disk, suffix):
    path = small_disk / f"results{suffix}"
    names = [f"{number:06d}.png" for number in range(500)]
    with open_results(path, ranked_schema(2)) as results:
        for name in names[:100]:
            results.add(name, answer)
        fill_up(small_disk)
        with pytest.raises(DiskFullError) as caught:
            all(results.add(name, answer) is None for name in names[100:])
    assert str(caught.value) == f"no space left to write {path}; its rows are whole: free some space, then add --resume"
    content = results.path_in_progress.read_bytes()
    assert content.endswith(b"\n")
    assert 64 <= content.count(b"\n") < 500
    (small_disk / "filler").unlink()
    with open_results(path, ranked_schema(2), resume=True) as results:
        for name in names:
            if name not in results.done:
                results.add(name, answer)
        results.finish()
    assert [row["path"] for row in read(path)] == names


def test_a_disk_that_fills_up_while_the_journal_becomes_parquet(answer, small_disk):
    path = small_disk / "results.parquet"
    random = np.random.default_rng(0)
    with open_results(path, embedding_schema(512)) as results:
        for number in range(600):
            results.add(f"{number:04d}.png", random.normal(size=512).astype(np.float32))
        results.flush()
        fill_up(small_disk)
        with pytest.raises(DiskFullError, match="its rows are whole"):
            results.finish()
    (small_disk / "filler").unlink()
    assert [each.name for each in small_disk.iterdir()] == [results.path_in_progress.name]
    with open_results(path, embedding_schema(512), resume=True) as results:
        results.finish()
    assert len(read(path)) == 600


@pytest.mark.parametrize("how", ["deleted", "replaced", "moved", "with its folder"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_is_deleted_while_it_is_written_is_said(answer, tmp_path, suffix, how):
    path = tmp_path / "results" / f"r{suffix}"
    with open_results(path, ranked_schema()) as results:
        results.add("a.png", answer)
        results.flush()
        if how == "with its folder":
            shutil.rmtree(path.parent)
        elif how == "moved":
            results.path_in_progress.rename(tmp_path / "moved")
        else:
            results.path_in_progress.unlink()
        if how == "replaced":
            results.path_in_progress.write_bytes(b"")
        rows = (lambda n=n: results.add(f"b{n}.png", answer) for n in range(40))  # or heard of within a second
        with pytest.raises(RunError, match=rf"r{suffix} was deleted, moved or replaced while .*: begin again"):
            all(row() is None for row in rows)
        with pytest.raises(RunError, match="was deleted, moved or replaced"):
            results.finish()


@pytest.mark.parametrize("how", ["emptied", "cut", "appended to"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_is_changed_while_it_is_written_is_said(answer, tmp_path, suffix, how):
    """As by a rotation of logs that copies and truncates, or an editor that saves in place."""
    path = tmp_path / f"r{suffix}"
    with open_results(path, ranked_schema()) as results:
        results.add("a.png", answer)
        results.flush()
        content = results.path_in_progress.read_bytes()
        results.path_in_progress.write_bytes({"emptied": b"", "cut": content[:-5], "appended to": content + b"x"}[how])
        changed = results.path_in_progress.read_bytes()
        with pytest.raises(RunError, match=rf"r{suffix} was emptied, cut or written to by something else"):
            all(results.add(f"b{n}.png", answer) is None for n in range(40))
        with pytest.raises(RunError, match="was emptied, cut or written to by something else"):
            results.finish()
        assert results.path_in_progress.read_bytes() == changed


def test_parquet_that_is_deleted_while_more_is_added_is_said_and_the_new_rows_are_kept(fill, answer, tmp_path):
    path = tmp_path / "r.parquet"
    fill(path)
    with open_results(path, ranked_schema(2), resume=True) as results:
        results.add("new.png", answer)
        path.unlink()
        with pytest.raises(RunError, match=r"r.parquet was deleted, moved or replaced while .*: add --resume"):
            results.finish()
    fill(path, resume=True)
    assert {row["path"] for row in read(path)} == {*SHOWN, "new.png"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_disk_that_cannot_be_written(fill, small_disk, suffix):
    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", small_disk], check=True)

    path = small_disk / f"results{suffix}"
    fill(path, NAMES[:2])
    remount("ro")
    with pytest.raises(RunError, match=r"results\S* cannot be written: Read-only file system"):
        fill(path, resume=True)
    with pytest.raises(RunError, match=r"other\S* cannot be written: Read-only file system"):
        fill(small_disk / f"other{suffix}")
    remount("rw")
    assert fill(path, resume=True).images == 6


def test_a_hundred_thousand_rows_take_little_memory_whatever_they_become(tmp_path):
    program = """
import resource, sys
from pathlib import Path
from googlenet.errors import UnreadableImageError
from googlenet.bulk.formats import open_results
from googlenet.bulk.rows import ranked_schema
with open_results(Path(sys.argv[2]), ranked_schema()) as results:
    for number in range(int(sys.argv[1])):
        results.add(f"photos/{number:08d}.jpg", UnreadableImageError("gone"))
    results.finish()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

    def peak(rows):
        command = [sys.executable, "-c", program, str(rows), str(tmp_path / f"{rows}.parquet")]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert peak(100_000) - peak(1_000) < 50_000
    assert pq.read_metadata(tmp_path / "100000.parquet").num_rows == 100_000
