"""Folders as they come: what is not learnt from is named with its reason, and links are followed on demand."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from googlenet.data.image_set import ImageSet
from googlenet.data.inputs import find_images
from googlenet.data.opening import open_data
from googlenet.data.source import DataSource
from googlenet.errors import DataError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows, and names differ")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    touch(tmp_path, *(f"photos/{name}/{number:03d}.jpg" for name in ("cat", "dog") for number in range(30)))
    return tmp_path / "photos"


def names_of(images: ImageSet) -> set[str]:
    return {item.name for item in images.items}


def notes_of(root: Path, **how: bool) -> list[str]:
    data = open_data(DataSource(root, **how))
    assert data.split("all").counts() == {"cat": 30, "dog": 30}
    assert all(note.isprintable() for note in data.notes)
    return [note.removeprefix(f"{root}: ") for note in data.notes]


def predicted(root: Path, **how: bool) -> tuple[list[str], list[str]]:
    """What `predict` takes of a folder, and what it says."""
    notes: list[str] = []
    found = find_images(DataSource(root, **how), tell=notes.append).ids
    return [path.removeprefix(f"{root}/") for path in found], [note.removeprefix(f"{root}: ") for note in notes]


SYSTEM = "that a system made"
LEFT_OUT = {
    "thumbnails of a NAS": (["cat/@eaDir/000.jpg/THUMB_M.jpg", "dog/@EADIR/x.jpg"],
                            f"left out 2 files and folders {SYSTEM} (cat/@eaDir, dog/@EADIR)"),
    "a Mac's forks": (["__MACOSX/cat/._000.jpg"], f"left out 1 file or folder {SYSTEM} (__MACOSX)"),
    "lost and found": (["lost+found/x.jpg"], f"left out 1 file or folder {SYSTEM} (lost+found)"),
    "bins": (["#recycle/x.jpg", "cat/$RECYCLE.BIN/x.jpg"],
             f"left out 2 files and folders {SYSTEM} (#recycle, cat/$RECYCLE.BIN)"),
    "windows": (["cat/Thumbs.db", "cat/desktop.ini"], f"left out 2 files and folders {SYSTEM} (cat/Thumbs.db, "),
    "hidden": (["cat/.ipynb_checkpoints/0.jpg", "cat/._1.jpg", ".Trash-1000/2.jpg", "dog/.DS_Store"],
               "left out 4 hidden files and folders (.Trash-1000, cat/._1.jpg, cat/.ipynb_checkpoints, dog/.DS_Store)"),
    "no suffix": (["cat/4501"], "left out 1 file without a suffix (cat/4501): if they are images, name them .jpg or"),
    "no image": (["cat/a.xml", "dog/b.xml", "dog/c.webp.part"],
                 "left out 3 files that are no images (.xml 2, .part 1: cat/a.xml, dog/b.xml, dog/c.webp.part)"),
    "a run": (["runs/a/run.json", "runs/a/checkpoints/x", "runs/a/learning_curve.png"],
              "left out 1 run or bundle of googlenet (runs/a)"),
    "a run in place of a class": (["run/run.json", "run/checkpoints/x", "run/learning_curve.png"],
                                  "left out 1 run or bundle of googlenet (run)"),
    "a bundle": (["cat/b/card.json", "cat/b/model.onnx", "cat/b/c.png"],
                 "left out 1 run or bundle of googlenet (cat/b)"),
    "loose images": (["loose.jpg"], "left out 1 image beside the folders (loose.jpg): put each into the folder of its"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_is_no_image_of_a_class_is_left_out_and_named(photos: Path, kind: str) -> None:
    names, note = LEFT_OUT[kind]
    assert notes_of(photos) == []
    touch(photos, *names)
    (told,) = notes_of(photos)
    assert told.startswith(note)
    if kind != "loose images":
        found, notes = predicted(photos)
        assert len(found) == 60
        assert notes == [told]


def test_images_of_kinds_that_are_not_read_are_counted_with_what_to_do(photos: Path) -> None:
    touch(photos, "cat/a.CR2", "cat/b.nef", "dog/c.jxl", "d.svg")
    raw = "export camera raw files as JPEG or TIFF"
    assert sorted(notes_of(photos)) == [
        "left out 1 image (.jxl 1: dog/c.jxl): convert to JPEG or PNG",
        "left out 1 image (.svg 1: d.svg): export drawings as PNG",
        f"left out 2 images (.cr2 1, .nef 1: cat/a.CR2, cat/b.nef): {raw}",
    ]
    assert {"cat/a.CR2", "cat/b.nef", "dog/c.jxl", "d.svg"} < set(predicted(photos)[0])  # each a row with an error


def test_a_class_of_images_that_are_not_read_says_so(photos: Path) -> None:
    touch(photos, "cow/a.jxl", "cow/notes.txt")
    with pytest.raises(DataError) as caught:
        open_data(photos)
    assert "cow is a class without images: put some into it (" in str(caught.value)
    assert "; left out 1 image (.jxl 1: a.jxl): convert to JPEG or PNG; left out 1 file" in str(caught.value)


def test_splits_inside_of_classes_are_refused(photos: Path) -> None:
    touch(photos, "cat/2024/train/0.jpg", "cat/2024/Val/1.jpg")
    with pytest.raises(
        DataError, match=r"cat/2024 is in a class and has the folders Val, train, which look like splits"
    ):
        open_data(photos)
    (photos / "cat/2024/Val/1.jpg").unlink()
    (photos / "cat/2024/Val").rmdir()
    assert open_data(photos).split("all").counts() == {"cat": 31, "dog": 30}  # one alone is a name like any other


def test_classes_that_differ_in_capitals_alone_are_said(photos: Path) -> None:
    touch(photos, *(f"Cat/{number:03d}.jpg" for number in range(30)))
    data = open_data(photos)
    assert data.class_names == ("Cat", "cat", "dog")
    assert data.notes == (
        f"{photos}: the classes Cat and cat differ in capitals alone and are learned as several: "
        "give them one name if they are one",
    )


def test_folders_beside_the_splits_are_named(tmp_path: Path) -> None:
    for split in ("train", "val"):
        touch(tmp_path, *(f"{split}/{name}/{number}.jpg" for name in ("cat", "dog") for number in range(3)))
    touch(tmp_path, "raw/1.jpg", "train/1.jpg")
    assert set(open_data(tmp_path).notes) == {
        f"{tmp_path}: left out 1 folder beside the splits (raw)",
        f"{tmp_path}: left out 1 image beside the folders (train/1.jpg): put each into the folder of its class",
    }


# Links


def test_a_linked_folder_that_leads_out_is_refused_and_followed_on_demand(photos: Path) -> None:
    elsewhere = photos.parent / "elsewhere"
    touch(elsewhere, "deep/1.jpg", "2.jpg")
    (photos / "cat/more").symlink_to(elsewhere)
    with pytest.raises(DataError) as caught:
        open_data(photos)
    assert f"1 of its images lead elsewhere by a link: {photos}/cat/more → {elsewhere}" in str(caught.value)
    assert str(caught.value).endswith("or allow it with --follow-links")
    data = open_data(DataSource(photos, follow_links=True))
    assert data.split("all").counts() == {"cat": 32, "dog": 30}
    assert {"cat/more/2.jpg", "cat/more/deep/1.jpg"} < names_of(data.split("all"))
    assert predicted(photos)[1] == ["left out 1 linked folder (cat/more): --follow-links takes in what they hold"]
    assert len(predicted(photos, follow_links=True)[0]) == 62


def test_a_linked_file_that_leads_out_is_taken_on_demand(photos: Path) -> None:
    touch(photos.parent, "secret.jpg")
    (photos / "cat/linked.jpg").symlink_to("../../secret.jpg")
    with pytest.raises(DataError, match="lead elsewhere by a link"):
        open_data(photos)
    assert open_data(DataSource(photos, follow_links=True)).split("all").counts() == {"cat": 31, "dog": 30}


def test_links_in_circles_are_safe_and_each_file_is_there_once(photos: Path) -> None:
    (photos / "cat/again").symlink_to(photos)  # everything, dogs too
    (photos / "cat/again.jpg").symlink_to("000.jpg")
    (photos / "dog/self").symlink_to("self")
    (photos / "dog/up").symlink_to("..")
    elsewhere = photos.parent / "elsewhere"
    touch(elsewhere, "1.jpg")
    (elsewhere / "back").symlink_to(photos)
    for name in ("a", "b"):
        (photos / f"cat/{name}").symlink_to(elsewhere)
    (photos / "cat/aa.jpg").symlink_to("../../elsewhere/1.jpg")
    data = open_data(DataSource(photos, follow_links=True))
    assert data.split("all").counts() == {"cat": 31, "dog": 30}
    (note,) = (note for note in data.notes if "there already" in note)
    assert note.startswith(f"{photos}: left out 6 links to what is there already (")
    found, _ = predicted(photos, follow_links=True)
    assert len(found) == len({os.path.realpath(photos / name) for name in found}) == 61


def test_a_linked_folder_inside_is_named_and_its_files_are_there_once(photos: Path) -> None:
    (photos / "cat/a").mkdir()
    (photos / "cat/000.jpg").rename(photos / "cat/a/000.jpg")
    (photos / "cat/b").symlink_to("a")
    assert notes_of(photos) == ["left out 1 linked folder (cat/b): --follow-links takes in what they hold"]
    assert notes_of(photos, follow_links=True) == ["left out 1 link to what is there already (cat/b)"]


# Folders that may not be read


@pytest.fixture
def plain_user() -> Iterator[Path]:
    """A folder of somebody whom permissions hold back, even where root runs the tests."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if os.geteuid():
            yield root
            return
        root.chmod(0o777)
        os.seteuid(65534)
        try:
            yield root
        finally:
            os.seteuid(0)


def test_a_folder_that_may_not_be_read_is_refused_or_a_row_of_its_own(plain_user: Path) -> None:
    root = plain_user
    touch(root, *(f"{name}/{number:03d}.jpg" for name in ("cat", "dog") for number in range(30)), "cat/private/1.jpg")
    (root / "cat/private").chmod(0)
    try:
        with pytest.raises(DataError, match=r"cat/private may not be read: permission denied: allow it"):
            open_data(root)
        found, notes = predicted(root)
        assert "cat/private" in found  # decoding it will be an error
        assert notes == [f"{root}/cat/private may not be read: permission denied"]
    finally:
        (root / "cat/private").chmod(0o700)
