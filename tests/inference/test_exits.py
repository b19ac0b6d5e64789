"""Early exit: the graph in parts, thresholds by Learn-then-Test, and predictions by the first head that is sure."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import googlenet
from googlenet.benchmarking import early_exit as making
from googlenet.bundle import EXIT_HEADS, EXITS
from googlenet.errors import BundleError, DeviceError, GoogLeNetError
from googlenet.evaluation import early_exits
from googlenet.inference.early import ExitClassifier, why_off
from googlenet.inference.exits import Exits, Parts, read_exits
from tests.conftest import write_brightness


@pytest.fixture(scope="module")
def run(trained_run, tmp_path_factory):
    """The shared run, which may answer early."""
    own = tmp_path_factory.mktemp("exits") / "run"
    shutil.copytree(trained_run, own)
    found = googlenet.early_exit(own, tolerance=0.3, confidence=0.9)
    assert found.heads == ("aux1",)
    return own


@pytest.fixture(scope="module")
def photos(trained_run):
    return sorted((trained_run.parent / "photos").rglob("*.png"))


def with_exits(run, path, **changes):
    """A copy of a run whose thresholds or gains are others."""
    shutil.copytree(run, path)
    bundle = googlenet.load(path).bundle
    making.with_files(bundle, {EXITS: replace(read_exits(bundle), **changes).to_bytes()}, bundle.path)
    return path


@pytest.fixture(scope="module")
def pixels(run, photos):
    classifier = googlenet.load(run, "fp32")
    return np.stack([classifier.preprocess(path) for path in photos[::7]])


def test_the_parts_joined_are_the_whole_graph_and_the_heads_are_those_of_pytorch(run, pixels):
    classifier = googlenet.load(run, "fp32", exit="always")
    head, full = Parts(classifier.bundle, classifier.engine).every(pixels)
    np.testing.assert_allclose(full, classifier.engine.probabilities(pixels), atol=1e-5)
    network = googlenet.load_module(run).eval()
    preprocessing = classifier.card.preprocessing
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - torch.tensor(preprocessing.mean)[:, None, None]) / (
        torch.tensor(preprocessing.std)[:, None, None]
    )
    with torch.inference_mode():
        (logits,) = network.forward_with_aux(x).aux
    # one temperature for all images, found again from the two answers
    ratio = (logits - logits.mean(1, keepdim=True)).numpy() / (np.log(head) - np.log(head).mean(1, keepdims=True))
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=0.02)
    np.testing.assert_allclose(torch.softmax(logits / float(np.median(ratio)), 1), head, atol=1e-4)


def test_a_threshold_that_is_never_reached_gives_the_full_answers(run, photos, tmp_path):
    never = googlenet.load(with_exits(run, tmp_path / "never", thresholds=(2.0,)), "fp32", exit="always")
    full = googlenet.load(run, "fp32")
    np.testing.assert_allclose(never.probabilities(photos), full.probabilities(photos), atol=1e-5)
    found, expected = never.predict(photos[0]), full.predict(photos[0])
    assert (found.head, found.label) == (None, expected.label)


def test_each_image_is_answered_by_the_first_head_that_is_sure(run, photos, pixels, tmp_path):
    (head, full) = (each for each in _every(run, pixels))
    middle = float(np.median(head.max(1)))
    classifier = googlenet.load(with_exits(run, tmp_path / "half", thresholds=(middle,)), exit="always")
    answers, by = classifier._parts.answers(pixels, (middle,))
    sure = head.max(1) >= middle
    assert 0 < sure.sum() < len(sure)
    np.testing.assert_array_equal(by, np.where(sure, 0, 1))
    np.testing.assert_allclose(answers, np.where(sure[:, None], head, full), atol=1e-5)
    found = classifier.predict(photos[::7])
    assert [each.head for each in found] == ["aux1" if each else None for each in sure]
    assert pickle.loads(pickle.dumps(found[0])).head == found[0].head
    again = pickle.loads(pickle.dumps(classifier))
    assert isinstance(again, ExitClassifier)
    assert again.predict(photos[0]) == found[0]


def _every(run, pixels):
    classifier = googlenet.load(run, exit="always")
    return Parts(classifier.bundle, classifier.engine).every(pixels)


def test_what_is_of_the_full_network_stays_so(run, photos, tmp_path):
    early = googlenet.load(with_exits(run, tmp_path / "all", thresholds=(0.0,)), exit="always")
    full = googlenet.load(run, "fp32")
    found = early.predict(photos[0])
    assert (found.head, found.p_value, early.tells_unknown) == ("aux1", None, False)
    np.testing.assert_allclose(found.heatmap("red"), full.heatmap(photos[0], "red"), atol=1e-5)
    np.testing.assert_allclose(early.embed(photos[0]), full.embed(photos[0]), atol=1e-5)
    with pytest.raises(GoogLeNetError, match="sets are calibrated by answers of the full network"):
        found.set(0.9)


@pytest.mark.parametrize("channels", [1, 5])
def test_of_any_number_of_channels(channels, tiny, tmp_path):
    photos = write_brightness(tmp_path / "photos", per_class=60, channels=channels)
    how = {"recipe": "default", "network": tiny, "in_channels": channels, "epochs": 3, "batch_size": 8, "workers": 0}
    googlenet.train(photos, tmp_path / "run", **how)
    found = googlenet.early_exit(tmp_path / "run", tolerance=0.3, confidence=0.9)
    making.with_files(found.bundle, {EXITS: replace(found.exits, thresholds=(0.0,)).to_bytes()}, found.bundle.path)
    early, network = googlenet.load(tmp_path / "run", exit="always"), googlenet.load_module(tmp_path / "run")
    preprocessing = early.card.preprocessing
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (preprocessing.mean, preprocessing.std))
    images = sorted(photos.rglob("*.*"))[::9]
    x = torch.from_numpy(np.stack([early.preprocess(image) for image in images])).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        (logits,) = network.forward_with_aux((x - mean) / std).aux
    expected = [early.class_names[at] for at in logits.argmax(1)]
    assert [(each.head, each.label) for each in early.predict(images)] == [("aux1", name) for name in expected]


def test_auto_answers_early_only_where_that_was_worth_it(run, photos, tmp_path, call):
    slow = with_exits(run, tmp_path / "slow", gains=(0.3, 0.04))
    fast = with_exits(run, tmp_path / "fast", gains=(0.3, 0.1), thresholds=(0.0,))
    assert not isinstance(googlenet.load(slow, exit="auto"), ExitClassifier)
    assert isinstance(googlenet.load(slow, exit="always"), ExitClassifier)
    assert isinstance(googlenet.load(fast, exit="auto"), ExitClassifier)
    assert not isinstance(googlenet.load(fast), ExitClassifier)
    code, out, err = call("predict", slow, photos[0], "--exit", "auto", "--json")
    assert code == 0
    assert "exit stays off: the gain measured is 30 % for one image and 4 % in batches of 32" in err
    assert "head" not in json.loads(out)[0]
    code, out, _ = call("predict", fast, photos[0], "--exit", "auto", "--json")
    assert (code, json.loads(out)[0]["head"]) == (0, "aux1")
    code, out, _ = call("predict", fast, photos[0], "--exit", "auto", "--csv")
    assert out.splitlines()[0] == "path,error,class,probability,head"
    report = googlenet.predict(fast, photos, tmp_path / "early.csv", exit="always")
    assert report.images == len(photos)
    with pytest.raises(GoogLeNetError, match="holds answers of another classifier"):
        googlenet.predict(fast, photos, tmp_path / "early.csv", resume=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"exit": "sometimes"}, GoogLeNetError, "exit is off, auto or always, got 'sometimes'"),
        ({"exit": "auto", "crops": 10}, GoogLeNetError, "exit=auto and crops=10 exclude each other"),
        ({"exit": "auto", "precision": "int8"}, DeviceError, "computes in fp32 on the cpu.*leave precision=int8 out"),
        ({"exit": "always", "device": "gpu"}, DeviceError, "leave device=gpu out"),
    ],
)
def test_what_excludes_early_exit_is_said_in_one_line(run, options, error, message):
    with pytest.raises(error, match=message) as caught:
        googlenet.load(run, **options)
    assert "\n" not in str(caught.value)


def test_bundles_that_cannot_answer_early_say_so(trained_run, run, call):
    with pytest.raises(BundleError, match="has no early exits: add them with `googlenet early-exit"):
        googlenet.load(trained_run, exit="auto")
    for option in ("--crops=10", "--sets=0.9", "--unknown=0.05", "--engine=ray"):
        code, _, err = call("predict", run, "x.png", "--exit", "auto", option)
        assert (code, "--exit and" in err) == (2, True), err
    bundle = googlenet.load(trained_run).bundle
    for changes, message in (
        ({"multi_label": True}, "has several labels"),
        ({"mirror": True}, "answers with mirror images"),
        ({"network": {"Network": {**bundle.card.network["Network"], "aux": []}}}, "has no auxiliary heads"),
    ):
        with pytest.raises(BundleError, match=message):
            making.check_heads(replace(bundle, card=replace(bundle.card, **changes)))


def test_too_few_images_name_the_number_that_is_needed(trained_run, call):
    code, _, err = call("early-exit", trained_run)
    assert code == 1
    assert "needs 399 held-out images, and there are 24" in err
    code, _, err = call("early-exit", trained_run, "--tolerance", "1.5")
    assert "tolerance is between 0 and 1, got 1.5" in err


def test_the_command_says_what_was_promised_and_measured(run, call, monkeypatch, tmp_path):
    own = tmp_path / "run"
    shutil.copytree(run, own)
    monkeypatch.setattr(making, "gains_of", lambda *_: (0.02, 0.5))
    code, out, err = call("early-exit", own, "--tolerance", "0.3", "--confidence", "0.9")
    assert code == 0, err
    assert "at most 30 % other answers than the full network's, at 90 %" in out + err
    assert "exit stays off: the gain measured is 2 % for one image and 50 % in batches of 32" in out + err
    assert googlenet.verify(own).images
    assert {EXITS, EXIT_HEADS[0]} < set(googlenet.load(own).bundle.card.files)
    assert why_off(googlenet.load(own).bundle)


def test_a_damaged_or_foreign_head_is_refused(run, tmp_path):
    bundle = googlenet.load(run).bundle
    for name, content, message in (
        (EXIT_HEADS[0], bundle.read("model.onnx"), "does not take features"),
        (EXITS, b"nothing", "damaged"),
        (EXITS, Exits((0.5, 0.5), (0.1, 0.1), 0.01, 0.95, 300, 0).to_bytes(), "2 thresholds, the network 1 heads"),
    ):
        own = shutil.copytree(run, tmp_path / f"{name}{len(content)}")
        making.with_files(bundle, {name: content}, own / "bundle")
        with pytest.raises(BundleError, match=message):
            googlenet.load(own, exit="always").predict(np.zeros((40, 40, 3), np.uint8))


# Learn-then-Test.


def test_p_values_are_the_exact_binomial_ones():
    for differing, images, tolerance in ((0, 299, 0.01), (5, 1000, 0.01), (40, 500, 0.1)):
        expected = stats.binomtest(differing, images, tolerance, alternative="less").pvalue
        assert early_exits.p_values(differing, images, tolerance) == pytest.approx(expected)


def test_so_many_images_are_needed_and_one_fewer_is_too_few():
    for tolerance, confidence in ((0.01, 0.95), (0.05, 0.9), (0.02, 0.99)):
        needed = early_exits.images_needed(tolerance, confidence)
        full = np.tile(np.array([[0.9, 0.1]], np.float32), (needed, 1))
        found = early_exits.choose_threshold([full.astype(float)], full, tolerance, confidence)
        assert (found.shares, found.differing) == ((1.0,), 0)
        with pytest.raises(GoogLeNetError, match=f"needs {early_exits.held_out_needed(tolerance, confidence):,} held"):
            early_exits.choose_threshold([full[1:].astype(float)], full[1:], tolerance, confidence)


def test_the_promise_holds_in_simulated_trials():
    """A head is wrong as often as it says: the true error of the chosen threshold exceeds ε in at most δ of trials."""
    random = np.random.default_rng(0)
    images, tolerance, confidence, trials = 400, 0.05, 0.9, 300
    broken = 0
    for _ in range(trials):
        sure = 0.5 + 0.5 * random.random((images, 1))  # uniform: P(sure ≥ t) = 2 (1 - t)
        wrong = random.random(images) > sure[:, 0]
        head = np.hstack([sure, 1 - sure])
        full = np.where(wrong[:, None], 1 - head, head).round().astype(np.float32)
        found = early_exits.choose_threshold([head], full, tolerance, confidence)
        at = max(found.threshold, 0.5)
        true = (1 - at) ** 2 if found.threshold <= 1 else 0.0  # ∫ (1 - s) 2 ds from t to 1
        broken += true > tolerance
    assert stats.binomtest(broken, trials, 1 - confidence, alternative="greater").pvalue > 0.01
    assert broken > 0  # and it is not idle: thresholds come close to what is allowed
