"""The time to classify one image: from the prompt, and in a running process.

    python benchmarks/one_image.py IMAGES [--runs 10] [--json]

IMAGES is a folder of photographs. The network is ``googlenet_bn`` with 1000 classes and random weights, quantised.
From the prompt: the median wall time of ``googlenet predict`` in each precision with warm caches, of ``googlenet
--help``, and of a bare script that imports OpenVINO and Pillow, loads the compiled fp32 graph from a cache and
classifies. All run in turns, so that other load on the machine affects all of them; each is also printed as a multiple
of the bare script. Python keeps bytecode meanwhile, as it does by default and as pip leaves it of an installed package,
whatever ``PYTHONDONTWRITEBYTECODE`` says: that would compile this package, but not those it is compared with, anew.

In a running process: the time of ``Classifier.predict``, of decoding alone and of the engine alone, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bulk_inference import PRECISIONS, SIZE, make_bundle

from googlenet import load
from googlenet.inference.engine import processor

BARE = """
import sys
import numpy as np
import openvino
from PIL import Image

graph, image, cache, size = sys.argv[1:]
options = {"CACHE_DIR": cache, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
compiled = openvino.Core().compile_model(graph, "CPU", options)
with Image.open(image) as image:
    pixels = np.asarray(image.convert("RGB").resize((int(size), int(size))))
print(compiled([pixels[None]])[compiled.output("probabilities")].argmax())
"""


def wall(commands: dict[str, list[str]], runs: int) -> dict[str, float]:
    """Median seconds of commands, run in turns, after one run of each that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(1 + runs):
        for name, command in commands.items():
            begun = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
            taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(each[1:]) for name, each in taken.items()}


def milliseconds(call: Callable[[], object]) -> float:
    """Time one call."""
    begun = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begun)


def running(bundle: Path, precision: str, images: list[Path]) -> dict[str, float]:
    """Medians over images, each in turn: all of it, decoding, the engine."""
    classifier = load(bundle, precision)
    classifier.predict(images[0])
    rows = []
    for image in images:
        seen = classifier.preprocess(image)[None]
        whole = milliseconds(lambda: classifier.predict(image))  # noqa: B023 - called at once
        decoding = milliseconds(lambda: classifier.preprocess(image))  # noqa: B023
        bare = milliseconds(lambda: classifier.engine.probabilities(seen))  # noqa: B023
        rows.append((whole, decoding, bare))
    whole, decoding, bare = (statistics.median(column) for column in zip(*rows, strict=True))
    return {"predict": whole, "decoding": decoding, "engine": bare, "of_allowed": whole / (1.25 * bare + decoding)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="IMAGES")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    images = sorted(given.folder.iterdir())
    command = shutil.which("googlenet", path=str(Path(sys.executable).parent)) or "googlenet"
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder, "bundle"), [str(path) for path in images])
        bare = [sys.executable, "-c", BARE, str(bundle / "model.onnx"), str(images[0]), f"{folder}/cache", str(SIZE)]
        predict = [command, "predict", str(bundle), str(images[0]), "--precision"]
        prompt = wall(
            {"bare": bare, **{name: [*predict, name] for name in PRECISIONS}, "--help": [command, "--help"]}, given.runs
        )
        inside = {precision: running(bundle, precision, images) for precision in PRECISIONS}
    if given.json:
        print(json.dumps({"processor": processor(), "prompt": prompt, "running": inside}, indent=2))
        return
    print(f"{processor()}; from the prompt, median of {given.runs}:")
    for what, seconds in prompt.items():
        print(f"  {what:<8} {seconds:.2f} s, {seconds / prompt['bare']:.2f} times the bare script")
    print(f"in a running process, median of {len(images)} images:")
    for precision, each in inside.items():
        print(
            f"  {precision:<8} {each['predict']:.2f} ms: decoding {each['decoding']:.2f}, engine {each['engine']:.2f}; "
            f"{each['of_allowed']:.0%} of 1.25 engines and decoding"
        )


if __name__ == "__main__":
    main()
