"""Does a training step wait for images, and does memory grow with their number?

    python benchmarks/loading.py IMAGES [--size 224] [--times 1 10] [--epochs 2] [--json]

IMAGES is a folder of photographs without labels. They are linked ``--times`` times (hard links, so that the disk holds
them once) into two classes of a temporary folder and trained on with the default recipe at the given size, in a
process of its own. The share of time spent waiting is that of the last epoch in log.csv. The memory is the peak, over
that process and the processes that read images, of the sum of what each uses alone (USS).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from googlenet.data.folders import images_below


def arrange(images: list[Path], to: Path, times: int) -> None:
    """Put every other image into the one class, the rest into the other, ``times`` over."""
    for number, path in enumerate(images):
        folder = to / ("even", "odd")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        first = folder / f"{number:04d}-0{path.suffix}"
        shutil.copy(path, first)
        for more in range(1, times):
            os.link(first, folder / f"{number:04d}-{more}{path.suffix}")


def private_bytes(pid: int) -> int:
    """Return the memory that only a process and its children use, in bytes."""
    total = 0
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    for each in (pid, *map(int, children)):
        try:
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text("ascii")
        except OSError:  # it has just ended
            continue
        lines = [line for line in rollup.splitlines() if line.startswith("Private")]
        total += sum(int(line.split()[1]) for line in lines) * 1024
    return total


def train(data: Path, out: Path, size: int, epochs: int) -> int:
    """Train; return the peak memory in bytes."""
    command = [sys.executable, "-m", "googlenet", "train", str(data), "--out", str(out), "--image-size", str(size),
               "--epochs", str(epochs), "--batch-size", "32"]  # fmt: skip
    process = subprocess.Popen(command, stdout=sys.stderr)
    highest = [0]

    def watch() -> None:
        while process.poll() is None:
            highest[0] = max(highest[0], private_bytes(process.pid))
            time.sleep(0.5)

    callback = threading.Thread(target=watch)
    callback.start()
    callback.join()
    if process.returncode:
        raise SystemExit(f"training ended with {process.returncode}")
    return highest[0]


def main() -> None:
    """Train on the images, the given numbers of times, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    images = images_below(given.images)
    rows = []
    for times in given.times:
        with tempfile.TemporaryDirectory() as folder:
            arrange(images, Path(folder, "photos"), times)
            memory = train(Path(folder, "photos"), Path(folder, "run"), given.size, given.epochs)
            with Path(folder, "run", "log.csv").open(encoding="utf-8") as file:
                last = list(csv.DictReader(file))[-1]
        rows.append({
            "images": times * len(images),
            "images_per_second": float(last["images_per_second"]),
            "waiting": float(last["waiting"]),
            "memory": memory,
        })  # fmt: skip
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(
            f"{row['images']:>7,} images at {given.size} px: {row['images_per_second']:.1f} a second, "
            f"{row['waiting']:.1%} of the time waiting for them, {row['memory'] / 2**20:,.0f} MiB at most"
        )


if __name__ == "__main__":
    main()
