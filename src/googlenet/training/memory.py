"""How much memory is free, and what the process does with memory that a training step has freed."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
NEVER = 2**31 - 1


def disable_malloc_trim() -> bool:
    """Make the C library keep freed memory for the next step. Returns whether it can.

    By default glibc returns large freed blocks to the system, which must zero their pages again in the next step: 2 GB
    in a step of 32 images at 224 px. Memory use stays at its peak instead.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))


def free_bytes(device: torch.device) -> int | None:
    """Return how many bytes of memory a training may still take on a device; ``None`` where that is not known.

    On a CPU the limits of the container and of the process (``ulimit -v``) count, too.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(_free_on_linux(), default=None) if sys.platform == "linux" and device.type == "cpu" else None


def _free_on_linux() -> Iterator[int]:
    import resource

    meminfo = dict(line.split(":") for line in _lines("/proc/meminfo"))
    if "MemAvailable" in meminfo:
        yield 1024 * int(meminfo["MemAvailable"].split()[0])
    groups = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    for limit, used in groups:  # of versions 2 and 1
        numbers = [_lines(f"/sys/fs/cgroup/{name}") for name in (limit, used)]
        if all(each and each[0].isdecimal() for each in numbers):
            yield int(numbers[0][0]) - int(numbers[1][0])
    limit_of_process, pages = resource.getrlimit(resource.RLIMIT_AS)[0], _lines("/proc/self/statm")
    if limit_of_process != resource.RLIM_INFINITY and pages:
        yield limit_of_process - int(pages[0].split()[0]) * resource.getpagesize()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except (OSError, ValueError):
        return []
