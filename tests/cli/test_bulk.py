"""`predict` over many images: results files, killed, stopped and resumed; lists; sorting; wrong use in one line."""

from __future__ import annotations

import csv
import io
import json
import random
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

import googlenet
from googlenet.bulk.formats import FORMATS


@pytest.fixture(scope="module")
def photos(trained_run):
    return trained_run.parent / "photos"


@pytest.fixture(scope="module")
def many(trained_run, photos):
    """A folder of 6,000 images, which are 120 under many names, and of two that cannot be read."""
    return write_many(trained_run.parent / "many", photos, 6000)


@pytest.fixture(scope="module")
def whole(trained_run, many, tmp_path_factory):
    return predicted(trained_run, many, tmp_path_factory.mktemp("whole") / "whole.csv")


def predicted(run, many, out):
    """A results file that nothing happened to."""
    assert googlenet.predict(run, many, out).unreadable == 2
    return out


def write_many(folder, photos, number):
    folder.mkdir()
    images = sorted(photos.glob("*/*.png"))
    for index in range(number - 2):
        (folder / f"{index:05d}.png").hardlink_to(images[index % len(images)])
    (folder / '00100, of "may"\n.png').write_text("no image")
    (folder / "no image.png").write_text("no image")
    return folder


def read(path):
    """What a results file says: path → error, class, probability."""
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
    else:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]
    answers = {row["path"]: (row["error"] or "", row["class"] or "", float(row["probability"] or 0)) for row in rows}
    assert len(answers) == len(rows)  # none is there twice
    return answers


def assert_same(path, whole):
    """A resumed run has other batches, and so other roundings."""
    here, there = read(path), read(whole)
    assert list(here) == list(there)
    for name, (error, label, probability) in here.items():
        assert (error, label) == there[name][:2]
        assert probability == pytest.approx(there[name][2], abs=1e-4)


def start(*arguments, **options):
    command = [sys.executable, "-m", "googlenet", "predict", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def size_of(out):
    """How large the results are so far, wherever they are."""
    journal = out.with_name(f".{out.name}.journal.jsonl")
    return sum(path.stat().st_size for path in (out, journal) if path.exists())


def wait_until_it_writes(process, out, before=0):
    while size_of(out) <= before and process.poll() is None:
        time.sleep(0.001)


def kill_while_it_predicts(run, many, out, rounds):
    """Predict in a process that is killed, again and again: most while it writes, some at any time. Gives the kills."""
    chance, kills = random.Random(0), 0
    for number in range(rounds):
        process = start(run, many, "--out", out, *(["--resume"] if size_of(out) or out.exists() else []))
        if number % 5 != 4:
            wait_until_it_writes(process, out, size_of(out))
            time.sleep(chance.uniform(0, 0.02))
        else:
            time.sleep(chance.uniform(0, 0.6))
        process.kill()
        _, err = process.communicate()
        assert process.returncode in (1, -signal.SIGKILL), err
        assert err == ""
        kills += process.returncode == -signal.SIGKILL
    return kills


@pytest.mark.parametrize("suffix", FORMATS)
def test_killed_and_resumed_every_image_is_there_once(call, trained_run, many, whole, tmp_path, suffix):
    assert_survives(call, trained_run, many, whole, tmp_path / f"results{suffix}", rounds=3, at_least=2)


def assert_survives(call, run, many, whole, out, rounds, at_least):
    assert kill_while_it_predicts(run, many, out, rounds) >= at_least
    code, said, err = call("predict", run, many, "--out", out, "--resume")
    assert (code, err) == (1, "")
    assert said.startswith(f"{out}: {len(list(many.iterdir())):,} images, ")
    assert ", 2 could not be read" in said
    assert_same(out, whole)
    assert sorted(out.parent.iterdir()) == [out.with_name(f".{out.name}.source.json"), out]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_says_how_many_are_written_and_how_to_go_on(call, trained_run, many, tmp_path, suffix, number, code):
    out = tmp_path / f"results{suffix}"
    process = start(trained_run, many, "--out", out)
    wait_until_it_writes(process, out)
    process.send_signal(number)
    said, err = process.communicate()
    assert (process.returncode, said) == (code, "")
    assert err.startswith("googlenet: stopped: ")
    assert err.endswith("the same command with --resume continues\n")
    assert err.count("\n") == 1
    written = int(err.split()[2].replace(",", ""))
    kept = out if suffix != ".parquet" else tmp_path / f".{out.name}.journal.jsonl"
    assert f"are in {kept};" in err
    if suffix != ".parquet":
        assert len(read(kept)) == written
    assert 0 < written < 6000
    code, said, _ = call("predict", trained_run, many, "--out", out, "--resume")
    assert code == 1
    assert f"6,000 images, {written:,} of them from before, 2 could not be read" in said
    assert len(read(out)) == 6000


def test_a_summary_counts_classes_and_the_table_is_of_the_whole_file(call, trained_run, photos, tmp_path):
    out = tmp_path / "new" / "results.csv"
    code, said, err = call("predict", trained_run, photos / "red", "-o", out)
    assert (code, err) == (0, "")
    assert "40 images, 0 could not be read; " in said
    assert "images/s" in said
    code, said, _ = call("predict", trained_run, photos, "--out", out, "--resume")
    assert code == 0
    classes = [answer[1] for answer in read(out).values()]
    for name in ("blue", "green", "red"):
        assert [name, str(classes.count(name))] in [line.split() for line in said.splitlines()]
    code, said, _ = call("predict", trained_run, photos, "--out", out, "--resume")
    assert (code, said.splitlines()[0]) == (0, f"{out}: 120 images, 120 of them from before, 0 could not be read")


@pytest.mark.parametrize("options", [[], ["--top", "9"]])
def test_what_is_printed_for_programs_is_what_a_file_has(call, trained_run, photos, tmp_path, options):
    bad = tmp_path / "=bad\n.png"
    bad.write_text("no image")
    given = ("predict", trained_run, photos, bad, *options)
    for suffix in FORMATS:
        assert call(*given, "--out", tmp_path / f"results{suffix}")[0] == 1
    assert call(*given, "--csv")[1] == (tmp_path / "results.csv").read_text("utf-8")
    lines = (tmp_path / "results.jsonl").read_text("utf-8").splitlines()
    printed = call(*given, "--json")[1]
    assert printed == "[\n" + ",\n".join(lines) + "\n]\n"
    assert json.loads(printed) == pq.read_table(tmp_path / "results.parquet").to_pylist()
    ranks = ("", 2, 3) if options else ("",)
    columns = ["path", "error", *(f"{name}{rank}" for rank in ranks for name in ("class", "probability"))]
    assert list(json.loads(printed)[0]) == columns


def test_images_from_a_list_and_from_standard_input(call, trained_run, photos, tmp_path, monkeypatch):
    images = sorted(map(str, photos.glob("*/00[1-3].png")))
    with (photos.parent / "list.csv").open("w", newline="") as file:
        rows = [[number, path.removeprefix(f"{photos.parent}/")] for number, path in enumerate(images)]
        csv.writer(file).writerows([["id", "file"], *rows])
    answers = json.loads(call("predict", trained_run, photos.parent / "list.csv", "--column", "file", "--json")[1])
    assert [row["path"] for row in answers] == images
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join([*images, "gone.png"]).encode())))
    code, out, err = call("predict", trained_run, "-", "--csv")
    assert (code, err) == (1, "not read: gone.png does not exist\n")
    assert [row["path"] for row in csv.DictReader(io.StringIO(out))] == [*images, "gone.png"]


def test_csv_is_printed_while_it_goes_on(trained_run, many):
    process = start(trained_run, many, "--csv")
    lines = [process.stdout.readline() for _ in range(2000)]
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert lines[0] == "path,error,class,probability\n"
    assert lines[1].startswith(f"{many}/00000.png,,")


def test_embeddings(call, trained_run, photos, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    lengths = set()
    for suffix in FORMATS:
        out = tmp_path / f"results{suffix}"
        code, said, _ = call("predict", trained_run, photos / "red", bad, "--embeddings", "--out", out)
        assert code == 1
        assert "41 images, 1 could not be read" in said
        if suffix == ".csv":
            rows = list(csv.reader(io.StringIO(out.read_text())))
            lengths.add(len(rows[0]) - 2)
        else:
            text = out.read_text().splitlines() if suffix == ".jsonl" else []
            rows = list(map(json.loads, text)) or pq.read_table(out).to_pylist()
            lengths.add(len(rows[0]["embedding"]))
            assert rows[-1]["embedding"] is None
        code, said, err = call("predict", trained_run, bad, "--out", out, "--resume")
        assert (code, said, err.count("\n")) == (2, "", 1)
        assert "give the options it was begun with" in err
    assert len(lengths) == 1


# Sorting


def test_sorted_by_class_and_those_not_sure_apart(call, trained_run, photos, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    table, out = tmp_path / "results.csv", tmp_path / "sorted"
    sort = ("predict", trained_run, photos, bad, "--out", table, "--sort-into", out)
    for again in ([], ["--resume"]):
        assert call(*sort, *again)[0] == 1
        answers = read(table)
        limit = sorted(p for _, _, p in answers.values())[60]
        there = sorted((path.parent.name, path.read_bytes()) for path in out.rglob("*") if path.is_file())
        assert there == sorted((answers[str(path)][1], path.read_bytes()) for path in photos.glob("*/*.png"))
    code, _, err = call(
        "predict", trained_run, photos, "--sort-into", tmp_path / "u", "--min-confidence", limit, "--link"
    )
    assert (code, err) == (0, "")
    unsure = {path.stat().st_ino for path in (tmp_path / "u" / "unsure").iterdir()}
    assert unsure == {path.stat().st_ino for path in photos.glob("*/*.png") if answers[str(path)][2] < limit}
    assert len([path for path in (tmp_path / "u").rglob("*") if path.is_file()]) == 120


def test_killed_while_it_sorts_no_image_is_half_there_or_there_twice(call, trained_run, many, photos, tmp_path):
    table, out = tmp_path / "results.csv", tmp_path / "sorted"
    whole = {path.read_bytes() for path in photos.glob("*/*.png")}
    for kill in range(3):
        process = start(trained_run, many, "--out", table, "--sort-into", out, *(["--resume"] * bool(kill)))
        wait_until_it_writes(process, table, size_of(table))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        names = [path.name for path in out.glob("*/[!.]*")]
        assert len(names) == len(set(names))
        assert {path.read_bytes() for path in out.glob("*/[!.]*")} <= whole
    call("predict", trained_run, many, "--out", table, "--sort-into", out, "--resume")
    assert len([path for path in out.rglob("*") if path.is_file()]) == 5998
    assert {path.parent.name for path in out.glob("*/*")} == {"blue", "green", "red"}


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--resume"], 2, "--resume needs --out"),
        (["--min-confidence", "0"], 2, "--min-confidence needs --sort-into"),
        (
            ["--min-confidence", "1.5", "--sort-into", "sorted"],
            2,
            "'--min-confidence': Input should be less than or equal to 1",
        ),
        (["--link"], 2, "--link needs --sort-into"),
        (["--embeddings"], 2, "--embeddings needs --out"),
        (["--embeddings", "--top", "3", "--out", "r.csv"], 2, "--embeddings and --top exclude each other"),
        (["--embeddings", "--sort-into", "d", "--out", "r.csv"], 2, "--embeddings and --sort-into exclude each other"),
        (["--out", "r.csv", "--json"], 2, "--out and --json exclude each other"),
        (["--out", "r.csv", "--csv"], 2, "--out and --csv exclude each other"),
        (["--out", "r.txt"], 2, "r.txt ends in none of .csv, .jsonl, .parquet"),
        (["--out", "PHOTOS"], 2, "ends in none of"),
        (["--out", "notes.csv"], 2, "notes.csv already exists: --resume continues it"),
        (["--out", "notes.csv", "--resume"], 2, "notes.csv does not begin with the columns that are to be written"),
        (["--column", "path"], 2, "--column path names a column of a .csv, .tsv or .parquet file, and none is given"),
        (["notes.csv"], 2, "notes.csv is a list: say with --column"),
        (["notes.csv", "--column", "path"], 2, "notes.csv has no column 'path'"),
        (["--sort-into", "PHOTOS/sorted"], 2, "where its images would be found again"),
        (["--sort-into", "notes.csv"], 2, "notes.csv is a file: give a folder"),
        (["--out", "notes.csv/r.csv"], 1, "notes.csv/r.csv cannot be written: "),
    ],
)
def test_wrong_use_is_one_line(call, trained_run, photos, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.csv").write_text("my notes")
    given = [argument.replace("PHOTOS", str(photos)) for argument in arguments]
    got, out, err = call("predict", trained_run, photos, *given)
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert says in err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.csv"]
    assert (tmp_path / "notes.csv").read_text() == "my notes"
    assert not (photos / "sorted").exists()
