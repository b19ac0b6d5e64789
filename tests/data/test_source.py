"""`DataSource`: which DATA, and how it is read, accepted wherever DATA is asked."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

import googlenet
from googlenet.errors import DataError


@pytest.fixture
def scans(coloured, tmp_path):
    """A list with other columns, whose images lie behind a link that leads out of its folder."""
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/linked").symlink_to(coloured)
    lines = [f"linked/{path.relative_to(coloured)},{path.parent.name}" for path in sorted(coloured.glob("*/*.png"))]
    (tmp_path / "lists/scans.csv").write_text("\n".join(["where,what", *lines, ""]))
    return googlenet.DataSource(
        tmp_path / "lists/scans.csv", path_column="where", label_column="what", follow_links=True
    )


def test_it_is_a_value():
    source = googlenet.DataSource("a.csv", label_column="species")
    assert source == pickle.loads(pickle.dumps(source)) == googlenet.DataSource("a.csv", label_column="species")
    assert (str(source), hash(source) == hash(googlenet.DataSource("a.csv"))) == ("a.csv", False)
    with pytest.raises(TypeError):
        googlenet.DataSource("a.csv", "where")  # what is not DATA is named


@pytest.mark.parametrize("wrong", ["", 3, None, ["a", "b"]])
def test_what_is_no_path_is_refused(wrong):
    with pytest.raises(DataError, match="DATA is a path, the name of a set, a DataSource or LabelledData, got "):
        googlenet.DataSource(wrong)
    with pytest.raises(DataError, match="DATA is a path, the name of a set, a DataSource or LabelledData, got "):
        googlenet.open_data(wrong)


def test_open_data_evaluate_and_doctor_take_it(scans, coloured, trained_run):
    with pytest.raises(DataError, match="no column 'path'"):
        googlenet.open_data(scans.data)
    with pytest.raises(DataError, match="lead elsewhere by a link"):
        googlenet.open_data(replace(scans, follow_links=False))
    data = googlenet.open_data(scans)
    assert data.split("all").counts() == googlenet.open_data(coloured).split("all").counts()
    result = googlenet.evaluate(trained_run, scans, split="all")
    assert (result.data, result.images) == (str(scans), len(data.split("all")))
    findings = googlenet.doctor(scans)
    assert (Path(findings.data), findings.images) == (scans.data, len(data.split("all")))
    assert not findings.of("refused")
