"""A function of the user's that changes training images last: checked, and recorded by its name. No torch."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from googlenet.errors import RecipeError
from googlenet.images.pixels import Pixels
from googlenet.parallel import start_method
from googlenet.preprocessing import Preprocessing
from googlenet.text import printable
from googlenet.training.plan import Plan
from googlenet.training.recipe import Recipe

Function = Callable[[Pixels, np.random.Generator], Pixels]


def with_function(plan: Plan, function: Function | None, workers: int | None) -> Plan:
    """Return the plan with the name of the function in its recipe, once the function was tried.

    Raises :class:`RecipeError` where it fails, cannot be sent to the processes that read images, or is not the one that
    the recipe, or a run that is resumed, names.
    """
    recorded = plan.recipe.augmentation.function
    if function is None and recorded is None:
        return plan
    name = None if function is None else name_of(function)
    if function is None or (plan.resume and name != recorded):
        what = f"{plan.run} was started" if plan.resume else "the recipe was used"
        with_ = f"augment={recorded}" if recorded else "no augment function"
        raise RecipeError(
            f"{what} with {with_}, got {f'augment={name}' if name else 'none'}: give that function to googlenet.train "
            "as augment=, or leave its name out of the recipe"
        )
    check_function(function, plan.preprocessing, workers)
    return replace(plan, recipe=_named(plan.recipe, name))


def name_of(function: Any) -> str:
    """Return the qualified name of a function, or of the class of another object that can be called.

    >>> name_of(np.flipud)
    'numpy.flipud'
    """
    named = function if hasattr(function, "__qualname__") else type(function)
    return printable(f"{named.__module__}.{named.__qualname__}")


def apply_function(function: Function, pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Call the function. Raises :class:`RecipeError` where it fails, or returns no image like the one that it got."""
    try:
        changed = function(pixels.copy(), random)
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise RecipeError(
            f"augment={name_of(function)} failed on {pixels.dtype} {pixels.shape}: {printable(why)}"
        ) from error
    if not isinstance(changed, np.ndarray) or changed.dtype != np.uint8 or changed.shape != pixels.shape:
        got = f"{changed.dtype} {changed.shape}" if isinstance(changed, np.ndarray) else type(changed).__name__
        raise RecipeError(f"augment={name_of(function)} returned {got}: should be uint8 {pixels.shape}, as it got")
    return changed


def check_function(function: Function, preprocessing: Preprocessing, workers: int | None) -> None:
    """Call the function once, on noise of the network's input size, and pickle it where processes are sent it.

    Raises :class:`RecipeError` where either fails.
    """
    size, name = preprocessing.size, name_of(function)
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (size, size, preprocessing.channels), dtype=np.uint8)
    apply_function(function, noise, random)
    if workers == 0 or start_method() == "fork":
        return
    try:
        pickle.dumps(function)
        if name.startswith("__main__."):
            raise pickle.PicklingError("it is defined in the script itself")
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise RecipeError(
            f"augment={name} cannot be sent to the processes that read images ({error}): put it into a module and "
            "import it, or train with workers=0"
        ) from error


def _named(recipe: Recipe, name: str | None) -> Recipe:
    augmentation = recipe.augmentation.model_copy(update={"function": name})
    return recipe.model_copy(update={"augmentation": augmentation})
