"""Pruning through the public face: what is removed, what is left answers and costs, and that it ships."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

import googlenet
from googlenet import bundle as bundles
from googlenet.bundle import GOLDEN, MODEL, WEIGHTS
from googlenet.errors import BundleError, DataError, NetworkError, RecipeError, RunError, StoppedError
from googlenet.evaluation.selection import select_images
from googlenet.exporting.bundles import write_bundle
from googlenet.models.spec import LRN, Stage, to_json
from googlenet.training.recorder import Recorder
from tests.conftest import TINY, write_coloured_classes
from tests.pruning.test_slicing import held

QUICK = {"epochs": 1, "workers": 0, "precision": "fp32"}
IMAGES = 24
NEEDED = ("inception_1", "3x3")
SEEN_BY_THE_NEXT = slice(4, 12)  # its channels
FIRST_OF_BRANCHES = ("1x1.conv", "3x3.0.conv", "5x5.0.conv", "pool_proj.1.conv")


def rewritten(run, module, **fields):
    """Give a run another module, or another card."""
    bundle = bundles.read(run)
    images = np.load(bundle.path / GOLDEN)["images"]
    write_bundle(bundle.path, module, replace(bundle.card, network=to_json(module.network), **fields), images)
    return run


@pytest.fixture(scope="module")
def needs_one(trained_run, tmp_path_factory):
    """A run whose first module reaches the second by its 3×3 branch alone: no other has a weight there."""
    run = tmp_path_factory.mktemp("needs") / "run"
    shutil.copytree(trained_run, run)
    module = googlenet.load_module(run)
    with torch.no_grad():
        for name in FIRST_OF_BRANCHES:
            weight = module.get_parameter(f"inception_2.{name}.weight")
            kept = weight[:, SEEN_BY_THE_NEXT].clone()
            weight.zero_()
            weight[:, SEEN_BY_THE_NEXT] = kept
    return rewritten(run, module)


@pytest.fixture(scope="module")
def pruned(needs_one, tmp_path_factory):
    """Of each module one branch is left."""
    out = tmp_path_factory.mktemp("pruned") / "small"
    return googlenet.prune(needs_one, None, out, remove=6, images=IMAGES, **QUICK)


@pytest.fixture
def small(pruned):
    return pruned.bundle.path.parent


def test_the_branch_that_the_network_depends_on_stays(pruned):
    worth = {branch.key: branch.loss for branch in pruned.ranking}
    assert len(worth) == 8
    assert worth[NEEDED].low > 0.1
    for name in ("1x1", "5x5", "pool_proj"):
        assert worth["inception_1", name].value == pytest.approx(0, abs=1e-6)
    assert [branch.name for branch in pruned.bundle.network.stages[1].layers[0].branches] == ["3x3"]
    assert len(pruned.removed) == 6
    order = [branch.loss.value / branch.macs for branch in pruned.ranking]
    assert order == sorted(order)


def test_before_fine_tuning_it_answers_as_the_original_with_these_branches_at_their_means(pruned, needs_one, small):
    module, classifier = googlenet.load_module(needs_one), googlenet.load(needs_one, "fp32")
    items = select_images(classifier.bundle, None, to_choose=True).images.evenly(IMAGES)
    pixels = np.stack([classifier.preprocess(item.source) for item in items])
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (TINY.mean, TINY.std))
    images = (torch.tensor(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
    constants = {}
    with torch.inference_mode():
        inputs = {"inception_1": module.conv1(images)}
        joined = {"inception_1": module.inception_1(inputs["inception_1"])}
        joined["inception_2"] = module.inception_2(module.maxpool1(joined["inception_1"]))
    for branch in pruned.removed:
        names = [each.name for each in TINY.stages[1].layers[0].branches]
        widths = {"inception_1": (4, 8, 4, 4), "inception_2": (8, 8, 4, 4)}[branch.module]
        end = np.cumsum(widths)[names.index(branch.name)]
        own = joined[branch.module][:, end - widths[names.index(branch.name)] : end]
        constants[branch.key] = own.mean((0, 2, 3)).numpy()
    _, expected = held(module, constants, images)
    temperature = classifier.card.temperature
    found = googlenet.load(small / "pruned", "fp32").predict_pixels(pixels)
    np.testing.assert_allclose(
        [each.probabilities for each in found], (expected.logits / temperature).softmax(1), atol=1e-5
    )


def test_what_it_costs_is_the_analysis_of_its_network(pruned, small):
    before, between, after = pruned.states
    network = bundles.read(small).network
    table = googlenet.analyse(network, 32)
    assert (after.macs, after.parameters) == (table.macs, table.parameters) == (between.macs, between.parameters)
    assert before.macs == googlenet.analyse(replace(TINY, num_classes=3), 32).macs
    assert pruned.macs == after.macs / before.macs < 0.6
    module = googlenet.load_module(small)
    heads = tuple(f"{tap.name}." for tap in network.aux)
    assert sum(p.numel() for name, p in module.named_parameters() if not name.startswith(heads)) == after.parameters


def test_it_ships_as_any_other_run(pruned, small, tmp_path):
    assert googlenet.verify(small).largest_difference < 1e-4
    classifier = googlenet.load(small)
    pixels = np.load(small / "bundle" / GOLDEN)["images"]
    session = onnxruntime.InferenceSession(small / "bundle" / MODEL)
    answers = session.run(["probabilities"], {"images": pixels})[0]
    np.testing.assert_allclose([each.probabilities for each in classifier.predict_pixels(pixels)], answers, atol=1e-5)
    assert classifier.explain(pixels[0]).to_dict()["class"] == classifier.predict(pixels[0]).label
    assert len(classifier.branches(pixels[0]).parts) == 1
    assert googlenet.export(small, tmp_path / "out").largest_difference < 1e-5
    again = googlenet.train(classifier.card.data["name"], tmp_path / "again", recipe=small, epochs=1)
    assert again.network == classifier.bundle.network
    assert again.network.name == "tiny_pruned"
    assert again.network.differences[-1].startswith("without the branches inception_")


def test_states_are_compared_on_the_same_images(pruned, needs_one, small):
    before, _, after = pruned.states
    own = googlenet.evaluate(small, precision="fp32", against=needs_one)
    assert after.score == own.intervals["top1"]
    assert after.against.difference.value == pytest.approx(after.score.value - before.score.value)
    assert after.against == own.against.comparison
    low, high = after.speed.faster_in_bulk.low, after.speed.faster_in_bulk.high
    assert 0 < low <= after.speed.faster_in_bulk.value <= high
    assert before.speed.faster_alone.value == 1
    kept = json.loads((small / "pruning.json").read_text())
    assert kept["states"] == json.loads(json.dumps(pruned.to_dict()))["states"]
    assert kept["verdict"] == pruned.verdict


def test_stopped_anywhere_it_goes_on_to_the_same_weights(pruned, needs_one, small, tmp_path, monkeypatch, call):
    out, original = tmp_path / "small", Recorder.should_stop

    def should_stop(recorder):
        if recorder.trainer.progress.batch == 3:
            recorder.caught.append(2)
        return original(recorder)

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "should_stop", should_stop)
        with pytest.raises(StoppedError, match=f"continue with: googlenet prune {needs_one} .* --out {out} --resume"):
            googlenet.prune(needs_one, None, out, remove=6, images=IMAGES, **QUICK)
    with pytest.raises(RunError, match=r"holds a run: continue it with --resume"):
        googlenet.prune(needs_one, None, out, **QUICK)
    code, said, err = call("prune", needs_one, "--out", out, "--resume", "--workers", 0)
    assert code == 0, err
    assert (out / "bundle" / WEIGHTS).read_bytes() == (small / "bundle" / WEIGHTS).read_bytes()
    assert all(f"{branch.module} {branch.name}" in said for branch in pruned.removed)
    assert "fine-tuned" in said
    assert f"googlenet predict {out} IMAGE" in said
    assert bundles.read(out / "pruned").card.files == bundles.read(small / "pruned").card.files


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"remove": 7}, RecipeError, "--remove 7: tiny has 8 branches that can be removed, in 2 modules .* 6 or less"),
        ({"remove": 0}, RecipeError, "remove = 0: should be a number of branches, 1 or more"),
        ({"macs": 1.5}, RecipeError, "macs = 1.5: should be the share"),
        ({"macs": 0.01}, RecipeError, "--macs 0.01: with one branch left in each module, tiny still needs"),
        ({"macs": 0.7, "remove": 1}, RecipeError, "--remove and --macs exclude each other"),
        ({"network": "googlenet"}, RecipeError, "prune has no option 'network': it stays as it was"),
        ({"epoch": 1}, RecipeError, "prune has no option 'epoch': .*epochs"),
        ({"images": 1}, RecipeError, "images = 1: branches are ranked on 2 images or more"),
        ({"batch_size": -1}, RecipeError, "batch_size"),
    ],
)
def test_a_wrong_option_is_refused_before_any_work(trained_run, tmp_path, options, error, says):
    with pytest.raises(error, match=says):
        googlenet.prune(trained_run, None, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_pruned_is_refused_in_one_line(trained_run, tmp_path, call):
    def refused(run, *more, data=()):
        code, _, err = call("prune", run, *data, "--out", tmp_path / "out", *more)
        assert not (tmp_path / "out").exists()
        assert "\n" not in err.strip()
        return code, err

    other = write_coloured_classes(tmp_path / "two", classes=2)
    code, err = refused(trained_run, data=(other,))
    assert (code, "has the classes blue, green" in err) == (2, True)
    assert "prune with images of the same classes" in err
    with pytest.raises(RunError, match="is, or holds, the run that is pruned"):
        googlenet.prune(trained_run, None, trained_run.parent, overwrite=True)
    with pytest.raises(RunError, match="holds no pruning to resume"):
        googlenet.prune(trained_run, None, tmp_path / "out", resume=True)
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    plain = googlenet.create("lenet5", num_classes=3, in_channels=3)
    rewritten(run, plain, preprocessing=plain.network.preprocessing(28))
    assert refused(run)[1].startswith("googlenet: lenet5 has no branches to remove")
    normalised = TINY.remove("maxpool1").remove("inception_2").insert_after("inception_1", Stage("norm", [LRN()]))
    rewritten(run, googlenet.create(normalised, num_classes=3), preprocessing=normalised.preprocessing(32))
    assert "LRN at norm mixes channels: all before it have to stay" in refused(run)[1]
    card = bundles.read(run).card
    bundles.write(run / "bundle", card, {MODEL: bundles.read(run).read(MODEL)})
    code, err = refused(run)
    assert (code, "holds no weights" in err) == (1, True)


def test_errors_have_their_types(trained_run, tmp_path):
    assert issubclass(NetworkError, googlenet.GoogLeNetError)
    with pytest.raises(DataError, match="same classes"):
        googlenet.prune(trained_run, write_coloured_classes(tmp_path / "two", classes=2), tmp_path / "out")
    with pytest.raises(BundleError):
        googlenet.prune(tmp_path / "nothing", None, tmp_path / "out")
