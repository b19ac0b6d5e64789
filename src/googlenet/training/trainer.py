"""The loop: epochs of steps and validation, which can be stopped anywhere and continues exactly where it was."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from googlenet.data.image_set import LabelledData, LabelledImage
from googlenet.errors import NonFiniteLossError, UnreadableImageError
from googlenet.models.build import ConvNet
from googlenet.preprocessing import Preprocessing
from googlenet.text import first_few
from googlenet.training.averaging import WeightAverage
from googlenet.training.budget import Budget, Epochs, Minutes
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.choices import SCHEDULES
from googlenet.training.distributed import Processes, synchronise
from googlenet.training.fused import use_fused_layers
from googlenet.training.gradients import use_matmul_weight_gradients
from googlenet.training.loading import Batch, BatchSampler, ImageDataset, default_workers, loader
from googlenet.training.microbatches import accumulate_gradients, parts_of
from googlenet.training.mixing import mix
from googlenet.training.objective import Objective, balancing_weights
from googlenet.training.optimizer import make_optimizer
from googlenet.training.options import RunOptions
from googlenet.training.progress import Callback, EpochResult, Progress
from googlenet.training.recipe import Recipe
from googlenet.training.state import RunState
from googlenet.training.task import MetricAccumulator, task_of
from googlenet.training.views import HeldOutScore, answer_views

CHANCE_TOLERANCE = 0.005  # a head whose loss is within 0.5 % of chance is reported as not learning
MIN_STEPS = 10  # in an epoch, before a head is reported


class Trainer:
    """One training run in memory: network, optimizer, moving average, data, and where it stands.

    ``begun`` is when the run was started, by ``time.perf_counter()``: its minutes are counted from then.
    ``identity`` tells in each checkpoint which run it belongs to.
    """

    def __init__(
        self,
        network: ConvNet,
        data: LabelledData,
        recipe: Recipe,
        preprocessing: Preprocessing,
        fabric: Fabric,
        options: RunOptions | None = None,
        begun: float | None = None,
        identity: str = "",
    ) -> None:
        self.network, self.data, self.recipe, self.preprocessing = network, data, recipe, preprocessing
        self.fabric, self.options = fabric, options or RunOptions()
        self.begun = time.perf_counter() if begun is None else begun
        self.saved = 0.0  # when the last checkpoint was saved, as `elapsed`
        self.processes = processes = Processes(fabric.device)
        self.task = task_of(data)
        objective = self._make_objective()
        self.normalise = objective.normalise
        self.objective: nn.Module
        self.objective, self.optimizer = fabric.setup(objective, make_optimizer(network, recipe))
        average = WeightAverage(network, recipe.ema_decay) if recipe.ema_decay else None
        self.state = RunState(
            network, average, self.optimizer.optimizer, recipe, recipe.best_by or self.task.metrics[0].name, identity,
            processes, MetricAccumulator(self.task).thresholds(),
        )  # fmt: skip
        self._make_loaders()

    def _make_objective(self) -> Objective:
        recipe = self.recipe
        counts = list(self.data.train.counts().values())
        weights = balancing_weights(counts) if recipe.class_balance == "weighted_loss" else None
        objective = Objective(self.network, self.preprocessing, recipe.label_smoothing, self.task, weights)
        objective.to(memory_format=torch.channels_last)
        use_matmul_weight_gradients(objective)
        if self.processes.count > 1:
            synchronise(objective, self.fabric.device)
        use_fused_layers(objective)
        return objective

    def _make_loaders(self) -> None:
        data, recipe, preprocessing = self.data, self.recipe, self.preprocessing
        share = (self.processes.rank, self.processes.count)
        workers = self.options.workers
        workers = default_workers(self.processes.count_here) if workers is None else workers
        classes = [item.label for item in data.train.items] if recipe.class_balance == "oversample" else None
        self.batches = BatchSampler(len(data.train), recipe.batch_size, recipe.seed, True, self._shape, *share, classes)
        steps = len(self.batches)
        self.budget: Budget = Epochs(recipe.epochs, steps) if recipe.minutes is None else Minutes(recipe.minutes)
        train = ImageDataset(data.train, preprocessing, recipe.seed, recipe.augmentation, self.options.augment)
        self.train_loader = loader(train, self.batches, self.task, workers)
        val = ImageDataset(data.val, preprocessing, recipe.seed, None)
        in_order = BatchSampler(
            len(data.val), 2 * recipe.batch_size, recipe.seed, False, lambda *_: (preprocessing.size, 1), *share
        )
        self.val_loader = loader(val, in_order, self.task, workers)

    @property
    def progress(self) -> Progress:
        """Where the run stands."""
        return self.state.progress

    @property
    def best_network(self) -> ConvNet:
        """The network that is validated and shipped."""
        return self.state.best_network

    def run(self, callback: Callback, checkpoints: Checkpoints) -> bool:
        """Train until the recipe's epochs or minutes are over. Returns ``False`` when stopped before, after saving."""
        while not self._is_finished():
            if not self._train_epoch(callback, checkpoints):
                self.save(checkpoints)
                return False
            if not self.budget.should_validate(self.progress):
                self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0
            elif not self._close_epoch(callback, checkpoints):
                self.save(checkpoints)
                return False
        return True

    def close(self) -> None:
        """End the processes that read images: the garbage collector can take seconds to do it."""
        del self.train_loader, self.val_loader

    def _is_finished(self) -> bool:
        """Whether no step is left, or no epoch was better for a while, and the last steps are validated."""
        over = self.budget.is_over(self.progress) or self.is_out_of_patience
        return over and self.state.best is not None and not self.progress.seen

    @property
    def is_out_of_patience(self) -> bool:
        """Whether the recipe's ``patience`` ends the run."""
        patience = self.recipe.patience
        return patience is not None and self.progress.stale_epochs(self.state.metric) >= patience

    def _close_epoch(self, callback: Callback, checkpoints: Checkpoints) -> bool:
        """Validate and save. Returns ``False`` when asked to stop: a resumed run then validates again."""
        begun = time.perf_counter()
        result = self._finish_epoch(callback)
        if result is None:
            return False
        if result is self.state.best:
            self.state.save_best(checkpoints, result.epoch)
        self.progress.elapsed = self.processes.broadcast(self._elapsed())
        self.save(checkpoints)
        callback.epoch(result)
        if message := self._not_learning(result):
            callback.warn(message)
        self.budget.after_validation(self.processes.broadcast(time.perf_counter() - begun))
        return True

    def _not_learning(self, result: EpochResult) -> str | None:
        """Name the heads whose loss is still at chance level."""
        chance = self.task.chance_loss()
        names = ["the classifier", *(tap.name for tap in self.network.network.aux)]
        losses = zip(names, result.head_losses, strict=True)
        stuck = [name for name, loss in losses if abs(loss - chance) < CHANCE_TOLERANCE * chance]
        if not stuck or len(self.batches) < MIN_STEPS:
            return None
        return (
            f"{', '.join(stuck)} learnt nothing in epoch {result.epoch}: the loss is still {chance:.3f}, as by chance; "
            'try a --network with batch normalization, another --lr, or init = "truncated_normal" in the recipe'
        )

    def _elapsed(self) -> float:
        return time.perf_counter() - self.begun

    def save(self, checkpoints: Checkpoints) -> None:
        """Write a checkpoint. Raises :class:`NonFiniteLossError` instead where a weight is NaN or infinite."""
        if not all(p.isfinite().all() for p in self.network.parameters()):
            raise self._non_finite("the weights", ())
        self.state.save(checkpoints, self.progress.epoch * len(self.batches) + self.progress.batch)
        self.saved = self.progress.elapsed

    def restore(self, checkpoints: Checkpoints, say: Callable[[str], None]) -> None:
        """Continue from the newest intact checkpoint, if there is any: see :meth:`RunState.restore`."""
        found = self.state.restore(checkpoints, say)
        if found is None:
            return
        _, best_is_lost = found
        if best_is_lost:  # the next resume finds it recorded
            self.save(checkpoints)
        self.saved = self.progress.elapsed
        self.begun -= self.progress.elapsed

    def _train_epoch(self, callback: Callback, checkpoints: Checkpoints) -> bool:
        """Train for the rest of this epoch, or until the time is over, and save every ``checkpoint_minutes``.

        Returns ``False`` when asked to stop, after the current step.
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
            if self.budget.is_over(progress):
                break
            if progress.elapsed - self.saved >= 60 * self.options.checkpoint_minutes:
                self.save(checkpoints)
        return True

    def _agree(self, callback: Callback, seconds: float = 0.0, pixels: int = 0) -> bool:
        """Give all processes the first one's clock, and stop all of them where one is asked to.

        ``seconds`` and ``pixels`` are those of the step, if there was one.
        """
        clocks = (self._elapsed(), seconds) if self.processes.is_first else (0.0, 0.0)
        stop, self.progress.elapsed, seconds, seen = self.processes.all_reduce(callback.should_stop(), *clocks, pixels)
        if seen:
            self.budget.after_step(seconds, int(seen))
        return stop > 0

    def _step(self, batch: Batch, count: int) -> float:
        """Train on a batch, of which all processes together could read ``count`` images. Returns its loss."""
        batch = mix(batch, self.recipe, self.task.classes, self.progress, self.budget.share(self.progress))
        lr = self.learning_rate
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        images, labels = batch.images, batch.labels
        if not len(labels):  # only the other processes have images
            images = images.new_empty(0, self.preprocessing.channels, self.preprocessing.size, self.preprocessing.size)
        self.optimizer.zero_grad(set_to_none=True)
        here = accumulate_gradients(
            self.fabric, self.objective, self.task, images, labels, parts_of(self.recipe, count, self.processes.count),
            # Gradients are averaged over the processes: each counts by its share of the images.
            lambda n: self.processes.count * n / count,
        )  # fmt: skip
        *sums, correct_of_all = self.processes.all_reduce(*here)
        if not all(map(math.isfinite, sums)):
            raise self._non_finite("the loss", self._names(batch, self.data.train.items))
        self.optimizer.step()
        self.progress.count(sums, int(correct_of_all), count)
        return sums[0] / count

    def _advance(self, batches: int) -> None:
        """Note that a step used so many batches, and update the average of the weights where that is due."""
        before = self.progress.batch
        self.progress.batch = done = before + batches
        if self.state.average:
            self.state.average.after_step(self.network, before, done, len(self.batches))

    def _finish_epoch(self, callback: Callback) -> EpochResult | None:
        progress = self.progress
        validated = self._validate(callback)
        if validated is None:
            return None
        val_loss, val, mirror_gain = validated
        seen = max(progress.seen, 1)
        loss, *heads = (total / seen for total in progress.sums or [math.nan] * (1 + len(self.network.network.aux)))
        lr = self._learning_rate(self.budget.share(replace(progress, batch=max(0, progress.batch - 1))))
        speed = progress.seen / max(progress.seconds, 1e-9)
        train = {self.task.train_metric: progress.correct / seen}
        result = EpochResult(progress.epoch + 1, lr, loss, tuple(heads), train, val_loss, val, speed, progress.seconds,
                             progress.waiting / max(progress.seconds, 1e-9), mirror_gain)  # fmt: skip
        self.state.progress = progress.close_epoch(result)
        return result

    @torch.no_grad()
    def _validate(self, callback: Callback) -> tuple[float, dict[str, float], float | None] | None:
        """Return loss, metrics and gain by mirror images of the held-out images; ``None`` when asked to stop."""
        network = self.best_network.eval()
        loss, seen, score = 0.0, 0, HeldOutScore(self.task, self.recipe, self.state.metric)
        for batch in self.val_loader:
            if self._agree(callback):
                return None
            count, _ = self._readable(batch, self.data.val.items, callback)
            views, labels = self._answer(network, batch)
            logits = self.task.merge(views)
            for theirs in self.processes.all_gather((views, labels)):
                score.add(*theirs)
            (total,) = self.processes.all_reduce(len(labels) * self.task.loss(logits, labels).item())
            loss, seen = loss + total, seen + count
            if not math.isfinite(loss):
                raise self._non_finite("the loss in validation", self._names(batch, self.data.val.items))
        self.state.thresholds, metrics = score.thresholds(), score.metrics()
        return loss / max(seen, 1), metrics, score.mirror_gain(metrics)

    def _answer(self, network: ConvNet, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (V, N, K) and targets of the images of a batch that could be read, on the CPU."""
        if not batch.indices:
            return torch.zeros(1 + self.recipe.mirror, 0, len(self.data.class_names)), batch.labels
        with self.fabric.autocast():
            views = answer_views(network, self.normalise(self.fabric.to_device(batch.images)), self.recipe)
        return views.cpu(), batch.labels

    @property
    def learning_rate(self) -> float:
        """That of the next step, before it is scaled for each stage."""
        return self._learning_rate(self.budget.share(self.progress))

    def _learning_rate(self, share: float) -> float:
        recipe = self.recipe
        return recipe.lr * SCHEDULES[recipe.schedule](recipe, share, recipe.epochs * len(self.batches))

    def _shape(self, epoch: int, batch: int) -> tuple[int, int]:
        """Return the side of a step's images in pixels, and the batches merged into it."""
        share = self.budget.share(Progress(epoch, batch, elapsed=self._elapsed()))
        side = self.recipe.image_side(self.preprocessing.size, share, self.network.minimum_size)
        return side, self.recipe.batches_per_step(self.preprocessing.size, side)

    def _readable(self, batch: Batch, items: Sequence[LabelledImage], callback: Callback) -> tuple[int, int]:
        """Return how many images all processes together could read, and of how many batches they are.

        Those that could not be read are noted.
        """
        count, missing = self.processes.all_reduce(len(batch.indices), len(batch.unreadable))
        if missing:
            for unreadable in self.processes.all_gather(batch.unreadable):
                self._note_unreadable(unreadable, items, callback)
        return int(count), max(1, int(count + missing) // self.recipe.batch_size)

    def _note_unreadable(self, unreadable: dict[int, str], items: Sequence[LabelledImage], callback: Callback) -> None:
        for index, reason in unreadable.items():
            if self.options.on_bad_image == "stop":
                raise UnreadableImageError(f"{reason}: repair or remove it, or train with --on-bad-image skip")
            name = items[index].name
            if name not in self.progress.unreadable:
                self.progress.unreadable[name] = reason
                callback.unreadable(name, reason)

    def _names(self, batch: Batch, items: Sequence[LabelledImage]) -> tuple[str, ...]:
        return tuple(items[index].name for indices in self.processes.all_gather(batch.indices) for index in indices)

    def _non_finite(self, what: str, files: tuple[str, ...]) -> NonFiniteLossError:
        lr = self._learning_rate(self.budget.share(self.progress))
        return NonFiniteLossError(
            f"{what} became NaN or infinite in epoch {self.progress.epoch + 1}, batch {self.progress.batch + 1}: "
            f"lower --lr (it was {lr:.3g}) or use a --network with batch "
            "normalization" + (f"; images of that batch: {first_few(files)}" if files else ""),
            files,
        )
