"""Classes of unequal size: what is drawn, what is weighed, and what is said about it."""

from __future__ import annotations

import csv
from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

import googlenet
from googlenet.data.image_set import ImageSet, LabelledImage
from googlenet.errors import CheckpointError, RecipeError, RunError
from googlenet.models.build import create
from googlenet.preprocessing import Preprocessing
from googlenet.training.loading import BatchSampler, ImageDataset, SampleKey
from googlenet.training.objective import Objective, balancing_weights
from googlenet.training.recipe import Augmentation
from googlenet.training.task import OneLabel

UNEQUAL = [0] * 100 + [1] * 37 + [2] * 3


def drawn(classes, epoch=0, seed=0, batch_size=10, start=0):
    batches = BatchSampler(len(classes), batch_size, seed, shuffle=True, shape=lambda *_: (16, 1), classes=classes)
    batches.epoch, batches.start = epoch, start
    return list(batches)


# --class-balance oversample


@pytest.mark.parametrize("classes", [UNEQUAL, [0, 0, 0, 0, 0, 0, 0, 1, 1, 2], [0] * 5 + [3] * 95])
def test_every_class_is_drawn_as_often_and_an_epoch_is_as_long_as_ever(classes):
    places = [place for batch in drawn(classes) for place in batch]
    assert len(places) == len(classes)
    counts = Counter(classes[place.index] for place in places)
    assert counts.keys() == set(classes)
    assert max(counts.values()) - min(counts.values()) <= 1
    times = Counter(place.index for place in places)
    for label in set(classes):  # none comes again before all of its class have come
        of_class = [times[index] for index, each in enumerate(classes) if each == label]
        assert max(of_class) - min(of_class) <= 1


def test_what_is_drawn_depends_on_seed_and_epoch_alone():
    assert drawn(UNEQUAL, epoch=2) == drawn(UNEQUAL, epoch=2)
    assert drawn(UNEQUAL, epoch=2) != drawn(UNEQUAL, epoch=3)
    assert drawn(UNEQUAL, seed=1) != drawn(UNEQUAL, seed=2)
    assert drawn(UNEQUAL, epoch=2, start=5) == drawn(UNEQUAL, epoch=2)[5:]


def test_classes_are_mixed_within_the_epoch():
    firsts = [UNEQUAL[place.index] for batch in drawn(UNEQUAL)[:3] for place in batch]
    assert set(firsts) == {0, 1, 2}


def test_more_classes_than_images_that_fit_an_epoch_are_no_error():
    assert len([place for batch in drawn(list(range(7))) for place in batch]) == 7


def test_an_image_that_comes_again_is_varied_anew_and_the_same_each_time():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    images = ImageSet(("a",), (LabelledImage("1", (0,), None, pixels),))
    dataset = ImageDataset(images, Preprocessing(size=16), 0, Augmentation())
    first, again, third = (dataset[SampleKey(4, 0, 16, before)][2] for before in range(3))
    assert torch.equal(again, dataset[SampleKey(4, 0, 16, 1)][2])
    assert not torch.equal(first, again)
    assert not torch.equal(again, third)


# --class-balance weighted_loss


def test_weights_are_those_of_scikit_learn():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=np.array(UNEQUAL))
    assert balancing_weights([100, 37, 3]).numpy() == pytest.approx(expected)
    assert torch.isfinite(balancing_weights([5, 0])).all()


def test_the_loss_is_pytorchs_weighted_cross_entropy(tiny):
    network = create(tiny, num_classes=3).eval()
    weights, preprocessing = balancing_weights([100, 37, 3]), Preprocessing(size=32)
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    with torch.no_grad():
        losses = Objective(network, preprocessing, 0.1, OneLabel(3), weights)(images, labels)
        plain = Objective(network, preprocessing, 0.1, OneLabel(3))(images, labels)
    expected = functional.cross_entropy(losses.logits, labels, weights, reduction="none", label_smoothing=0.1)
    assert losses.parts[0] == pytest.approx(expected.mean().item())
    assert losses.parts[0] != plain.parts[0]


# A whole run


def write_split(root, counts):
    """Write train/ with so many images of each class, and val/ with two of each."""
    for label, (name, count) in enumerate(counts.items()):
        for split, number in (("train", count), ("val", 2)):
            (root / split / name).mkdir(parents=True)
            for n in range(number):
                Image.new("RGB", (32, 32), (10 * label, 4 * n, 99)).save(root / split / name / f"{n:02d}.png")
    return root


def train(data, out, tiny, **options):
    return googlenet.train(data, out, network=tiny, epochs=1, batch_size=8, precision="fp32", **options)


def test_a_run_is_balanced_resumed_alike_and_recorded(tmp_path, tiny, capsys):
    unequal = write_split(tmp_path / "photos", {"blue": 4, "green": 11, "red": 51})
    cards = {
        class_balance: train(unequal, tmp_path / class_balance, tiny, class_balance=class_balance).card
        for class_balance in ("none", "weighted_loss", "oversample")
    }
    assert {name: card.recipe["class_balance"] for name, card in cards.items()} == {name: name for name in cards}
    weights = [load_file(tmp_path / name / "bundle" / "weights.safetensors")["fc.weight"] for name in cards]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    train(unequal, tmp_path / "again", tiny, class_balance="oversample")
    assert torch.equal(weights[2], load_file(tmp_path / "again" / "bundle" / "weights.safetensors")["fc.weight"])
    err = capsys.readouterr().err
    assert err.count("training images: blue 4, green 11, red 51") == 4
    assert (
        err.count("red has 13 times the images of blue, which may be learnt poorly: --class-balance weighted_loss or ")
        == 1
    )
    with pytest.raises(RunError, match=r"--class-balance none \(it has oversample\)"):
        googlenet.train(unequal, tmp_path / "again", class_balance="none", resume=True)


def test_sampling_by_class_takes_one_class_an_image(coloured, tmp_path, tiny):
    rows = [(path, path.parent.name) for path in sorted(coloured.glob("*/*.png"))]
    rows[0] = (rows[0][0], "red|blue")
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    with pytest.raises(
        RecipeError,
        match=r"oversample needs images of one class each: those of .* have several or none; use --class-balance",
    ):
        train(tmp_path / "list.csv", tmp_path / "run", tiny, class_balance="oversample")
    assert not (tmp_path / "run").exists()


def test_a_list_that_changed_is_not_resumed(coloured, tmp_path, tiny):
    rows = [(path, path.parent.name) for path in sorted(coloured.glob("*/*.png"))]
    listed = tmp_path / "list.csv"
    with listed.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    card = train(listed, tmp_path / "run", tiny).card
    assert card.data["split"] == "drawn within each class"
    assert googlenet.evaluate(tmp_path / "run", listed).metrics.top1 == pytest.approx(card.metrics["top1"])
    listed.write_text(listed.read_text().replace("000.png,red", "000.png,blue"))
    with pytest.raises(CheckpointError, match="was started on other images"):
        googlenet.train(listed, tmp_path / "run", resume=True)


def test_many_classes_are_said_in_short(tmp_path, tiny, capsys):
    photos = write_split(tmp_path / "photos", {f"c{label:02d}": 3 + label for label in range(21)})
    train(photos, tmp_path / "run", tiny)
    err = capsys.readouterr().err
    assert "training images of the smallest, median and largest class: 3 of c00, 13 of c10, 23 of c20\n" in err
    assert "--class-balance" not in err


def test_a_wrong_balance_is_one_line(call, coloured, tmp_path):
    code, out, err = call("train", coloured, "--out", tmp_path / "run", "--class-balance", "weights")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'none', 'weighted_loss', 'oversample'" in err


def test_batches_that_come_together_are_those_that_come_apart():
    def drawn(start, *shape):
        batches = BatchSampler(50, 8, 0, shuffle=True, shape=lambda *_: shape)
        batches.start = start
        return list(batches)

    apart = drawn(0, 32, 1)
    together = drawn(0, 32, 4)
    assert [len(batch) for batch in apart] == [8] * 6
    assert [len(batch) for batch in together] == [32, 16]
    assert list(chain(*apart)) == list(chain(*together))
    assert drawn(4, 32, 4) == [apart[4] + apart[5]]
    assert {place.side for batch in drawn(0, 16, 2) for place in batch} == {16}
