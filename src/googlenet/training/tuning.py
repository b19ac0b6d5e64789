"""What a search for better settings found: its trials, the best of them, and their files. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from googlenet import bundle as bundles
from googlenet.bundle import Bundle
from googlenet.metrics import METRICS
from googlenet.text import json_text
from googlenet.training import directory
from googlenet.training.lr_range import LRRange
from googlenet.training.recipe import Recipe
from googlenet.training.recipe_file import recipe_text
from googlenet.training.search_space import Value

if TYPE_CHECKING:
    from googlenet.evaluation.evaluate import Evaluation

RESULTS, RECIPE = "trials.json", "recipe.toml"


@dataclass(frozen=True)
class Trial:
    """One run of a search.

    Attributes:
        number: from 1.
        state: ``"finished"``, ``"pruned"`` (ended early, as it was worse than most) or ``"failed"``.
        score: the metric of its best epoch, on the held-out images that choose it; ``None`` unless it finished.
        values: what was tried.
        run: its run directory. Only the best trial keeps checkpoints and bundle there.
        seconds: how long it took.
        reason: why it ended early, or failed.
    """

    number: int
    state: str
    score: float | None
    values: Mapping[str, Value]
    run: Path
    seconds: float
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {"number": self.number, "state": self.state, "score": self.score, "values": dict(self.values),
                "run": str(self.run), "seconds": round(self.seconds, 2), "reason": self.reason}  # fmt: skip


@dataclass(frozen=True)
class Tuning:
    """What :func:`googlenet.tune` returns.

    Attributes:
        recipe: that of the best trial, which ``recipe_file`` holds for ``train --recipe``.
        trials: all of them.
        metric: the name of the metric that chose it, one of ``googlenet.metrics``.
        images: how many held-out images chose it.
        lr_range: what the learning-rate range test measured; ``None`` where there was none.
        honest: the best trial's classifier on images that neither training nor the choice looked at; ``None`` where no
            images are kept to report.
    """

    out: Path
    data: str
    metric: str
    images: int
    trials: tuple[Trial, ...]
    recipe: Recipe
    weights: str | None = None
    lr_range: LRRange | None = None
    honest: Evaluation | None = field(default=None, repr=False)

    @property
    def best(self) -> Trial:
        """The finished trial with the best score; of equals the first."""
        return best_of(self.trials, self.metric)  # type: ignore[return-value]

    @property
    def bundle(self) -> Bundle:
        """The classifier of the best trial."""
        return bundles.read(self.best.run)

    @property
    def recipe_file(self) -> Path:
        """The TOML file of the best recipe."""
        return self.out / RECIPE

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes: what ``trials.json`` holds, and ``googlenet tune --json`` prints."""
        honest = None if self.honest is None else {"split": self.honest.split, **self.honest.to_dict()}
        return {
            "data": self.data,
            "metric": self.metric,
            "images": self.images,
            "best": self.best.number,
            "recipe": self.recipe.model_dump(mode="json"),
            "weights": self.weights,
            "lr_range": self.lr_range and self.lr_range.to_dict(),
            "trials": [trial.to_dict() for trial in self.trials],
            "honest": honest,
        }

    def write(self) -> None:
        """Write ``trials.json`` and ``recipe.toml``. Raises :class:`RunError` where they cannot be written."""
        metric, best = METRICS[self.metric], self.best
        finished = sum(trial.state == "finished" for trial in self.trials)
        weights = f" --weights {self.weights}" if self.weights else ""
        head = [
            f"The best of {finished} finished trials of googlenet tune on {self.data}: trial {best.number},",
            f"{metric.title} {metric.format(best.score or 0.0)} on the {self.images:,} held-out images that chose it "
            "(optimistic: the best of many).",
            f"Command:  googlenet train {self.data} --recipe {self.recipe_file}{weights} --out runs/mine",
        ]
        directory.write_whole(self.out / RESULTS, json_text(self.to_dict(), indent=2).encode())
        fields = self.recipe.model_dump(mode="json", exclude_defaults=True)
        directory.write_whole(self.recipe_file, recipe_text(fields, head).encode())


def best_of(trials: tuple[Trial, ...], metric: str) -> Trial | None:
    """Return the finished trial with the best score, of equals the first; ``None`` where none finished."""
    finished = [trial for trial in trials if trial.state == "finished" and trial.score is not None]
    return max(finished, key=lambda trial: METRICS[metric].key(trial.score or 0.0), default=None)
