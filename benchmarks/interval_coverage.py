"""How often 95 % intervals hold the true accuracy where images have groups that err together.

    python benchmarks/interval_coverage.py [--simulations 4000] [--groups 80]

Groups of ten images; the skill of each group is drawn from a beta distribution with a mean of 80 %. Prints the coverage
of the bootstrap of whole groups and of Wilson's interval, each with its own standard error.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from googlenet.evaluation.intervals import proportion

SIZE, MEAN = 10, 0.8
SKILL = (3.2, 0.8)  # of the beta distribution


def main() -> None:
    """Simulate, and print the coverage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--groups", type=int, nargs="+", default=[10, 20, 80, 300])
    given = parser.parse_args()
    print("groups  whole groups      Wilson")
    for groups in given.groups:
        random, held = np.random.default_rng(0), []
        names = [str(number // SIZE) for number in range(groups * SIZE)]
        for seed in range(given.simulations):
            skill = np.repeat(random.beta(*SKILL, groups), SIZE)
            right = random.random(len(skill)) < skill
            found = proportion(right, names, seed), proportion(right)
            held.append([(each.low or 0) <= MEAN <= (each.high or 1) for each in found])
        share = np.mean(held, axis=0)
        error = [math.sqrt(each * (1 - each) / given.simulations) for each in share]
        print(f"{groups:6}  {share[0]:.2%} ± {error[0]:.2%}  {share[1]:.2%} ± {error[1]:.2%}", flush=True)


if __name__ == "__main__":
    main()
