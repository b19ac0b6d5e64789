"""The kernels of ``kernels.c``: compiled once, in a second, by a C compiler if there is one."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from googlenet.files import replace_file, user_cache

SOURCE = Path(__file__).with_name("kernels.c")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
MAX_COMPILE_SECONDS = 60.0

_P, _INT, _LONG, _FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float
_ARGUMENTS = {
    "max_pool": [_P] * 3 + [_INT] * 9,
    "max_pool_backward": [_P] * 3 + [_INT] * 9,
    "norm_relu": [_P, _LONG] + [_P] * 7 + [_LONG, _INT, _FLOAT, _FLOAT],
    "norm_relu_backward": [_P, _LONG, _P, _LONG] + [_P] * 7 + [_LONG, _INT],
}


@cache
def load_kernels() -> ctypes.CDLL | None:
    """Return the kernels, compiled now or before; ``None`` where there is no compiler, or no place of one's own for it.

    They are kept in the user's cache under a name that tells the source, the compiler and the processor.
    """
    compiler, folder = shutil.which("cc"), _own_folder()
    if sys.platform != "linux" or compiler is None or folder is None:
        return None
    try:
        path = folder / f"{_key(compiler)}.so"
        if not path.exists():
            replace_file(path, lambda fresh: _compile(compiler, fresh))
        library = ctypes.CDLL(str(path))
        for name, arguments in _ARGUMENTS.items():
            getattr(library, name).argtypes = arguments
    except (OSError, subprocess.SubprocessError, AttributeError):
        return None
    return library


def _own_folder() -> Path | None:
    """Return a folder that nobody else can write to: what is in it will be executed."""
    cached = user_cache()
    if cached is None:
        return None
    folder = cached / "kernels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    return folder if hasattr(os, "geteuid") and status.st_uid == os.geteuid() and not status.st_mode & 0o022 else None


def _key(compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=MAX_COMPILE_SECONDS)
    lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    processor = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    digest = hashlib.sha256(SOURCE.read_bytes() + version.stdout + f"{FLAGS}{processor}".encode())
    return digest.hexdigest()[:32]


def _compile(compiler: str, path: Path) -> None:
    command = [compiler, *FLAGS, "-o", str(path), str(SOURCE), "-lm"]
    subprocess.run(command, capture_output=True, check=True, timeout=MAX_COMPILE_SECONDS)
