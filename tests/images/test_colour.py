"""Colour profiles: applied, skipped where they are sRGB's, ignored where they are broken."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from googlenet.card import ModelCard
from googlenet.errors import BundleError
from googlenet.images.colour import MAX_PROFILE_BYTES
from googlenet.images.decode import decode
from googlenet.images.resize import load_image
from googlenet.preprocessing import Preprocessing

RANDOM = np.random.default_rng(0)
PATCHES = np.repeat(np.repeat(RANDOM.integers(0, 256, (4, 4, 3), np.uint8), 8, axis=0), 8, axis=1)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile(primaries: list[tuple[float, float, float]], gamma: float, space: bytes = b"RGB ") -> bytes:
    """A profile of three primaries (XYZ at D50) and a gamma, byte by byte; of grey: of a gamma alone."""

    def fixed(*numbers: float) -> bytes:
        return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)

    white = b"XYZ \0\0\0\0" + fixed(0.9642, 1.0, 0.8249)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = [(b"wtpt", white)]
    if space == b"GRAY":
        tags += [(b"kTRC", curve)]
    for name, xyz in zip(b"rgb", primaries, strict=False):
        tags += [(bytes([name]) + b"XYZ", b"XYZ \0\0\0\0" + fixed(*xyz)), (bytes([name]) + b"TRC", curve)]
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags:
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    head = (
        struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02100000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    )
    head += bytes(28) + fixed(0.9642, 1.0, 0.8249) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


# What they are at D50: lindbloom.com
ADOBE = profile([(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)], 2.2)
PROPHOTO = profile([(0.79767, 0.28804, 0.0), (0.13519, 0.71187, 0.0), (0.03135, 0.00009, 0.82521)], 1.8)
GREY_18 = profile([], 1.8, b"GRAY")


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def converted(image: Image.Image, icc: bytes) -> np.ndarray:
    """What littleCMS makes of it, asked anew."""
    given = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    found = ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert found is not None
    return np.asarray(found)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("icc", [ADOBE, PROPHOTO], ids=["Adobe RGB", "ProPhoto"])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "AVIF", "JPEG"])
def test_colours_of_another_space_become_srgb(format: str, icc: bytes) -> None:
    options = {
        "JPEG": {"quality": 100, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    }
    data = encoded(Image.fromarray(PATCHES), format, icc_profile=icc, **options.get(format, {}))
    plain = decode(data, color_profiles="ignored")
    assert apart(plain, PATCHES) < 3
    assert apart(decode(data), converted(Image.fromarray(plain), icc)) == 0
    assert apart(decode(data), plain) > 5


def test_srgb_itself_changes_no_pixel() -> None:
    data = encoded(Image.fromarray(PATCHES), "PNG", icc_profile=SRGB)
    np.testing.assert_array_equal(decode(data), PATCHES)


def test_alpha_palette_and_grey_take_their_profiles_too() -> None:
    whole = Image.fromarray(PATCHES)
    expected = converted(whole, ADOBE)
    rgba = Image.fromarray(np.dstack([PATCHES, np.full(PATCHES.shape[:2], 255, np.uint8)]))
    np.testing.assert_array_equal(decode(encoded(rgba, "PNG", icc_profile=ADOBE)), expected)
    palette = whole.quantize(16)
    assert apart(decode(encoded(palette, "PNG", icc_profile=ADOBE)), converted(palette.convert("RGB"), ADOBE)) == 0
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    brighter = decode(encoded(ramp, "PNG", icc_profile=GREY_18))[0, :, 0]
    np.testing.assert_array_equal(brighter, converted(ramp, GREY_18)[0, :, 0])
    assert brighter[128] > 135
    with_alpha = Image.merge("LA", [ramp, Image.new("L", ramp.size, 255)])
    np.testing.assert_array_equal(decode(encoded(with_alpha, "PNG", icc_profile=GREY_18))[0, :, 0], brighter)
    deep = Image.fromarray(np.arange(256, dtype=np.uint16)[None] * 257)
    np.testing.assert_array_equal(decode(encoded(deep, "PNG", icc_profile=GREY_18))[0, :, 0], brighter)
    np.testing.assert_array_equal(decode(encoded(ramp, "PNG", icc_profile=SRGB))[0, :, 1], np.asarray(ramp)[0])


def test_an_image_that_was_given_is_not_changed() -> None:
    image = Image.open(io.BytesIO(encoded(Image.fromarray(PATCHES), "PNG", icc_profile=ADOBE)))
    first = decode(image)
    np.testing.assert_array_equal(np.asarray(image), PATCHES)
    np.testing.assert_array_equal(decode(image), first)


BROKEN = {
    "nonsense": b"nonsense" * 40,
    "cut": ADOBE[:200],
    "huge": ADOBE + bytes(MAX_PROFILE_BYTES),
    "of grey": GREY_18,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_profile_that_cannot_be_applied_is_ignored(name: str) -> None:
    data = encoded(Image.fromarray(PATCHES), "TIFF", icc_profile=BROKEN[name])
    np.testing.assert_array_equal(decode(data), PATCHES)


def test_the_doctor_names_profiles_that_are_not_applied(coloured: Path) -> None:
    import googlenet

    for name, icc in (*BROKEN.items(), ("right", ADOBE)):
        Image.fromarray(PATCHES).save(coloured / f"red/{name}.tif", icc_profile=icc)
    found = {finding.names[0]: finding.detail for finding in googlenet.doctor(coloured).of("profile")}
    assert sorted(found) == sorted(f"red/{name}.tif" for name in BROKEN)
    assert found["red/huge.tif"] == f"it has {len(BROKEN['huge']):,} bytes, {MAX_PROFILE_BYTES:,} are read"
    assert found["red/cut.tif"].startswith("it is broken: ")


def test_a_card_says_what_is_done_with_profiles_and_an_old_one_ignores_them() -> None:
    card = ModelCard("n", {}, ("a",), Preprocessing(32))
    assert ModelCard.from_json(card.to_json()).preprocessing.color_profiles == "applied"
    text = card.to_json()
    old = text.replace(',\n    "color_profiles": "applied"', "").replace(',\n    "value_range": null', "")
    assert old != text
    preprocessing = ModelCard.from_json(old.replace(f'"format": {card.format}', '"format": 3')).preprocessing
    assert (preprocessing.color_profiles, preprocessing.value_range) == ("ignored", None)
    data = encoded(Image.fromarray(PATCHES), "PNG", icc_profile=ADOBE)
    np.testing.assert_array_equal(load_image(data, preprocessing), PATCHES)
    assert apart(load_image(data, card.preprocessing), PATCHES) > 5
    with pytest.raises(BundleError, match="color_profiles must be applied or ignored, got 'bent'"):
        ModelCard.from_json(text.replace('"applied"', '"bent"'))


def test_a_cmyk_jpeg_is_read_with_and_without_a_profile() -> None:
    inks = Image.fromarray(PATCHES).convert("CMYK")
    data = encoded(inks, "JPEG", quality=100)
    assert apart(decode(data), np.asarray(inks.convert("RGB"))) < 3
    wrong = encoded(inks, "JPEG", quality=100, icc_profile=ADOBE)  # a profile of colours, not of inks
    np.testing.assert_array_equal(decode(wrong), decode(data))
