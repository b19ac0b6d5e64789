"""Images sorted into folders: the right one, whole, under a name of their own, and the same when done again."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet.bulk.sorting import Sorter, check_outside, folder_names
from googlenet.errors import DiskFullError, ResultsError, RunError, UnreadableImageError

NAMES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def answer(trained_run):
    """An answer of so much probability that an image is red."""
    known = googlenet.load(trained_run).predict(trained_run.parent / "photos" / "red" / "001.png")

    def of(probability=0.9):
        rest = (1 - probability) / 2
        return replace(known, probabilities=np.array([rest, rest, probability], np.float32))

    return of


@pytest.fixture
def images(tmp_path):
    """Three with the same name, one of them the same image, and one that differs by case."""
    sources = []
    for number, name in enumerate(("a/1.png", "b/1.png", "c/1.png", "d/1.PNG", "e/2.png")):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8), (0 if number == 1 else number, 0, 0)).save(path, "PNG")
        sources.append(str(path))
    return sources


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def as_they_are(sources):
    return sorted(open(source, "rb").read() for source in sources)  # noqa: PTH123


@pytest.mark.parametrize("link", [False, True])
def test_each_image_is_there_once_whatever_its_name_and_once_only_when_done_again(tmp_path, images, answer, link):
    out = tmp_path / "out"
    for _ in range(2):
        sorter = Sorter(out, images, NAMES, link=link)
        places = [sorter.place(source, answer()) for source in images]
        assert sorted(contents(out).values()) == as_they_are(images)
        assert len(set(places)) == len(images)
        assert all(place.parent == out / "red" for place in places)
    assert (places[0].name, places[4].name) == ("1.png", "2.png")
    assert all(place.samefile(source) == link for place, source in zip(places, images, strict=True))
    assert places[0].stat().st_mtime == pytest.approx((tmp_path / "in/a/1.png").stat().st_mtime)


def test_done_again_in_part_it_comes_to_the_same(tmp_path, images, answer):
    sorter = Sorter(tmp_path / "whole", images, NAMES)
    whole = {source: sorter.place(source, answer()).name for source in images}
    sorter = Sorter(tmp_path / "out", images, NAMES)
    assert {source: sorter.place(source, answer()).name for source in reversed(images)} == whole


def test_another_image_that_is_there_already_is_kept(tmp_path, images, answer):
    out = tmp_path / "out"
    (out / "red").mkdir(parents=True)
    (out / "red" / "2.png").write_text("of another time")
    for _ in range(2):
        Sorter(out, images, NAMES).place(images[4], answer())
        assert sorted(contents(out).values()) == sorted([b"of another time", *as_they_are([images[4]])])


def test_those_below_the_confidence_asked_for_and_only_those_are_unsure(tmp_path, images, answer):
    sorter = Sorter(tmp_path / "out", images, NAMES, min_confidence=0.75)
    given = [0.0, 0.749998, 0.75, 0.750001, 1.0]
    where = [sorter.place(source, answer(p)).parent.name for source, p in zip(images, given, strict=True)][1:]
    assert where == ["unsure", "red", "red", "red"]


def test_a_link_keeps_the_image_and_not_the_link_to_it(tmp_path, images, answer):
    (tmp_path / "link.png").symlink_to(images[0])
    place = Sorter(tmp_path / "out", [], NAMES, link=True).place(str(tmp_path / "link.png"), answer())
    assert not place.is_symlink()
    assert place.samefile(images[0])


def test_what_a_kill_left_half_copied_does_not_stay(tmp_path, images, answer):
    sorter = Sorter(tmp_path / "out", images, NAMES)
    place = sorter.place(images[1], answer())
    assert place.name.startswith("1-")
    place.rename(place.with_name(f".{place.stem[2:]}.new"))
    sorter.place(images[1], answer())
    assert contents(tmp_path / "out") == {f"red/{place.name}": as_they_are([images[1]])[0]}


def test_names_of_classes_become_names_of_folders():
    classes = ["cat", "a/b", "a\\b", "", "..", ".git", "Unsure", "unsure-2", "dog. ", "what?", "花"]
    names = folder_names(classes)
    assert list(names.values()) == [
        "cat", "a_b", "a_b-2", "_", "_-2", "_git", "Unsure-2", "unsure-2-2", "dog", "what_", "花",
    ]  # fmt: skip


def test_long_names_of_namesakes_are_cut(tmp_path, answer):
    sources = []
    for folder in "ab":
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / ("é" * 125 + ".png")
        path.write_text(folder)
        sources.append(str(path))
    sorter = Sorter(tmp_path / "out", sources, NAMES)
    assert {sorter.place(source, answer()).read_text() for source in sources} == {"a", "b"}


# What cannot be


@pytest.mark.parametrize("folder", [".", "in", "in/out", "elsewhere/../in/out"])
def test_a_folder_that_would_be_sorted_next_time_is_refused(tmp_path, images, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ResultsError, match="where its images would be found again"):
        check_outside(tmp_path / folder, ["in", "."])
    check_outside(tmp_path / "elsewhere", ["in", "in/a/1.png"])


def test_images_in_the_folder_are_refused(tmp_path, images):
    with pytest.raises(ResultsError, match=r"1.png lies in --sort-into .*: choose a folder without images to sort"):
        Sorter(tmp_path / "in" / "b", images, NAMES)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(ResultsError, match="is a file: give a folder"):
        check_outside(tmp_path / "out", [])


def test_an_image_that_is_gone_is_an_error_of_its_own(tmp_path, answer):
    for link in (False, True):
        with pytest.raises(UnreadableImageError, match=r"gone.png is not there any more"):
            Sorter(tmp_path / "out", [], NAMES, link=link).place(str(tmp_path / "gone.png"), answer())
    assert not contents(tmp_path / "out")


def test_other_disks_can_be_copied_to_but_not_linked(small_disk, images, answer):
    with pytest.raises(ResultsError, match=r"1.png cannot be hard-linked into .* \(.*link\): leave --link out to copy"):
        Sorter(small_disk / "out", images, NAMES, link=True).place(images[0], answer())
    assert Sorter(small_disk / "out", images, NAMES).place(images[0], answer()).exists()


def test_a_full_disk_and_one_that_cannot_be_written_leave_nothing_half_copied(small_disk, tmp_path, answer):
    large = tmp_path / "large.png"
    large.write_bytes(bytes(9 << 20))
    sorter = Sorter(small_disk / "out", [str(large)], NAMES)
    with pytest.raises(DiskFullError, match=r"large.png cannot be written: No space left"):
        sorter.place(str(large), answer())
    assert not contents(small_disk)
    large.write_bytes(b"small now")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(RunError, match=r"large.png cannot be written: Read-only file system"):
        sorter.place(str(large), answer())
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert sorter.place(str(large), answer()).read_bytes() == b"small now"
