"""Renew ONNX Runtime Web, which pages of `googlenet export --to web` run in, from its npm package.

    npm pack onnxruntime-web@1.30.0
    python tools/browser_runtime.py onnxruntime-web-1.30.0.tgz

It packs the two files into src/googlenet/exporting/browser/runtime, and prints the version and hashes to write into
src/googlenet/exporting/runtime.py. Look at what the licence says today before committing them.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import sys
import tarfile
from pathlib import Path

ROOM = Path(__file__).parents[1] / "src/googlenet/exporting/browser/runtime"
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")


def main(package: str) -> None:
    """Unpack, pack again, and say what was found."""
    with tarfile.open(package) as tar:
        contents = {name: tar.extractfile(f"package/dist/{name}").read() for name in FILES}  # type: ignore[union-attr]
        about = json.loads(tar.extractfile("package/package.json").read())  # type: ignore[union-attr]
    print(f"VERSION = {about['version']!r}  # {about['name']}, {about['license']}")
    for name, content in contents.items():
        packed = lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)
        (ROOM / f"{name}.xz").write_bytes(packed)
        print(
            f'    "{name}": "{hashlib.sha256(content).hexdigest()}",  # {len(content):,} bytes, {len(packed):,} packed'
        )


if __name__ == "__main__":
    main(sys.argv[1])
