"""Colour profiles: an image in Adobe RGB, Display P3, ProPhoto or the inks of a press → sRGB, which networks see."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 4 << 20  # those of presses have up to 3 MB
KEPT = 16  # transforms; of most data sets there are one or two
SIDE = 17  # levels of each colour that a profile is compared at
_MODES = ("L", "RGB", "RGBA", "CMYK")

Transform = ImageCms.ImageCmsTransform


def to_srgb(image: Image.Image, *, in_place: bool) -> Image.Image:
    """Convert the colours as the profile in the file says; an image without one, or with sRGB's, is left alone.

    A profile that is broken, too long or of another kind of image is ignored: see :func:`ignored_profile`.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    if image.mode == "LA":
        coloured = to_srgb(image.getchannel("L"), in_place=False).convert("RGB")
        coloured.putalpha(image.getchannel("A"))
        return coloured
    if image.mode in ("P", "PA"):
        image, in_place = image.convert("RGBA" if image.has_transparency_data else "RGB"), True
    transform = _transform_of(image)
    if not isinstance(transform, Transform):
        return image
    if transform.input_mode != image.mode:  # grey with a profile of colours
        image, in_place = image.convert(transform.input_mode), True
    if in_place and transform.output_mode == image.mode:
        transform.apply_in_place(image)
        return image
    return transform.apply(image)


def ignored_profile(image: Image.Image) -> str | None:
    """Say why the image's profile is not applied, ``None`` where it is, or there is none, or it is sRGB's."""
    if not image.info.get("icc_profile"):
        return None
    mode = {"P": "RGB", "PA": "RGB", "LA": "L"}.get(image.mode, image.mode)
    found = _transform_of(image if mode == image.mode else Image.new(mode, (1, 1)), image.info["icc_profile"])
    return found if isinstance(found, str) else None


def _transform_of(image: Image.Image, profile: object = None) -> Transform | str | None:
    profile = image.info.get("icc_profile") if profile is None else profile
    if image.mode not in _MODES:
        return f"no profile is applied to images of mode {image.mode}"
    if not isinstance(profile, bytes):
        return "it is no profile"
    if len(profile) > MAX_PROFILE_BYTES:
        return f"it has {len(profile):,} bytes, {MAX_PROFILE_BYTES:,} are read"
    return _transform(profile, image.mode)


@lru_cache(KEPT)
def _transform(profile: bytes, mode: str) -> Transform | str | None:
    """Make the transform to sRGB, perceptual; ``None`` where it would change nothing by more than a level."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "L" and given.profile.xcolor_space.strip() == "RGB":
            return _transform(profile, "RGB")
        out = "RGBA" if mode == "RGBA" else "RGB"
        transform = ImageCms.buildTransform(
            given, ImageCms.createProfile("sRGB"), mode, out, renderingIntent=ImageCms.Intent.PERCEPTUAL
        )
        return None if mode != "CMYK" and _changes_nothing(transform, mode) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        return f"it is broken: {' '.join(str(error).split())}"


def _changes_nothing(transform: Transform, mode: str) -> bool:
    if mode == "L":
        levels = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    else:
        steps = np.linspace(0, 255, SIDE).round().astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(SIDE, -1, 3)
        levels = Image.fromarray(grid).convert(mode)
    before = np.asarray(levels.convert(transform.output_mode)).astype(np.int16)
    return bool(np.abs(np.asarray(transform.apply(levels)) - before).max() <= 1)
