"""Labels in doubt: number and order as in cleanlab, wrong ones first, and the list that is written trains again."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet.data.image_set import ImageSet, LabelledData, LabelledImage
from googlenet.errors import DataError
from googlenet.evaluation.suspects import Suspects, out_of_fold, ranked

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
WRONG = 3  # images of each class that lie in the folder of the next one


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory):
    """Images of three colours, of which three each lie in the folder of another."""
    root, noise, names = tmp_path_factory.mktemp("mislabelled") / "photos", np.random.default_rng(3), list(COLOURS)
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(20):
            colour = COLOURS[names[(place + (number < WRONG)) % 3]]
            pixels = np.clip(np.array(colour) + noise.normal(0, 25, (40, 48, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number:02d}.png")
    return root


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_how_many_and_which_come_first_is_as_in_cleanlab(classes):
    pytest.importorskip("cleanlab")
    from cleanlab.count import num_label_issues
    from cleanlab.rank import get_label_quality_scores

    random = np.random.default_rng(classes)
    truth = random.integers(0, classes, 2000)
    probabilities = random.dirichlet(np.full(classes, 0.7), 2000)
    probabilities[np.arange(2000), truth] += random.uniform(0, 1.5, 2000)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = np.where(random.random(2000) < 0.1, random.integers(0, classes, 2000), truth)
    count = num_label_issues(labels, probabilities, estimation_method="off_diagonal_calibrated")
    quality = get_label_quality_scores(labels, probabilities, method="self_confidence")
    found = ranked(probabilities, labels)
    order = np.argsort(quality, kind="stable").tolist()
    looked_at = order[: order.index(found[-1]) + 1]
    assert len(looked_at) == pytest.approx(count, abs=classes**2)  # cleanlab rounds for each pair of classes
    assert len(found) > 50
    assert found.tolist() == [n for n in looked_at if probabilities[n].argmax() != labels[n]]


def test_an_image_that_its_own_class_explains_best_is_not_in_doubt():
    probabilities = np.array([[0.9, 0.1, 0]] * 8 + [[0.3, 0.4, 0.3]] * 8 + [[0.55, 0.45, 0]])  # the last counts for 1
    assert ranked(probabilities, np.array([0] * 8 + [1] * 8 + [0])).tolist() == []


def test_wrong_labels_come_first(trained_run, mislabelled, tmp_path):
    (mislabelled / "blue" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    try:
        found = googlenet.find_suspects(trained_run, mislabelled)
    finally:
        (mislabelled / "blue" / "broken.png").unlink()
    assert list(found.unreadable) == ["blue/broken.png"]
    assert len(found.images) == 60
    names = [each.image.name for each in found.items]
    assert set(names[: 3 * WRONG]) == {f"{name}/{number:02d}.png" for name in COLOURS for number in range(WRONG)}
    first = found.items[0]
    assert first.suggested != first.label
    assert first.probability > first.probability_of_label
    own = [each.probability_of_label for each in found.items]
    assert own == sorted(own)


def test_the_command_writes_all_images_and_training_reads_them_once_corrected(
    trained_run, mislabelled, tmp_path, call, tiny
):
    file = tmp_path / "suspects.csv"
    code, out, err = call("evaluate", trained_run, mislabelled, "--suspects", file, "--plot", tmp_path / "plot.png")
    assert code == 0, err
    assert "of 60 labels are in doubt, the most doubtful first" in out
    with Image.open(tmp_path / "suspects.png") as sheet:
        assert min(sheet.size) > 150
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert list(rows[0]) == ["path", "label", "suggested", "probability", "probability_of_label"]
    assert len({row["path"] for row in rows}) == 60
    doubted = [row for row in rows if row["suggested"]]
    assert rows[: len(doubted)] == doubted
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, rows[0])
        writer.writeheader()
        writer.writerows(row | {"label": row["suggested"] or row["label"]} for row in rows)
    bundle = googlenet.train(file, tmp_path / "run", network=tiny, epochs=1, batch_size=8)
    assert bundle.card.class_names == tuple(COLOURS)
    code, out, _ = call("evaluate", trained_run, file, "--suspects", tmp_path / "again.csv", "--json",
                        "--plot", tmp_path / "plot.png")  # fmt: skip
    assert len(json.loads(out)["suspects"]) < 3 * WRONG


def _data(labels, groups=None, split="", classes=3, several=False):
    groups = groups or [None] * len(labels)
    items = tuple(
        LabelledImage(f"{n}.png", label if several else (label,), pixels=np.zeros((8, 8, 3), np.uint8), group=group)
        for n, (label, group) in enumerate(zip(labels, groups, strict=True))
    )
    names = tuple("abcdef"[:classes])
    return LabelledData("drawn", names, {split: ImageSet(names, items)}, split == "", multi_label=several)


def test_splits_and_groups_of_the_data_are_kept(tmp_path):
    data = _data([0, 0, 1], ["p1", None, "p2"], split="train", classes=2)
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    Suspects(data, data.split("all").items, probabilities, {}, ()).write(str(tmp_path / "list.csv"))
    lines = (tmp_path / "list.csv").read_text().splitlines()
    assert lines[0] == "path,label,suggested,probability,probability_of_label,split,group"
    assert lines[1:] == ["1.png,a,b,0.9,0.1,train,", "0.png,a,,,,train,p1", "2.png,b,,,,train,p2"]


def test_no_image_is_judged_by_one_of_its_group():
    labels = np.repeat([0, 1], 100)
    groups = [f"g{n // 4}" for n in range(200)]
    embeddings = np.repeat(np.eye(50), 4, axis=0)  # say the group, and nothing else of the class
    right = {
        kept: float((out_of_fold(embeddings, labels, 2, groups if kept else None).argmax(axis=1) == labels).mean())
        for kept in (True, False)
    }
    assert right[False] > 0.9
    assert right[True] < 0.6


def test_how_many_numbers_an_embedding_has_changes_nothing():
    random, labels = np.random.default_rng(0), np.arange(200) % 4
    embeddings = np.eye(4)[labels] @ random.normal(0, 1, (4, 20)) + random.normal(0, 2, (200, 20))
    few, many = (out_of_fold(np.tile(embeddings, times), labels, 4) for times in (1, 10))
    np.testing.assert_allclose(few, many, atol=0.02)


def test_what_cannot_be_judged_is_one_line(trained_run, tmp_path):
    with pytest.raises(DataError, match="has images with several labels, and labels in doubt"):
        googlenet.find_suspects(trained_run, _data([(0, 1), (1,)], several=True))
    with pytest.raises(DataError, match="two classes or more of 5 readable images each"):
        googlenet.find_suspects(trained_run, _data([0] * 20))
    with pytest.raises(DataError, match="in 5 groups where images have groups"):
        googlenet.find_suspects(trained_run, _data([0] * 9 + [1] * 9, ["a"] * 9 + ["b"] * 9))
    few = googlenet.find_suspects(trained_run, _data([0] * 9 + [1] * 9 + [2] * 2))
    assert few.notes == ("labels of c are not judged: that takes 5 images of a class",)
    assert len(few.images) == 18
    assert "2" not in {each.label for each in few.items}
