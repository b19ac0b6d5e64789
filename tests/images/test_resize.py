from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from googlenet.card import ModelCard
from googlenet.errors import BundleError
from googlenet.images.resize import crop_box, inside, make_square, resize_and_crop
from googlenet.preprocessing import Preprocessing

RULES = [Preprocessing(size=24), Preprocessing(size=24, crop_fraction=0.875), Preprocessing(size=7, crop_fraction=0.5)]
FITS = [replace(preprocessing, resize=resize) for preprocessing in RULES for resize in ("crop", "pad", "squash")]
SIZES = [(30, 50), (50, 30), (24, 24), (1, 1), (1, 500), (500, 1), (2, 3), (3, 1000), (200, 200)]


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(3 * x + y), np.cos(2 * y - x), x * y]
    return (np.stack(waves, axis=2) * 120 + 120).clip(0, 255).astype(np.uint8)


def assert_within_a_level(found: np.ndarray, expected: np.ndarray) -> None:
    """The rule: on 99.9 % of the values no more than one level from Pillow's."""
    apart = np.abs(found.astype(int) - expected)
    assert (apart > 1).mean() <= 0.001
    assert apart.max(initial=0) <= 2


def resized_then_cropped(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """The two steps the rule describes, one after the other."""
    height, width = pixels.shape[:2]
    scale = preprocessing.resized_side / min(height, width)
    wide, high = round(width * scale), round(height * scale)
    left, top = round((wide - preprocessing.size) / 2), round((high - preprocessing.size) / 2)
    image = Image.fromarray(pixels).resize((wide, high), Image.Resampling.BILINEAR)
    return np.asarray(image.crop((left, top, left + preprocessing.size, top + preprocessing.size)))


@pytest.mark.parametrize("preprocessing", FITS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_image_becomes_a_square_of_bytes(size: tuple[int, int], preprocessing: Preprocessing) -> None:
    prepared = resize_and_crop(smooth(*size), preprocessing)
    assert prepared.shape == (preprocessing.size, preprocessing.size, 3)
    assert prepared.dtype == np.uint8


@pytest.mark.parametrize("preprocessing", RULES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_constant_image_stays_constant(size: tuple[int, int], preprocessing: Preprocessing) -> None:
    prepared = resize_and_crop(np.full((*size, 3), (255, 128, 1), np.uint8), preprocessing)
    assert (prepared == (255, 128, 1)).all()


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 4096), st.floats(0.1, 1))
def test_the_crop_is_a_centred_square_inside_the_image(width: int, height: int, size: int, fraction: float) -> None:
    preprocessing = Preprocessing(size=size, crop_fraction=fraction)
    left, top, right, bottom = crop_box(width, height, preprocessing)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == pytest.approx(bottom - top)
    assert right - left == pytest.approx(min(width, height) * size / preprocessing.resized_side)
    assert left + right == pytest.approx(width)
    assert top + bottom == pytest.approx(height)


@pytest.mark.parametrize("turned", [False, True], ids=["landscape", "portrait"])
def test_only_the_centre_square_is_kept(turned: bool) -> None:
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, 30:70] = 200
    prepared = resize_and_crop(pixels.swapaxes(0, 1) if turned else pixels, Preprocessing(size=20))
    assert (prepared[1:-1, 1:-1] == 200).all()
    assert prepared.min() >= 150  # a little of the sides is blended into the outermost pixels, as resizing does


def test_a_square_of_the_right_size_is_left_as_it_is() -> None:
    pixels = smooth(24, 24)
    np.testing.assert_array_equal(resize_and_crop(pixels, Preprocessing(size=24)), pixels)


@pytest.mark.parametrize(
    "preprocessing", [Preprocessing(64), Preprocessing(64, 0.875), Preprocessing(64, 0.5)], ids=str
)
@pytest.mark.parametrize("size", [(150, 260), (260, 150), (97, 131), (50, 83), (200, 200)], ids=str)
def test_one_step_gives_what_resizing_and_then_cropping_gives(
    size: tuple[int, int], preprocessing: Preprocessing
) -> None:
    pixels = smooth(*size)
    apart = np.abs(resize_and_crop(pixels, preprocessing).astype(int) - resized_then_cropped(pixels, preprocessing))
    assert apart.mean() <= 2  # the second way rounds the crop to whole pixels


def test_one_step_gives_the_very_pixels_where_the_crop_falls_on_whole_ones() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (64, 96, 3), np.uint8)
    for preprocessing in (Preprocessing(32), Preprocessing(28, 0.875), Preprocessing(16, 0.5)):
        apart = np.abs(resize_and_crop(pixels, preprocessing).astype(int) - resized_then_cropped(pixels, preprocessing))
        assert apart.max() <= 1


def test_a_read_only_or_mirrored_array_is_taken_and_left_alone() -> None:
    pixels = smooth(30, 40)
    pixels.setflags(write=False)
    mirrored = resize_and_crop(pixels[:, ::-1], Preprocessing(size=16))
    np.testing.assert_allclose(mirrored[:, ::-1].astype(int), resize_and_crop(pixels, Preprocessing(size=16)), atol=1)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1), st.sampled_from(FITS))
def test_band_by_band_gives_the_very_pixels_of_colours(
    height: int, width: int, seed: int, preprocessing: Preprocessing
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    expected = resize_and_crop(pixels, preprocessing)
    np.testing.assert_array_equal(
        resize_and_crop(np.concatenate([pixels, pixels], axis=2), preprocessing)[:, :, 3:], expected
    )
    for band in range(3):
        np.testing.assert_array_equal(resize_and_crop(pixels[:, :, [band]], preprocessing), expected[:, :, [band]])


@pytest.mark.parametrize("size", [(150, 260), (260, 150), (97, 131), (4, 300), (33, 33)], ids=str)
def test_a_padded_image_is_what_pillow_pads(size: tuple[int, int]) -> None:
    pixels = smooth(*size)
    expected = ImageOps.pad(Image.fromarray(pixels), (64, 64), Image.Resampling.BILINEAR, color=(127, 127, 127))
    assert_within_a_level(resize_and_crop(pixels, Preprocessing(64, resize="pad")), np.asarray(expected))


@pytest.mark.parametrize("size", [(150, 260), (260, 150), (97, 131), (4, 300), (33, 33)], ids=str)
def test_a_squashed_image_is_what_pillow_resizes(size: tuple[int, int]) -> None:
    pixels = smooth(*size)
    expected = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR)
    assert_within_a_level(resize_and_crop(pixels, Preprocessing(64, resize="squash")), np.asarray(expected))


@pytest.mark.parametrize("resize", ["pad", "squash"])
@pytest.mark.parametrize("size", [(160, 256), (256, 160), (160, 160)], ids=str)
def test_a_smaller_crop_fraction_cuts_the_margin_of_the_square(size: tuple[int, int], resize: str) -> None:
    image = Image.fromarray(smooth(*size))
    bilinear = Image.Resampling.BILINEAR
    whole = {
        "pad": ImageOps.pad(image, (64, 64), bilinear, color=(127,) * 3),
        "squash": image.resize((64, 64), bilinear),
    }
    expected = np.asarray(whole[resize].crop((8, 8, 56, 56))).astype(int)
    found = resize_and_crop(np.asarray(image), Preprocessing(48, crop_fraction=0.75, resize=resize))
    assert np.abs(found - expected).max() <= 2


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0.1, 1))
def test_the_box_of_a_padded_image_is_a_square_about_all_of_it(width: int, height: int, fraction: float) -> None:
    preprocessing = Preprocessing(224, fraction, resize="pad")
    left, top, right, bottom = crop_box(width, height, preprocessing)
    assert (
        right - left
        == pytest.approx(bottom - top)
        == pytest.approx(max(width, height) * 224 / preprocessing.resized_side)
    )
    assert (left + right, top + bottom) == pytest.approx((width, height))
    seen = inside((left, top, right, bottom), width, height)
    assert 0 <= seen[0] < seen[2] <= width
    assert 0 <= seen[1] < seen[3] <= height


def test_a_square_of_a_panorama_is_bounded() -> None:
    panorama = np.full((2, 60_000, 3), (200, 0, 0), np.uint8)
    padded = make_square(panorama, "pad", 256)
    assert padded.shape == (256, 256, 3)
    assert (padded[:127] == 127).all()
    assert (padded.reshape(-1, 3) == (200, 0, 0)).all(axis=1).sum() == 256  # one line is left of it
    assert (make_square(panorama, "squash", 256) == (200, 0, 0)).all()
    assert make_square(panorama, "crop", 256) is panorama
    assert make_square(np.zeros((3, 5, 9), np.uint8), "pad", 256).shape == (5, 5, 9)
    assert resize_and_crop(panorama, Preprocessing(32, resize="pad")).shape == (32, 32, 3)


def test_a_card_says_how_an_image_becomes_square_and_an_old_one_crops() -> None:
    card = ModelCard("n", {}, ("a",), Preprocessing(32, resize="pad"), format=3)  # which has no hash of its own
    assert ModelCard.from_json(card.to_json()).preprocessing.resize == "pad"
    without = card.to_json().replace(',\n    "resize": "pad"', "")
    assert ModelCard.from_json(without).preprocessing.resize == "crop"
    with pytest.raises(BundleError, match="resize must be crop, pad, squash"):
        ModelCard.from_json(card.to_json().replace('"pad"', '"stretch"'))
