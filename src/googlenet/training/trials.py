"""The trials of a search, one after another: which fit into the time, what is kept of each, and when one ends early."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from googlenet import bundle as bundles
from googlenet.errors import CallbackError, NonFiniteLossError, RunError
from googlenet.metrics import LOSS, METRICS
from googlenet.models.spec import Network
from googlenet.stages import stage
from googlenet.terminal import Bar, console, duration, muted, say
from googlenet.training import directory
from googlenet.training.callbacks import StepResult
from googlenet.training.directory import CHECKPOINTS, SETTINGS, UNREADABLE
from googlenet.training.lr_range import LRRange
from googlenet.training.options import RunOptions
from googlenet.training.plan import NONE
from googlenet.training.progress import EpochResult
from googlenet.training.search import Proposal, Search
from googlenet.training.search_space import Choices, Span, Start, Value, recipe_with
from googlenet.training.train import train
from googlenet.training.tuning import Trial, Tuning, best_of

RESERVE_SHARE, MIN_RESERVE = 0.02, 1.0  # of the time, and seconds, kept for the end
MIN_LENGTH = 0.95  # of a trial's minutes that must be left to begin it
TRIALS = 12  # whole ones that the minutes are divided among, where nobody says how many; more where some end early


class EndedEarlyError(Exception):
    """Raised in a callback to end a trial: the message says why."""


class Trials:
    """Runs the trials of a search. ``record`` is what it was begun with, ``begun`` when it was, or was resumed."""

    def __init__(
        self, search: Search, start: Start, space: Mapping[str, Span | Choices], out: Path, metric: str,
        record: Mapping[str, Any], lr_range: LRRange | None, begun: float,
    ) -> None:  # fmt: skip
        self.search, self.start, self.space, self.out, self.record = search, start, space, out, record
        self.metric, self.lr_range, self.begun = METRICS[metric], lr_range, begun
        self.total = 60.0 * float(record["minutes"])
        self.reserve = max(RESERVE_SHARE * self.total, MIN_RESERVE)
        self.spent_before = float(search.noted("spent") or 0.0)
        self.console = console(stderr=True)

    @property
    def spent(self) -> float:
        """Seconds of the search so far, without the pauses between stopping and resuming."""
        return self.spent_before + time.perf_counter() - self.begun

    @property
    def left(self) -> float:
        """Seconds left for trials."""
        return self.total - self.reserve - self.spent

    def trials(self) -> tuple[Trial, ...]:
        """Return the trials that are over."""
        return tuple(
            Trial(each.number, each.state, None if each.score is None else self.metric.key(each.score), each.values,
                  self._run_of(each.number), each.notes["seconds"], each.notes.get("reason", ""))
            for each in self.search.outcomes()
        )  # fmt: skip

    def run(self, limit: int | None) -> None:
        """Run trials, ``limit`` at most, until no other fits into the time."""
        length = self._length(limit)
        with Bar(self.console) as self.bar:
            while (limit is None or len(self.search.outcomes()) < limit) and self._fits(length):
                self._try(self.search.ask(), length)

    def _length(self, limit: int | None) -> float | None:
        """Return the seconds of a trial, which stay the same when a search is resumed; ``None`` in one by epochs."""
        if self.record["by_epochs"]:
            return None
        length = self.search.noted("trial_seconds")
        if length is None:
            length = self.left / (limit or TRIALS)
            self.search.note("trial_seconds", length)
        return float(length)

    def _fits(self, length: float | None) -> bool:
        """Whether there is time for another trial; one that was interrupted has some of it behind it."""
        if self.search.interrupted:
            return self.left > 0
        if length is not None:
            return self.left >= MIN_LENGTH * length
        whole = [trial.seconds for trial in self.trials() if trial.state == "finished"]
        return self.left >= max(whole, default=0.0)

    def _try(self, proposal: Proposal, length: float | None) -> None:
        """Run a trial, record what became of it, and keep it if it is the best."""
        began, run, best = time.perf_counter(), self._run_of(proposal.number), best_of(self.trials(), self.metric.name)
        score, state, reason = None, "finished", ""
        if not self.bar.live:
            say(f"trial {proposal.number} ...", to=self.console)
        try:
            score = self._train(proposal, run, length)
        except CallbackError as error:
            if not isinstance(error.__cause__, EndedEarlyError):
                raise
            state, reason = "pruned", str(error.__cause__)
        except NonFiniteLossError as error:
            state, reason = "failed", str(error)
        finally:
            self.search.note("spent", self.spent)
        notes = {"state": state, "reason": reason, "seconds": time.perf_counter() - began}
        self.search.tell(proposal, None if score is None else self.metric.key(score), notes)
        now = best_of(self.trials(), self.metric.name)
        if now is None or now.number != proposal.number:
            self._forget(run)
        elif best is not None:
            self._forget(best.run)
        self._say(self.trials(), proposal.number, best)
        if now is not None:
            self.result(final=False)

    def _train(self, proposal: Proposal, run: Path, length: float | None) -> float:
        """Train a trial, or go on with it, and return the metric of its best epoch."""
        plan, options = self.start.plan, self.start.plan.options
        recipe = recipe_with(plan.recipe, proposal.values)
        if length is not None:
            recipe = recipe.override(minutes=min(length, self.left) / 60)
        network = plan.asked if isinstance(plan.asked, Network) else None
        going_on = (run / SETTINGS).exists() and directory.has_checkpoint(run)
        watch = Watch(self, proposal, length)
        how = {name: getattr(options, name) for name in RunOptions.model_fields if name != "callbacks"}
        weights = None if going_on else plan.weights or NONE
        with muted():
            bundle = train(plan.data, run, recipe=None if going_on else recipe, network=network, weights=weights,
                           resume=going_on, overwrite=not going_on, callbacks=[*options.callbacks, watch],
                           **how)  # fmt: skip
        name = "val_loss" if self.metric.name == LOSS.name else self.metric.name
        return float(bundle.card.metrics[name])

    def _forget(self, run: Path) -> None:
        """Delete what is large of a run: log, curve and recipe stay."""
        for name in (CHECKPOINTS, bundles.IN_RUN):
            shutil.rmtree(run / name, ignore_errors=True)

    def _say(self, trials: tuple[Trial, ...], number: int, best: Trial | None) -> None:
        trial = next(each for each in trials if each.number == number)
        if trial.score is None:
            text = f"{trial.state}, {trial.reason}"
        else:
            text = f"{self.metric.title} {self.metric.format(trial.score)}"
            if best is not None and best_of(trials, self.metric.name) is trial:
                text += ", the best so far"
        values = ", ".join(f"{name} {shown(value)}" for name, value in trial.values.items())
        if number == 1 and (trial.run / UNREADABLE).exists():
            say(f"some images cannot be read and are skipped: {trial.run / UNREADABLE} names them", to=self.console)
        say(f"trial {number}, {duration(trial.seconds)}: {text} ({values})", to=self.console)

    def result(self, final: bool) -> Tuning:
        """Write and return what was found; ``final``: with the accuracy on images kept to report.

        Raises :class:`RunError` where no trial finished.
        """
        trials, plan = self.trials(), self.start.plan
        best = best_of(trials, self.metric.name)
        if best is None:
            raise RunError(
                f"no trial finished in {duration(self.total)}: allow more --minutes, fewer --trials or fewer --epochs"
            )
        recipe = recipe_with(plan.recipe, best.values)
        length = self.search.noted("trial_seconds")
        if length is not None:
            recipe = recipe.override(minutes=round(length / 60, 3) or length / 60)
        found = Tuning(self.out, plan.data.name, self.metric.name, len(plan.data.val), trials, recipe,
                       self.record["weights"], self.lr_range)  # fmt: skip
        if final and plan.data.splits.get("test"):
            from googlenet.evaluation.evaluate import evaluate

            with stage("evaluating the best on images kept to report"):
                found = replace(found, honest=evaluate(best.run, plan.data))
        found.write()
        return found

    def _run_of(self, number: int) -> Path:
        return self.out / f"trial-{number:04d}"


class Watch:
    """The callback of a trial: shows how far the search is, and ends the trial where it is worse than most."""

    def __init__(self, trials: Trials, proposal: Proposal, length: float | None) -> None:
        self.trials, self.proposal, self.length = trials, proposal, length
        self.elapsed = 0.0

    def on_step(self, result: StepResult) -> None:
        """Update the bar. Raises :class:`EndedEarlyError` where a trial by epochs would outlast the search."""
        trials = self.trials
        self.elapsed = result.elapsed
        loss = "" if math.isnan(result.loss) else f"loss {result.loss:.3f}"
        parts = [(f"trial {self.proposal.number}", 0), (f"epoch {result.epoch}", 2), (loss, 3)]
        trials.bar.step(min(trials.spent, trials.total), trials.total, parts)
        if self.length is None and trials.left < 0:
            raise EndedEarlyError("no time is left")

    def on_epoch(self, result: EpochResult) -> None:
        """Report the held-out score. Raises :class:`EndedEarlyError` where it is worse than in most trials."""
        trials = self.trials
        trials.search.note("spent", trials.spent)
        whole = trials.start.recipe.epochs if self.length is None else self.length
        share = (result.epoch if self.length is None else self.elapsed) / whole
        score = result.score(trials.metric.name)
        if self.proposal.report(trials.metric.key(score), share):
            raise EndedEarlyError(f"{trials.metric.format(score)} at {share:.0%} is worse than most")


def shown(value: Value) -> str:
    """Return a value as people read it."""
    return f"{value:.2g}" if isinstance(value, float) else str(value)
