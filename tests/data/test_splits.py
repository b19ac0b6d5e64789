"""Drawing what is held out: within each class, groups whole, the same everywhere; and the record of it."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from googlenet.data.image_set import ImageSet, LabelledData, LabelledImage
from googlenet.data.opening import find_data, open_data
from googlenet.data.splits import (
    RECORD,
    Record,
    Recorded,
    content_hashes,
    draw,
    hashes_with_progress,
    read_record,
    record_of,
)
from googlenet.errors import DataError


def images(counts: dict[str, int], group: str = "") -> list[LabelledImage]:
    """So many images of each class; ``group`` names how many of them make one."""
    return [
        LabelledImage(f"{name}/{n:04d}.jpg", (label,), group=f"{name}{n // int(group)}" if group else None)
        for label, (name, count) in enumerate(counts.items())
        for n in range(count)
    ]


def drawn(items: Sequence[LabelledImage], seed: int = 0, **fractions: float) -> dict[str, Counter[int]]:
    splits = draw(items, seed, fractions or {"val": 0.2})
    return {
        split: Counter(
            label for each, item in zip(splits, items, strict=True) if each == split for label in item.labels
        )
        for split in ("train", "val", "test")
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("count", "val"), [(1, 0), (2, 1), (3, 1), (5, 1), (7, 1), (8, 2), (12, 2), (25, 5), (100, 20), (1003, 201)]
)
def test_each_class_has_its_share_held_out(seed: int, count: int, val: int) -> None:
    split = drawn(images({"birds": count, "dogs": 25}), seed)
    assert split["val"] == {0: val, 1: 5} if val else {1: 5}
    assert split["train"][0] == count - val


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("count", [2, 3, 9])
def test_one_at_least_is_held_out_and_one_at_least_learnt_from(fraction: float, count: int) -> None:
    split = drawn(images({"a": count, "b": 40}), val=fraction)
    assert split["val"][0] >= 1
    assert split["train"][0] >= 1


def test_a_test_part_is_drawn_too_and_leaves_what_the_others_need() -> None:
    counts = {"one": 1, "two": 2, "three": 3, "ten": 10, "hundred": 100}
    split = drawn(images(counts), test=0.1, val=0.2)
    assert split["test"] == {2: 1, 3: 1, 4: 10}
    assert split["val"] == {1: 1, 2: 1, 3: 2, 4: 20}
    assert split["train"] == {0: 1, 1: 1, 2: 1, 3: 7, 4: 70}


def test_neither_the_order_of_the_images_nor_other_classes_decide() -> None:
    items = images({"a": 30, "b": 50})
    split = dict(zip([item.name for item in items], draw(items, 3, {"val": 0.3}), strict=True))
    backwards = items[::-1]
    assert dict(zip([i.name for i in backwards], draw(backwards, 3, {"val": 0.3}), strict=True)) == split
    alone = images({"a": 30})
    assert dict(zip([i.name for i in alone], draw(alone, 3, {"val": 0.3}), strict=True)).items() <= split.items()
    assert draw(items, 4, {"val": 0.3}) != draw(items, 3, {"val": 0.3})


def test_a_known_draw_is_the_same_on_every_machine() -> None:
    items = images({"birds": 12})
    held = [item.name for item, split in zip(items, draw(items, 0, {"val": 0.2}), strict=True) if split == "val"]
    assert held == ["birds/0000.jpg", "birds/0007.jpg"]


def test_groups_are_whole_and_the_classes_even() -> None:
    items = images({"a": 100, "b": 40}, group="5")
    splits = draw(items, 0, {"test": 0.1, "val": 0.2})
    by_group = {item.group: set() for item in items}  # type: dict[str | None, set[str]]
    for item, split in zip(items, splits, strict=True):
        by_group[item.group].add(split)
    assert all(len(each) == 1 for each in by_group.values())
    counts = drawn(items, test=0.1, val=0.2)
    assert counts["val"] == {0: 20, 1: 10}  # of 8 groups of 5, one or two: 8 is nearer to 10
    assert counts["test"] == {0: 10, 1: 5}


@pytest.mark.parametrize("seed", range(5))
def test_of_groups_of_unequal_size_those_that_fit_are_taken(seed: int) -> None:
    sizes = {"huge": 60, "large": 25, "middle": 10, "small": 4, "tiny": 1}
    items = [LabelledImage(f"{g}/{n}.jpg", (0,), group=g) for g, size in sizes.items() for n in range(size)]
    held = drawn(items, seed)["val"][0]
    assert 10 <= held <= 25
    two = [LabelledImage(f"{g}/{n}.jpg", (0,), group=g) for g in "xy" for n in range(10)]
    assert drawn(two, seed)["val"][0] == 10  # one of two groups, though it is half
    whole = [LabelledImage(f"{n}.jpg", (n % 2,), group="g") for n in range(10)]
    assert drawn(whole, seed)["val"] == {}


def test_groups_of_several_classes_leave_something_to_learn_of_each() -> None:
    patients = [
        LabelledImage(f"{p}/{n}.jpg", ((p + n) % 3,), group=str(p)) for p in range(20) for n in range(2 + p % 4)
    ]
    split = drawn(patients)
    for label in range(3):
        total = split["train"][label] + split["val"][label]
        assert abs(split["val"][label] - 0.2 * total) <= 2
    torn = [
        LabelledImage("a", (0,), group="g1"),
        LabelledImage("b", (0,), group="g2"),
        LabelledImage("c", (1,), group="g2"),
    ]
    assert drawn(torn)["train"][1] == 1
    assert drawn(torn)["val"] == {0: 1}


def test_with_several_labels_each_label_has_its_share() -> None:
    random = np.random.default_rng(0)
    shares = np.array([0.5, 0.3, 0.1, 0.02])
    has = random.random((500, 4)) < shares
    items = [LabelledImage(f"{n}.jpg", tuple(np.flatnonzero(row).tolist())) for n, row in enumerate(has)]
    split = drawn(items)
    for label, total in enumerate(has.sum(axis=0).tolist()):
        assert abs(split["val"][label] - 0.2 * total) <= 1 + 0.02 * total
    without = [item for item in items if not item.labels]
    held = [s for s, item in zip(draw(items, 0, {"val": 0.2}), items, strict=True) if not item.labels and s == "val"]
    assert abs(len(held) - 0.2 * len(without)) <= 1


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sets(st.integers(0, 4), max_size=3), st.sampled_from([None, "p", "q", "r"])), max_size=60),
    st.integers(0, 3),
)
def test_whatever_the_data_groups_are_whole_and_no_class_is_lost(
    rows: list[tuple[set[int], str | None]], seed: int
) -> None:
    items = [LabelledImage(f"{n}.jpg", tuple(sorted(labels)), group=group) for n, (labels, group) in enumerate(rows)]
    splits = draw(items, seed, {"test": 0.2, "val": 0.3})
    for group in "pqr":
        assert len({split for split, item in zip(splits, items, strict=True) if item.group == group}) <= 1
    learnt = {label for split, item in zip(splits, items, strict=True) for label in item.labels if split == "train"}
    assert learnt == {label for item in items for label in item.labels}


def test_data_that_says_its_splits_itself_takes_no_test_fraction(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "1.jpg").touch()
    with pytest.raises(DataError, match=r"says itself which images are train and val: --test-fraction 0.1"):
        open_data(tmp_path, test_fraction=0.1)


def test_a_test_fraction_of_a_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for n in range(20):
            (tmp_path / name / f"{n}.jpg").touch()
    data = open_data(tmp_path, test_fraction=0.1)
    assert {split: part.counts() for split, part in data.splits.items()} == {
        "train": {"a": 14, "b": 14},
        "val": {"a": 4, "b": 4},
        "test": {"a": 2, "b": 2},
    }
    assert list(find_data(tmp_path).splits) == [""]


# The record


def filed(folder: Path, **contents: bytes) -> list[LabelledImage]:
    folder.mkdir(exist_ok=True)
    items = []
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        items.append(LabelledImage(name, (0,), folder / name))
    return items


def test_hashes_are_of_the_content(tmp_path: Path) -> None:
    items = filed(tmp_path / "a", x=b"1", y=b"2", z=b"1")
    pixels = [LabelledImage(f"{n}", (0,), None, np.full((2, 2, 3), n, np.uint8)) for n in (0, 1)]
    x, y, z, zero, one = content_hashes([*items, *pixels])
    assert x == z != y
    assert zero != one
    (tmp_path / "a/x").unlink()
    assert content_hashes(items) == ["", y, z]


def test_hashing_that_takes_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = filed(tmp_path / "a", **{f"f{n}": str(n).encode() for n in range(10)})
    assert hashes_with_progress(items, batch_size=3) == content_hashes(items)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("googlenet.stages.MIN_STAGE_SECONDS", 0.01)
    monkeypatch.setattr("googlenet.stages.MAX_SILENCE", 0.01)
    monkeypatch.setattr("googlenet.data.splits.REPORT_SECONDS", 0.1)

    def slow(some: Sequence[LabelledImage]) -> list[str]:
        time.sleep(0.1)
        return content_hashes(some)

    hashes_with_progress(items, slow, batch_size=5)
    assert capsys.readouterr().err.splitlines() == [
        f"hashing 10 images to recognise them later: {done} done ..." for done in (0, 5)
    ]


def test_a_record_is_read_back_whatever_the_names(tmp_path: Path) -> None:
    names = ['a, "b".jpg', "größe 日本.jpg", "two\nlines.jpg", "caf\udce9.jpg", "=1+1.jpg"]
    splits = {"train": [LabelledImage(name, (0,)) for name in names], "val": [LabelledImage("v", (0,))]}
    content = record_of(splits, [str(n) for n in range(6)])
    (tmp_path / RECORD).write_bytes(content)
    rows = read_record(tmp_path / RECORD, hashlib.sha256(content).hexdigest())
    assert [row.split for row in rows] == ["train"] * 5 + ["val"]
    assert [row.name for row in rows] == [*names[:3], r"caf\udce9.jpg", "=1+1.jpg", "v"]
    assert [row.sha256 for row in rows] == list("012345")
    (tmp_path / RECORD).write_bytes(content + b"train,,more\n")
    with pytest.raises(DataError, match="is not the record that was written with this run"):
        read_record(tmp_path / RECORD, hashlib.sha256(content).hexdigest())


def test_images_are_known_again_by_content_wherever_they_are() -> None:
    rows = {
        "train": [LabelledImage("a", (0,)), LabelledImage("copy", (0,))],
        "val": [LabelledImage("b", (0,)), LabelledImage("same", (0,))],
    }
    hashes = iter(["1", "3", "2", "3"])
    record = Record([Recorded(split, next(hashes), item.name) for split, items in rows.items() for item in items])
    assert record.split_of(LabelledImage("elsewhere/b", (0,)), "2") == "val"
    assert record.split_of(LabelledImage("a", (0,)), "9") is None
    assert record.split_of(LabelledImage("same", (0,)), "3") == "val"  # by its name
    assert record.split_of(LabelledImage("third", (0,)), "3") == "train"  # a copy was learnt from
    assert record.split_of(LabelledImage("a", (0,)), "") is None
    items = [("", LabelledImage(name, (0,))) for name in ("same", "b2", "copy", "a", "new")]
    assert record.order(items, ["3", "2", "3", "1", "7"]) == ([3, 2, 1, 0], [4])
    assert record.order(items[1:], ["2", "3", "5", "7"]) == ([None, 1, 0, None], [2, 3])


def test_images_that_are_in_no_split_yet_are_in_all() -> None:
    data = LabelledData("x", ("a",), {"": ImageSet(("a",), (LabelledImage("1", (0,)),))}, made_here=False)
    with pytest.raises(DataError, match=r"has no split 'val'; it has all$"):
        data.split("val")


# One name in two Unicode forms, and in two cases

NFC, NFD = "café", "cafe\u0301"


def empty_files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_a_folder_that_was_on_a_mac_is_split_alike(tmp_path: Path) -> None:
    def written(root: Path, word: str) -> LabelledData:
        names = [f"{folder}/{word}{n}.jpg" for n in range(20) for folder in (word, "caff", "zoo")]
        return open_data(empty_files(root, *names))

    here, mac = written(tmp_path / "here", NFC), written(tmp_path / "mac", NFD)
    assert here.class_names == mac.class_names == ("caff", NFC, "zoo")
    for split in ("train", "val"):
        assert [item.name for item in here.split(split).items] == [item.name for item in mac.split(split).items]
        assert here.split(split).fingerprint() == mac.split(split).fingerprint()
    assert all(item.path and item.path.exists() for item in mac.split("all").items)


def test_a_class_in_two_unicode_forms_is_one_and_that_is_said(tmp_path: Path) -> None:
    root = empty_files(tmp_path / "p", *(f"{w}/{w[-1]}{n}.jpg" for w in (NFC, NFD, "tea") for n in range(5)))
    data = open_data(root)
    assert data.split("all").counts() == {NFC: 10, "tea": 5}
    assert data.notes == (f"{root}: {NFC} is written in two Unicode forms: taken as one class",)
    lines = [f"{w}/{w[-1]}{n}.jpg,{w}" for w in (NFC, NFD, "tea") for n in range(5)]
    (root / "list.csv").write_text("\n".join(["path,label", *lines]))
    assert open_data(root / "list.csv").split("all").counts() == {NFC: 10, "tea": 5}
    empty_files(root, f"{NFC}/same.jpg", f"{NFD}/same.jpg")
    with pytest.raises(DataError, match=f"two images have one name but for the Unicode form .*: {NFC}/same.jpg; ren"):
        open_data(root)


def test_names_that_differ_in_capitals_alone_are_said(tmp_path: Path) -> None:
    root = empty_files(tmp_path / "p", *(f"{c}/{n}.jpg" for c in "ab" for n in ("1", "2", "Cat", "cat", "3")))
    (note,) = open_data(root).notes
    assert note == (
        f"{root}: names that differ in capitals alone, which some disks take for one: "
        "a/Cat.jpg and a/cat.jpg, b/Cat.jpg and b/cat.jpg"
    )


@pytest.mark.parametrize(("written", "there"), [(NFC, NFD), (NFD, NFC)])
def test_a_list_names_files_in_whichever_form_the_disk_has_them(tmp_path: Path, written: str, there: str) -> None:
    empty_files(tmp_path, *(f"{there}/{n}.jpg" for n in range(6)), *(f"tea/{n}.jpg" for n in range(6)))
    lines = [f"{folder}/{n}.jpg,{folder}" for folder in (written, "tea") for n in range(6)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
    data = open_data(tmp_path / "list.csv").split("all")
    assert data.counts() == {NFC: 6, "tea": 6}
    assert all(item.path and item.path.exists() for item in data.items)
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines, f"{there}/0.jpg,tea"]))
    with pytest.raises(DataError, match="is in line 2 too with another label"):
        open_data(tmp_path / "list.csv")
