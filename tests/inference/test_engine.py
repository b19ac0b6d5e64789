"""The engine's precisions: what a processor has can be asked for, anything else is one line."""

import numpy as np
import pytest

from googlenet import bundle as bundles
from googlenet.errors import DeviceError
from googlenet.inference import engine
from googlenet.inference.engine import Engine, precisions


@pytest.fixture
def bundle(trained_run):
    return bundles.read(trained_run)


@pytest.fixture
def pictures(bundle):
    size = bundle.card.preprocessing.size
    return np.random.default_rng(0).integers(0, 256, (5, size, size, 3), dtype=np.uint8)


def test_every_precision_of_this_processor_gives_about_the_same_answers(bundle, pictures):
    assert precisions()[0] == "fp32"
    exact = Engine(bundle).probabilities(pictures)
    assert np.array_equal(Engine(bundle, "fp32").probabilities(pictures), exact)
    for precision in precisions():
        answers = Engine(bundle, precision).probabilities(pictures)
        assert answers.dtype == np.float32
        assert np.abs(answers - exact).max() < 0.03
        assert answers.sum(axis=1) == pytest.approx(1, abs=0.02)


def test_a_precision_that_does_not_exist(bundle):
    with pytest.raises(DeviceError, match=r"no precision is called 'fp8': this processor has fp32"):
        Engine(bundle, "fp8")


def test_a_precision_that_this_processor_lacks(bundle, monkeypatch):
    monkeypatch.setattr(engine, "precisions", lambda: ("fp32",))
    with pytest.raises(DeviceError, match="bf16 cannot be computed here: this processor has fp32"):
        Engine(bundle, "bf16")
