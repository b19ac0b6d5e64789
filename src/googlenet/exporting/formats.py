"""A bundle's graph as files of their own, for programs that know nothing of bundles. No torch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from googlenet import bundle as bundles
from googlenet.bundle import INT8, MODEL, Bundle
from googlenet.card import ModelCard
from googlenet.errors import BundleError, DeviceError
from googlenet.files import write_error, write_whole
from googlenet.images.decode import Pixels
from googlenet.inference.engine import Engine, Floats, read_graph, runtime
from googlenet.inference.verify import TOLERANCE, golden

Format = Literal["onnx", "openvino"]


@dataclass(frozen=True)
class Exported:
    """Files that were written, which engines answered from them, and by how much a probability differs at most."""

    files: tuple[Path, ...]
    engines: tuple[str, ...]
    largest_difference: float


def export(run: str | Path, out: str | Path, to: Format = "onnx", *, int8: bool = False) -> Exported:
    """Write a bundle's graph into the folder ``out``: ``model.onnx``, or ``model.xml`` and ``model.bin`` of OpenVINO.

    In: ``images`` (N, size, size, C) uint8, any N; what is in the graph and what is not is in ``card.json``, which is
    written beside it. The class names are among the metadata. The golden images of the bundle are then replayed
    from the files, by OpenVINO and, where it is installed, ONNX Runtime.

    Args:
        run: a run of ``train``, or a bundle.
        out: a folder; files of the same names in it are replaced.
        to: the format.
        int8: the quantised graph, as ``int8.xml`` and ``int8.bin``.

    Raises:
        BundleError: there is no such bundle, or it is damaged, or the files give other answers than it.
        DeviceError: a quantised graph is asked for, and there is none, or not in this format.
        RunError: the files cannot be written.

    ::

        googlenet.export("runs/flowers", "flowers-onnx").files
    """
    bundle, folder = bundles.read(run), Path(out)
    if to not in ("onnx", "openvino"):
        raise DeviceError(f"there is no format {to!r}: onnx and openvino are")
    if int8 and to == "onnx":
        raise DeviceError("the int8 graph is one of OpenVINO: give --to openvino, or leave --int8 out")
    if int8:
        Engine(bundle, "int8")  # says what to do where there is none
    contents = _onnx(bundle) if to == "onnx" else _openvino(bundle, INT8 if int8 else MODEL)
    contents["card.json"] = bundle.card.to_json().encode()
    try:
        files = _write(folder, contents)
    except OSError as error:
        raise write_error(folder, error) from error
    return _replayed(bundle, files, int8)


def _onnx(bundle: Bundle) -> dict[str, bytes]:
    read_graph(bundle, MODEL)  # is held against its card
    return {MODEL: bundle.read(MODEL)}


def _openvino(bundle: Bundle, graph: str) -> dict[str, bytes]:
    model = read_graph(bundle, graph)
    _describe(model, bundle.card)
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, graph).with_suffix(".xml")
        openvino.save_model(model, path, compress_to_fp16=False)
        return {each.name: each.read_bytes() for each in (path, path.with_suffix(".bin"))}


def _describe(model: Any, card: ModelCard) -> None:
    """Put the class names where programs of OpenVINO look for them."""
    for key, value in {"model_type": "Classification", "labels": " ".join(map(_one_word, card.class_names))}.items():
        model.set_rt_info(value, ["model_info", key])


def _one_word(name: str) -> str:
    return "_".join(name.split()) or "_"


def _write(folder: Path, contents: dict[str, bytes]) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_whole(folder / name, content)
    return tuple(folder / name for name in contents)


def _replayed(bundle: Bundle, files: tuple[Path, ...], int8: bool) -> Exported:
    images, expected = golden(bundle)
    if int8:
        expected = Engine(bundle, "int8").probabilities(images)
    engines: dict[str, Callable[[Path, Pixels], Floats]] = {"OpenVINO": _by_openvino}
    if files[0].name == MODEL and _has_onnxruntime():
        engines["ONNX Runtime"] = _by_onnxruntime
    differences = {name: float(np.abs(answer(files[0], images) - expected).max()) for name, answer in engines.items()}
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            raise BundleError(f"{files[0]}: by {name} a probability differs by {difference:.2g} from what it should be")
    return Exported(files, tuple(differences), max(differences.values()))


def _by_openvino(file: Path, images: Pixels) -> Floats:
    weights = b"" if file.suffix == ".onnx" else file.with_suffix(".bin").read_bytes()
    model = runtime().read_model(file.read_bytes(), weights)  # by content: it takes no name that is not UTF-8
    compiled = runtime().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled([images])["probabilities"], dtype=np.float32)


def _has_onnxruntime() -> bool:
    from importlib.util import find_spec

    return find_spec("onnxruntime") is not None


def _by_onnxruntime(file: Path, images: Pixels) -> Floats:
    import onnxruntime

    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["probabilities"], {"images": images})[0], dtype=np.float32)
