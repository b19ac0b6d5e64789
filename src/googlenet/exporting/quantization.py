"""A bundle's graph in 8 bits: post-training quantisation with NNCF (Jacob et al., *Quantization and training of neural
networks for efficient integer-arithmetic-only inference*, 2018). Needs nncf; the quantised graph does not.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from googlenet.bundle import INT8, INT8_WEIGHTS, MODEL, Bundle
from googlenet.card import TOLERANCE
from googlenet.exporting.onnx_writer import EMBEDDINGS, PROBABILITIES
from googlenet.images.decode import Pixels
from googlenet.inference.engine import Floats
from googlenet.inference.graphs import read_graph
from googlenet.inference.runtime import runtime

CALIBRATION_IMAGES = 300  # the range of each layer comes from their activations
Score = Callable[[Callable[[Pixels], Floats]], float]  # of a function (N, S, S, C) → (N, K)


def in_8_bits(bundle: Bundle, images: Iterable[Pixels], score: Score | None = None) -> dict[str, bytes]:
    """Quantise a bundle's graph. Returns the files to add to it, by name; the graph has no ``maps``.

    Args:
        bundle: the bundle.
        images: (S, S, C) uint8, preprocessed; 300 of them are used. They are iterated over more than once.
        score: if given, layers are restored to floating point, the most sensitive ones first, until the score is at
            most 0.005 below that of the graph before. Each attempt scores all images.
    """
    nncf = _nncf()
    data = nncf.Dataset(images, lambda image: image[None])
    model = _without_maps(read_graph(bundle, MODEL))
    # NNCF would round the probabilities of each view to 8 bits before their mean is taken.
    means = nncf.IgnoredScope(names=[PROBABILITIES, EMBEDDINGS] if bundle.card.mirror else [], validate=False)
    with _quiet(), _signal_stack_restored():
        if score is None:
            quantised = nncf.quantize(model, data, subset_size=CALIBRATION_IMAGES, ignored_scope=means)
        else:
            quantised = nncf.quantize_with_accuracy_control(
                model, data, data, lambda compiled, _: (score(_answers(compiled)), None),
                max_drop=TOLERANCE, subset_size=CALIBRATION_IMAGES, ignored_scope=means,
            )  # fmt: skip
    return _files(quantised)


def kept_in_floating_point(bundle: Bundle) -> tuple[str, ...]:
    """Return the convolutions and linear layers of a quantised graph that are not computed in 8 bits."""
    model = read_graph(bundle, INT8)
    weighted = [node for node in model.get_ordered_ops() if node.get_type_name() in ("Convolution", "MatMul")]
    return tuple(
        node.get_friendly_name().removesuffix("/WithoutBiases")
        for node in weighted
        if _weights_of(node).get_element_type().get_type_name() not in ("i8", "u8")
    )


def _weights_of(node: Any) -> Any:
    """Return the constant behind a layer's weights: 8-bit numbers are converted and scaled before they are used."""
    weights = node.input_value(1).get_node()
    while weights.get_type_name() in ("Convert", "Multiply", "Subtract", "Reshape", "FakeQuantize"):
        weights = weights.input_value(0).get_node()
    return weights


def _nncf() -> Any:
    runtime()  # hides the telemetry package of NNCF and OpenVINO
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf


class _SignalStack(ctypes.Structure):
    """``stack_t`` of signal.h."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def _signal_stack_restored() -> Iterator[None]:
    """Restore the stack that signal handlers run on.

    Each OpenVINO runtime sets its own and, when deleted, restores the one before. NNCF makes several, and unless they
    are deleted in reverse order the restored stack was freed already: the next signal that Python handles, such as the
    end of a child process, would crash the interpreter (seen with OpenVINO 2026.4).
    """
    if sys.platform != "linux":
        yield
        return
    libc, before = ctypes.CDLL(None), _SignalStack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)


def _without_maps(model: Any) -> Any:
    part = model.clone()
    for result in part.get_results():
        if "maps" in result.get_output_tensor(0).get_names():
            part.remove_result(result)
    return part.clone()  # without the nodes that only the maps needed


def _answers(compiled: Any) -> Callable[[Pixels], Floats]:
    request = compiled.create_infer_request()
    return lambda batch: np.array(request.infer([batch])["probabilities"], dtype=np.float32)


def _files(model: Any) -> dict[str, bytes]:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, INT8)
        openvino.save_model(model, path, compress_to_fp16=False)
        return {name: path.with_name(name).read_bytes() for name in (INT8, INT8_WEIGHTS)}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Discard stdout: NNCF draws progress bars there, where results go."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
