"""Images of other channels than R, G and B: grey, RGBA, pages of a TIFF, arrays."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from googlenet.errors import ImageError, ImageTooLargeError, UnreadableImageError
from googlenet.images.decode import decode
from googlenet.images.pixels import suffixes

RANDOM = np.random.default_rng(0)
FIVE = RANDOM.integers(0, 256, (15, 21, 5), np.uint8)
RGBA = FIVE[:, :, :4]
COLOURS = Image.fromarray(FIVE[:, :, :3].copy())


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def saved(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def pages(*arrays: np.ndarray, format: str = "TIFF", **options: object) -> bytes:
    first, *rest = (Image.fromarray(array.copy()) for array in arrays)
    return encoded(first, format, save_all=True, append_images=rest, **options)


def bands(array: np.ndarray) -> list[np.ndarray]:
    return list(np.moveaxis(array, 2, 0))


# Grey


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "P", "1"])
def test_any_image_becomes_grey_as_pillow_has_it(mode: str) -> None:
    image = COLOURS.convert(mode)
    expected = np.asarray(image.convert("RGB").convert("L"))[:, :, None]
    np.testing.assert_array_equal(decode(encoded(image, "TIFF"), 1), expected)


def test_grey_is_what_is_stored_where_grey_is_stored() -> None:
    for source in (FIVE[:, :, 0], FIVE[:, :, :1], encoded(Image.fromarray(FIVE[:, :, 0].copy()), "PNG")):
        np.testing.assert_array_equal(decode(source, 1), FIVE[:, :, :1])


def test_deep_grey_is_scaled_and_transparent_grey_lies_over_white() -> None:
    deep = encoded(Image.fromarray(FIVE[:, :, 0].astype(np.uint16) * 257), "PNG")
    np.testing.assert_array_equal(decode(deep, 1), FIVE[:, :, :1])
    see_through = Image.fromarray(np.array([[[0, 0], [100, 255]]], np.uint8))
    assert decode(encoded(see_through, "PNG"), 1).tolist() == [[[255], [100]]]


# What is stored


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_rgba_is_taken_as_it_is_stored(format: str) -> None:
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    data = encoded(Image.fromarray(RGBA.copy()), format, **options)
    np.testing.assert_array_equal(decode(data, 4), RGBA)
    assert (decode(data) != RGBA[:, :, :3]).any()  # RGB lies over white


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_the_pages_of_a_tiff_are_its_channels(compression: str | None, tmp_path: Path) -> None:
    (tmp_path / "five.tif").write_bytes(pages(*bands(FIVE), compression=compression))
    with (tmp_path / "five.tif").open("rb") as stream, Image.open(tmp_path / "five.tif") as image:
        for source in (tmp_path / "five.tif", str(tmp_path / "five.tif"), stream, image):
            np.testing.assert_array_equal(decode(source, 5), FIVE)
        assert not stream.closed
    np.testing.assert_array_equal(decode(pages(FIVE[:, :, :3], FIVE[:, :, 3], FIVE[:, :, 4]), 5), FIVE)


def test_deep_pages_are_scaled() -> None:
    np.testing.assert_array_equal(decode(pages(*bands(FIVE.astype(np.uint16) * 257)), 5), FIVE)


def test_grey_with_alpha_has_two_channels() -> None:
    two = FIVE[:, :, :2]
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(two.copy()), "PNG"), 2), two)


@pytest.mark.parametrize("array", [FIVE, np.asfortranarray(FIVE), FIVE[::-1, ::2]], ids=["C", "Fortran", "strided"])
def test_an_array_given_or_in_a_file(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    with (tmp_path / "a.npy").open("rb") as stream:
        for source in (array, tmp_path / "a.npy", str(tmp_path / "a.npy"), saved(array), stream):
            pixels = decode(source, 5)
            np.testing.assert_array_equal(pixels, array)
            assert pixels.flags.c_contiguous
            assert pixels.dtype == np.uint8


def test_an_array_of_the_second_version_of_the_file() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, FIVE, version=(2, 0))
    np.testing.assert_array_equal(decode(stream.getvalue(), 5), FIVE)


def test_arrays_are_images_only_where_the_channels_are_taken_as_stored() -> None:
    assert [channels for channels in range(1, 8) if ".npy" in suffixes(channels)] == [2, 4, 5, 6, 7]
    with pytest.raises(UnreadableImageError, match="is not an image"):
        decode(saved(FIVE[:, :, :3]))


# What is not so


@pytest.mark.parametrize(
    ("data", "channels", "says"),
    [
        (encoded(COLOURS, "PNG"), 5, r"has 3 channels \(RGB\), 5 are needed: a TIFF of 5 grey pages, or a .npy array"),
        (encoded(COLOURS, "PNG"), 4, r"has 3 channels \(RGB\), 4 are needed: RGBA, a TIFF of 4 grey pages, or a .npy"),
        (encoded(COLOURS.convert("CMYK"), "JPEG"), 4, r"\(CMYK\), but CMYK is not read as channels: give RGBA"),
        (encoded(COLOURS.convert("P"), "GIF"), 4, r"has 1 channel \(P\), 4 are needed"),
        (encoded(Image.new("RGBX", (3, 3)), "TIFF"), 4, "but RGB and more is not read as channels: give RGBA"),
        (encoded(Image.new("PA", (3, 3)), "TIFF"), 2, r"2 channels \(PA\), but PA is not read as channels: give"),
        (pages(FIVE[:, :, :3], FIVE[:, :, 3], FIVE[:, :, 4] > 99), 5,
         r"has 5 channels \(RGB, L, 1\), but 1 is not read as channels: give a TIFF of 5 grey pages, or a .npy array"),
        (pages(*bands(FIVE)), 4, r"has 5 channels \(L\), 4 are needed"),
        (pages(FIVE[:, :, :3], FIVE[:, :, 3]), 5, r"has 4 channels \(RGB, L\), 5 are needed"),
        (pages(FIVE[:, :, 0], FIVE[:9, :, 1]), 2, "pages of different sizes: its channels must lie on each other"),
        (saved(FIVE), 4, r"is an array uint8 \(15, 21, 5\), uint8 \(H, W, 4\) is needed"),
        (saved(FIVE[:, :, 0]), 5, r"is an array uint8 \(15, 21\), uint8 \(H, W, 5\) is needed"),
        (saved(FIVE.astype(np.float32)), 5, r"is an array float32 \(15, 21, 5\), uint8"),
        (saved(FIVE[:0]), 5, r"is an array uint8 \(0, 21, 5\), uint8"),
        (saved(FIVE.astype(object), allow_pickle=True), 5, "is an array object"),
        (saved(FIVE)[:-1], 5, "is damaged: the file is truncated$"),
        (saved(FIVE)[:40], 5, "is damaged: the file is truncated$"),
        (saved(FIVE)[:9], 5, "is damaged: the file is truncated$"),
        (b"\x93NUMPY\x03\x00" + saved(FIVE)[8:], 5, "is a .npy file of version 3: write it with numpy.save"),
        (saved(FIVE).replace(b"'descr'", b"'wrong'"), 5, "is damaged: its .npy header is damaged$"),
        (b"nothing", 5, r"is not an image \(JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, HEIC, or a .npy array\)"),
    ],
)  # fmt: skip
def test_what_is_needed_and_what_is_there_is_said(data: bytes, channels: int, says: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data)
    for source, name in ((data, "the data given "), (tmp_path / "file", f"{tmp_path / 'file'} ")):
        with pytest.raises(UnreadableImageError, match=says) as raised:
            decode(source, channels)
        assert str(raised.value).startswith(name)
        assert "\n" not in str(raised.value)


def test_what_is_no_file() -> None:
    with pytest.raises(UnreadableImageError, match=r"the data given is an array float64 \(2, 2\)"):
        decode(np.zeros((2, 2)), 5)
    with pytest.raises(UnreadableImageError, match="got int"):
        decode(3, 5)  # type: ignore[arg-type]
    with pytest.raises(UnreadableImageError, match="does not exist"):
        decode("nowhere.npy", 5)


def test_too_many_pixels_are_refused_before_they_are_read() -> None:
    decode(FIVE, 5, max_pixels=525)  # 15 · 21 · 5 bytes, as RGB of 525 pixels
    for source in (FIVE, saved(FIVE), pages(*bands(FIVE))):
        with pytest.raises(ImageTooLargeError, match="has 21×15 = 315 pixels, 314 are allowed: shrink it"):
            decode(source, 5, max_pixels=524)
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000, 4000000000, 5), }"
    bomb = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    with pytest.raises(ImageTooLargeError, match="pixels, 60,000,000 are allowed"):
        decode(bomb, 5)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.sampled_from([saved(FIVE), pages(*bands(FIVE))]), st.integers(0, 300), st.integers(0, 255))
def test_a_damaged_file_gives_pixels_or_one_of_our_errors(data: bytes, at: int, byte: int) -> None:
    damaged = data[:at] + bytes([byte]) + data[at + 1 :]
    with contextlib.suppress(ImageError):
        assert decode(damaged, 5).shape[2] == 5
