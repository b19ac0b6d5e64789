"""`googlenet.predict` and `googlenet.sort_images`: many images from Python, of every kind of input, without Ray."""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import googlenet
from googlenet.errors import DataError, GoogLeNetError, ResultsError


@pytest.fixture(scope="module")
def photos(trained_run):
    return trained_run.parent / "photos"


@pytest.fixture(scope="module")
def classifier(trained_run):
    return googlenet.load(trained_run)


def rows_of(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def answers(path):
    """What a file says of each image, without its path and the name of the file in the reason."""
    return [(row["class"], row["probability"]) for row in rows_of(path)]


def test_the_report_is_a_value_that_says_what_is_in_the_file(trained_run, photos, tmp_path):
    (tmp_path / "new").mkdir()
    for name, content in (("bad.png", b"no image"), ("notes.txt", b"text")):
        (tmp_path / "new" / name).write_bytes(content)
    done = []
    report = googlenet.predict(
        trained_run, [photos, tmp_path / "new"], tmp_path / "r.jsonl", progress=lambda n, total: done.append((n, total))
    )
    rows = rows_of(tmp_path / "r.jsonl")
    assert done == [(number, 121) for number in range(1, 122)]
    assert (report.path, report.images, report.unreadable, report.new) == (tmp_path / "r.jsonl", 121, 1, 121)
    classes = [row["class"] for row in rows if row["class"]]
    assert report.counts == {name: classes.count(name) for name in set(classes)}
    assert sum(report.counts.values()) == 120
    assert report.notes == (f"{tmp_path / 'new'}: left out 1 file that is no image (.txt 1: notes.txt)",)
    assert pickle.loads(pickle.dumps(report)) == report
    assert json.loads(json.dumps(report.to_dict()))["images"] == 121
    assert repr(report) == f"BulkReport({report})"
    assert "<td>red</td>" in report._repr_html_()
    assert str(report) == f"{tmp_path / 'r.jsonl'}: 121 images, 1 could not be read"
    again = googlenet.predict(trained_run, [photos, tmp_path / "new"], tmp_path / "r.jsonl", resume=True)
    assert (again.images, again.new, again.images_per_second) == (121, 0, 0)
    assert rows_of(tmp_path / "r.jsonl") == rows


def test_every_kind_of_input_is_read_without_ray(classifier, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(tmp_path)
    images = sorted(photos.glob("*/*.png"))
    relative = [os.path.relpath(path, tmp_path) for path in images]
    pq.write_table(pa.table({"image": [path.read_bytes() for path in images]}), "bytes.parquet", row_group_size=50)
    pq.write_table(pa.table({"image": [*relative[:60], *(f"file://{p}" for p in images[60:])]}), "paths.parquet")
    Path("list.csv").write_text("file\n" + "".join(f"{path}\n" for path in relative))
    googlenet.predict(classifier, photos, "plain.jsonl")
    plain = answers(tmp_path / "plain.jsonl")
    assert [Path(row["path"]) for row in rows_of(tmp_path / "plain.jsonl")] == images
    for name, given in {
        "stored": f"file://{photos}",
        "bytes": googlenet.DataSource("bytes.parquet", path_column="image"),
        "paths": googlenet.DataSource("paths.parquet", path_column="image"),
        "stored table": googlenet.DataSource(f"file://{tmp_path}/bytes.parquet", path_column="image"),
        "list": googlenet.DataSource("list.csv", path_column="file"),
        "glob": f"{photos}/*/*.png",
        "iterable": iter(images),
    }.items():
        report = googlenet.predict(classifier, given, f"{name}.jsonl")
        assert (report.images, report.unreadable) == (120, 0), name
        for (label, p), (expected, q) in zip(answers(tmp_path / f"{name}.jsonl"), plain, strict=True):
            assert (label, p) == (expected, pytest.approx(q, abs=1e-4)), name
    assert rows_of(tmp_path / "bytes.jsonl")[7]["path"] == "bytes.parquet#7"


def test_what_cannot_be_read_of_a_table_or_a_store_has_a_row_with_the_reason(classifier, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = (photos / "red" / "001.png").read_bytes()
    pq.write_table(pa.table({"image": [image, b"junk", None]}), "a.parquet")
    pq.write_table(pa.table({"image": [f"file://{photos}/gone.png", "https://127.0.0.1:1/a.png"]}), "b.parquet")
    report = googlenet.predict(
        classifier, [googlenet.DataSource(f"{name}.parquet", path_column="image") for name in "ab"], "r.jsonl"
    )
    assert (report.images, report.unreadable) == (5, 4)
    first, *others = (row["error"] for row in rows_of(tmp_path / "r.jsonl"))
    assert first is None
    wrong = "is not an image (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, HEIC)"
    assert others == [
        f"a.parquet#1 {wrong}", f"a.parquet#2 {wrong}", f"file://{photos}/gone.png does not exist",
        "https://127.0.0.1:1/a.png cannot be read: --download fetches it",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "column", "says"),
    [
        ("a.parquet", None, "a.parquet is a table: say with --column which of its columns has the images (image, id)"),
        ("a.parquet", "imag", "a.parquet has no column 'imag', did you mean 'image'? (id, image)"),
        ("a.parquet", "id", "a.parquet: column id holds int64, neither paths (string) nor images (binary)"),
        ("gone.parquet", "image", "gone.parquet does not exist"),
        ("damaged.parquet", "image", "damaged.parquet cannot be read as Parquet: "),
        ("hdfs://a/b.parquet", "image", "hdfs://a/b.parquet: stores are reached by s3://, gs://, file://, not by hdfs"),
        ("hdfs://a/b", None, "hdfs://a/b: stores are reached by s3://, gs://, file://, not by hdfs://"),
    ],
)
def test_a_table_or_store_that_cannot_be_read_is_one_line(classifier, tmp_path, monkeypatch, table, column, says):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"image": [b"junk"], "id": [1]}), "a.parquet")
    Path("damaged.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=re.escape(says)):
        googlenet.predict(classifier, googlenet.DataSource(table, path_column=column), "r.csv")
    assert not Path("r.csv").exists()


def test_embeddings_and_top(classifier, photos, tmp_path):
    image = photos / "red" / "001.png"
    googlenet.predict(classifier, image, tmp_path / "e.jsonl", embeddings=True)
    [row] = rows_of(tmp_path / "e.jsonl")
    assert row["embedding"] == pytest.approx(classifier.embed(image).tolist(), abs=1e-5)
    googlenet.predict(classifier, image, tmp_path / "t.jsonl", top=9)
    [row] = rows_of(tmp_path / "t.jsonl")
    assert [row["class"], row["class2"], row["class3"]] == [name for name, _ in classifier.predict(image).top(3)]
    with pytest.raises(GoogLeNetError, match="embeddings and top exclude each other: choose one"):
        googlenet.predict(classifier, image, tmp_path / "n.jsonl", embeddings=True, top=2)


def test_a_file_that_exists_is_refused_before_the_run_is_read(tmp_path):
    (tmp_path / "r.csv").touch()
    with pytest.raises(ResultsError, match="already exists: --resume"):
        googlenet.predict("nowhere", "a.png", tmp_path / "r.csv")
    with pytest.raises(ResultsError, match=r"r\.txt ends in none of \.csv, \.jsonl, \.parquet"):
        googlenet.predict("nowhere", "a.png", tmp_path / "r.txt")


def test_images_are_sorted_and_counted(classifier, photos, coloured, tiny, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    report = googlenet.sort_images(classifier, [photos, bad], tmp_path / "sorted", min_confidence=0.5)
    assert (report.path, report.images, report.unreadable) == (tmp_path / "sorted", 121, 1)
    placed = [path.parent.name for path in (tmp_path / "sorted").glob("*/*.png")]
    assert report.counts == {name: placed.count(name) for name in set(placed)}
    assert sum(report.counts.values()) == 120
    # With so few held-out images it is not calibrated, and after an epoch sure of nothing.
    unsure = googlenet.train(coloured, tmp_path / "run", recipe="default", network=tiny, epochs=1, workers=0)
    all_unsure = googlenet.sort_images(unsure.path, photos / "red", tmp_path / "u", min_confidence=1.0, link=True)
    assert all_unsure.counts == {"unsure": 40}
    assert (tmp_path / "u/unsure/001.png").stat().st_ino == (photos / "red/001.png").stat().st_ino


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("a.zip", "--sort-into copies files, and a.zip is an archive: unpack it first"),
        ("https://example.org/a.png", "and https://example.org/a.png is an address: fetch it first"),
        ("s3://bucket/a", "and s3://bucket/a is an address: fetch it first"),
        (googlenet.DataSource("a.parquet", path_column="image"), "a.parquet holds its images: write them to files"),
    ],
)
def test_only_files_are_sorted(classifier, tmp_path, monkeypatch, given, says):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"image": [b"junk"]}), "a.parquet")
    with pytest.raises(ResultsError, match=re.escape(says)):
        googlenet.sort_images(classifier, given, "sorted")
    assert not Path("sorted").exists()
