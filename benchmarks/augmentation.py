"""How long each augmentation takes, beside the same transform of torchvision on a tensor and on a Pillow image.

    OMP_NUM_THREADS=1 python benchmarks/augmentation.py [--sides 64 224] [--rounds 20] [--json]

Each way gets the image as training has it, a NumPy array of uint8 (S, S, 3), and returns one. The ways are timed in
turns; a figure is the processor time of the fastest round, which others at work beside it change least. "-" is where
torchvision has no such transform. The policies and photometric distortion are torchvision's own here, too: the columns
say on what they work. Our rotation mirrors the corners, torchvision's leaves them black.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from googlenet.training.augment import AUGMENTATIONS
from googlenet.training.augmentation import Augmentation

HOW = Augmentation(photometric_prob=1.0, jitter_hue=0.05)
BILINEAR = v2.InterpolationMode.BILINEAR
TORCHVISION: dict[str, v2.Transform] = {
    "hflip_prob": v2.RandomHorizontalFlip(1.0),
    "vflip_prob": v2.RandomVerticalFlip(1.0),
    "rotation_prob": v2.RandomRotation(HOW.rotation_degrees, interpolation=BILINEAR),
    "perspective_prob": v2.RandomPerspective(HOW.perspective_scale, p=1.0),
    "trivial_augment_prob": v2.TrivialAugmentWide(),
    "rand_augment_prob": v2.RandAugment(),
    "photometric_prob": v2.RandomPhotometricDistort(p=1.0),
    "jitter_prob": v2.ColorJitter(0.2, 0.2, 0.2, 0.05),
    "grey_prob": v2.RandomGrayscale(1.0),
    "blur_prob": v2.GaussianBlur(9, (0.2, 2.0)),
    "noise_prob": v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise(0, 0.03),
                              v2.ToDtype(torch.uint8, scale=True)]),
    "jpeg_prob": v2.JPEG((30, 90)),
    "erasing_prob": v2.RandomErasing(1.0, (0.05, 0.25), value=127),
}  # fmt: skip
TENSOR_ONLY = ("noise_prob", "jpeg_prob", "erasing_prob")


def on_tensor(transform: v2.Transform, pixels: np.ndarray) -> np.ndarray:
    """Apply a transform to the image as a tensor (3, S, S)."""
    changed: torch.Tensor = transform(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
    return np.array(changed.permute(1, 2, 0).numpy())


def on_pillow(transform: v2.Transform, pixels: np.ndarray) -> np.ndarray:
    """Apply a transform to the image as Pillow's."""
    return np.array(transform(Image.fromarray(pixels)))


def ways(setting: str, pixels: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Return ours and torchvision's for an entry."""
    random, change = np.random.default_rng(0), AUGMENTATIONS[setting]
    found = {"ours": lambda: np.array(change(pixels, HOW, random))}
    if theirs := TORCHVISION.get(setting):
        found["tensor"] = lambda: on_tensor(theirs, pixels)
        if setting not in TENSOR_ONLY:
            found["pillow"] = lambda: on_pillow(theirs, pixels)
    return found


def measure(side: int, rounds: int) -> list[dict[str, object]]:
    """Return the microseconds of each way, for each entry."""
    small = np.random.default_rng(0).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))
    rows: list[dict[str, object]] = []
    for setting in AUGMENTATIONS:
        every = ways(setting, pixels)
        times: dict[str, list[float]] = {name: [] for name in every}
        for number in range(rounds + 1):  # the first warms up
            for name, work in every.items():
                begun = time.thread_time()
                for _ in range(5):
                    work()
                if number:
                    times[name].append((time.thread_time() - begun) / 5 * 1e6)
        rows.append({"entry": setting, "side": side, **{name: min(each) for name, each in times.items()}})
    return rows


def main() -> None:
    """Measure, and print a table for each side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 224])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    rows = [row for side in given.sides for row in measure(side, given.rounds)]
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    headings = "".join(f"{name:>9}" for name in ("ours", "tensor", "pillow"))
    print(f"{'microseconds an image':24}{'side':>5}{headings}{'best of torchvision / ours':>28}")
    for row in rows:
        theirs = [row[name] for name in ("tensor", "pillow") if name in row]
        cells = "".join(f"{row[name]:9,.0f}" if name in row else f"{'-':>9}" for name in ("ours", "tensor", "pillow"))
        ratio = f"{min(theirs) / row['ours']:28.1f}" if theirs else f"{'-':>28}"  # type: ignore[type-var, operator]
        print(f"{row['entry']:24}{row['side']:>5}{cells}{ratio}")


if __name__ == "__main__":
    main()
