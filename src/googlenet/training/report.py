"""``report.html`` of a run, written once its bundle is there: a report that fails, or is slow, never costs a run."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np

from googlenet.bundle import Bundle
from googlenet.data.image_set import ImageSet
from googlenet.evaluation.drawing import attempt
from googlenet.evaluation.evaluate import evaluate_on
from googlenet.evaluation.selection import Selection, kept_to_report
from googlenet.inference.classifier import Classifier
from googlenet.inference.crops import load
from googlenet.reporting import REPORT
from googlenet.reporting.examples import MAX_DRAWN
from googlenet.reporting.report import write_report
from googlenet.stages import stage
from googlenet.training.display import say
from googlenet.training.estimate import seconds_each
from googlenet.training.trainer import Trainer

MAX_IMAGES, MIN_IMAGES = 2_000, 100  # that are measured at the end of a run; `evaluate --report` measures all
MAX_SHARE = 0.05  # of the minutes of a run
PROBE_IMAGES = 16
LIBRARIES = ("sklearn.metrics", "scipy.stats", "scipy.sparse")  # that measuring loads, in a second
SEED = 0


class RunReport:
    """The report of a run. In a run by minutes it is tried before the first epoch, and made to fit into them."""

    def __init__(self, trainer: Trainer, run: Path) -> None:
        self.run, self.minutes = run, trainer.recipe.minutes
        self.selection = kept_to_report(trainer.data, str(run))
        self.count = min(MAX_IMAGES, len(self.selection.images))

    def rehearse(self, bundle: Bundle) -> float:
        """Choose how many images the report measures; return the seconds it takes beyond those spent here."""
        if self.minutes is None:
            return 0.0
        each, begun = 0.0, time.perf_counter()
        for library in LIBRARIES:
            import_module(library)
        once = time.perf_counter() - begun  # not at the end again

        def try_it() -> None:
            nonlocal each
            classifier = load(bundle.path)
            found = evaluate_on(classifier, self._some(PROBE_IMAGES))
            write_report(classifier, found, bundle.path.parent / REPORT)
            each = seconds_each(lambda count: evaluate_on(classifier, self._some(count)), self.count)

        attempt(try_it, self.run / REPORT)  # what fails here is reported at the end
        if each:
            self.count = min(self.count, max(MIN_IMAGES, int(MAX_SHARE * 60 * self.minutes / each)))
        drawn = min(MAX_DRAWN, self.count)
        return each * max(0, self.count + drawn - 2 * PROBE_IMAGES) - once

    def write(self) -> None:
        """Write the report; where that fails, say why in one line."""

        def make() -> None:
            classifier: Classifier = load(self.run)
            write_report(classifier, evaluate_on(classifier, self._some(self.count)), self.run / REPORT)

        with stage("writing the report"):
            why = attempt(make, self.run / REPORT)
        if why:
            say(why)

    def _some(self, count: int) -> Selection:
        """Draw so many of the images, the same ones every time, and keep their order."""
        images = self.selection.images
        if count >= len(images):
            return self.selection
        chosen = np.sort(np.random.default_rng(SEED).permutation(len(images))[:count])
        few = ImageSet(images.class_names, tuple(images.items[index] for index in chosen))
        note = f"of these, {count:,} were drawn at random: googlenet evaluate --report measures all"
        return replace(self.selection, images=few, notes=(*self.selection.notes, note))
