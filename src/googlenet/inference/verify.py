"""``verify``: whether a bundle is whole, and gives on this machine the answers it gave where it was made."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from googlenet import bundle as bundles
from googlenet.bundle import MODEL, WEIGHTS, Bundle
from googlenet.checks.arrays import read_safetensors
from googlenet.checks.onnx_graph import read_constants
from googlenet.data.image_set import ImageSet
from googlenet.errors import BundleError, DataError, ImageError
from googlenet.images.decode import Pixels
from googlenet.images.resize import load_image
from googlenet.inference.engine import Engine, Floats, precisions_for
from googlenet.inference.golden import golden_answers
from googlenet.inference.verify_maps import MapChecks
from googlenet.preprocessing import Preprocessing
from googlenet.text import first_few, printable

GOLDEN_IMAGES = 4
TOLERANCE = 1e-4  # difference of a probability between PyTorch where it was trained and OpenVINO here
COARSE_TOLERANCE = 0.25  # in bf16 and int8: the largest difference of an image, averaged over images


@dataclass(frozen=True)
class Verification:
    """What was checked: ``files`` by their hashes, and ``images`` replayed in ``precisions``.

    ``largest_difference`` is that of a probability in fp32. ``map_differences`` has for each precision that maps are
    computed in the largest difference of a value of them from those of training, in logits; it is empty for a network
    without maps. ``map_size`` is the largest such value.
    """

    path: Path
    files: tuple[str, ...]
    images: int
    largest_difference: float
    seconds: float
    precisions: tuple[str, ...] = ("fp32",)
    map_differences: dict[str, float] = field(default_factory=dict)
    map_size: float = 0.0


def verify(path: str | Path) -> Verification:
    """Check a bundle: file hashes, weights, and its golden images replayed in every precision of this processor.

    Args:
        path: a run of ``train``, or a bundle.

    Raises:
        BundleError: a file is missing or altered; ``weights.safetensors`` holds other weights than ``model.onnx``; a
            probability differs from the stored one by more than 1e-4 in fp32, or by more than 0.25 on average in
            bf16 or int8; a class activation map differs by more than 1e-4 of its largest value in fp32, or by more
            than 0.2 of that on average in bf16, or its mean is not the logit that the probabilities come from.

    ::

        googlenet.verify("runs/flowers").largest_difference
    """
    start = time.perf_counter()
    bundle = bundles.read(path)
    images, expected, maps = golden_answers(bundle)
    files = sorted(bundle.card.files)
    for name in files:  # one at a time, to save memory
        bundle.read(name)
    _ = bundle.network  # raises where it cannot be built
    _check_weights(bundle)
    checks = MapChecks(bundle, maps)
    difference = check_answers(bundle, "fp32", checks.answers(Engine(bundle), images), expected)
    others = precisions_for(bundle)[1:]
    for precision in others:
        check_answers(bundle, precision, checks.answers(Engine(bundle, precision), images), expected)
    seconds = time.perf_counter() - start
    replayed = ("fp32", *others)
    return Verification(
        bundle.path, tuple(files), len(images), difference, seconds, replayed, checks.differences, checks.size
    )


def _check_weights(bundle: Bundle) -> None:
    """Compare the weights for fine-tuning with those of the graph: they are stored twice, and must be of one training.

    A convolution that a batch normalisation was folded into differs, and is left out; the last layer has none.
    """
    if WEIGHTS not in bundle.card.files:
        return
    tensors, constants = read_safetensors(bundle.read(WEIGHTS)), read_constants(bundle.read(MODEL))
    folded = {name.removesuffix(".bn.weight") for name in tensors if name.endswith(".bn.weight")}
    shared = [name for name in tensors if name in constants and name.rpartition(".conv.")[0] not in folded]
    wrong = [name for name in shared if not np.array_equal(tensors[name].astype(np.float32), constants[name])]
    if wrong:
        raise BundleError(
            f"{printable(str(bundle.path / WEIGHTS))} holds other weights than {MODEL} ({first_few(wrong)} differ): "
            "they are of two trainings, copy the whole bundle again"
        )


def check_answers(bundle: Bundle, precision: str, answers: Floats, expected: Floats) -> float:
    """Compare answers to the golden images (N, K) with the stored ones; return the largest difference.

    In fewer bits a few answers may differ, but not most. Raises :class:`BundleError` as :func:`verify` does.
    """
    off = np.abs(answers - expected).max(axis=1)
    difference = float(off.max())
    if precision == "fp32":
        if not difference <= TOLERANCE:
            raise BundleError(
                f"{printable(str(bundle.path))}: a golden probability differs by {difference:.2g}, allowed is "
                f"{TOLERANCE:g}: this machine does not reproduce the answers of the bundle"
            )
    elif not off.mean() <= COARSE_TOLERANCE:
        raise BundleError(
            f"{printable(str(bundle.path))}: golden probabilities in {precision} differ by {off.mean():.2g}, allowed "
            f"is {COARSE_TOLERANCE:g}: use --precision fp32, or make the int8 graph again with `googlenet quantize`"
        )
    return difference


def golden_inputs(images: ImageSet, preprocessing: Preprocessing) -> Pixels:
    """Return a few readable images, spread over the classes and preprocessed: (N, size, size, C) uint8.

    Raises :class:`DataError` if none can be read.
    """
    found: list[Pixels] = []
    stride = max(1, len(images) // GOLDEN_IMAGES)
    for item in (*images.items[::stride], *images.items):
        try:
            found.append(load_image(item.source, preprocessing))
        except ImageError as error:
            reason = str(error)
        if len(found) == GOLDEN_IMAGES:
            break
    if not found:
        raise DataError(f"none of the {len(images)} validation images could be read: {reason}")
    return np.stack(found)
