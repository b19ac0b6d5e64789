"""What earlier versions wrote is still read: bundles of every format, and a run that was stopped in the middle.

``former.zip`` holds what 0.1.0 and the versions around it wrote for 36 tiny images of three colours: ``bundle-1`` to
``bundle-4`` by their formats, two runs of four epochs stopped after the second, ``stopped`` (of 0.1.0) and
``stopped-4`` (when cards had format 4), and the weights that the versions which wrote these ended with.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import googlenet
from googlenet.errors import RecipeError
from googlenet.images import resampling
from googlenet.training.recipe import Recipe

ANSWERS = {  # to photos/red/000.png, by the versions that wrote the bundles
    1: [0.33507218956947327, 0.3233141303062439, 0.34161368012428284],
    2: [0.3352414071559906, 0.3220580518245697, 0.3427005410194397],
    3: [0.3352414071559906, 0.3220580518245697, 0.3427005410194397],
    4: [0.3247131109237671, 0.3284410536289215, 0.3468458354473114],
}


@pytest.fixture
def former(tmp_path, monkeypatch) -> Path:
    with zipfile.ZipFile(Path(__file__).with_name("former.zip")) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        resampling, "has_vector_resampling", lambda: False
    )  # by Pillow, as then: others differ by up to one level
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


@pytest.mark.parametrize(("run", "weights"), [("stopped", "finished"), ("stopped-4", "finished-4")])
def test_a_stopped_run_goes_on_to_the_weights_it_would_have_had(former, run, weights):
    bundle = googlenet.train("photos", run, resume=True, workers=0)
    assert bundle.card.metrics["epoch"] == 4
    finished = load_file(f"{weights}.safetensors")
    ours = load_file(bundle.path / "weights.safetensors")
    assert ours.keys() == finished.keys()
    for name, tensor in ours.items():  # bit for bit on a processor like the one that wrote them
        torch.testing.assert_close(tensor, finished[name], rtol=1e-4, atol=1e-5)


def test_a_recipe_of_former_names_trains_as_it_did(former):
    Path("mine.toml").write_text(
        'first_size = 0.5\naveraging = 0.9\nbalance = "loss"\ninit = "own"\nfit = "pad"\n[augmentation]\nflip = 0.0\n'
    )
    recipe = Recipe.load("mine.toml")
    assert (recipe.initial_size, recipe.ema_decay, recipe.class_balance) == (0.5, 0.9, "weighted_loss")
    assert (recipe.init, recipe.resize, recipe.augmentation.hflip_prob) == (None, "pad", 0.0)
    Path("both.toml").write_text("averaging = 0.9\nema_decay = 0.9\n")
    with pytest.raises(RecipeError, match="unknown key 'averaging'"):
        Recipe.load("both.toml")
