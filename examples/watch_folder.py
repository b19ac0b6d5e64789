"""Watch a folder: classify every new image and append it to a CSV file.

    python watch_folder.py runs/flowers inbox/ results.csv

An image is classified once it has stopped growing. Images that are in the CSV file already are skipped, so that the
watcher can be stopped and started again. Needs: pip install .
"""

import argparse
import csv
import time
from pathlib import Path

import googlenet

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def find_images(folder):
    """Return the size in bytes of each image below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return {str(path): path.stat().st_size for path in files if path.is_file()}


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("run", help="a trained run, or a bundle")
parser.add_argument("folder", type=Path)
parser.add_argument("results", type=Path, help="a CSV file; rows are appended")
parser.add_argument("--seconds", type=float, default=2, help="between two looks (2 by default)")
parser.add_argument("--once", action="store_true", help="stop when nothing is new")
options = parser.parse_args()

classifier = googlenet.load(options.run)
options.results.touch()
with options.results.open(newline="", encoding="utf-8") as file:
    done = {row[0] for row in csv.reader(file)}
sizes = {}
while True:
    before, sizes = sizes, find_images(options.folder)
    new = [path for path, size in sizes.items() if path not in done and before.get(path) == size]
    with options.results.open("a", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        for path, answer in zip(new, classifier.predict_many(new), strict=True):
            failed = isinstance(answer, googlenet.GoogLeNetError)
            rows.writerow([path, "", "", answer] if failed else [path, answer.label, f"{answer.probability:.4f}", ""])
            done.add(path)
    if options.once and set(sizes) <= done:
        break
    time.sleep(options.seconds)
