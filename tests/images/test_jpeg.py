"""Ordinary JPEGs are decoded into arrays, and resampled by vectors: the pixels are Pillow's, whatever the way."""

import io
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from googlenet.errors import UnreadableImageError
from googlenet.images import jpeg, resampling
from googlenet.images.decode import decode, open_image
from googlenet.images.resize import load_image
from googlenet.preprocessing import Preprocessing


def photo(width=300, height=200, mode="RGB", seed=0, **how):
    """A JPEG of smooth shapes under a little noise."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (9, 13, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) + random.normal(
        0, 4, (height, width, 3)
    )
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)
    file = io.BytesIO()
    image.save(file, "JPEG", **({"quality": 90} | how))
    return file.getvalue()


def by_pillow(monkeypatch, read):
    """What is read where neither library is."""
    with monkeypatch.context() as without:
        without.setattr(jpeg, "decoded", lambda image, *_: image)
        without.setattr(resampling, "has_vector_resampling", lambda: False)
        return read()


EXIF = Image.Exif()
EXIF[274] = 6  # to be turned by 90°
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "4:4:4": {"subsampling": 0},
    "4:2:0 of odd sides": {"subsampling": 2, "width": 301, "height": 203},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
    "to be turned": {"exif": EXIF.tobytes()},
    "with the profile of sRGB": {"icc_profile": SRGB},
    "restarts": {"restart_marker_rows": 1},
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_decoded_to_the_very_pixels_of_pillow(kind, channels, monkeypatch):
    data = photo(**KINDS[kind])
    expected = by_pillow(monkeypatch, lambda: decode(data, channels))
    np.testing.assert_array_equal(decode(data, channels), expected)
    is_array = isinstance(open_image(data, 3), np.ndarray)
    assert is_array == (kind not in ("CMYK", "to be turned", "grey"))


@pytest.mark.parametrize("at_least", [20, 30, 60, 110, 150])
def test_a_smaller_copy_is_decoded_as_pillow_drafts_it(at_least, monkeypatch):
    data = photo(451, 303)
    expected = by_pillow(monkeypatch, lambda: decode(data, at_least=at_least))
    np.testing.assert_array_equal(decode(data, at_least=at_least), expected)
    assert isinstance(open_image(data, at_least=at_least), np.ndarray)


@pytest.mark.parametrize("size", [(300, 200), (1200, 900), (90, 60), (33, 500)], ids=str)
def test_what_a_network_sees_is_within_a_level_of_pillows(size, monkeypatch):
    for seed, preprocessing in enumerate((Preprocessing(96, crop_fraction=0.875), Preprocessing(64, resize="squash"))):
        read = partial(load_image, photo(*size, seed=seed), preprocessing)
        found, expected = read(), by_pillow(monkeypatch, read)
        apart = np.abs(found.astype(int) - expected)
        assert (apart > 1).mean() <= 0.001
        assert apart.max() <= 2


def test_a_damaged_file_is_for_pillow_to_judge(monkeypatch):
    """Every 97th cut, and bytes that were changed: the same pixels, or the same error."""
    whole, random = photo(120, 80), np.random.default_rng(0)
    damaged = [whole[:end] for end in range(2, len(whole), 97)]
    for _ in range(60):
        changed = bytearray(whole)
        changed[random.integers(20, len(whole))] = random.integers(256)
        damaged.append(bytes(changed))

    def answer(data):
        try:
            return decode(data).tobytes()
        except UnreadableImageError as error:
            return str(error)

    assert [answer(data) for data in damaged] == by_pillow(monkeypatch, lambda: [answer(data) for data in damaged])


def test_a_long_file_of_few_pixels_is_not_read_at_once(monkeypatch):
    monkeypatch.setattr(jpeg, "MIN_BYTES", 1000)
    assert isinstance(open_image(photo(40, 30)), np.ndarray)
    assert isinstance(open_image(photo(40, 30) + bytes(5000)), Image.Image)


def test_threads_read_at_a_time():
    data, preprocessing = photo(), Preprocessing(96)
    expected, found = load_image(data, preprocessing), []
    threads = [threading.Thread(target=lambda: found.append(load_image(data, preprocessing))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(np.array_equal(each, expected) for each in found)


def test_the_benchmark_of_reading_finds_the_same_pixels(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(photo())
    script = Path(__file__).parents[2] / "benchmarks" / "reading.py"
    command = [sys.executable, str(script), str(tmp_path), "--seconds", "0.2"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.startswith("Pillow: ")
    assert "values more than one level apart: 0.00e+00" in printed


def test_filling_is_not_read_to_its_end():
    content = photo()
    file = io.BytesIO(content[:2] + b"\xff" * 10_000_000 + content[2:])
    with pytest.raises(UnreadableImageError, match="64 kB of filling"):
        decode(file)
    assert file.tell() < 1_000_000
