"""Cross-validation: every image is held out once, classes in equal shares, groups whole. No image is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from googlenet.data.image_set import ImageSet, LabelledData, LabelledImage
from googlenet.data.splits import draw
from googlenet.errors import DataError
from googlenet.text import first_few

MIN_FOLDS, MAX_FOLDS = 2, 50


def draw_folds(data: LabelledData, folds: int, seed: int) -> list[LabelledData]:
    """Return the data once for each fold, which is its ``val``; ``train`` are the others (Stone, 1974).

    The images of ``train`` and ``val`` are drawn anew; ``test``, and what is held out for other purposes, stays apart.
    The first fold is 1/K of each class as :func:`~googlenet.data.splits.draw` draws it, the second 1/(K - 1) of the
    rest, and so on: a hash of ``seed`` and the name decides, and groups stay together.

    Raises :class:`DataError` where a class has too few images, or groups, to be in all training images.
    """
    left = sorted((*data.train.items, *data.val.items), key=lambda item: item.name)
    parts: list[list[LabelledImage]] = []
    for remaining in range(folds, 1, -1):
        drawn = draw(left, seed, {"val": 1 / remaining})
        parts.append([item for item, split in zip(left, drawn, strict=True) if split == "val"])
        left = [item for item, split in zip(left, drawn, strict=True) if split != "val"]
    parts.append(left)
    return [_with_fold(data, parts, number) for number in range(folds)]


def _with_fold(data: LabelledData, parts: Sequence[Sequence[LabelledImage]], number: int) -> LabelledData:
    train = [item for at, part in enumerate(parts) if at != number for item in part]
    sets = {"train": ImageSet(data.class_names, tuple(train)), "val": ImageSet(data.class_names, tuple(parts[number]))}
    lacking = [name for name, count in sets["train"].counts().items() if not count]
    if lacking or not parts[number]:
        why = f"{first_few(lacking)} would have no training image" if lacking else "a fold would have no image"
        raise DataError(f"{data.name}: too few images, or groups, for {len(parts)} folds: {why}; give fewer --folds")
    return replace(data, splits={**data.splits, **sets}, made_here=True)
