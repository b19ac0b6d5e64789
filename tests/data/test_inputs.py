"""What a command line names as images: folders, globs, lists and standard input, and how little memory it takes."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from googlenet.data.inputs import find_images, has_columns
from googlenet.data.source import DataSource
from googlenet.errors import DataError


def ids(paths, column=None, **how):
    return find_images(
        [DataSource(path, path_column=column if has_columns(path) else None) for path in paths], **how
    ).ids


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos/b/2.JPG", "photos/a/1.png", "photos/a.tif", "photos/notes.txt", "photos/.hidden/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "photos"


def list_of(path, *rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def test_a_folder_is_its_images_sorted_and_what_is_hidden_is_ignored(photos, monkeypatch):
    inside = ["a.tif", "a/1.png", "b/2.JPG"]
    assert ids([str(photos)]) == [f"{photos}/{name}" for name in inside]
    assert ids(["photos"]) == [f"photos/{name}" for name in inside]
    assert ids(["./photos/"]) == [f"photos/{name}" for name in inside]
    monkeypatch.chdir(photos)
    assert ids(["."]) == inside


def test_arrays_are_images_of_other_channels_only(photos):
    (photos / "bands.npy").touch()
    assert "photos/bands.npy" in ids(["photos"], channels=5)
    assert "photos/bands.npy" not in ids(["photos"], channels=3)


def test_each_image_comes_once_in_the_order_given(photos):
    assert ids(["photos/b/2.JPG", "photos/*/*", "./photos/a/1.png", "photos"]) == [
        "photos/b/2.JPG", "photos/a/1.png", "photos/a.tif",
    ]  # fmt: skip


def test_a_file_that_is_not_there_is_left_to_be_reported_when_it_is_read(photos):
    assert ids(["gone.png", "x" * 5000]) == ["gone.png", "x" * 5000]


def test_a_name_with_the_characters_of_a_glob_is_a_file_where_there_is_one(photos):
    (photos / "[1].png").touch()
    assert ids(["photos/[1].png"]) == ["photos/[1].png"]


def test_a_bracketed_name_that_is_not_there_is_a_file_that_is_not_there(photos):
    assert ids(["photo [1].jpg", "photos/[ab]/*"]) == ["photo [1].jpg", "photos/a/1.png", "photos/b/2.JPG"]
    assert ids(["photos/[a].tif"]) == ["photos/a.tif"]


def test_lists_of_tabs_and_semicolons_and_in_utf_16(photos):
    for name, content in (
        ("t.tsv", b"file\tid\na.tif\t1\n"),
        ("s.csv", b"id;a file\n1;a.tif\n".replace(b"a file", b"file")),
        ("u.csv", "\ufeffid\tfile\n1\ta.tif\n".encode("utf-16-le")),
    ):
        (photos / name).write_bytes(content)
        assert ids([f"photos/{name}"], column="file") == ["photos/a.tif"]


def test_a_list_names_images_in_a_column_relative_to_its_folder(photos):
    rows = [("taken", " file "), ("2019", "a/1.png"), (), ("2020", "b/of\nJanuary, \"fine\".jpg"), ("2021", "/z.png"),
            ("2022", "a/1.png")]  # fmt: skip
    assert ids([list_of(photos / "list.csv", *rows)], column="file") == [
        f"{photos}/a/1.png", f"{photos}/b/of\nJanuary, \"fine\".jpg", "/z.png",
    ]  # fmt: skip
    assert ids(["photos/list.csv", "photos/a.tif"], column="file")[-1] == "photos/a.tif"


def stdin(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_standard_input_names_images_a_line_each(photos, monkeypatch):
    stdin(monkeypatch, b"b.png\n\na name .png\r\n./b.png\nlatin-\xe9.png\n")
    assert ids(["first.png", "-"]) == ["first.png", "b.png", "a name .png", os.fsdecode(b"latin-\xe9.png")]


@pytest.mark.parametrize(
    ("paths", "column", "says"),
    [
        (["empty"], None, "empty holds no images"),
        (["*.gif"], None, "*.gif matches no file"),
        (["-"], None, "standard input (-) names no images"),
        (
            ["list.csv"],
            None,
            "list.csv is a list: say with --column which of its columns names the images (id, path)",
        ),
        (["list.csv"], "paht", "list.csv has no column 'paht', did you mean 'path'? (id, path)"),
        (["twice.csv"], "path", "twice.csv has column 'path' 2 times: keep one"),
        (["heading.csv"], "path", "heading.csv names no images"),
        (["nothing.csv"], "path", "nothing.csv has no column 'path'"),
        (["gap.csv"], "path", "gap.csv:3: column path is empty"),
        (["ragged.csv"], "path", "ragged.csv:2: 1 fields where the first line names 2 columns"),
        (["gone.csv"], "path", "gone.csv cannot be read: No such file"),
        (["latin.csv"], "path", "latin.csv:2: not UTF-8 (byte 0xe9)"),
    ],
)
def test_what_names_no_images_is_said_in_one_line(photos, monkeypatch, paths, column, says):
    (photos.parent / "empty").mkdir()
    stdin(monkeypatch, b"\n\n")
    for name, rows in {
        "list": [("id", "path"), ("1", "a.png")],
        "twice": [("path", "path"), ("a.png", "b.png")],
        "heading": [("path",)],
        "nothing": [],
        "gap": [("id", "path"), ("1", "a.png"), ("2", "")],
        "ragged": [("id", "path"), ("1",)],
    }.items():
        list_of(photos.parent / f"{name}.csv", *rows)
    (photos.parent / "latin.csv").write_bytes(b"path\n\xe9.png\n")
    with pytest.raises(DataError) as caught:
        ids(paths, column=column)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (DataSource("photos", path_column="path"), "photos is neither a list (.csv, .tsv) nor a .parquet file: leave"),
        (DataSource("photos", label_column="label"), "photos: label_column and multi_label are for labelled images"),
        (DataSource("photos", multi_label=True), "photos: label_column and multi_label are for labelled images"),
        ([], "no images are given"),
    ],
)
def test_what_does_not_apply_to_an_input_is_refused(photos, source, says):
    with pytest.raises(DataError, match=re.escape(says)):
        find_images(source)


def test_lists_name_addresses_too(photos):
    rows = [("file",), ("a/1.png",), ("https://example.org/a.png",), ("s3://bucket/b.png",)]
    source = DataSource(list_of(photos / "list.csv", *rows), path_column="file")
    assert find_images(source).ids == [f"{photos}/a/1.png", "https://example.org/a.png", "s3://bucket/b.png"]


MEASURED = """
import resource, sys
from googlenet.data.inputs import find_images
found = find_images("-").ids
print(len(found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_hundred_thousand_images_take_less_than_50_mb_more_than_a_thousand():
    def peak(images):
        names = "".join(f"photos/of-a-long-journey/in-the-year-2019/{number:08d}.jpg\n" for number in range(images))
        result = subprocess.run(
            [sys.executable, "-c", MEASURED], input=names, capture_output=True, text=True, check=True
        )
        found, kilobytes = map(int, result.stdout.split())
        assert found == images
        return kilobytes

    assert peak(100_000) - peak(1_000) < 50_000


def test_what_a_store_holds_beside_images_is_counted_and_named_as_of_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    beside = ("notes.txt", "sub/b.CR2", "README", ".hidden/c.jpg", "@eaDir/a.jpg", "Thumbs.db")
    for name in ("a.jpg", "sub/b.png", *beside):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    address, notes = f"file://{tmp_path}", list[str]()
    found = find_images([address], tell=notes.append)
    assert found.ids == [f"{address}/a.jpg", f"{address}/sub/b.png"]
    assert sorted(notes) == [
        f"{address}: left out 1 file that is no image (.txt 1: notes.txt)",
        f"{address}: left out 1 file without a suffix (README): if they are images, name them .jpg or as they are",
        f"{address}: left out 1 hidden file or folder (.hidden/c.jpg)",
        f"{address}: left out 1 image (.cr2 1: sub/b.CR2): export camera raw files as JPEG or TIFF",
        f"{address}: left out 2 files and folders that a system made (@eaDir/a.jpg, Thumbs.db)",
    ]
    for name in ("a.jpg", "sub/b.png"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"holds no images, or does not exist.*; left out 1 .*notes\.txt"):
        find_images([address])
