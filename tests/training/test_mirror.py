"""The mean answer over an image and its mirror image: in training, on the card, in 8 bits, in heat maps alike."""

import csv
import dataclasses
import re

import numpy as np
import pytest
import torch

import googlenet
from googlenet import bundle as bundles
from googlenet.evaluation.calibration import calibrated
from googlenet.exporting.bundles import write_bundle
from googlenet.exporting.quantization import in_8_bits
from googlenet.inference.engine import Engine
from googlenet.inference.golden import golden
from googlenet.training.task import OneLabel, SeveralLabels


@pytest.fixture(scope="module")
def mirrored(tiny, tmp_path_factory):
    """Digits, which mirroring harms: so the gain is not 0."""
    run = tmp_path_factory.mktemp("mirror") / "run"
    googlenet.train(
        "digits", run, network=tiny, epochs=3, batch_size=16, lr=0.01, mirror=True, precision="fp32", ema_decay=0.9
    )
    return run


@pytest.fixture(scope="module")
def alone(mirrored):
    """The same weights without mirror images."""
    bundle = bundles.read(mirrored)
    card = dataclasses.replace(bundle.card, mirror=False)
    images = golden(bundle)[0].copy()
    return write_bundle(mirrored.with_name("alone"), googlenet.load_module(mirrored), card, images).path


@pytest.mark.parametrize("task", [OneLabel(5), SeveralLabels(5)], ids=["one label", "several"])
def test_merged_logits_have_the_mean_probabilities(task):
    views = 20 * torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    expected = sum(task.probabilities(view).double() for view in views) / 2
    torch.testing.assert_close(task.probabilities(task.merge(views)).double(), expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(task.merge(views[:1]), views[0])


def test_training_evaluation_and_prediction_answer_alike(mirrored, alone):
    card = bundles.read(mirrored).card
    assert card.mirror
    assert card.views == 2
    assert card.recipe["mirror"] is True
    both, one = (googlenet.evaluate(run, "digits", split="val", precision="fp32").metrics for run in (mirrored, alone))
    assert card.metrics["top1"] == both.top1 < 1
    assert card.metrics["mirror_gain"] == pytest.approx(both.top1 - one.top1)
    assert card.metrics["mirror_gain"] != 0
    with (mirrored / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = rows[int(card.metrics["epoch"]) - 1]
    assert float(best["mirror_gain"]) == card.metrics["mirror_gain"]
    image = golden(bundles.read(mirrored))[0][0]
    with_it, without = googlenet.load(mirrored), googlenet.load(alone)
    both = np.stack([without.predict(view).probabilities for view in (image, image[:, ::-1])])
    mean = calibrated(both, 1 / without.card.temperature).mean(axis=0)  # it is calibrated, not each view
    answer = calibrated(with_it.predict(image).probabilities[None], 1 / with_it.card.temperature)[0]
    np.testing.assert_allclose(answer, mean, atol=1e-5)
    np.testing.assert_allclose(with_it.heatmap(image, "3"), with_it.heatmap(image[:, ::-1], "3")[:, ::-1], atol=1e-5)


def test_in_8_bits_the_mean_is_exact(mirrored, tmp_path):
    bundle = bundles.read(mirrored)
    images = golden(bundle)[0]
    files = {name: bundle.read(name) for name in bundle.card.files} | in_8_bits(bundle, list(images))
    bundle = bundles.write(tmp_path / "quantised", bundle.card, files)
    googlenet.verify(bundle.path)
    coarse = Engine(bundle, "int8").probabilities(images)
    np.testing.assert_allclose(coarse, Engine(bundle, "int8").probabilities(images[:, :, ::-1].copy()), atol=1e-6)
    np.testing.assert_allclose(coarse.sum(axis=1), 1, atol=1e-6)  # probabilities rounded to 8 bits do not add up
    answers = (coarse, Engine(bundle, "fp32").probabilities(images))
    coarse, exact = (calibrated(answer, 1 / bundle.card.temperature) for answer in answers)
    assert 0 < np.abs(coarse - exact).max() < 0.1
    assert googlenet.export(bundle.path, tmp_path / "out", "openvino", int8=True).largest_difference < 1e-4


def test_the_command_says_what_it_gained(call, mirrored):
    code, out, err = call("train", "digits", "--out", mirrored, "--mirror", "--resume")
    assert code == 0, err
    assert re.search(r"top-1 \d\d\.\d\d% \(mirror images: [+-]\d+\.\d\d points of top-1\) on held-out", out), out
    code, _, err = call("train", "digits", "--out", mirrored, "--no-mirror", "--resume")
    assert (code, "--mirror False (it has True)" in err) == (1, True)
