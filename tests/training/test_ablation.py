"""What heads are worth: a run for each, on the same images; stopped and resumed; refused in one line."""

import json
import os
import re
import signal

import numpy as np
import pytest

import googlenet
from googlenet.data.splits import read_record
from googlenet.errors import NetworkError, RecipeError, RunError, StoppedError
from googlenet.evaluation.repeats import compare_repeats
from googlenet.training.ablation import Ablation
from tests.conftest import TINY, write_coloured_classes, write_list_of_squares

HOW = {"network": TINY, "epochs": 1, "batch_size": 8, "workers": 0, "precision": "fp32"}


class Stop:
    """Asks to stop in the given run's first step, once."""

    def __init__(self, run):
        self.run, self.steps = run, 0

    def on_step(self, step):
        self.steps += step.step == 1
        if self.steps == self.run and step.step == 1:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def ablated(tmp_path_factory):
    """An ablation that was stopped in its third run, and resumed."""
    root = tmp_path_factory.mktemp("ablation")
    photos = write_coloured_classes(root / "photos", per_class=20)
    with pytest.raises(StoppedError, match="stopped in run 3 of 4, saved; continue with the same command"):
        googlenet.ablate(photos, root / "out", heads=(1, 0), seeds=2, callbacks=[Stop(3)], **HOW)
    finished = root / "out" / "heads-0-seed-0" / "bundle" / "card.json"
    before = finished.stat().st_mtime_ns
    found = googlenet.ablate(photos, root / "out", heads=(0, 1), seeds=2, resume=True, **HOW)
    assert finished.stat().st_mtime_ns == before
    return photos, found


def test_a_run_for_each_number_of_heads_and_seed_on_the_same_images(ablated):
    _, found = ablated
    assert (found.heads, found.baseline, found.split) == ([0, 1], 0, "val")
    held_out = set()
    for heads in (0, 1):
        for seed in (0, 1):
            bundle = googlenet.bundle.read(found.out / f"heads-{heads}-seed-{seed}")
            assert (len(bundle.network.aux), bundle.card.recipe["seed"]) == (heads, seed)
            rows = read_record(bundle.path.parent / "split.csv", bundle.card.data["record"])
            held_out.add(frozenset(row.sha256 for row in rows if row.split == "val"))
            evaluated = googlenet.evaluate(bundle.path.parent, precision="fp32")
            assert found.accuracies[heads, seed] == pytest.approx(evaluated.metrics.top1)
    assert len(held_out) == 1
    assert len(held_out.pop()) == found.images
    means = [sum(found.of(heads)) / 2 for heads in (0, 1)]
    effect = found.effects[1]
    assert effect.difference.value == pytest.approx(means[1] - means[0])
    assert effect.difference.low <= effect.difference.value <= effect.difference.high
    written = json.loads((found.out / "ablation.json").read_text("utf-8"))
    assert written["effects"]["1"] == effect.to_dict()
    assert (written["paper"], len(written["runs"])) == (0.005, 4)


def test_the_command_says_what_was_found(ablated, call):
    photos, found = ablated
    options = (
        "--recipe",
        found.out / "heads-1-seed-0",
        "--out",
        found.out,
        "--heads",
        "0,1",
        "--seeds",
        "2",
        "--resume",
    )
    code, out, err = call("ablate", photos, *options)
    assert code == 0, err
    assert "points against" in out
    assert "points with one pair of runs" in " ".join(out.split())
    code, out, _ = call("ablate", photos, *options, "--json")
    assert json.loads(out)["images"] == found.images


def test_with_several_labels_and_mirror_images_answers_are_exact_matches(tmp_path, call):
    photos, out = write_list_of_squares(tmp_path / "squares"), tmp_path / "out"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("mirror = true\n")
    found = googlenet.ablate(photos, out, heads=(0, 1), seeds=1, recipe=recipe, **HOW)
    for heads in (0, 1):
        run = out / f"heads-{heads}-seed-0"
        assert googlenet.bundle.read(run).card.mirror
        evaluated = googlenet.evaluate(run, precision="fp32")
        assert found.accuracies[heads, 0] == pytest.approx(evaluated.intervals["exact"].value)
    options = ("--recipe", out / "heads-1-seed-0", "--heads", "0,1", "--seeds", 1, "--resume")
    code, said, err = call("ablate", photos, "--out", out, *options)
    assert code == 0, err
    assert "exact match" in said


ALIKE = np.arange(400) % 8 > 0  # an eighth of the answers is wrong


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([ALIKE, ALIKE], "points with one pair of runs, [0-9]{1,2}[.][0-9] with these seeds: not enough"),
        ([ALIKE, ~ALIKE], "points with one pair of runs, none at all with so few seeds: not enough"),
    ],
)
def test_it_says_which_difference_so_many_seeds_can_show(call, tmp_path, monkeypatch, seeds, said):
    effect = compare_repeats(np.stack(seeds), np.stack([np.roll(ALIKE, 1), np.roll(ALIKE, 1)]))
    accuracies = {(heads, seed): 0.5 for heads in (0, 1) for seed in (0, 1)}
    found = Ablation(tmp_path, 0, accuracies, {1: effect}, "val", 400)
    monkeypatch.setattr("googlenet.training.ablation.ablate", lambda *_, **__: found)
    code, out, _ = call("ablate", tmp_path, "--out", tmp_path)
    assert code == 0
    assert re.search(said, " ".join(out.split())), out


def test_what_is_wrong_is_said_before_training(ablated, tmp_path):
    photos, found = ablated
    for changes, error, said in (
        ({"heads": (0,)}, RecipeError, "heads are two or more numbers"),
        ({"seeds": 0}, RecipeError, "should be a whole number, 1 to 100"),
        ({"recipe": "auto"}, RecipeError, "name one, such as default"),
        ({"aux": 1}, RecipeError, "leave --aux out"),
        ({"heads": (0, 3)}, NetworkError, "tiny has 1 auxiliary head, and --heads asks for 3"),
    ):
        with pytest.raises(error, match=said):
            googlenet.ablate(photos, tmp_path / "new", **({"seeds": 1, "heads": (0, 1)} | HOW | changes))
        assert not (tmp_path / "new").exists()
    for changes, said in (
        ({}, "holds an ablation: continue with --resume"),
        ({"resume": True, "lr": 0.1}, "was started with other heads, seeds, settings or images"),
        ({"resume": True, "seeds": 3}, "was started with other heads, seeds, settings or images"),
    ):
        with pytest.raises(RunError, match=said):
            googlenet.ablate(photos, found.out, **({"seeds": 2, "heads": (0, 1)} | HOW | changes))
    with pytest.raises(RunError, match="holds no ablation: choose another"):
        googlenet.ablate(photos, photos, heads=(0, 1), **HOW)
