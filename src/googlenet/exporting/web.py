"""``export --to web``: a bundle as a web page that classifies images in the browser, without a server. No torch.

The page is that of ``serve`` (``googlenet.page``); its answers are computed by the files of ``browser/``, which decode
and resize images as this package does, and by ONNX Runtime Web. It is a folder of files, or one HTML file.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from googlenet import page
from googlenet.bundle import MODEL, Bundle, run_name
from googlenet.card import FAILS
from googlenet.errors import BundleError, GoogLeNetError
from googlenet.exporting.integers import weights_as_integers
from googlenet.exporting.runtime import PROGRAM, SCRIPT, VERSION, runtime_files
from googlenet.images.pixels import COLOURS, GREY, as_shown
from googlenet.inference import conformal
from googlenet.inference.certainty import Certainty, read_certainty
from googlenet.inference.golden import golden_answers
from googlenet.inference.graphs import read_graph
from googlenet.inference.unknown import FALSE_ALARMS
from googlenet.text import json_text, printable

HERE = Path(__file__).parent / "browser"
INDEX, GRAPH, FACTS, CERTAINTY, WORKER, OFFLINE = (
    "index.html", "model.onnx", "classifier.json", "certainty.bin", "worker.js", "offline.js",
)  # fmt: skip
OF_WORKER = ("exif.js", "jpeg.js", "resize.js", "colour.js", "pixels.js", "certainty.js", "worker.js")
OF_PAGE = (*page.SCRIPTS, "here.js")
PARTS = (WORKER, f"runtime/{SCRIPT}", f"runtime/{PROGRAM}", GRAPH)  # what answers, in the order that here.js expects
MAX_SINGLE_BYTES = 64_000_000  # of a page in one file: browsers read more, but it is awkward to send
LEVEL = 0.9  # of the sets of classes, where there are enough held-out images for it
FOLDER_POLICY = (
    "default-src 'none'; script-src 'self' blob: 'wasm-unsafe-eval'; worker-src 'self' blob:; connect-src 'self'; "
    "style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
)
SINGLE_POLICY = (
    "default-src 'none'; script-src {scripts} blob: 'wasm-unsafe-eval'; worker-src blob:; style-src {style}; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)


def write_page(bundle: Bundle, *, single_file: bool, examples: Sequence[str]) -> dict[str, bytes]:
    """Return the files of the page by name, ``index.html`` first; it is the only one of a ``single_file``.

    ``examples`` are names for the images that the bundle keeps, to try the page with: as many as there are of both.

    Raises :class:`BundleError` for images of other channels than grey and RGB, :class:`GoogLeNetError` where a single
    file would be too large.
    """
    preprocessing = bundle.card.preprocessing
    if preprocessing.channels not in (GREY, COLOURS):
        raise BundleError(
            f"{printable(bundle.card.name)} takes {preprocessing.kind} images, a web page reads grey and RGB: export "
            "it --to onnx"
        )
    read_graph(bundle, MODEL)  # checks it against its card
    files = {GRAPH: weights_as_integers(bundle.read(MODEL)), WORKER: _joined(OF_WORKER).encode()}
    files |= {f"runtime/{name}": content for name, content in runtime_files().items()}
    files |= _facts(bundle, examples, sum(len(files[name]) for name in PARTS))
    return _single(files) if single_file else _folder(files)


def graph_of(files: Mapping[str, Path]) -> bytes:
    """Return the graph in a page that was written."""
    if GRAPH in files:
        return files[GRAPH].read_bytes()
    packed = re.search(f'id="file:{GRAPH}">([^<]*)<', files[INDEX].read_text("utf-8"))
    return gzip.decompress(base64.b64decode(packed[1])) if packed else b""


def _joined(names: tuple[str, ...]) -> str:
    return "\n".join(map(script_text, names))


def _facts(bundle: Bundle, examples: Sequence[str], size: int) -> dict[str, bytes]:
    """Return what the page knows of the classifier, its certainty and its examples, as files.

    ``size`` is that of the other files that answer, in bytes.
    """
    card, certainty = bundle.card, read_certainty(bundle)
    images, _, maps = golden_answers(bundle)
    shown = {name: _png(image) for name, image in zip(examples, images, strict=False)}
    unknown, arrays = _unknown(certainty)
    facts = {
        **_about(bundle), "parts": [*PARTS, *([CERTAINTY] if arrays else [])], "bytes": size + len(arrays),
        "preprocessing": {
            "size": card.preprocessing.size, "crop_fraction": card.preprocessing.crop_fraction,
            "resize": card.preprocessing.resize, "channels": card.preprocessing.channels,
            "color_profiles": card.preprocessing.color_profiles,
        },
        "thresholds": card.thresholds, "sets": _sets(certainty), "unknown": unknown, "examples": list(shown),
        "heatmap": maps is not None and maps.shape[2:] != (1, 1) and card.explanations.get("cam") != FAILS,
    }  # fmt: skip
    files = {FACTS: json_text(facts).encode()}
    if arrays:
        files[CERTAINTY] = arrays
    return files | shown


def _about(bundle: Bundle) -> dict[str, Any]:
    card = bundle.card
    return {
        "name": run_name(bundle.path) or card.name, "network": card.name,
        "classes": card.class_names, "image_size": card.preprocessing.size,
        "precision": f"fp32, ONNX Runtime Web {VERSION}", "sha256": card.files[MODEL],
        "metrics": {name: value for name, value in card.metrics.items() if name == "top1"},
        "intervals": {name: ends for name, ends in card.intervals.items() if name == "top1"},
        "data": {name: card.data[name] for name in ("train", "val") if name in card.data},
    }  # fmt: skip


def _sets(certainty: Certainty | None) -> dict[str, float] | None:
    if certainty is None or conformal.LAC not in certainty.conformal:
        return None
    scores = certainty.conformal[conformal.LAC]
    level = min(LEVEL, conformal.highest_level(len(scores)))
    return {"level": level, "limit": float(np.float32(conformal.limit(scores, level)))}


def _unknown(certainty: Certainty | None) -> tuple[dict[str, Any] | None, bytes]:
    """Return where the arrays of the detector are, and the arrays one after another, float32."""
    if certainty is None or certainty.detector is None:
        return None, b""
    table, content = list[dict[str, Any]](), bytearray()
    for name, array in certainty.detector.arrays().items():
        table.append({"name": name, "at": len(content), "length": array.size})
        content += array.astype("<f4").tobytes()
    return {"false_alarms": FALSE_ALARMS, "arrays": table}, bytes(content)


def _png(image: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(as_shown(image)).save(content, "PNG", optimize=True)
    return content.getvalue()


def _folder(files: Mapping[str, bytes]) -> dict[str, bytes]:
    scripts = {name: script_text(name) for name in OF_PAGE}
    head = "\n".join([
        f'<meta http-equiv="Content-Security-Policy" content="{FOLDER_POLICY}">',
        '<link rel="icon" href="icon.svg">', '<link rel="stylesheet" href="page.css">',
        *(f'<script src="{name}" defer></script>' for name in scripts),
    ])  # fmt: skip
    texts = {INDEX: page.markup(head), "page.css": page.read("page.css"), "icon.svg": page.read("icon.svg"), **scripts}
    whole = {name: text.encode() for name, text in texts.items()} | dict(files)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in whole.items()}
    version = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:16]
    offline = (HERE / OFFLINE).read_text("utf-8").replace("FILES = {}", f"FILES = {json.dumps(hashes, indent=1)}")
    return whole | {OFFLINE: offline.replace('VERSION = ""', f'VERSION = "{version}"').encode()}


def _single(files: Mapping[str, bytes]) -> dict[str, bytes]:
    packed = {name: base64.b64encode(gzip.compress(content, mtime=0)).decode() for name, content in files.items()}
    total = sum(map(len, packed.values()))
    if total > MAX_SINGLE_BYTES:
        raise GoogLeNetError(
            f"a page in a single file would have {total / 1e6:.0f} MB, {MAX_SINGLE_BYTES / 1e6:.0f} MB are allowed: "
            "leave --single-file out"
        )
    scripts, style = [script_text(name) for name in OF_PAGE], page.read("page.css")
    policy = SINGLE_POLICY.format(scripts=" ".join(map(_source, scripts)), style=_source(style))
    icon = base64.b64encode(page.read("icon.svg").encode()).decode()
    head = "\n".join([
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        f'<link rel="icon" href="data:image/svg+xml;base64,{icon}">', f"<style>{style}</style>",
    ])  # fmt: skip
    data = [f'<script type="text/plain" id="file:{name}">{content}</script>' for name, content in packed.items()]
    body = "\n".join([*data, *(f"<script>{script}</script>" for script in scripts), "</body>"])
    return {INDEX: page.markup(head).replace("</body>", body).encode()}


def script_text(name: str) -> str:
    """Return a script of the page or of its worker."""
    return page.read(name) if name in page.SCRIPTS else (HERE / name).read_text("utf-8")


def _source(text: str) -> str:
    """Name an inline script or style by its hash, for the page's policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
