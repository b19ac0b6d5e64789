"""The speed and memory of a bundle in every precision, each measured in its own process. No torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np

from googlenet import bundle as bundles
from googlenet.benchmarking.peak import Peak, peak
from googlenet.benchmarking.speed import Latency, latency, throughput
from googlenet.bundle import INT8, INT8_WEIGHTS, MODEL, Bundle
from googlenet.errors import DeviceError, RecipeError
from googlenet.inference.engine import Engine, precisions_for, processor
from googlenet.models.analysis import analyse
from googlenet.parallel import cores

BATCH_SIZES = (1, 8, 32)
SECONDS = 1.0  # minimum duration of each measurement, by default
MAX_SECONDS = 3600.0
STEPS = 3  # measurements besides one per batch size

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Throughput:
    """Throughput in bulk work, with one batch per core.

    ``gops`` is 10⁹ operations per second, two per multiply-accumulate; ``share`` is their fraction of the peak.
    ``busy`` is the fraction of core time spent on it: where it is far below 1, other programs used the CPU, or the
    network is so small that passing images around dominates.
    """

    batch_size: int
    images_per_second: float
    gops: float
    share: float
    busy: float


@dataclass(frozen=True)
class Measured:
    """The figures of one precision. ``latency_ms`` is of one image that all cores work on.

    ``compile_ms`` is the time from the bundle's files to the first answer, without a cache. ``memory_bytes`` is what
    the engine adds to the peak memory of its process with one image at a time, ``bulk_memory_bytes`` in bulk work with
    the largest batches; ``None`` if the system does not report it. ``file_bytes`` is the size of the graph, ``score``
    the accuracy on the card, if it was measured.
    """

    precision: str
    latency_ms: Latency
    throughput: tuple[Throughput, ...]
    compile_ms: float
    memory_bytes: int | None
    bulk_memory_bytes: int | None
    file_bytes: int
    score: float | None
    peak: Peak

    @property
    def best(self) -> Throughput:
        """The batch size with the most images per second."""
        return max(self.throughput, key=lambda each: each.images_per_second)


@dataclass(frozen=True)
class Benchmark:
    """A network in every precision on this machine. ``macs`` is per image, its mirror image included where the
    classifier answers with it; ``score_is`` is ``top1`` or ``map``.

    Decoding is not counted. Other programs lower every figure but the peak, which is the best of many short
    measurements.
    """

    network: str
    size: int
    macs: int
    score_is: str
    precisions: tuple[Measured, ...]
    machine: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary for ``json.dumps``."""
        return asdict(self)


def measure(
    bundle: Bundle,
    precisions: Sequence[str] | None = None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    seconds: float = SECONDS,
    progress: Report | None = None,
) -> Benchmark:
    """Measure a bundle. Arguments and errors are those of :func:`googlenet.benchmark`."""
    asked = tuple(dict.fromkeys(precisions or precisions_for(bundle)))
    batch_sizes = tuple(dict.fromkeys(batch_sizes))
    check(batch_sizes, seconds)
    for precision in asked:
        Engine(bundle, precision)  # raises before anything is measured
    card, report = bundle.card, progress or (lambda done, total: None)
    macs = card.views * analyse(bundle.network, card.preprocessing.size).macs
    each, measured = STEPS + len(batch_sizes), []
    for number, precision in enumerate(asked):
        steps: list[dict[str, Any]] = []
        report(number * each, len(asked) * each)
        for step in _in_a_process(bundle, precision, batch_sizes, seconds):
            steps.append(step)
            report(number * each + len(steps), len(asked) * each)
        measured.append(_together(bundle, precision, macs, steps))
    machine = {"processor": processor(), "cores": cores(), "openvino": metadata.version("openvino")}
    score_is = "map" if card.multi_label else "top1"
    return Benchmark(card.name, card.preprocessing.size, macs, score_is, tuple(measured), machine)


def check(batch_sizes: Sequence[int], seconds: float) -> None:
    """Raise :class:`RecipeError` if these are out of range."""
    if not batch_sizes or min(batch_sizes) < 1:
        raise RecipeError(f"batch sizes are 1 or more, got {', '.join(map(str, batch_sizes)) or 'none'}")
    if not 0 < seconds <= MAX_SECONDS:
        raise RecipeError(f"a measurement takes more than 0 and at most {MAX_SECONDS:.0f} seconds, got {seconds}")


def _in_a_process(
    bundle: Bundle, precision: str, batch_sizes: Sequence[int], seconds: float
) -> Iterator[dict[str, Any]]:
    """Yield the results of :func:`_steps`, run in a new process: memory of earlier work is never fully freed."""
    command = [sys.executable, "-m", __name__, str(bundle.path), precision, str(seconds), *map(str, batch_sizes)]
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)  # the same modules are found there
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment) as process,
    ):
        assert process.stdout is not None
        try:
            yield from map(json.loads, process.stdout)
        except BaseException:
            process.kill()
            raise
        if process.wait():
            raise DeviceError(f"{precision} of {bundle.path} could not be measured: {_why(said, process.returncode)}")


def _why(said: IO[str], code: int) -> str:
    said.seek(0)
    lines = said.read().strip().splitlines()
    return lines[-1] if lines and code > 0 else f"its process ended with {code}, perhaps out of memory"


def _together(bundle: Bundle, precision: str, macs: int, steps: list[dict[str, Any]]) -> Measured:
    first, alone, *bulk, most = steps
    highest = Peak(**most["peak"])
    rows = []
    for step in bulk:
        gops = 2 * macs * step["images_per_second"] / 1e9
        share = gops / highest.gops
        rows.append(Throughput(step["batch_size"], step["images_per_second"], gops, share, step["busy"]))
    return Measured(
        precision,
        Latency(**alone["latency_ms"]),
        tuple(rows),
        first["compile_ms"],
        alone["memory_bytes"],
        max((step["memory_bytes"] for step in bulk if step["memory_bytes"] is not None), default=None),
        file_bytes(bundle, precision),
        _score(bundle, precision),
        highest,
    )


def file_bytes(bundle: Bundle, precision: str) -> int:
    """Return the size on disk of the graph that a precision is computed from."""
    files = (INT8, INT8_WEIGHTS) if precision == "int8" else (MODEL,)
    return sum((bundle.path / name).stat().st_size for name in files)


def _score(bundle: Bundle, precision: str) -> float | None:
    card = bundle.card
    trained = card.metrics.get("map" if card.multi_label else "top1") if precision == "fp32" else None
    return card.precisions.get(precision, {}).get("score", trained)


def _steps(bundle: Bundle, precision: str, batch_sizes: Sequence[int], seconds: float) -> Iterator[dict[str, Any]]:
    """Measure one precision step by step, in a process that has done nothing before."""
    processor()  # loads OpenVINO, whose memory is not the engine's
    before = _peak_memory()

    def memory() -> int | None:
        now = _peak_memory()
        return None if now is None or before is None else now - before

    begun = time.perf_counter()
    engine = Engine(bundle, precision)
    engine.probabilities(np.zeros((1, *engine.image), np.uint8))
    yield {"compile_ms": 1000 * (time.perf_counter() - begun)}
    yield {"latency_ms": asdict(latency(engine, seconds)), "memory_bytes": memory()}
    for batch_size in batch_sizes:
        begun, spent = time.perf_counter(), time.process_time()
        speed = throughput(engine, batch_size, cores(), seconds)
        busy = (time.process_time() - spent) / (time.perf_counter() - begun) / cores()
        yield {"batch_size": batch_size, "images_per_second": speed, "busy": busy, "memory_bytes": memory()}
    yield {"peak": asdict(peak(precision, seconds))}


def _peak_memory() -> int | None:
    """Return the peak memory of this process in bytes, or ``None`` if the system does not report it."""
    try:  # not getrusage: on Linux a process inherits that figure from its parent
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _main(path: str, precision: str, seconds: str, *batch_sizes: str) -> None:
    """Print the result of each step as a line of JSON, for the parent process."""
    for step in _steps(bundles.read(path), precision, [int(each) for each in batch_sizes], float(seconds)):
        sys.stdout.write(json.dumps(step) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
