"""Colour profiles: Adobe RGB, Display P3, ProPhoto or CMYK inks → sRGB, which networks see."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 4 << 20  # CMYK profiles have up to 3 MB
MAX_CACHED_TRANSFORMS = 16  # most data sets need one or two
COMPARED_LEVELS = 17  # of each colour, at which a profile is compared with sRGB
_MODES = ("L", "RGB", "RGBA", "CMYK")

Transform = ImageCms.ImageCmsTransform


def to_srgb(image: Image.Image, *, in_place: bool) -> Image.Image:
    """Convert the colours by the profile in the file; an image without one, or with that of sRGB, is unchanged.

    A profile that is broken, too long or for another kind of image is ignored: see :func:`ignored_profile`.
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
    if transform.input_mode != image.mode:  # grey with an RGB profile
        image, in_place = image.convert(transform.input_mode), True
    if in_place and transform.output_mode == image.mode:
        transform.apply_in_place(image)
        return image
    return transform.apply(image)


def would_change(image: Image.Image) -> bool:
    """Whether :func:`to_srgb` would change an image of mode L or RGB, by its profile."""
    return bool(image.info.get("icc_profile")) and isinstance(_transform_of(image), Transform)


def ignored_profile(image: Image.Image) -> str | None:
    """Return why the profile of an image is not applied; ``None`` if it is, if there is none, or if it is sRGB."""
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


@lru_cache(MAX_CACHED_TRANSFORMS)
def _transform(profile: bytes, mode: str) -> Transform | str | None:
    """Return the perceptual transform to sRGB; ``None`` if it changes nothing by more than one level."""
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
        steps = np.linspace(0, 255, COMPARED_LEVELS).round().astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(COMPARED_LEVELS, -1, 3)
        levels = Image.fromarray(grid).convert(mode)
    before = np.asarray(levels.convert(transform.output_mode)).astype(np.int16)
    return bool(np.abs(np.asarray(transform.apply(levels)) - before).max() <= 1)
