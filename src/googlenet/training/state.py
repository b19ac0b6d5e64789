"""The state that is saved: weights, their average, the optimizer, random numbers and progress; and restoring it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from googlenet.errors import CheckpointError, RecipeError
from googlenet.models.build import ConvNet
from googlenet.text import printable
from googlenet.training import checkpoint
from googlenet.training.averaging import WeightAverage
from googlenet.training.checkpoint import Checkpoints
from googlenet.training.distributed import Processes
from googlenet.training.progress import EpochResult, Progress
from googlenet.training.recipe import LENGTH, Recipe, recipe_from_json

Say = Callable[[str], None]


@dataclass
class RunState:
    """All that training changes, and what tells whose it is.

    ``metric`` names the metric that the best epoch is chosen by, ``identity`` the run in every checkpoint;
    ``thresholds`` are of the last validation; ``enter`` lets the stages of another phase learn, by its number.
    """

    network: ConvNet
    average: WeightAverage | None
    optimizer: Optimizer
    recipe: Recipe
    metric: str
    identity: str
    processes: Processes
    thresholds: tuple[float, ...]
    enter: Callable[[int], None]
    progress: Progress = field(default_factory=Progress)

    @property
    def best_network(self) -> ConvNet:
        """The network that is validated and shipped: the average of the weights, where there is one."""
        return self.network if self.average is None else self.average.network

    @property
    def best(self) -> EpochResult | None:
        """The best epoch so far."""
        return self.progress.best(self.metric)

    def save(self, checkpoints: Checkpoints, number: int) -> None:
        """Write a checkpoint after ``number`` steps: everything needed to continue exactly from here."""
        states = self.processes.all_gather(_random_states())
        if self.processes.is_first:
            tensors = {
                **checkpoint.with_prefix("network", self.network.state_dict()),
                **checkpoint.with_prefix("averaged", self.average.model.state_dict() if self.average else {}),
                **checkpoint.with_prefix("optimizer", checkpoint.optimizer_tensors(self.optimizer)),
                **checkpoint.with_prefix(
                    "random", {name: torch.stack([s[name] for s in states]) for name in states[0]}
                ),
            }
            fields = {"recipe": self.recipe.model_dump(mode="json"), "progress": self.progress.to_json(),
                      "identity": self.identity, "thresholds": self.thresholds}  # fmt: skip
            checkpoints.save(number, tensors, fields)
        self.processes.barrier()

    def save_best(self, checkpoints: Checkpoints, epoch: int) -> None:
        """Write the weights of the best epoch."""
        if self.processes.is_first:
            fields = {"epoch": epoch, "thresholds": self.thresholds}
            weights = self.best_network.state_dict()
            self.progress.best_sha256 = checkpoint.save(checkpoints.best(epoch), weights, fields)

    def restore(self, checkpoints: Checkpoints, say: Say) -> tuple[Path, bool] | None:
        """Continue from the newest checkpoint that is intact; ``say`` is called with the reason to skip one.

        Returns the file and whether its best weights are lost, or ``None``, and changes nothing, where there is none.
        Raises :class:`CheckpointError` when there are some but none is intact.
        """
        found = self.processes.broadcast(self._newest_intact(checkpoints, say) if self.processes.is_first else None)
        if found is not None and not self.processes.is_first:
            self._restore(checkpoints, *found, say)
        return found

    def _newest_intact(self, checkpoints: Checkpoints, say: Say) -> tuple[Path, bool] | None:
        """Restore the newest intact checkpoint; where none has its best weights, one without these."""
        paths, reasons = checkpoints.newest_first(), []
        for without_best, path in itertools.product((False, True), paths):
            try:
                with checkpoint.damage_in(path):
                    self._restore(checkpoints, path, without_best, say)
            except CheckpointError as error:
                reasons.append(str(error))
                if path != paths[-1] and not without_best:
                    say(f"{error}; continuing from the one before")
            else:
                if without_best:
                    lost = f"only epochs after {self.progress.lost} can be the best"
                    say(f"{reasons[-1]}; continuing from {path.name}: {lost}")
                checkpoints.go_back(path, self.best.epoch if self.best else 0)
                return path, without_best
        if reasons:
            raise CheckpointError(f"{reasons[-1]}; no other checkpoint is left: start again with --overwrite")
        return None

    def _restore(self, checkpoints: Checkpoints, path: Path, without_best: bool, say: Say) -> None:
        tensors, state = checkpoint.load(path)
        if not self._has_recipe(state.get("recipe")):
            raise CheckpointError(f"{printable(str(path))} belongs to a run with another recipe")
        if state.get("identity", self.identity) != self.identity:
            raise CheckpointError(f"{printable(str(path))} belongs to another run")
        progress = Progress.from_json(state["progress"])
        if without_best:
            progress.lost = progress.epoch - progress.is_validated
        lost = self._best_lost(checkpoints, progress)
        if lost and not (progress.is_validated and progress.best(self.metric) is progress.history[-1]):
            raise lost
        if progress.phase != self.progress.phase:
            self.enter(progress.phase)
        self._restore_tensors(tensors, path, say)
        self.progress, self.thresholds = progress, tuple(state.get("thresholds", self.thresholds))
        if lost:  # this checkpoint has the same weights
            self.save_best(checkpoints, progress.epoch)
            if self.processes.is_first and not without_best:
                say(f"{lost}; {path.name} has the same weights, they are written again")

    def _best_lost(self, checkpoints: Checkpoints, progress: Progress) -> CheckpointError | None:
        """Return what is wrong with the best weights that a checkpoint refers to, if anything is."""
        best = progress.best(self.metric)
        try:
            if best:
                checkpoint.load(checkpoints.best(best.epoch), progress.best_sha256)
        except CheckpointError as error:
            return error
        return None

    def _restore_tensors(self, tensors: dict[str, Tensor], path: Path, say: Say) -> None:
        checkpoint.restore_module(self.network, checkpoint.under_prefix("network", tensors), path)
        if self.average:
            checkpoint.restore_module(self.average.model, checkpoint.under_prefix("averaged", tensors), path)
        checkpoint.restore_optimizer(self.optimizer, checkpoint.under_prefix("optimizer", tensors))
        states = checkpoint.under_prefix("random", tensors)
        if len(states["cpu"]) == self.processes.count:
            # A copy: torch reads a state from the start of its memory, whatever row it is.
            _restore_random_states({name: each[self.processes.rank].clone() for name, each in states.items()})
        elif self.processes.is_first:
            say(
                f"continuing with {self.processes.count} processes instead of {len(states['cpu'])}: dropout differs, "
                "so the weights will not be bit for bit the same"
            )

    def _has_recipe(self, recorded: Any) -> bool:
        """Whether a checkpoint is of a run with this recipe. The length may differ: a run may be resumed for longer."""
        try:
            length = {name: getattr(self.recipe, name) for name in LENGTH}
            return recipe_from_json(recorded).model_copy(update=length).model_dump() == self.recipe.model_dump()
        except (TypeError, RecipeError):
            return False


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_random_states(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
