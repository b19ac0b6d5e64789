"""The command line as a user meets it: real processes for streams and exit codes, `main` for the rest."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet.cli import COMMANDS
from tests.conftest import without_stages


@pytest.fixture
def photos(trained_run):
    return trained_run.parent / "photos"


def one_line(err):
    lines = err.splitlines()
    return len(lines) == 1 and lines[0].startswith("googlenet: ")


def test_help_names_every_command_and_each_help_opens_with_an_example(call):
    code, out, _ = call("--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)
    assert call() == (0, out, "")
    for name in COMMANDS:
        code, out, _ = call(name, "--help")
        assert code == 0
        assert out.split("\n\n")[1].strip().startswith(f"Example: googlenet {name}")


def test_version(call):
    import googlenet

    assert call("--version") == (0, f"googlenet {googlenet.__version__}\n", "")


# table


def test_table_json_and_csv_are_table_1(call, table1_csv):
    with table1_csv.open() as file:
        expected = list(csv.DictReader(file))
    code, out, err = call("table", "googlenet", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    same = [key for key in expected[0] if not key.startswith("exact")]
    for row, want in zip(document["rows"], expected, strict=True):
        assert {key: "" if row[key] is None else str(row[key]) for key in same} == {key: want[key] for key in same}
        for key in ("weights", "params", "macs"):
            assert row[key] == int(want[f"exact_{key}"])
    assert document["totals"]["params"] == 6_998_552
    assert document["totals"]["macs"] == 1_582_671_872
    assert document["totals"]["training_params"] == 13_378_280
    rows = list(csv.DictReader(io.StringIO(call("table", "--csv")[1])))
    assert [row["macs"] for row in rows] == [row["exact_macs"] for row in expected]


def test_table_for_people(call):
    code, out, _ = call("table")
    assert code == 0
    for part in (
        "inception 4e",
        "6,998,552",
        "1,582,671,872",
        "13,378,280",
        "depth 22, 27 with pooling",
        "2.7K",
        "1/8.7",
    ):
        assert part in out


def test_table_at_another_size_and_for_another_network(call):
    document = json.loads(call("table", "inception5h", "--image-size", "112", "--json")[1])
    assert document["rows"][0]["output"] == "56x56x64"
    assert document["totals"]["params"] == 7_058_180
    assert "errata" not in document


def test_naive_against_reduced(call):
    out = call("table", "--naive")[1]
    for figure in ("854,196,224", "867,041,280", "304,267,264", "28 × 28 × 96 × 5 × 5 × 256", "271,351,808"):
        assert figure in out
    modules = json.loads(call("table", "--naive", "--json")[1])
    assert [sum(term["macs"] for term in m["terms"]) == m["macs"] for m in modules] == [True] * 3
    assert call("table", "--naive", "--csv")[1].count("\n") == 1 + 3 + 4 + 6


# predict, evaluate, verify


def test_predict_prints_a_table_json_and_csv(call, trained_run, photos):
    red, blue = photos / "red" / "001.png", photos / "blue" / "001.png"
    code, out, err = call("predict", trained_run, red, blue, "--top", 2)
    assert (code, err) == (0, "")
    assert "red" in out
    assert "%" in out
    rows = json.loads(call("predict", trained_run, red, blue, "--json")[1])
    assert [(row["path"], row["class"]) for row in rows] == [(str(red), "red"), (str(blue), "blue")]
    [line] = csv.DictReader(io.StringIO(call("predict", trained_run, red, "--top", "3", "--csv")[1]))
    assert {line["class"], line["class2"], line["class3"]} == {"blue", "green", "red"}
    assert 1 >= float(line["probability"]) >= float(line["probability2"]) >= float(line["probability3"])


def test_predict_takes_folders_and_globs_and_each_image_once(call, trained_run, photos):
    rows = json.loads(call("predict", trained_run, photos, "--json")[1])
    assert len(rows) == 120
    rows = json.loads(call("predict", trained_run, photos / "*" / "00?.png", photos / "red" / "000.png", "--json")[1])
    assert len(rows) == 30


def test_a_bad_image_is_reported_the_rest_is_delivered_and_the_exit_code_is_1(call, trained_run, photos, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    code, out, err = call("predict", trained_run, bad, photos / "red" / "001.png")
    assert code == 1
    assert "001.png" in out
    assert err == f"not read: {bad} is not an image (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, HEIC)\n"
    code, out, _ = call("predict", trained_run, bad, photos / "red" / "001.png", "--json")
    assert code == 1
    assert [(bool(row["error"]), row["class"]) for row in json.loads(out)] == [(True, None), (False, "red")]
    code, out, _ = call("predict", trained_run, bad, "--csv")
    assert code == 1
    assert "is not an image" in next(csv.DictReader(io.StringIO(out)))["error"]


def test_evaluate_agrees_with_training_and_draws_the_confusion_matrix(call, trained_run, photos, tmp_path):
    plot = tmp_path / "confusion.png"
    code, out, err = call("evaluate", trained_run, photos, "--plot", plot, "--json")
    held_out = f"measured on the 24 images of {photos} that {trained_run} held out of its training"
    assert (code, err) == (
        0, f"{held_out}; its best epoch was chosen by them, so the figures are slightly too good\n"
    )  # fmt: skip
    result = json.loads(out)
    card = json.loads((trained_run / "bundle" / "card.json").read_text("utf-8"))
    assert result["top1"] == pytest.approx(card["metrics"]["top1"], abs=1e-6)
    assert result["images"] == card["data"]["val"]
    assert np.trace(result["confusion"]) == round(result["top1"] * result["images"])
    with Image.open(plot) as image:
        assert min(image.size) > 200
    code, out, _ = call("evaluate", trained_run, photos, "--split", "all", "--plot", plot)
    assert code == 0
    for part in ("precision", "true \\ predicted", "most frequent mistakes", "on 120 images"):
        assert part in out


def test_evaluate_counts_what_it_cannot_read(call, trained_run, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    for number in range(30):
        (tmp_path / "photos" / "red" / f"bad{number}.png").write_text("no image")
    code, out, err = call(
        "evaluate", trained_run, tmp_path / "photos", "--split", "all", "--plot", tmp_path / "c.png", "--json"
    )
    assert code == 0
    assert err.count("left out: ") == len(json.loads(out)["unreadable"]) == 30


def test_verify(call, trained_run):
    code, out, _ = call("verify", trained_run)
    assert code == 0
    assert "4 files checked" in out
    assert json.loads(call("verify", trained_run, "--json")[1])["images"] == 4


# train, demo


def test_train_says_what_came_out_and_what_to_type_next(call, coloured, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("epochs = 1\nimage_size = 32\nbatch_size = 8\n")
    (coloured / "red" / "bad.jpg").write_text("no image")
    code, out, err = call("train", coloured, "--out", tmp_path / "run", "--recipe", recipe)
    assert code == 0
    assert "googlenet_bn: top-1 " in out
    assert f"googlenet predict {tmp_path / 'run'}" in out
    assert "epoch   1/1" in err
    assert "images skipped because they could not be read: 1; " in err
    assert "googlenet_bn at 32 px on cpu in " in err


def test_the_demo_shows_everything_and_ends_with_lines_to_type(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("demo", "--epochs", "1")
    assert code == 0
    for image in ("learning_curve.png", "confusion.png", "predictions.png"):
        with Image.open(tmp_path / "runs" / "demo" / image) as image:
            assert min(image.size) > 200
    assert len(list((tmp_path / "runs" / "demo" / "images").glob("*.png"))) == 32
    assert "held-out accuracy" in out
    *_, train, evaluate, predict, _, _, serve, _, _, export = [line.split()[1:] for line in out.splitlines()]
    assert [words[0] for words in (train, evaluate, predict)] == ["train", "evaluate", "predict"]
    assert serve == ["serve", "runs/demo"]
    # The web page that it tells of is made by the command that it tells.
    page = next(word for word in out.splitlines()[-2].split() if word.endswith(".html"))
    code, _, _ = call(*export)
    assert (code, (tmp_path / page).read_text("utf-8").count("<canvas>")) == (0, 1)


# compare


def test_compare_for_people_and_for_programs(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("compare", "lenet5", "alexnet", "--image-size", "32")
    assert (code, err) == (0, "")
    for part in ("lenet5", "parameters", "fp32", "batches of 16", "alexnet got 32×32 pixels", "measured on"):
        assert part in out
    assert not (tmp_path / "compare.png").exists()
    code, out, err = call("compare", "lenet5", "--image-size", "32", "--json", "--plot", tmp_path / "plots" / "c.png")
    assert (code, err) == (0, f"plot: {tmp_path / 'plots' / 'c.png'}\n")
    assert json.loads(out)["rows"][0]["network"] == "lenet5"
    with Image.open(tmp_path / "plots" / "c.png") as image:
        assert min(image.size) > 200


def test_compare_trains_and_draws(call, coloured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("compare", "lenet5", "--image-size", "32", "--train", coloured, "--minutes", "0.02")
    assert code == 0
    assert "1 of 1: lenet5" in err
    assert "top-1" in out
    assert out.splitlines()[-1] == "plot: compare.png"
    with Image.open("compare.png") as image:
        assert min(image.size) > 200


# What goes wrong: one line on stderr, nothing on stdout, the right exit code.


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["trian"], 2, "Did you mean 'train'"),
        (["train", "photos"], 2, "Missing option '--out'"),
        (["train", "nowhere", "--out", "run"], 2, "nowhere does not exist: DATA is a folder"),
        (["train", "empty", "--out", "run"], 2, "empty has no images"),
        (["train", "digits", "--out", "run", "--recipe", "fast"], 2, "no recipe is called 'fast'"),
        (["train", "digits", "--out", "run", "--network", "googlenett"], 2, "did you mean 'googlenet'"),
        (["train", "digits", "--out", "run", "--image-size", "20"], 2, "it takes 31×31 or more"),
        (["train", "digits", "--out", "run", "--lr", "-1", "--epochs", "0"], 2, "epochs = 0"),
        (["train", "digits", "--out", "run", "--lr", "fast"], 2, "--lr"),
        (["train", "digits", "--out", "run", "--on-bad-image", "panic"], 2, "'skip', 'stop'"),
        (["train", "digits", "--out", "empty", "--resume"], 1, "holds no run to resume"),
        (["train", "digits", "--out", "a.jpg"], 1, "is a file"),
        (["predict", "nowhere", "a.jpg"], 1, "nowhere does not exist: give a run"),
        (["predict", "empty", "a.jpg"], 1, "empty holds no card.json"),
        (["predict", "a.jpg", "a.jpg"], 1, "holds no card.json"),
        (["predict", "RUN", "empty"], 2, "empty holds no images"),
        (["predict", "RUN", "*.gif"], 2, "matches no file"),
        (["predict", "RUN", "a.jpg", "--top", "0"], 2, "--top"),
        (["predict", "RUN", "a.jpg", "--json", "--csv"], 2, "exclude each other"),
        (["evaluate", "RUN", "digits"], 2, "classes the classifier does not know: 0, 1, 2"),
        (["evaluate", "RUN", "PHOTOS", "--split", "test"], 2, "has no split 'test'; it has train, val and all"),
        (["evaluate", "RUN", "nowhere"], 2, "nowhere does not exist"),
        (["table", "lenet"], 2, "no network is called 'lenet'"),
        (["table", "--image-size", "30"], 2, "it takes 31×31 or more"),
        (["table", "--json", "--csv"], 2, "exclude each other"),
        (["train", "digits", "--out", "run", "--minutes", "0"], 2, "minutes = 0.0: should be greater than 0"),
        (["train", "digits", "--out", "run", "--minutes", "1", "--epochs", "1"], 2, "exclude each other: give one"),
        (["compare", "lenet"], 2, "no network is called 'lenet'"),
        (["compare", "lenet5", "--minutes", "1"], 2, "give the images to train on with --train DATA"),
        (["compare", "lenet5", "--train", "PHOTOS"], 2, "give it with --image-size"),
        (["compare", "lenet5", "--train", "nowhere", "--image-size", "32"], 2, "nowhere does not exist"),
        (["verify", "empty"], 1, "empty holds no card.json"),
    ],
)
def test_wrong_use_is_one_line(call, trained_run, photos, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.jpg").write_text("this is text")
    named = {"RUN": str(trained_run), "PHOTOS": str(photos)}
    given, out, err = call(*(named.get(argument, argument) for argument in arguments))
    assert (given, out) == (code, "")
    assert one_line(err)
    assert says in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_debug_shows_where_an_error_came_from(call):
    code, _, err = call("verify", "nowhere", "--debug")
    assert code == 1
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("googlenet: nowhere does not exist")


def process(*arguments, **options):
    command = [sys.executable, "-m", "googlenet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_a_reader_that_has_seen_enough_is_no_error(trained_run):
    command = f"{sys.executable} -m googlenet table --csv | head -n 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stdout.startswith("row,kind")
    assert result.stderr == ""


def test_a_missing_extra_is_one_line_with_the_install_command(tmp_path):
    """As in an environment without the train extra: these packages cannot be imported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "for name in ('torch', 'torchvision', 'sklearn', 'matplotlib', 'safetensors'):\n"
        "    sys.modules[name] = None\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    for arguments in (["train", "digits", "--out", tmp_path / "run"], ["evaluate", tmp_path, "digits"], ["demo"]):
        result = process(*arguments, env=environment, cwd=tmp_path)
        assert result.returncode == 1
        assert one_line(result.stderr), result.stderr
        assert "pip install 'googlenet[train]'" in result.stderr
    assert process("table", env=environment).returncode == 0


def test_nothing_but_results_on_stdout(trained_run, photos):
    result = process("predict", trained_run, photos / "red", "--json")
    assert result.returncode == 0
    assert len(json.loads(result.stdout)) == 40
    assert result.stderr == ""


def test_ctrl_c_is_one_line(trained_run):
    command = [sys.executable, "-m", "googlenet", "benchmark", trained_run, "--seconds", "30"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # one that is ignored is inherited as ignored
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, without_stages(err)) == ("", "googlenet: stopped\n")
    assert process.returncode == 130


INTERRUPTED = """
import os, signal, sys
from googlenet.__main__ import main

at, lines = int(sys.argv.pop(1)), 0

def trace(frame, event, _):
    global lines
    if not frame.f_code.co_filename.endswith(("stopping.py", "cli/__init__.py", "__main__.py", "contextlib.py")):
        return None
    lines += event == "line"
    if lines == at:
        sys.settrace(None)
        os.kill(os.getpid(), signal.SIGINT)
    return trace

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.settrace(trace)
main()
"""


@pytest.mark.parametrize("at", [3, 60, 120, 140, 150, 160, 170, 180, 190, 200, 10_000])
def test_ctrl_c_at_any_line_around_a_command_prints_no_traceback(at):
    command = [sys.executable, "-c", INTERRUPTED, str(at), "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr
    assert result.returncode in (-signal.SIGINT, 130, 0)


def test_more_classes_than_there_are_cost_nothing(call, trained_run, tmp_path):
    image = trained_run.parent / "photos" / "red" / "001.png"
    for options in ([], ["--json"], ["--csv"], ["--out", tmp_path / "r.csv"]):
        started = time.monotonic()
        code, out, _ = call("predict", trained_run, image, "--top", "1000000000", *options)
        assert code == 0
        assert time.monotonic() - started < 20
        text = (tmp_path / "r.csv").read_text() if "--out" in options else out
        assert all(name in text for name in ("blue", "green", "red"))
    assert len(googlenet.load(trained_run).predict(image).top(10**9)) == 3
