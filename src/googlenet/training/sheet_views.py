"""What training sees of images, drawn by what draws it in training: the data set, the batches and their mixing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, zip_longest

import torch
from torch import Tensor

from googlenet.data.image_set import ImageSet
from googlenet.errors import RecipeError, UnreadableImageError
from googlenet.images.decode import Pixels
from googlenet.images.resize import load_image
from googlenet.metrics import truth_of
from googlenet.training.augmented import AugmentedImage, AugmentedImages, MixedImage, Request
from googlenet.training.loading import Batch, BatchSampler, FunctionFailure, ImageDataset, SampleKey
from googlenet.training.mixing import drawn_mix, mix
from googlenet.training.progress import Progress

MAX_STEPS = 1000  # to find one that is mixed
MAX_MIXED = 8  # images shown of it


def draw(request: Request) -> AugmentedImages:
    """Return what was asked for."""
    recipe, images = request.recipe, request.images
    dataset = ImageDataset(images, request.preprocessing, recipe.seed, recipe.augmentation, request.function)
    epochs = _epochs(request)
    shown = []
    for index in islice(_of_all_classes(images), request.count):
        item = images.items[index]
        original = load_image(item.source, request.preprocessing)
        keys = [SampleKey(epoch, index, _shape(request, share)[0]) for epoch, share in epochs]
        views = tuple(_pixels(_read(dataset, key)) for key in keys)
        names = tuple(images.class_names[label] for label in item.labels)
        shown.append(AugmentedImage(item.name, names, original, views))
    return AugmentedImages(tuple(shown), tuple(epoch + 1 for epoch, _ in epochs), _mixed(request, dataset), recipe)


def _epochs(request: Request) -> list[tuple[int, float]]:
    """Return the epochs to show, from 0, and how much of the run is over at their start."""
    recipe, views = request.recipe, request.views
    if recipe.minutes is not None:
        return [(number, number / views) for number in range(views)]
    last = max(1, min(views, recipe.epochs) - 1)
    epochs = sorted({number * (recipe.epochs - 1) // last for number in range(last + 1)})
    return [(epoch, epoch / recipe.epochs) for epoch in epochs]


def _of_all_classes(images: ImageSet) -> Iterator[int]:
    """Yield the indices of images of all classes in turn, those without a label last."""
    by_class: dict[int, list[int]] = {}
    for index, item in enumerate(images.items):
        by_class.setdefault(min(item.labels, default=len(images.class_names)), []).append(index)
    for row in zip_longest(*(by_class[label] for label in sorted(by_class))):
        yield from (index for index in row if index is not None)


def _shape(request: Request, share: float) -> tuple[int, int]:
    """Return the side of the images of a step in pixels, and how many batches it merges."""
    side = request.recipe.image_side(request.preprocessing.size, share, request.smallest)
    return side, request.recipe.batches_per_step(request.preprocessing.size, side)


def _read(dataset: ImageDataset, key: SampleKey) -> Tensor:
    _, _, pixels = dataset[key]
    if isinstance(pixels, str):
        raise UnreadableImageError(pixels)
    if isinstance(pixels, FunctionFailure):
        raise RecipeError(pixels.message)
    return pixels


def _pixels(image: Tensor) -> Pixels:
    pixels: Pixels = image.permute(1, 2, 0).numpy()
    return pixels


def _mixed(request: Request, dataset: ImageDataset) -> tuple[MixedImage, ...]:
    """Return the first images of the first step that is mixed, if one is."""
    recipe = request.recipe
    epochs = recipe.epochs
    oversampled = [item.label for item in request.images.items] if recipe.class_balance == "oversample" else None

    def shape(epoch: int, batch: int) -> tuple[int, int]:
        return _shape(request, (epoch + batch / len(batches)) / epochs)

    batches = BatchSampler(len(request.images), recipe.batch_size, recipe.seed, True, shape, classes=oversampled)
    steps = max(1, len(batches))
    number = int(recipe.augmentation.mix_during[0] * epochs) * steps
    for _ in range(MAX_STEPS):
        at = Progress(*divmod(number, steps))
        share = number / (epochs * steps)
        if share < 1 and drawn_mix(recipe, at, share) is not None:
            batches.epoch, batches.start = at.epoch, at.batch
            return _step(request, dataset, next(iter(batches)), at, share)
        number += min(shape(at.epoch, at.batch)[1], steps - at.batch)
    return ()


def _step(
    request: Request, dataset: ImageDataset, keys: list[SampleKey], at: Progress, share: float
) -> tuple[MixedImage, ...]:
    classes = request.images.class_names
    readable = [
        (index, names, image) for index, names, image in map(dataset.__getitem__, keys) if torch.is_tensor(image)
    ]
    labels = torch.from_numpy(truth_of([numbers for _, numbers, _ in readable], len(classes), multi_label=True)).float()
    batch = Batch(torch.stack([image for *_, image in readable]), labels, [index for index, *_ in readable])
    mixed = mix(batch, request.recipe, len(classes), at, share)
    return tuple(
        MixedImage(_pixels(image), {classes[k]: float(row[k]) for k in row.nonzero().flatten().tolist()})
        for image, row in islice(zip(mixed.images, mixed.labels, strict=True), MAX_MIXED)
    )
