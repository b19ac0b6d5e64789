"""DATA as a list, from the command line: train, evaluate, and wrong use in one line."""

from __future__ import annotations

import csv

import pytest


def write_list(path, images):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *images])
    return path


def test_train_and_evaluate_take_a_list_and_hold_out_the_same_images(call, coloured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = [(path.relative_to(coloured), path.parent.name) for path in sorted(coloured.glob("*/*.png"))]
    write_list(coloured / "list.csv", images)
    options = ["--network", "lenet5", "--epochs", "1", "--batch-size", "8", "--class-balance", "oversample"]
    code, out, err = call("train", coloured / "list.csv", "--out", "run", *options)
    assert code == 0, err
    top1 = out.split("top-1 ")[1].split()[0]
    for data in (coloured / "list.csv", coloured):  # a folder of the same images is split alike
        code, out, err = call("evaluate", "run", data)
        assert code == 0, err
        assert f"top-1 {top1}" in out


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("path,lable\n", [], "list.csv:1: unknown column 'lable', did you mean 'label'"),
        ("path,label\ngone.png,cat\n", [], "1 of 1 images are not there: gone.png (line 2)"),
        ("path,label\na.png,cat\nb.png,dog\n", [], "too few images to hold some out"),
        (
            "path,label,split\na.png,cat|dog,train\nb.png,dog,val\n",
            ["--class-balance", "oversample"],
            "--class-balance oversample needs images of one class each",
        ),
        ("path,label\na.png,cat\n", ["--download"], "list.csv is none of the sets that can be fetched"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_no_run_behind(call, tmp_path, monkeypatch, content, options, says):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_text(content)
    code, out, err = call("train", "list.csv", "--out", "run", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
    assert not (tmp_path / "run").exists()
