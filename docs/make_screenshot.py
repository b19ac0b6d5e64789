"""Draw docs/images/predictions.png: photographs, what a trained classifier says of them, and where it looks.

    pip install scikit-image
    python docs/make_screenshot.py                                  # trains runs/screenshot, then draws
    python docs/make_screenshot.py --run runs/mine a.jpg b.jpg      # draws any run and any images

The classifier is trained on crops of the same five photographs, so this shows what a prediction looks like,
not how accurate a classifier is. The photographs come with scikit-learn (china.jpg and flower.jpg, CC BY 2.0,
by danielbuechele and vultilion; scaled, cropped and overlaid here) and scikit-image (chelsea.png, coffee.png and
rocket.jpg, CC0).
"""

from __future__ import annotations

import argparse
import io
import tempfile
from importlib.util import find_spec
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageOps

import googlenet

mpl.use("agg")
from matplotlib import pyplot as plt

PHOTOGRAPHS = {  # class → (package, file in it)
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "temple": ("sklearn", "datasets/images/china.jpg"),
}
CROPS = 60  # of each photograph
CROP_SIDES = (0.3, 0.8)  # of the shorter side


def find_photograph(package: str, name: str) -> Path:
    """Return the path of a photograph inside an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: pip install scikit-image scikit-learn")
    return Path(spec.submodule_search_locations[0]) / name


def write_crops(photographs: dict[str, Path], folder: Path) -> None:
    """Write a folder of random square crops for each photograph."""
    random = np.random.default_rng(0)
    for name, path in photographs.items():
        (folder / name).mkdir(parents=True)
        photograph = Image.open(path).convert("RGB")
        for number in range(CROPS):
            side = int(min(photograph.size) * random.uniform(*CROP_SIDES))
            left, top = (int(random.integers(0, length - side + 1)) for length in photograph.size)
            crop = photograph.crop((left, top, left + side, top + side))
            crop.save(folder / name / f"{number:03d}.jpg", quality=92)


def train(out: Path) -> list[Path]:
    """Train on crops of the five photographs; return the photographs."""
    photographs = {name: find_photograph(*where) for name, where in PHOTOGRAPHS.items()}
    if not out.exists():
        with tempfile.TemporaryDirectory() as folder:
            write_crops(photographs, Path(folder) / "photos")
            googlenet.train(f"{folder}/photos", out, epochs=12, image_size=128, batch_size=16, resize="squash")
    return list(photographs.values())


def draw(run: Path, images: list[Path], out: Path) -> None:
    """Draw every image with its most probable classes; below, a collage of four, and where each is seen in it."""
    classifier = googlenet.load(run)
    collage = make_collage(images[:4])
    whole = classifier.predict(collage)
    figure, axes = plt.subplots(2, len(images), figsize=(2.5 * len(images), 4.6), squeeze=False, layout="constrained")
    for above, below, image in zip(axes[0], axes[1], [*images[4:], *images[:4]], strict=True):
        prediction = classifier.predict(image)
        above.imshow(Image.open(image).convert("RGB"))
        above.set_title(f"{prediction.label}  {prediction.probability:.0%}", fontsize=13, fontweight="bold")
        rest = "   ".join(f"{name} {probability:.1%}" for name, probability in prediction.top(3)[1:])
        above.set_xlabel(rest, fontsize=9, color="0.35")
        below.imshow(collage)
        if image in images[:4]:
            heatmap = whole.heatmap(prediction.label)
            below.imshow(heatmap, cmap="turbo", alpha=0.15 + 0.45 * heatmap, vmin=0, vmax=1)
            below.set_xlabel(f"evidence for {prediction.label}", fontsize=10)
        else:
            below.set_xlabel("one image of four things", fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], aspect="auto")
        axis.set_box_aspect(0.75)
        for spine in axis.spines.values():
            spine.set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(out, optimize=True)


def make_collage(images: list[Path]) -> Image.Image:
    """Put up to four images into one of 640 × 480."""
    collage = Image.new("RGB", (640, 480))
    for number, image in enumerate(images):
        tile = ImageOps.fit(Image.open(image).convert("RGB"), (320, 240))
        collage.paste(tile, (320 * (number % 2), 240 * (number // 2)))
    return collage


def main() -> None:
    """Train where no run is named, then draw."""
    parser = argparse.ArgumentParser(description="Draw photographs with predictions and heat maps.")
    parser.add_argument("images", nargs="*", type=Path, help="with --run; by default the five photographs")
    parser.add_argument("--run", type=Path, help="a trained run; by default runs/screenshot is trained")
    parser.add_argument("--out", type=Path, default=Path("docs/images/predictions.png"))
    options = parser.parse_args()
    images = options.images if options.run else train(Path("runs/screenshot"))
    draw(options.run or Path("runs/screenshot"), images, options.out)


if __name__ == "__main__":
    main()
