"""The scripts of examples/, run as a user runs them."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet.exporting.bundles import write_bundle
from googlenet.images.resize import load_image

EXAMPLES = Path(__file__).parents[2] / "examples"
NO_GOOGLENET = """
import runpy, sys
sys.modules["googlenet"] = None  # as where it is not installed: importing it fails
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*arguments, python=()):
    done = subprocess.run(
        [sys.executable, *python, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def images(tmp_path):
    """Images of a known class, of other sizes than training had."""
    paths = []
    for name, colour, size in (("wide", (40, 60, 200), (90, 40)), ("high", (200, 50, 40), (37, 81))):
        Image.new("RGB", size, colour).save(tmp_path / f"{name}.png")
        paths.append(tmp_path / f"{name}.png")
    return paths


def test_train_and_predict(trained_run, images, tmp_path):
    photos = trained_run.parent / "photos"
    new = run(EXAMPLES / "train_and_predict.py", photos, tmp_path / "run", *images, "--minutes", "0.02")
    assert re.search(r"^accuracy on held-out images: \d+\.\d%$", new, re.MULTILINE)
    assert (tmp_path / "run" / "bundle" / "card.json").exists()

    (tmp_path / "bad.jpg").write_bytes(b"not an image")
    again = run(EXAMPLES / "train_and_predict.py", photos, trained_run, *images, tmp_path / "bad.jpg").splitlines()
    classifier = googlenet.load(trained_run)
    for line, image in zip(again, images, strict=False):
        answer = classifier.predict(image)
        assert line == f"{image}: {answer.label} ({answer.probability:.1%})"
    assert re.fullmatch(rf"{re.escape(str(tmp_path / 'bad.jpg'))}: [^%]+", again[2])


@pytest.fixture(scope="module")
def uncalibrated(trained_run, tmp_path_factory):
    """The shared run's bundle at temperature 1: calibrated, it makes much of small differences between pixels."""
    card = replace(googlenet.load(trained_run).card, temperature=1.0)
    images = np.zeros((1, card.preprocessing.size, card.preprocessing.size, 3), np.uint8)
    path = tmp_path_factory.mktemp("uncalibrated") / "bundle"
    return write_bundle(path, googlenet.load_module(trained_run), card, images).path


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
def test_onnx_without_this_package(resize, uncalibrated, images, tmp_path):
    classifier = googlenet.load(uncalibrated)
    preprocessing = replace(classifier.card.preprocessing, resize=resize, crop_fraction=0.8)
    card = replace(classifier.card, preprocessing=preprocessing)
    shutil.copy(uncalibrated / "model.onnx", tmp_path)
    (tmp_path / "card.json").write_text(card.to_json(), "utf-8")

    printed = run("-c", NO_GOOGLENET, EXAMPLES / "onnx_without_googlenet.py", tmp_path, *images).splitlines()

    for line, image in zip(printed, images, strict=True):
        (row,) = classifier.engine.probabilities(load_image(image, preprocessing)[None])
        named, share = re.fullmatch(rf"{re.escape(str(image))}: (\w+) \((\d+\.\d)%\)", line).groups()
        assert named == classifier.class_names[int(row.argmax())]
        assert float(share) / 100 == pytest.approx(float(row.max()), abs=0.002)


def test_watching_a_folder(trained_run, images, tmp_path):
    inbox, results = tmp_path / "inbox", tmp_path / "results.csv"
    inbox.mkdir()
    (inbox / images[0].name).write_bytes(images[0].read_bytes())
    (inbox / "bad.jpg").write_bytes(b"not an image")
    watch = (EXAMPLES / "watch_folder.py", trained_run, inbox, results, "--seconds", "0.1", "--once")
    run(*watch)
    (inbox / images[1].name).write_bytes(images[1].read_bytes())
    run(*watch)

    with results.open(newline="", encoding="utf-8") as file:
        rows = {Path(row[0]).name: row for row in csv.reader(file)}
        file.seek(0)
        assert len(list(csv.reader(file))) == 3  # each once
    classifier = googlenet.load(trained_run)
    for image in images:
        answer = classifier.predict(image)
        assert rows[image.name][1:] == [answer.label, f"{answer.probability:.4f}", ""]
    assert rows["bad.jpg"][1:3] == ["", ""]
    assert "bad.jpg" in rows["bad.jpg"][3]


def test_the_screenshot_is_drawn_of_any_run_and_images(trained_run, images, tmp_path):
    out = tmp_path / "shot.png"
    run(EXAMPLES.parent / "docs" / "make_screenshot.py", *images, "--run", trained_run, "--out", out)
    with Image.open(out) as drawn:
        assert drawn.format == "PNG"
        assert drawn.size == (500, 460)  # a column for each image
        assert len(drawn.convert("RGB").getcolors(1 << 20)) > 50  # photographs, heat maps and text
