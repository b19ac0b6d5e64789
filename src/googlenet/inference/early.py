"""A classifier that answers easy images by an auxiliary head, and whether that is worth it. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from googlenet.bundle import Bundle
from googlenet.errors import DeviceError, GoogLeNetError
from googlenet.images.decode import ImageSource, Pixels
from googlenet.inference.batches import BATCH, all_read
from googlenet.inference.classifier import Classifier, Prediction
from googlenet.inference.engine import Floats, best_precision
from googlenet.inference.exits import BATCHES, PRECISION, WORTH, Exits, Parts, read_exits
from googlenet.inference.origin import ALWAYS, AUTO, EXIT_MODES, OFF, ONE_CROP, Origin, read_again


class ExitClassifier(Classifier):
    """A classifier that answers by the first head that is confident enough, else by the full network; in fp32.

    ``exits`` has the thresholds, and what was promised when they were chosen; ``Prediction.head`` is the head that
    answered. Predictions have no conformal sets and are never unknown, as both are calibrated by the full network's
    answers. Explanations, embeddings and heat maps are of the full network.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        super().__init__(bundle, PRECISION, threads)
        self.origin, self.exits = replace(self.origin, exit=ALWAYS), read_exits(bundle)
        self._parts, self._detector = Parts(bundle, self.engine), None

    def __reduce__(self) -> tuple[Any, ...]:
        if type(self.bundle) is Bundle:
            return _load_again, (self.origin,)
        return ExitClassifier, (self.bundle, self.threads)

    def probabilities(self, sources: Iterable[ImageSource]) -> Floats:
        """Return the probabilities of images, (N, K), as :meth:`Classifier.probabilities` does."""
        count = len(self.class_names)
        answers = self._many(self._answers, sources, BATCH)
        rows: list[Floats] = [row[:count] for row in all_read(row for _, row in answers)]
        return np.stack(rows) if rows else np.empty((0, count), np.float32)

    def _answers(self, batch: Pixels, streams: int = 1) -> Floats:
        """(N, size, size, C) uint8 → (N, K + 1): the probabilities, and the number of the head."""
        probabilities, by = self._parts.answers(batch, self.exits.thresholds, streams)
        return np.concatenate([probabilities, by[:, None]], axis=1, dtype=np.float32)

    def _prediction(self, source: ImageSource | None, answer: Floats) -> Prediction:
        count, heads = len(self.class_names), (*self._parts.heads, None)
        found, head = answer[:count].copy(), heads[int(answer[count])]
        return Prediction(source, self.class_names, found, (), self.origin, head=head)


def _load_again(origin: Origin) -> ExitClassifier:
    return ExitClassifier(read_again(origin), origin.threads)


def check_exit(mode: object) -> str:
    """Return one of ``"off"``, ``"auto"`` and ``"always"``. Raises :class:`GoogLeNetError` for others."""
    if mode not in EXIT_MODES:
        raise GoogLeNetError(f"exit is {OFF}, {AUTO} or {ALWAYS}, got {mode!r}")
    return str(mode)


def exits_early(bundle: Bundle, mode: str, precision: str | None, device: str, crops: str) -> bool:
    """Return whether a bundle is to answer early.

    Raises :class:`GoogLeNetError` where what else was asked for excludes it, :class:`BundleError` if there are no
    exits.
    """
    if check_exit(mode) == OFF:
        return False
    if crops != ONE_CROP:
        raise GoogLeNetError(f"exit={mode} and crops={crops} exclude each other: an early answer is of one crop")
    if device != "cpu" or precision not in (None, PRECISION):
        asked = f"device={device}" if device != "cpu" else f"precision={precision}"
        raise DeviceError(
            f"exit={mode} computes in {PRECISION} on the cpu, where its thresholds were chosen: leave {asked} out"
        )
    return mode == ALWAYS or why_off(bundle, precision) is None


def why_off(bundle: Bundle, precision: str | None = None) -> str | None:
    """Return why ``exit="auto"`` does not answer early, one sentence; ``None`` where it does."""
    exits, best = read_exits(bundle), precision or best_precision(bundle)
    if best != PRECISION:
        return f"exit stays off: it computes in {PRECISION}, and {best} was measured to be the fastest here"
    if exits.is_worth:
        return None
    return f"exit stays off: {gains_described(exits)}, and less than {100 * WORTH:.0f} % is not worth other answers"


def gains_described(exits: Exits) -> str:
    """Return how much faster early answers are: the gain of one image and of many.

    >>> gains_described(Exits((0.9,), (0.5,), 0.01, 0.95, 1000, 3, (0.12, -0.04)))
    'the gain measured is 12 % for one image and -4 % in batches of 32'
    """
    one, many = (f"{100 * gain:.0f} %" for gain in exits.gains)
    return f"the gain measured is {one} for one image and {many} in batches of {BATCHES[1]}"
