"""What ``train`` takes beside data and recipe: how a run uses the machine, and every option by keyword. No torch."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict

from pydantic import AfterValidator, Field, model_validator

from googlenet.errors import DeviceError, RecipeError
from googlenet.parallel import cores
from googlenet.preprocessing import ResizeMode
from googlenet.text import nearest
from googlenet.training.augmentation import Augmentation
from googlenet.training.callbacks import check_callbacks, require_logger
from googlenet.training.recipe import BestBy, Recipe
from googlenet.training.settings import Settings, plain

DEVICES = ("cpu", "cuda", "mps")
MIN_MAX_WORKERS, MAX_WORKERS_PER_CORE = 8, 4


class RunOptions(Settings):
    """How a run uses the machine. Only ``on_bad_image`` and ``augment`` change what is learnt."""

    device: str = Field(
        default="auto", description="Where to compute: auto, cpu, cuda or mps; auto takes a GPU if there is one."
    )
    workers: int | None = Field(
        default=None,
        ge=0,
        description="Processes that read and augment images. By default one per core, at most 8; 0 reads in the "
        "process that trains.",
    )
    on_bad_image: Literal["skip", "stop"] = Field(
        default="skip", description="What to do with an image that cannot be read: skip it and name it, or stop."
    )
    checkpoint_minutes: float = Field(
        default=10.0, gt=0, description="Minutes between checkpoints within an epoch; each epoch ends with one."
    )
    cache_gib: float | None = Field(
        default=None,
        gt=0,
        le=65_536,
        description="GiB of disk for maps of frozen stages (`cached_views`), mapped into memory, deleted at the end. "
        "By default a quarter of the memory, at most half of the free disk space.",
    )
    download: bool = Field(
        default=False, description="Allow the published weights that `weights` names to be downloaded."
    )
    log: Literal["tensorboard", "mlflow", "wandb"] | None = Field(
        default=None,
        description="Log to TensorBoard, MLflow or Weights & Biases as well, in OUT; log.csv is written anyway.",
    )
    callbacks: Annotated[Sequence[Any], AfterValidator(check_callbacks)] = Field(
        default=(), description="Objects whose on_step and on_epoch are called with a StepResult and an EpochResult."
    )
    augment: Callable[[Any, Any], Any] | None = Field(
        default=None,
        description="A function of your own, called last with each training image, (H, W, C) uint8, and a "
        "numpy.random.Generator; it returns an image of the same shape and type.",
    )

    @model_validator(mode="after")
    def _workers_suit_the_machine(self) -> RunOptions:
        most = max(MIN_MAX_WORKERS, MAX_WORKERS_PER_CORE * cores())
        if self.workers is not None and self.workers > most:
            raise ValueError(f"workers = {self.workers}: should be 0 to {most}, {MAX_WORKERS_PER_CORE} for each core")
        return self


class TrainOptions(TypedDict, total=False):
    """The keyword options of :func:`googlenet.train`: settings of :class:`Recipe`, then those of the machine.

    ``None`` stands for the recipe's value, or the default.
    """

    aux: int | None
    epochs: int | None
    minutes: float | None
    patience: int | None
    best_by: BestBy | None
    image_size: int | None
    crop_fraction: float | None
    mirror: bool | None
    keep_neighbours: bool | None
    initial_size: float | None
    growth_fraction: float | None
    max_batches_per_step: int | None
    in_channels: int | None
    resize: ResizeMode | None
    batch_size: int | None
    accumulate: int | None
    precision: Literal["auto", "fp32", "bf16"] | None
    optimizer: str | None
    lr: float | None
    momentum: float | None
    nesterov: bool | None
    lr_decay: float | None
    freeze: str | None
    pool_from: str | None
    freeze_norm: bool | None
    unfreeze: Literal["none", "gradual"] | None
    cached_views: int | None
    cache_after: str | None
    cached_share: float | None
    weight_decay: float | None
    schedule: str | None
    warmup: float | None
    step_epochs: int | None
    lr_gamma: float | None
    label_smoothing: float | None
    ema_decay: float | None
    dropout: float | None
    init: Literal["truncated_normal", "kaiming", "xavier"] | None
    val_fraction: float | None
    test_fraction: float | None
    seed: int | None
    class_balance: Literal["none", "weighted_loss", "oversample"] | None
    augmentation: Augmentation | Mapping[str, Any] | str | None
    device: Literal["auto", "cpu", "cuda", "mps"] | None
    workers: int | None
    on_bad_image: Literal["skip", "stop"] | None
    checkpoint_minutes: float | None
    cache_gib: float | None
    download: bool | None
    log: Literal["tensorboard", "mlflow", "wandb"] | None
    callbacks: Sequence[Any] | None
    augment: Callable[[Any, Any], Any] | None


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], RunOptions]:
    """Tell the settings of a recipe from the options of the machine, which are checked.

    Raises:
        RecipeError: an unknown name, or a wrong value.
        DeviceError: a device that does not exist, or that this machine does not have.
        MissingExtraError: what ``log`` needs is not installed.
    """
    known = {**Recipe.model_fields, **RunOptions.model_fields}
    for name in options:
        if name not in known:
            raise RecipeError(f"train has no option {name!r}: {nearest(name, known)}")
    of_machine = {name: plain(value) for name, value in options.items() if name in RunOptions.model_fields}
    run_options = RunOptions(**{name: value for name, value in of_machine.items() if value is not None})
    check_device(run_options.device)
    require_logger(run_options.log)
    return {name: value for name, value in options.items() if name in Recipe.model_fields}, run_options


def check_device(device: str) -> None:
    """Raise :class:`DeviceError` where there is no such device, as far as that is known without PyTorch."""
    if device not in ("auto", *DEVICES):
        raise DeviceError(f"no device is called {device!r}: allowed are auto, {', '.join(DEVICES)}")
    usable = [name for name in DEVICES if name not in absent_devices()]
    if device not in ("auto", *usable):
        raise DeviceError(f"this machine has no {device}: it has {', '.join(usable)}; --device auto takes the best")


def absent_devices() -> set[str]:
    """Return the devices that this machine does not have, as far as that is known without PyTorch."""
    absent = set() if sys.platform == "darwin" else {"mps"}
    nodes = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvhost-ctrl", "/dev/nvmap", "/dev/kfd")
    without_driver = sys.platform == "linux" and not any(map(os.path.exists, nodes))
    if without_driver or importlib.metadata.version("torch").endswith("+cpu"):
        absent.add("cuda")
    return absent
