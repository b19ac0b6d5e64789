"""How to train, as data: a TOML file checked key by key. All mistakes are reported at once."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from importlib import resources
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from googlenet import former
from googlenet.data.opening import VAL_FRACTION
from googlenet.errors import RecipeError
from googlenet.preprocessing import ResizeMode
from googlenet.text import nearest, printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_SHOWN = 80  # letters of a value in a message
MAX_LETTERS, MAX_DOTS = 2**20, 64  # of a recipe, and of one of its keys
_COMMENTS, _KEYS = re.compile("#.*"), re.compile(r"[=,{}\[\]\n]")
# Far more than any run needs, and no more than JSON and PyTorch hold.
MAX_EPOCHS, MAX_MINUTES, MAX_BATCH_SIZE, MAX_SEED = 1_000_000, 1_000_000, 65_536, 2**63 - 1
GRAIN = 16  # images grow by so many pixels at a time

Fraction = Annotated[float, Field(ge=0, le=1)]


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"the first must not be above the second, got {list(span)}")
    return span


_Positive = Annotated[float, Field(gt=0)]
Span = Annotated[tuple[_Positive, _Positive], Field(strict=False), AfterValidator(_ordered)]  # a list in TOML and JSON

# What a value should be, by pydantic's name of what is wrong with it.
_SHOULD_BE = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "model_type": "a table",
    "tuple_type": "a list of two numbers",
    "too_long": "a list of two numbers",
    "missing": "a list of two numbers",
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Augmentation(_Strict):
    """How each image is varied every time it is seen.

    ``crop_scale`` and ``crop_ratio`` are the ranges of the random crop's share of the area and of its
    width/height (Szegedy et al., 2014, section 6: 8 to 100 % and 3/4 to 4/3). ``hflip_prob``, ``photometric_prob``
    (Howard, 2013) and ``erasing_prob`` (a rectangle: Zhong et al., 2017) are probabilities.
    """

    crop_scale: Span = (0.35, 1.0)
    crop_ratio: Span = (3 / 4, 4 / 3)
    hflip_prob: Fraction = 0.5
    photometric_prob: Fraction = 0.0
    erasing_prob: Fraction = 0.25


class Recipe(_Strict):
    """Everything a run depends on but the data. What a file leaves out is as in the default recipe.

    Only ``crop_fraction`` is the network's own unless told. ``minutes`` of wall time, where they are told, take the
    place of ``epochs``: the schedule that the epochs span is then run over the time.

    ``lr`` is the highest learning rate. ``schedule = "cosine"`` rises to it over the share ``warmup`` of all steps
    and falls to 0; ``"step"`` multiplies it by ``lr_gamma`` every ``step_epochs``. ``ema_decay`` is the
    decay of the moving average of the weights that is evaluated and shipped, 0 for none. For fine-tuning, each
    stage's rate is the next one's times ``lr_decay``, and stages up to ``freeze`` do not learn at all.

    ``class_balance`` is for classes of unequal size: ``"weighted_loss"`` weights each image by n / (K · n_k), n_k being
    the images of its class among all n of K classes; ``"oversample"`` draws every class equally often, in an epoch
    of the same length.
    """

    network: str = "googlenet_bn"  # a name of the zoo
    epochs: int = Field(default=15, ge=1, le=MAX_EPOCHS)
    minutes: float | None = Field(default=None, gt=0, le=MAX_MINUTES)  # None: by epochs
    image_size: int | None = Field(default=None, ge=1, le=4096)  # None: the network's own
    # of the shorter side, in validation and after; None: the network's own
    crop_fraction: float | None = Field(default=None, ge=0.1, le=1)
    # Images have this share of the size at first, and grow to it over the first ``growth_fraction`` of the schedule.
    initial_size: float = Field(default=1.0, ge=0.25, le=1)
    growth_fraction: Fraction = 0.5
    max_batches_per_step: int = Field(
        default=1, ge=1, le=64
    )  # batches at most in a step of smaller images, which sees no more pixels
    in_channels: int = Field(default=3, ge=1, le=1024)  # 1: grey, 3: RGB, any other: as the files have them
    resize: ResizeMode = "crop"  # how an image becomes square
    batch_size: int = Field(default=64, ge=2, le=MAX_BATCH_SIZE)
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: what is fastest on the device, by trying
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: float = Field(default=0.002, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    lr_decay: float = Field(default=1.0, gt=0, le=1)
    freeze: str | None = None  # the last of the stages that do not learn
    weight_decay: float = Field(default=0.05, ge=0)
    schedule: Literal["cosine", "step"] = "cosine"
    warmup: Fraction = 0.1
    step_epochs: int = Field(default=8, ge=1, le=MAX_EPOCHS)
    lr_gamma: float = Field(default=0.96, gt=0, le=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    dropout: float | None = Field(default=None, ge=0, lt=1)  # None: the network's own
    init: Literal["truncated_normal", "kaiming", "xavier"] | None = None  # None: the network's own
    val_fraction: float = Field(default=VAL_FRACTION, gt=0, lt=1)  # of each class, held out where DATA has no val/
    test_fraction: float = Field(default=0.0, ge=0, lt=1)  # of each class, kept apart and never looked at in training
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    class_balance: Literal["none", "weighted_loss", "oversample"] = "none"
    augmentation: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _distorts_colours_only(self) -> Recipe:
        if self.augmentation.photometric_prob and self.in_channels != 3:
            raise ValueError(
                f"augmentation.photometric_prob = {self.augmentation.photometric_prob:g} is for colours, with "
                f"in_channels = 3, not {self.in_channels}: set it to 0 in a recipe of your own"
            )
        return self

    @model_validator(mode="after")
    def _leaves_some_to_learn_from(self) -> Recipe:
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"val_fraction = {self.val_fraction:g} and test_fraction = {self.test_fraction:g} leave nothing to "
                "learn from: together they should be less than 1"
            )
        return self

    def side(self, size: int, share: float, smallest: int) -> int:
        """Give the pixels of a side at a place of the schedule (0 to 1): a multiple of 16 until ``size`` is reached.

        Smaller images first (Touvron et al., *Fixing the train-test resolution discrepancy*, 2019; Tan & Le,
        *EfficientNetV2*, 2021) cost less while the rate is high, where detail counts least.

        >>> [Recipe(initial_size=0.75).side(64, share, 15) for share in (0.0, 0.25, 0.5, 1.0)]
        [48, 48, 64, 64]
        """
        if share >= self.growth_fraction:
            return size
        side = size * (self.initial_size + (1 - self.initial_size) * share / self.growth_fraction)
        return min(size, max(smallest, int(side) // GRAIN * GRAIN))

    def batches(self, size: int, side: int) -> int:
        """Give how many batches a step takes while images have a smaller ``side`` than the ``size`` they grow to.

        With as many pixels as later, a step costs no more memory, and less of its time is spent on the weights
        (Wu et al., *A multigrid method for efficiently training video models*, 2020, section 3).

        >>> [Recipe(max_batches_per_step=2).batches(64, side) for side in (32, 48, 64)]
        [2, 1, 1]
        """
        return min(self.max_batches_per_step, max(1, size**2 // side**2))


def shipped_recipes() -> list[str]:
    """Name the recipes that come with the package."""
    folder = resources.files("googlenet.training") / "recipes"
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def recipe_of(fields: Mapping[str, Any]) -> Recipe:
    """Make a recipe of what a file says. Raises :class:`RecipeError` listing every unknown key and bad value."""
    try:
        return Recipe(**former.recipe(fields))
    except ValidationError as error:
        raise RecipeError("; ".join(map(_explain, error.errors()))) from error


def load_recipe(source: str | Path = "default", **overrides: Any) -> Recipe:
    """Read a recipe by its name or from a TOML file, and put ``overrides`` that are not ``None`` over it.

    ``epochs`` among them take the place of the file's ``minutes``.
    Raises :class:`RecipeError` listing every unknown key and bad value.

    >>> load_recipe("default", epochs=3, lr=None).epochs
    3
    """
    text, where = _text_of(source)
    if len(text) > MAX_LETTERS or any(key.count(".") > MAX_DOTS for key in _KEYS.split(_COMMENTS.sub("", text))):
        raise _too_deep(where)  # the parser's memory grows with the square of the dots in a key
    try:
        return _checked(text, where, overrides)
    except RecursionError as error:  # of the parser, or where a message shows what was given
        raise _too_deep(where) from error


def _too_deep(where: str) -> RecipeError:
    return RecipeError(f"recipe {where} is too long or nested too deeply: a recipe has some keys, and one table")


def _checked(text: str, where: str, overrides: dict[str, Any]) -> Recipe:
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {where} is not TOML: {error}") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise RecipeError(f"recipe {where} holds a number that is far too large") from error
    if overrides.get("epochs") is not None and overrides.get("minutes") is not None:
        raise RecipeError("--epochs and --minutes exclude each other: give one")
    if overrides.get("epochs") is not None:
        fields.pop("minutes", None)
    fields.update({key: _plain(value) for key, value in overrides.items() if value is not None})
    try:
        return recipe_of(fields)
    except RecipeError as error:
        raise RecipeError(f"recipe {where}: {error}") from error


def _plain(value: Any) -> Any:
    """Give a number of another library, numpy's for one, as Python's."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, Real) and not isinstance(value, bool | int) else value


def _text_of(source: str | Path) -> tuple[str, str]:
    if not isinstance(source, str | os.PathLike):
        raise RecipeError(
            f"recipe is the name of one or the path of a TOML file, got {printable(repr(source))[:80]}: epochs, lr and "
            "others are arguments of their own"
        )
    if str(source) in shipped_recipes():
        return (resources.files("googlenet.training") / "recipes" / f"{source}.toml").read_text("utf-8"), str(source)
    path = Path(source)
    if not path.is_file():
        hint = nearest(str(source), shipped_recipes())
        raise RecipeError(f"no recipe is called {str(source)!r} and no such file exists: {hint}, or a TOML file")
    try:
        return path.read_text("utf-8-sig"), str(path)
    except UnicodeDecodeError as error:
        raise RecipeError(f"recipe {path} is not UTF-8: save it as UTF-8") from error
    except OSError as error:
        raise RecipeError(f"recipe {path} cannot be read: {error.strerror or error}") from error


def _explain(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        model = Augmentation if len(error["loc"]) > 1 else Recipe
        return f"unknown key {key!r}, {nearest(str(error['loc'][-1]), model.model_fields)}"
    wanted = _SHOULD_BE.get(error["type"])
    message: str = (
        f"should be {wanted}" if wanted else error["msg"].removeprefix("Input ").removeprefix("Value error, ")
    )
    if not key:  # of several that do not go together
        return message
    return f"{printable(key)} = {printable(_as_toml(error['input']))}: {message}"


def _as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
