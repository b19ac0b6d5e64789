"""HEIC, where the extra that reads it is there: a drawing of 48×32 pixels in three colours, encoded by x265."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from googlenet.errors import ImageTooLargeError, UnreadableImageError
from googlenet.images.decode import decode

pytest.importorskip("pi_heif", reason="needs googlenet[heic]")

HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAWltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA"
    "AAAERAAAEAAQAAAAABjQABAAAAAAAAADgAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA6WlwcnAA"
    "AADKaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkA"
    "AAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAMAAAAAEAAAAg"
    "AAAAAf////AAAAAC////4AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAF2lwbWEAAAAAAAAAAQABBIECBIMAAABAbWRhdAAAADQoAa8TgOUx9/+2yT"
    "/Y9T/CWSwSsu9p9Vv7sLvxfSjfAy7+6txlwW36TIF9VrIY3pfxSlDG"
)


def drawing() -> np.ndarray:
    pixels = np.empty((32, 48, 3), np.uint8)
    pixels[:, :24], pixels[:16, 24:], pixels[16:, 24:] = (200, 40, 40), (40, 180, 60), (40, 60, 200)
    return pixels


def test_a_heic_gives_its_pixels(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(HEIC)
    for source in (HEIC, tmp_path / "IMG_1.HEIC"):
        pixels = decode(source)
        assert pixels.shape == (32, 48, 3)
        assert np.abs(pixels.astype(int) - drawing()).max() < 40  # along the edges
        assert np.abs(pixels.astype(int) - drawing()).mean() < 1
    assert decode(HEIC, channels=1).shape == (32, 48, 1)


def test_a_heic_that_is_damaged_truncated_or_too_large_is_one_line() -> None:
    for length in range(24, len(HEIC), 20):
        with pytest.raises(UnreadableImageError, match=r"^the data given is damaged: the file is truncated$"):
            decode(HEIC[:length])
    with pytest.raises(ImageTooLargeError, match="has 48×32 = 1,536 pixels, 767 are allowed in HEIF"):
        decode(HEIC, max_pixels=1535)
    damaged = HEIC.replace(b"hvcC", b"hvc?")
    with pytest.raises(UnreadableImageError, match=r"^the data given is damaged: "):
        decode(damaged)
