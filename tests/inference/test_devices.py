"""Devices: their one face, tried with the libraries that are here. GPUs and NPUs are not: docs/deploy.md says so."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from importlib import util
from typing import get_args

import numpy as np
import onnxruntime
import pytest

import googlenet
from googlenet import bundle as bundles
from googlenet.cli.devices import PredictOn
from googlenet.errors import DeviceError
from googlenet.inference import devices
from googlenet.inference.devices import DEVICES, ONNXRUNTIME
from googlenet.inference.engine import Engine
from googlenet.inference.golden import golden

# The processor by another way: ONNX Runtime itself, OpenVINO's plug-ins that pass work on, and one image at a time.
ELSEWHERE = {
    "onnxruntime": replace(DEVICES["cuda"], target="CPUExecutionProvider"),
    "auto": replace(DEVICES["gpu"], target="AUTO:CPU"),
    "multi": replace(DEVICES["gpu"], target="MULTI:CPU"),
    "static": replace(DEVICES["npu"], target="CPU", precision="fp32", tolerance=1e-4),
}


@pytest.fixture
def elsewhere(monkeypatch):
    for name, device in ELSEWHERE.items():
        monkeypatch.setitem(DEVICES, name, device)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_another_device_answers_as_the_processor_does(elsewhere, trained_run, name):
    here, there = googlenet.load(trained_run, "fp32"), googlenet.load(trained_run, device=name)
    images = sorted((trained_run.parent / "photos").rglob("*.png"))[::4]
    np.testing.assert_allclose(there.probabilities(images), here.probabilities(images), atol=1e-4)
    pixels, _ = golden(bundles.read(trained_run))
    np.testing.assert_allclose(there.engine.embeddings(pixels), here.engine.embeddings(pixels), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(there.engine.maps(pixels), here.engine.maps(pixels), rtol=1e-3, atol=1e-3)
    again = pickle.loads(pickle.dumps(there))
    assert (again.engine.device, again.engine.precision) == (name, "fp32")
    answers = list(there.predict_many(images, batch_size=4))  # from several threads
    assert [each.label for each in answers] == [each.label for each in here.predict_many(images)]
    assert answers[0].heatmap().shape == (40, 48)


def test_every_device_is_an_option():
    assert get_args(get_args(PredictOn)[0]) == tuple(DEVICES)


def test_a_device_that_is_not_here_is_one_line(trained_run, call, tmp_path):
    for name, needs in (("npu", "linux-npu-driver"), ("cuda", "pip install 'googlenet[gpu]'"), ("coreml", "macOS")):
        with pytest.raises(DeviceError, match=f"no {name} to predict on, it has cpu.*: {name} needs .*") as error:
            googlenet.load(trained_run, device=name)
        assert needs in str(error.value)
    with pytest.raises(DeviceError, match="no device to predict on is called 'tpu'"):
        googlenet.load(trained_run, device="tpu")
    image = next((trained_run.parent / "photos").rglob("*.png"))
    code, _, err = call("predict", trained_run, image, "--device", "cuda")
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = call("predict", trained_run, image, "--out", tmp_path / "out", "--engine", "ray", "--device", "cuda")
    assert (code, "--engine ray and --device exclude each other" in err) == (2, True)


def test_without_onnxruntime_the_extra_is_named(trained_run, monkeypatch):
    found = util.find_spec
    monkeypatch.setattr(devices, "find_spec", lambda name: None if name == "onnxruntime" else found(name))
    with pytest.raises(DeviceError, match=r"cuda needs .*googlenet\[gpu\]"):
        googlenet.load(trained_run, device="cuda")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_is_listed_but_falls_back_is_refused(trained_run, monkeypatch):
    """So it is with CUDA's provider where cuDNN is missing: here with one that this build does not have."""
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    with pytest.raises(DeviceError, match=r"CUDAExecutionProvider does not work here.*it needs an NVIDIA GPU"):
        googlenet.load(trained_run, device="cuda")


def test_a_device_that_answers_otherwise_is_refused(elsewhere, trained_run, tmp_path, monkeypatch):
    run = shutil.copytree(trained_run, tmp_path / "run")
    images, expected = golden(bundles.read(run))
    wrong = np.roll(expected, 1, axis=1)
    monkeypatch.setattr("googlenet.inference.engine.golden", lambda bundle: (images, wrong))
    with pytest.raises(DeviceError, match=r"a probability differs by .*; use --device cpu"):
        Engine(bundles.read(run), device="onnxruntime")


def test_other_devices_have_one_precision(elsewhere, trained_run, call):
    with pytest.raises(DeviceError, match="onnxruntime computes in fp32 here, not in bf16: leave --precision out"):
        googlenet.load(trained_run, "bf16", device="onnxruntime")
    assert Engine(bundles.read(trained_run), device="onnxruntime").precision == "fp32"
    assert DEVICES["onnxruntime"].library == ONNXRUNTIME


def test_evaluate_takes_a_device(elsewhere, trained_run):
    here, there = (googlenet.evaluate(trained_run, trained_run.parent / "photos", device=each, precision="fp32")
                   for each in ("cpu", "onnxruntime"))  # fmt: skip
    assert there.metrics.values == pytest.approx(here.metrics.values, abs=1e-4)
