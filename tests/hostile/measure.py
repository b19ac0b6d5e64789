"""What reading an image costs: a child of its own for each, made by fork, so that nothing is imported twice.

``python measure.py bombs FOLDER WAY…`` prints, for each file and way, a line of JSON: processor time, how far the
peak of the memory rose, what came of it. ``python measure.py mutations COUNT SEED`` reads images with changed bytes.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from googlenet.diagnosis.facts import Entry, look
from googlenet.errors import ImageError
from googlenet.images.decode import decode
from googlenet.images.resize import load_image, read
from googlenet.preprocessing import Preprocessing

SECONDS, MEGABYTES = 5, 1024  # the budget of one image
RULE = Preprocessing(224)
FIVE = Preprocessing(224, mean=(0.5,) * 5, std=(0.5,) * 5)
FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"progressive": True}, "PNG": {}, "WEBP": {}, "TIFF": {"compression": "tiff_lzw"}, "GIF": {}, "BMP": {},
    "AVIF": {}, "TIFF ": {}, "WEBP ": {"lossless": True}, "JPEG ": {},
}  # fmt: skip


def _rule(path: Path) -> Preprocessing:
    return FIVE if "five" in path.name or path.suffix == ".npy" else RULE


WAYS: dict[str, Callable[[Path], object]] = {
    "predict": lambda path: load_image(path, _rule(path)),
    "train": lambda path: read(path, _rule(path), 256),
    "evaluate": lambda path: read(path, _rule(path)).shape,
    "doctor": lambda path: look(Entry(path.name, path, "", ("a",))),
}


def peak() -> float:
    """Megabytes of memory that were in use at most since the mark was last set back."""
    return (
        int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line).split()[1])
        / 1e3
    )


def measured(work: Callable[[], object]) -> dict[str, Any]:
    """Do the work in a child, which is ended where it takes four times the time that it may."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (4 * SECONDS, 4 * SECONDS))
        Path("/proc/self/clear_refs").write_text("5")  # sets the mark of the peak back
        before, begun = peak(), time.process_time()
        try:
            work()
            outcome = "read"
        except ImageError as error:
            outcome = str(error)
        except BaseException as error:  # noqa: BLE001 - nothing else may come of an image
            outcome = f"!{type(error).__name__}: {error}"
        found = {"seconds": time.process_time() - begun, "megabytes": peak() - before, "outcome": outcome}
        os.write(into, json.dumps(found).encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said) if said else {"seconds": 4.0 * SECONDS, "megabytes": 0, "outcome": "!it was ended"}


def bombs(folder: str, *ways: str) -> None:
    for path in sorted(Path(folder).iterdir()):
        for way in ways:
            found = measured(lambda path=path, way=way: WAYS[way](path))
            print(json.dumps({"file": path.name, "way": way, **found}), flush=True)  # noqa: T201


def mutations(count: str, seed: str) -> None:
    """Change some bytes, cut, or repeat a part; what is read must be pixels or an error of ours, within the budget."""
    random = np.random.default_rng(int(seed))
    pixels = random.integers(0, 256, (40, 56, 4), np.uint8)
    originals = []
    for kind, options in FORMATS.items():
        stream = io.BytesIO()
        opaque = kind.strip() in ("JPEG", "BMP", "GIF")
        Image.fromarray(pixels[:, :, :3] if opaque else pixels).save(stream, kind.strip(), **options)
        originals.append(stream.getvalue())
    slowest, wrong = 0.0, []
    before = peak()
    for turn in range(int(count)):
        data = mutated(originals[turn % len(originals)], random)
        begun = time.process_time()
        try:
            decode(data, 4 if turn % 7 == 0 else 3)
        except ImageError as error:
            if not str(error).isprintable():
                wrong.append(f"{turn}: {error!r}")
        except Exception as error:  # noqa: BLE001 - nothing else may come of an image
            wrong.append(f"{turn}: {type(error).__name__}: {error}")
        slowest = max(slowest, time.process_time() - begun)
    print(json.dumps({"slowest": slowest, "megabytes": peak() - before, "wrong": wrong}))  # noqa: T201


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(data)
    reach = len(data) if random.random() < 0.5 else min(len(data), 100)  # half of them hit the header
    for at in random.integers(0, reach, random.integers(1, 9)):
        changed[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.integers(256)])
    if random.random() < 0.2:
        first, last = sorted(random.integers(0, len(data), 2))
        changed[last:last] = changed[first:last] * int(random.integers(1, 50))
    if random.random() < 0.2:
        del changed[int(random.integers(0, len(data))) :]
    return bytes(changed)


if __name__ == "__main__":
    {"bombs": bombs, "mutations": mutations}[sys.argv[1]](*sys.argv[2:])
