"""Images with several labels, or none: learnt, stopped and resumed, shipped, predicted, measured, refused."""

import csv
import io
import json
import os
import re
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score
from torch.nn.functional import binary_cross_entropy_with_logits

import googlenet
from googlenet.data.image_set import LabelledData
from googlenet.errors import CheckpointError, DataError, StoppedError
from googlenet.training import run
from googlenet.training.task import SeveralLabels
from tests.conftest import SQUARES, write_squares

NAMES = tuple(SQUARES)


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    splits = {"train": write_squares(folder / "train", 240), "val": write_squares(folder / "val", 60)}
    return LabelledData("squares", NAMES, splits, made_here=False, multi_label=True)


@pytest.fixture(scope="module")
def trained(squares, tiny, tmp_path_factory):
    """A run that learnt them: 8 epochs without erasing, which would hide the squares."""
    out = tmp_path_factory.mktemp("several") / "run"
    recipe = out.with_name("recipe.toml")
    recipe.write_text(
        "epochs = 8\nbatch_size = 16\nlr = 0.01\naveraging = 0.9\nimage_size = 32\n"
        "[augmentation]\ncrop_area = [0.9, 1.0]\nerase = 0.0\n"
    )
    googlenet.train(squares, out, recipe=recipe, network=tiny)
    return out


def rows_of(out):
    with (out / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_it_learns_and_the_bundle_names_the_labels(trained, squares):
    rows, classifier = rows_of(trained), googlenet.load(trained)
    assert list(rows[0]) == [
        "epoch", "lr", "loss", "loss_main", "loss_aux1", "train_exact", "val_loss", "val_map", "val_exact",
        "images_per_second", "seconds", "waiting", "train_exact_aux1", "gradient_norm_main", "gradient_norm_aux1",
    ]  # fmt: skip
    card = classifier.card
    assert card.metrics["map"] == max(float(row["val_map"]) for row in rows) > 0.9
    assert card.multi_label
    assert len(card.thresholds) == 2
    right = 0
    for item, answer in zip(squares.val.items, classifier.predict_many(i.path for i in squares.val.items), strict=True):
        right += {NAMES.index(name) for name in answer.labels} == set(item.labels)
        assert list(answer.labels) == [n for n, p in answer.top() if p >= card.thresholds[NAMES.index(n)]]
        assert answer.label == answer.top(1)[0][0]
    assert right > 0.8 * len(squares.val)
    assert googlenet.verify(trained).largest_difference < 1e-4


def test_evaluation_agrees_with_training_and_with_scikit_learn(trained, squares):
    result, classifier = googlenet.evaluate(trained, squares), googlenet.load(trained)
    truth = np.array([[k in item.labels for k in range(2)] for item in squares.val.items])
    answers = np.stack([a.probabilities for a in classifier.predict_many(i.path for i in squares.val.items)])
    assert result.metrics.map == pytest.approx(average_precision_score(truth, answers, average="macro"))
    assert result.metrics.map == pytest.approx(classifier.card.metrics["map"], abs=1e-6)
    assert [label.positives for label in result.metrics.labels] == [30, 30]
    for label, expected in zip(result.metrics.labels, classifier.card.thresholds, strict=True):
        assert label.threshold == expected
        assert label.f1 > 0.8
    assert (result.data, result.split, result.images) == ("squares", "val", 60)
    json.dumps(result.metrics.to_dict(), allow_nan=False)


def test_stopped_and_resumed_it_ends_with_the_same_bundle(squares, tiny, tmp_path, monkeypatch):
    train = partial(googlenet.train, squares, recipe="default", network=tiny, epochs=2, batch_size=64, precision="fp32")
    whole = train(tmp_path / "whole")
    stepping, left = run.Display.step, [6]

    def stop_at_the_sixth(display, *arguments):
        stepping(display, *arguments)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(run.Display, "step", stop_at_the_sixth)
        with pytest.raises(StoppedError, match=r"continue with: googlenet train squares --out .* --resume"):
            train(tmp_path / "cut")
    cut = googlenet.train(squares, tmp_path / "cut", resume=True)
    assert cut.card.files["weights.safetensors"] == whole.card.files["weights.safetensors"]
    assert (cut.card.thresholds, cut.card.metrics) == (whole.card.thresholds, whole.card.metrics)
    only_ones = {name: part.where(lambda i: len(i.labels) == 1) for name, part in squares.splits.items()}
    with pytest.raises(CheckpointError, match=r"other images than those in squares: 120 gone \("):
        googlenet.train(replace(squares, splits=only_ones), tmp_path / "cut", resume=True)


def test_held_out_images_without_any_label_still_give_a_bundle(squares, tiny, tmp_path, capsys):
    none = squares.val.where(lambda item: not item.labels)
    data = replace(squares, splits={"train": squares.train, "val": none})
    card = googlenet.train(data, tmp_path / "run", network=tiny, epochs=1).card
    assert (card.metrics["map"], card.thresholds) == (0.0, (0.5, 0.5))
    assert re.search(
        r"val loss \d\.\d{3}  mAP 0\.00%  exact match \d+\.\d\d%  [\d,]+ images/s", capsys.readouterr().err
    )
    with pytest.raises(DataError, match="squares: none of the 15 images of val has a label: add images that have one"):
        googlenet.evaluate(tmp_path / "run", data)


def test_the_loss_is_torchs_with_targets_pulled_towards_one_half():
    random = torch.Generator().manual_seed(0)
    task, logits = SeveralLabels(3), torch.randn(4, 3, generator=random)
    targets = task.targets([(), (2,), (0, 1), (0, 1, 2)])
    assert targets.tolist() == [[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]]
    torch.testing.assert_close(task.loss(logits, targets), binary_cross_entropy_with_logits(logits, targets))
    smoothed = torch.where(targets == 1, 0.95, 0.05)
    torch.testing.assert_close(task.loss(logits, targets, 0.1), binary_cross_entropy_with_logits(logits, smoothed))
    weights = torch.tensor([0.5, 1.0, 4.0])
    weighed = binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)
    torch.testing.assert_close(task.loss(logits, targets, 0.0, weights), weighed)


# The command line.


def pick(squares, labels):
    return next(item.path for item in squares.val.items if item.labels == labels)


@pytest.fixture
def asked(trained, squares):
    """Images of both and of none that the network gets right, which nearly all are."""
    classifier = googlenet.load(trained)

    def right(labels):
        names = {NAMES[label] for label in labels}
        ours = (item.path for item in squares.val.items if item.labels == labels)
        return next(path for path in ours if set(classifier.predict(path).labels) == names)

    return right((0, 1)), right(())


def test_predict_names_all_labels_or_none(call, trained, asked):
    both, none = asked
    code, out, err = call("predict", trained, both, none)
    assert (code, err) == (0, "")
    assert re.search(r"(blue|red) \d+\.\d%, (blue|red) \d+\.\d%\s*$", out, re.M)
    assert re.search(rf"{none.name}\s+none\s*$", out, re.M)
    rows = json.loads(call("predict", trained, both, none, "--json")[1])
    assert [set(row["labels"]) for row in rows] == [{"blue", "red"}, set()]
    lines = list(csv.DictReader(io.StringIO(call("predict", trained, both, none, "--csv")[1])))
    assert [(set(line["labels"].split("|")), line["error"]) for line in lines] == [({"blue", "red"}, ""), ({""}, "")]
    rows = json.loads(call("predict", trained, none, "--top", 2, "--json")[1])
    assert rows[0]["class"] != rows[0]["class2"]  # asked for by number they are named whatever their thresholds say


@pytest.fixture
def folders(squares, tmp_path):
    """The images that have one label, as a folder with one sub-folder per class."""
    for item in squares.split("all").items:
        if len(item.labels) == 1:
            to = tmp_path / "one each" / NAMES[item.labels[0]] / f"{item.path.parent.name}-{item.name}"
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(item.path.read_bytes())
    return tmp_path / "one each"


def test_evaluate_for_people_and_for_programs_on_images_of_one_label_each(call, trained, folders, tmp_path):
    code, out, err = call("evaluate", trained, folders, "--split", "all", "--plot", tmp_path / "bars.png")
    assert (code, err) == (0, "")
    for part in ("average precision", "threshold", "mAP ", "micro F1", "macro F1", "on 150 images", "bars.png"):
        assert part in out
    with Image.open(tmp_path / "bars.png") as image:
        assert min(image.size) > 200
    document = json.loads(call("evaluate", trained, folders, "--json")[1])
    assert set(document["labels"]["red"]) == {
        "positives", "average_precision", "precision", "recall", "f1", "threshold",
    }  # fmt: skip
    assert (trained / "average_precision.png").exists()


def test_a_list_with_several_labels_at_the_command_line(call, trained_run, squares, tmp_path):
    listing = tmp_path / "squares.csv"
    rows = [(i.path, "|".join(NAMES[n] for n in i.labels), s) for s, part in squares.splits.items() for i in part.items]
    listing.write_text("path,label,split\n" + "".join(f"{path},{labels},{split}\n" for path, labels, split in rows))
    small = ("--network", "lenet5", "--image-size", "32", "--epochs", "1", "--class-balance", "weighted_loss")
    code, out, err = call("train", listing, "--out", tmp_path / "run", *small)
    assert code == 0
    assert re.search(r"^lenet5: mAP \d+\.\d\d% on held-out images \(epoch 1\)$", out, re.M)
    assert re.search(r"mAP \d+\.\d\d%", err)
    assert call("evaluate", tmp_path / "run", listing, "--json")[0] == 0
    for arguments, says in (
        (("evaluate", trained_run, listing), "has images with several labels or none"),
        (
            ("compare", "lenet5", "--train", listing, "--image-size", "32"),
            "top-1 needs one label per image",
        ),
    ):
        code, out, err = call(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert says in err


# What does not go together.


def test_a_classifier_of_one_class_is_not_measured_on_several_labels(trained_run, squares):
    with pytest.raises(DataError, match=r"^squares has images with several labels or none, .* predicts one class"):
        googlenet.evaluate(trained_run, squares)


def test_several_labels_must_be_said(squares):
    with pytest.raises(DataError, match=r"squares: 000\.png has 0 labels, not 1: multi_label=True allows it"):
        replace(squares, multi_label=False)


def test_one_label_each_by_hand_is_trained_on_as_ever(squares, tiny, tmp_path):
    ones = {name: part.where(lambda i: len(i.labels) == 1) for name, part in squares.splits.items()}
    data = replace(squares, splits=ones, multi_label=False)
    card = googlenet.train(data, tmp_path / "run", network=tiny, epochs=1).card
    assert (card.multi_label, card.thresholds) == (False, ())
    answer = googlenet.load(tmp_path / "run").predict(pick(squares, (0,)))
    assert answer.labels == (answer.label,)
    assert 0 <= googlenet.evaluate(tmp_path / "run", data).metrics.top1 <= 1
