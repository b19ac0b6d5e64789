"""A few images of new classes: fine-tuning, compared with training from scratch.

    python benchmarks/fine_tuning.py DATA [--base-epochs 40] [--epochs 20] [--per-class 20] [--seeds 3] [--base RUN]
        [--json]

DATA is a folder with train/ and val/ of about ten classes, such as cifar10. A base is trained with the recipe for small
images on all images of the first half of the classes, in the order of their names. The other half is then trained on
``--per-class`` images of each class, for the same number of epochs and steps: once from the base (``--weights``) with
the recipe for fine-tuning, once from scratch with the default recipe. Both are validated on all images in val/ of these
classes, at 64 px. ``--base`` uses a base that was trained before.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import googlenet
from googlenet.training.recipe import Recipe

SIZE, NETWORK = 64, "googlenet_bn"


def copy_classes(data: Path, to: Path, names: Sequence[str], per_class: int | None = None) -> Path:
    """Copy some classes, and of each only the first ``per_class`` training images by name, if given."""
    for name in names:
        shutil.copytree(data / "val" / name, to / "val" / name)
        (to / "train" / name).mkdir(parents=True)
        for path in sorted((data / "train" / name).iterdir())[:per_class]:
            shutil.copy(path, to / "train" / name)
    return to


def train(data: Path, out: Path, **options: Any) -> dict[str, float]:
    """Train; return the accuracy and the seconds it took."""
    begun = time.monotonic()
    bundle = googlenet.train(data, out, network=NETWORK, image_size=SIZE, **options)
    return {"top1": bundle.card.metrics["top1"], "seconds": time.monotonic() - begun}


def compare(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Train the base, then both ways with every seed; a row each."""
    names = sorted(entry.name for entry in (given.data / "train").iterdir() if entry.is_dir())
    known, new = names[: len(names) // 2], names[len(names) // 2 :]
    base = given.base or folder / "base-run"
    if given.base is None:
        many = copy_classes(given.data, folder / "base", known)
        say("base", 0, train(many, base, recipe="small", epochs=given.base_epochs, seed=0))
    few = copy_classes(given.data, folder / "few", new, given.per_class)
    batch_size = Recipe.load("finetune").batch_size
    ways: dict[str, dict[str, Any]] = {
        "fine-tuned": {"recipe": "finetune", "weights": base},
        "from scratch": {"recipe": "default", "batch_size": batch_size},
    }
    rows = []
    for seed in range(given.seeds):
        for way, options in ways.items():
            result = train(few, folder / f"{way}-{seed}", epochs=given.epochs, seed=seed, **options)
            rows.append({"way": way, "seed": seed, **result})
            say(way, seed, result)
    return rows


def say(way: str, seed: int, result: dict[str, float]) -> None:
    """Print how a training went on stderr."""
    print(
        f"{way:<12} seed {seed}   top-1 {result['top1']:.2%}   {result['seconds']:.0f} s", file=sys.stderr, flush=True
    )


def main() -> None:
    """Run it and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--base-epochs", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(given, Path(folder))
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'':<12}  {'  '.join(f'seed {seed}' for seed in range(given.seeds))}    mean")
    for way in dict.fromkeys(row["way"] for row in rows):
        top1 = [row["top1"] for row in rows if row["way"] == way]
        print(f"{way:<12}  {'  '.join(f'{value:6.1%}' for value in top1)}  {statistics.mean(top1):6.1%}")


if __name__ == "__main__":
    main()
