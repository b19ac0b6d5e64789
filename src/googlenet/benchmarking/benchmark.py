"""``benchmark``: how fast one classifier or network is on this machine. PyTorch is needed for networks only."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from googlenet import bundle as bundles
from googlenet.benchmarking.measure import BATCH_SIZES, SECONDS, Benchmark, check, measure
from googlenet.bundle import Bundle
from googlenet.errors import BundleError, DeviceError, NetworkError, RecipeError
from googlenet.extras import require
from googlenet.inference import engine
from googlenet.models.analysis import analyse
from googlenet.models.spec import Network
from googlenet.models.zoo import NETWORKS
from googlenet.stages import stage
from googlenet.text import nearest

Report = Callable[[int, int], None]


def benchmark(
    run: str | Path | Network,
    *,
    image_size: int | None = None,
    precisions: Sequence[str] | None = None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    seconds: float = SECONDS,
    progress: Report | None = None,
) -> Benchmark:
    """Measure latency, throughput, compile time, memory, and the share of this processor's measured peak.

    Each precision is measured in its own process, so that memory figures do not mix.

    Args:
        run: a run of ``train`` or a bundle; or a network with fresh weights, given by its name or as a ``Network``,
            which needs the train extra.
        image_size: side of the images in pixels, for a network only: a bundle has its own.
        precisions: ``"fp32"``, ``"bf16"``, ``"int8"``; by default all that the bundle and this processor support.
        batch_sizes: images per batch where throughput is measured, 1 or more each.
        seconds: minimum duration of each measurement.
        progress: called with the number of measurements done and their total.

    Raises:
        NetworkError, RecipeError: ``run`` is none of these, or another argument is out of range.
        BundleError: the bundle is damaged, or of a newer version.
        DeviceError: the bundle or this processor lacks a precision, or a measurement failed.
        MissingExtraError: a network needs the train extra.

    ::

        for row in googlenet.benchmark("runs/flowers").precisions:
            print(row.precision, row.latency_ms.p50, row.best.images_per_second, row.best.share)
    """
    check(batch_sizes, seconds)
    with _bundle_of(run, image_size, precisions or ()) as bundle:
        return measure(bundle, precisions, batch_sizes, seconds, progress)


@contextmanager
def _bundle_of(run: str | Path | Network, size: int | None, precisions: Sequence[str]) -> Iterator[Bundle]:
    network = run if isinstance(run, Network) else NETWORKS.get(str(run))
    bundle = None if isinstance(run, Network) else _there(run, network)
    if bundle is not None:
        if size is not None:
            raise RecipeError(
                f"{run} takes images of {bundle.card.preprocessing.size} pixels: image_size is for networks"
            )
        yield bundle
        return
    assert network is not None
    size = analyse(network, size).size  # large enough
    lacking = [precision for precision in precisions if precision not in engine.precisions()]
    if lacking:
        raise DeviceError(
            f"{lacking[0]} cannot be measured: fresh weights have {', '.join(engine.precisions())} on this processor"
        )
    write = _writer()
    with tempfile.TemporaryDirectory() as folder:
        yield write(Path(folder, "bundle"), network, size)


def _there(run: str | Path, network: Network | None) -> Bundle | None:
    """Read the bundle at ``run``. ``None`` where there is none but a network of that name."""
    try:
        return bundles.read(run)
    except BundleError:
        if network is not None:
            return None
        if Path(run).exists():
            raise
    raise NetworkError(f"{run} is neither a run, nor a bundle, nor a network: {nearest(str(run), NETWORKS)}")


def _writer() -> Callable[[Path, Network, int], Bundle]:
    require("train", "torch", "onnx", "safetensors")
    with stage("loading PyTorch"):
        from googlenet.exporting.bundles import write_untrained
    return write_untrained
