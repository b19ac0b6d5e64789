"""Where the time goes: in a training step, in the engine, in reading an image.

    python benchmarks/where_time_goes.py IMAGES

The step is that of ``training_speed.py`` at 224 px, measured by torch's profiler; the engine that of
``bulk_inference.py`` in fp32 and bf16 on one core, measured by OpenVINO's counters. Reading is timed part by part on
the photographs in IMAGES.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bulk_inference import SIZE, make_bundle
from PIL import Image
from training_speed import ours

from googlenet import bundle as bundles
from googlenet.bundle import MODEL
from googlenet.images.decode import open_image
from googlenet.images.resize import load_image, resize_and_crop
from googlenet.inference.graphs import read_graph
from googlenet.inference.runtime import runtime
from googlenet.preprocessing import Preprocessing

BATCH, ENGINE_BATCH, REPEATS = 32, 8, 5
SHOWN = 6
ENGINE = {"fp32": "f32", "bf16": "bf16"}


def training_step() -> Counter[str]:
    """Return the seconds of each torch operator, without the operators it calls."""
    step, _ = ours(SIZE, BATCH)
    for _ in range(REPEATS):
        step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(REPEATS):
            step()
    return Counter({each.key: each.self_cpu_time_total / 1e6 for each in profile.key_averages()})


def engine(graph: Any, precision: str) -> Counter[str]:
    """Return the seconds of each OpenVINO node type."""
    config = {"INFERENCE_PRECISION_HINT": ENGINE[precision], "PERF_COUNT": True, "INFERENCE_NUM_THREADS": 1}
    for result in [each for each in graph.get_results() if "probabilities" not in each.get_output_tensor(0).names]:
        graph.remove_result(result)
    request = runtime().compile_model(graph, "CPU", config).create_infer_request()
    for _ in range(REPEATS):
        request.infer([np.zeros((ENGINE_BATCH, SIZE, SIZE, 3), np.uint8)])
    spent: Counter[str] = Counter()
    for node in request.profiling_info:
        spent[node.node_type] += node.real_time.total_seconds()
    return spent


def milliseconds(call: Callable[[Any], object], arguments: Iterable[Any]) -> float:
    """Return the best mean of a few tries."""
    taken, arguments = [], list(arguments)
    for _ in range(REPEATS):
        begun = time.perf_counter()
        for each in arguments:
            call(each)
        taken.append(1000 * (time.perf_counter() - begun) / len(arguments))
    return min(taken)


def reading(photos: list[str]) -> dict[str, float]:
    """Milliseconds of an image: all of it, decoding, resizing and cropping."""
    preprocessing = Preprocessing(SIZE, 0.875)
    decoded: list[Image.Image] = [open_image(photo, at_least=preprocessing.resized_side) for photo in photos]
    return {
        "all": milliseconds(lambda photo: load_image(photo, preprocessing), photos),
        "decoding": milliseconds(lambda photo: open_image(photo, at_least=preprocessing.resized_side), photos),
        "resizing": milliseconds(lambda image: resize_and_crop(image, preprocessing), decoded),
    }


def show(what: str, spent: Counter[str]) -> None:
    """Print the largest shares."""
    shares = (f"{name} {seconds / spent.total():.0%}" for name, seconds in spent.most_common(SHOWN))
    print(f"{what}: {', '.join(shares)}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="IMAGES")
    photos = sorted(str(path) for path in parser.parse_args().folder.iterdir())
    show("training step", training_step())
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundles.read(make_bundle(Path(folder, "bundle"), photos[:8]))
        for precision in ENGINE:
            show(f"engine, {precision}", engine(read_graph(bundle, MODEL), precision))
    print("reading, ms an image: " + ", ".join(f"{name} {taken:.2f}" for name, taken in reading(photos).items()))


if __name__ == "__main__":
    main()
