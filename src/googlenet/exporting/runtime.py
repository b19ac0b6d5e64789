"""ONNX Runtime Web, which web pages run a graph in: two files of its npm package, unchanged, and its licence.

``tools/browser_runtime.py`` renews them. They come with this package, so that an export needs no network.
"""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

from googlenet.errors import MachineError

VERSION = "1.30.0"
SCRIPT, PROGRAM, LICENCE = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", "LICENSE"
HASHES = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    PROGRAM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
HERE = Path(__file__).parent / "browser" / "runtime"


def runtime_files() -> dict[str, bytes]:
    """Return the files by name. Raises :class:`MachineError` if one is not as its publisher released it."""
    files = {name: _unpacked(HERE / f"{name}.xz", digest) for name, digest in HASHES.items()}
    return {**files, LICENCE: (HERE / LICENCE).read_bytes()}


def _unpacked(path: Path, digest: str) -> bytes:
    try:
        content = lzma.decompress(path.read_bytes())
    except (OSError, lzma.LZMAError):
        content = b""
    if hashlib.sha256(content).hexdigest() != digest:
        raise MachineError(f"{path} is missing or was altered: install googlenet again")
    return content
