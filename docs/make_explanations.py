"""Draw the images of docs/explain.md: a map, a contrast, branches, training images.

    python docs/make_explanations.py                     # trains runs/explained for some minutes, then draws
    python docs/make_explanations.py --run runs/explained

The classifier is trained on crops of two photographs and on scanned digits, so this shows what explanations look like,
not how good they are. The photographs come with scikit-learn (china.jpg and flower.jpg, CC BY 2.0, by danielbuechele
and vultilion; scaled, cropped, put side by side and coloured here), and so do the digits (UCI, CC BY 4.0).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from make_screenshot import find_photograph, write_crops
from PIL import Image, ImageOps

import googlenet
from googlenet.explaining.class_branches import ClassBranches
from googlenet.explaining.examples import with_examples

PHOTOGRAPHS = {"flower": "flower.jpg", "temple": "china.jpg"}
FOLDER = Path("docs/images")
WIDTH = 1000  # pixels that an image is drawn at most
QUALITY = 86  # of a WebP
DIGITS = 60  # images of paper with digits
SIDE = 224


def paper(random: np.random.Generator, width: int = SIDE, height: int = SIDE) -> Image.Image:
    """Return scanned digits, three by three, on paper."""
    from sklearn.datasets import load_digits

    scans = load_digits().images
    sheet = Image.new("L", (width, height), int(random.integers(225, 250)))
    cell = (width // 3, height // 3)
    for number in range(9):
        scan = 255 - 15.9 * scans[random.integers(len(scans))]
        small = Image.fromarray(scan.astype(np.uint8)).resize((cell[0] - 12, cell[1] - 12), Image.Resampling.BICUBIC)
        sheet.paste(small, (cell[0] * (number % 3) + 6, cell[1] * (number // 3) + 6))
    return sheet.convert("RGB")


def write_data(folder: Path) -> dict[str, Path]:
    """Write crops of the photographs and sheets of digits; return the photographs."""
    photographs = {name: find_photograph("sklearn", f"datasets/images/{file}") for name, file in PHOTOGRAPHS.items()}
    write_crops(photographs, folder)
    (folder / "digits").mkdir()
    random = np.random.default_rng(0)
    for number in range(DIGITS):
        paper(random).save(folder / "digits" / f"{number:03d}.jpg", quality=92)
    return photographs


def collage(photographs: dict[str, Path]) -> Image.Image:
    """Put a flower, a temple and digits into one image of 640 × 480."""
    whole = Image.new("RGB", (640, 480))
    whole.paste(ImageOps.fit(Image.open(photographs["flower"]).convert("RGB"), (320, 480)), (0, 0))
    whole.paste(ImageOps.fit(Image.open(photographs["temple"]).convert("RGB"), (320, 240)), (320, 0))
    whole.paste(paper(np.random.default_rng(7), 320, 240), (320, 240))
    return whole


def save(image: Image.Image, name: str) -> None:
    """Write a small WebP."""
    image = image.convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    image.save(FOLDER / name, quality=QUALITY, method=6)


def draw(run: Path, data: Path, photographs: dict[str, Path]) -> None:
    """Draw every image."""
    classifier = googlenet.load(run, "fp32")
    pixels = np.asarray(collage(photographs))
    save(classifier.explain(pixels, "flower").image(), "explain.webp")
    save(classifier.explain(pixels, "flower", against="temple").image(), "explain-contrast.webp")
    save(classifier.branches(pixels, "flower").image(), "explain-branches.webp")
    temple = photographs["temple"]
    near = [(each.pixels(), ", ".join(each.labels), each.similarity) for each in classifier.neighbours(temple)]
    save(with_examples(classifier.explain(temple).image(), near), "explain-neighbours.webp")
    of_classes = ClassBranches()
    for path in sorted(data.rglob("*5.jpg")):
        of_classes.add(classifier.branches(path))
    save(of_classes.image(), "explain-classes.webp")


def main() -> None:
    """Train where no run is named, then draw."""
    parser = argparse.ArgumentParser(description="Draw the images of docs/explain.md.")
    parser.add_argument("--run", type=Path, help="a run that this program trained; by default runs/explained")
    options = parser.parse_args()
    run = options.run or Path("runs/explained")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "photos")
        photographs = write_data(data)
        if not run.exists():
            googlenet.train(data, run, epochs=24, image_size=SIDE, batch_size=16, resize="squash", keep_neighbours=True)
        draw(run, data, photographs)


if __name__ == "__main__":
    main()
