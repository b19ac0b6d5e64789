"""Frozen stages are computed once, a linear classifier comes first, and phases deepen: stopped anywhere, the same."""

import itertools
import os
import shutil
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

import googlenet
from googlenet.errors import GoogLeNetError, NetworkError, RecipeError, StoppedError
from googlenet.models.build import create
from googlenet.preprocessing import Preprocessing
from googlenet.training import checkpoint, linear, run
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.deepening import last_frozen
from googlenet.training.frozen import FrozenStages, maps_shape
from googlenet.training.objective import Objective
from googlenet.training.phases import phases_of
from googlenet.training.recipe import Recipe
from googlenet.training.task import OneLabel, SeveralLabels
from googlenet.training.trainer import Trainer

GRADUAL = {"unfreeze": "gradual", "cached_views": 2, "cache_after": "inception_1", "cached_share": 0.6}
EPOCHS = 5  # of 3 steps: 3 on maps, then 2 of all stages


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Two classes that no colour is called by."""
    noise, root = np.random.default_rng(1), tmp_path_factory.mktemp("shapes")
    for name, value in (("dark", 100), ("light", 150)):
        (root / name).mkdir()
        for n in range(15):
            pixels = np.clip(value + noise.normal(0, 60, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{n:02d}.png")
    return root


@pytest.fixture(scope="module")
def train(shapes, trained_run):
    return partial(googlenet.train, shapes, weights=trained_run, epochs=EPOCHS, batch_size=8, precision="fp32",
                   workers=0, **GRADUAL)  # fmt: skip


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """The run that nothing happened to."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(out=out)
    return out


def last(out):
    return checkpoint.load(Checkpoints(out / "checkpoints").newest_first()[0])


def history(out):
    return [(row["epoch"], row["loss"], row["val_loss"]) for row in last(out)[1]["progress"]["history"]]


def assert_same(one, other):
    """Weights, average, optimizer, random numbers, losses and bundle are bit for bit equal."""
    (a, _), (b, _) = last(one), last(other)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert history(one) == history(other)
    bundles = [(out / "bundle" / "weights.safetensors").read_bytes() for out in (one, other)]
    assert bundles[0] == bundles[1]


def terminate(*_):
    os.kill(os.getpid(), signal.SIGTERM)


def stop_at(monkeypatch, owner, name, count):
    """Send SIGTERM after a method was called ``count`` times."""
    original, calls = getattr(owner, name), []

    def wrapped(self, *arguments):
        calls.append(name)
        if len(calls) == count:
            terminate()
        return original(self, *arguments)

    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("by", ["openvino", "torch"])
def test_maps_are_what_the_frozen_stages_put_out_and_training_on_them_the_same_as_on_images(tiny, by, precision):
    torch.manual_seed(0)
    rule, labels = Preprocessing(32), torch.tensor([0, 1, 2, 0])
    network = create(replace(tiny, aux=[]), num_classes=3).eval()
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    frozen = FrozenStages(network, rule, "inception_1", precision, torch.device("cpu"))
    if by == "torch":
        frozen.request = None
    maps = frozen(images)
    assert maps.shape == (4, *maps_shape(network, rule, "inception_1"))
    whole = Objective(network, rule, 0.1, OneLabel(3)).eval()
    rest = Objective(network, rule, 0.1, OneLabel(3), after="inception_1").eval()
    from_images, from_maps = whole(images, labels), rest(maps.permute(0, 3, 1, 2), labels)
    close = {"rtol": 2e-3, "atol": 2e-3} if precision == "fp32" else {"rtol": 5e-2, "atol": 5e-2}
    torch.testing.assert_close(from_maps.logits, from_images.logits, **close)
    torch.testing.assert_close(from_maps.total, from_images.total, **close)


def test_a_linear_classifier_comes_first_then_the_last_stages_then_all(whole, trained_run, train, tmp_path):
    epochs = [epoch for epoch, _, _ in history(whole)]
    assert epochs == list(range(EPOCHS + 1))
    progress = last(whole)[1]["progress"]
    assert (progress["phase"], progress["phase_start"], progress["maps"]) == (1, 3, {})
    assert not list((whole / "checkpoints").glob("maps-*"))
    train(out=tmp_path / "run", cached_share=1.0, epochs=2)
    before, after = (load_file(out / "bundle" / "weights.safetensors") for out in (trained_run, tmp_path / "run"))
    weights = [name for name in after if name in before and "num_batches" not in name]  # counters start anew
    changed = {name for name in weights if not torch.equal(before[name], after[name])}
    assert changed
    assert {name.partition(".")[0] for name in changed} == {"inception_2", "fc"}
    assert (whole / "log.csv").read_text().splitlines()[1].startswith("0,")


# Of 24 training images and 6 held-out ones in blocks of 16, 3 steps an epoch: the held-out maps, two views, then steps.
@pytest.mark.parametrize(("owner", "name", "count"), [
    (FrozenStages, "__call__", 5), (Trainer, "_validate", 1), (Trainer, "_step", 7), (Trainer, "_step", 11),
])  # fmt: skip
def test_stopped_anywhere_it_ends_the_same(train, whole, tmp_path, monkeypatch, owner, name, count):
    with monkeypatch.context() as patched:
        stop_at(patched, owner, name, count)
        with pytest.raises(StoppedError):
            train(out=tmp_path / "cut")
    train(out=tmp_path / "cut", resume=True, workers=2 if count == 7 else 0)
    assert_same(whole, tmp_path / "cut")


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_damaged_maps_are_computed_again(train, whole, tmp_path, monkeypatch, damage):
    with monkeypatch.context() as patched:
        stop_at(patched, Trainer, "_step", 5)
        with pytest.raises(StoppedError):
            train(out=tmp_path / "cut")
    for path in (tmp_path / "cut" / "checkpoints").glob("maps-*"):
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(bytes(path.stat().st_size))
    train(out=tmp_path / "cut", resume=True)
    assert_same(whole, tmp_path / "cut")


def test_maps_that_come_out_otherwise_are_reported(train, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        stop_at(patched, Trainer, "_step", 5)
        with pytest.raises(StoppedError):
            train(out=tmp_path / "cut")
    (tmp_path / "cut" / "checkpoints" / "maps-0.bin").unlink()
    original = FrozenStages.__call__
    monkeypatch.setattr(FrozenStages, "__call__", lambda self, images: original(self, images) + 1)
    train(out=tmp_path / "cut", resume=True)
    assert "maps of view 0 were lost, and come out otherwise: the weights will not be bit for bit" in (
        " ".join(capsys.readouterr().err.split())
    )


def test_with_little_room_fewer_views_are_kept_and_with_none_the_stages_are_computed_anew(train, tmp_path, capsys):
    bundle = train(out=tmp_path / "one", epochs=2, cached_views=50, cache_gib=0.0015)
    kept = bundle.card.recipe["cached_views"]
    assert 1 <= kept < 50
    assert f"{kept} of 50 views are kept; --cache-gib allows more" in " ".join(capsys.readouterr().err.split())
    none = train(out=tmp_path / "none", epochs=2, cache_gib=1e-6)
    assert none.card.recipe["cached_views"] == 0
    assert "they are computed anew in every epoch" in " ".join(capsys.readouterr().err.split())


def test_minutes_decide_what_is_frozen_and_it_is_recorded(train, tmp_path):
    bundle = train(out=tmp_path / "run", epochs=None, minutes=0.08, cache_after=None)
    recipe = bundle.card.recipe
    assert recipe["cache_after"] in {"conv1", "inception_1", "maxpool1", "inception_2", "avgpool", "dropout"}
    assert recipe["minutes"] == 0.08


def test_an_unreadable_image_has_no_maps(train, shapes, tmp_path):
    photos = shutil.copytree(shapes, tmp_path / "photos")
    for name in ("00", "01", "02", "03"):
        (photos / "dark" / f"{name}.png").write_bytes(b"no image")
    train.func(photos, tmp_path / "run", **{**train.keywords, "epochs": 3})
    assert (tmp_path / "run" / "unreadable.csv").read_text().count("\n") == 5


def test_with_mirror_the_held_out_images_have_maps_of_both_views(train, tmp_path, monkeypatch):
    seen = []
    original = run.Display.maps
    monkeypatch.setattr(
        run.Display, "maps", lambda self, *arguments: (seen.append(arguments[0]), original(self, *arguments))
    )
    train(out=tmp_path / "run", epochs=2, mirror=True, cached_share=1.0)
    assert set(seen) == {"held-out", "held-out-mirrored", "0", "1"}
    assert last(tmp_path / "run")[1]["progress"]["history"][0]["mirror_gain"] is not None


def test_a_classifier_of_several_stages_is_fitted_then_trained_with_its_statistics(
    train, shapes, trained_run, tmp_path
):
    bundle = train(out=tmp_path / "run", epochs=2, cached_share=1.0, pool_from="inception_1", freeze_norm=True)
    before, after = (load_file(out / "bundle" / "weights.safetensors") for out in (trained_run, tmp_path / "run"))
    assert bundle.network.pooled == ("inception_1",)
    assert after["fc.weight"].shape == (2, 20 + 24)
    statistics = [name for name in after if "running" in name]
    assert statistics
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    assert any(not torch.equal(before[name], after[name]) for name in after if name.endswith("bn.weight"))
    assert googlenet.verify(tmp_path / "run").largest_difference < 1e-4
    said = "the classifier of tiny sees the maps of 2 stages: .*; explain it without branches"
    with pytest.raises(GoogLeNetError, match=said):
        googlenet.load(tmp_path / "run").branches(shapes / "dark" / "00.png")


def test_maps_behind_what_the_classifier_sees_cannot_be_kept(train, tmp_path):
    with pytest.raises(
        RecipeError, match="the maps after maxpool1 are to be kept, but the classifier sees those of inception_1"
    ):
        train(out=tmp_path / "run", pool_from="inception_1", cache_after="maxpool1")
    with pytest.raises(NetworkError, match="no stage 'nine'"):
        train(out=tmp_path / "run", pool_from="nine")
    assert not (tmp_path / "run").exists()


def test_the_linear_classifier_is_as_good_as_scikit_learns():
    random = np.random.default_rng(0)
    centres = random.normal(0, 1, (3, 20))
    y = random.integers(0, 3, 400)
    x = (centres[y] + random.normal(0, 1.5, (400, 20))).astype(np.float32)
    parts = [(torch.from_numpy(x[part]), torch.from_numpy(y[part])) for part in (slice(0, 250), slice(250, None))]
    weight, bias = linear.fit(*parts, OneLabel(3))
    (x_train, y_train), (x_val, y_val) = parts
    loss = torch.nn.functional.cross_entropy(x_val @ weight.T + bias, y_val).item()
    theirs = [
        LogisticRegression(C=c, max_iter=1000).fit(x_train.numpy(), y_train.numpy()).predict_log_proba(x_val.numpy())
        for c in (0.001, 0.01, 0.1, 1, 10)
    ]
    assert loss < 1.02 * min(-each[np.arange(150), y_val.numpy()].mean() for each in theirs)


def test_the_linear_classifier_takes_several_labels():
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.normal(0, 1, (200, 5)).astype(np.float32))
    targets = (x[:, :2] > 0).float()
    weight, bias = linear.fit((x, targets), (x, targets), SeveralLabels(2))
    assert ((x @ weight.T + bias > 0) == targets.bool()).float().mean() > 0.97


@pytest.mark.parametrize(("most", "freeze", "found"), [
    (1.0, None, "conv1"), (0.0, None, "dropout"), (1.0, "inception_1", "inception_1"),
])  # fmt: skip
def test_the_first_stages_that_leave_a_share_of_the_cost_to_learn(tiny, most, freeze, found):
    assert last_frozen(tiny, 32, most, freeze) == found


def test_phases_share_the_schedule_without_gaps():
    for share, epochs in ((0.6, 5), (0.5, 3), (0.01, 4), (1.0, 4)):
        recipe = Recipe(unfreeze="gradual", cache_after="conv1", cached_share=share, epochs=epochs, cached_views=1)
        phases = phases_of(recipe)
        assert [phases[0].begin, phases[-1].end] == [0.0, 1.0]
        assert all(a.end == b.begin for a, b in itertools.pairwise(phases))
        assert all((phase.begin * epochs) % 1 == pytest.approx(0) for phase in phases)


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"weights": "none"}, RecipeError, 'unfreeze = "gradual" without --weights'),
    ({"cache_after": "inception_9"}, NetworkError, "no stage 'inception_9'"),
    ({"cache_after": "fc"}, RecipeError, "leaves nothing of tiny to learn"),
    ({"cache_after": "conv1", "freeze": "inception_1"}, RecipeError, "'conv1' is before --freeze inception_1"),
    ({"cached_share": 0.0}, RecipeError, "cached_share = 0.0"),
    ({"cache_gib": 0.0}, RecipeError, "cache_gib = 0.0"),
])  # fmt: skip
def test_what_cannot_be_is_refused_before_any_work(train, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        train(out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
