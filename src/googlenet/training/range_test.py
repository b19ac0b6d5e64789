"""The steps of a learning-rate range test: those of training, at a rate that rises until the loss does."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from googlenet.errors import NonFiniteLossError
from googlenet.terminal import Bar, console, muted
from googlenet.training import distributed, memory
from googlenet.training.deepening import with_phases
from googlenet.training.loading import Batch
from googlenet.training.plan import Plan
from googlenet.training.setup import (
    choose_device,
    make_fabric,
    make_network,
    read_weights,
    with_parts_that_fit,
    with_precision,
)
from googlenet.training.trainer import Trainer

LOWEST, HIGHEST = 1e-6, 10.0  # learning rates
STOP_RATIO = 3.0  # of the loss to the least one: beyond it, training diverges
SMOOTHING = 0.7  # decay of the moving average that is compared
WARM_STEPS = 3  # at the lowest rate, the last two of them timed: the first one compiles

Measured = tuple[tuple[float, ...], tuple[float, ...], str]


def measure(plan: Plan, steps: int, least: int, seconds: float) -> Measured | None:
    """Return the rates, the losses and the precision of up to ``steps`` steps.

    There are fewer where all would take more ``seconds``; ``None`` where there would be fewer than ``least``.
    """
    device = choose_device(plan.options.device)
    memory.disable_malloc_trim()
    processes = distributed.join(device)
    plan, source = read_weights(plan)
    # of images, not of maps that would first be computed
    plan = replace(plan, recipe=plan.recipe.model_copy(update={"cached_views": 0}))
    with torch.random.fork_rng(devices=[processes.device] if device == "cuda" else []):
        torch.manual_seed(plan.recipe.seed)
        network = make_network(plan, source, show=False)
        plan = with_parts_that_fit(with_precision(plan, network, processes, device), network, processes, device)
        with muted():  # a trial, or the run itself, will say what learns when
            plan = with_phases(plan, network, processes, device)
        fabric = make_fabric(device, plan.recipe.precision)
        test = RangeTest(network, plan.data, plan.recipe, plan.preprocessing, fabric, plan.options)
        try:
            found = test.measure(steps, least, seconds)
        finally:
            test.close()
    return None if found is None else (*found, plan.recipe.precision)


class RangeTest(Trainer):
    """A trainer whose learning rate is set from outside, and whose images stay at the size that a run begins with."""

    rate = LOWEST

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return self.rate

    def _shape(self, epoch: int, batch: int) -> tuple[int, int]:
        side = self.recipe.image_side(self.preprocessing.size, 0.0, self.network.minimum_size)
        return side, self.recipe.batches_per_step(self.preprocessing.size, side)

    def measure(self, steps: int, least: int, seconds: float) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return the rates and losses of the steps: see :func:`measure`."""
        self.objective.train()
        batches = self._endless()
        began = time.perf_counter()
        for number in range(WARM_STEPS):
            if number == 1:
                began = time.perf_counter()
            self._loss(batches)
        of_step = (time.perf_counter() - began) / (WARM_STEPS - 1)
        steps = min(steps, int(seconds / of_step)) if math.isfinite(seconds) else steps
        return None if steps < least else self._rise(batches, steps)

    def _rise(self, batches: Iterator[Batch], steps: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        rates: list[float] = []
        losses: list[float] = []
        average, best = math.nan, math.inf
        with Bar(console(stderr=True)) as bar:
            for step in range(steps):
                self.rate = LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1))
                try:
                    loss = self._loss(batches)
                except NonFiniteLossError:
                    break
                rates.append(self.rate)
                losses.append(loss)
                average = loss if math.isnan(average) else SMOOTHING * average + (1 - SMOOTHING) * loss
                best = min(best, average)
                bar.step(step + 1, steps, [(f"learning rate {self.rate:.1e}", 1), (f"loss {loss:.3f}", 2)])
                if average > STOP_RATIO * best:
                    break
        return tuple(rates), tuple(losses)

    def _loss(self, batches: Iterator[Batch]) -> float:
        batch = next(batches)
        return self._step(batch, len(batch.indices))

    def _endless(self) -> Iterator[Batch]:
        """Yield the training batches of one epoch after another, without those of a single image."""
        while True:
            yield from (batch for batch in self.train_loader if len(batch.indices) > 1)
            self.batches.epoch += 1
