"""The loop: epochs of steps and validation, which can be stopped anywhere and goes on exactly where it was."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel

from googlenet import former
from googlenet.data.image_set import LabelledData, LabelledImage
from googlenet.errors import CheckpointError, NonFiniteLossError, RecipeError, UnreadableImageError
from googlenet.models.build import ConvNet
from googlenet.preprocessing import Preprocessing
from googlenet.text import first_few, printable
from googlenet.training import checkpoint
from googlenet.training.budget import Budget, Epochs, Minutes
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.distributed import Processes, synchronise
from googlenet.training.gradients import use_matmul_weight_gradients
from googlenet.training.loading import Batch, BatchSampler, ImageDataset, SampleKey, default_workers, loader
from googlenet.training.objective import Objective, balancing_weights
from googlenet.training.recipe import Recipe, recipe_of
from googlenet.training.task import task_of

Tensors = tuple[Tensor, ...] | list[Tensor]

CHANCE_TOLERANCE = 0.005  # of the loss of guessing: what is nearer to it has learnt nothing
MIN_STEPS = 10  # steps of an epoch after which something should have been learnt
AVERAGED_EVERY = 4  # batches, and at the end of an epoch: small images feel the 40 MB of every time
FORESEEN = 32  # images that tell how long the validation of all will take


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
    images_per_second: float
    seconds: float
    waiting: float  # the share of the seconds in which the step waited for images

    def to_row(self) -> dict[str, Any]:
        """Give one level of names: ``val_top1`` for what ``val`` calls ``top1``."""
        row: dict[str, Any] = {}
        for name, value in asdict(self).items():
            row |= {f"{name}_{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
        return row


@dataclass
class Progress:
    """Where the run stands. ``batch`` batches of ``epoch`` (from 0) are done.

    ``sums``, ``correct``, ``seen``, ``seconds`` and ``waiting`` (those of them spent waiting for images) are of all
    since the last row of the log; ``elapsed`` are the seconds since the run was begun, pauses between stopping and
    resuming left out. ``best_sha256`` is of the weights of the best epoch, as they were saved; those of the epochs up
    to ``lost`` are there no more.
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
    lost: int = 0

    def to_state(self) -> dict[str, Any]:
        """Give what JSON takes."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Progress:
        """Read back what :meth:`to_state` gave."""
        try:
            rows = [
                EpochResult(**former.measured(row) | {"head_losses": tuple(row["head_losses"])})
                for row in state["history"]
            ]
            return cls(**{**state, "history": rows})
        except (KeyError, TypeError) as error:
            raise CheckpointError("the checkpoint is of another version of googlenet: start a new run") from error

    def best(self, metric: str) -> EpochResult | None:
        """Give the epoch with the highest ``metric``, the latest among equals."""
        there = (row for row in self.history if row.epoch > self.lost)
        return max(there, key=lambda row: (row.val[metric], row.epoch), default=None)

    @property
    def is_validated(self) -> bool:
        """Whether the run stands right after a validation, so that its weights are those that were validated."""
        return bool(self.history) and self.history[-1].epoch == self.epoch and not (self.batch or self.seen)


class Callback(Protocol):
    """Who is told how it goes, and may ask to stop."""

    def step(self, progress: Progress, steps: int, loss: float) -> None:
        """Hear of a training step: ``loss`` is the batch's."""

    def epoch(self, result: EpochResult) -> None:
        """Hear of a finished epoch."""

    def unreadable(self, name: str, reason: str) -> None:
        """Hear of an image that could not be read, once for each."""

    def warn(self, message: str) -> None:
        """Hear of something that is going wrong, and what to try."""

    def should_stop(self) -> bool:
        """Say whether to save and stop now."""


class Trainer:
    """One training run in memory: network, optimizer, moving average, data, and where it stands.

    ``begun`` is when it was begun, by ``time.perf_counter()``: what its minutes are counted from. ``workers`` processes
    read images; within an epoch a checkpoint is written every ``checkpoint_minutes``. ``identity`` says in each
    checkpoint of which run it is.
    """

    def __init__(
        self,
        network: ConvNet,
        data: LabelledData,
        recipe: Recipe,
        preprocessing: Preprocessing,
        fabric: Fabric,
        stop_on_bad_image: bool = False,
        begun: float | None = None,
        workers: int | None = None,
        checkpoint_minutes: float = 10.0,
        identity: str = "",
    ) -> None:
        self.identity = identity
        self.data, self.recipe, self.preprocessing, self.fabric = data, recipe, preprocessing, fabric
        self.stop_on_bad_image = stop_on_bad_image
        self.begun = time.perf_counter() if begun is None else begun
        self.progress = Progress()
        self.processes = processes = Processes(fabric.device)
        self.checkpoint_seconds, self.saved = 60 * checkpoint_minutes, 0.0  # when the last was saved, as `elapsed`
        self.task = task_of(data)
        self.thresholds = self.task.metric_accumulator().thresholds()  # of the last validation, once there was one
        weights = (
            balancing_weights(list(data.train.counts().values())) if recipe.class_balance == "weighted_loss" else None
        )
        objective = Objective(network, preprocessing, recipe.label_smoothing, self.task, weights)
        objective.to(memory_format=torch.channels_last)
        self.network = network
        use_matmul_weight_gradients(objective)
        if processes.count > 1:
            synchronise(objective, fabric.device)
        self.objective: nn.Module
        self.objective, self.optimizer = fabric.setup(objective, _optimizer(network, recipe))
        self.averaged = (
            AveragedModel(network, multi_avg_fn=self._average, use_buffers=True) if recipe.ema_decay else None
        )
        self.normalise = objective.normalise
        share = (processes.rank, processes.count)
        classes = [item.label for item in data.train.items] if recipe.class_balance == "oversample" else None
        self.batches = BatchSampler(len(data.train), recipe.batch_size, recipe.seed, True, self._shape, *share, classes)
        self.pace = _pace(recipe, len(self.batches))
        train = ImageDataset(data.train, preprocessing, recipe.seed, recipe.augmentation)
        workers = default_workers(processes.count_here) if workers is None else workers
        self.train_loader = loader(train, self.batches, self.task, workers)
        val = ImageDataset(data.val, preprocessing, recipe.seed, None)
        map_ordered = BatchSampler(
            len(data.val), 2 * recipe.batch_size, recipe.seed, False, lambda *_: (preprocessing.size, 1), *share
        )
        self.val_loader = loader(val, map_ordered, self.task, workers)

    @property
    def best_network(self) -> ConvNet:
        """The network that is evaluated and shipped: the moving average of the weights, where there is one."""
        if self.averaged is None:
            return self.network
        module = self.averaged.module
        assert isinstance(module, ConvNet)
        return module

    @property
    def best(self) -> EpochResult | None:
        """The epoch of the highest score so far."""
        return self.progress.best(self.task.metric)

    def run(self, callback: Callback, checkpoints: Checkpoints) -> bool:
        """Train until the recipe's epochs or minutes are over. ``False`` when stopped before, and saved."""
        while not self._is_finished():
            if not self._train_epoch(callback, checkpoints):
                self.save(checkpoints)
                return False
            if not self.pace.validates(self.progress):
                self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0
            elif not self._close_epoch(callback, checkpoints):
                self.save(checkpoints)
                return False
        return True

    def close(self) -> None:
        """End the processes that read images. Left to the garbage collector that can take seconds."""
        del self.train_loader, self.val_loader

    def _is_finished(self) -> bool:
        """Whether no step is left and what the steps did is validated."""
        return self.pace.is_up(self.progress) and self.best is not None and not self.progress.seen

    def _close_epoch(self, callback: Callback, checkpoints: Checkpoints) -> bool:
        """Validate and save. ``False`` when asked to stop: validation is then to be done again."""
        begun = time.perf_counter()
        result = self._finish_epoch(callback)
        if result is None:
            return False
        if result is self.best:
            self._save_best(checkpoints, result.epoch)
        self.progress.elapsed = self.processes.broadcast(self._elapsed())
        self.save(checkpoints)
        callback.epoch(result)
        if message := self._learnt_nothing(result):
            callback.warn(message)
        self.pace.validated(self.processes.broadcast(time.perf_counter() - begun))
        return True

    def _save_best(self, checkpoints: Checkpoints, epoch: int) -> None:
        if self.processes.is_first:
            state = {"epoch": epoch, "thresholds": self.thresholds}
            sha256 = checkpoint.save(checkpoints.best(epoch), self.best_network.state_dict(), state)
            self.progress.best_sha256 = sha256

    def _learnt_nothing(self, result: EpochResult) -> str | None:
        """Say which heads guess as well after the epoch as before it: their loss stays at ln K."""
        chance_loss = self.task.chance_loss()
        names = ["the classifier", *(tap.name for tap in self.network.network.aux)]
        stuck = [
            name
            for name, loss in zip(names, result.head_losses, strict=True)
            if abs(loss - chance_loss) < CHANCE_TOLERANCE * chance_loss
        ]
        if not stuck or len(self.batches) < MIN_STEPS:
            return None
        return (
            f"{', '.join(stuck)} learnt nothing in epoch {result.epoch}: the loss is {chance_loss:.3f}, that of "
            "chance; "
            'try a --network with batch normalisation, another --lr, or another init ("truncated_normal") in the recipe'
        )

    def _elapsed(self) -> float:
        return time.perf_counter() - self.begun

    def save(self, checkpoints: Checkpoints) -> None:
        """Write everything needed to go on exactly from here. Raises :class:`NonFiniteLossError` if nothing could."""
        states = self.processes.all_gather(_random_states())
        tensors = {
            **checkpoint.with_prefix("network", self.network.state_dict()),
            **checkpoint.with_prefix("averaged", self.averaged.state_dict() if self.averaged else {}),
            **checkpoint.with_prefix("optimizer", checkpoint.optimizer_tensors(self.optimizer.optimizer)),
            **checkpoint.with_prefix("random", {name: torch.stack([s[name] for s in states]) for name in states[0]}),
        }
        if not all(p.isfinite().all() for p in self.network.parameters()):
            raise self._non_finite("the weights", ())
        if self.processes.is_first:
            state = {"recipe": self.recipe.model_dump(mode="json"), "progress": self.progress.to_state(),
                     "identity": self.identity, "thresholds": self.thresholds}  # fmt: skip
            checkpoints.save(self.progress.epoch * len(self.batches) + self.progress.batch, tensors, state)
        self.processes.barrier()
        self.saved = self.progress.elapsed

    def restore(self, checkpoints: Checkpoints, say: Callable[[str], None]) -> None:
        """Go on from the newest of the checkpoints that is sound; ``say`` hears why another was left out.

        Raises :class:`CheckpointError` when there are some but none is sound; where there is none nothing changes.
        """
        found = self._newest_sound(checkpoints, say) if self.processes.is_first else None
        found = self.processes.broadcast(found)
        if found is None:
            return
        if not self.processes.is_first:
            self._restore(checkpoints, *found, say)
        if found[1]:  # the next time it is known
            self.save(checkpoints)
        self.saved = self.progress.elapsed
        self.begun -= self.progress.elapsed

    def _newest_sound(self, checkpoints: Checkpoints, say: Callable[[str], None]) -> tuple[Path, bool] | None:
        """Restore the newest of the checkpoints that is sound; where none has its best weights, without these."""
        paths, reasons = checkpoints.newest_first(), []
        for without_best, path in itertools.product((False, True), paths):
            try:
                with checkpoint.damage_in(path):
                    self._restore(checkpoints, path, without_best, say)
            except CheckpointError as error:
                reasons.append(str(error))
                if path != paths[-1] and not without_best:
                    say(f"{error}; going on from the one before")
            else:
                if without_best:
                    say(f"{reasons[-1]}; going on from {path.name}: only epochs after {self.progress.lost} may be best")
                checkpoints.go_back(path, self.best.epoch if self.best else 0)
                return path, without_best
        if reasons:
            raise CheckpointError(f"{reasons[-1]}; none is left to go on from: start again with --overwrite")
        return None

    def _restore(self, checkpoints: Checkpoints, path: Path, without_best: bool, say: Callable[[str], None]) -> None:
        tensors, state = checkpoint.load(path)
        if not self._has_recipe(state.get("recipe")):
            raise CheckpointError(f"{printable(str(path))} belongs to a run with another recipe")
        if state.get("identity", self.identity) != self.identity:
            raise CheckpointError(f"{printable(str(path))} belongs to another run")
        progress = Progress.from_state(state["progress"])
        if without_best:
            progress.lost = progress.epoch - progress.is_validated
        lost = self._best_lost(checkpoints, progress)
        if lost and not (progress.is_validated and progress.best(self.task.metric) is progress.history[-1]):
            raise lost
        self._restore_modules(tensors, path, say)
        self.progress, self.thresholds = progress, tuple(state.get("thresholds", self.thresholds))
        if lost:  # they are the weights of this checkpoint, too
            self._save_best(checkpoints, progress.epoch)
            if self.processes.is_first and not without_best:
                say(f"{lost}; {path.name} has the same weights, which are written anew")

    def _best_lost(self, checkpoints: Checkpoints, progress: Progress) -> CheckpointError | None:
        """Say what is wrong with the best weights that a checkpoint knows of, if anything is."""
        best = progress.best(self.task.metric)
        try:
            if best:
                checkpoint.load(checkpoints.best(best.epoch), progress.best_sha256)
        except CheckpointError as error:
            return error
        return None

    def _restore_modules(self, tensors: dict[str, Tensor], path: Path, say: Callable[[str], None]) -> None:
        checkpoint.restore_module(self.network, checkpoint.under_prefix("network", tensors), path)
        if self.averaged:
            checkpoint.restore_module(self.averaged, checkpoint.under_prefix("averaged", tensors), path)
        checkpoint.restore_optimizer(self.optimizer.optimizer, checkpoint.under_prefix("optimizer", tensors))
        states = checkpoint.under_prefix("random", tensors)
        if len(states["cpu"]) == self.processes.count:
            # A copy: torch reads a state from the start of its memory, whatever row it is.
            _restore_random_states({name: each[self.processes.rank].clone() for name, each in states.items()})
        elif self.processes.is_first:
            say(
                f"going on with {self.processes.count} processes where there were {len(states['cpu'])}: "
                "dropout differs, so the weights will not be the same to the bit"
            )

    def _has_recipe(self, recorded: Any) -> bool:
        """Whether a checkpoint is of a run with this recipe, but for its length: a run may go on for longer."""
        try:
            length = {"epochs": self.recipe.epochs, "minutes": self.recipe.minutes}
            return recipe_of(recorded).model_copy(update=length).model_dump() == self.recipe.model_dump()
        except (TypeError, RecipeError):
            return False

    @torch.no_grad()
    def foresee_validation(self) -> float:
        """Read and run a few of the images: the seconds that validation will take."""
        network, dataset, count = self.best_network.eval(), self.val_loader.dataset, len(self.data.val)
        some = range(0, count, -(-count // FORESEEN))
        begun = time.perf_counter()
        batch: Batch = self.val_loader.collate_fn(
            [dataset[SampleKey(0, index, self.preprocessing.size)] for index in some]
        )
        reading = (time.perf_counter() - begun) / len(some) / max(1, self.val_loader.num_workers)
        images = self.fabric.to_device(batch.images)
        taken = [0.0]
        if len(images):
            taken = [self._seconds_to_run(network, images) for _ in range(3)]  # the first is slow: it compiles
        return (reading + min(taken) / max(1, len(images))) * count / self.processes.count

    def _seconds_to_run(self, network: ConvNet, images: Tensor) -> float:
        begun = time.perf_counter()
        with self.fabric.autocast():
            network(self.normalise(images)).sum().item()
        return time.perf_counter() - begun

    def _train_epoch(self, callback: Callback, checkpoints: Checkpoints) -> bool:
        """Do the steps left of this epoch, or until the time is up, and save now and then.

        ``False`` when asked to stop, after the step that was under way.
        """
        progress, steps = self.progress, len(self.batches)
        self.batches.epoch, self.batches.start = progress.epoch, progress.batch
        self.objective.train()
        clock = time.perf_counter()
        for batch in self.train_loader if progress.batch < steps else ():
            progress.waiting += time.perf_counter() - clock
            count, batches = self._readable(batch, self.data.train.items, callback)
            loss = self._step(batch, count) if count > 1 else math.nan
            self._advance(batches)
            now = time.perf_counter()
            progress.seconds += now - clock
            callback.step(progress, steps, loss)
            seconds, clock = now - clock, now
            if self._agree(callback, seconds, batch.images.shape[0] * batch.images.shape[-1] ** 2):
                return False
            if self.pace.is_up(progress):
                break
            if progress.elapsed - self.saved >= self.checkpoint_seconds:
                self.save(checkpoints)
        return True

    def _agree(self, callback: Callback, seconds: float = 0.0, pixels: int = 0) -> bool:
        """Let all processes have the first one's clock, and all stop where one is asked to.

        ``seconds`` and ``pixels`` are of the step, where there was one.
        """
        clocks = (self._elapsed(), seconds) if self.processes.is_first else (0.0, 0.0)
        stop, self.progress.elapsed, seconds, seen = self.processes.all_reduce(callback.should_stop(), *clocks, pixels)
        if seen:
            self.pace.stepped(seconds, int(seen))
        return stop > 0

    def _step(self, batch: Batch, count: int) -> float:
        """Learn from a batch, of which all processes together could read ``count`` images."""
        lr = self._learning_rate(self.pace.share(self.progress))
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        labels = self.fabric.to_device(batch.labels)
        n, images = len(labels), batch.images
        if not n:  # the other processes have some
            images = images.new_empty(0, self.preprocessing.channels, self.preprocessing.size, self.preprocessing.size)
        losses = self.objective(self.fabric.to_device(images), labels)
        numbers: list[float] = [losses.total.item(), *losses.parts.tolist()]
        correct = self.task.correct(losses.logits, labels)
        *sums, correct_of_all = self.processes.all_reduce(*(n * x if n else 0.0 for x in numbers), correct)
        if not all(map(math.isfinite, sums)):
            raise self._non_finite("the loss", self._names(batch, self.data.train.items))
        self.optimizer.zero_grad(set_to_none=True)
        # Gradients are averaged over the processes: each counts by its share of the images.
        self.fabric.backward(losses.total * (self.processes.count * n / count))
        self.optimizer.step()
        self._count(sums, int(correct_of_all), count)
        return sums[0] / count

    def _advance(self, batches: int) -> None:
        """Note that a step has seen so many batches, and average the weights where that is due."""
        before, steps = self.progress.batch, len(self.batches)
        self.progress.batch = done = before + batches
        if self.averaged and (done == steps or done // AVERAGED_EVERY > before // AVERAGED_EVERY):
            self.averaged.update_parameters(self.network)

    @torch.no_grad()
    def _average(self, averages: Tensors, values: Tensors, count: Tensor | int) -> None:
        """Average exponentially, with a short memory at first so that short runs are not held back by their start."""
        since = self.progress.batch % AVERAGED_EVERY or AVERAGED_EVERY
        keep = min(self.recipe.ema_decay**since, (1 + int(count)) / (10 + int(count)))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, 1 - keep)
        else:  # batch normalisation's count of batches
            torch._foreach_copy_(averages, values)

    def _count(self, sums: list[float], correct: int, count: int) -> None:
        progress = self.progress
        progress.sums = [a + b for a, b in zip(progress.sums or [0.0] * len(sums), sums, strict=True)]
        progress.correct += correct
        progress.seen += count

    def _finish_epoch(self, callback: Callback) -> EpochResult | None:
        progress = self.progress
        validated = self._validate(callback)
        if validated is None:
            return None
        val_loss, val = validated
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
            best_sha256=progress.best_sha256,
            lost=progress.lost,
        )
        return result

    @torch.no_grad()
    def _validate(self, callback: Callback) -> tuple[float, dict[str, float]] | None:
        """Give the loss and the scores; ``None`` when asked to stop."""
        network = self.best_network.eval()
        loss, seen, metric_accumulator = 0.0, 0, self.task.metric_accumulator()
        for batch in self.val_loader:
            if self._agree(callback):
                return None
            count, _ = self._readable(batch, self.data.val.items, callback)
            logits, labels = self._answer(network, batch)
            for theirs in self.processes.all_gather((logits, labels)):
                metric_accumulator.add(*theirs)
            (total,) = self.processes.all_reduce(len(labels) * self.task.loss(logits, labels).item())
            loss, seen = loss + total, seen + count
            if not math.isfinite(loss):
                raise self._non_finite("the loss in validation", self._names(batch, self.data.val.items))
        self.thresholds = metric_accumulator.thresholds()
        return loss / max(seen, 1), metric_accumulator.scores()

    def _answer(self, network: ConvNet, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give logits and targets of what could be read of a batch, on the processor."""
        if not batch.indices:
            return torch.zeros(0, len(self.data.class_names)), batch.labels
        with self.fabric.autocast():
            logits = network(self.normalise(self.fabric.to_device(batch.images)))
        return logits.float().cpu(), batch.labels

    @property
    def learning_rate(self) -> float:
        """What the next step takes, before it is scaled by stage."""
        return self._learning_rate(self.pace.share(self.progress))

    def _learning_rate(self, share: float) -> float:
        recipe, steps = self.recipe, self.recipe.epochs * len(self.batches)
        if recipe.schedule == "step":
            return recipe.lr * math.pow(recipe.lr_gamma, int(share * recipe.epochs + 1e-9) // recipe.step_epochs)
        rising = max(recipe.warmup, 1 / steps)
        if share < rising:
            return recipe.lr * min(1.0, (share + 1 / steps) / rising)
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * (share - rising) / max(1 - rising, 1e-9)))

    def _shape(self, epoch: int, batch: int) -> tuple[int, int]:
        """Pixels of a side of what a step sees, and how many batches it takes: images grow, steps keep their size."""
        share = self.pace.share(Progress(epoch, batch, elapsed=self._elapsed()))
        side = self.recipe.side(self.preprocessing.size, share, self.network.minimum_size)
        return side, self.recipe.batches(self.preprocessing.size, side)

    def _readable(self, batch: Batch, items: Sequence[LabelledImage], callback: Callback) -> tuple[int, int]:
        """Give how many images all processes together could read, and of how many batches these are.

        Name those they could not read.
        """
        count, missing = self.processes.all_reduce(len(batch.indices), len(batch.unreadable))
        if missing:
            for unreadable in self.processes.all_gather(batch.unreadable):
                self._note_unreadable(unreadable, items, callback)
        return int(count), max(1, int(count + missing) // self.recipe.batch_size)

    def _note_unreadable(self, unreadable: dict[int, str], items: Sequence[LabelledImage], callback: Callback) -> None:
        for index, reason in unreadable.items():
            if self.stop_on_bad_image:
                raise UnreadableImageError(f"{reason}: mend or remove it, or train with --on-bad-image skip")
            name = items[index].name
            if name not in self.progress.unreadable:
                self.progress.unreadable[name] = reason
                callback.unreadable(name, reason)

    def _names(self, batch: Batch, items: Sequence[LabelledImage]) -> tuple[str, ...]:
        return tuple(items[index].name for indices in self.processes.all_gather(batch.indices) for index in indices)

    def _non_finite(self, what: str, files: tuple[str, ...]) -> NonFiniteLossError:
        lr = self._learning_rate(self.pace.share(self.progress))
        return NonFiniteLossError(
            f"{what} became NaN or infinite in epoch {self.progress.epoch + 1}, batch {self.progress.batch + 1}: "
            f"lower --lr (it was {lr:.3g}) or use a --network with batch "
            "normalisation" + (f"; images of that batch: {first_few(files)}" if files else ""),
            files,
        )


def _pace(recipe: Recipe, steps: int) -> Budget:
    if recipe.minutes is None:
        return Epochs(recipe.epochs, steps)
    return Minutes(recipe.minutes)


def _optimizer(network: ConvNet, recipe: Recipe) -> Optimizer:
    """Decay weights only: biases, scales and shifts are left alone. What is frozen is in no group."""
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, scale in _scales(network, recipe.lr_decay).items():
        for parameter in filter(lambda p: p.requires_grad, network.get_submodule(name).parameters()):
            decays = parameter.ndim > 1
            of_kind = {"params": [], "weight_decay": recipe.weight_decay if decays else 0.0, "scale": scale}
            groups.setdefault((scale, decays), of_kind)["params"].append(parameter)
    if recipe.optimizer == "adamw":
        return AdamW(groups.values(), lr=recipe.lr, fused=True)
    return SGD(
        groups.values(), lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov and recipe.momentum > 0
    )


def _scales(network: ConvNet, decay: float) -> dict[str, float]:
    """What the learning rate of each stage and head is multiplied by: 1 for the last and the heads, less before it."""
    learning = [name for name, module in network.named_children() if any(True for _ in module.parameters())]
    heads = {tap.name for tap in network.network.aux}
    stages = [name for name in learning if name not in heads]
    return {name: 1.0 if name in heads else decay ** (len(stages) - 1 - stages.index(name)) for name in learning}


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random_states(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
