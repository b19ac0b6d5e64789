"""What a run is made with: the network and what learns of it in each phase, its data, and its place on the schedule."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Tensor, nn

from googlenet.data.image_set import LabelledData
from googlenet.models.build import ConvNet
from googlenet.preprocessing import Preprocessing
from googlenet.training.averaging import WeightAverage
from googlenet.training.budget import Budget, Epochs, Minutes
from googlenet.training.choices import SCHEDULES
from googlenet.training.distributed import Processes, synchronise
from googlenet.training.fabric import Fabric
from googlenet.training.fused import use_fused_layers
from googlenet.training.gradients import use_small_map_gradients
from googlenet.training.loading import BatchSampler, ImageDataset, default_workers, loader
from googlenet.training.objective import Objective, balancing_weights
from googlenet.training.optimizer import make_optimizer
from googlenet.training.options import RunOptions
from googlenet.training.phases import Phase, phases_of
from googlenet.training.progress import Progress
from googlenet.training.recipe import Recipe
from googlenet.training.state import RunState
from googlenet.training.task import MetricAccumulator, task_of
from googlenet.training.transfer import freeze_through


class Learning:
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
        self.phases = phases_of(recipe if processes.count == 1 else recipe.model_copy(update={"cached_views": 0}))
        average = self._learn_in(self.phases[0])
        self.state = RunState(
            network, average, self.optimizer.optimizer, recipe, recipe.best_by or self.task.metrics[0].name, identity,
            processes, MetricAccumulator(self.task).thresholds(), self.enter,
        )  # fmt: skip
        self._make_loaders()

    @property
    def phase(self) -> Phase:
        """What learns now."""
        phase, begin = self.phases[self.state.progress.phase], self.state.progress.phase_begin
        return phase if begin is None else replace(phase, begin=begin)

    def _learn_in(self, phase: Phase) -> WeightAverage | None:
        """Make objective and optimizer of a phase; return the new average of the weights."""
        freeze_through(self.network, phase.freeze)
        objective = self._make_objective(phase)
        self.normalise = objective.normalise
        self.objective: nn.Module
        self.objective, self.optimizer = self.fabric.setup(objective, make_optimizer(self.network, self.recipe))
        return WeightAverage(self.network, self.recipe.ema_decay) if self.recipe.ema_decay else None

    def enter(self, number: int) -> None:
        """Let the stages of another phase learn."""
        self.state.average = self._learn_in(self.phases[number])
        self.state.optimizer, self.progress.phase = self.optimizer.optimizer, number
        self.budget.begin_phase()

    @property
    def class_weights(self) -> Tensor | None:
        """The weight of each class in the loss, (K,), where the recipe has classes weighted."""
        counts = list(self.data.train.counts().values())
        return balancing_weights(counts) if self.recipe.class_balance == "weighted_loss" else None

    def _make_objective(self, phase: Phase) -> Objective:
        recipe, after = self.recipe, phase.freeze if phase.cached else None
        objective = Objective(
            self.network, self.preprocessing, recipe.label_smoothing, self.task, self.class_weights, after,
            recipe.freeze_norm,
        )  # fmt: skip
        objective.to(memory_format=torch.channels_last)
        use_small_map_gradients(objective)
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
        self.val_batches = BatchSampler(
            len(data.val), 2 * recipe.batch_size, recipe.seed, False, lambda *_: (preprocessing.size, 1), *share
        )
        self.val_loader = loader(val, self.val_batches, self.task, workers)

    @property
    def progress(self) -> Progress:
        """Where the run stands."""
        return self.state.progress

    @property
    def best_network(self) -> ConvNet:
        """The network that is validated and shipped."""
        return self.state.best_network

    @property
    def learning_rate(self) -> float:
        """That of the next step, before it is scaled for each stage."""
        return self._learning_rate(self.budget.share(self.progress))

    def _learning_rate(self, share: float) -> float:
        recipe, phase = self.recipe, self.phase
        steps = max(1, round(recipe.epochs * len(self.batches) * (phase.end - phase.begin)))
        return recipe.lr * phase.lr_scale * SCHEDULES[recipe.schedule](recipe, phase.share(share), steps)

    def _shape(self, epoch: int, batch: int) -> tuple[int, int]:
        """Return the side of a step's images in pixels, and the batches merged into it."""
        if self.phase.cached:
            return self.preprocessing.size, 1
        share = self.budget.share(Progress(epoch, batch, elapsed=self._elapsed()))
        side = self.recipe.image_side(self.preprocessing.size, share, self.network.minimum_size)
        return side, self.recipe.batches_per_step(self.preprocessing.size, side)

    def _elapsed(self) -> float:
        return time.perf_counter() - self.begun
