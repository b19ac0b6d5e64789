"""``augment``: what training sees of some images, to look at before training. Everything is checked without PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from googlenet.data.depths import common_range
from googlenet.data.image_set import DataLike, ImageSet
from googlenet.data.opening import open_data
from googlenet.errors import RecipeError
from googlenet.extras import TRAINING, require
from googlenet.models import zoo
from googlenet.models.analysis import minimum_size
from googlenet.preprocessing import Preprocessing
from googlenet.stages import stage
from googlenet.training import choosing
from googlenet.training.augmented import AugmentedImages, Request
from googlenet.training.function import check_function
from googlenet.training.options import TrainOptions, split_options
from googlenet.training.plan import AUTO, NOWHERE
from googlenet.training.recipe import Recipe
from googlenet.training.train import planned

if TYPE_CHECKING:
    from typing_extensions import Unpack

MAX_COUNT, MAX_VIEWS = 100, 20


def augment(
    data: DataLike,
    *,
    recipe: str | Path | Recipe | None = None,
    count: int = 6,
    views: int = 7,
    **options: Unpack[TrainOptions],
) -> AugmentedImages:
    """Return what the network sees of some training images: the pixels that :func:`googlenet.train` trains on.

    Args:
        data: as :func:`googlenet.train` takes it.
        recipe: a :class:`googlenet.Recipe`, the name of one or a TOML file. By default the one that
            :func:`googlenet.train` would choose.
        count: images to show, 1 to 100.
        views: how often each is shown, 1 to 20: at epochs spread over the whole run. By minutes, whose epochs are not
            known before, at its first epochs.
        options: those of :func:`googlenet.train`: ``augmentation``, ``image_size``, ``in_channels``, ``resize``,
            ``seed`` and ``augment``.

    Raises:
        DataError, RecipeError, NetworkError: before any work is done.
        ImageError: an image cannot be read.

    ::

        googlenet.augment("photos/", augmentation="aerial").save("sheet.png")
    """
    require("train", *TRAINING)
    for name, value, most in (("count", count, MAX_COUNT), ("views", views, MAX_VIEWS)):
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise RecipeError(f"{name} = {value!r}: should be a whole number of 1 to {most}")
    request = _look(data, recipe, count, views, options)
    with stage("loading PyTorch"):
        from googlenet.training import sheet_views
    with stage("augmenting images"):
        result: AugmentedImages = sheet_views.draw(request)
        return result


def _look(data: DataLike, recipe: Any, count: int, views: int, options: Any) -> Request:
    overrides, run_options = split_options(options)
    if recipe in (None, AUTO):
        plan = planned(data, NOWHERE, choosing.Request(None, overrides, None), run_options)
        settings, preprocessing, images = plan.recipe, plan.preprocessing, plan.data.train
        network = plan.network
    else:
        settings = recipe.override(**overrides) if isinstance(recipe, Recipe) else Recipe.load(recipe, **overrides)
        network = replace(zoo.find(settings.network), in_channels=settings.in_channels)
        size = settings.image_size or network.input_size
        preprocessing = network.preprocessing(size, settings.crop_fraction, settings.resize)
        if run_options.augment:
            check_function(run_options.augment, preprocessing, workers=0)
        images = _images(data, settings, preprocessing)
        preprocessing = replace(preprocessing, value_range=common_range(images, preprocessing.channels))
    smallest = minimum_size(network)
    return Request(images, settings, preprocessing, smallest, run_options.augment, min(count, len(images)), views)


def _images(data: DataLike, settings: Recipe, preprocessing: Preprocessing) -> ImageSet:
    with stage(f"reading {getattr(data, 'name', data)}"):
        return open_data(data, seed=settings.seed, val_fraction=settings.val_fraction,
                         test_fraction=settings.test_fraction, channels=preprocessing.channels).train  # fmt: skip
