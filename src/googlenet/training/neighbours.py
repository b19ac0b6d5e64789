"""Training images that a bundle keeps, where the user says so: embeddings and thumbnails."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from googlenet.bundle import NEIGHBOURS, Bundle
from googlenet.data.image_set import LabelledImage
from googlenet.errors import BundleError, ImageError, RunError
from googlenet.images.resize import read
from googlenet.inference.classifier import Classifier
from googlenet.inference.neighbours import MAX_IMAGES, THUMBNAIL, Neighbours, thumbnail_of, unit
from googlenet.parallel import in_batches
from googlenet.training.certainty import MAX_IMAGES_TOGETHER
from googlenet.training.estimate import seconds_left
from googlenet.training.trainer import Trainer

PROBE_IMAGES = 16
BATCH = 8


def images_to_keep(trainer: Trainer) -> tuple[LabelledImage, ...]:
    """Return the training images that are kept, evenly over the classes: at most 2,000; none by default."""
    if not trainer.recipe.keep_neighbours:
        return ()
    return trainer.data.train.evenly(MAX_IMAGES if trainer.processes.count == 1 else MAX_IMAGES_TOGETHER)


def kept(bundle: Bundle, items: Sequence[LabelledImage]) -> dict[str, bytes]:
    """Return the further file of a bundle, with embeddings and thumbnails of images; none where none can be read."""
    classifier = Classifier(bundle, "fp32")
    embeddings = classifier.embed_many(item.source for item in items)
    preprocessing = classifier.card.preprocessing

    def thumbnail(item: LabelledImage) -> bytes:
        return thumbnail_of(read(item.source, preprocessing, at_least=THUMBNAIL))

    drawn = (pair for batch in in_batches(thumbnail, items, BATCH) for pair in batch)
    rows = [
        (embedding, item, small)
        for embedding, (item, small) in zip(embeddings, drawn, strict=True)
        if not isinstance(embedding, ImageError) and not isinstance(small, ImageError)
    ]
    if not rows:
        return {}
    every, images, thumbnails = zip(*rows, strict=True)
    names, labels = tuple(item.name for item in images), tuple(item.labels for item in images)
    return {NEIGHBOURS: Neighbours(unit(np.stack(every)), names, labels, thumbnails).to_bytes()}


def described(files: dict[str, bytes], count: int) -> list[str]:
    """Say what others will see of the training images, one line where some are kept."""
    if NEIGHBOURS not in files:
        return []
    size = f"{len(files[NEIGHBOURS]) / 1e6:.1f} MB"
    return [f"the bundle keeps thumbnails of {count:,} training images ({size}): whoever gets it can see them"]


def rehearse_neighbours(bundle: Bundle, trainer: Trainer) -> float:
    """Keep a few images; with ``minutes``, return the seconds that all of them will take beyond that."""
    items = images_to_keep(trainer)
    if not items:
        return 0.0
    try:
        kept(bundle, items[:PROBE_IMAGES])
    except BundleError as error:
        raise RunError(f"keep_neighbours: {error}".replace(f"{bundle.path} ", "the network ")) from error
    if trainer.recipe.minutes is None:
        return 0.0
    return seconds_left(lambda count: kept(bundle, items[:count]), len(items), PROBE_IMAGES)
