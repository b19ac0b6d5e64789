"""How to train, as data: the one owner of every setting, from the command line to the card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from googlenet import former
from googlenet.data.opening import VAL_FRACTION
from googlenet.errors import RecipeError
from googlenet.images.pixels import COLOURS
from googlenet.preprocessing import ResizeMode
from googlenet.training.augmentation import Augmentation, changed, preset, unsupported
from googlenet.training.choices import OPTIMIZERS, SCHEDULES
from googlenet.training.recipe_file import read_recipe, too_deep
from googlenet.training.settings import Fraction, Settings, help_of, one_of, plain

# Far more than any run needs, and no more than JSON and PyTorch hold.
MAX_EPOCHS, MAX_MINUTES, MAX_BATCH_SIZE, MAX_SEED = 1_000_000, 1_000_000, 65_536, 2**63 - 1
LENGTH = ("epochs", "minutes", "patience")  # settings of how long a run lasts, which a resumed run may raise
SIZE_STEP = 16  # pixels by which images grow at a time


BestBy = Literal["top1", "balanced_accuracy", "macro_f1", "loss", "map"]  # names of `googlenet.metrics`


class Recipe(Settings):
    """Every setting of a training run but its data. What a recipe file leaves out has the default given here.

    Raises:
        RecipeError: unknown names, values of another type or out of range; the message lists all of them.

    >>> Recipe(epochs=3, lr=0.001).batch_size
    64
    """

    network: str = Field(
        default="googlenet_bn", description="Name of the network to train; `googlenet.list_networks()` lists them."
    )
    aux: int | None = Field(
        default=None,
        ge=0,
        description="Auxiliary heads to train with, at most: 0 for none. By default all that the network has.",
    )
    epochs: int = Field(default=15, ge=1, le=MAX_EPOCHS, description="Passes over the training images.")
    minutes: float | None = Field(
        default=None,
        gt=0,
        le=MAX_MINUTES,
        description="Minutes to train instead of `epochs`, everything included: the schedule is fitted into them.",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        le=MAX_EPOCHS,
        description="End early, after this many epochs in a row without a better one: with `unfreeze`, first the "
        "phase. By default never.",
    )
    best_by: BestBy | None = Field(
        default=None,
        description="What chooses the best epoch, on the held-out images. By default top1, or map with several labels.",
    )
    image_size: int | None = Field(
        default=None, ge=1, le=4096, description="Side of the network's input in pixels. By default the network's own."
    )
    crop_fraction: float | None = Field(
        default=None,
        ge=0.1,
        le=1,
        description="Side of the centre crop as a share of the resized image, in validation and prediction. "
        "By default the network's own.",
    )
    mirror: bool = Field(
        default=False,
        description="Answer with the mean of the probabilities of an image and its mirror image: usually about a point "
        "more accurate, at twice the work of prediction. Not for text, or where left and right differ in meaning.",
    )
    keep_neighbours: bool = Field(
        default=False,
        description="Keep thumbnails and embeddings of the training images, 2,000 at most, in the bundle: `explain` "
        "shows those most like an image. Whoever gets the bundle can see them.",
    )
    initial_size: float = Field(
        default=1.0,
        ge=0.25,
        le=1,
        description="Size of the images at the start, as a share of `image_size`: smaller images train faster.",
    )
    growth_fraction: Fraction = Field(
        default=0.5, description="Share of the schedule over which images grow to full size."
    )
    max_batches_per_step: int = Field(
        default=1,
        ge=1,
        le=64,
        description="While images are smaller, merge up to this many batches into a step that has no more pixels than "
        "one of full size.",
    )
    in_channels: int = Field(
        default=3,
        ge=1,
        le=1024,
        description="Channels of the input: 1 for grey, 3 for RGB; any other number is read as the files have them "
        "(RGBA, TIFF of several pages, .npy).",
    )
    resize: ResizeMode = Field(
        default="crop",
        description="How an image becomes square: crop its centre, pad it with grey, or squash it.",
    )
    batch_size: int = Field(
        default=64, ge=2, le=MAX_BATCH_SIZE, description="Images per step, over all processes together."
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        le=MAX_BATCH_SIZE // 2,
        description="Parts that a batch is split into, whose gradients are added: a step needs less memory, and learns "
        "the same but for batch normalization, which sees one part. More where memory is short.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="Number format to compute in; auto tries those of the device and takes the fastest."
    )
    optimizer: Annotated[str, one_of(OPTIMIZERS)] = Field(default="adamw", description="Optimizer.")
    lr: float = Field(default=0.002, gt=0, description="Highest learning rate.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum (sgd).")
    nesterov: bool = Field(default=True, description="Whether the momentum is Nesterov's (sgd).")
    lr_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Layer-wise decay: the learning rate of each stage is that of the next one times this.",
    )
    freeze: str | None = Field(default=None, description="With pretrained weights: the last stage that does not learn.")
    pool_from: str | None = Field(
        default=None,
        description="The first stage whose averaged maps the classifier sees, besides those of all later ones; by "
        "default it sees the last alone. With pretrained weights, early stages tell more of images of another kind.",
    )
    freeze_norm: bool = Field(
        default=False,
        description="With pretrained weights: batch normalization keeps the statistics it has, so that a classifier "
        "that was fitted first sees in training what it saw then. Its scales and shifts learn.",
    )
    unfreeze: Literal["none", "gradual"] = Field(
        default="none",
        description="With pretrained weights: gradual fits the classifier first, then trains the last stages, then all "
        "stages that `freeze` leaves.",
    )
    cached_views: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Views of each image (as it is, then augmented ones) whose maps after the frozen stages are "
        "computed once and kept; 0 computes them anew in every epoch.",
    )
    cache_after: str | None = Field(
        default=None,
        description="With `unfreeze`: the last stage that is frozen at first, whose maps are kept. By default chosen "
        "for the time there is, and recorded.",
    )
    cached_share: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="With `unfreeze`: share of the schedule in which only the stages after `cache_after` learn.",
    )
    weight_decay: float = Field(
        default=0.05, ge=0, description="Weight decay of convolutions and linear layers, but not of their biases."
    )
    schedule: Annotated[str, one_of(SCHEDULES)] = Field(
        default="cosine",
        description="Learning-rate schedule: cosine rises to `lr` and falls to 0, step multiplies it by `lr_gamma`.",
    )
    warmup: Fraction = Field(default=0.1, description="Share of all steps over which the learning rate rises (cosine).")
    step_epochs: int = Field(
        default=8, ge=1, le=MAX_EPOCHS, description="Epochs between two decays of the rate (step)."
    )
    lr_gamma: float = Field(default=0.96, gt=0, le=1, description="Factor of each decay of the learning rate (step).")
    label_smoothing: float = Field(
        default=0.1, ge=0, lt=1, description="Label smoothing (Szegedy et al., 2015, section 7); 0 for none."
    )
    ema_decay: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="Decay per batch of the moving average of the weights, which is what is validated and shipped; "
        "0 for no average.",
    )
    dropout: float | None = Field(
        default=None, ge=0, lt=1, description="Dropout probability before the classifier. By default the network's own."
    )
    init: Literal["truncated_normal", "kaiming", "xavier"] | None = Field(
        default=None, description="Initialization of the weights. By default the network's own."
    )
    val_fraction: float = Field(
        default=VAL_FRACTION,
        gt=0,
        lt=1,
        description="Share of each class held out to choose the best epoch, where DATA does not name held-out images. "
        "Of 2,000 images or more, half choose it, a quarter calibrates, and a quarter is kept for `evaluate`.",
    )
    test_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="Share of each class kept for `evaluate`, unused in training."
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=MAX_SEED,
        description="Seed of the initial weights, the order of images, augmentation and the held-out split.",
    )
    class_balance: Literal["none", "weighted_loss", "oversample"] = Field(
        default="none",
        description="For classes of unequal size: weighted_loss gives images of small classes more weight, oversample "
        "draws every class equally often.",
    )
    augmentation: Augmentation = Field(
        default=Augmentation(),
        description="Random changes of the training images: photos, documents, microscopy, aerial or none; in a recipe "
        "or in Python also a table.",
    )

    @field_validator("augmentation", mode="before")
    @classmethod
    def _preset_by_name(cls, value: Any, fields: ValidationInfo) -> Any:
        return preset(value, fields.data.get("in_channels", COLOURS)) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _augmentation_suits_the_channels(self) -> Recipe:
        if message := unsupported(self.augmentation, self.in_channels):
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _two_images_a_part(self) -> Recipe:
        if self.accumulate > self.batch_size // 2:
            raise ValueError(
                f"accumulate = {self.accumulate} leaves less than two images of batch_size = {self.batch_size} in a "
                f"part: it should be 1 to {self.batch_size // 2}"
            )
        return self

    @model_validator(mode="after")
    def _leaves_training_images(self) -> Recipe:
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"val_fraction = {self.val_fraction:g} and test_fraction = {self.test_fraction:g} leave no image to "
                "train on: their sum should be less than 1"
            )
        return self

    @classmethod
    def load(cls, source: str | Path = "default", **overrides: Any) -> Recipe:
        """Read a recipe by its name, or from a TOML file, and override some of its settings.

        Args:
            source: ``"default"``, ``"photos"``, ``"small"``, ``"finetune"``, ``"finetune_photos"``, ``"digits"``,
                ``"notes"``, ``"paper"``, or the path of a TOML file.
            overrides: as :meth:`override` takes them.

        Raises:
            RecipeError: there is no such recipe, it cannot be read, or values are wrong; it lists all of them.

        >>> Recipe.load("default", epochs=3).epochs
        3
        """
        fields = read_recipe(source)
        try:
            return recipe_from_json(_overridden(fields, overrides))
        except RecursionError as error:  # where a message shows what was given
            raise too_deep(source) from error
        except RecipeError as error:
            raise RecipeError(f"recipe {source}: {error}") from error

    def override(self, **overrides: Any) -> Recipe:
        """Return a recipe with other settings; one that is ``None`` stays as it is.

        ``epochs`` replace the recipe's ``minutes``. ``augmentation`` may be a preset, or a table of those settings that
        change.

        >>> Recipe(minutes=5).override(epochs=3, augmentation={"hflip_prob": 0.0}).minutes is None
        True
        """
        return recipe_from_json(_overridden(self.model_dump(exclude_unset=True), overrides))

    def image_side(self, size: int, share: float, smallest: int) -> int:
        """Return the side of the images at a ``share`` of the schedule (0 to 1), in pixels, up to ``size``.

        Until then it is a multiple of 16. Smaller images first (Touvron et al., *Fixing the train-test resolution
        discrepancy*, 2019; Tan & Le, *EfficientNetV2*, 2021) cost less while the rate is high, where detail counts
        least.

        >>> [Recipe(initial_size=0.75).image_side(64, share, 15) for share in (0.0, 0.25, 0.5, 1.0)]
        [48, 48, 64, 64]
        """
        if share >= self.growth_fraction:
            return size
        side = size * (self.initial_size + (1 - self.initial_size) * share / self.growth_fraction)
        return min(size, max(smallest, int(side) // SIZE_STEP * SIZE_STEP))

    def batches_per_step(self, size: int, side: int) -> int:
        """Return how many batches a step takes while images have a ``side`` below their full ``size``, in pixels.

        With no more pixels than at full size, a step needs no more memory, and less of its time goes into updating
        weights (Wu et al., *A multigrid method for efficiently training video models*, 2020, section 3).

        >>> [Recipe(max_batches_per_step=2).batches_per_step(64, side) for side in (32, 48, 64)]
        [2, 1, 1]
        """
        return min(self.max_batches_per_step, max(1, size**2 // side**2))


Recipe.__doc__ = f"{Recipe.__doc__}\n    Settings:\n" + "".join(
    f"        {name}: {help_of(field)}\n" for name, field in Recipe.model_fields.items()
)


def recipe_from_json(fields: Mapping[str, Any]) -> Recipe:
    """Make a recipe of the table of a file, of any version. Raises :class:`RecipeError` as :class:`Recipe` does."""
    return Recipe(**former.recipe(fields))


def _overridden(fields: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: plain(value) for key, value in overrides.items() if value is not None}
    if "epochs" in given and "minutes" in given:
        raise RecipeError("--epochs and --minutes exclude each other: give one")
    kept = {key: value for key, value in fields.items() if key != "minutes" or "epochs" not in given}
    if "augmentation" in given:
        channels = given.get("in_channels", kept.get("in_channels", COLOURS))
        given["augmentation"] = changed(kept.get("augmentation"), given["augmentation"], channels)
    return {**kept, **given}
