"""The program that `torchrun` starts in the tests: `googlenet train` with a small network of no dropout.

    SIGNAL="1 5 9" torchrun --nproc-per-node 2 distributed_run.py PHOTOS --out RUN --recipe RECIPE

With SIGNAL process 1 sends itself signal 9 after 5 steps, unless it was started again after a failure.
"""

import os
import sys

from googlenet.cli import main
from googlenet.cli.compiler import defer_compiler
from googlenet.models import zoo
from googlenet.models.networks.googlenet import HALVE, inception
from googlenet.models.spec import AuxTap, BatchNorm, Conv, Linear, Network, Pool, Stage, classifier
from googlenet.training.display import Display

# Without dropout, which differs from process to process.
PLAIN = Network(
    "plain",
    stages=[
        Stage("conv1", [Conv(8, 3, stride=2)]),
        Stage("inception_1", inception(4, 4, 8, 2, 4, 4)),
        Stage("maxpool1", [HALVE]),
        *classifier(dropout=0.0),
    ],
    aux=[AuxTap("aux1", "inception_1", [Pool("avg", output=2), Linear(16, relu=True), Linear()])],
    norm=BatchNorm(),
    input_size=32,
)


def signal_at(step, number):
    original, steps = Display.step, []

    def stepping(display, *arguments):
        original(display, *arguments)
        steps.append(arguments)
        if len(steps) == step:
            os.kill(os.getpid(), number)

    Display.step = stepping


if __name__ == "__main__":
    zoo.NETWORKS["plain"] = PLAIN
    rank, step, number = map(int, os.environ.get("SIGNAL", "-1 0 0").split())
    if os.environ.get("RANK") == str(rank) and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        signal_at(step, number)
    defer_compiler()
    main(["train", *sys.argv[1:]])
