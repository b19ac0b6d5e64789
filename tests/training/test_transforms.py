"""Each random change of an image against torchvision's, at the numbers that it draws; and what it draws."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from googlenet.training import transforms
from googlenet.training.augment import AUGMENTATIONS, DRAWN_WITHIN, augment
from googlenet.training.augmentation import CHANNELS, Augmentation

SIDE = 64
OFF = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "hflip_prob": 0.0, "erasing_prob": 0.0}
ONE = Augmentation()


def image(channels=3, side=SIDE):
    """Smooth, so that two ways to interpolate agree, and of every brightness and colour."""
    coarse = np.random.default_rng(5).integers(0, 256, (6, 6, channels), dtype=np.uint8)
    bands = [Image.fromarray(band).resize((side, side), Image.Resampling.BICUBIC) for band in np.moveaxis(coarse, 2, 0)]
    return np.stack([np.asarray(band) for band in bands], axis=2)


def rng(seed=0):
    return np.random.default_rng(seed)


def tensor(pixels):
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def differ(ours, theirs, rim=0):
    """The greatest difference in levels, without ``rim`` pixels at each side."""
    theirs = theirs.permute(1, 2, 0).numpy() if isinstance(theirs, torch.Tensor) else theirs
    inner = slice(rim, SIDE - rim)
    return np.abs(ours.astype(int) - theirs)[inner, inner].max()


# What recipes drew before there were more than five augmentations: the number drawn next, and the sum of the pixels.
FORMER = {
    "default": ({}, [(2715582399, 282912), (1173253412, 230688), (4264295185, 239872), (2668153314, 262464)]),
    "paper": ({"crop_scale": (0.08, 1.0), "photometric_prob": 0.5, "erasing_prob": 0.0},
              [(4169308741, 189731), (1103772362, 293218), (3780550303, 236864), (1137256737, 334989)]),
}  # fmt: skip


@pytest.mark.parametrize("recipe", FORMER)
def test_recipes_of_before_draw_the_same_numbers_and_see_the_same_images(recipe):
    row, column = np.mgrid[:200, :240]
    ramp = np.stack([column, row, np.zeros_like(row)], axis=2).astype(np.uint8)
    how, expected = FORMER[recipe]
    for seed, (drawn_next, total) in enumerate(expected):
        random = rng(seed)
        seen = augment(ramp, 32, Augmentation(**how), random)
        assert random.integers(2**32) == drawn_next
        assert seen.astype(int).sum() == pytest.approx(total, rel=0.001)  # versions of Pillow round differently


SUPPORTED = [(name, count) for name in AUGMENTATIONS for count in (1, 2, 3, 5) if count in CHANNELS.get(name, (count,))]


@pytest.mark.parametrize(("setting", "channels"), SUPPORTED)
def test_every_entry_changes_images_of_all_channels_it_supports_by_the_generator_alone(setting, channels):
    jitter = {} if channels == 3 else {"jitter_saturation": 0.0, "jitter_hue": 0.0}
    how = Augmentation(**OFF | jitter | {setting: 1.0})
    pixels, before = image(channels), torch.get_rng_state()
    original = pixels.copy()
    several = [augment(pixels, SIDE, how, rng(seed)) for seed in range(6)]
    assert {(seen.shape, str(seen.dtype)) for seen in several} == {((SIDE, SIDE, channels), "uint8")}
    assert any((seen != pixels).any() for seen in several)
    np.testing.assert_array_equal(augment(pixels, SIDE, how, rng(3)), several[3])
    np.testing.assert_array_equal(pixels, original)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("setting", sorted({*AUGMENTATIONS} - {*DRAWN_WITHIN}))
def test_a_probability_is_how_often(setting):
    half = Augmentation(**OFF | {setting: 0.5})
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    changed = np.mean([(augment(pixels, 32, half, rng(seed)) != pixels).any() for seed in range(150)])
    assert 0.3 < changed < 0.65  # the policies have changes that change nothing


def test_flips_and_turns():
    pixels = image()
    np.testing.assert_array_equal(transforms.hflip(pixels, ONE, rng()), pixels[:, ::-1])
    np.testing.assert_array_equal(transforms.vflip(pixels, ONE, rng()), pixels[::-1])
    turned = {transforms.quarter_turn(pixels, ONE, rng(seed)).tobytes() for seed in range(30)}
    assert turned == {torch.rot90(tensor(pixels), k, (1, 2)).permute(1, 2, 0).numpy().tobytes() for k in (1, 2, 3)}


@pytest.mark.parametrize("seed", range(4))
def test_a_rotation_is_torchvisions_and_mirrors_what_it_has_not(seed):
    pixels, how = image(), Augmentation(rotation_degrees=30.0)
    ours, angle = transforms.rotate(pixels, how, rng(seed)), rng(seed).uniform(-30, 30)
    theirs = F.rotate(tensor(pixels), angle, F.InterpolationMode.BILINEAR)
    assert differ(ours, theirs, rim=16) <= 2
    flat = transforms.rotate(np.full((SIDE, SIDE, 3), 200, np.uint8), how, rng(seed))
    assert (flat == 200).all()  # no corner is black or grey


@pytest.mark.parametrize("seed", range(4))
def test_a_perspective_is_torchvisions_and_stays_inside_the_image(seed):
    pixels, how = image(), Augmentation(perspective_scale=0.4)
    ours, moved = transforms.perspective(pixels, how, rng(seed)), rng(seed).uniform(0, 0.2 * SIDE, (4, 2))
    end = [[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]]
    inward = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    start = end + inward * moved
    theirs = F.perspective(tensor(pixels), start.tolist(), end, F.InterpolationMode.BILINEAR)
    assert differ(ours, theirs, rim=1) <= 2
    for corner, (x, y) in zip(((0, 0), (0, -1), (-1, -1), (-1, 0)), start, strict=True):
        column, row = (int(np.clip(each, 0, SIDE - 1)) for each in (x, y))
        assert np.abs(ours[corner].astype(int) - pixels[row, column]).max() < 25  # the corner of the output is there


@pytest.mark.parametrize("seed", range(4))
def test_colour_jitter_is_torchvisions(seed):
    pixels, random = image(), rng(seed)
    how = Augmentation(jitter_brightness=0.4, jitter_contrast=0.5, jitter_saturation=0.6, jitter_hue=0.1)
    brightness, contrast, saturation = (random.uniform(1 - x, 1 + x) for x in (0.4, 0.5, 0.6))
    theirs = F.adjust_contrast(F.adjust_brightness(tensor(pixels), brightness), contrast)
    only = how.model_copy(update={"jitter_saturation": 0.0, "jitter_hue": 0.0})
    assert differ(transforms.jitter(pixels, only, rng(seed)), theirs) <= 2
    theirs = F.adjust_hue(F.adjust_saturation(theirs, saturation), random.uniform(-0.1, 0.1))
    ours = transforms.jitter(pixels, how, rng(seed))
    assert np.abs(ours.astype(int) - theirs.permute(1, 2, 0).numpy()).mean() < 2
    grey = F.adjust_contrast(F.adjust_brightness(tensor(image(1)), brightness), contrast)
    assert differ(transforms.jitter(image(1), only, rng(seed)), grey) <= 2


def test_grey_is_torchvisions():
    assert differ(transforms.grey(image(), ONE, rng()), F.rgb_to_grayscale(tensor(image()), 3)) <= 1


def test_a_blur_is_a_gaussian_of_a_share_of_the_side():
    sharp = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    theirs = F.gaussian_blur(tensor(sharp), 13, 0.03 * SIDE)
    assert differ(transforms.blur(sharp, Augmentation(blur_sigma=(0.03, 0.03)), rng()), theirs, rim=8) <= 6


def test_noise_has_its_standard_deviation():
    mid, how = np.full((SIDE, SIDE, 5), 128, np.uint8), Augmentation(noise_std=(0.04, 0.04))
    added = transforms.noise(mid, how, rng()).astype(float) - 128
    assert added.std() == pytest.approx(0.04 * 255, rel=0.05)
    assert abs(added.mean()) < 0.5
    assert abs(np.corrcoef(added[:, :, 0].ravel(), added[:, :, 1].ravel())[0, 1]) < 0.1
    assert transforms.noise(np.full_like(mid, 255), how, rng()).min() > 150  # clipped, not wrapped around


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torchvision will leave this to another package
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_the_quality_drawn(channels):
    how = Augmentation(jpeg_quality=(10, 60))
    qualities = [int(rng(seed).integers(10, 61)) for seed in range(40)]
    assert (min(qualities), max(qualities)) >= (10, 55)
    for seed in range(3):
        theirs = F.jpeg(tensor(image(channels)), qualities[seed])
        assert differ(transforms.jpeg(image(channels), how, rng(seed)), theirs) <= 3


@pytest.mark.parametrize(
    ("change", "policy"),
    [
        (transforms.trivial_augment, v2.TrivialAugmentWide(fill=127)),
        (transforms.rand_augment, v2.RandAugment(fill=127)),
    ],
    ids=["trivial", "rand"],
)
def test_the_policies_are_torchvisions(change, policy):
    for seed in range(5):
        with torch.random.fork_rng():
            torch.manual_seed(int(rng(seed).integers(2**62)))
            theirs = np.asarray(policy(Image.fromarray(image())))
        np.testing.assert_array_equal(change(image(), ONE, rng(seed)), theirs)


def test_an_erased_rectangle_has_its_share():
    how = Augmentation(**OFF | {"erasing_prob": 1.0, "erasing_scale": (0.4, 0.4)})
    shares = [(augment(np.full((40, 40, 3), 255, np.uint8), 40, how, rng(s)) == 127).all(2).mean() for s in range(50)]
    assert np.median(shares) == pytest.approx(0.4, abs=0.03)
