"""Accuracy after the same wall time: ``googlenet train --minutes``, and what others reach on the same data.

    python benchmarks/time_to_accuracy.py DATA [--seconds 400] [--size 64] [--seeds 3] [--recipe small]
        [--before benchmarks/small_adamw.toml] [--weights RUN] [--only ours before torchvision ultralytics]
        [--ultralytics PYTHON] [--json]

DATA is a folder with train/ and val/. Each run is a process of its own, in turns. Its time runs from its start to the
accuracy on all of val/, and includes reading, evaluation and, for ours, writing the bundle. All have the same size.

    python benchmarks/time_to_accuracy.py cifar10-mini
    python benchmarks/time_to_accuracy.py trash --size 224 --seconds 540 --recipe photos.toml

ours, before: ``--recipe``, and the recipe of an earlier version, ``--before``; both with ``--weights``, where given.
torchvision: its GoogLeNet in torch's default memory layout, fp32, both auxiliary heads, batches of 64 (32 from 128 px
on) from a DataLoader with two workers, random crops with padding and flips, SGD with momentum 0.9 and a one-cycle
schedule up to 0.05 over the time.
ultralytics: yolo11n-cls from scratch with its own settings and ``time=``, by the Python of an environment that has it
(it is no part of this project: AGPL); left out where there is none. With ``--weights`` only ours are compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BEFORE = Path(__file__).with_name("small_adamw.toml")
ULTRALYTICS = """
import sys
from ultralytics import YOLO
data, size, seconds, seed, folder = sys.argv[1:]
model = YOLO("yolo11n-cls.yaml")
model.train(data=data, imgsz=int(size), time=float(seconds) / 3600, seed=int(seed), device="cpu", workers=2,
            pretrained=False, project=folder, verbose=False, plots=False)
print(model.val(project=folder, plots=False).top1)
"""

Run = Callable[[argparse.Namespace, int], float]  # returns the accuracy of a seed


def ours(given: argparse.Namespace, seed: int, recipe: str | Path | None = None) -> float:
    """Train with the command line, and read the accuracy from the card."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "googlenet", "train", str(given.data), "--out", f"{folder}/run",
                   "--image-size", str(given.size), "--recipe", str(recipe or given.recipe),
                   "--minutes", str(given.seconds / 60), "--seed", str(seed)]  # fmt: skip
        command += ["--weights", given.weights] if given.weights else []
        subprocess.run(command, check=True, stdout=sys.stderr)
        card = json.loads(Path(folder, "run", "bundle", "card.json").read_text("utf-8"))
    return float(card["metrics"]["top1"])


def before(given: argparse.Namespace, seed: int) -> float:
    """Train with the recipe of an earlier version."""
    return ours(given, seed, given.before)


def torchvision(given: argparse.Namespace, seed: int) -> float:
    """Run this file as a process that trains torchvision's network."""
    command = [sys.executable, __file__, str(given.data), "--seconds", str(given.seconds), "--size", str(given.size),
               "--torchvision-seed", str(seed)]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def ultralytics(given: argparse.Namespace, seed: int) -> float:
    """Train yolo11n-cls with the Python of an environment that has it."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(given.data.resolve()), str(given.size), str(given.seconds), str(seed), folder]
        command = [given.ultralytics, "-c", ULTRALYTICS, *arguments]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    return float(done.stdout.split()[-1])


RUNS: dict[str, Run] = {"torchvision": torchvision, "ultralytics": ultralytics, "before": before, "ours": ours}


def has_ultralytics(python: str) -> bool:
    """Whether a Python can train with Ultralytics."""
    if python == sys.executable:
        return importlib.util.find_spec("ultralytics") is not None
    return not subprocess.run([python, "-c", "import ultralytics"], capture_output=True, check=False).returncode


def train_torchvision(given: argparse.Namespace, seed: int, begun: float) -> float:
    """Train until only the time for the evaluation is left."""
    import torch
    import torchvision
    import torchvision_training
    from torch.utils.data import DataLoader
    from torchvision import transforms as t

    torch.manual_seed(seed)
    data, size, batch = given.data, given.size, 64 if given.size < 128 else 32
    finish = [t.ToTensor(), t.Normalize(MEAN, STD)]
    augment = t.Compose([t.Resize(size), t.RandomCrop(size, padding=size // 8), t.RandomHorizontalFlip(), *finish])
    train = torchvision.datasets.ImageFolder(data / "train", augment)
    val = torchvision.datasets.ImageFolder(data / "val", t.Compose([t.Resize(size), t.CenterCrop(size), *finish]))
    batches = DataLoader(train, batch, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)
    tests = DataLoader(val, batch, num_workers=2, persistent_workers=True)
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
    for_training = given.seconds - (time.monotonic() - before) - 1
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


def compared(given: argparse.Namespace) -> list[str]:
    """Return who takes part."""
    names = given.only or (["before", "ours"] if given.weights else list(RUNS))
    if "ultralytics" in names and not has_ultralytics(given.ultralytics):
        print("ultralytics is not installed: left out; --ultralytics PYTHON names one that has it", file=sys.stderr)
        names = [name for name in names if name != "ultralytics"]
    return names


def main() -> None:
    """Run all for every seed and print a table."""
    begun = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", default="small")
    parser.add_argument("--before", type=Path, default=BEFORE)
    parser.add_argument("--weights")
    parser.add_argument("--only", nargs="+", choices=tuple(RUNS))
    parser.add_argument("--ultralytics", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--torchvision-seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.torchvision_seed is not None:
        print(train_torchvision(given, given.torchvision_seed, begun))
        return
    rows = []
    names = compared(given)
    for seed in range(given.seeds):
        for who in names:
            started = time.monotonic()
            accuracy = RUNS[who](given, seed)
            rows.append({"who": who, "seed": seed, "top1": accuracy, "seconds": time.monotonic() - started})
            if not given.json:
                print(f"{who:<12} seed {seed}   top-1 {accuracy:.2%}   {rows[-1]['seconds']:.0f} s", flush=True)
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    for who in names:
        print(f"{who:<12} mean {statistics.mean(row['top1'] for row in rows if row['who'] == who):.2%}")


if __name__ == "__main__":
    main()
