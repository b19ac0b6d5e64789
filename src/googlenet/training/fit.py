"""The loop: epochs of steps and validation, which can be stopped anywhere and goes on exactly where it was."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel

from googlenet.card import Preprocessing
from googlenet.data.pictures import LabelledData, Picture
from googlenet.errors import CheckpointError, NonFiniteLossError, UnreadableImageError
from googlenet.models.build import ConvNet
from googlenet.training import checkpoint
from googlenet.training.loading import Batch, Batches, PictureDataset, Place, loader
from googlenet.training.objective import Objective, balancing_weights
from googlenet.training.pace import Epochs, Minutes, Pace
from googlenet.training.recipe import Recipe
from googlenet.training.task import task_of

NOTHING = 0.005  # of the loss of guessing: what is nearer to it has learnt nothing
ENOUGH = 10  # steps of an epoch after which something should have been learnt
FORESEEN = 32  # pictures that tell how long the validation of all will take


@dataclass(frozen=True)
class EpochResult:
    """A row of the log: an epoch, or all since the row before where not every epoch is validated.

    Losses are means over it; ``head_losses`` are unweighted, the main one first. ``train`` and ``val`` are
    the scores of the task by their names, fractions of 1.
    """

    epoch: int
    lr: float
    loss: float
    head_losses: tuple[float, ...]
    train: dict[str, float]
    val_loss: float
    val: dict[str, float]
    pictures_per_second: float
    seconds: float
    waiting: float  # the share of the seconds in which the step waited for pictures

    def to_row(self) -> dict[str, Any]:
        """Give one level of names: ``val_top1`` for what ``val`` calls ``top1``."""
        row: dict[str, Any] = {}
        for name, value in asdict(self).items():
            row |= {f"{name}_{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
        return row


@dataclass
class Progress:
    """Where the run stands. ``batch`` batches of ``epoch`` (from 0) are done.

    ``sums``, ``correct``, ``seen``, ``seconds`` and ``waiting`` (those of them spent waiting for pictures) are of all
    since the last row of the log; ``elapsed`` are the seconds since the run was begun, pauses between stopping and
    resuming left out.
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

    def to_state(self) -> dict[str, Any]:
        """Give what JSON takes."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Progress:
        """Read back what :meth:`to_state` gave."""
        try:
            rows = [EpochResult(**{**row, "head_losses": tuple(row["head_losses"])}) for row in state["history"]]
            return cls(**{**state, "history": rows})
        except (KeyError, TypeError) as error:
            raise CheckpointError("the checkpoint is of another version of googlenet: start a new run") from error


class Watcher(Protocol):
    """Who is told how it goes, and may ask to stop."""

    def step(self, progress: Progress, steps: int, loss: float) -> None:
        """Hear of a training step: ``loss`` is the batch's."""

    def epoch(self, result: EpochResult) -> None:
        """Hear of a finished epoch."""

    def unreadable(self, name: str, reason: str) -> None:
        """Hear of a picture that could not be read, once for each."""

    def warn(self, message: str) -> None:
        """Hear of something that is going wrong, and what to try."""

    def should_stop(self) -> bool:
        """Say whether to save and stop now."""


class Fit:
    """One training run in memory: network, optimizer, moving average, data, and where it stands.

    ``begun`` is when it was begun, by ``time.perf_counter()``: what its minutes are counted from.
    """

    def __init__(
        self,
        network: ConvNet,
        data: LabelledData,
        recipe: Recipe,
        rule: Preprocessing,
        fabric: Fabric,
        stop_on_bad_image: bool = False,
        begun: float | None = None,
    ) -> None:
        self.data, self.recipe, self.rule, self.fabric = data, recipe, rule, fabric
        self.stop_on_bad_image = stop_on_bad_image
        self.begun = time.perf_counter() if begun is None else begun
        self.progress = Progress()
        self.task = task_of(data)
        self.thresholds = self.task.tally().thresholds()  # of the last validation, once there was one
        weights = balancing_weights(list(data.train.counts().values())) if recipe.balance == "loss" else None
        objective = Objective(network, rule, recipe.label_smoothing, self.task, weights)
        objective.to(memory_format=torch.channels_last)
        self.network = network
        self.objective: nn.Module
        self.objective, self.optimizer = fabric.setup(objective, _optimizer(network, recipe))
        self.averaged = (
            AveragedModel(network, multi_avg_fn=_average(recipe.averaging), use_buffers=True)
            if recipe.averaging
            else None
        )
        self.normalise = objective.normalise
        classes = [item.label for item in data.train.items] if recipe.balance == "sample" else None
        self.batches = Batches(len(data.train), recipe.batch_size, recipe.seed, True, self._side, classes)
        self.pace = _pace(recipe, len(self.batches))
        train = PictureDataset(data.train, rule, recipe.seed, recipe.augmentation)
        self.train_loader = loader(train, self.batches, self.task)
        val = PictureDataset(data.val, rule, recipe.seed, None)
        in_order = Batches(len(data.val), 2 * recipe.batch_size, recipe.seed, False, lambda *_: rule.size)
        self.val_loader = loader(val, in_order, self.task)

    @property
    def best_network(self) -> ConvNet:
        """The network that is evaluated and shipped: the moving average of the weights, where there is one."""
        if self.averaged is None:
            return self.network
        module = self.averaged.module
        assert isinstance(module, ConvNet)
        return module

    def run(self, watcher: Watcher, last: Path, best: Path) -> bool:
        """Train until the recipe's epochs or minutes are over. ``False`` when stopped before; ``last`` is saved."""
        while not self._is_finished():
            if not self._train_epoch(watcher):
                self.save(last)
                return False
            if self.pace.validates(self.progress):
                self._close_epoch(watcher, last, best)
            else:
                self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0
        return True

    def _is_finished(self) -> bool:
        """Whether no step is left and what the steps did is validated."""
        return self.pace.is_up(self.progress) and bool(self.progress.history) and not self.progress.seen

    def _close_epoch(self, watcher: Watcher, last: Path, best: Path) -> None:
        begun = time.perf_counter()
        result = self._finish_epoch(watcher)
        metric = self.task.metric
        if result.val[metric] >= max(row.val[metric] for row in self.progress.history):
            state = {"epoch": result.epoch, "thresholds": self.thresholds}
            checkpoint.save(best, self.best_network.state_dict(), state)
        self.progress.elapsed = self._elapsed()
        self.save(last)
        watcher.epoch(result)
        if message := self._learnt_nothing(result):
            watcher.warn(message)
        self.pace.validated(time.perf_counter() - begun)

    def _learnt_nothing(self, result: EpochResult) -> str | None:
        """Say which heads guess as well after the epoch as before it: their loss stays at ln K."""
        guessing = self.task.guessing()
        names = ["the classifier", *(tap.name for tap in self.network.network.aux)]
        stuck = [
            name
            for name, loss in zip(names, result.head_losses, strict=True)
            if abs(loss - guessing) < NOTHING * guessing
        ]
        if not stuck or len(self.batches) < ENOUGH:
            return None
        return (
            f"{', '.join(stuck)} learnt nothing in epoch {result.epoch}: the loss is {guessing:.3f}, as of guessing; "
            'try a --network with batch normalisation, another --lr, or another init ("truncated_normal") in the recipe'
        )

    def _elapsed(self) -> float:
        return time.perf_counter() - self.begun

    def save(self, path: Path) -> None:
        """Write everything needed to go on exactly from here."""
        tensors = {
            **checkpoint.with_prefix("network", self.network.state_dict()),
            **checkpoint.with_prefix("averaged", self.averaged.state_dict() if self.averaged else {}),
            **checkpoint.with_prefix("optimizer", checkpoint.optimizer_tensors(self.optimizer.optimizer)),
            **checkpoint.with_prefix("random", _random_states()),
        }
        checkpoint.save(path, tensors, {"recipe": self.recipe.model_dump(), "progress": self.progress.to_state()})

    def restore(self, path: Path) -> None:
        """Go on from what :meth:`save` wrote. Raises :class:`CheckpointError`."""
        tensors, state = checkpoint.load(path)
        checkpoint.restore_module(self.network, checkpoint.under_prefix("network", tensors), path)
        if self.averaged:
            checkpoint.restore_module(self.averaged, checkpoint.under_prefix("averaged", tensors), path)
        checkpoint.restore_optimizer(self.optimizer.optimizer, checkpoint.under_prefix("optimizer", tensors))
        _restore_random_states(checkpoint.under_prefix("random", tensors))
        self.progress = Progress.from_state(state["progress"])
        self.begun -= self.progress.elapsed

    @torch.no_grad()
    def foresee_validation(self) -> float:
        """Read and run a few of the pictures: the seconds that validation will take."""
        network, pictures, count = self.best_network.eval(), self.val_loader.dataset, len(self.data.val)
        some = range(0, count, -(-count // FORESEEN))
        begun = time.perf_counter()
        batch: Batch = self.val_loader.collate_fn([pictures[Place(0, index, self.rule.size)] for index in some])
        reading = (time.perf_counter() - begun) / len(some) / max(1, self.val_loader.num_workers)
        images = self.fabric.to_device(batch.images)
        taken = [0.0]
        if len(images):
            taken = [self._seconds_to_run(network, images) for _ in range(3)]  # the first is slow: it compiles
        return (reading + min(taken) / max(1, len(images))) * count

    def _seconds_to_run(self, network: ConvNet, images: Tensor) -> float:
        begun = time.perf_counter()
        with self.fabric.autocast():
            network(self.normalise(images)).sum().item()
        return time.perf_counter() - begun

    def _train_epoch(self, watcher: Watcher) -> bool:
        """Do the steps left of this epoch, or until the time is up.

        ``False`` when asked to stop, after the step that was under way.
        """
        progress, steps = self.progress, len(self.batches)
        self.batches.epoch, self.batches.start = progress.epoch, progress.batch
        self.objective.train()
        clock = time.perf_counter()
        for batch in self.train_loader if progress.batch < steps else ():
            progress.waiting += time.perf_counter() - clock
            self._note_unreadable(batch, self.data.train.items, watcher)
            loss = self._step(batch) if len(batch.indices) > 1 else math.nan
            progress.batch += 1
            now = time.perf_counter()
            progress.seconds += now - clock
            self.pace.stepped(now - clock, batch.images.shape[0] * batch.images.shape[-1] ** 2)
            progress.elapsed = self._elapsed()
            watcher.step(progress, steps, loss)
            clock = now
            if watcher.should_stop():
                return False
            if self.pace.is_up(progress):
                break
        return True

    def _step(self, batch: Batch) -> float:
        lr = self._learning_rate(self.pace.share(self.progress))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        labels = self.fabric.to_device(batch.labels)
        losses = self.objective(self.fabric.to_device(batch.images), labels)
        numbers: list[float] = [losses.total.item(), *losses.parts.tolist()]
        if not all(map(math.isfinite, numbers)):
            raise self._non_finite(batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(losses.total)
        self.optimizer.step()
        if self.averaged:
            self.averaged.update_parameters(self.network)
        self._count(numbers, losses.logits, labels)
        return numbers[0]

    def _count(self, numbers: list[float], logits: Tensor, labels: Tensor) -> None:
        progress, n = self.progress, len(labels)
        progress.sums = [a + n * b for a, b in zip(progress.sums or [0.0] * len(numbers), numbers, strict=True)]
        progress.correct += self.task.correct(logits, labels)
        progress.seen += n

    def _finish_epoch(self, watcher: Watcher) -> EpochResult:
        progress = self.progress
        val_loss, val = self._validate(watcher)
        seen = max(progress.seen, 1)
        loss, *heads = (total / seen for total in progress.sums or [math.nan] * (1 + len(self.network.network.aux)))
        lr = self._learning_rate(self.pace.share(replace(progress, batch=max(0, progress.batch - 1))))
        speed = progress.seen / max(progress.seconds, 1e-9)
        train = {self.task.counted: progress.correct / seen}
        result = EpochResult(progress.epoch + 1, lr, loss, tuple(heads), train, val_loss, val, speed, progress.seconds,
                             progress.waiting / max(progress.seconds, 1e-9))  # fmt: skip
        self.progress = Progress(
            progress.epoch + 1,
            elapsed=progress.elapsed,
            history=[*progress.history, result],
            unreadable=progress.unreadable,
        )
        return result

    @torch.no_grad()
    def _validate(self, watcher: Watcher) -> tuple[float, dict[str, float]]:
        network = self.best_network.eval()
        loss, seen, tally = 0.0, 0, self.task.tally()
        for batch in self.val_loader:
            self._note_unreadable(batch, self.data.val.items, watcher)
            if not batch.indices:
                continue
            labels = self.fabric.to_device(batch.labels)
            with self.fabric.autocast():
                logits = network(self.normalise(self.fabric.to_device(batch.images))).float()
            loss, seen = loss + len(labels) * self.task.loss(logits, labels).item(), seen + len(labels)
            tally.add(logits, labels)
        self.thresholds = tally.thresholds()
        return loss / max(seen, 1), tally.scores()

    def _learning_rate(self, share: float) -> float:
        recipe, steps = self.recipe, self.recipe.epochs * len(self.batches)
        if recipe.schedule == "step":
            return recipe.lr * math.pow(recipe.step_factor, int(share * recipe.epochs + 1e-9) // recipe.step_epochs)
        rising = max(recipe.warmup, 1 / steps)
        if share < rising:
            return recipe.lr * min(1.0, (share + 1 / steps) / rising)
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * (share - rising) / max(1 - rising, 1e-9)))

    def _side(self, epoch: int, batch: int) -> int:
        """Pixels of a side of what a batch sees: they grow over the first part of the schedule."""
        share = self.pace.share(Progress(epoch, batch, elapsed=self._elapsed()))
        return self.recipe.side(self.rule.size, share, self.network.minimum_size)

    def _note_unreadable(self, batch: Batch, items: Sequence[Picture], watcher: Watcher) -> None:
        for index, reason in batch.unreadable.items():
            if self.stop_on_bad_image:
                raise UnreadableImageError(f"{reason}: mend or remove it, or train with --on-bad-image skip")
            name = items[index].name
            if name not in self.progress.unreadable:
                self.progress.unreadable[name] = reason
                watcher.unreadable(name, reason)

    def _non_finite(self, batch: Batch) -> NonFiniteLossError:
        files = tuple(self.data.train.items[i].name for i in batch.indices)
        shown = ", ".join(files[:8]) + (f" and {len(files) - 8} more" if len(files) > 8 else "")
        return NonFiniteLossError(
            f"the loss became NaN or infinite in epoch {self.progress.epoch + 1}, batch {self.progress.batch + 1}: "
            f"lower --lr (it was {self.optimizer.param_groups[0]['lr']:.3g}) or use a --network with batch "
            f"normalisation; pictures of that batch: {shown}",
            files,
        )


def _pace(recipe: Recipe, steps: int) -> Pace:
    if recipe.minutes is None:
        return Epochs(recipe.epochs, steps)
    return Minutes(recipe.minutes)


def _optimizer(network: ConvNet, recipe: Recipe) -> Optimizer:
    """Decay weights only: biases, scales and shifts are left alone."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        return AdamW(groups, lr=recipe.lr, fused=True)
    return SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov and recipe.momentum > 0)


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random_states(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _average(decay: float) -> Any:
    """Average exponentially, with a short memory at first so that short runs are not held back by their start."""

    @torch.no_grad()
    def update(averages: list[Tensor], values: list[Tensor], count: Tensor) -> None:
        keep = min(decay, (1 + int(count)) / (10 + int(count)))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, 1 - keep)
        else:  # batch normalisation's count of batches
            torch._foreach_copy_(averages, values)

    return update
