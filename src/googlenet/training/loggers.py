"""TensorBoard, MLflow and Weights & Biases, through Lightning's loggers, as callbacks. No torch until one is made.

Nothing is sent anywhere by itself: TensorBoard and MLflow write into the run directory, Weights & Biases works offline,
unless the variables of MLflow and W&B (``MLFLOW_TRACKING_URI``, ``WANDB_MODE``) say otherwise.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from googlenet.training.callbacks import StepResult
from googlenet.training.directory import MLFLOW, TENSORBOARD, WANDB
from googlenet.training.progress import EpochResult

STEP_SECONDS = 1.0  # between two steps that are logged


def _tensorboard(run: Path, step: int) -> Any:
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    # What a run that was killed had logged after its checkpoint is hidden.
    return TensorBoardLogger(root_dir=run, name=TENSORBOARD, version="", purge_step=step)


def _mlflow(run: Path, step: int) -> Any:
    from pytorch_lightning.loggers import MLFlowLogger

    address = os.environ.get("MLFLOW_TRACKING_URI") or (run / MLFLOW).absolute().as_uri()
    return MLFlowLogger("googlenet", run_name=run.name, tracking_uri=address)


def _wandb(run: Path, step: int) -> Any:
    from pytorch_lightning.loggers import WandbLogger

    os.environ.setdefault("WANDB_MODE", "offline")
    (run / WANDB).mkdir(exist_ok=True)
    return WandbLogger(name=run.name, project="googlenet", save_dir=run)


_MAKE: dict[str, Callable[[Path, int], Any]] = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}


class LoggerCallback:
    """Passes the rows of the log, and now and then the loss of a step, to a logger of Lightning."""

    def __init__(self, name: str, run: Path, step: int) -> None:
        self.logger = _MAKE[name](run, step)
        self.steps = step  # that were seen, which epochs are logged at
        self.logged = -math.inf
        self.__name__ = f"--log {name}"

    def on_step(self, result: StepResult) -> None:
        """Log loss and learning rate, once a second at most."""
        self.steps = result.step
        if result.elapsed - self.logged >= STEP_SECONDS:
            self.logged = result.elapsed
            self.logger.log_metrics({"step/loss": result.loss, "step/lr": result.lr}, step=result.step)

    def on_epoch(self, result: EpochResult) -> None:
        """Log the row of an epoch, under the names of log.csv."""
        row = result.to_columns()
        self.logger.log_metrics({f"epoch/{name}": float(value) for name, value in row.items()}, step=self.steps)

    def close(self) -> None:
        """Write what is not written yet."""
        self.logger.finalize("success")
