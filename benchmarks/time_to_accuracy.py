"""Accuracy after the same wall time: torchvision's GoogLeNet as its users train it, and ``googlenet train --minutes``.

    python benchmarks/time_to_accuracy.py DATA [--seconds 400] [--seeds 3] [--only ours|torchvision] [--json]

DATA is a folder with train/ and val/. Each run is a process of its own, one after the other. Its time runs from its
start to the accuracy on all of val/, and includes reading, evaluation and, for ours, writing the bundle. Both use
64 px.

torchvision: torch's default memory layout, fp32, both auxiliary heads, batches of 64 from a DataLoader with two
workers, random crops with padding and flips, SGD with momentum 0.9 and a one-cycle schedule up to 0.05 over the time.
Ours: the recipe for small images.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZE, BATCH = 64, 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def ours(data: Path, seconds: float, seed: int) -> float:
    """Train with the command line, and read the accuracy from the card."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "googlenet", "train", str(data), "--out", f"{folder}/run", "--image-size",
                   str(SIZE), "--recipe", "small", "--minutes", str(seconds / 60), "--seed", str(seed)]  # fmt: skip
        subprocess.run(command, check=True)
        card = json.loads(Path(folder, "run", "bundle", "card.json").read_text("utf-8"))
    return float(card["metrics"]["top1"])


def theirs(data: Path, seconds: float, seed: int) -> float:
    """Run this file as a process that trains torchvision's network."""
    command = [sys.executable, __file__, str(data), "--seconds", str(seconds), "--torchvision-seed", str(seed)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def train_torchvision(data: Path, seconds: float, seed: int, begun: float) -> float:
    """Train until only the time for the evaluation is left."""
    import torch
    import torchvision
    import torchvision_training
    from torch.utils.data import DataLoader
    from torchvision import transforms as t

    torch.manual_seed(seed)
    finish = [t.ToTensor(), t.Normalize(MEAN, STD)]
    augment = t.Compose([t.Resize(SIZE), t.RandomCrop(SIZE, padding=SIZE // 8), t.RandomHorizontalFlip(), *finish])
    train = torchvision.datasets.ImageFolder(data / "train", augment)
    val = torchvision.datasets.ImageFolder(data / "val", t.Compose([t.Resize(SIZE), t.CenterCrop(SIZE), *finish]))
    batches = DataLoader(train, BATCH, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)
    tests = DataLoader(val, BATCH, num_workers=2, persistent_workers=True)
    model = torchvision.models.googlenet(num_classes=len(train.classes), aux_logits=True, init_weights=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=10_001, pct_start=0.3)
    rates = []
    for _ in range(10_001):
        rates.append(cycle.get_last_lr()[0])
        optimizer.step()
        if len(rates) < 10_001:
            cycle.step()

    def evaluate() -> float:
        model.eval()
        with torch.no_grad():
            return sum(int((model(x).argmax(1) == y).sum()) for x, y in tests) / len(val)

    before = time.monotonic()
    evaluate()
    for_training = seconds - (time.monotonic() - before) - 1
    epochs = 0.0
    while True:
        model.train()
        for images, labels in batches:
            share = (time.monotonic() - begun) / for_training
            if share >= 1:
                accuracy = evaluate()
                print(f"{epochs:.1f} epochs, {time.monotonic() - begun:.0f} s", file=sys.stderr)
                return accuracy
            optimizer.param_groups[0]["lr"] = rates[int(share * 10_000)]
            torchvision_training.step(model, optimizer, images, labels)
            epochs += 1 / len(batches)


def main() -> None:
    """Run both for every seed and print a table."""
    begun = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=("ours", "torchvision"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--torchvision-seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.torchvision_seed is not None:
        print(train_torchvision(given.data, given.seconds, given.torchvision_seed, begun))
        return
    runners = {"torchvision": theirs, "ours": ours}
    rows = []
    for seed in range(given.seeds):
        for who in [given.only] if given.only else runners:
            started = time.monotonic()
            accuracy = runners[who](given.data, given.seconds, seed)
            rows.append({"who": who, "seed": seed, "top1": accuracy, "seconds": time.monotonic() - started})
            if not given.json:
                print(f"{who:<12} seed {seed}   top-1 {accuracy:.2%}   {rows[-1]['seconds']:.0f} s", flush=True)
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    for who in dict.fromkeys(row["who"] for row in rows):
        print(f"{who:<12} mean {statistics.mean(row['top1'] for row in rows if row['who'] == who):.2%}")


if __name__ == "__main__":
    main()
