"""Where a run stands, and the rows of its log. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from googlenet import former
from googlenet.errors import CheckpointError
from googlenet.metrics import LOSS, METRICS


@dataclass(frozen=True)
class EpochResult:
    """A row of the log: one epoch, or all epochs since the previous row where not every one is validated.

    Losses are means over it; ``head_losses`` are unweighted, the main one first. ``train`` and ``val`` are metrics by
    name, fractions of 1. ``waiting`` is the share of ``seconds`` spent waiting for images. ``mirror_gain`` is how much
    better the main metric is with mirror images, where the recipe asks for them.
    """

    epoch: int
    lr: float
    loss: float
    head_losses: tuple[float, ...]
    train: dict[str, float]
    val_loss: float
    val: dict[str, float]
    images_per_second: float
    seconds: float
    waiting: float
    mirror_gain: float | None = None

    def score(self, metric: str) -> float:
        """Return a metric of the held-out images, or their loss."""
        return self.val_loss if metric == LOSS.name else self.val[metric]

    def to_row(self) -> dict[str, Any]:
        """Return one level of names: ``val_top1`` for what ``val`` calls ``top1``; without what was not measured."""
        row: dict[str, Any] = {}
        for name, value in asdict(self).items():
            row |= {f"{name}_{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
        return {name: value for name, value in row.items() if value is not None}


@dataclass
class Progress:
    """Where a run stands: ``batch`` batches of ``epoch`` (from 0) are done.

    ``sums`` of the losses, ``correct``, ``seen``, ``seconds`` and ``waiting`` are counted since the last row of the
    log; ``elapsed`` are the seconds since the run was started, without the pauses between stopping and resuming.
    ``best_sha256`` is of the weights of the best epoch as they were saved; the weights of epochs up to ``lost`` are
    gone. ``phase`` is the number of the phase it is in, from 0, ``phase_start`` the epochs before it, and
    ``phase_begin`` the share of the schedule at which it began, where that was early; ``maps`` are the sha256 of cached
    maps by view. Epoch 0 of the history is the linear classifier fitted before the first step.
    """

    epoch: int = 0
    batch: int = 0
    sums: list[float] = field(default_factory=list)
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0
    waiting: float = 0.0
    elapsed: float = 0.0
    history: list[EpochResult] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    best_sha256: str = ""
    lost: int = -1
    phase: int = 0
    phase_start: int = 0
    phase_begin: float | None = None
    maps: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Progress:
        """Read what :meth:`to_json` returned. Raises :class:`CheckpointError` where it is of another version."""
        try:
            rows = [
                EpochResult(**former.measured(row) | {"head_losses": tuple(row["head_losses"])})
                for row in state["history"]
            ]
            return cls(**{**state, "history": rows})
        except (KeyError, TypeError) as error:
            raise CheckpointError("the checkpoint is of another version of googlenet: start a new run") from error

    def count(self, losses: list[float], correct: int, images: int) -> None:
        """Count a step: the sums of its losses, of right answers and of images."""
        self.sums = [a + b for a, b in zip(self.sums or [0.0] * len(losses), losses, strict=True)]
        self.correct += correct
        self.seen += images

    def close_epoch(self, result: EpochResult) -> Progress:
        """Return the progress at the start of the next epoch."""
        return Progress(result.epoch, elapsed=self.elapsed, history=[*self.history, result],
                        unreadable=self.unreadable, best_sha256=self.best_sha256, lost=self.lost, phase=self.phase,
                        phase_start=self.phase_start, phase_begin=self.phase_begin, maps=self.maps)  # fmt: skip

    def best(self, metric: str) -> EpochResult | None:
        """Return the epoch with the best ``metric``, the latest among equals."""
        there = (row for row in self.history if row.epoch > self.lost)
        return max(there, key=lambda row: (METRICS[metric].key(row.score(metric)), row.epoch), default=None)

    def stale_epochs(self, metric: str) -> int:
        """Return for how many epochs of this phase, up to the last validated one, ``metric`` has not become better."""
        best = self.best(metric)
        if best is None:
            return 0
        first = min(row.epoch for row in self.history if row.score(metric) == best.score(metric))
        return self.history[-1].epoch - max(first, self.phase_start)

    @property
    def is_validated(self) -> bool:
        """Whether the run stands right after a validation, so that its weights are those that were validated."""
        return bool(self.history) and self.history[-1].epoch == self.epoch and not (self.batch or self.seen)


class Callback(Protocol):
    """Is told how training goes, and may ask to stop."""

    def step(self, progress: Progress, steps: int, loss: float) -> None:
        """Called after a training step, of ``steps`` in an epoch, with the loss of its batch."""

    def epoch(self, result: EpochResult) -> None:
        """Called after an epoch."""

    def maps(self, view: str, done: int, count: int) -> None:
        """Called while maps of frozen stages are computed, with how many images of how many are done."""

    def unreadable(self, name: str, reason: str) -> None:
        """Called for an image that cannot be read, once for each."""

    def warn(self, message: str) -> None:
        """Called when something goes wrong, with what to try."""

    def should_stop(self) -> bool:
        """Whether to save and stop now."""
        ...
