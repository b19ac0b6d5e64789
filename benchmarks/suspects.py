"""How many wrong labels `evaluate --suspects` finds: 5 % of the labels of cifar10-mini are changed at random.

    python benchmarks/suspects.py cifar10-mini [--epochs 24] [--seed 0] [--out runs/flipped]

cifar10-mini is a folder with train/ and val/ (docs/benchmarks.md). A network learns the training images with the wrong
labels (the recipe for small images); then all of them are judged. Prints the precision of the first 50, the share of
the wrong labels among the first 5 %, and the time from starting the command to its end.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import googlenet

FLIPPED = 0.05


def write_lists(root: Path, out: Path, seed: int) -> set[str]:
    """Write lists of the training images, some mislabelled, alone and with the held-out ones. Return those paths."""
    random = np.random.default_rng(seed)
    paths = sorted(path for path in (root / "train").glob("*/*") if path.is_file())
    names = sorted({path.parent.name for path in paths})
    wrong = set(random.permutation(len(paths))[: round(FLIPPED * len(paths))].tolist())
    rows = []
    for number, path in enumerate(paths):
        others = [name for name in names if name != path.parent.name]
        rows.append((str(path.absolute()), random.choice(others) if number in wrong else path.parent.name, "train"))
    held_out = [(str(path.absolute()), path.parent.name, "val") for path in sorted((root / "val").glob("*/*"))]
    for name, lines in (("train.csv", rows), ("with_val.csv", rows + held_out)):
        with (out / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("path", "label", "split"), *lines])
    return {rows[number][0] for number in wrong}


def main() -> None:
    """Train, look for suspects, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0, help="which labels are wrong")
    parser.add_argument("--out", type=Path, default=Path("runs/flipped"))
    parser.add_argument("--run", type=Path, help="a run that was trained by this script, instead of training one")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    wrong = write_lists(given.data, given.out, given.seed)
    run = given.run or given.out / "run"
    if given.run is None:
        googlenet.train(given.out / "with_val.csv", run, recipe="small", epochs=given.epochs, overwrite=True)
    begun = time.perf_counter()
    suspects = given.out / "suspects.csv"
    command = ("evaluate", run, given.out / "train.csv", "--split", "all", "--suspects", suspects)
    subprocess.run([sys.executable, "-m", "googlenet", *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    with suspects.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    hits = np.array([row["path"] in wrong for row in rows if row["suggested"]])
    first = round(FLIPPED * len(rows))
    print(f"top-1 {googlenet.load(run).card.metrics['top1']:.2%} on held-out images")
    print(f"{len(hits):,} of {len(rows):,} labels in doubt, {len(wrong):,} are wrong")
    print(f"precision of the first 50: {hits[:50].mean():.0%}")
    print(f"wrong labels among the first {first}: {hits[:first].sum() / len(wrong):.0%}; among all suspects: "
          f"{hits.sum() / len(wrong):.0%}")  # fmt: skip
    print(f"{seconds:.0f} s for evaluate with --suspects, from start to end")


if __name__ == "__main__":
    main()
