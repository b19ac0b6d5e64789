"""The formats that graphs are exported in: one table. Adding one is one entry, with the function that writes it.

Each is replayed from its files afterwards, by every engine named in its entry that is installed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from googlenet.errors import DeviceError
from googlenet.text import nearest

if TYPE_CHECKING:
    from googlenet.bundle import Bundle
    from googlenet.card import ModelCard
    from googlenet.images.decode import Pixels
    from googlenet.inference.engine import Floats


@dataclass(frozen=True)
class Format:
    """``write(bundle, graph)`` returns the files by name, the one to open first.

    ``int8`` says whether a graph in 8 bits can be written in this format, ``engines`` which engines read it.
    """

    title: str
    write: Callable[[Bundle, str], dict[str, bytes]]
    engines: tuple[str, ...]
    int8: bool = False


def find_format(name: str) -> Format:
    """Return a format by its name. Raises :class:`DeviceError` where there is none of that name."""
    if not isinstance(name, str) or name not in FORMATS:
        raise DeviceError(f"no format is called {name!r:.80}: {nearest(str(name), FORMATS)}")
    return FORMATS[name]


def check_format(name: str, int8: bool) -> None:
    """Raise :class:`DeviceError` where there is no such format, or it cannot hold a graph in 8 bits."""
    if int8 and not find_format(name).int8:
        able = " or ".join(each for each, format_ in FORMATS.items() if format_.int8)
        raise DeviceError(f"the graph in 8 bits cannot be written as {name}: give --to {able}, or leave --int8 out")
    find_format(name)


def replay_engines(format_: Format) -> dict[str, Callable[[Path, Pixels], Floats]]:
    """Return the engines that read a format and are installed here: (file, images) → probabilities (N, K)."""
    return {name: _ENGINES[name][1] for name in format_.engines if find_spec(_ENGINES[name][0]) is not None}


def _onnx(bundle: Bundle, graph: str) -> dict[str, bytes]:
    from googlenet.inference.graphs import read_graph

    read_graph(bundle, graph)  # checks it against its card
    return {graph: bundle.read(graph)}


def _openvino(bundle: Bundle, graph: str) -> dict[str, bytes]:
    from googlenet.inference.graphs import read_graph

    model = read_graph(bundle, graph)
    _describe(model, bundle.card)
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, graph).with_suffix(".xml")
        openvino.save_model(model, path, compress_to_fp16=False)
        return {each.name: each.read_bytes() for each in (path, path.with_suffix(".bin"))}


def _describe(model: Any, card: ModelCard) -> None:
    """Put the class names where programs that use OpenVINO look for them."""
    for key, value in {"model_type": "Classification", "labels": " ".join(map(_one_word, card.class_names))}.items():
        model.set_rt_info(value, ["model_info", key])


def _one_word(name: str) -> str:
    return "_".join(name.split()) or "_"


def _by_openvino(file: Path, images: Pixels) -> Floats:
    from googlenet.inference.runtime import runtime

    weights = b"" if file.suffix == ".onnx" else file.with_suffix(".bin").read_bytes()
    model = runtime().read_model(file.read_bytes(), weights)  # by content: file names must be UTF-8
    compiled = runtime().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    probabilities: Floats = compiled([images])["probabilities"].astype("float32")
    return probabilities


def _by_onnxruntime(file: Path, images: Pixels) -> Floats:
    import onnxruntime

    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    probabilities: Floats = session.run(["probabilities"], {"images": images})[0].astype("float32")
    return probabilities


# Engine → the package it needs, and what runs a file in it.
_ENGINES: dict[str, tuple[str, Callable[[Path, Pixels], Floats]]] = {
    "OpenVINO": ("openvino", _by_openvino),
    "ONNX Runtime": ("onnxruntime", _by_onnxruntime),
}

FORMATS = {
    "onnx": Format("model.onnx", _onnx, ("OpenVINO", "ONNX Runtime")),
    "openvino": Format("model.xml and model.bin", _openvino, ("OpenVINO",), int8=True),
}
