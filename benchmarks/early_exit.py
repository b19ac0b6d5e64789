"""Is early exit worth it? Tolerance against images answered early, answers kept, accuracy and speed.

    python benchmarks/early_exit.py RUN DATA [--tolerances 0.005 0.01 0.02 0.05 0.1] [--confidence 0.95] [--halves 200]
        [--keep FILE.npz] [--speed] [--json]

RUN is a run of ``googlenet train`` with auxiliary heads, DATA the labelled images that it was trained on. Two things
are done many times with its held-out images. They are divided at random into halves: the first chooses the threshold
for each tolerance, by Learn-then-Test, and the other shows how many answers are other than the full network's. This
half is a sample itself, and the better the one looks the worse is the other. So, to check the promise, as many images
as a half has are drawn with replacement, and all held-out images are what they are drawn from: the share of other
answers is then known, and is above the tolerance in 5 % of the draws at most. With ``--speed`` it measures only how
fast images are answered, in turns, one by one and in batches of 32, which takes less than a minute of an idle machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from googlenet import bundle as bundles
from googlenet.benchmarking import early_exit as exiting
from googlenet.bundle import Bundle
from googlenet.evaluation.early_exits import answered_by, with_temperatures
from googlenet.inference.engine import processor
from googlenet.parallel import cores

NEVER = 2.0  # a confidence that no head has


def answers(run: Path, data: str, keep: Path | None) -> dict[str, Any]:
    """Return held-out images, their labels, and the probabilities of heads and network; kept in a file if asked for."""
    if keep is not None and keep.exists():
        return dict(np.load(keep))
    bundle = bundles.read(run)
    selection = exiting.held_out(bundle, data)
    with tempfile.TemporaryDirectory() as folder:
        pixels, heads, full = exiting.answers_of(bundle, selection, Path(folder, "draft"))
    items = selection.images.items
    order = np.random.default_rng(0).permutation(len(items))[: exiting.MAX_IMAGES]
    labels = np.array([items[at].labels[0] for at in order])
    assert len(labels) == len(full), "some images cannot be read"
    found = {"pixels": pixels, "labels": labels, "heads": np.stack(heads), "full": full}
    if keep is not None:
        np.savez_compressed(keep, **found)
    return found


def chosen_by(
    found: dict[str, Any], first: Any, other: Any, tolerance: float, confidence: float
) -> tuple[float, tuple[float, ...], float, float]:
    """Choose on some images and answer others: threshold, share of each head, share of other answers, top-1."""
    heads, full = found["heads"], found["full"]
    temperatures, chosen = exiting.learn_then_test([each[first] for each in heads], full[first], tolerance, confidence)
    calibrated = np.stack(with_temperatures([each[other] for each in heads], temperatures))
    by = answered_by(calibrated.max(axis=2), np.array([chosen.threshold]))[0]
    expected = full[other].argmax(axis=1)
    answer = np.stack([*calibrated.argmax(axis=2), expected])[by, np.arange(len(other))]
    shares = tuple(float(np.mean(by == head)) for head in range(len(heads)))
    return (
        chosen.threshold,
        shares,
        float(np.mean(answer != expected)),
        float(np.mean(answer == found["labels"][other])),
    )


def halves(found: dict[str, Any], tolerance: float, confidence: float, count: int) -> dict[str, Any]:
    """Choose on one half and look at the other, many times; and on as many that are drawn, and look at all."""
    every, random = np.arange(len(found["full"])), np.random.default_rng(0)
    rows, drawn = [], []
    for _ in range(count):
        order = random.permutation(every)
        first, other = order[: len(every) // 2], order[len(every) // 2 :]
        rows.append(chosen_by(found, first, other, tolerance, confidence))
        with_replacement = random.choice(every, len(first))
        drawn.append(chosen_by(found, with_replacement, every, tolerance, confidence)[2])
    thresholds, shares, others, top1 = map(np.array, zip(*rows, strict=True))
    return {
        "tolerance": tolerance, "threshold": thresholds.mean(), "shares": shares.mean(axis=0).tolist(),
        "other_answers": others.mean(), "most_other_answers": others.max(),
        "broken_in_halves": np.mean(others > tolerance), "broken_in_draws": np.mean(np.array(drawn) > tolerance),
        "top1": top1.mean(), "top1_full": np.mean(found["full"].argmax(axis=1) == found["labels"]),
    }  # fmt: skip


def speed(run: Path, found: dict[str, Any], tolerances: list[float], confidence: float) -> list[dict[str, Any]]:
    """Measure how much faster each tolerance is, chosen on all held-out images."""
    bundle, rows = bundles.read(run), []
    for tolerance in tolerances:
        temperatures, chosen = exiting.learn_then_test(list(found["heads"]), found["full"], tolerance, confidence)
        measured = gains_with(bundle, temperatures, chosen.threshold, found["pixels"])
        rows.append({"tolerance": tolerance, "shares": chosen.shares, "gains": measured})
    plain = [1.0] * len(found["heads"])
    for name, threshold in (("all at the first head", 0.0), ("none", NEVER)):
        measured = gains_with(bundle, plain, threshold, found["pixels"])
        rows.append({"tolerance": name, "shares": (), "gains": measured})
    return rows


def gains_with(bundle: Bundle, temperatures: list[float], threshold: float, pixels: Any) -> tuple[float, ...]:
    """Return the gain for one image and for many, with one threshold for all heads."""
    with tempfile.TemporaryDirectory() as folder:
        draft = exiting.with_files(bundle, exiting.head_graphs(bundle, temperatures), Path(folder, "draft"))
        return exiting.gains_of(draft, (threshold,) * len(temperatures), pixels)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data")
    parser.add_argument("--tolerances", type=float, nargs="+", default=[0.005, 0.01, 0.02, 0.05, 0.1])
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--halves", type=int, default=200)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = answers(given.run, given.data, given.keep)
    if given.speed:
        rows = speed(given.run, found, given.tolerances, given.confidence)
    else:
        rows = [halves(found, each, given.confidence, given.halves) for each in given.tolerances]
    if given.json:
        json.dump({"processor": processor(), "cores": cores(), "rows": rows}, sys.stdout, indent=2, default=float)
        return
    print(f"{processor()}, {cores()} cores")
    for row in rows:
        shares = " + ".join(f"{share:.1%}" for share in row["shares"])
        if given.speed:
            one, many = row["gains"]
            print(f"{row['tolerance']}: early {shares or '-'}; one image {one:+.0%}, in batches of 32 {many:+.0%}")
        else:
            broken = f"{row['broken_in_halves']:.1%} of halves and {row['broken_in_draws']:.1%} of draws"
            print(
                f"{row['tolerance']:.1%}: threshold {row['threshold']:.3f}, early {shares}; other answers "
                f"{row['other_answers']:.2%} (at most {row['most_other_answers']:.2%}), more than allowed in {broken}; "
                f"top-1 {row['top1']:.2%}, full {row['top1_full']:.2%}"
            )


if __name__ == "__main__":
    main()
