"""The loop: epochs of steps and validation, which can be stopped anywhere and continues exactly where it was."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from googlenet.data.image_set import LabelledImage
from googlenet.errors import NonFiniteLossError, UnreadableImageError
from googlenet.models.build import ConvNet
from googlenet.text import first_few
from googlenet.training.cached import CachedMaps
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.head_gradients import gradient_norms
from googlenet.training.learning import Learning
from googlenet.training.loading import Batch
from googlenet.training.microbatches import accumulate_gradients, parts_of
from googlenet.training.mixing import mix
from googlenet.training.progress import Callback, EpochResult
from googlenet.training.views import HeldOutScore, answer_views

CHANCE_TOLERANCE = 0.005  # a head whose loss is within 0.5 % of chance is reported as not learning
MIN_STEPS = 10  # in an epoch, before a head is reported


class Trainer(Learning):
    """The loop of a run, over its epochs and phases: see :class:`Learning` for what it is made with."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cached = CachedMaps(self)

    def run(self, callback: Callback, checkpoints: Checkpoints) -> bool:
        """Train until the recipe's epochs or minutes are over. Returns ``False`` when stopped before, after saving."""
        while not self._is_finished():
            if self._phase_is_over() and not self.progress.seen:
                self._next_phase(callback)
            if not (self._have_maps(callback, checkpoints) and self._train_epoch(callback, checkpoints)):
                self.save(checkpoints)
                return False
            if not (self.budget.should_validate(self.progress) or self._phase_is_over()):
                self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0
            elif not self._close_epoch(callback, checkpoints):
                self.save(checkpoints)
                return False
        self.cached.clear()
        return True

    def close(self) -> None:
        """End the processes that read images: the garbage collector can take seconds to do it."""
        self.cached.close()
        del self.train_loader, self.val_loader

    def _have_maps(self, callback: Callback, checkpoints: Checkpoints) -> bool:
        """Have the cached maps of the next epoch, and the first classifier. Returns ``False`` when asked to stop."""
        if not self.phase.cached:
            return True

        def watch(batch: Batch, split: str) -> bool:
            self._readable(batch, self.data.splits[split].items, callback)
            return self._agree(callback)

        if not self.cached.ensure(callback, checkpoints.folder, watch):
            return False
        if self.progress.history or self.progress.seen or not self.cached.fit_first_classifier():
            return True
        if self._close_epoch(callback, checkpoints, 0):
            return True
        self.cached.forget_first_classifier()  # a resumed run fits it again, and validates it
        return False

    def _next_phase(self, callback: Callback) -> None:
        """Begin the phase after this one, from the averaged weights. One that begins early has more of the schedule."""
        share = self.budget.share(self.progress)
        early = share < self.phase.end - 1e-9
        if early:
            callback.warn("no better epoch for a while (patience): more stages learn from now on")
        self.network.load_state_dict(self.best_network.state_dict())
        self.cached.clear()
        self.enter(self.progress.phase + 1)
        self.progress.phase_start = self.progress.epoch
        self.progress.phase_begin = share if early else None

    def _phase_is_over(self) -> bool:
        """Whether another phase is to begin: it is time, or no epoch of this one was better for a while."""
        if self.phase.end == 1:
            return False
        return self.is_out_of_patience or self.budget.share(self.progress) >= self.phase.end - 1e-9

    def _is_finished(self) -> bool:
        """Whether no step is left, or no epoch was better for a while, and the last steps are validated."""
        over = self.budget.is_over(self.progress) or (self.is_out_of_patience and self.phase.end == 1)
        return over and self.state.best is not None and not self.progress.seen

    @property
    def is_out_of_patience(self) -> bool:
        """Whether the recipe's ``patience`` ends the phase, and the run where it is the last one."""
        patience = self.recipe.patience
        return patience is not None and self.progress.stale_epochs(self.state.metric) >= patience

    def _close_epoch(self, callback: Callback, checkpoints: Checkpoints, number: int | None = None) -> bool:
        """Validate and save. Returns ``False`` when asked to stop: a resumed run then validates again.

        ``number`` is that of the epoch, by default of the current one.
        """
        begun = time.perf_counter()
        result = self._finish_epoch(callback, self.progress.epoch + 1 if number is None else number)
        if result is None:
            return False
        if result is self.state.best:
            self.state.save_best(checkpoints, result.epoch)
        self.progress.elapsed = self.processes.broadcast(self._elapsed())
        self.save(checkpoints)
        callback.epoch(result)
        if result.epoch and (message := self._not_learning(result)):
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
        for batch in self._batches("train") if progress.batch < steps else ():
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
            if self.budget.is_over(progress) or self._phase_is_over():
                break
            if progress.elapsed - self.saved >= 60 * self.options.checkpoint_minutes:
                self.save(checkpoints)
        return True

    def _batches(self, split: str) -> Iterable[Batch]:
        """Return the batches of an epoch, or the held-out ones: of images, or of their maps."""
        if self.phase.cached:
            return self.cached.batches(split)
        return self.train_loader if split == "train" else self.val_loader

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
        reduced = self.processes.all_reduce(*here)
        losses = 2 + len(self.network.network.aux)
        sums, (correct, *of_heads) = list(reduced[:losses]), map(int, reduced[losses:])
        if not all(map(math.isfinite, sums)):
            raise self._non_finite("the loss", self._names(batch, self.data.train.items))
        norms = gradient_norms(self.network)
        self.optimizer.step()
        self.progress.count(sums, correct, count, of_heads, norms)
        return sums[0] / count

    def _advance(self, batches: int) -> None:
        """Note that a step used so many batches, and update the average of the weights where that is due."""
        before = self.progress.batch
        self.progress.batch = done = before + batches
        if self.state.average:
            self.state.average.after_step(self.network, before, done, len(self.batches))

    def _finish_epoch(self, callback: Callback, number: int) -> EpochResult | None:
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
        result = EpochResult(number, lr, loss, tuple(heads), train, val_loss, val, speed, progress.seconds,
                             progress.waiting / max(progress.seconds, 1e-9), mirror_gain,
                             tuple(right / seen for right in progress.aux_correct),
                             tuple(norm / seen for norm in progress.norms))  # fmt: skip
        self.state.progress = progress.close_epoch(result)
        return result

    @torch.no_grad()
    def _validate(self, callback: Callback) -> tuple[float, dict[str, float], float | None] | None:
        """Return loss, metrics and gain by mirror images of the held-out images; ``None`` when asked to stop."""
        network = self.best_network.eval()
        loss, seen, score = 0.0, 0, HeldOutScore(self.task, self.recipe, self.state.metric)
        for batch in self._batches("val"):
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
            images = self.fabric.to_device(batch.images)
            if self.phase.cached:
                logits = network.forward_with_aux(images.float(), self.phase.freeze).logits.float()
                views = logits.view(-1, len(batch.indices), logits.shape[1])
            else:
                views = answer_views(network, self.normalise(images), self.recipe)
        return views.cpu(), batch.labels

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
