"""Progress of training on stderr: a live bar with ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import TracebackType

from googlenet.data.roles import described
from googlenet.metrics import METRICS
from googlenet.terminal import Bar, Part, console, duration, one_line
from googlenet.terminal import say as say_line
from googlenet.text import first_few
from googlenet.training.maps import split_of
from googlenet.training.progress import EpochResult, Progress
from googlenet.training.recipe import Recipe
from googlenet.training.trainer import Trainer

MAX_WAITING_SHARE = 0.2  # of an epoch's time spent waiting for images: more is reported, unless the epoch is short
PLAIN_SECONDS = 30.0  # between plain lines within an epoch; shorter epochs are short
MAX_LISTED_CLASSES = 20  # with more, the images of three classes are shown
MAX_CLASS_RATIO = 10  # of the largest to the smallest class: more is reported
TOP5_CLASSES = 5  # with no more, top-5 is 100 %


class Display:
    """Shows epoch, losses, accuracy, images per second and ETA."""

    def __init__(self, recipe: Recipe, *, quiet: bool = False) -> None:
        self.console = console(stderr=True, quiet=quiet)
        self.epochs, self.minutes = recipe.epochs, recipe.minutes
        self.bar = Bar(self.console)
        self.classes = 0  # of the data
        self.loss = math.nan
        self.last_line = time.monotonic()

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.__exit__(kind, error, trace)

    def begin(self, trainer: Trainer) -> None:
        """Print what is trained, on what, and which classes cannot be validated."""
        train, val = trainer.data.train, trainer.data.val
        self.classes = len(train.class_names)
        count, device = trainer.processes.count, trainer.fabric.device.type
        where = f"{count} processes, {device}" if count > 1 else device
        self._print(
            f"{trainer.network.network.name} at {trainer.preprocessing.size} px on {where} "
            f"in {trainer.recipe.precision}: {len(train):,} training images of {len(train.class_names)} classes, "
            f"{len(val):,} held out"
        )
        self._classes(trainer)
        self._print(described(trainer.data))
        unseen = [name for name, count in val.counts().items() if not count]
        if unseen:
            names = first_few(unseen)
            self._print(f"no image of {names} is held out: accuracy there is unknown; add images", "yellow")

    def _classes(self, trainer: Trainer) -> None:
        """Print the images of each class, and a warning where they are unequal and nothing makes up for it."""
        counts = trainer.data.train.counts()
        ranked = sorted(counts, key=lambda name: (counts[name], name))
        smallest, middle, largest = ranked[0], ranked[len(ranked) // 2], ranked[-1]
        if len(counts) <= MAX_LISTED_CLASSES:
            self._print("training images: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
        else:
            spread = ", ".join(f"{counts[name]:,} of {name}" for name in (smallest, middle, largest))
            self._print(f"training images of the smallest, median and largest class: {spread}")
        if trainer.data.multi_label:
            labels = trainer.data.train.labels
            several, none = sum(len(each) > 1 for each in labels), labels.count(())
            self._print(f"of these, {several:,} have several labels and {none:,} have none")
        if trainer.recipe.class_balance == "none" and counts[largest] > MAX_CLASS_RATIO * counts[smallest]:
            ways = "--class-balance weighted_loss" + (
                "" if trainer.data.multi_label else " or --class-balance oversample"
            )
            self._print(
                f"{largest} has {counts[largest] / counts[smallest]:.0f} times the images of {smallest}, "
                f"which may be learnt poorly: {ways} makes up for it",
                "yellow",
            )

    def step(self, progress: Progress, steps: int, loss: float) -> None:
        """Update the bar; without a terminal, print a line every ``PLAIN_SECONDS``."""
        if math.isfinite(loss):
            self.loss = loss if math.isnan(self.loss) else 0.95 * self.loss + 0.05 * loss
        done, total = self._done(progress, steps)
        speed = f"{progress.seen / max(progress.seconds, 1e-9):,.0f} images/s"
        epoch, shown = f"epoch {self._epoch(progress.epoch + 1)}", f"loss {self.loss:.3f}"
        unit = "steps" if self.minutes is None else "s"
        self.bar.step(done, total, [(epoch, 1), (f"{done:,.0f}/{total:,.0f} {unit}", 4), (shown, 2), (speed, 5)])
        now = time.monotonic()
        if not self.bar.live and now - self.last_line > PLAIN_SECONDS:
            self.last_line = now
            step = f"step {progress.batch:,}/{steps:,}"
            self._print_parts([(epoch, 0), (step, 4), (shown, 2), (speed, 5), (self.bar.eta(), 3)])

    def maps(self, view: str, done: int, count: int) -> None:
        """Update the bar while maps of frozen stages are computed."""
        what = f"view {int(view) + 1}" if split_of(view) == "train" else "the held-out images"
        parts = [(f"maps of {what}", 1), (f"{done:,}/{count:,} images", 4)]
        self.bar.step(done, count, parts)
        if not self.bar.live and time.monotonic() - self.last_line > PLAIN_SECONDS:
            self.last_line = time.monotonic()
            self._print_parts([*parts, (self.bar.eta(), 3)])

    def epoch(self, result: EpochResult) -> None:
        """Print the line of an epoch. A narrow terminal shows less of it; log.csv has everything."""
        self.last_line = time.monotonic()
        if not result.epoch:
            first = next(iter(result.val))
            self._print(
                f"a linear classifier on embeddings: {METRICS[first].title} {METRICS[first].format(result.val[first])}"
            )
            return
        heads = " + ".join(f"{loss:.3f}" for loss in result.head_losses)
        shown = {name: score for name, score in result.val.items() if name != "top5" or self.classes > TOP5_CLASSES}
        first, *others = (f"{METRICS[name].title} {METRICS[name].format(score)}" for name, score in shown.items())
        rest = [(score, 4) for score in others] + [(f"{result.images_per_second:,.0f} images/s", 5)]
        if result.mirror_gain is not None:
            rest.insert(0, (f"mirror images {100 * result.mirror_gain:+.2f}", 4))
        self._print_parts([(f"epoch {self._epoch(result.epoch, 3)}", 0), (f"loss {result.loss:.3f}", 3),
                           (f"({heads})", 6), (f"val loss {result.val_loss:.3f}", 2), (first, 1), *rest])  # fmt: skip
        if result.waiting > MAX_WAITING_SHARE and result.seconds > PLAIN_SECONDS:
            self.warn(
                f"{result.waiting:.0%} of the time was spent waiting for images: they are large, or the disk is slow; "
                "smaller copies would train faster"
            )

    def unreadable(self, name: str, reason: str) -> None:
        """Print why an image is skipped."""
        self._print(f"skipped: {reason}", "yellow")

    def warn(self, message: str) -> None:
        """Print a warning."""
        self._print(message, "yellow")

    def end(self, trainer: Trainer) -> None:
        """Say why a run ends before its time, if it does."""
        best = trainer.state.best
        if best and trainer.is_out_of_patience and not trainer.budget.is_over(trainer.progress):
            stale = trainer.progress.stale_epochs(trainer.state.metric)
            title = METRICS[trainer.state.metric].title
            epochs = "an epoch" if stale == 1 else f"{stale} epochs"
            self._print(f"ended early: no better {title} for {epochs}; the best was epoch {best.epoch}")

    def place(self, progress: Progress) -> str:
        """Return where a run stands, for people."""
        if self.minutes is None:
            return f"epoch {progress.epoch + 1} of {self.epochs}"
        return f"epoch {progress.epoch + 1}, after {duration(progress.elapsed)} of {duration(60 * self.minutes)}"

    def _done(self, progress: Progress, steps: int) -> tuple[float, float]:
        """Return how much is done and of how much: steps, or seconds in a run by minutes."""
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
    """Print a line on stderr, before there is a display."""
    say_line(text, to=console(stderr=True))
