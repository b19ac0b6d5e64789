"""What `evaluate` and `examine` give: values that are compared, pickled, printed short, and shown as tables."""

import copy
import json
import pickle
import subprocess
import sys

import pytest
from PIL import Image

import googlenet
from googlenet.errors import ImageError, MissingExtraError, NonFiniteLossError, StoppedError


@pytest.fixture(scope="module")
def evaluation(trained_run):
    return googlenet.evaluate(trained_run, trained_run.parent / "photos", split="all")


@pytest.fixture
def findings(coloured):
    Image.new("RGB", (40, 40)).save(coloured / "red" / "<b>.png")
    return googlenet.doctor(coloured)


@pytest.fixture(params=["evaluation", "findings"])
def result(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("how", [lambda value: pickle.loads(pickle.dumps(value)), copy.copy, copy.deepcopy])
def test_a_result_is_the_same_after_pickle_and_copy(result, how):
    again = how(result)
    assert (again == result) is True
    assert again.to_dict() == result.to_dict()
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()


def test_metrics_are_compared_by_value(evaluation, trained_run):
    val = googlenet.evaluate(trained_run, trained_run.parent / "photos")
    assert (val.metrics == evaluation.metrics) is False
    assert (evaluation.metrics == "all right") is False
    again = pickle.loads(pickle.dumps(evaluation.metrics))
    assert len({again, evaluation.metrics, val.metrics}) == 2


def test_a_result_is_printed_on_one_short_line(evaluation, findings, trained_run):
    photos = trained_run.parent / "photos"
    assert repr(evaluation) == f"Evaluation(top-1 100.00%, 120 images (all of {photos}, fp32))"
    assert repr(evaluation.metrics) == "Metrics(top-1 100.00%, 120 images)"
    assert repr(findings).startswith(f"Findings({findings.data}: 37 images in 3 classes: ")
    assert "1 blank" in repr(findings)
    assert len(repr(findings)) < 300


def test_a_result_is_a_table(evaluation, findings):
    table = evaluation.to_dataframe()
    assert list(table["class"]) == ["blue", "green", "red"]
    assert list(table.columns) == ["class", "precision", "recall", "f1", "images"]
    assert table["images"].sum() == 120
    table = findings.to_dataframe()
    assert list(table.columns) == ["kind", "severity", "names", "detail", "fix"]
    assert "blank" in set(table["kind"])


def test_a_table_of_nothing_wrong_has_its_columns(tmp_path):
    clean = googlenet.Findings("photos", 0, 0, {}, ())
    assert list(clean.to_dataframe().columns) == ["kind", "severity", "names", "detail", "fix"]
    assert "nothing wrong" in clean._repr_html_()


def test_a_notebook_shows_a_result_and_nothing_in_a_name_is_html(evaluation, findings):
    assert "<td>blue</td>" in evaluation._repr_html_()
    shown = findings._repr_html_()
    assert "red/&lt;b&gt;.png" in shown
    assert "<b>" not in shown


def test_without_pandas_an_error_says_what_to_install(evaluation, tmp_path):
    (tmp_path / "result").write_bytes(pickle.dumps(evaluation))
    code = """
import pickle, sys
sys.modules["pandas"] = None
import googlenet
try:
    pickle.load(open("result", "rb")).to_dataframe()
except googlenet.GoogLeNetError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.stdout == "this needs pandas, which is not installed: pip install 'googlenet[pandas]'\n"
    assert result.stderr == ""


@pytest.mark.parametrize(
    "error",
    [
        StoppedError("stopped", 130),
        MissingExtraError("train", "torch"),
        ImageError("x"),
        NonFiniteLossError("the loss became NaN", ("a.jpg",)),
    ],
)
def test_an_error_crosses_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
