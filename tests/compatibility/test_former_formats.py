"""What earlier versions wrote is still read: bundles of every format, and a run that was stopped in the middle.

``former.zip`` holds what 0.1.0 and the two versions before it wrote for 36 tiny images of three colours: ``bundle-1``
to ``bundle-3`` by their formats, ``stopped``, a run of four epochs stopped after the second, and ``finished``, the
weights that the version which wrote it ended with.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import googlenet

ANSWERS = {  # to photos/red/000.png, by the versions that wrote the bundles
    1: [0.33507218956947327, 0.3233141303062439, 0.34161368012428284],
    2: [0.3352414071559906, 0.3220580518245697, 0.3427005410194397],
    3: [0.3352414071559906, 0.3220580518245697, 0.3427005410194397],
}


@pytest.fixture
def former(tmp_path, monkeypatch) -> Path:
    with zipfile.ZipFile(Path(__file__).with_name("former.zip")) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("number", ANSWERS)
def test_a_bundle_of_each_format_gives_the_answers_it_gave(former, number):
    classifier = googlenet.load(f"bundle-{number}")
    assert classifier.card.format == number
    assert classifier.predict("photos/red/000.png").probabilities.tolist() == pytest.approx(ANSWERS[number], abs=1e-5)
    assert googlenet.verify(f"bundle-{number}").largest_difference < 1e-4


def test_evaluating_a_bundle_that_records_no_split_holds_out_what_it_held_out(former, call):
    code, out, _ = call("evaluate", "bundle-3", "photos", "--json")
    assert code == 0
    assert '"top1": 1.0' in out


def test_a_stopped_run_goes_on_to_the_weights_it_would_have_had(former):
    bundle = googlenet.train("photos", "stopped", resume=True, workers=0)
    assert bundle.card.metrics["epoch"] == 4
    finished = load_file("finished.safetensors")
    ours = load_file(bundle.path / "weights.safetensors")
    assert ours.keys() == finished.keys()
    for name, tensor in ours.items():  # bit for bit on a processor like the one that wrote them
        torch.testing.assert_close(tensor, finished[name], rtol=1e-4, atol=1e-5)
