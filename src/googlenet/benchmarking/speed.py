"""Latency and throughput of an engine on this machine. No torch."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from googlenet.images.decode import Pixels
from googlenet.inference.engine import Engine

MIN_CALLS, SECONDS = 5, 0.5  # of each measurement, at least


@dataclass(frozen=True)
class Latency:
    """Milliseconds from one preprocessed image to its answer: the 50th, 95th and 99th percentile."""

    p50: float
    p95: float
    p99: float


def latency(engine: Engine, seconds: float | None = None) -> Latency:
    """Measure one image at a time, with all cores at work on it."""
    image = _noise(engine, 1)
    engine.probabilities(image)  # compiles
    taken: list[float] = []
    while len(taken) < MIN_CALLS or sum(taken) < (seconds or SECONDS):
        begun = time.perf_counter()
        engine.probabilities(image)
        taken.append(time.perf_counter() - begun)
    return Latency(*(1000 * float(each) for each in np.percentile(taken, (50, 95, 99))))


def throughput(engine: Engine, batch_size: int, streams: int = 1, seconds: float | None = None) -> float:
    """Measure images per second in batches from ``streams`` threads; bulk work has one per core."""
    images = _noise(engine, batch_size)

    def ask(until: float) -> int:
        calls = 0
        while calls < MIN_CALLS or time.perf_counter() < until:
            engine.probabilities(images, streams)
            calls += 1
        return calls

    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(ask, [0.0] * streams))  # compiles
        begun = time.perf_counter()
        calls = sum(pool.map(ask, [begun + (seconds or SECONDS)] * streams))
        return calls * batch_size / (time.perf_counter() - begun)


def _noise(engine: Engine, count: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, *engine.image), dtype=np.uint8)
