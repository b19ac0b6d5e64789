"""Callbacks of the caller's: told of each step and each epoch; one that fails stops the run, after it was saved.

No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from googlenet.errors import CallbackError
from googlenet.extras import require
from googlenet.training.progress import EpochResult

METHODS = ("on_step", "on_epoch")
# Logger → its packages, and the extra that installs each.
LOGGERS = {
    "tensorboard": {"tensorboard": "log"},
    "mlflow": {"pytorch_lightning": "log", "mlflow": "mlflow"},
    "wandb": {"pytorch_lightning": "log", "wandb": "wandb"},
}


def require_logger(name: str | None) -> None:
    """Raise :class:`MissingExtraError` where what a logger needs is not installed."""
    for package, extra in LOGGERS[name].items() if name else ():
        require(extra, package)


@dataclass(frozen=True)
class StepResult:
    """What a callback's ``on_step`` is told after a training step.

    Attributes:
        epoch: its epoch, from 1.
        batch: how many of the epoch's ``batches`` are done.
        batches: batches of an epoch.
        loss: mean over the images of the batch, auxiliary heads included; NaN where no image could be read.
        lr: the learning rate of the step, before it is scaled for each stage.
        elapsed: seconds since the run was started, without pauses between stopping and resuming.
    """

    epoch: int
    batch: int
    batches: int
    loss: float
    lr: float
    elapsed: float

    @property
    def step(self) -> int:
        """Batches since the start of the run."""
        return (self.epoch - 1) * self.batches + self.batch


def check_callbacks(callbacks: Sequence[Any]) -> Sequence[Any]:
    """Raise :class:`ValueError` for what has neither ``on_step`` nor ``on_epoch``."""
    for number, callback in enumerate(callbacks):
        if not any(callable(getattr(callback, method, None)) for method in METHODS):
            raise ValueError(
                f"{_name(callback)}, number {number + 1}, has neither on_step nor on_epoch, which take one argument"
            )
    return callbacks


class Listeners:
    """Calls the callbacks of a run in their order. The first error is kept as ``failure``: none is called after it."""

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self.by_method = {
            method: [callback for callback in callbacks if callable(getattr(callback, method, None))]
            for method in METHODS
        }
        self.failure: CallbackError | None = None

    @property
    def hear_steps(self) -> bool:
        """Whether any callback wants to know of steps."""
        return bool(self.by_method["on_step"])

    def on_step(self, result: StepResult) -> None:
        """Tell them of a step."""
        self._tell("on_step", result, f"step {result.batch} of epoch {result.epoch}")

    def on_epoch(self, result: EpochResult) -> None:
        """Tell them of a validated epoch."""
        self._tell("on_epoch", result, f"epoch {result.epoch}")

    def _tell(self, method: str, result: Any, where: str) -> None:
        for callback in self.by_method[method]:
            if self.failure is not None:
                return
            try:
                getattr(callback, method)(result)
            except Exception as error:  # noqa: BLE001 - it is the caller's code: whatever it raises, the run is saved
                message = f"the callback {_name(callback)}.{method} failed after {where}: {_line(error)}"
                self.failure = CallbackError(message)
                self.failure.__cause__ = error


def _name(callback: Any) -> str:
    return str(getattr(callback, "__name__", type(callback).__name__))


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
