"""How fast this machine trains: measured once, in two or three seconds, and kept in the user's cache. No torch."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from googlenet._version import __version__
from googlenet.errors import GoogLeNetError
from googlenet.files import user_cache, write_whole
from googlenet.models import zoo
from googlenet.models.analysis import analyse
from googlenet.models.spec import Network
from googlenet.parallel import cores
from googlenet.strict_json import parse_json

NETWORK = "googlenet_bn"  # which was measured; the time of others is in proportion to their multiply-accumulates
SMALL, LARGE = 64, 224  # pixels a side at which it was measured
FILE = "speed.json"
MAX_BYTES = 2**16
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Speed:
    """Seconds that a training image takes at 64 and at 224 pixels, forward and backward, in the faster precision."""

    small: float
    large: float

    def __post_init__(self) -> None:
        """Raise :class:`ValueError` unless both are seconds."""
        if not all(isinstance(each, float) and 0 < each < 1000 for each in (self.small, self.large)):
            raise ValueError(f"seconds per image, got {self}")

    def seconds(self, network: Network, size: int) -> float:
        """Return the seconds that an image of ``size`` pixels takes in training ``network``, about."""
        at, measured = (SMALL, self.small) if size < (SMALL + LARGE) / 2 else (LARGE, self.large)
        return measured * _macs(network, size) / _macs(zoo.find(NETWORK), at)

    def to_json(self) -> dict[str, float]:
        """Return what ``run.json`` and the cache record."""
        return asdict(self)


@cache
def _macs(network: Network, size: int) -> int:
    return analyse(network, size).macs


def cached() -> Speed | None:
    """Return the speed measured before with this processor, these threads and versions; ``None`` if there is none."""
    path = _path()
    try:
        if path is None or path.stat().st_size > MAX_BYTES:
            return None
        return Speed(**parse_json(path.read_text("utf-8"))[_key()])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def remember(speed: Speed) -> None:
    """Write a speed into the cache, if that is possible."""
    path = _path()
    if path is None:
        return
    with suppress(OSError, GoogLeNetError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps({_key(): speed.to_json()}, indent=2).encode())


def _path() -> Path | None:
    folder = user_cache()
    return None if folder is None else folder / FILE


def _key() -> str:
    """Return a hash of all that decides the speed: another processor, or other threads, are measured anew."""
    threads = [os.environ.get(name, "") for name in _THREADS]
    parts = [_processor(), cores(), *threads, importlib.metadata.version("torch"), __version__]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _processor() -> str:
    """Return name and features of the processor, as far as the system says."""
    with suppress(OSError):
        if sys.platform == "linux":
            lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").split("\n\n")[0].splitlines()
            wanted = ("model name", "flags", "CPU part", "Features")
            return "\n".join(line for line in lines if line.startswith(wanted))
    return f"{platform.machine()} {platform.processor()}"
