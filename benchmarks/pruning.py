"""Accuracy and speed against multiply-accumulates, as branches are removed: is pruning worth it?

    python benchmarks/pruning.py DATA [--shares 0.8 0.6 0.4] [--epochs 20] [--tuning-epochs 5] [--width 0.5]
        [--draws 5] [--keep FOLDER] [--speed] [--json]

DATA is a folder with train/ and val/ of images of 32 pixels, such as cifar10-mini. GoogLeNet for small images, with a
``--width`` of its channels, is trained with the recipe for small images on nine tenths of train/; the other tenth
chooses the epochs and ranks the branches; val/ reports. It is then pruned to each share of its multiply-accumulates.
Beside that stand two controls: the whole network, trained on for as many epochs; and networks with branches removed at
random until the same share is left, fine-tuned alike. ``--keep`` keeps the runs, and goes on with those there;
with ``--speed`` it only measures how fast they are, in turns, which takes less than a minute of an idle machine.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import googlenet
from googlenet import bundle as bundles
from googlenet.benchmarking.in_turns import measure_in_turns
from googlenet.inference.engine import Engine, processor
from googlenet.models.networks.googlenet import GOOGLENET_SMALL
from googlenet.models.spec import Conv, Layer, Network
from googlenet.parallel import cores
from googlenet.pruning.budget import Budget
from googlenet.pruning.cut import write_cut
from googlenet.pruning.ranking import Ranking, rank, removable
from googlenet.pruning.recipe import recipe_for
from googlenet.training.directory import PRUNING

SIZE, TENTH = 32, 10
RANDOM_IMAGES = 100  # whose means stand in for branches that are removed at random


def narrow(share: float) -> Network:
    """Return the network with a share of the channels in each of its convolutions."""

    def thinner(layer: Layer) -> Layer:
        wide = isinstance(layer, Conv) and layer.out is not None
        return replace(layer, out=max(4, round(share * layer.out))) if wide else layer

    return replace(GOOGLENET_SMALL.rewrite(thinner), name=f"googlenet_small_{share:g}".replace(".", "_"))


def three_parts(data: Path, to: Path) -> Path:
    """Copy the images: nine tenths of train/ to train, the others to val, and val/ to test."""
    for folder in sorted(entry for entry in (data / "train").iterdir() if entry.is_dir()):
        for split in ("train", "val"):
            (to / split / folder.name).mkdir(parents=True)
        for number, path in enumerate(sorted(folder.iterdir())):
            shutil.copy(path, to / ("train" if number % TENTH else "val") / folder.name)
        shutil.copytree(data / "val" / folder.name, to / "test" / folder.name)
    return to


def pruned(base: Path, data: Path, share: float, epochs: int, out: Path) -> dict[str, Any]:
    """Prune to a share, or read what an earlier call found."""
    record = out / PRUNING
    if record.exists() and "states" in (found := json.loads(record.read_text())):
        return found
    return googlenet.prune(base, data, out, macs=share, epochs=epochs, resume=record.exists()).to_dict()


def at_random(base: Path, data: Path, share: float, draw: int, epochs: int, out: Path) -> tuple[float, float]:
    """Remove branches at random until a share is left, and fine-tune; return the top-1 on val/ before and after."""
    bundle, cut = bundles.read(base), out / "cut"
    size = bundle.card.preprocessing.size
    if not (cut / bundles.CARD).exists():
        measured = rank(bundle, removable(bundle.network, size), googlenet.open_data(data).val.evenly(RANDOM_IMAGES))
        order = random.Random(draw).sample(measured.branches, len(measured.branches))
        ranking = Ranking(tuple(order), measured.images, measured.constants)
        write_cut(cut, bundle, ranking, Budget.of(None, share).choose(bundle.network, size, ranking))
    if not (out / "tuned" / bundles.IN_RUN).exists():
        network, recipe = bundles.read(cut).network, recipe_for(bundle.card, {"epochs": epochs})
        googlenet.train(data, out / "tuned", recipe=recipe, network=network, weights=cut, overwrite=True)
    before, after = (googlenet.evaluate(run, data, split="test").metrics.top1 for run in (cut, out / "tuned"))
    return before, after


def trained_on(base: Path, data: Path, epochs: int, out: Path) -> dict[str, Any]:
    """Train the whole network for as many epochs as the pruned ones; compare it with what it was before."""
    bundle = bundles.read(base)
    if not (out / bundles.IN_RUN).exists():
        recipe = recipe_for(bundle.card, {"epochs": epochs})
        googlenet.train(data, out, recipe=recipe, network=bundle.network, weights=base, resume=out.exists())
    found = googlenet.evaluate(out, data, precision="fp32", against=base)
    assert found.against is not None
    return {"top1": found.metrics.top1, "against": found.against.comparison.to_dict()}


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train, prune to each share, and train the controls."""
    data, base = folder / "data", folder / "base"
    if not data.exists():
        three_parts(given.data, data)
    if not (base / bundles.IN_RUN).exists():
        googlenet.train(data, base, recipe="small", network=narrow(given.width), image_size=SIZE, epochs=given.epochs)
    rows = [
        pruned(base, data, share, given.tuning_epochs, folder / f"pruned-{share:g}") for share in given.shares
    ]  # fmt: skip
    return {
        "epochs": given.epochs,
        "tuning_epochs": given.tuning_epochs,
        "width": given.width,
        "pruned": rows,
        "trained_on": trained_on(base, data, given.tuning_epochs, folder / "trained-on"),
        "random": [
            [
                at_random(base, data, share, draw, given.tuning_epochs, folder / f"random-{share:g}-{draw}")
                for draw in range(given.draws)
            ]
            for share in given.shares
        ],
    }


def speed(given: argparse.Namespace, folder: Path) -> None:
    """Print how fast the networks are that were kept, each beside the original."""
    names = ["base", *(f"pruned-{share:g}" for share in given.shares)]
    found = measure_in_turns([Engine(bundles.read(folder / name), "fp32") for name in names])
    for name, each in zip(names, found, strict=True):
        of = each.to_dict()
        print(f"{name}: {_ends(of['images_per_second'])} images/s, {_ends(of['faster_in_bulk'])}x; "
              f"one image {_ends(of['latency_ms'])} ms, {_ends(of['faster_alone'])}x")  # fmt: skip
    print(f"{processor()}, {cores()} cores")


def show(found: dict[str, Any]) -> None:
    """Print a line for each network."""
    before = found["pruned"][0]["states"][0]
    print(f"original: {before['macs'] / 1e6:.1f} M MACs, {before['parameters'] / 1e6:.2f} M parameters, "
          f"top-1 {100 * before['score']['value']:.2f}")  # fmt: skip
    change = found["trained_on"]["against"]["difference"]
    print(f"trained on for {found['tuning_epochs']} epochs: {_ends(change, 100)} points")
    # fmt: off
    for row, drawn in zip(found["pruned"], found["random"], strict=True):
        _, cut, tuned = row["states"]
        print(f"{row['macs']:.1%} of MACs, {len(row['removed'])} branches less, {tuned['parameters'] / 1e6:.2f} M: "
              f"removed {_ends(cut['against']['difference'], 100)} points, "
              f"fine-tuned {_ends(tuned['against']['difference'], 100)} points, "
              f"images/s {_ends(tuned['speed']['faster_in_bulk'])}x, one {_ends(tuned['speed']['faster_alone'])}x")
        for state, values in zip((cut, tuned), zip(*drawn, strict=True), strict=True):
            print(f"  {state['name']}: top-1 {100 * state['score']['value']:.1f} by rank, at random "
                  f"{100 * statistics.mean(values):.1f} ({100 * min(values):.1f} to {100 * max(values):.1f})")
    # fmt: on
    print(json.dumps(found["pruned"][0]["machine"]))


def _ends(found: dict[str, float], scale: float = 1) -> str:
    return f"{scale * found['value']:.2f} [{scale * found['low']:.2f}, {scale * found['high']:.2f}]"


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.8, 0.6, 0.4])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--tuning-epochs", type=int, default=5)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--speed", action="store_true")
    given = parser.parse_args()
    if given.speed:
        speed(given, given.keep)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(given, folder)
    print(json.dumps(found)) if given.json else show(found)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
