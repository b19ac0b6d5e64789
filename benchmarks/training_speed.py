"""Images per second of a training step: torchvision's GoogLeNet as its users train it, and ours, in turns.

    python benchmarks/training_speed.py [--rounds 5] [--json]

Both have the same batch in memory, the same size, 1000 classes and both auxiliary heads; nothing is read or decoded.
torchvision's step is in fp32 and torch's default memory layout, with SGD. Ours is the step of ``googlenet train`` with
the default recipe, in the precision it chooses, including the moving average of the weights and the sums for the log.
Each has a process of its own. In each round one does a few steps while the other waits, then the other; medians over
the rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torchvision
import torchvision_training
from in_turns import Round, Runner

from googlenet import create
from googlenet.data.opening import open_data
from googlenet.inference.engine import processor
from googlenet.training import memory
from googlenet.training.loading import Batch
from googlenet.training.precision import fastest
from googlenet.training.recipe import Recipe
from googlenet.training.setup import make_fabric
from googlenet.training.trainer import Trainer

CASES = ((224, 32), (64, 64))  # pixels of a side, images of a batch
CLASSES = 1000
STEPS = 3  # of each in a round
WARM = 2  # rounds that are not counted

Step = Callable[[], None]


def theirs(size: int, batch: int) -> tuple[Step, str]:
    """A step of torchvision's network, on a batch with random values, and its precision."""
    model = torchvision.models.googlenet(num_classes=CLASSES, aux_logits=True, init_weights=False).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    images, labels = torch.randn(batch, 3, size, size), torch.randint(0, CLASSES, (batch,))
    return lambda: torchvision_training.step(model, optimizer, images, labels), "fp32"


def ours(size: int, batch: int) -> tuple[Step, str]:
    """The step of ``googlenet train``, and the precision it is in."""
    memory.disable_malloc_trim()
    network = create("googlenet_bn", num_classes=CLASSES)
    preprocessing = network.network.preprocessing(size)
    precision = fastest(network, preprocessing, batch, "cpu")
    recipe = Recipe.load("default", batch_size=batch, image_size=size, precision=precision)
    fit = Trainer(network, open_data("digits"), recipe, preprocessing, make_fabric("cpu", precision))
    fit.objective.train()
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    given = Batch(images, torch.randint(0, CLASSES, (batch,)), list(range(batch)))

    def step() -> None:
        fit._step(given, batch)
        fit._advance(1)

    return step, precision


def in_rounds(make: Callable[[int, int], tuple[Step, str]], size: int, batch: int) -> tuple[Round, str]:
    """Build one of the two; a round is a few steps. Beside it, the precision."""
    step, precision = make(size, batch)

    def do_round() -> float:
        begun = time.perf_counter()
        for _ in range(STEPS):
            step()
        return STEPS * batch / (time.perf_counter() - begun)

    return do_round, precision


def measure(size: int, batch: int, rounds: int) -> dict[str, float | int | str]:
    """Run both in turns."""
    with Runner(in_rounds, theirs, size, batch) as peer, Runner(in_rounds, ours, size, batch) as mine:
        pairs = [(peer.round(), mine.round()) for _ in range(WARM + rounds)][WARM:]
    return {
        "size": size,
        "batch": batch,
        "torchvision": statistics.median(a for a, _ in pairs),
        "googlenet": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(b / a for a, b in pairs),
        "least": min(b / a for a, b in pairs),
        "most": max(b / a for a, b in pairs),
        "precision": mine.said,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = [measure(size, batch, given.rounds) for size, batch in CASES]
    if given.json:
        print(json.dumps({"processor": processor(), "threads": torch.get_num_threads(), "rows": rows}, indent=2))
        return
    print(
        f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}; medians of {given.rounds} rounds"
    )
    for row in rows:
        print(
            f"{row['size']:>4} px, batch {row['batch']}: torchvision {row['torchvision']:6.1f} images/s   "
            f"ours {row['googlenet']:6.1f} ({row['precision']})   "
            f"{row['ratio']:.2f}× ({row['least']:.2f} to {row['most']:.2f})"
        )


if __name__ == "__main__":
    main()
