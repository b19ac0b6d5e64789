"""The images of a run: found, split, and recognised wherever they are when the run is resumed. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from googlenet.data.depths import common_range
from googlenet.data.image_set import DataLike, ImageSet, LabelledData, LabelledImage
from googlenet.data.opening import find_data, open_data, redraw
from googlenet.data.splits import BY_NAME, DRAWN, RECORD, Record, Recorded, read_record
from googlenet.errors import CheckpointError, DataError, RecipeError
from googlenet.images.decode import COLOURS
from googlenet.inference.verify import golden_inputs
from googlenet.metrics import LOSS, metrics_for
from googlenet.preprocessing import Preprocessing
from googlenet.stages import stage
from googlenet.text import escape_surrogates, first_few, printable
from googlenet.training.plan import Plan
from googlenet.training.recipe import BestBy, Recipe

Hashes = Callable[[Sequence[LabelledImage]], list[str]]


def look_at_data(plan: Plan, data: DataLike, hashes: Hashes) -> Plan:
    """Check the images: their names, and whether some of the held-out ones can be read.

    ``hashes`` returns the sha256 of images, by which a resumed run recognises them.
    """
    recipe = plan.recipe
    name = data.name if isinstance(data, LabelledData) else data
    with stage(f"reading {name}"):
        if plan.resume:
            images = _images_of_run(plan, find_data(data, plan.preprocessing.channels), hashes)
        else:
            images = open_data(data, seed=recipe.seed, val_fraction=recipe.val_fraction,
                               test_fraction=recipe.test_fraction, channels=plan.preprocessing.channels)  # fmt: skip
        _check_balance(recipe, images)
        _check_best_by(recipe, images)
        described = _describe(images)
        if plan.resume:
            _check_same_data(plan.run, plan.before["data"], described)
            described |= {key: plan.before["data"][key] for key in ("split", "record") if key in plan.before["data"]}
        preprocessing = _read_as(plan, images)
        try:
            golden_inputs(images.val, preprocessing)
        except DataError as error:
            raise _unless_of_other_channels(plan, error) from error
    return replace(plan, data=images, described=described, preprocessing=preprocessing)


def _unless_of_other_channels(plan: Plan, error: DataError) -> DataError:
    """Explain where the images have other channels than those that the weights were trained on."""
    if plan.inherited_channels in (None, 1, COLOURS):
        return error
    return DataError(
        f"--weights were trained on {plan.inherited_channels} channels: {error}; --in-channels 3 reads any images as "
        "RGB and learns the first convolution from scratch"
    )


def _read_as(plan: Plan, data: LabelledData) -> Preprocessing:
    """Decide how image files are read. A resumed run reads them as before, also as versions without colour profiles."""
    if not plan.resume:
        return replace(plan.preprocessing, value_range=common_range(data.train, plan.preprocessing.channels))
    reading = plan.before.get("reading", {"value_range": None, "color_profiles": "ignored"})
    found = reading["value_range"]
    return replace(plan.preprocessing, **{**reading, "value_range": found and tuple(found)})


def _check_balance(recipe: Recipe, data: LabelledData) -> None:
    if recipe.class_balance == "oversample" and data.multi_label:
        raise RecipeError(
            f"--class-balance oversample needs images of one class each: those of {data.name} have several or none; "
            "use --class-balance weighted_loss or none"
        )


def _check_best_by(recipe: Recipe, data: LabelledData) -> None:
    measured = [*(metric.name for metric in metrics_for(data.multi_label)), LOSS.name]
    allowed = [name for name in get_args(BestBy) if name in measured]
    if recipe.best_by is not None and recipe.best_by not in allowed:
        kind = "have several labels or none" if data.multi_label else "are of one class each"
        raise RecipeError(
            f"--best-by {recipe.best_by} is not measured where images {kind}, as in {data.name}: allowed are "
            f"{', '.join(allowed)}"
        )


def _describe(data: LabelledData) -> dict[str, Any]:
    return {
        "name": escape_surrogates(data.name),
        "split": DRAWN if data.made_here else "as given",
        **{split: len(part) for split, part in data.splits.items()},
        "class_images": list(data.train.counts().values()),
        "multi_label": data.multi_label,
        "fingerprint": data.split("all").fingerprint(),
    }


def _images_of_run(plan: Plan, found: LabelledData, hashes: Hashes) -> LabelledData:
    """Return the images of a resumed run, wherever they are now, split and ordered as they were recorded."""
    before, recipe = plan.before["data"], plan.recipe
    if "record" not in before:  # it was started by version 0.1.0
        by_name = before["split"] == BY_NAME
        return redraw(found, recipe.seed, recipe.val_fraction, None if by_name else recipe.test_fraction)
    rows = read_record(plan.run / RECORD, before["record"])
    items = [(split, item) for split, part in found.splits.items() for item in part.items]
    if len(items) != len(rows):
        raise _other_images(plan, found.name, rows, [item.name for _, item in items])
    order, new = Record(rows).order(items, hashes([item for _, item in items]))
    if new:
        missing = [row for row, index in zip(rows, order, strict=True) if index is None]
        raise _other_images(plan, found.name, missing, [items[index][1].name for index in new])
    splits: dict[str, list[LabelledImage]] = defaultdict(list)
    for row, index in zip(rows, order, strict=True):
        assert index is not None  # as many as there are rows, and none is new
        item = items[index][1]
        same = escape_surrogates(item.name) == row.name
        splits[row.split].append(item if same else replace(item, name=row.name))
    parts = {split: ImageSet(found.class_names, tuple(items)) for split, items in splits.items()}
    return replace(found, splits=parts)


def _other_images(plan: Plan, name: str, rows: Sequence[Recorded], names: Sequence[str]) -> CheckpointError:
    """Name the images of ``rows`` that are missing, and those of ``names`` that the run does not know."""
    known, there = {row.name for row in rows}, {escape_surrogates(name) for name in names}
    missing, new = sorted(known - there), sorted(there - known)
    changed = sorted(known & there) if len(rows) == len(names) else []
    parts = [
        f"{len(those):,} {what} ({first_few(those)})"
        for those, what in ((missing, "gone"), (changed, "changed"), (new, "new"))
        if those
    ]
    run = printable(str(plan.run))
    return CheckpointError(
        f"{run} was started on other images than those in {printable(name)}: {', '.join(parts)}; put back what was "
        f"there, or start a new run on these images from the weights of {run}: --weights {run} --out NEW"
    )


def _check_same_data(run: Path, before: dict[str, Any], described: dict[str, Any]) -> None:
    same = before["fingerprint"] == described["fingerprint"]
    if not same or before.get("multi_label", False) != described["multi_label"]:
        raise CheckpointError(
            f"{run} was started on other images ({before['train']} + {before['val']} of {before['name']}, now "
            f"{described['train']} + {described['val']} of {described['name']}): start a new run"
        )
