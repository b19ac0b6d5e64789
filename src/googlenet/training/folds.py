"""Cross-validation: a run for each fold, the mean of their metrics, and one bundle that averages their answers."""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from googlenet import bundle as bundles
from googlenet.bundle import Bundle
from googlenet.card import ModelCard
from googlenet.data.depths import common_range
from googlenet.data.folds import MAX_FOLDS, MIN_FOLDS, draw_folds
from googlenet.data.image_set import DataLike, LabelledData, LabelledImage
from googlenet.data.opening import open_data
from googlenet.data.splits import RECORD, SPLITS, read_record, record_of
from googlenet.errors import DataError, RecipeError, RunError, StoppedError
from googlenet.extras import TRAINING, require
from googlenet.files import check_output_path
from googlenet.models.spec import Network
from googlenet.stages import stage
from googlenet.strict_json import parse_json
from googlenet.terminal import console, say
from googlenet.text import json_text, printable
from googlenet.training import directory, torchrun
from googlenet.training.options import TrainOptions, split_options
from googlenet.training.plan import Plan, look
from googlenet.training.recipe import Recipe
from googlenet.training.train import train

if TYPE_CHECKING:
    from typing_extensions import Unpack

FOLDS = "folds.json"
RESERVE_SHARE = 0.02  # of the minutes, kept for the bundle of all folds
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """The mean of a metric over the folds, and a 95 % interval of it: ``low`` to ``high``."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class CrossValidation:
    """What :func:`cross_validate` returns: the ``bundle`` of all folds, ``metrics`` by name, and those of each fold."""

    bundle: Bundle
    metrics: dict[str, Interval]
    folds: tuple[dict[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        metrics = {name: asdict(each) for name, each in self.metrics.items()}
        return {"bundle": str(self.bundle.path), "metrics": metrics, "folds": list(self.folds)}


def cross_validate(
    data: DataLike,
    out: str | Path,
    *,
    folds: int = 5,
    recipe: str | Path | Recipe | None = None,
    network: str | Network | None = None,
    weights: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **options: Unpack[TrainOptions],
) -> CrossValidation:
    """Train once for each fold of the images, which is held out of it, and write one classifier of all.

    The runs are ``out/fold-1`` and so on; ``out/bundle`` answers with the mean of their probabilities. Metrics are of
    the single runs, each on the images that it held out: the classifier of all is usually better than their mean, which
    no held-out image is left to show.

    Args:
        data: as :func:`googlenet.train` takes it. Its ``train`` and ``val`` images are drawn into folds, with classes
            in equal shares and groups whole; ``test`` images stay apart.
        out: a directory, which must not exist yet unless ``resume`` or ``overwrite``.
        folds: the number of folds, 2 to 50.
        recipe, network, weights: as :func:`googlenet.train` takes them. ``minutes`` are those of all folds together.
        resume: keep the folds that were finished, and go on with the one that was stopped.
        overwrite: delete what an earlier call wrote to ``out``.

    All other options are those of :func:`googlenet.train`.

    Raises:
        RecipeError: ``folds`` out of range, or given with ``val_fraction``.
        DataError: a class has too few images or groups.
        RunError: ``out`` holds something else, or was started with other folds or images.

    ::

        result = googlenet.cross_validate("photos/", "runs/folds", folds=5)
        print(result.metrics["top1"].mean, result.metrics["top1"].low)
    """
    begun, out = time.perf_counter(), Path(out)
    require("train", *TRAINING)
    _check(folds, options)
    settings, _ = split_options(options)
    plan = look(out / "fold-1", recipe, {**settings, "network": network}, weights, overwrite=True)
    parts = _parts(data, plan, folds)
    _begin(out, parts, resume, overwrite)
    minutes = plan.recipe.minutes
    for number, part in enumerate(parts, start=1):
        run = out / f"fold-{number}"
        if (run / bundles.IN_RUN).exists():
            continue
        going_on = (run / directory.SETTINGS).exists()
        if minutes is not None and not going_on:
            left = (1 - RESERVE_SHARE) * minutes - (time.perf_counter() - begun) / 60
            options["minutes"] = max(min(minutes / folds, left / (folds - number + 1)), 1e-3)
        elif going_on:
            options["minutes"] = None
        say(f"fold {number} of {folds}", to=console(stderr=True))
        try:
            train(part, run, recipe=recipe, network=network, weights=weights, resume=going_on, overwrite=not going_on,
                  **options)  # fmt: skip
        except StoppedError as error:
            line = f"stopped in fold {number} of {folds}, saved; continue with the same command and --resume"
            raise StoppedError(line, error.exit_code) from error
    return _finish(out, parts[0])


def _check(folds: int, options: Any) -> None:
    if isinstance(folds, bool) or not isinstance(folds, int) or not MIN_FOLDS <= folds <= MAX_FOLDS:
        raise RecipeError(f"folds = {folds!r}: should be a whole number, {MIN_FOLDS} to {MAX_FOLDS}")
    if options.get("val_fraction") is not None:
        raise RecipeError("--folds decides how many images are held out: leave --val-fraction out")
    if torchrun.is_launched():
        raise RunError("--folds trains one run after another: start it without torchrun")


def _parts(data: DataLike, plan: Plan, folds: int) -> list[LabelledData]:
    recipe, channels = plan.recipe, plan.preprocessing.channels
    found = open_data(data, seed=recipe.seed, test_fraction=recipe.test_fraction, channels=channels)
    parts = draw_folds(found, folds, recipe.seed)
    if len({common_range(part.train, channels) for part in parts}) > 1:
        raise DataError(
            f"{found.name}: images of more than 8 bits whose files do not say their range would be read differently in "
            "each fold, and have no common classifier: convert them to 8 bits first"
        )
    return parts


def _begin(out: Path, parts: list[LabelledData], resume: bool, overwrite: bool) -> None:
    """Make the directory, or recognise the one that is there."""
    check_output_path(out)
    there = sorted(out.iterdir()) if out.is_dir() else []
    ours = {"fold_count": len(parts), "images": parts[0].split("all").fingerprint()}
    if there and not (out / FOLDS).exists():
        raise RunError(f"{printable(str(out))} is not empty and holds no folds: choose another --out")
    if resume:
        if not there:
            raise RunError(f"{printable(str(out))} holds no folds to resume: leave --resume out to start")
        before = parse_json((out / FOLDS).read_text("utf-8"))
        if {name: before.get(name) for name in ours} != ours:
            raise RunError(
                f"{printable(str(out))} was started with other folds or images: start again with --overwrite"
            )
        return
    if there and not overwrite:
        raise RunError(f"{printable(str(out))} holds folds: continue with --resume, or replace them with --overwrite")
    for path in there:
        if path.name.startswith("fold-") or path.name == bundles.IN_RUN:
            shutil.rmtree(path)
    out.mkdir(parents=True, exist_ok=True)
    directory.write_whole(out / FOLDS, json_text(ours, indent=2).encode())


def _finish(out: Path, part: LabelledData) -> CrossValidation:
    """Write the record, the bundle of all folds and the metrics."""
    from googlenet.exporting.ensemble import write_ensemble

    begun = parse_json((out / FOLDS).read_text("utf-8"))
    members = [bundles.read(out / f"fold-{number}") for number in range(1, begun["fold_count"] + 1)]
    scores = tuple({k: v for k, v in each.card.metrics.items() if k != "epoch"} for each in members)
    held_out = [each.card.data["val"] / (each.card.data["train"] + each.card.data["val"]) for each in members]
    metrics = {name: _interval([each[name] for each in scores], fmean(held_out)) for name in scores[0]}
    record = _record(out / "fold-1", members[0].card)
    directory.write_whole(out / RECORD, record)
    with stage("writing the bundle of all folds"):
        bundle = write_ensemble(out / bundles.IN_RUN, members, _card(members, metrics, record, part))
    result = CrossValidation(bundle, metrics, scores)
    directory.write_whole(out / FOLDS, json_text({**begun, **result.to_dict()}, indent=2).encode())
    return result


def _interval(values: list[float], held_out: float) -> Interval:
    """Return Student's interval of the mean, corrected for folds that share training images (Nadeau & Bengio, 2003)."""
    from scipy import stats

    mean, count = fmean(values), len(values)
    variance = stdev(values) ** 2 * (1 / count + held_out / (1 - held_out))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)


def _record(run: Path, card: ModelCard) -> bytes:
    """Return split.csv of the bundle of all folds, which was trained on every image that is not kept apart."""
    rows = [replace(row, split="train" if row.split == "val" else row.split)
            for row in read_record(run / RECORD, card.data["record"])]  # fmt: skip
    rows.sort(key=lambda row: SPLITS.index(row.split))
    splits: dict[str, list[LabelledImage]] = {}
    for row in rows:
        splits.setdefault(row.split, []).append(LabelledImage(row.name, ()))
    return record_of(splits, [row.sha256 for row in rows])


def _card(members: list[Bundle], metrics: dict[str, Interval], record: bytes, part: LabelledData) -> ModelCard:
    first = members[0].card
    thresholds = tuple(fmean(each) for each in zip(*(member.card.thresholds for member in members), strict=True))
    data = {key: value for key, value in first.data.items() if key not in ("val", "fingerprint", "class_images")}
    return replace(
        first,
        metrics={name: each.mean for name, each in metrics.items()},
        precisions={},
        measured_on="",
        thresholds=thresholds,
        data=data | {"split": f"{len(members)} folds", "train": len(part.train) + len(part.val), "val": 0,
                     "record": hashlib.sha256(record).hexdigest()},
    )  # fmt: skip
