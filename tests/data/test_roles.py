"""Held-out images have one role each where they are many; else all of them have every role, and training prints it."""

from collections import Counter
from pathlib import Path

import pytest

from googlenet.data import roles
from googlenet.data.image_set import LabelledImage
from googlenet.data.opening import open_data
from googlenet.data.roles import described, divide

NEEDED = 80  # held-out images, of which each role gets 20 or more


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(roles, "MIN_ROLE_IMAGES", NEEDED // 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Files that no test opens."""
    folder = tmp_path_factory.mktemp("many")
    for n in range(6 * NEEDED):
        (folder / f"{n:05d}.jpg").touch()
    return folder


def write_list(path: Path, count: int, group_size: int = 1, splits: dict[int, str] | None = None) -> Path:
    """A list of images of four classes; ``splits`` for the images at some places."""
    lines = ["path,label,group,split"]
    for n in range(count):
        lines.append(f"{n:05d}.jpg,class {n % 4},patient {n // group_size},{(splits or {}).get(n, '')}")
    path.write_text("\n".join(lines))
    return path


def names(part) -> set[str]:
    return {item.name for item in part.items}


def test_many_held_out_images_have_one_role_each_within_each_class(folder):
    data = open_data(write_list(folder / "list.csv", 5 * NEEDED))
    assert {name: len(part) for name, part in data.splits.items()} == {
        "train": 4 * NEEDED, "val": NEEDED // 2, "calibrate": NEEDED // 4, "test": NEEDED // 4
    }  # fmt: skip
    for part in data.splits.values():
        assert len(set(part.counts().values())) == 1
    assert described(data) == (
        "held-out images: 40 to choose the best epoch and thresholds (val), 20 to calibrate the probabilities "
        "(calibrate), 20 to report how good the classifier is (test)"
    )
    again = open_data(folder / "list.csv")
    assert all(names(again.splits[name]) == names(part) for name, part in data.splits.items())


def test_dividing_moves_no_image_into_training_or_out_of_it(folder):
    many = open_data(write_list(folder / "many.csv", 5 * NEEDED))
    undivided = open_data(folder / "many.csv", val_fraction=0.19)
    assert set(undivided.splits) == {"train", "val"}
    assert names(undivided.val) < names(many.val) | names(many.splits["calibrate"]) | names(many.splits["test"])


def test_images_that_are_kept_for_a_test_stay_those_and_only_calibration_is_divided_off(folder):
    data = open_data(write_list(folder / "list.csv", 5 * NEEDED), test_fraction=0.1)
    counts = {name: len(part) for name, part in data.splits.items()}
    assert counts == {"train": 7 * NEEDED // 2, "val": 60, "calibrate": 20, "test": NEEDED // 2}
    plain = open_data(folder / "list.csv", test_fraction=0.1, val_fraction=0.15)
    assert names(plain.splits["test"]) == names(data.splits["test"])


def test_few_held_out_images_have_every_role(folder):
    data = open_data(write_list(folder / "list.csv", 200))
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 160, "val": 40}
    assert described(data) == (
        "the held-out images choose the best epoch and report how good it is: 80 would be divided"
    )


def test_groups_have_one_role(folder):
    data = open_data(write_list(folder / "list.csv", 6 * NEEDED, group_size=4))
    assert set(data.splits) == {"train", "val", "calibrate", "test"}
    groups = [{item.group for item in part.items} for part in data.splits.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert all(count >= NEEDED // 4 for count in map(len, data.splits.values()))


def test_what_data_says_itself_is_never_divided(folder):
    said = {n: "train" if n < NEEDED else "val" for n in range(3 * NEEDED)}
    data = open_data(write_list(folder / "list.csv", 3 * NEEDED, splits=said))
    assert {name: len(part) for name, part in data.splits.items()} == {"train": NEEDED, "val": 2 * NEEDED}
    assert described(data).endswith("choose the best epoch and report how good it is: a test/ beside it would report")
    said |= dict.fromkeys(range(2 * NEEDED, 3 * NEEDED), "test")
    data = open_data(write_list(folder / "list.csv", 3 * NEEDED, splits=said))
    assert described(data) == (
        "held-out images: 80 to choose the best epoch and thresholds (val), 80 to report how good the "
        "classifier is (test)"
    )


@pytest.mark.parametrize("rare", [0, 2, 3, 40])
def test_nothing_is_divided_where_a_role_would_lack_a_class(rare):
    items = [LabelledImage(f"{n}.jpg", (0 if n < rare else 1 + n % 2,)) for n in range(NEEDED + 20)]
    divided = divide(items, ["val"] * len(items), 0, has_test=False)
    count = Counter(divided)
    if rare == 2:
        assert count == {"val": NEEDED + 20}
    else:
        assert min(count[role] for role in ("val", "calibrate", "test")) >= NEEDED // 4
    for role in count:
        assert {item.labels for item, got in zip(items, divided, strict=True) if got == role} == {
            item.labels for item in items
        }
