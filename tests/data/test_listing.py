"""DATA as a list: CSV and JSONL, splits and groups, several labels, and everything a list can have wrong."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from googlenet.data.image_set import ImageSet
from googlenet.data.opening import find_data, open_data
from googlenet.data.source import DataSource
from googlenet.errors import DataError

Record = dict[str, Any]


def write(folder: Path, records: list[Record], suffix: str = ".csv") -> Path:
    """Write a list, by the standard library's own writers, and empty files for its images."""
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        (folder / record["path"]).parent.mkdir(parents=True, exist_ok=True)
        (folder / record["path"]).touch()
    path = folder / f"list{suffix}"
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".jsonl":
            file.writelines(json.dumps(record) + "\n" for record in records)
        else:
            writer = csv.DictWriter(file, list(records[0]))
            writer.writeheader()
            for record in records:
                label = record["label"]
                writer.writerow({**record, "label": label if isinstance(label, str) else "|".join(label)})
    return path


def records_of(count: int, **columns: Any) -> list[Record]:
    """Images of cats and dogs in turn."""
    return [{"path": f"{i:03d}.jpg", "label": "cat" if i % 2 else "dog"} | columns for i in range(count)]


def names_of(images: ImageSet) -> list[str]:
    return [item.name for item in images.items]


def error_of(source: str | Path) -> str:
    with pytest.raises(DataError) as caught:
        open_data(source)
    assert str(caught.value).isprintable()
    return str(caught.value)


# What a list may say


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_list_is_held_out_by_name_as_a_folder_is(tmp_path: Path, suffix: str) -> None:
    records = [{"path": f"{cls}/{i:03d}.jpg", "label": cls} for cls in ("cat", "dog") for i in range(100)]
    listed, folder = (
        open_data(write(tmp_path / "photos", records, suffix), seed=3),
        open_data(tmp_path / "photos", seed=3),
    )
    assert listed.class_names == folder.class_names == ("cat", "dog")
    assert (listed.made_here, listed.multi_label) == (True, False)
    for split in ("train", "val"):
        assert names_of(listed.split(split)) == names_of(folder.split(split))
        assert listed.split(split).labels == folder.split(split).labels
    assert listed.split("all").fingerprint() == folder.split("all").fingerprint()


def test_the_order_of_the_lines_does_not_matter(tmp_path: Path) -> None:
    records = records_of(60)
    forwards = open_data(write(tmp_path, records))
    assert open_data(write(tmp_path, records[::-1])) == forwards


def test_given_splits_are_taken_as_they_are_and_the_rest_is_split_here(tmp_path: Path) -> None:
    given = [record | {"split": ("train", "val", "test")[i % 3]} for i, record in enumerate(records_of(18))]
    data = open_data(write(tmp_path / "given", given))
    assert not data.made_here
    assert [len(part) for part in data.splits.values()] == [6, 6, 6]
    rest = [{"path": f"rest/{i}.jpg", "label": "cat", "split": ""} for i in range(100)]
    more = open_data(write(tmp_path / "more", given + rest))
    assert more.made_here
    for split in data.splits:
        assert set(names_of(data.split(split))) <= set(names_of(more.split(split)))
    assert 5 < len(more.val) - len(data.val) < 40
    assert names_of(more.split("test")) == names_of(data.split("test"))


def test_where_no_val_is_given_some_of_train_is_held_out(tmp_path: Path) -> None:
    records = [record | {"split": "test" if i < 10 else "train"} for i, record in enumerate(records_of(110))]
    data = open_data(write(tmp_path, records))
    assert data.made_here
    assert len(data.split("test")) == 10
    assert 5 < len(data.val) < 40


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(["", "p1", "p2", "p3", "p4 日本", "p5"]), max_size=60), st.integers(0, 9))
def test_a_group_is_never_on_both_sides(tmp_path_factory: pytest.TempPathFactory, groups: list[str], seed: int) -> None:
    records = records_of(80, group="") + [
        {"path": f"grouped/{i}.jpg", "label": "cat", "group": group} for i, group in enumerate(groups)
    ]
    data = open_data(write(tmp_path_factory.mktemp("groups"), records), seed=seed)
    sides = [{item.group for item in part.items if item.group} for part in data.splits.values()]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == set(groups) - {""}


def test_one_image_with_a_split_tells_for_its_group(tmp_path: Path) -> None:
    records = records_of(60, group="", split="")
    records += [
        {"path": f"p/{i}.jpg", "label": "cat", "group": "p", "split": "test" if i == 7 else ""} for i in range(20)
    ]
    data = open_data(write(tmp_path, records))
    assert len(data.split("test")) == 20


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_several_labels_or_none(tmp_path: Path, suffix: str) -> None:
    records: list[Record] = [{"path": f"{i}.jpg", "label": ["dog", "cat"], "split": "train"} for i in range(2)]
    records += [{"path": "one.jpg", "label": ["dog"], "split": "val"}, {"path": "no.jpg", "label": [], "split": "val"}]
    data = open_data(write(tmp_path, records, suffix))
    assert data.multi_label
    assert data.class_names == ("cat", "dog")
    assert data.train.labels == [(0, 1), (0, 1)]
    assert data.val.labels == [(), (1,)]
    assert data.train.counts() == {"cat": 2, "dog": 2}
    assert data.val.counts() == {"cat": 0, "dog": 1}
    before = data.split("all").fingerprint()
    records[0]["label"] = ["dog"]
    assert open_data(write(tmp_path, records, suffix)).split("all").fingerprint() != before


def test_labels_is_the_same_as_label_and_other_columns_are_left_alone(tmp_path: Path) -> None:
    for record in records_of(40):
        (tmp_path / record["path"]).touch()
    lines = [f"{i},{r['path']},{r['label']},2026" for i, r in enumerate(records_of(40))]
    (tmp_path / "a.csv").write_text("\n".join([",path,labels,year", *lines]))
    assert open_data(tmp_path / "a.csv").split("all").counts() == {"cat": 20, "dog": 20}
    (tmp_path / "a.csv").write_text("\n".join([",path,label,label_id", *lines]))  # not a slip: label is there
    assert open_data(tmp_path / "a.csv").split("all").counts() == {"cat": 20, "dog": 20}


def test_paths_are_relative_to_the_list_or_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name, colour in (("black.png", "black"), ("white.png", "white")):
        Image.new("RGB", (3, 2), colour).save(elsewhere / name)
    (tmp_path / "lists").mkdir()
    text = f"path,label,split\n{elsewhere}/black.png,a,train\n../elsewhere/white.png,b,train\n"
    Image.new("RGB", (3, 2)).save(tmp_path / "lists/near.png")
    (tmp_path / "lists/list.csv").write_text(text + "near.png,a,val\n")
    monkeypatch.chdir(tmp_path)
    data = open_data("lists/list.csv")
    assert sorted(int(item.read().max()) for item in data.train.items) == [0, 255]
    assert data.val.items[0].read().shape == (2, 3, 3)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_marks_blank_lines_and_quoted_names_are_read_as_they_are_written(tmp_path: Path, ending: str) -> None:
    """As spreadsheets write it: a byte order mark, CRLF, quotes around commas, quotes and newlines."""
    odd = ['a, "b".jpg', "größe 日本.jpg"] + (["two\nlines.jpg"] if sys.platform != "win32" else [])
    for name in [*odd, "c.jpg", "d.jpg"]:
        (tmp_path / name).touch()
    quoted = ['"' + name.replace('"', '""') + '",cat,train' for name in odd]
    lines = ["path,label,split", *quoted, "", "c.jpg,dog,train", "d.jpg, dog ,val", ""]
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbf" + ending.join(lines).encode())
    data = open_data(tmp_path / "list.csv")
    assert set(names_of(data.train)) == {*odd, "c.jpg"}
    assert data.class_names == ("cat", "dog")


def test_a_folder_may_be_called_like_a_list(tmp_path: Path) -> None:
    for record in records_of(60):
        path = tmp_path / "photos.csv" / record["label"] / record["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert open_data(tmp_path / "photos.csv").class_names == ("cat", "dog")


# Lists as others write them

ROWS = [(f"img/{name}-{number}.jpg", name) for name in ("cat", "dog") for number in range(30)]


def written(tmp_path: Path, content: str, encoding: str = "utf-8", name: str = "list.csv") -> Path:
    for path, _ in ROWS:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / name).write_bytes(content.encode(encoding))
    return tmp_path / name


def lines(separator: str = ",", heading: str = "path,label", form: str = "{0}{s}{1}") -> str:
    rows = [form.format(path, label, s=separator, hot=f"{int(label == 'cat')}{separator}{int(label == 'dog')}",
                        back=path.replace("/", "\\")) for path, label in ROWS]  # fmt: skip
    return "\n".join([heading.replace(",", separator), *rows, ""])


AS_OTHERS_WRITE = {
    "semicolons": (lines(";"), "utf-8", None),
    "tabs": (lines("\t"), "utf-8", None),
    "a line for spreadsheets": ("sep=;\n" + lines(";"), "utf-8", None),
    "UTF-8 with a mark": (lines(), "utf-8-sig", None),
    "UTF-16": (lines("\t"), "utf-16", None),
    "UTF-16 without a mark": (lines(), "utf-16-be", None),
    "UTF-16 without a mark, little": (lines(), "utf-16-le", None),
    "blanks": (lines(form="{0}, {1} ", heading="path , label"), "utf-8", None),
    "quotes after blanks": (lines(form='"{0}", "{1}"'), "utf-8", None),
    "capitals": (lines(heading="Path,LABEL"), "utf-8", None),
    "a comma too many": (lines(form="{0},{1},"), "utf-8", None),
    "a comma too many in the heading as well": (lines(heading="path,label,", form="{0},{1},"), "utf-8", None),
    "an index": (lines(heading=",path,label", form="7,{0},{1}"), "utf-8", None),
    "backslashes": (lines(form="{back},{1}"), "utf-8", "60 of 60 paths have backslashes, which were read as slashes"),
    "filename": (lines(heading="filename,label"), "utf-8", "the images are those of the column 'filename'"),
    "Class": (lines(heading="path,Class"), "utf-8", "the labels are those of the column 'Class'"),
    "others beside ours": (lines(heading="path,label,file,category", form="{0},{1},x,y"), "utf-8", None),
    "columns of 0 and 1": (
        lines(heading="path,cat,dog,year", form="{0},{hot},2026"),
        "utf-8",
        "the labels are the columns of 0 and 1: cat, dog",
    ),
}


@pytest.mark.parametrize("kind", AS_OTHERS_WRITE)
def test_a_list_is_read_as_others_write_it_and_what_was_guessed_is_said(tmp_path: Path, kind: str) -> None:
    content, encoding, note = AS_OTHERS_WRITE[kind]
    path = written(tmp_path, content, encoding)
    data = open_data(path)
    assert [(item.name, data.class_names[item.label]) for item in data.split("all").items] != []
    assert {(item.name, data.class_names[item.label]) for item in data.split("all").items} == set(ROWS)
    assert not data.multi_label
    assert data.notes == ((f"{path}: {note}",) if note else ())


ONE_HOT = [{"path": path, "cat": int(name == "cat"), "dog": int(name == "dog")} for path, name in ROWS]


def one_hot(tmp_path: Path, kind: str, **more: Any) -> Path:
    """Write the list with a column for each label, as CSV or JSONL; ``more`` are columns, by what all lines have."""
    of = {"csv": str, "pandas": lambda bit: str(bool(bit)), "jsonl": int, "jsonl of bool": bool, "floats": float}
    rows = [{**{key: of[kind](v) if key != "path" else v for key, v in row.items()}, **more} for row in ONE_HOT]
    if kind.startswith("jsonl"):
        return written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), name="list.jsonl")
    content = "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)])
    return written(tmp_path, content)


@pytest.mark.parametrize("kind", ["csv", "pandas", "floats", "jsonl", "jsonl of bool"])
def test_a_column_for_each_label_is_read_in_every_form(tmp_path: Path, kind: str) -> None:
    data = open_data(one_hot(tmp_path, kind))
    assert {(item.name, data.class_names[item.label]) for item in data.split("all").items} == set(ROWS)
    assert data.notes == (f"{tmp_path}/list.{kind[:5] if kind[0] == 'j' else 'csv'}: "
                          "the labels are the columns of 0 and 1: cat, dog",)  # fmt: skip


def test_a_label_that_holds_what_separates_labels_is_refused(tmp_path: Path) -> None:
    path = one_hot(tmp_path, "csv")
    path.write_text(path.read_text().replace("path,cat,dog", "path,cat|x,dog", 1))
    assert open_data(path).class_names == ("cat|x", "dog")  # one label an image: nothing to separate
    with pytest.raises(DataError, match=r"cat\|x cannot be one of several labels, because \| separates"):
        open_data(DataSource(path, multi_label=True))


def test_the_columns_that_pandas_names_after_the_label_are_classes(tmp_path: Path) -> None:
    path = one_hot(tmp_path, "pandas")
    path.write_text(path.read_text().replace("path,cat,dog", "path,label_cat,label_dog", 1))
    assert open_data(path).class_names == ("label_cat", "label_dog")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("spoilt", ["", "yes", None])
def test_a_field_that_spoils_a_column_of_labels_is_named(tmp_path: Path, kind: str, spoilt: str | None) -> None:
    path = one_hot(tmp_path, kind)
    content = path.read_text().splitlines()
    number = 6 if kind == "csv" else 5
    if kind == "csv":
        content[number - 1] = content[number - 1].removesuffix("0") + (spoilt or "")
    else:
        content[number - 1] = json.dumps({**json.loads(content[number - 1]), "dog": spoilt})
    path.write_text("\n".join(content))
    with pytest.raises(DataError) as raised:
        open_data(path)
    what = "nothing" if not spoilt else "'yes'"
    assert str(raised.value) == (
        f"{path}:{number}: the column dog has {what} where most lines have 0 or 1: write one of these, or leave the "
        "column out"
    )


def test_a_number_beside_the_columns_of_labels_is_said(tmp_path: Path) -> None:
    path = one_hot(tmp_path, "csv", eyes=1)
    path.write_text(path.read_text() + "\n")
    path.write_text(path.read_text().replace("0,1,1\n", "0,1,2\n", 1))
    data = open_data(path)
    assert data.class_names == ("cat", "dog")
    assert f"{path}: the column eyes is no label: line 32 has '2', neither 0 nor 1" in data.notes


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_column_of_0_alone_is_a_class_without_images(tmp_path: Path, kind: str) -> None:
    path = one_hot(tmp_path, kind, none=0)
    with pytest.raises(DataError, match=r"no image is of none, the columns have 0 alone: give some that label, or "):
        open_data(path)
    assert find_data(path).class_names == ("cat", "dog", "none")  # as an empty folder of a class
    assert find_data(path).split("all").counts() == {"cat": 30, "dog": 30, "none": 0}


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ("gg", "all images are of one group (g)"),
        ("gh", "all images of each class are of one group (g, h)"),
    ],
)
def test_groups_that_leave_nothing_to_hold_out_are_the_reason_that_is_said(
    tmp_path: Path, groups: str, says: str
) -> None:
    of = dict(zip(("cat", "dog"), groups, strict=True))
    content = "\n".join(["path,label,group", *(f"{path},{name},{of[name]}" for path, name in ROWS)])
    path = written(tmp_path, content)
    with pytest.raises(DataError) as raised:
        open_data(path)
    assert str(raised.value) == (
        f"{path}: {says}, which cannot be split: give several groups, or define train and val yourself"
    )


def test_a_path_that_is_a_folder_or_an_address_is_said_to_be_one(tmp_path: Path) -> None:
    path = written(tmp_path, lines() + "img,cat\n")
    with pytest.raises(DataError, match=r"1 of 61 paths are folders: img \(line 62\); name each image in them"):
        open_data(path)
    for address in ("https://example.org/a.jpg", "s3://bucket/a.jpg"):
        path = written(tmp_path, lines() + f"{address},cat\n")
        with pytest.raises(DataError, match=f":62: {address} is an address, and lists name files alone: fetch the im"):
            open_data(path)


def test_columns_are_named_by_the_user(tmp_path: Path) -> None:
    path = written(tmp_path, lines(heading="url;where,kind", form="{0},{1}").replace("url;", ""))
    with pytest.raises(DataError, match="no column 'path'"):
        open_data(path)
    data = open_data(DataSource(path, path_column="where", label_column="kind"))
    assert data.split("all").counts() == {"cat": 30, "dog": 30}
    assert data.notes == ()
    with pytest.raises(DataError, match=r"no column 'kin' for --label-column, did you mean 'kind'\?"):
        open_data(DataSource(path, path_column="where", label_column="kin"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="--path-column is for lists"):
        open_data(DataSource(tmp_path / "folder", path_column="where"))


def test_a_column_of_the_user_goes_before_ours(tmp_path: Path) -> None:
    path = written(tmp_path, lines(heading="path,species,label", form="{0},{1},x"))
    assert open_data(DataSource(path, label_column="species")).class_names == ("cat", "dog")


def test_whole_numbers_and_texts_like_nothing_are_names_of_classes(tmp_path: Path) -> None:
    names = {"cat": 1, "dog": 0}
    content = "".join(json.dumps({"file_name": path, "label": names[label]}) + "\n" for path, label in ROWS)
    data = open_data(written(tmp_path, content, name="list.jsonl"))
    assert data.class_names == ("0", "1")
    assert data.notes == (f"{tmp_path}/list.jsonl: the images are those of the column 'file_name'",)
    content = lines().replace(",cat", ",NA").replace(",dog", ",nan")
    assert open_data(written(tmp_path, content)).class_names == ("NA", "nan")


def test_one_empty_label_is_an_error_with_its_line_unless_that_is_meant(tmp_path: Path) -> None:
    content = lines().replace("img/cat-3.jpg,cat", "img/cat-3.jpg,")
    path = written(tmp_path, content)
    assert error_of(path).startswith(f"{path}:5: img/cat-3.jpg has no label: give it one, or say with --multi-label")
    assert "img/cat-3.jpg has no label (nor have 1 more)" in error_of(
        written(tmp_path, content.replace("dog-3.jpg,dog", "dog-3.jpg,"))
    )
    data = open_data(DataSource(written(tmp_path, content), multi_label=True))
    assert data.multi_label
    assert data.split("all").counts() == {"cat": 29, "dog": 30}


def test_several_labels_are_said(tmp_path: Path) -> None:
    path = written(tmp_path, lines().replace(",cat", ",T-shirt|top"))
    data = open_data(path)
    assert data.multi_label
    assert data.notes == (
        f"{path}: 30 of 60 images have several labels, so each label is learnt on its own; "
        "line 2 has 2 labels: T-shirt, top",
    )


def test_classes_of_a_list_that_differ_in_capitals_alone_are_said(tmp_path: Path) -> None:
    path = written(tmp_path, lines().replace("cat-1", "Cat-1").replace("-1.jpg,cat", "-1.jpg,CAT"))
    for number in ("1", *map(str, range(10, 20))):
        (tmp_path / f"img/Cat-{number}.jpg").touch()
    (note,) = open_data(path).notes
    assert "the classes CAT and cat differ in capitals alone and are learned as several" in note


def test_a_pipe_as_a_list_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.csv")
    assert error_of(tmp_path / "list.csv") == f"{tmp_path}/list.csv is a FIFO, not a file"


# What a list may have wrong: one line that names file, line and fix

WRONG_CSV = {
    "nothing": (b"", " lists no images: it takes a path and a label a line"),
    "a header alone": (b"path,label\n", " lists no images"),
    "a mark alone": (b"\xef\xbb\xbf", " lists no images"),
    "no path": (b"where,label\n", ":1: no column 'path' (there are: where, label)"),
    "several that may be the path": (
        b"image,file,label\n", ":1: no column 'path', and which is it: image or file? Say it with --path-column"
    ),
    "several that may be the label": (
        b"path,class,category\n",
        ":1: no column 'label', and which is it: class or category? Say it with --label-column",
    ),
    "no label": (b"path,kind\n", ":1: no column 'label' (there are: path, kind)"),
    "blanks": (b"path label\na.jpg cat\n", ":1: no column 'path' (there are: path label)"),
    "no heading": (b"a.jpg,cat\nb.jpg,dog\n", ":1: the first line names no columns, it has an image (a.jpg): put "),
    "a slip": (b"path,lable\n", ":1: unknown column 'lable', did you mean 'label'"),
    "a slip where it is not needed": (b"path,label,splits\n", ":1: unknown column 'splits', did you mean 'split'"),
    "a column twice": (b"path,label,path\n", ":1: 'path' is there twice: keep one"),
    "label and labels": (b"path,label,labels\n", ":1: 'label' is there twice: keep one"),
    "too few fields": (b"path,label\na.jpg\n", ":2: 1 fields where the first line names 2 columns"),
    "too many fields": (b"path,label\n\na.jpg,cat,x\n", ":3: 3 fields where the first line names 2 columns"),
    "an empty path": (b"path,label\n,cat\n", ":2: the path is empty: give one, relative to "),
    "a NUL in a path": (b"path,label\na\0.jpg,cat\n", ":2: 'a\\x00.jpg' cannot be the name of a file"),
    "a NUL in a label": (b"path,label\na.jpg,c\0t\n", ":2: 'c\\x00t' cannot be the name of a class"),
    "a newline in a label": (b'path,label\na.jpg,"c\nt"\n', ":2: 'c\\nt' cannot be the name of a class"),
    "a split misspelt": (b"path,label,split\na.jpg,cat,vla\n", ":2: unknown split 'vla', did you mean 'val'?"),
    "another word for a split": (b"path,label,split\na.jpg,cat,dev\n", ":2: unknown split 'dev', "),
    "not UTF-8": (b"path,label\na.jpg,cat\ngr\xf6\xdfe.jpg,cat\n", ":3: not UTF-8 (byte 0xf6): save it as UTF-8"),
    "half a character of UTF-16": ("path,label\na".encode("utf-16")[:-1], ":2: not UTF-16 (byte 0x61): save it as "),
    "one column of 0 and 1": (b"path,cat\na.jpg,1\n", ":1: no column 'label' (there are: path, cat)"),
    "one empty label": (
        b"path,label\na.jpg,cat\nb.jpg,\n", ":3: b.jpg has no label: give it one, or say with --multi-label that"
    ),
    "an open quote": (b'path,label\n"a.jpg,cat\nb.jpg,dog\n', ":2: not CSV: unexpected end of data"),
    "text after a quote": (b'path,label\n"a"b,cat\n', ":2: not CSV: "),
    "a huge field": (b"path,label\n" + b"a" * 200_000 + b",cat\n", ":2: not CSV: field larger than field limit"),
    "no lines": (b"a" * 1_100_000, ":1: a line of more than 1,048,576 bytes"),
    "twice": (b"path,label\na.jpg,cat\n./a.jpg,cat\n", ":3: a.jpg is in line 2 too: keep one"),
    "twice, differing": (b"path,label\na.jpg,cat\na.jpg,dog\n", ":3: a.jpg is in line 2 too with another label (cat)"),
    "missing": (b"path,label\na.jpg,cat\nx.jpg,dog\n", ": 1 of 2 images are not there: x.jpg (line 3); paths are"),
    "a folder": (b"path,label\na.jpg,cat\n.,dog\n", ": 1 of 2 paths are folders: . (line 3); name each image in them"),
    "one class": (b"path,label\na.jpg,cat\nb.jpg,cat\n", " has one class only, 'cat': a classifier needs two or more"),
    "no class": (b"path,label\na.jpg,\nb.jpg,\n", " has no class at all: a classifier needs two or more"),
    "too few": (b"path,label\na.jpg,cat\nb.jpg,dog\n", ": too few images to hold some out; "),
    "nothing to learn from": (
        b"path,label,split\na.jpg,cat,train\nb.jpg,dog,val\n", ": no image in train is of dog: put some of each class"
    ),
    "nothing of any class in val": (
        b"path,label,split\na.jpg,cat|dog,train\nb.jpg,,val\n", ": no image in val is of cat, dog"
    ),
    "a torn group": (
        b"path,label,split,group\na.jpg,cat,train,p7\nb.jpg,dog,val,p7\n",
        ": 1 group is torn apart by the splits: p7 is in train (line 2) and val (line 3)",
    ),
}  # fmt: skip

WRONG_JSON = {
    "nothing": (b"\n\n", " lists no images"),
    "text": (b"hello\n", ":1: not JSON: Expecting value: a line is {"),
    "cut short": (b'{"path": "a.jpg", "label": "cat"}\n\n{"path": "b.j', ":3: not JSON: Unterminated string"),
    "a list of all": (b'[{"path": "a.jpg", "label": "cat"}]', ":1: no object: a line is {"),
    "nested": (b"[" * 500_000 + b"\n", ":1: nested too deeply"),
    "a huge number": (b'{"path": ' + b"1" * 10_000 + b"}", ":1: not JSON: a number of too many digits"),
    "no path": (b'{"path": "a.jpg", "label": "cat"}\n{"label": "cat"}', ":2: no column 'path' (there are: label)"),
    "a slip": (b'{"path": "a.jpg", "lable": "cat"}', ":1: unknown column 'lable', did you mean 'label'"),
    "a path of null": (b'{"path": null, "label": "cat"}', ":1: the path is empty"),
    "a path of another kind": (
        b'{"path": ["a.jpg"], "label": "cat"}',
        ':1: path must be a text in quotes, got ["a.jpg"]',
    ),
    "keys of 0 and 1 and a label later": (
        b'{"path": "a.jpg", "cat": 1, "dog": 0}\n{"path": "b.jpg", "label": "cat"}',
        ":2: the column cat has nothing where most lines have 0 or 1",
    ),
    "half a character": (b'{"path": "\\ud800.jpg", "label": "cat"}', ":1: '\\ud800.jpg' cannot be the name of a file"),
    "a NUL": (b'{"path": "a\\u0000.jpg", "label": "cat"}', ":1: 'a\\x00.jpg' cannot be the name of a file"),
    "a broken number": (
        b'{"path": "a.jpg", "label": 3.5}',
        ":1: label must be the name of a class in quotes, a whole number, or a list of such, got 3.5",
    ),
    "yes or no": (b'{"path": "a.jpg", "label": true}', ":1: label must be the name of a class in quotes"),
    "one empty label": (
        b'{"path": "a.jpg", "label": "cat"}\n{"path": "b.jpg", "label": []}',
        ":2: b.jpg has no label: give it one, or say with --multi-label that an image may have none",
    ),
    "a list with a list": (
        b'{"path": "a.jpg", "labels": ["cat", [3]]}',
        ":1: label must be the name of a class in quotes",
    ),
    "no label": (b'{"path": "a.jpg", "label": null}', ":1: label must be the name of a class in quotes"),
    "half a character in a label": (
        b'{"path": "a.jpg", "label": "\\ud800"}',
        ":1: '\\ud800' cannot be the name of a class",
    ),
    "a group of another kind": (
        b'{"path": "a.jpg", "label": "cat", "group": 7}',
        ":1: group must be a text in quotes, got 7",
    ),
    "not UTF-8": (b'{"path": "\xff"}', ":1: not UTF-8 (byte 0xff)"),
}


@pytest.mark.parametrize(
    ("suffix", "content", "says"),
    [
        pytest.param(suffix, *case, id=f"{suffix}-{name}")
        for suffix, cases in ((".csv", WRONG_CSV), (".JSONL", WRONG_JSON))
        for name, case in cases.items()
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_line(tmp_path: Path, suffix: str, content: bytes, says: str) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    path = tmp_path / f"list{suffix}"
    path.write_bytes(content)
    assert error_of(path).startswith(f"{path}{says}")


def test_all_missing_images_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, records_of(40))
    for number in range(10, 22):
        (tmp_path / f"{number:03d}.jpg").unlink()
    assert (
        "12 of 40 images are not there: 010.jpg (line 12), 011.jpg (line 13), 012.jpg (line 14), 013.jpg (line 15), "
        f"014.jpg (line 16) and 7 more; paths are relative to {tmp_path}"
    ) in error_of(path)


def test_lines_are_counted_through_fields_of_several_lines(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('path,label,note\na.jpg,cat,"one\ntwo\nthree"\n,cat,\n')
    assert ":5: the path is empty" in error_of(tmp_path / "list.csv")


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "list.txt").touch()
    assert "list.txt is not a folder: DATA is a folder with" in error_of(tmp_path / "list.txt")
    assert "a list (.csv, .tsv or .jsonl)" in error_of(tmp_path / "list.txt")
    assert "none.csv does not exist" in error_of(tmp_path / "none.csv")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="whoever may do everything may read it")
def test_a_list_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path, records_of(4))
    path.chmod(0)
    assert "cannot be read: Permission denied" in error_of(path)


# Links


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_are_followed_within_their_folder_and_not_out_of_it(tmp_path: Path) -> None:
    records = records_of(40)
    path = write(tmp_path / "photos", records)
    (tmp_path / "photos/000.jpg").unlink()
    (tmp_path / "photos/000.jpg").symlink_to("001.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    for place in (path, tmp_path / "link/list.csv"):
        assert len(open_data(place).split("all")) == 40
    (tmp_path / "secret.jpg").touch()
    (tmp_path / "photos/000.jpg").unlink()
    (tmp_path / "photos/000.jpg").symlink_to("../secret.jpg")
    assert f"{path}: 1 of its images lead elsewhere by a link: {tmp_path}/photos/000.jpg → " in error_of(path)
    records[0]["path"] = str(tmp_path / "photos/000.jpg")
    assert "1 of its images lead elsewhere" in error_of(write(tmp_path / "other", records))
    records[0]["path"] = str(tmp_path / "secret.jpg")  # asked for by its own path
    assert len(open_data(write(tmp_path / "other", records)).split("all")) == 40


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_in_a_circle_is_an_image_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path, records_of(40))
    (tmp_path / "000.jpg").unlink()
    (tmp_path / "000.jpg").symlink_to("000.jpg")
    assert "1 of 40 images are not there: 000.jpg (line 2)" in error_of(path)
