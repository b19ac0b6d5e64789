"""`googlenet explain`, as a user calls it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from googlenet.models.zoo import NETWORKS
from tests.conftest import without_stages
from tests.explaining.conftest import photo


@pytest.fixture
def photos(trained_run):
    return trained_run.parent / "photos"


def test_a_line_an_image_and_a_json_for_each(trained_run, photos, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    paths = [photos / "red" / "001.png", bad, photos / "blue" / "001.png"]
    code, out, err = call("explain", trained_run, *paths, "--precision", "fp32")
    assert code == 1
    assert without_stages(err).startswith(f"not read: {bad}")
    first, second, last = out.splitlines()
    assert first.startswith(f"{paths[0]}: red ")
    assert " of the image" in first or "everywhere" in first
    assert second.startswith(f"{paths[2]}: blue ")
    assert last == "explanations: 2 images explained, .png and .json"
    names = sorted(path.name for path in (tmp_path / "explanations").iterdir())
    assert names == ["001-2.json", "001-2.png", "001.json", "001.png"]
    (entry,) = json.loads((tmp_path / "explanations" / "001-2.json").read_text("utf-8"))
    assert (entry["path"], entry["class"], entry["method"]) == (str(paths[2]), "blue", "cam")
    assert np.mean(entry["values"]) == pytest.approx(entry["total"], abs=1e-4)
    with Image.open(tmp_path / "explanations" / "001.png") as drawn:
        assert drawn.format == "PNG"


def test_json_classes_methods_and_a_fixed_scale(trained_run, photos, call, tmp_path):
    photo = photos / "red" / "001.png"
    code, out, _ = call("explain", trained_run, photo, "--class", "blue", "--against", "red", "--methods",
                        "cam,occlusion", "--scale", "5", "--json", "--out", tmp_path / "why")  # fmt: skip
    assert code == 0
    cam, occlusion = json.loads(out)
    assert (cam["class"], cam["against"], cam["method"], occlusion["method"]) == ("blue", "red", "cam", "occlusion")
    assert cam["sentence"].startswith("blue ")
    assert "rather than red" in cam["sentence"]
    assert "(the answer is red" in cam["sentence"]
    assert json.loads((tmp_path / "why" / "001.json").read_text("utf-8")) == [cam, occlusion]


def test_what_is_wrong_is_said_before_an_image_is_read(trained_run, photos, call, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = photos / "red" / "001.png"
    for options, said in (
        (["--class", "rde"], "no class is called 'rde': did you mean 'red'"),
        (["--against", "rot"], "no class is called 'rot'"),
        (["--methods", "cam,lime"], "no method is called 'lime'"),
        (["--scale", "0"], "--scale is a value above 0, got 0"),
    ):
        code, out, err = call("explain", trained_run, photo, *options)
        assert (code != 0, out) == (True, "")
        assert said in err
    flat, _ = write(NETWORKS["lenet5"], name="flat")
    code, _, err = call("explain", flat.path, photo, "--methods", "cam")
    assert (code, "explain it by occlusion" in err) == (1, True)
    assert not (tmp_path / "explanations").exists()


def test_each_label_of_several_is_explained(write, tiny, call, tmp_path):
    bundle, _ = write(tiny, multi_label=True, thresholds=(0.0, 0.0, 1.0, 1.0))
    Image.fromarray(photo(32)).save(tmp_path / "one.png")
    code, out, _ = call("explain", bundle.path, tmp_path / "one.png", "--out", tmp_path / "why")
    assert code == 0
    assert sorted(line.partition(": ")[2].split()[0] for line in out.splitlines()[:2]) == ["ant", "bee"]
    assert len(list((tmp_path / "why").glob("*.png"))) == 2
    bundle, _ = write(tiny, multi_label=True, thresholds=(1.0,) * 4)
    code, out, _ = call("explain", bundle.path, tmp_path / "one.png", "--out", tmp_path / "why")
    assert (code, len(out.splitlines())) == (0, 2)


def test_no_torch_no_matplotlib_and_no_network(trained_run, photos, tmp_path):
    code = """
import socket, sys
def refuse(*arguments, **options):
    raise SystemExit(f"the network was asked for: {arguments}")
socket.socket.connect = socket.getaddrinfo = refuse
for name in ("torch", "torchvision", "onnx", "matplotlib", "sklearn", "scipy", "pandas"):
    sys.modules[name] = None  # as where they are not installed
import googlenet
from googlenet.cli import main
prediction = googlenet.load(sys.argv[1]).predict(sys.argv[2])
print(prediction.explain().asked.class_name, len(prediction.explain()._repr_png_()) > 1000)
main(["explain", sys.argv[1], sys.argv[2], "--methods", "cam,occlusion,rise", "--out", sys.argv[3]])
"""
    command = [sys.executable, "-c", code, trained_run, photos / "red" / "007.png", tmp_path / "why"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert without_stages(done.stderr) == ""
    assert done.stdout.splitlines()[0] == "red True"
    assert (tmp_path / "why" / "007.png").exists()
