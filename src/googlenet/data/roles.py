"""One role for each held-out image: to choose the best epoch, to calibrate, or to report how good the classifier is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from googlenet.data.splits import draw

if TYPE_CHECKING:
    from googlenet.data.image_set import LabelledData, LabelledImage

# The splits of a run, as its record names them, and what each is for. ``train`` is what it learns from.
ROLES = {
    "val": "choose the best epoch and thresholds",
    "calibrate": "calibrate the probabilities",
    "test": "report how good the classifier is",
}
ROLE_SHARE = 0.25  # of the held-out images, for `calibrate` and for `test` each
MIN_ROLE_IMAGES = 500  # of 90 % accuracy, they tell the true one within 2.6 points


def divide(
    items: Sequence[LabelledImage],
    drawn: Sequence[str],
    seed: int,
    *,
    has_test: bool,
) -> list[str]:
    """Divide the images that were ``drawn`` for ``val`` into ``val``, ``calibrate`` and ``test``, a role each.

    A quarter each becomes ``calibrate`` and ``test`` (no ``test`` where there is one, ``has_test``), within each class
    and with groups whole, as :func:`~googlenet.data.splits.draw` draws. Nothing is divided where a role would get
    fewer than 500, or lack a class that is held out: then all of ``val`` has every role.
    """
    held = [index for index, split in enumerate(drawn) if split == "val"]
    wanted = {"calibrate": ROLE_SHARE} if has_test else {"test": ROLE_SHARE, "calibrate": ROLE_SHARE}
    if ROLE_SHARE * len(held) < MIN_ROLE_IMAGES:
        return list(drawn)
    splits = ["val" if split == "train" else split for split in draw([items[index] for index in held], seed, wanted)]
    count = Counter(splits)
    classes: dict[str, set[int]] = {split: set() for split in ("val", *wanted)}
    for index, split in zip(held, splits, strict=True):
        classes[split].update(items[index].labels)
    every = set().union(*classes.values())
    if any(count[split] < MIN_ROLE_IMAGES or classes[split] != every for split in classes):
        return list(drawn)
    divided = list(drawn)
    for index, split in zip(held, splits, strict=True):
        divided[index] = split
    return divided


def described(data: LabelledData) -> str:
    """Return in one sentence what the held-out images are for."""
    there: Mapping[str, int] = {name: len(data.splits[name]) for name in ROLES if data.splits.get(name)}
    parts = [f"{count:,} to {ROLES[name]} ({name})" for name, count in there.items()]
    if len(there) > 1:
        return f"held-out images: {', '.join(parts)}"
    why = (
        f"{round(MIN_ROLE_IMAGES / ROLE_SHARE):,} would be divided"
        if data.made_here
        else "a test/ beside it would report"
    )
    return f"the held-out images choose the best epoch and report how good it is: {why}"
