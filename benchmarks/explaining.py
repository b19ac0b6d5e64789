"""What explaining costs beside predicting, and what a thousand explanations leave in memory.

    python benchmarks/explaining.py [--network googlenet] [--size 224] [--rounds 200] [--json]

The network has random weights and 10 classes. ``Classifier.predict`` and ``Classifier.explain`` of the same JPEG, which
is made of noise, take turns, so that other load on the machine affects both; the ratio is that of their medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import googlenet
from googlenet.exporting.bundles import write_untrained
from googlenet.inference.engine import precisions, processor

EXPLANATIONS = 1000


def resident_megabytes() -> float:
    """Return the memory of this process."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(classifier: googlenet.Classifier, image: Path, rounds: int) -> dict[str, float]:
    """Time both in turns, after a few that are not counted."""
    calls = {"predict": classifier.predict, "explain": classifier.explain, "branches": classifier.branches}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 10):
        for name, call in calls.items():
            begun = time.perf_counter()
            call(image)
            taken[name].append(time.perf_counter() - begun)
    medians = {f"{name}_ms": 1000 * statistics.median(each[10:]) for name, each in taken.items()}
    ratios = {f"{name}_ratio": medians[f"{name}_ms"] / medians["predict_ms"] for name in ("explain", "branches")}
    before = resident_megabytes()
    for _ in range(EXPLANATIONS):
        classifier.explain(image)
    return {**medians, **ratios, f"megabytes_of_{EXPLANATIONS}": resident_megabytes() - before}


def main() -> None:
    """Measure in every precision of this processor that has maps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="googlenet")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "noise.jpg")
        noise = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
        Image.fromarray(noise).save(image, quality=90)
        network = replace(googlenet.NETWORKS[arguments.network], num_classes=10)
        bundle = write_untrained(Path(folder, "bundle"), network, arguments.size)
        found = {
            precision: measure(googlenet.load(bundle.path, precision), image, arguments.rounds)
            for precision in precisions()
        }
    if arguments.json:
        print(json.dumps({"processor": processor(), **found}, indent=2))
        return
    print(f"{arguments.network} at {arguments.size} px on {processor()}")
    for precision, figures in found.items():
        print(precision, ", ".join(f"{name} {value:.3g}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
