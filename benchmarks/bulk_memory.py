"""Does the memory of ``googlenet predict`` grow with the number of images?

    python benchmarks/bulk_memory.py [--images 1000 100000] [--json]

A small network with random weights classifies that many small images (hard links to one file) into a results file. The
peak resident memory of the process is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from googlenet import create
from googlenet.card import ModelCard
from googlenet.exporting.bundles import write_bundle
from googlenet.models.spec import to_json

SIDE = 32
FORMATS = (".csv", ".parquet")
A_FOLDER = 1000  # images


def arrange(folder: Path, count: int) -> None:
    """Write one image and link it, a thousand times a folder."""
    folder.mkdir()
    first = folder / "first.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(first)
    for number in range(count - 1):
        below = folder / f"{number // A_FOLDER:04d}"
        if number % A_FOLDER == 0:
            below.mkdir()
            shutil.copy(first, below / f"image-{number:06d}.png")  # a file may have only so many links
        else:
            os.link(below / f"image-{number - number % A_FOLDER:06d}.png", below / f"image-{number:06d}.png")


def peak(command: list[str]) -> int:
    """Return a command's peak memory in bytes. A small process starts it: a child inherits its parent's peak."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    watched = subprocess.run([sys.executable, "-c", code, *command], stdout=subprocess.PIPE, text=True, check=True)
    return 1024 * int(watched.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        network = create("lenet5", num_classes=10)
        preprocessing = network.network.preprocessing(SIDE)
        card = ModelCard("lenet5", to_json(network.network), tuple("0123456789"), preprocessing)
        write_bundle(folder / "bundle", network, card, np.zeros((1, SIDE, SIDE, preprocessing.channels), np.uint8))
        for count in given.images:
            arrange(folder / str(count), count)
            for suffix in FORMATS:
                what = [str(folder / "bundle"), str(folder / str(count)), "--out", str(folder / f"{count}{suffix}")]
                highest = peak([sys.executable, "-m", "googlenet", "predict", *what])
                rows.append({"images": count, "format": suffix, "bytes": highest})
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['images']:>9,} images to {row['format']:<9} {row['bytes'] / 2**20:7.1f} MiB at most")


if __name__ == "__main__":
    main()
