"""``ablate``: what auxiliary heads are worth, measured: a run for each number of heads and each seed, then compared."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from googlenet import bundle as bundles
from googlenet.data.image_set import DataLike, LabelledData
from googlenet.data.opening import open_data
from googlenet.errors import NetworkError, RecipeError, RunError, StoppedError
from googlenet.evaluation.answers import Answers
from googlenet.evaluation.evaluate import evaluate
from googlenet.evaluation.repeats import RepeatedComparison, compare_repeats
from googlenet.extras import TRAINING, require
from googlenet.files import check_output_path
from googlenet.models.spec import Network, to_json
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

ABLATION = "ablation.json"
PAPER_EFFECT = 0.005  # of the heads, "around 0.5%" (Szegedy et al., 2014, section 5)
MAX_SEEDS = 100
RUN = "heads-{heads}-seed-{seed}"


@dataclass(frozen=True)
class Ablation:
    """What :func:`ablate` returns.

    ``accuracies`` are those of each run by (heads, seed), fractions of 1, on the ``images`` of ``split``; ``metric`` is
    ``"top1"``, or ``"exact"`` with several labels. ``effects`` compare each other number of heads with the smallest
    one, ``baseline``.
    """

    out: Path
    baseline: int
    accuracies: dict[tuple[int, int], float]
    effects: dict[int, RepeatedComparison]
    split: str
    images: int
    metric: str = "top1"

    @property
    def heads(self) -> list[int]:
        """The numbers of heads, in order."""
        return sorted({heads for heads, _ in self.accuracies})

    def of(self, heads: int) -> list[float]:
        """The accuracies of all seeds with so many heads."""
        return [value for (count, _), value in self.accuracies.items() if count == heads]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {
            "baseline": self.baseline,
            "split": self.split,
            "images": self.images,
            "metric": self.metric,
            "runs": [
                {"heads": heads, "seed": seed, "accuracy": value} for (heads, seed), value in self.accuracies.items()
            ],
            "effects": {str(heads): effect.to_dict() for heads, effect in self.effects.items()},
            "paper": PAPER_EFFECT,
        }


def ablate(
    data: DataLike,
    out: str | Path,
    *,
    heads: Sequence[int] = (0, 1, 2),
    seeds: int = 5,
    recipe: str | Path | Recipe = "default",
    network: str | Network | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **options: Unpack[TrainOptions],
) -> Ablation:
    """Train with each number of auxiliary heads and each seed, and compare on the same held-out images.

    The runs are ``out/heads-0-seed-0`` and so on. Heads are taken in the network's order: 1 is the first one. What is
    compared are runs of the same seed, which begin alike and see the same images in the same order.

    Args:
        data: as :func:`googlenet.train` takes it; all runs hold out the same images.
        out: a directory, which must not exist yet unless ``resume`` or ``overwrite``.
        heads: the numbers of heads, two or more; the smallest is what the others are compared with.
        seeds: how many runs for each, 1 to 100. They have the seeds ``seed``, ``seed + 1`` and so on.
        recipe, network: as :func:`googlenet.train` takes them; not ``"auto"``, which could choose otherwise for each.
            ``minutes`` are those of all runs together: with fewer heads a run then has more steps.
        resume: keep the runs that were finished, and go on with the one that was stopped.
        overwrite: delete what an earlier call wrote to ``out``.

    All other options are those of :func:`googlenet.train`, without ``aux``.

    Raises:
        RecipeError: ``heads`` or ``seeds`` out of range, or ``recipe`` is ``"auto"``.
        NetworkError: the network has fewer heads.
        RunError: ``out`` holds something else, or was started with other images, heads, seeds or settings.
        StoppedError: stopped, saved; ``resume`` goes on.

    ::

        found = googlenet.ablate("photos/", "runs/heads", heads=(0, 2), seeds=5, epochs=20)
        found.effects[2].difference.value, found.effects[2].detectable
    """
    out = Path(out)
    require("train", *TRAINING)
    counts = _check(heads, seeds, recipe, options)
    settings, _ = split_options(options)
    plans = [look(out / "heads", recipe, {**settings, "network": network, "aux": count}, None, overwrite=True)
             for count in counts]  # fmt: skip
    if (most := len(plans[-1].network.aux)) < counts[-1]:
        has = f"{printable(plans[-1].network.name)} has {most} auxiliary head{'' if most == 1 else 's'}"
        raise NetworkError(f"{has}, and --heads asks for {counts[-1]}: name a --network with more, or fewer heads")
    first = plans[0].recipe
    part = open_data(data, seed=first.seed, val_fraction=first.val_fraction, test_fraction=first.test_fraction,
                     channels=plans[0].preprocessing.channels)  # fmt: skip
    asked = {"heads": counts, "seeds": seeds, "seed": first.seed, "data": part.split("all").fingerprint()}
    _begin(out, {**asked, "settings": _fingerprint(plans[-1])}, resume, overwrite)
    todo = [(count, seed) for seed in range(first.seed, first.seed + seeds) for count in counts]
    for name in ("val_fraction", "test_fraction"):  # the images are drawn
        options.pop(name, None)  # type: ignore[misc]

    def begin(run: Path, count: int, seed: int, minutes: float | None, going_on: bool) -> None:
        given: Any = {**options, "aux": count, "seed": seed, "minutes": minutes}
        train(
            part, run, recipe=recipe, network=network, weights="none", resume=going_on, overwrite=not going_on, **given
        )

    _train_all(out, todo, first.minutes, begin)
    return _compared(out, part, counts, todo)


def _check(heads: Sequence[int], seeds: int, recipe: Any, options: Any) -> list[int]:
    counts = sorted(set(heads))
    if len(counts) < 2 or any(isinstance(each, bool) or not isinstance(each, int) or each < 0 for each in counts):
        raise RecipeError(f"heads are two or more numbers of heads, such as 0,1,2, got {list(heads)!r:.80}")
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= MAX_SEEDS:
        raise RecipeError(f"seeds = {seeds!r}: should be a whole number, 1 to {MAX_SEEDS}")
    if recipe == "auto":
        raise RecipeError("recipe 'auto' could choose otherwise for each run: name one, such as default")
    if options.get("aux") is not None:
        raise RecipeError("--heads says how many auxiliary heads: leave --aux out")
    if torchrun.is_launched():
        raise RunError("ablate trains one run after another: start it without torchrun")
    return counts


def _fingerprint(plan: Plan) -> str:
    """Return a hash of what all runs share: the recipe and the network."""
    shared = {name: value for name, value in plan.recipe.model_dump(mode="json").items() if name not in ("aux", "seed")}
    return hashlib.sha256(json_text([shared, to_json(plan.network)]).encode()).hexdigest()


def _begin(out: Path, ours: dict[str, Any], resume: bool, overwrite: bool) -> None:
    """Make the directory, or recognise the one that is there."""
    check_output_path(out)
    shown, there = printable(str(out)), sorted(out.iterdir()) if out.is_dir() else []
    if there and not (out / ABLATION).exists():
        raise RunError(f"{shown} is not empty and holds no ablation: choose another --out")
    if resume:
        if not there:
            raise RunError(f"{shown} holds no ablation to resume: leave --resume out to start")
        before = parse_json((out / ABLATION).read_text("utf-8"))
        if {name: before.get(name) for name in ours} != ours:
            raise RunError(
                f"{shown} was started with other heads, seeds, settings or images: start again with --overwrite"
            )
        return
    if there and not overwrite:
        raise RunError(f"{shown} holds an ablation: continue with --resume, or replace it with --overwrite")
    for path in there:
        if path.name.startswith("heads-"):
            shutil.rmtree(path)
    out.mkdir(parents=True, exist_ok=True)
    directory.write_whole(out / ABLATION, json_text(ours, indent=2).encode())


def _train_all(
    out: Path, todo: list[tuple[int, int]], minutes: float | None, begin: Callable[..., None]
) -> None:  # fmt: skip
    """Train what is not trained yet, in the time that is left."""
    begun = time.perf_counter()
    for number, (count, seed) in enumerate(todo, start=1):
        run = out / RUN.format(heads=count, seed=seed)
        if bundles.is_here(run):
            continue
        going_on = (run / directory.SETTINGS).exists()
        left = None
        if minutes is not None and not going_on:
            spent = (time.perf_counter() - begun) / 60
            left = max(min(minutes / len(todo), (minutes - spent) / (len(todo) - number + 1)), 1e-3)
        say(
            f"run {number} of {len(todo)}: {count} head{'' if count == 1 else 's'}, seed {seed}",
            to=console(stderr=True),
        )
        try:
            begin(run, count, seed, left, going_on)
        except StoppedError as error:
            line = f"stopped in run {number} of {len(todo)}, saved; continue with the same command and --resume"
            raise StoppedError(line, error.exit_code) from error


def _compared(out: Path, part: LabelledData, counts: list[int], todo: list[tuple[int, int]]) -> Ablation:
    found = {}
    for count, seed in todo:
        run = out / RUN.format(heads=count, seed=seed)
        with stage(f"evaluating {run}"):
            found[count, seed] = evaluate(run, part, precision="fp32")
    names = [{item.name for item in each.answers.images} for each in found.values()]
    shared = set.intersection(*names)  # all but those that could not be read
    right = {key: _right(each.answers, shared) for key, each in found.items()}
    one = next(iter(found.values()))
    groups = [item.group for item in sorted(_kept(one.answers, shared), key=lambda item: item.name)]
    rows = {count: np.stack([right[key] for key in todo if key[0] == count]) for count in counts}
    base = counts[0]
    effects = {count: compare_repeats(rows[count], rows[base], groups) for count in counts[1:]}
    accuracies = {key: float(right[key].mean()) for key in todo}
    metric = "exact" if part.multi_label else "top1"
    result = Ablation(out, base, accuracies, effects, one.split, len(shared), metric)
    begun = parse_json((out / ABLATION).read_text("utf-8"))
    directory.write_whole(out / ABLATION, json_text({**begun, **result.to_dict()}, indent=2).encode())
    return result


def _kept(answers: Answers, names: set[str]) -> Iterator[Any]:
    return (item for item in answers.images if item.name in names)


def _right(answers: Answers, names: set[str]) -> Any:
    """Return which images were answered right, (N,), in the order of their names."""
    at = {item.name: number for number, item in enumerate(answers.images)}
    return answers.right[[at[name] for name in sorted(names)]]
