"""What a run tells of itself while it trains: the log on disk, the display, callbacks and loggers."""

from __future__ import annotations

from pathlib import Path

from googlenet.errors import CallbackError
from googlenet.training.callbacks import Listeners, StepResult
from googlenet.training.directory import LOG
from googlenet.training.display import Display
from googlenet.training.loggers import LoggerCallback
from googlenet.training.progress import EpochResult, Progress
from googlenet.training.ship import write_log
from googlenet.training.trainer import Trainer


class Recorder:
    """Keeps the log on disk up to date and passes everything on to the display and, in the first process, callbacks.

    It asks to stop after a signal, of which ``caught`` holds the number, and after a callback failed.
    """

    def __init__(self, display: Display, run: Path, trainer: Trainer, caught: list[int]) -> None:
        self.maps, self.unreadable, self.warn = display.maps, display.unreadable, display.warn
        self.display, self.run, self.trainer, self.caught = display, run, trainer, caught
        options, first = trainer.options, trainer.processes.is_first
        done = trainer.progress.epoch * len(trainer.batches) + trainer.progress.batch
        self.logger = LoggerCallback(options.log, run, done) if options.log and first else None
        self.listeners = Listeners([*options.callbacks, *([self.logger] if self.logger else [])] if first else [])

    def step(self, progress: Progress, steps: int, loss: float) -> None:
        """Pass on a step."""
        self.display.step(progress, steps, loss)
        if self.listeners.hear_steps:
            group = self.trainer.optimizer.param_groups[-1]
            lr = group["lr"] / group["scale"]
            self.listeners.on_step(StepResult(progress.epoch + 1, progress.batch, steps, loss, lr, progress.elapsed))

    def epoch(self, result: EpochResult) -> None:
        """Pass on an epoch, and write the log."""
        self.display.epoch(result)
        if self.trainer.processes.is_first:
            write_log(self.run / LOG, self.trainer.progress.history)
            self.listeners.on_epoch(result)

    def should_stop(self) -> bool:
        """Whether there was a signal, or a callback failed."""
        return bool(self.caught) or self.listeners.failure is not None

    def failure(self) -> CallbackError | None:
        """Return the error of a callback that failed in the first process; all processes have to ask for it."""
        failed = self.trainer.processes.broadcast(str(self.listeners.failure or ""))
        return self.listeners.failure or (CallbackError(failed) if failed else None)

    def close(self) -> None:
        """Close the logger."""
        if self.logger is not None:
            self.logger.close()
