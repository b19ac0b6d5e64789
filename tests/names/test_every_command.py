"""Every command with every name: nothing fails, nothing reaches a terminal raw, and names are read back as they are."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path
from unicodedata import normalize
from xml.etree import ElementTree

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from PIL import Image

import googlenet
from googlenet import bundle as bundles
from googlenet.bulk.sorting import folder_names
from googlenet.data.opening import open_data
from googlenet.text import escape_surrogates, from_no_formula, from_no_formula_path, printable

from .conftest import CONTROL, NAMES, write_named

CLASSES = sorted(normalize("NFC", escape_surrogates(name)) for name in NAMES)


@pytest.fixture
def clean(call):
    """Run a command: its exit code and output, in which no control character is."""

    def run(*arguments):
        code, out, err = call(*arguments)
        assert not CONTROL.search(out + err), (arguments, out, err)
        assert "Traceback" not in err
        assert "defect" not in err
        return code, out, err

    return run


def images(data):
    return sorted(path for path in data.rglob("*.png"))


def escaped(paths):
    return sorted(escape_surrogates(str(path)) for path in paths)


def test_train_and_go_on(clean, named, home):
    out = home / "--out"
    arguments = ("train", named, "--out", out, "--network", "lenet5", "--image-size", 32, "--workers", 0)
    code, _, err = clean(*arguments, "--epochs", 1, "--precision", "fp32")
    assert code == 0, err
    assert bundles.read(out).card.class_names == tuple(CLASSES)
    shutil.rmtree(out / "bundle")
    code, _said, err = clean("train", named, "--out", out, "--resume")
    assert code == 0, err
    assert bundles.read(out).card.class_names == tuple(CLASSES)


def test_evaluate(clean, run, named, tmp_path):
    code, out, err = clean("evaluate", run, named, "--json", "--split", "all", "--plot", tmp_path / "$x$ 猫\n.png")
    assert code == 0, err
    answer = json.loads(out)
    assert list(answer["classes"]) == CLASSES
    assert answer["data"] == escape_surrogates(str(named))
    Image.open(tmp_path / "$x$ 猫\n.png").verify()
    [listed] = tmp_path.glob("*.txt")  # more classes than fit
    assert [line.partition("\t")[2] for line in listed.read_text("utf-8").splitlines()] == [
        printable(name) for name in CLASSES
    ]
    code, out, err = clean("evaluate", run, named)
    assert code == 0, err


def test_predict_for_programs(clean, call, run, named):
    code, out, err = clean("predict", run, named, "--json", "--top", 3)
    assert code == 0, err
    rows = json.loads(out)
    assert sorted(row["path"] for row in rows) == escaped(images(named))
    assert {row[f"class{rank}"] for row in rows for rank in ("", 2, 3)} <= set(CLASSES)

    code, out, err = call("predict", run, named, "--csv")  # into a pipe: as it is
    assert code == 0, err
    lines = list(csv.DictReader(io.StringIO(out, newline="")))
    assert sorted(from_no_formula_path(line["path"]) for line in lines) == escaped(images(named))
    assert {from_no_formula(line["class"]) for line in lines} <= set(CLASSES)

    code, out, err = clean("predict", run, named)
    assert code == 0, err


def test_explain(clean, run, named, tmp_path):
    few = images(named / "val")[::3]
    arguments = ("explain", run, "--branches", "--out", tmp_path / "=$x 猫")
    code, out, err = clean(*arguments, "--class", "-rf", "--against", "[b]", "--", *few)
    assert code == 0, err
    assert out.count(": -rf ") == out.count("rather than [b] ") == len(few)
    code, out, err = clean(*arguments, "--json", "--", *few)
    assert code == 0, err
    assert escaped({row["path"] for row in json.loads(out)}) == escaped(few)
    assert {row["class"] for row in json.loads(out)} <= set(CLASSES)
    files = sorted((tmp_path / "=$x 猫").iterdir())
    assert len(files) == 3 * len(few) + 2  # branches and classes, as an image and as JSON
    for file in files:
        if file.suffix == ".png":
            Image.open(file).verify()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_predict_into_a_file_that_is_resumed(clean, run, named, home, kind, monkeypatch):
    monkeypatch.chdir(named / "train")
    every = [os.path.join(".", each) for each in os.listdir(".")]  # noqa: PTH118, PTH208
    out = home / f"{'x' * (254 - len(kind))}.{kind}"
    code, said, err = clean("predict", run, "--out", out, "--", *every)
    assert code == 0, err
    read = {"csv": lambda: list(csv.DictReader(io.StringIO(out.read_text("utf-8", newline=""), newline=""))),
            "jsonl": lambda: [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]],
            "parquet": lambda: pq.read_table(out.open("rb")).to_pylist()}[kind]  # fmt: skip
    rows = read() if kind != "csv" else [
        {"path": from_no_formula_path(row["path"]), "class": from_no_formula(row["class"])} for row in csv_rows(out)
    ]  # fmt: skip
    assert sorted(row["path"] for row in rows) == escaped(path.relative_to(named / "train") for path in
                                                          images(named / "train"))  # fmt: skip
    assert {row["class"] for row in rows} <= set(CLASSES)
    before = out.read_bytes()
    code, said, err = clean("predict", run, "--out", out, "--resume", "--", *every)
    assert code == 0, err
    assert f"{len(rows)} of them from before" in said or f"{len(rows)} images" in said
    assert kind == "parquet" or out.read_bytes() == before


def csv_rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert not [cell for row in rows for cell in row if cell[:1] in "=+@\t\r" and cell[:1]]
    assert not [cell for row in rows for cell in row if cell[:1] == "-" and not cell[1:].isdecimal()]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def test_embeddings(clean, run, named, tmp_path):
    code, _, err = clean("predict", run, named, "--embeddings", "--out", tmp_path / "=e.csv")
    assert code == 0, err
    assert sorted(from_no_formula_path(row["path"]) for row in csv_rows(tmp_path / "=e.csv")) == escaped(images(named))


def test_sort_into(clean, run, named, home):
    code, out, err = clean("predict", run, named, "--sort-into", home / "sorted", "--json")
    assert code == 0, err
    folders = folder_names(CLASSES)
    classes = {row["path"]: row["class"] for row in json.loads(out)}
    placed = images(home / "sorted")
    assert len(placed) == len(images(named))
    by_content = {path.read_bytes(): path for path in placed}
    for path in images(named):
        assert by_content[path.read_bytes()].parent.name == folders[classes[escape_surrogates(str(path))]]
    code, _, err = clean("predict", run, named, "--sort-into", home / "sorted")
    assert len(images(home / "sorted")) == len(images(named))


def test_folders_of_classes_are_such_that_every_file_system_takes():
    folders = folder_names(["猫" * 100, "猫" * 100 + "!", *NAMES]).values()
    assert len({name.casefold() for name in folders}) == len(folders) == len(NAMES) + 2
    assert all(len(os.fsencode(name)) <= 255 and name == name.strip(".") and "\\" not in name for name in folders)


def test_doctor(clean, named, home):
    code, out, err = clean("doctor", named, "--json", "--plot", home / "pairs.png", "--fix", home / "clean")
    assert code == 0, err
    alike = [each["detail"] for each in json.loads(out)["findings"] if each["kind"] == "similar_names"]
    assert "Dog and dog" in alike
    below = {path.relative_to(named): path.read_bytes() for path in images(named)}
    assert {path.relative_to(home / "clean"): path.read_bytes() for path in images(home / "clean")} == below
    code, out, err = clean("doctor", named)
    assert code == 0, err


def test_a_list_of_the_doctor_is_read_back(clean, tmp_path):
    names = tuple(name for name in NAMES if printable(name) == name.strip() and "|" not in name)
    data = write_named(tmp_path / "data", names)
    code, _, err = clean("doctor", data, "--fix", tmp_path / "=list.csv")
    assert code == 0, err
    csv_rows(tmp_path / "=list.csv")
    from_list = open_data(tmp_path / "=list.csv")
    assert from_list.class_names == tuple(sorted(normalize("NFC", name) for name in names))
    assert sorted(item.path for item in from_list.split("all").items) == images(data)


@pytest.mark.parametrize("name", sorted({name for name in NAMES if printable(name) != name.strip() or "|" in name}))
def test_what_no_list_can_hold_is_refused(clean, tmp_path, name):
    data = write_named(tmp_path / "data", ("cat", name))
    code, _, err = clean("doctor", data, "--fix", tmp_path / "list.csv")
    assert code == 2
    assert "cannot be named in a list" in err
    assert len(err.splitlines()) == 1


def test_export_and_verify_and_push(clean, run, home):
    for to in ("onnx", "openvino"):
        code, _, err = clean("export", run, "--to", to, "--out", home / f"to {to}", "--json")
        assert code == 0, err
    ElementTree.parse(home / "to openvino/model.xml")  # XML has no word for control characters
    model = onnx.load(io.BytesIO((home / "to onnx/model.onnx").read_bytes()))
    [names] = [each.value for each in model.metadata_props if each.key == "class_names"]
    assert len(names.splitlines()) == len(NAMES)
    code, out, err = clean("verify", run, "--json")
    assert code == 0, err
    assert json.loads(out)["path"] == escape_surrogates(str(run / "bundle"))
    code, _, err = clean("push", run, "me/named", "--folder", home / "hub %s")
    assert code == 0, err
    assert bundles.read(home / "hub %s").card.class_names == tuple(CLASSES)


def test_table(clean):
    code, out, err = clean("table", "lenet5", "--csv")
    assert code == 0, err
    assert list(csv.DictReader(io.StringIO(out)))


def test_benchmark(clean, run, home):
    plot = home / "speed $5.png"
    code, _out, err = clean(
        "benchmark", run, "--precision", "fp32", "--batch-size", 1, "--seconds", 0.05, "--plot", plot
    )
    assert code == 0, err
    Image.open(plot).verify()


def test_compare(clean, named, home):
    plot = home / "compare $5 [b].png"
    arguments = ("compare", "lenet5", "--image-size", 32, "--train", named, "--minutes", 0.01, "--plot", plot)
    code, out, err = clean(*arguments, "--json")
    assert code == 0, err
    assert json.loads(out)["data"] == escape_surrogates(str(named))
    Image.open(plot).verify()


def test_convert_outwards_and_back(clean, run, named, home, tiny):
    weights, names = home / "=weights;.pth", home / "+names, of {x}.txt"
    googlenet.train(named, home / "lenet %s", network="lenet5", epochs=1, image_size=32, batch_size=32, workers=0,
                    precision="fp32")  # fmt: skip
    code, _out, err = clean("convert", home / "lenet %s", "--to", "torch", "--out", weights)
    assert code == 0, err
    lines = [name for name in CLASSES if printable(name) == name.strip()]
    lines += [f"more {number}" for number in range(len(CLASSES) - len(lines))]
    names.write_text("\n".join(lines) + "\n", "utf-8")
    out = home / "converted [b]$5"
    code, _out, err = clean(
        "convert", weights, "--network", "lenet5", "--image-size", 32, "--classes", names, "--out", out
    )
    assert code == 0, err
    assert list(bundles.read(out).card.class_names) == lines
    code, _out, err = clean("predict", out, images(named)[0], "--json")
    assert code == 0, err


def test_convert(clean, run, home, tiny):
    """Weights of one's own, and class names from a file: exactly the lines of it."""
    source = home / "=weights.safetensors"
    shutil.copy(run / "bundle/weights.safetensors", source)
    code, _out, err = clean("convert", source, "--network", "lenet5", "--out", home / "converted")
    assert code == 2
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["-rf", "a\nb", "\x1b[31m", "[/b]", "$5", "x" * 250, os.fsdecode(b"\xe9"), "file:"])
@pytest.mark.parametrize("command", [
    ("train", "{}", "--out", "run"), ("train", "missing", "--out", "{}"), ("evaluate", "{}", "data"),
    ("predict", "{}", "a.jpg"), ("doctor", "{}"), ("verify", "{}"), ("export", "{}"), ("push", "{}", "me/new"),
    ("table", "{}"), ("benchmark", "{}"), ("convert", "{}", "--out", "out"), ("compare", "{}"),
], ids=lambda command: command[0])  # fmt: skip
def test_what_is_not_there_is_said_in_one_line(clean, tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    code, out, err = clean(*(name if part == "{}" and not name.startswith("-") else part.replace("{}", f"./{name}")
                             for part in command))  # fmt: skip
    assert code in (1, 2)
    assert out == ""
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_python_gives_the_exact_names(run, named):
    classifier = googlenet.load(run)
    path = next(path for path in images(named) if path.name.startswith("\x1b"))
    assert classifier.predict(path).label in CLASSES
    assert classifier.predict(str(path)).label in CLASSES
    assert np.isfinite(classifier.predict(path).probabilities).all()


def test_the_folder_of_a_run_may_be_called_anything(coloured, tiny, tmp_path, clean):
    trained = googlenet.train(coloured, tmp_path / "first", network=tiny, epochs=1, batch_size=8, workers=0)
    for name in NAMES[::4]:  # the others in `make soak`
        target = Path(tmp_path, "runs", name)
        shutil.copytree(trained.path, target)
        code, _out, err = clean("predict", target, coloured / "red/000.png", "--json")
        assert code == 0, (name, err)
