"""Whether a bundle's class activation maps are, on this machine, those of training, and add up to its answers."""

from __future__ import annotations

import numpy as np

from googlenet.bundle import Bundle
from googlenet.errors import BundleError
from googlenet.images.decode import Pixels
from googlenet.inference.engine import Engine, Floats, precisions_for
from googlenet.text import printable

TOLERANCE = 1e-4  # in fp32: of the largest value of the maps, and of a probability computed from their means
COARSE_TOLERANCE = 0.2  # in bf16: of the largest value of the maps, averaged over images


def check_maps(
    bundle: Bundle, images: Pixels, probabilities: Floats, expected: Floats | None
) -> tuple[dict[str, float], float]:
    """Compare maps with those of training, (N, K, h, w), where the bundle has them, and with the probabilities (N, K).

    Returns the largest difference in each precision that maps are computed in, in logits, and the largest value; maps
    of an int8 bundle are computed in fp32. Raises :class:`BundleError` where they differ by more than is allowed.
    """
    exact = Engine(bundle)
    if not exact.has_maps:
        return {}, 0.0
    maps = exact.maps(images)
    _check_means(bundle, maps, probabilities, exact.members)
    reference = maps if expected is None else expected
    if reference.shape != maps.shape:
        raise BundleError(f"{_path(bundle)}: its golden maps are {reference.shape}, its graph computes {maps.shape}")
    size = float(np.abs(reference).max())
    found = {"fp32": float(np.abs(maps - reference).max())}
    _check(bundle, "fp32", found["fp32"], TOLERANCE * max(size, 1.0))
    for precision in precisions_for(bundle):
        if precision not in ("fp32", "int8"):
            off = np.abs(Engine(bundle, precision).maps(images) - reference)
            found[precision] = float(off.max())
            _check(bundle, precision, float(off.max(axis=(1, 2, 3)).mean()), COARSE_TOLERANCE * max(size, 1.0))
    return found, size


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
