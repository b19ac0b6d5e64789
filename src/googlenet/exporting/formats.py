"""The formats that graphs are exported in: one table. Adding one is one entry, with the function that writes it.

Each is replayed from its files afterwards, by every engine named in its entry that is installed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from googlenet.errors import DeviceError
from googlenet.text import nearest, printable

if TYPE_CHECKING:
    from googlenet.bundle import Bundle
    from googlenet.card import ModelCard
    from googlenet.images.decode import Pixels
    from googlenet.inference.engine import Floats

    Replay = Callable[[bytes, bytes, Pixels], Floats]  # graph, weights, images → probabilities (N, K)

EXAMPLES = tuple(f"examples/{number}.png" for number in range(1, 7))  # of a page, at most
WEB_TOLERANCE = 1e-3  # difference of a probability, of a page whose weights are in 16 bits


@dataclass(frozen=True)
class Request:
    """What to write of a bundle: ``graph`` is ``model.onnx`` or ``int8.xml``; the others are of web pages.

    ``single_file`` makes the page one HTML file, and ``examples`` puts the bundle's own images on it.
    """

    graph: str
    single_file: bool = False
    examples: bool = True


@dataclass(frozen=True)
class Format:
    """``write(bundle, request)`` returns the files by name, the one to open first.

    ``read`` returns graph and weights from the files that were written, for the ``engines`` that replay them; their
    probabilities may differ by ``tolerance``, by default as much as ``verify`` allows. ``int8`` says whether a graph in
    8 bits can be written in this format, ``page`` whether it is a web page, which may have ``images``.
    """

    title: str
    write: Callable[[Bundle, Request], dict[str, bytes]]
    read: Callable[[Mapping[str, Path]], tuple[bytes, bytes]]
    engines: tuple[str, ...]
    int8: bool = False
    page: bool = False
    images: tuple[str, ...] = ()
    tolerance: float | None = None


def find_format(name: str) -> Format:
    """Return a format by its name. Raises :class:`DeviceError` where there is none of that name."""
    if not isinstance(name, str) or name not in FORMATS:
        raise DeviceError(f"no format is called {name!r:.80}: {nearest(str(name), FORMATS)}")
    return FORMATS[name]


def check_format(name: str, int8: bool, page: bool = False) -> None:
    """Raise :class:`DeviceError` where there is no such format, or it cannot hold a graph in 8 bits, or be a page."""
    if page and not find_format(name).page:
        pages = " or ".join(each for each, format_ in FORMATS.items() if format_.page)
        raise DeviceError(f"--single-file and --no-examples are for a web page, not for {name}: give --to {pages}")
    if int8 and not find_format(name).int8:
        able = " or ".join(each for each, format_ in FORMATS.items() if format_.int8)
        raise DeviceError(f"the graph in 8 bits cannot be written as {name}: give --to {able}, or leave --int8 out")
    find_format(name)


def replay_engines(format_: Format) -> dict[str, Replay]:
    """Return the engines that read a format and are installed here."""
    return {name: _ENGINES[name][1] for name in format_.engines if find_spec(_ENGINES[name][0]) is not None}


def _onnx(bundle: Bundle, request: Request) -> dict[str, bytes]:
    from googlenet.inference.graphs import read_graph

    read_graph(bundle, request.graph)  # checks it against its card
    return {request.graph: bundle.read(request.graph), **_card(bundle)}


def _openvino(bundle: Bundle, request: Request) -> dict[str, bytes]:
    from googlenet.inference.graphs import read_graph

    model = read_graph(bundle, request.graph)
    _describe(model, bundle.card)
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, request.graph).with_suffix(".xml")
        openvino.save_model(model, path, compress_to_fp16=False)
        return {each.name: each.read_bytes() for each in (path, path.with_suffix(".bin"))} | _card(bundle)


def _web(bundle: Bundle, request: Request) -> dict[str, bytes]:
    from googlenet.exporting.web import write_page

    return write_page(bundle, single_file=request.single_file, examples=EXAMPLES if request.examples else ())


def _card(bundle: Bundle) -> dict[str, bytes]:
    return {"card.json": bundle.card.to_json().encode()}


def _graph_alone(files: Mapping[str, Path]) -> tuple[bytes, bytes]:
    return next(iter(files.values())).read_bytes(), b""


def _graph_and_weights(files: Mapping[str, Path]) -> tuple[bytes, bytes]:
    graph, weights, *_ = files.values()
    return graph.read_bytes(), weights.read_bytes()


def _graph_of_page(files: Mapping[str, Path]) -> tuple[bytes, bytes]:
    from googlenet.exporting.web import graph_of

    return graph_of(files), b""


def _describe(model: Any, card: ModelCard) -> None:
    """Put the class names where programs that use OpenVINO look for them."""
    for key, value in {"model_type": "Classification", "labels": " ".join(map(_one_word, card.class_names))}.items():
        model.set_rt_info(value, ["model_info", key])


def _one_word(name: str) -> str:
    return "_".join(printable(name).split()) or "_"


def _by_openvino(graph: bytes, weights: bytes, images: Pixels) -> Floats:
    from googlenet.inference.runtime import runtime

    model = runtime().read_model(graph, weights)
    compiled = runtime().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    probabilities: Floats = compiled([images])["probabilities"].astype("float32")
    return probabilities


def _by_onnxruntime(graph: bytes, weights: bytes, images: Pixels) -> Floats:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    probabilities: Floats = session.run(["probabilities"], {"images": images})[0].astype("float32")
    return probabilities


# Engine → the package it needs, and what runs a file in it.
_ENGINES: dict[str, tuple[str, Replay]] = {
    "OpenVINO": ("openvino", _by_openvino),
    "ONNX Runtime": ("onnxruntime", _by_onnxruntime),
}

FORMATS = {
    "onnx": Format("model.onnx", _onnx, _graph_alone, ("OpenVINO", "ONNX Runtime")),
    "openvino": Format("model.xml and model.bin", _openvino, _graph_and_weights, ("OpenVINO",), int8=True),
    "web": Format("a web page that needs no server", _web, _graph_of_page, ("OpenVINO", "ONNX Runtime"), page=True,
                  images=EXAMPLES, tolerance=WEB_TOLERANCE),
}  # fmt: skip
