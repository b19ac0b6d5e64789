"""Augmentation as settings: presets by kind of image, what suits which channels, a function of the user's."""

import multiprocessing
import os
import re
import signal

import numpy as np
import pytest

import googlenet
from googlenet.data.opening import open_data
from googlenet.errors import RecipeError, StoppedError
from googlenet.preprocessing import Preprocessing
from googlenet.training.augment import AUGMENTATIONS
from googlenet.training.augmentation import CHANNELS, PRESETS, Augmentation, preset
from googlenet.training.display import Display
from googlenet.training.loading import ImageDataset, SampleKey
from googlenet.training.mixing import MIXES
from googlenet.training.recipe import Recipe


def test_every_probability_is_an_entry_of_a_table_and_every_entry_a_probability():
    settings = [name for name in Augmentation.model_fields if name.endswith("_prob")]
    assert sorted(settings) == sorted([*AUGMENTATIONS, *MIXES])


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_suits_any_channels(name, channels):
    by_name = Recipe(augmentation=name, in_channels=channels)
    assert by_name == Recipe(augmentation=preset(name, channels), in_channels=channels)
    assert str(by_name.augmentation) == name
    assert Recipe(**by_name.model_dump(mode="json")) == by_name


def test_presets_turn_and_mirror_only_what_has_no_direction():
    table = {name: Recipe(augmentation=name).augmentation for name in PRESETS}
    assert table["photos"] == Augmentation()
    assert {name for name, how in table.items() if how.vflip_prob} == {"microscopy", "aerial"}
    assert {name for name, how in table.items() if how.rot90_prob} == {"microscopy", "aerial"}
    assert {name for name, how in table.items() if not how.hflip_prob} == {"documents", "none"}


def test_none_changes_nothing():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    images = googlenet.ImageSet(("a",), (googlenet.LabelledImage("a", (0,), None, pixels),))
    how = Recipe(augmentation="none").augmentation
    for epoch in range(5):
        _, _, seen = ImageDataset(images, Preprocessing(40), 0, how)[SampleKey(epoch, 0, 40)]
        np.testing.assert_array_equal(seen.permute(1, 2, 0).numpy(), pixels)


def test_a_recipe_file_names_a_preset_or_has_a_table_and_options_change_it(tmp_path, call, coloured):
    (tmp_path / "mine.toml").write_text('augmentation = "microscopy"\nin_channels = 1\n')
    recipe = Recipe.load(tmp_path / "mine.toml")
    assert (recipe.augmentation.rot90_prob, recipe.augmentation.jitter_hue) == (0.75, 0.0)
    changed = Recipe.load(tmp_path / "mine.toml", augmentation={"blur_prob": 0.3})
    assert changed.augmentation == recipe.augmentation.model_copy(update={"blur_prob": 0.3})
    assert str(changed.augmentation).startswith("crop_scale=0.5-1 crop_ratio=0.9-1.1 hflip_prob=0.5 vflip_prob=0.5")
    assert Recipe.load("digits", augmentation="aerial").augmentation == Recipe(augmentation="aerial").augmentation
    assert Recipe.load("paper", augmentation="documents", in_channels=1).augmentation.photometric_prob == 0
    code, _, err = call("train", coloured, "--out", tmp_path / "run", "--augmentation", "arial")
    assert (code, err.count("\n")) == (2, 1)
    assert "augmentation = 'arial': did you mean 'aerial'? (aerial, documents, microscopy, none, photos)" in err


@pytest.mark.parametrize(
    ("setting", "channels", "says"),
    [
        ({"grey_prob": 0.1}, 1, "grey_prob = 0.1 is for RGB images (in_channels = 3), got in_channels = 1"),
        ({"jpeg_prob": 0.1}, 4, "jpeg_prob = 0.1 is for grey and RGB images (in_channels = 1 or 3), got in_channels"),
        ({"trivial_augment_prob": 1.0}, 2, "trivial_augment_prob = 1 is for grey and RGB images"),
        ({"jitter_prob": 0.5, "jitter_hue": 0.0}, 1, "augmentation.jitter_saturation = 0.2 is for RGB images"),
    ],
)  # fmt: skip
def test_what_does_not_suit_the_channels_is_refused(setting, channels, says):
    with pytest.raises(RecipeError, match=re.escape(says) + ".*: set it to 0 in a recipe of your own"):
        Recipe(in_channels=channels, augmentation=setting)
    suitable = {name: 0.0 for name, allowed in CHANNELS.items() if channels not in allowed}
    assert Recipe(in_channels=channels, augmentation=setting | suitable)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"mixup_prob": 0.7, "cutmix_prob": 0.5}, "their sum should be at most 1"),
        ({"jpeg_quality": (30, 101)}, "jpeg_quality.1 = 101: should be less than or equal to 100"),
        ({"jpeg_quality": (90, 30)}, "the first must not be above the second, got [90, 30]"),
        ({"mix_during": (0.5, 1.5)}, "mix_during.1 = 1.5: should be less than or equal to 1"),
        ({"rotation_degrees": 0.0}, "rotation_degrees = 0.0: should be greater than 0"),
        ({"vflip": 0.5}, "unknown key 'augmentation.vflip', did you mean 'vflip_prob'"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(table, says):
    with pytest.raises(RecipeError, match=re.escape(says)):
        Recipe(augmentation=table)


def stripes(pixels, random):
    """What a user might write: white rows at a random distance."""
    pixels[:: int(random.integers(2, 9))] = 255
    return pixels


NAME = f"{stripes.__module__}.stripes"


def test_a_function_of_the_users_is_called_last(coloured):
    images, how = open_data(coloured).train, Augmentation(function=NAME)
    with_it, without = (
        ImageDataset(images, Preprocessing(32), 0, how, each)[SampleKey(0, 0, 32)][2] for each in (stripes, None)
    )
    rows = (with_it == 255).all(2).all(0)
    assert rows[0]
    assert not rows.all()
    assert (with_it[:, ~rows] == without[:, ~rows]).all()


@pytest.fixture
def losses(monkeypatch):
    """The loss of every step so far. Training is interrupted, as by Ctrl-C, at the step that ``losses.stop`` holds."""

    class Losses(list):
        stop = None

    seen, real = Losses(), Display.step

    def step(display, progress, steps, loss):
        seen.append(loss)
        if len(seen) == seen.stop:
            os.kill(os.getpid(), signal.SIGINT)
        return real(display, progress, steps, loss)

    monkeypatch.setattr(Display, "step", step)
    return seen


def test_a_run_with_all_of_it_that_is_stopped_and_resumed_ends_with_the_same_weights(coloured, tiny, tmp_path, losses):
    everything = dict.fromkeys(AUGMENTATIONS, 0.5) | {"mixup_prob": 0.5, "cutmix_prob": 0.5}

    def train(out, **options):
        return googlenet.train(coloured, tmp_path / out, network=tiny, **options)

    options = {"epochs": 2, "batch_size": 8, "precision": "fp32", "augmentation": everything, "augment": stripes}
    whole = train("whole", workers=1, **options)
    assert whole.card.recipe["augmentation"]["function"] == NAME
    steps = len(losses)
    losses.stop = steps + 2
    with pytest.raises(StoppedError):
        train("cut", workers=0, **options)
    losses.stop = None
    for other, got in ((None, "none"), (np.flipud, "augment=numpy.flipud")):
        with pytest.raises(RecipeError, match=f"was started with augment={re.escape(NAME)}, got {got}: give that"):
            train("cut", resume=True, augment=other)
    again = train("cut", resume=True, augment=stripes)
    assert losses[steps:] == losses[:steps]
    assert (whole.path / "weights.safetensors").read_bytes() == (again.path / "weights.safetensors").read_bytes()

    losses.stop = len(losses) + 1
    options["augmentation"] = everything | {"mixup_prob": 0.0, "cutmix_prob": 0.0}
    with pytest.raises(StoppedError):
        train("unmixed", workers=0, **options)
    assert losses[-1] != losses[0]


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda pixels, random: pixels / 255, "returned float64 (224, 224, 3): should be uint8 (224, 224, 3)"),
        (lambda pixels, random: pixels[:-1], "returned uint8 (223, 224, 3)"),
        (lambda pixels, random: None, "returned NoneType"),
        (lambda pixels: pixels, "failed on uint8 (224, 224, 3): TypeError: "),
        ("flip", "augment = 'flip': should be a function"),
    ],
    ids=["float", "cropped", "nothing", "arguments", "text"],
)
def test_a_function_that_cannot_work_is_refused_before_any_work(coloured, tmp_path, function, says):
    with pytest.raises(RecipeError, match=re.escape(says)) as raised:
        googlenet.train(coloured, tmp_path / "run", augment=function)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_function_that_processes_cannot_be_sent_is_refused_where_they_need_it(coloured, tmp_path):
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        with pytest.raises(RecipeError, match=r"cannot be sent to the processes that read images .* workers=0"):
            googlenet.train(coloured, tmp_path / "run", augment=lambda pixels, random: pixels)
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_a_recipe_of_a_run_with_a_function_needs_it_again(coloured, tmp_path):
    recipe = Recipe(augmentation={"function": "mine.stripes"})
    with pytest.raises(RecipeError, match=r"the recipe was used with augment=mine\.stripes, got none: give that"):
        googlenet.train(coloured, tmp_path / "run", recipe=recipe)


def fails_later(pixels, random):
    """Works on the noise that it is tried on, which has every level, and fails on images."""
    if pixels.min() > 0 or pixels.max() < 255:
        raise ValueError("no black\npixel")
    return pixels


@pytest.mark.parametrize("workers", [0, 1])
def test_a_function_that_fails_later_is_one_line_with_the_image(coloured, tiny, tmp_path, workers):
    settings = {"network": tiny, "epochs": 1, "batch_size": 8, "precision": "fp32", "workers": workers}
    with pytest.raises(RecipeError) as raised:
        googlenet.train(coloured, tmp_path / "run", augment=fails_later, augmentation="none", **settings)
    function = r"augment=\S+fails_later failed on uint8 \(16, 16, 3\): ValueError: no black pixel, on the image "
    assert re.fullmatch(function + r"(blue|green|red)/0\d\d\.png", str(raised.value))
    function = function.replace("16", "32")
    with pytest.raises(RecipeError, match=function):
        googlenet.augment(coloured, augment=fails_later, augmentation="none", image_size=32, recipe="default")
