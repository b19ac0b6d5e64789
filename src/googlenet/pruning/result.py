"""What pruning found: what was removed, and the network before and after in accuracy, cost and speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from googlenet.benchmarking.in_turns import SpeedInTurns
from googlenet.bundle import Bundle
from googlenet.evaluation.comparison import Comparison
from googlenet.evaluation.intervals import Interval
from googlenet.metrics import METRICS
from googlenet.pruning.ranking import Branch
from googlenet.text import escape_surrogates, first_few

ORIGINAL, CUT, TUNED = "original", "branches removed", "fine-tuned"
WORTH = 1.1  # times as fast; of less, prune says that it is hardly worth it


@dataclass(frozen=True)
class State:
    """The network before, in between or after: ``name`` says which.

    ``score`` is the share of images that are answered right, ``against`` the comparison with the original on the same
    images, ``macs`` per image, ``speed`` that of fp32 on this machine (``None`` in between, where it is that of after).
    """

    name: str
    score: Interval
    against: Comparison | None
    macs: int
    parameters: int
    speed: SpeedInTurns | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {
            "name": self.name,
            "score": self.score.to_dict(),
            "against": self.against and self.against.to_dict(),
            "macs": self.macs,
            "parameters": self.parameters,
            "speed": self.speed and self.speed.to_dict(),
        }


@dataclass(frozen=True)
class Pruning:
    """What :func:`googlenet.prune` returns.

    ``bundle`` is that of the pruned and fine-tuned network, ``run`` the original. ``ranking`` has what each branch is
    worth, the least useful for its cost first, measured on ``images`` held-out images; ``removed`` those that were
    removed. ``states`` are the network before, with the branches removed, and after fine-tuning. ``metric`` is what
    ``score`` of these is: ``"top1"``, or ``"exact"`` with several labels. ``bordered`` names the layers at whose border
    removing was not exact. ``notes`` explain how the images were chosen.
    """

    bundle: Bundle
    run: Path
    metric: str
    images: int
    ranking: tuple[Branch, ...]
    removed: tuple[Branch, ...]
    states: tuple[State, State, State]
    bordered: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def macs(self) -> float:
        """The share of the multiply-accumulates that is left."""
        before, _, after = self.states
        return after.macs / before.macs

    @property
    def verdict(self) -> str:
        """What pruning brought, in one or two sentences."""
        _, _, after = self.states
        against, speed, title = after.against, after.speed, METRICS[self.metric].title
        assert against is not None
        assert speed is not None
        bulk, points = speed.faster_in_bulk, 100 * against.difference.value
        faster = f"{bulk.value:.2f}× as many images per second [{bulk.low:.2f}, {bulk.high:.2f}]"
        text = f"{self.macs:.0%} of the multiply-accumulates, {faster}, {title} "
        if against.verdict == "no difference":
            shown = f", and so many images show {100 * against.detectable:.1f}" if against.detectable else ""
            text += f"{points:+.1f} points, which chance explains{shown}"
        else:
            text += f"{abs(points):.1f} points {against.verdict}"
        if bulk.low <= 1:
            text += "; no gain of speed is shown: other work on this machine, or too small a network"
        elif bulk.value < WORTH:
            text += f"; a gain of speed below {WORTH - 1:.0%} is hardly worth it"
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes: what ``pruning.json`` holds."""
        return {
            "run": escape_surrogates(str(self.run)),
            "bundle": escape_surrogates(str(self.bundle.path)),
            "metric": self.metric,
            "macs": self.macs,
            "verdict": self.verdict,
            "states": [state.to_dict() for state in self.states],
            "images": self.images,
            "removed": [branch.to_dict() for branch in self.removed],
            "ranking": [branch.to_dict() for branch in self.ranking],
            "bordered": list(self.bordered),
            "notes": list(self.notes),
            "machine": dict(self.machine),
        }


def named(branches: tuple[Branch, ...]) -> str:
    """Return a few branches by name.

    >>> named(())
    'none'
    """
    return first_few([f"{branch.module} {branch.name}" for branch in branches]) if branches else "none"
