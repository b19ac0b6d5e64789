"""Several runs together, and several numbers of crops: what they gain and cost, as in Table 3 of the paper."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet.errors import DataError
from googlenet.evaluation.intervals import Interval
from googlenet.evaluation.plots import draw_costs
from tests.reporting.conftest import make_run


@pytest.fixture(scope="module")
def other(trained_run, tmp_path_factory, tiny):
    out = tmp_path_factory.mktemp("ensemble") / "other"
    photos = trained_run.parent / "photos"
    googlenet.train(photos, out, recipe="default", network=tiny, epochs=1, batch_size=16, seed=5, val_fraction=0.5)
    return out


def test_the_probabilities_of_all_networks_and_crops_are_averaged(trained_run, other):
    photos = trained_run.parent / "photos"
    found = googlenet.compare_crops([trained_run, other], photos, crops=(1, 10))
    assert [(row.networks, row.crops) for row in found.rows] == [(1, "1"), (1, "10"), (2, "1"), (2, "10")]
    assert [row.passes for row in found.rows] == [1, 10, 2, 20]
    answers = found.rows[3].evaluation.answers
    paths = [item.path for item in answers.images]
    expected = np.mean([googlenet.load(run, crops=10).probabilities(paths) for run in (trained_run, other)], axis=0)
    np.testing.assert_allclose(answers.probabilities, expected, atol=1e-5)
    right = [answers.class_names[at] == path.parent.name for at, path in zip(expected.argmax(1), paths, strict=True)]
    assert found.rows[3].evaluation.metrics.top1 == pytest.approx(np.mean(right))
    learnt = {item.name for item in googlenet.evaluate(other, photos, split="train").answers.images}
    assert 0 < len(paths) < 24
    assert not learnt & {item.name for item in answers.images}


def test_the_command_prints_a_table_and_draws_it(trained_run, other, call, tmp_path):
    photos, plot = trained_run.parent / "photos", tmp_path / "crops.png"
    code, out, err = call("evaluate", trained_run, other, photos, "--crops", "1,auto", "--plot", plot)
    assert code == 0, err
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("1 ", "2 "))]
    assert [row[:2] for row in rows] == [["1", "1"], ["1", "auto"], ["2", "1"], ["2", "auto"]]
    with Image.open(plot) as drawn:
        assert min(drawn.size) > 300
    code, out, _ = call("evaluate", trained_run, other, photos, "--crops", "10", "--json", "--plot", plot)
    said = json.loads(out)
    assert [(row["networks"], row["crops"], row["passes"]) for row in said["rows"]] == [(1, "10", 10), (2, "10", 20)]
    assert said["rows"][0]["intervals"]["top1"]["n"] == said["images"]


def test_labels_of_equal_costs_are_drawn_apart(tmp_path):
    share = Interval(0.9, 0.8, 0.95, 100)
    rows = [(1, "1", 1, share), (1, "10", 10, share), (1, "auto", 10.7, share)]
    draw_costs(rows, "top-1", tmp_path / "costs.svg")
    drawn = (tmp_path / "costs.svg").read_text("utf-8")
    ten, auto = (float(x) for x in re.findall(r"<!-- (?:10|auto) -->\s+<g[^>]*translate\(([\d.]+)", drawn)[-2:])
    assert auto - ten > 20


def test_several_labels_are_compared_by_what_is_drawn(call, tmp_path):
    run = make_run(tmp_path / "bundle", ("cat", "dog"), multi_label=True)
    for name in ("cat", "dog"):
        Image.effect_noise((40, 40), 50).convert("RGB").save(tmp_path / f"{name}.png")
    (tmp_path / "list.csv").write_text("path,label\ncat.png,cat\ndog.png,cat|dog\n")
    code, out, err = call("evaluate", run, tmp_path / "list.csv", "--crops", "1,10", "--plot", tmp_path / "costs.svg")
    assert code == 0, err
    assert out.split()[3:6] == ["mAP", "exact", "match"]
    assert "<!-- mAP, % (bars: 95 % intervals) -->" in (tmp_path / "costs.svg").read_text("utf-8")


def test_one_run_with_more_crops_is_an_evaluation(trained_run, call, tmp_path):
    photos, plot = trained_run.parent / "photos", tmp_path / "plot.png"
    code, out, _ = call("evaluate", trained_run, photos, "--crops", "10", "--json", "--plot", plot)
    assert code == 0
    assert json.loads(out)["top1"] == googlenet.evaluate(trained_run, photos, crops=10).metrics.top1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--crops", "1,12"), "crops are 1, 10, 144 or auto, got '12'"),
        (("--crops", "1,10", "--mistakes", "m.csv"), "--mistakes and several --crops exclude each other"),
        (("--crops", "10", "--sets", "0.9"), "--sets and --crops exclude each other"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(trained_run, call, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("evaluate", trained_run, trained_run.parent / "photos", *arguments)
    assert (code in (1, 2), out) == (True, "")
    assert says in " ".join(err.split())


def test_runs_come_first_and_know_the_same_classes(trained_run, call, tmp_path):
    photos = trained_run.parent / "photos"
    code, _, err = call("evaluate", trained_run, photos, trained_run)
    assert code == 2
    assert "is no run of `googlenet train`: name runs first, and DATA last" in " ".join(err.split())
    from googlenet import bundle as bundles

    bundle = bundles.read(trained_run)
    card = bundle.card.__class__(**{**vars(bundle.card), "class_names": ("blue", "green", "pink")})
    strange = bundles.write(tmp_path / "other", card, {name: bundle.read(name) for name in bundle.card.files})
    with pytest.raises(DataError, match=r"has other classes \(blue, green, pink\)"):
        googlenet.compare_crops([trained_run, strange.path], photos)
