"""Whether a bundle's class activation maps are, on this machine, those of training, and add up to its answers."""

from __future__ import annotations

import numpy as np

from googlenet.bundle import Bundle
from googlenet.errors import BundleError
from googlenet.images.decode import Pixels
from googlenet.inference.engine import Engine, Floats
from googlenet.text import printable

TOLERANCE = 1e-4  # in fp32: of the largest value of the maps, and of a probability computed from their means
COARSE_TOLERANCE = 0.2  # in bf16: of the largest value of the maps, averaged over images


class MapChecks:
    """Compares maps with those of training, ``expected`` (N, K, h, w), or without these with those in fp32.

    ``differences`` has the largest one in each precision, in logits; ``size`` is the largest value of a map.
    """

    def __init__(self, bundle: Bundle, expected: Floats | None) -> None:
        self.bundle, self.expected = bundle, expected
        self.differences: dict[str, float] = {}
        self.size = 0.0

    def answers(self, engine: Engine, images: Pixels) -> Floats:
        """Return the probabilities (N, K) of an engine, once its maps have been checked where it has them.

        Those of an int8 engine are of the fp32 graph, which is checked by itself. Raises :class:`BundleError`.
        """
        if not engine.has_maps or engine.precision == "int8":
            return engine.probabilities(images)
        probabilities, maps = engine.probabilities_and_maps(images)
        if engine.precision == "fp32":
            _check_means(self.bundle, maps, probabilities, engine.members)
        self._compare(engine.precision, maps)
        return probabilities

    def _compare(self, precision: str, maps: Floats) -> None:
        reference = maps if self.expected is None else self.expected
        if reference.shape != maps.shape:
            raise BundleError(
                f"{_path(self.bundle)}: its golden maps are {reference.shape}, its graph computes {maps.shape}"
            )
        self.expected = reference
        self.size = float(np.abs(reference).max())
        off = np.abs(maps - reference)
        self.differences[precision] = float(off.max())
        if precision == "fp32":
            _check(self.bundle, precision, float(off.max()), TOLERANCE * max(self.size, 1.0))
        else:
            _check(
                self.bundle, precision, float(off.max(axis=(1, 2, 3)).mean()), COARSE_TOLERANCE * max(self.size, 1.0)
            )


def _check(bundle: Bundle, precision: str, difference: float, allowed: float) -> None:
    if not difference <= allowed:
        raise BundleError(
            f"{_path(bundle)}: class activation maps in {precision} differ by {difference:.2g} logits from those of "
            f"training, allowed is {allowed:.2g}: this machine does not explain as the bundle did"
        )


def _check_means(bundle: Bundle, maps: Floats, probabilities: Floats, members: int) -> None:
    """Compute the probabilities from the means of the maps: they are the logits before the temperature.

    Where the answer is a mean of several answers, this does not follow, and is not checked.
    """
    if bundle.card.mirror or members > 1:
        return
    logits = maps.mean(axis=(2, 3), dtype=np.float64) / np.array(bundle.card.temperature)
    if bundle.card.multi_label:
        found = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
    else:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found = powers / powers.sum(axis=1, keepdims=True)
    off = float(np.abs(found - probabilities).max())
    if not off <= 2 * TOLERANCE:
        raise BundleError(
            f"{_path(bundle)}: the means of its class activation maps give probabilities that differ by {off:.2g} from "
            f"its answers, allowed is {2 * TOLERANCE:g}: its maps do not explain its answers, get another copy"
        )


def _path(bundle: Bundle) -> str:
    return printable(str(bundle.path))
