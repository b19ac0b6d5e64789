"""The OpenVINO runtime of this process, and the cache of what it compiled. No torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from googlenet.files import user_cache

MAX_CACHE_BYTES = 2**30  # of compiled graphs
_CONVERTER = "openvino.tools.ovc"  # not used here, and a third of the time that importing openvino takes


@cache
def runtime() -> Any:
    """Return the one OpenVINO runtime of this process. It is never torn down.

    Otherwise the last engine to be deleted would unload OpenVINO's plug-in, and the next signal that Python handles, a
    Ctrl-C or the end of a child process, would crash the interpreter (seen with OpenVINO 2026.4).
    """
    # Importing openvino reports the import to its makers, unless its telemetry package is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    with _without(_CONVERTER):
        import openvino

    return openvino.Core()


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Hide a module, unless it is loaded already, while others are imported that work without it."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


@cache
def compiled_cache() -> Path | None:
    """Return the folder of compiled graphs, or ``None`` if it cannot be written.

    Each graph has a folder in it. OpenVINO names its files by a hash of the graph, its own version and the processor.
    """
    cache = user_cache()
    if cache is None:
        return None
    folder = cache / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tidy(folder)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def tidy(folder: Path) -> None:
    """Delete the oldest files where there are more than ``MAX_CACHE_BYTES``."""
    left = MAX_CACHE_BYTES
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
        left -= path.stat().st_size
        if left < 0:
            path.unlink(missing_ok=True)
            if path.parent != folder:
                with suppress(OSError):  # not empty
                    path.parent.rmdir()
