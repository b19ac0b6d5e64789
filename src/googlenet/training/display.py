"""How training shows itself, on stderr: a live bar with ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import TracebackType

from googlenet.card import SHOWN
from googlenet.terminal import Bar, Part, console, duration, one_line
from googlenet.terminal import say as say_line
from googlenet.text import first_few
from googlenet.training.trainer import EpochResult, Fit, Progress
from googlenet.training.recipe import Recipe

STARVING = 0.2  # of the time spent waiting for pictures, from which on it is said of an epoch that is not short
PLAIN_EVERY = 30.0  # seconds between plain lines within an epoch
EACH_UP_TO = 20  # classes whose pictures are counted one by one
UNEQUAL = 10  # times the pictures of the smallest class that the largest may have without a word


class Display:
    """Shows epoch, losses, accuracy, pictures per second and ETA."""

    def __init__(self, recipe: Recipe, *, quiet: bool = False) -> None:
        self.console = console(stderr=True, quiet=quiet)
        self.epochs, self.minutes = recipe.epochs, recipe.minutes
        self.bar = Bar(self.console)
        self.loss = math.nan
        self.last_line = time.monotonic()

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.__exit__(kind, error, trace)

    def begin(self, fit: Fit) -> None:
        """Say what is about to be trained, on what, and which classes cannot be judged."""
        train, val = fit.data.train, fit.data.val
        count, device = fit.processes.count, fit.fabric.device.type
        where = f"{count} processes, {device}" if count > 1 else device
        self._print(
            f"{fit.network.network.name} at {fit.rule.size} px on {where} in {fit.recipe.precision}: "
            f"{len(train):,} pictures of {len(train.class_names)} classes to learn from, {len(val):,} held out"
        )
        self._classes(fit)
        unseen = [name for name, count in val.counts().items() if not count]
        if unseen:
            names = first_few(unseen)
            self._print(f"no picture of {names} is held out: its accuracy will not be known; add pictures", "yellow")

    def _classes(self, fit: Fit) -> None:
        """Say how many pictures the classes have, and that they are unequal where nothing makes up for it."""
        counts = fit.data.train.counts()
        ranked = sorted(counts, key=lambda name: (counts[name], name))
        smallest, middle, largest = ranked[0], ranked[len(ranked) // 2], ranked[-1]
        if len(counts) <= EACH_UP_TO:
            self._print("pictures to learn from: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
        else:
            spread = ", ".join(f"{counts[name]:,} of {name}" for name in (smallest, middle, largest))
            self._print(f"pictures to learn from, fewest, median and most: {spread}")
        if fit.data.multi_label:
            labels = fit.data.train.labels
            several, none = sum(len(each) > 1 for each in labels), labels.count(())
            self._print(f"of these {several:,} have several labels and {none:,} have none")
        if fit.recipe.balance == "none" and counts[largest] > UNEQUAL * counts[smallest]:
            ways = "--balance loss" + ("" if fit.data.multi_label else " or --balance sample")
            self._print(
                f"{largest} has {counts[largest] / counts[smallest]:.0f} times the pictures of {smallest}, "
                f"which may be learnt badly: {ways} makes up for it",
                "yellow",
            )

    def step(self, progress: Progress, steps: int, loss: float) -> None:
        """Move the bar; without a terminal print a line now and then."""
        if math.isfinite(loss):
            self.loss = loss if math.isnan(self.loss) else 0.95 * self.loss + 0.05 * loss
        done, total = self._done(progress, steps)
        speed = f"{progress.seen / max(progress.seconds, 1e-9):,.0f} pictures/s"
        epoch, shown = f"epoch {self._epoch(progress.epoch + 1)}", f"loss {self.loss:.3f}"
        unit = "steps" if self.minutes is None else "s"
        self.bar.step(done, total, [(epoch, 1), (f"{done:,.0f}/{total:,.0f} {unit}", 4), (shown, 2), (speed, 5)])
        now = time.monotonic()
        if not self.bar.live and now - self.last_line > PLAIN_EVERY:
            self.last_line = now
            step = f"step {progress.batch:,}/{steps:,}"
            self._print_parts([(epoch, 0), (step, 4), (shown, 2), (speed, 5), (self.bar.eta(), 3)])

    def epoch(self, result: EpochResult) -> None:
        """Print the line of a finished epoch. In a narrow terminal what log.csv alone says is left out."""
        self.last_line = time.monotonic()
        heads = " + ".join(f"{loss:.3f}" for loss in result.head_losses)
        first, *others = (f"{SHOWN[name]} {score:.2%}" for name, score in result.val.items())
        rest = [(score, 4) for score in others] + [(f"{result.pictures_per_second:,.0f} pictures/s", 5)]
        self._print_parts([(f"epoch {self._epoch(result.epoch, 3)}", 0), (f"loss {result.loss:.3f}", 3),
                           (f"({heads})", 6), (f"val loss {result.val_loss:.3f}", 2), (first, 1), *rest])  # fmt: skip
        if result.waiting > STARVING and result.seconds > PLAIN_EVERY:
            self.warn(
                f"{result.waiting:.0%} of the time went into waiting for pictures: they are large, or the disk is "
                "slow; smaller copies of them would train faster"
            )

    def unreadable(self, name: str, reason: str) -> None:
        """Name a picture that is left out."""
        self._print(f"left out: {reason}", "yellow")

    def warn(self, message: str) -> None:
        """Say what is going wrong."""
        self._print(message, "yellow")

    def place(self, progress: Progress) -> str:
        """Say where a run stands."""
        if self.minutes is None:
            return f"epoch {progress.epoch + 1} of {self.epochs}"
        return f"epoch {progress.epoch + 1}, after {duration(progress.elapsed)} of {duration(60 * self.minutes)}"

    def _done(self, progress: Progress, steps: int) -> tuple[float, float]:
        """How much of how much is done: steps, or seconds where these decide."""
        if self.minutes is None:
            return progress.epoch * steps + progress.batch, self.epochs * steps
        return min(progress.elapsed, 60 * self.minutes), 60 * self.minutes

    def _epoch(self, number: int, width: int = 0) -> str:
        return f"{number:>{width}}" if self.minutes is not None else f"{number:>{width}}/{self.epochs}"

    def _print(self, text: str, style: str = "") -> None:
        say_line(text, to=self.console, style=style)

    def _print_parts(self, parts: Sequence[Part]) -> None:
        self._print(one_line(parts, self.console.width))


def say(text: str) -> None:
    """Print a line on stderr, where there is no display yet."""
    say_line(text, to=console(stderr=True))
