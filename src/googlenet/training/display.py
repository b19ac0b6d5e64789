"""How training shows itself, on stderr: a live bar with ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import TracebackType

from googlenet.metrics import METRICS
from googlenet.terminal import Bar, Part, console, duration, one_line
from googlenet.terminal import say as say_line
from googlenet.text import first_few
from googlenet.training.progress import EpochResult, Progress
from googlenet.training.recipe import Recipe
from googlenet.training.trainer import Trainer

MAX_WAITING_SHARE = 0.2  # of the time spent waiting for images, from which on it is said of an epoch that is not short
PLAIN_EVERY = 30.0  # seconds between plain lines within an epoch
EACH_UP_TO = 20  # classes whose images are counted one by one
UNEQUAL = 10  # times the images of the smallest class that the largest may have without a word


class Display:
    """Shows epoch, losses, accuracy, images per second and ETA."""

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

    def begin(self, trainer: Trainer) -> None:
        """Say what is about to be trained, on what, and which classes cannot be judged."""
        train, val = trainer.data.train, trainer.data.val
        count, device = trainer.processes.count, trainer.fabric.device.type
        where = f"{count} processes, {device}" if count > 1 else device
        self._print(
            f"{trainer.network.network.name} at {trainer.preprocessing.size} px on {where} "
            f"in {trainer.recipe.precision}: {len(train):,} images of {len(train.class_names)} classes "
            f"to learn from, {len(val):,} held out"
        )
        self._classes(trainer)
        unseen = [name for name, count in val.counts().items() if not count]
        if unseen:
            names = first_few(unseen)
            self._print(f"no image of {names} is held out: its accuracy will not be known; add images", "yellow")

    def _classes(self, trainer: Trainer) -> None:
        """Say how many images the classes have, and that they are unequal where nothing makes up for it."""
        counts = trainer.data.train.counts()
        ranked = sorted(counts, key=lambda name: (counts[name], name))
        smallest, middle, largest = ranked[0], ranked[len(ranked) // 2], ranked[-1]
        if len(counts) <= EACH_UP_TO:
            self._print("images to learn from: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
        else:
            spread = ", ".join(f"{counts[name]:,} of {name}" for name in (smallest, middle, largest))
            self._print(f"images to learn from, fewest, median and most: {spread}")
        if trainer.data.multi_label:
            labels = trainer.data.train.labels
            several, none = sum(len(each) > 1 for each in labels), labels.count(())
            self._print(f"of these {several:,} have several labels and {none:,} have none")
        if trainer.recipe.class_balance == "none" and counts[largest] > UNEQUAL * counts[smallest]:
            ways = "--class-balance weighted_loss" + (
                "" if trainer.data.multi_label else " or --class-balance oversample"
            )
            self._print(
                f"{largest} has {counts[largest] / counts[smallest]:.0f} times the images of {smallest}, "
                f"which may be learnt badly: {ways} makes up for it",
                "yellow",
            )

    def step(self, progress: Progress, steps: int, loss: float) -> None:
        """Move the bar; without a terminal print a line now and then."""
        if math.isfinite(loss):
            self.loss = loss if math.isnan(self.loss) else 0.95 * self.loss + 0.05 * loss
        done, total = self._done(progress, steps)
        speed = f"{progress.seen / max(progress.seconds, 1e-9):,.0f} images/s"
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
        first, *others = (f"{METRICS[name].title} {METRICS[name].format(score)}" for name, score in result.val.items())
        rest = [(score, 4) for score in others] + [(f"{result.images_per_second:,.0f} images/s", 5)]
        self._print_parts([(f"epoch {self._epoch(result.epoch, 3)}", 0), (f"loss {result.loss:.3f}", 3),
                           (f"({heads})", 6), (f"val loss {result.val_loss:.3f}", 2), (first, 1), *rest])  # fmt: skip
        if result.waiting > MAX_WAITING_SHARE and result.seconds > PLAIN_EVERY:
            self.warn(
                f"{result.waiting:.0%} of the time went into waiting for images: they are large, or the disk is "
                "slow; smaller copies of them would train faster"
            )

    def unreadable(self, name: str, reason: str) -> None:
        """Name an image that is left out."""
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
