from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from googlenet.data.folders import images_below
from googlenet.data.image_set import ImageSet, LabelledData
from googlenet.data.opening import find_data, open_data
from googlenet.errors import DataError, UnreadableImageError


def touch(root: Path, *names: str) -> Path:
    """Make files without content: which image belongs where is decided by names alone."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def numbered(folder: str, count: int) -> list[str]:
    return [f"{folder}/{number:03d}.jpg" for number in range(count)]


def names_of(images: ImageSet) -> set[str]:
    return {item.name for item in images.items}


def labelled_names(images: ImageSet) -> set[tuple[str, str]]:
    return {(item.name, images.class_names[item.label]) for item in images.items}


def error_of(source: str | Path) -> str:
    with pytest.raises(DataError) as caught:
        open_data(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """One sub-folder per class, no split."""
    return touch(tmp_path / "flat", *numbered("dog", 200), *numbered("cat", 200))


# Finding


def test_images_are_found_sorted_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    names = ["a b.JPG", "a/1.png", "a/2/x.WebP", "a/10.bmp", "b.jpeg", "größe 日本.TIF", "z.gif"]
    touch(tmp_path, *reversed(names))
    assert [path.relative_to(tmp_path).as_posix() for path in images_below(tmp_path)] == sorted(names)


def test_hidden_files_hidden_folders_and_other_files_are_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", ".2.jpg", "._1.jpg", ".trash/3.jpg", "a/.cache/4.jpg", "notes.txt", "jpg", "5.jpg.part")
    (tmp_path / "folder.jpg").mkdir()
    assert images_below(tmp_path) == [tmp_path / "1.jpg"]


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert images_below(tmp_path) == []
    assert images_below(tmp_path / "missing") == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_that_lead_in_a_circle_do_no_harm(tmp_path: Path) -> None:
    root = touch(tmp_path / "photos", *numbered("cat", 30), *numbered("dog", 30))
    (root / "cat/again").symlink_to(root)
    (root / "circle").symlink_to(root / "circle")
    data = open_data(root)
    assert data.class_names == ("cat", "dog")
    assert len(data.split("all")) == 60


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_data_itself_a_class_and_an_image_may_be_links_within_the_folder(tmp_path: Path) -> None:
    root = touch(tmp_path / "photos", *numbered("cat", 30), *numbered(".originals", 30))
    (root / "dog").symlink_to(root / ".originals")
    (root / "cat/linked.jpg").symlink_to("../.originals/000.jpg")
    (tmp_path / "link").symlink_to(root)
    for place in (root, tmp_path / "link"):
        assert open_data(place).split("all").counts() == {"cat": 31, "dog": 30}


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_that_lead_out_of_the_folder_are_refused_and_named(tmp_path: Path) -> None:
    elsewhere = touch(tmp_path / "elsewhere", *numbered("dog", 30))
    root = touch(tmp_path / "photos", *numbered("cat", 30), *numbered("dog", 30))
    (root / "cat/linked.jpg").symlink_to(elsewhere / "dog/000.jpg")
    message = error_of(root)
    assert message.startswith(f"{root}: 1 of its images lead elsewhere by a link: {root}/cat/linked.jpg → {elsewhere}")
    (root / "cow").symlink_to(elsewhere / "dog")
    assert f"{root}: 31 of its images lead elsewhere" in error_of(root)
    assert error_of(root).count("→") == 5


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_folder_whose_name_begins_alike_is_elsewhere(tmp_path: Path) -> None:
    root = touch(tmp_path / "photos", *numbered("cat", 30), *numbered("dog", 30))
    touch(tmp_path / "photos-private", "1.jpg")
    (root / "cat/linked.jpg").symlink_to("../../photos-private/1.jpg")
    assert "lead elsewhere by a link" in error_of(root)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_that_leads_nowhere_is_reported_when_it_is_read(flat: Path) -> None:
    (flat / "cat/gone.jpg").symlink_to("nowhere.jpg")
    everything = open_data(flat).split("all")
    assert len(everything.fingerprint()) == 64
    gone = next(item for item in everything.items if item.name == "cat/gone.jpg")
    with pytest.raises(UnreadableImageError, match=r"gone\.jpg does not exist"):
        gone.read()


# A folder with one sub-folder per class


def test_classes_are_the_sub_folders_sorted(tmp_path: Path) -> None:
    root = touch(tmp_path, *numbered("b", 20), *numbered("B", 20), *numbered("a b", 20), *numbered("é", 20))
    data = open_data(str(root))
    assert data.name == str(root)
    assert data.class_names == ("B", "a b", "b", "é")
    assert data.made_here
    assert list(data.splits) == ["train", "val"]
    assert {(name, name.split("/")[0]) for name in names_of(data.split("all"))} == labelled_names(data.split("all"))


def test_each_image_is_on_one_side_and_both_sides_are_sorted(flat: Path) -> None:
    data = open_data(flat)
    assert not names_of(data.train) & names_of(data.val)
    assert names_of(data.split("all")) == {*numbered("cat", 200), *numbered("dog", 200)}
    for part in (data.train, data.val):
        assert [item.name for item in part.items] == sorted(names_of(part))


def test_a_fifth_of_each_class_is_held_out(flat: Path) -> None:
    assert open_data(flat).val.counts() == {"cat": 40, "dog": 40}


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_another_fraction_may_be_held_out(flat: Path, fraction: float) -> None:
    assert open_data(flat, val_fraction=fraction).val.counts() == dict.fromkeys(("cat", "dog"), 200 * fraction)


def test_a_larger_fraction_holds_out_the_same_and_more(flat: Path) -> None:
    assert names_of(open_data(flat, val_fraction=0.2).val) < names_of(open_data(flat, val_fraction=0.4).val)


def test_the_split_depends_on_the_seed_and_on_names_but_not_on_the_place(flat: Path, tmp_path: Path) -> None:
    once = open_data(flat, seed=3)
    assert open_data(flat, seed=3) == once
    assert names_of(open_data(flat, seed=4).val) != names_of(once.val)
    moved = flat.rename(tmp_path / "moved here")
    assert names_of(open_data(moved, seed=3).val) == names_of(once.val)


FILE_NAMES = st.sets(st.text("abcXYZ019 äé日_-", min_size=1, max_size=6), max_size=20)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(before=FILE_NAMES, added=FILE_NAMES, seed=st.integers(0, 19))
def test_adding_files_moves_at_most_as_many_others_and_none_of_other_classes(
    tmp_path_factory: pytest.TempPathFactory, before: set[str], added: set[str], seed: int
) -> None:
    root = touch(tmp_path_factory.mktemp("growing"), *numbered("a", 60), *numbered("b", 60))
    touch(root, *(f"a/{name}.png" for name in before))
    old = open_data(root, seed=seed)
    new_names = [f"{folder}/{name}.jpg" for folder in ("a", "a/deeper") for name in added]
    touch(root, *new_names, *numbered("0", 60))
    new = open_data(root, seed=seed)
    moved = names_of(old.train) & names_of(new.val) | names_of(old.val) & names_of(new.train)
    assert len(moved) <= len(new_names)
    assert not {name for name in moved if not name.startswith("a/")}


def test_images_in_folders_inside_a_class_belong_to_it(tmp_path: Path) -> None:
    root = touch(tmp_path, *numbered("cat/2024/spring", 20), *numbered("cat", 20), *numbered("dog", 20))
    assert open_data(root).split("all").counts() == {"cat": 40, "dog": 20}


def test_hidden_folders_and_loose_files_beside_the_classes_are_ignored(flat: Path) -> None:
    touch(flat, ".git/1.jpg", "loose.jpg", "README.txt", "cat/labels.csv", "cat/.hidden.jpg")
    assert open_data(flat).split("all").counts() == {"cat": 200, "dog": 200}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep file names as Unicode")
def test_a_file_name_that_is_not_unicode_is_read_like_any_other(flat: Path) -> None:
    Path(os.fsdecode(os.fsencode(flat / "cat") + b"/gr\xf6\xdfe.jpg")).touch()
    everything = open_data(flat).split("all")
    assert len(everything) == 401
    assert len(everything.fingerprint()) == 64


# train/, val/ and test/


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Folders train/, val/ and test/; val lacks the class that comes first."""
    return touch(
        tmp_path / "split",
        *(name for cls in ("ant", "bee", "cow") for name in numbered(f"train/{cls}", 3)),
        *(name for cls in ("bee", "cow") for name in numbered(f"val/{cls}", 2)),
        *numbered("test/cow", 1),
    )


def test_given_splits_are_taken_as_they_are(split: Path) -> None:
    touch(split, "val/loose.jpg", "train/.hidden/1.jpg", "raw/1.jpg", ".cache/1.jpg")
    data = open_data(split, seed=7, val_fraction=0.9)
    assert not data.made_here
    assert list(data.splits) == ["train", "val", "test"]
    assert data.train.counts() == {"ant": 3, "bee": 3, "cow": 3}
    assert data.val.counts() == {"ant": 0, "bee": 2, "cow": 2}
    assert data.split("test").counts() == {"ant": 0, "bee": 0, "cow": 1}
    assert len(data.split("all")) == 14


def test_classes_of_val_are_numbered_as_in_train(split: Path) -> None:
    data = open_data(split)
    for part in data.splits.values():
        assert part.class_names == ("ant", "bee", "cow")
        assert labelled_names(part) == {(name, name.split("/")[0]) for name in names_of(part)}


def test_without_val_some_of_train_is_held_out_and_test_stays_apart(tmp_path: Path) -> None:
    root = touch(tmp_path, *numbered("train/a", 50), *numbered("train/b", 50), *numbered("test/b", 5))
    data = open_data(root)
    assert data.made_here
    assert list(data.splits) == ["train", "val", "test"]
    assert names_of(data.train) | names_of(data.val) == {*numbered("a", 50), *numbered("b", 50)}
    assert not names_of(data.train) & names_of(data.val)
    assert labelled_names(data.split("test")) == {(name, "b") for name in numbered("b", 5)}


def test_with_train_alone_some_of_it_is_held_out(tmp_path: Path) -> None:
    data = open_data(touch(tmp_path, *numbered("train/a", 50), *numbered("train/b", 50)))
    assert data.class_names == ("a", "b")
    assert list(data.splits) == ["train", "val"]
    assert data.made_here


def test_one_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    assert open_data(touch(tmp_path, *numbered("train", 50), *numbered("bus", 50))).class_names == ("bus", "train")


def test_a_split_that_is_not_there_is_answered_with_those_that_are(flat: Path) -> None:
    with pytest.raises(DataError, match=r"has no split 'test'; it has train, val and all$"):
        open_data(flat).split("test")


# Errors


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    message = error_of(tmp_path / "photos")
    assert message.startswith(f"{tmp_path / 'photos'} does not exist")
    assert "one sub-folder of images per class" in message


def test_a_file_is_not_a_folder(flat: Path) -> None:
    assert error_of(flat / "cat/000.jpg").startswith(f"{flat / 'cat/000.jpg'} is not a folder")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "has no images: make one sub-folder per class"),
        (["notes.txt"], "has no images: make one sub-folder per class"),
        (["1.jpg", "2.png", "3.txt"], "has 2 images but no sub-folders: make one sub-folder per class"),
        (numbered("cat", 20), "has one class only, 'cat': a classifier needs two or more"),
        (
            [*numbered("cat", 20), "dog/notes.txt"],
            "dog is a class without images: put some into it (avif, bmp, ",
        ),
        (["cat/1.jpg", "dog/1.jpg"], "too few images to hold some out"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/c/1.jpg", "val/d/1.jpg"], "has classes that "),
        (["train/a/1.jpg", "train/b/1.jpg", "val/c/1.jpg", "val/d/1.jpg"], "lacks: c, d; train has a, b"),
        ([*numbered("train/a", 50), *numbered("train/b", 50), "test/c/1.jpg"], "lacks: c; train has a, b"),
        (["train/a/1.jpg", "val/a/1.jpg"], "has one class only, 'a'"),
        (["train/1.jpg", "val/1.jpg"], "train has 1 images but no sub-folders"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/a/notes.txt"], "a is a class without images"),
        (["train/a/1.jpg", "valid/a/1.jpg", "test/a/1.jpg"], "has the folders test, train, valid, which look like"),
        (["Train/a/1.jpg", "Test/a/1.jpg"], "name them train/, val/ and test/"),
    ],
)
def test_what_cannot_be_learnt_from_is_one_line_that_says_what_and_where(
    tmp_path: Path, files: list[str], words: str
) -> None:
    message = error_of(touch(tmp_path, *files))
    assert message.startswith(str(tmp_path))
    assert words in message


# The digits


@pytest.fixture(scope="module")
def digits() -> LabelledData:
    pytest.importorskip("sklearn")
    return open_data("digits")


def test_digits_are_1797_images_of_ten_classes(digits: LabelledData) -> None:
    assert digits.name == "digits"
    assert digits.class_names == tuple("0123456789")
    everything = digits.split("all")
    assert len(everything) == len(names_of(everything)) == 1797
    assert min(everything.counts().values()) > 170
    assert 280 < len(digits.val) < 440
    assert everything.fingerprint() == open_data("digits").split("all").fingerprint()


def test_digits_are_dark_ink_on_white(digits: LabelledData) -> None:
    pixels = np.stack([item.read() for item in digits.val.items])
    assert pixels.shape[1:] == (8, 8, 3)
    assert (pixels[:, :, 0] == 255).mean() > 0.95  # hardly any digit touches the left edge
    assert (pixels.min(axis=(1, 2, 3)) < 30).all()
    assert (pixels.max(axis=(1, 2, 3)) == 255).all()


def test_a_folder_called_digits_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "digits", *numbered("odd", 50), *numbered("even", 50))
    monkeypatch.chdir(tmp_path)
    assert open_data("digits").class_names == ("even", "odd")


# The images themselves


def test_an_image_is_read_from_its_file_when_asked_for(tmp_path: Path) -> None:
    root = touch(tmp_path, *numbered("black", 20), *numbered("white", 20))
    for file in images_below(root):
        Image.new("RGB", (3, 2), file.parent.name).save(file)
    for item in open_data(root).split("all").items:
        assert item.read().shape == (2, 3, 3)
        assert (item.read() == item.label * 255).all()


def test_counts_of_no_images_are_zero() -> None:
    assert ImageSet(("a", "b"), ()).counts() == {"a": 0, "b": 0}


def test_where_keeps_the_classes_and_their_numbers(flat: Path) -> None:
    dogs = open_data(flat).train.where(lambda item: item.name.startswith("dog"))
    assert dogs.class_names == ("cat", "dog")
    assert set(dogs.labels) == {(1,)}


def test_the_fingerprint_tells_one_set_of_images_from_another(flat: Path, tmp_path: Path) -> None:
    def fingerprint(root: Path) -> str:
        return open_data(root).split("all").fingerprint()

    first = fingerprint(flat)
    assert fingerprint(flat) == first
    moved = flat.rename(tmp_path / "moved")
    assert fingerprint(moved) == first

    (moved / "cat/000.jpg").write_bytes(b"longer")
    longer = fingerprint(moved)
    (moved / "cat/more.jpg").touch()
    more = fingerprint(moved)
    (moved / "cat/more.jpg").rename(moved / "dog/more.jpg")
    elsewhere = fingerprint(moved)
    (moved / "cat").rename(moved / "kitten")
    renamed = fingerprint(moved)
    assert len({first, longer, more, elsewhere, renamed}) == 5


def test_a_large_set_has_a_short_repr(coloured):
    data = open_data(coloured)
    assert repr(data.train) == f"ImageSet({len(data.train)} images, 3 classes)"
    assert repr(data) == f"LabelledData({str(coloured)!r}, train {len(data.train)}, val {len(data.val)}, 3 classes)"
    assert "not split" in repr(find_data(coloured))
