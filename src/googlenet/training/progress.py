"""Where a run stands, and the rows of its log. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any, Protocol

from googlenet import former
from googlenet.errors import CheckpointError
from googlenet.metrics import LOSS, METRICS

TUPLES = ("head_losses", "aux_train", "gradient_norms")  # of a row: lists in JSON


@dataclass(frozen=True)
class EpochResult:
    """A row of the log: one epoch, or all epochs since the previous row where not every one is validated.

    Losses are means over it; ``head_losses`` are unweighted, the main one first. ``train`` and ``val`` are metrics by
    name, fractions of 1. ``waiting`` is the share of ``seconds`` spent waiting for images. ``mirror_gain`` is how much
    better the main metric is with mirror images, where the recipe asks for them. ``aux_train`` is the metric of
    ``train`` of each auxiliary head; ``gradient_norms`` are means over the images of the norm of the gradients of the
    last stage with weights, and of those of each head.
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
    aux_train: tuple[float, ...] = ()
    gradient_norms: tuple[float, ...] = ()

    def score(self, metric: str) -> float:
        """Return a metric of the held-out images, or their loss."""
        return self.val_loss if metric == LOSS.name else self.val[metric]

    def to_row(self) -> dict[str, Any]:
        """Return one level of names: ``val_top1`` for what ``val`` calls ``top1``; without what was not measured."""
        row: dict[str, Any] = {}
        for name, value in asdict(self).items():
            row |= {f"{name}_{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
        return {name: value for name, value in row.items() if value not in (None, ())}

    def to_columns(self) -> dict[str, Any]:
        """Return the row of the log: as :meth:`to_row`, with what each head has in a column of its own."""
        row = self.to_row()
        losses = _of_heads("loss", row.pop("head_losses"))
        metric = next(iter(self.train), "")
        aux = {f"train_{metric}_aux{n}": value for n, value in enumerate(row.pop("aux_train", ()), start=1)}
        norms = _of_heads("gradient_norm", row.pop("gradient_norms", ()))
        return {
            "epoch": row.pop("epoch"),
            "lr": row.pop("lr"),
            "loss": row.pop("loss"),
            **losses,
            **row,
            **aux,
            **norms,
        }


def _of_heads(name: str, values: tuple[float, ...]) -> dict[str, float]:
    return {f"{name}_aux{n}" if n else f"{name}_main": value for n, value in enumerate(values)}


@dataclass
class Progress:
    """Where a run stands: ``batch`` batches of ``epoch`` (from 0) are done.

    ``sums`` of the losses, ``correct``, ``aux_correct`` of each head, ``norms`` of gradients, ``seen``, ``seconds`` and
    ``waiting`` are counted since the last row of the log; ``elapsed`` are the seconds since the run was started,
    without the pauses between stopping and resuming.
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
    aux_correct: list[int] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Progress:
        """Read what :meth:`to_json` returned. Raises :class:`CheckpointError` where it is of another version."""
        try:
            rows = [
                EpochResult(**former.measured(row) | {name: tuple(row.get(name, ())) for name in TUPLES})
                for row in state["history"]
            ]
            return cls(**{**state, "history": rows})
        except (KeyError, TypeError) as error:
            raise CheckpointError("the checkpoint is of another version of googlenet: start a new run") from error

    def count(
        self, losses: list[float], correct: int, images: int, aux_correct: Sequence[int] = (),
        norms: Sequence[float] = (),
    ) -> None:  # fmt: skip
        """Count a step: the sums of its losses, of right answers, of each head as well, and of images.

        ``norms`` are those of the gradients of each output.
        """
        self.sums = [a + b for a, b in zip(self.sums or [0.0] * len(losses), losses, strict=True)]
        self.aux_correct = _added(self.aux_correct, aux_correct)
        self.norms = _added(self.norms, [images * norm for norm in norms])
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


def _added(total: list[Any], more: Sequence[Any]) -> list[Any]:
    """Add element by element; a side without elements counts as zeros."""
    return [a + b for a, b in zip_longest(total, more, fillvalue=0)]


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
