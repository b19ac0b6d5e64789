"""Whose answers results hold: those of another classifier, or in another precision, are not added to."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import googlenet
from googlenet import bundle as bundles
from googlenet.bulk.formats import FORMATS
from googlenet.bulk.origin import Origin, origin_of
from googlenet.bulk.parquet import encoded
from googlenet.bulk.parts import Parts, split
from googlenet.bulk.rows import ranked_schema
from googlenet.errors import ResultsError
from tests.conftest import fill_up


@pytest.fixture(scope="module")
def other(trained_run, tmp_path_factory):
    """The same graph, but the classes are called otherwise: every answer differs, and no number does."""
    run = shutil.copytree(trained_run / "bundle", tmp_path_factory.mktemp("other") / "bundle")
    bundle = bundles.read(run)
    files = {name: bundle.read(name) for name in bundle.card.files}
    bundles.write(run, replace(bundle.card, class_names=("red", "green", "blue")), files)
    return run


@pytest.fixture
def predict(call, trained_run):
    def run(out, *options, by=trained_run):
        return call("predict", by, trained_run.parent / "photos" / "red", "--out", out, *options)

    return run


def half(path: Path) -> bytes:
    """Leave half of a results file, as a kill does; of Parquet, which is whole or absent, all."""
    if path.suffix != ".parquet":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path.read_bytes()


@pytest.mark.parametrize("suffix", FORMATS)
def test_answers_of_another_classifier_are_not_added_to(predict, other, tmp_path, suffix):
    out = tmp_path / f"r{suffix}"
    assert predict(out)[0] == 0
    before = half(out)
    code, said, err = predict(out, "--resume", by=other)
    assert (code, said, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"googlenet: {out} holds answers of another classifier (tiny, sha256 ")
    assert err.endswith("…): give another --out, or delete it\n")
    assert out.read_bytes() == before
    code, said, err = predict(out, "--resume")
    assert (code, err) == (0, "")
    assert "40 images" in said
    out.unlink()
    assert predict(out, "--resume", by=other)[0] == 0  # nothing is there to be added to


def test_a_journal_of_another_classifier_is_not_added_to(predict, other, tmp_path, trained_run):
    from googlenet.bulk.formats import open_results

    classifier = googlenet.load(trained_run)
    schema = replace(ranked_schema(), origin=origin_of(classifier))
    photo = trained_run.parent / "photos" / "red" / "001.png"
    with open_results(tmp_path / "r.parquet", schema) as results:
        results.add(str(photo), classifier.predict(photo))
        results.flush()
    assert "holds answers of another classifier" in predict(tmp_path / "r.parquet", "--resume", by=other)[2]
    assert predict(tmp_path / "r.parquet", "--resume")[0] == 0


def test_another_precision_is_told_with_the_option_that_goes_on(predict, tmp_path):
    out = tmp_path / "r.csv"
    assert predict(out)[0] == 0
    record = tmp_path / ".r.csv.source.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"precision": "int8"}))  # as if int8 had answered
    assert predict(out, "--resume")[2] == (
        f"googlenet: {out} holds answers in int8, and these would be in fp32: add --precision int8, or give another "
        "--out, or delete it\n"
    )


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"name": 1, "sha256": 2, "precision": 3}', b"[" * 9999])
def test_where_no_record_says_whose_answers_these_are_that_is_told(predict, tmp_path, content):
    out = tmp_path / "r.csv"
    assert predict(out)[0] == 0
    record = tmp_path / ".r.csv.source.json"
    record.unlink() if content is None else record.write_bytes(content)
    code, _, err = predict(out, "--resume")
    assert code == 0
    assert err == f"{out} does not name the classifier of its rows: this one is assumed\n"
    assert predict(out, "--resume")[2] == ""


def test_parts_of_another_classifier_are_not_added_to(tmp_path):
    ours, theirs = (replace(ranked_schema(), origin=Origin("tiny", digit * 64, "fp32")) for digit in "01")
    row = {"path": "a", "error": None, "class": "red", "probability": 0.5}
    with Parts(tmp_path / "r", theirs) as parts:
        parts.add(split("a")[0].name, encoded([row], theirs))
    with pytest.raises(ResultsError, match=r"r holds answers of another classifier \(tiny, sha256 111111111111…"):
        Parts(tmp_path / "r", ours, resume=True)
    with Parts(tmp_path / "r", theirs, resume=True) as parts:
        assert parts.is_known
        assert parts.contents.summary.images == 1


@pytest.mark.parametrize("suffix", FORMATS)
def test_on_a_full_disk_nothing_is_left_in_the_way_of_the_next_try(predict, small_disk, suffix):
    fill_up(small_disk)
    out = small_disk / f"r{suffix}"
    code, _, err = predict(out)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith((f"googlenet: {out} cannot be written: ", f"googlenet: no space left to write {out}"))
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    (small_disk / "filler").unlink()
    assert predict(out)[0] == 0
