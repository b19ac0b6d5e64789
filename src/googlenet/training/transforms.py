"""The random changes of square images that ``AUGMENTATIONS`` names: (S, S, C) uint8 → (S, S, C) uint8.

Each takes the image, the settings and a generator, and draws from that generator alone. Pillow and NumPy, where
``benchmarks/augmentation.py`` finds them faster than torchvision's transforms of tensors; else torchvision's.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from torch import Tensor

from googlenet.images.decode import COLOURS, Pixels
from googlenet.images.resize import MID_GREY
from googlenet.training.augmentation import Augmentation, Span

BY_TORCHVISION = ("trivial_augment_prob", "rand_augment_prob", "photometric_prob")
ERASED_RATIO = (0.3, 3.3)  # width / height (Zhong et al., 2017)
Random = np.random.Generator


def load_torchvision(how: Augmentation) -> None:
    """Import torchvision where a setting needs it: once, before processes are forked that read images."""
    if any(getattr(how, setting) for setting in BY_TORCHVISION):
        torchvision_transforms()


def torchvision_transforms() -> Any:
    """Return torchvision's transforms, imported when first used: that takes a second, and few recipes need them."""
    from torchvision.transforms import v2

    return v2


def random_sides(area: float, scale: Span, ratio: Span, random: Random) -> tuple[float, float]:
    """Draw width and height of a rectangle: its share of ``area`` uniformly, its width / height log-uniformly."""
    share = area * random.uniform(*scale)
    aspect = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
    return math.sqrt(share * aspect), math.sqrt(share / aspect)


# Geometry.


def hflip(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Mirror left and right."""
    return pixels[:, ::-1]


def vflip(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Mirror top and bottom."""
    return pixels[::-1]


def quarter_turn(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Turn by 90, 180 or 270 degrees."""
    return np.rot90(pixels, int(random.integers(1, 4)))


def rotate(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Rotate about the centre. What turns into view at the corners is the image's mirror image."""
    angle = math.radians(random.uniform(-how.rotation_degrees, how.rotation_degrees))
    side, cos, sin = pixels.shape[0], math.cos(angle), math.sin(angle)
    # How far a corner of the output is outside of the image, and a pixel more for interpolation.
    rim = min(math.ceil((abs(cos) + abs(sin) - 1) * side / 2) + 1, side - 1)
    padded = np.pad(pixels, ((rim, rim), (rim, rim), (0, 0)), mode="reflect")
    centre, middle = side / 2, side / 2 + rim
    affine = (cos, -sin, middle - cos * centre + sin * centre, sin, cos, middle - sin * centre - cos * centre)
    return _by_pillow(
        padded,
        lambda image: image.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR),
    )


def perspective(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Stretch a quadrilateral inside the image to the whole square."""
    side = pixels.shape[0]
    moved = random.uniform(0, how.perspective_scale * side / 2, (4, 2))
    corners = np.array([(0, 0), (side, 0), (side, side), (0, side)], float)
    inward = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    coefficients = _homography(corners, corners + inward * moved)
    return _by_pillow(
        pixels,
        lambda image: image.transform(
            (side, side), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
        ),
    )


def _homography(points: np.ndarray, images: np.ndarray) -> tuple[float, ...]:
    """Return a, …, h of (x, y) → ((ax + by + c), (dx + ey + f)) / (gx + hy + 1) that takes four points to images."""
    rows, values = [], []
    for (x, y), (u, v) in zip(points, images, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        values += [u, v]
    return tuple(np.linalg.solve(np.array(rows), np.array(values)).tolist())


# Policies of several changes.


def trivial_augment(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Apply torchvision's TrivialAugmentWide to the Pillow image, which is faster than to a tensor."""
    return _by_torchvision(pixels, torchvision_transforms().TrivialAugmentWide(fill=MID_GREY), random)


def rand_augment(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Apply torchvision's RandAugment to the Pillow image, which is faster than to a tensor."""
    policy = torchvision_transforms().RandAugment(how.rand_augment_ops, how.rand_augment_magnitude, fill=MID_GREY)
    return _by_torchvision(pixels, policy, random)


def _by_torchvision(pixels: Pixels, policy: Callable[[Image.Image], Any], random: Random) -> Pixels:
    image = Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[:, :, 0])
    changed = drawn_from(random, lambda: policy(image))
    return np.atleast_3d(np.asarray(changed))


def drawn_from(random: Random, change: Callable[[], Any]) -> Any:
    """Call a function that draws from PyTorch's global generator, and make it draw from ``random``."""
    seed = int(random.integers(2**62))
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also keep a stack trace for every GPU to come: slow, and never freed.
        torch.default_generator.manual_seed(seed)
        return change()


# Colours.


def photometric_distort(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Change brightness, contrast, saturation and hue (Howard, 2013), as torchvision does."""
    distort = torchvision_transforms().RandomPhotometricDistort(p=how.photometric_prob)
    distorted: Tensor = drawn_from(random, lambda: distort(torch.from_numpy(pixels.copy()).permute(2, 0, 1)))
    return distorted.permute(1, 2, 0).numpy()


def jitter(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Change brightness and contrast of any image, saturation and hue of an RGB image, in this order."""
    spans = (how.jitter_brightness, how.jitter_contrast, how.jitter_saturation)
    brightness, contrast, saturation = (random.uniform(1 - span, 1 + span) for span in spans)
    hue = random.uniform(-how.jitter_hue, how.jitter_hue)
    levels = np.clip(np.arange(256) * brightness, 0, 255)
    mean = _grey(levels.astype(np.uint8)[pixels]).mean()
    table = np.clip(mean + contrast * (levels - mean), 0, 255).astype(np.uint8)
    changed: Pixels = table[pixels]
    if how.jitter_saturation:
        changed = np.asarray(ImageEnhance.Color(Image.fromarray(changed)).enhance(saturation))
    return _turn_hue(changed, hue) if how.jitter_hue else changed


def _turn_hue(pixels: Pixels, by: float) -> Pixels:
    bands = list(Image.fromarray(pixels).convert("HSV").split())
    shift = round(by * 256)
    bands[0] = bands[0].point([(hue + shift) % 256 for hue in range(256)])
    return np.asarray(Image.merge("HSV", bands).convert("RGB"))


def grey(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Take the colours away from an RGB image."""
    return np.repeat(_grey(pixels)[:, :, None], COLOURS, axis=2)


def _grey(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).convert("L")) if pixels.shape[2] == COLOURS else pixels


# Quality.


def blur(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Blur by a Gaussian."""
    sigma = pixels.shape[0] * random.uniform(*how.blur_sigma)
    return _by_pillow(pixels, lambda image: image.filter(ImageFilter.GaussianBlur(sigma)))


def noise(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Add independent Gaussian noise to every pixel and channel."""
    std = 255 * random.uniform(*how.noise_std)
    noisy = random.standard_normal(pixels.shape, np.float32)
    noisy *= std
    noisy += pixels
    changed: Pixels = np.clip(np.rint(noisy, out=noisy), 0, 255, out=noisy).astype(np.uint8)
    return changed


def jpeg(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Compress and decode a grey or RGB image as JPEG."""
    quality = int(random.integers(how.jpeg_quality[0], how.jpeg_quality[1] + 1))

    def compressed(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file, formats=("JPEG",))

    return _by_pillow(pixels, compressed)


def random_erasing(pixels: Pixels, how: Augmentation, random: Random) -> Pixels:
    """Cover a random rectangle with grey."""
    side = pixels.shape[0]
    drawn = random_sides(side**2, how.erasing_scale, ERASED_RATIO, random)
    wide, high = (min(side, max(1, round(each))) for each in drawn)
    left, top = random.integers(side - wide + 1), random.integers(side - high + 1)
    erased: Pixels = pixels.copy()
    erased[top : top + high, left : left + wide] = MID_GREY
    return erased


def _by_pillow(pixels: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    """Change an RGB image, or each channel of another one, as a Pillow image."""
    if pixels.shape[2] == COLOURS:
        return np.asarray(change(Image.fromarray(pixels)))
    return np.stack([np.asarray(change(Image.fromarray(band))) for band in np.moveaxis(pixels, 2, 0)], axis=2)
