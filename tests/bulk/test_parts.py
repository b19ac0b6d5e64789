"""A folder of Parquet parts: whole or absent, each image once, and what is said where that is not so."""

from __future__ import annotations

import shutil

import pytest

from googlenet.bulk.parquet import encoded
from googlenet.bulk.parts import MAX_PART_IMAGES, Parts, check_parts_folder, split
from googlenet.bulk.rows import ranked_schema
from googlenet.errors import ClusterError, ResultsError, UnreadableImageError

IDS = [f"{number:05d}.png" for number in range(3000)]


def content_of(ids):
    return encoded(
        [ranked_schema().row(id_, UnreadableImageError(f"{id_} is not there")) for id_ in ids], ranked_schema()
    )


def fill(folder, ids, resume=False):
    with Parts(folder, ranked_schema(), resume=resume) as parts:
        for part in split(ids, parts.contents.ids):
            parts.add(part.name, content_of(part.ids))
        return parts.read()


def test_parts_hold_all_in_order_and_are_not_too_large():
    parts = split(IDS, workers=2)
    assert [id_ for part in parts for id_ in part.ids] == IDS
    assert [part.name for part in parts] == sorted(part.name for part in parts)
    assert len(parts) == 8
    assert max(len(part.ids) for part in split(IDS * 10)) == MAX_PART_IMAGES
    assert [len(part.ids) for part in split(IDS[:3], workers=64)] == [1, 1, 1]
    assert split([]) == []


def test_a_name_says_which_images_are_in_it():
    assert split(IDS) == split(IDS)
    assert {part.name for part in split(IDS)}.isdisjoint(part.name for part in split(IDS[::-1]))
    assert split(["caf\udce9.jpg"])[0].name != split(["café.jpg"])[0].name


def test_a_part_that_is_written_again_is_there_once(tmp_path):
    with Parts(tmp_path / "results", ranked_schema()) as parts:
        for part in [*split(IDS), *split(IDS)[1:]]:
            parts.add(part.name, content_of(part.ids))
        contents = parts.read()
    contents.audit(IDS)
    assert (contents.parts, contents.summary.images, contents.summary.unreadable) == (len(split(IDS)), 3000, 3000)
    assert len(list((tmp_path / "results").iterdir())) == contents.parts


def test_resuming_does_what_is_missing_only(tmp_path):
    whole = fill(tmp_path, IDS)
    lost = sorted(tmp_path.iterdir())[1]
    lost.unlink()
    (tmp_path / f".{lost.name}.new").write_bytes(b"half")  # what a kill leaves
    missing = r"the results are not whole: 750 \(00750.png, .* and 745 more\) missing, 0 there more than once"
    with Parts(tmp_path, ranked_schema(), resume=True) as parts, pytest.raises(ClusterError, match=missing):
        parts.contents.audit(IDS)
    again = fill(tmp_path, [*IDS, "new.png"], resume=True)
    again.audit([*IDS, "new.png"])
    assert whole.ids | {"new.png": 1} == again.ids


def test_an_image_in_two_parts_is_an_error(tmp_path):
    fill(tmp_path, IDS)
    part = min(tmp_path.iterdir())
    shutil.copy(part, part.with_name("part-copy.parquet"))
    with (
        Parts(tmp_path, ranked_schema(), resume=True) as parts,
        pytest.raises(ClusterError, match=r"0 missing, 750 \(00000.png, .*\) there more than once"),
    ):
        parts.read().audit(IDS)


def test_what_is_in_the_way_is_left_alone(tmp_path):
    fill(tmp_path / "results", IDS[:9])
    with pytest.raises(ResultsError, match="already exists and is not empty: --resume continues it"):
        Parts(tmp_path / "results", ranked_schema())
    with pytest.raises(ResultsError, match="has other columns"):
        Parts(tmp_path / "results", ranked_schema(2), resume=True)
    busy = pytest.raises(ResultsError, match="is being written by another process")
    with Parts(tmp_path / "results", ranked_schema(), resume=True), busy:
        Parts(tmp_path / "results", ranked_schema(), resume=True)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ResultsError, match="is no part of results"):
        Parts(tmp_path, ranked_schema(), resume=True)
    for name in ("results.csv", "results.parquet", "notes.txt"):
        with pytest.raises(ResultsError, match="is no name of a folder"):
            check_parts_folder(tmp_path / name)
    next((tmp_path / "results").iterdir()).write_bytes(b"PAR1")
    with pytest.raises(ResultsError, match="is damaged or not Parquet"):
        Parts(tmp_path / "results", ranked_schema(), resume=True)
