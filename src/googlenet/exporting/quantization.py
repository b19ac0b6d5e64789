"""A bundle's graph in 8 bits, by NNCF: post-training quantisation (Jacob et al., 2018, *Quantization and training of
neural networks for efficient integer-arithmetic-only inference*). Needs nncf; the graph it makes does not.
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
from googlenet.images.decode import Pixels
from googlenet.inference.engine import Floats
from googlenet.inference.graphs import read_graph
from googlenet.inference.runtime import runtime

SUBSET = 300  # images whose activations say which range each layer needs
Score = Callable[[Callable[[Pixels], Floats]], float]  # how right what answers (N, S, S, C) with (N, K) is


def in_8_bits(bundle: Bundle, images: Iterable[Pixels], score: Score | None = None) -> dict[str, bytes]:
    """Quantise a bundle's graph: the files to add to it, by name. ``probabilities`` and ``embeddings`` come out.

    Args:
        bundle: the bundle.
        images: (S, S, C) uint8, as the network sees them; 300 of them are used. Gone through more than once.
        score: unless it is left out, layers are given back their floating-point numbers, the most sensitive ones
            first, until the score is at most 0.005 lower than it was. Each try goes through all that is scored.
    """
    nncf = _nncf()
    data = nncf.Dataset(images, lambda image: image[None])
    model = _without_maps(read_graph(bundle, MODEL))
    with _quiet(), _signal_stack_restored():
        if score is None:
            quantised = nncf.quantize(model, data, subset_size=SUBSET)
        else:
            quantised = nncf.quantize_with_accuracy_control(
                model, data, data, lambda compiled, _: (score(_answers(compiled)), None),
                max_drop=TOLERANCE, subset_size=SUBSET,
            )  # fmt: skip
    return _files(quantised)


def kept_in_floating_point(bundle: Bundle) -> tuple[str, ...]:
    """Name the convolutions and linear layers of a quantised graph that are not computed in 8 bits."""
    model = read_graph(bundle, INT8)
    weighted = [node for node in model.get_ordered_ops() if node.get_type_name() in ("Convolution", "MatMul")]
    return tuple(
        node.get_friendly_name().removesuffix("/WithoutBiases")
        for node in weighted
        if _weights_of(node).get_element_type().get_type_name() not in ("i8", "u8")
    )


def _weights_of(node: Any) -> Any:
    """Give the constant that a layer's weights are made from: 8-bit numbers are converted and scaled first."""
    weights = node.input_value(1).get_node()
    while weights.get_type_name() in ("Convert", "Multiply", "Subtract", "Reshape", "FakeQuantize"):
        weights = weights.input_value(0).get_node()
    return weights


def _nncf() -> Any:
    runtime()  # hides the package by which NNCF, like OpenVINO, would report to its makers
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf


class _SignalStack(ctypes.Structure):
    """``stack_t`` of signal.h."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def _signal_stack_restored() -> Iterator[None]:
    """Set the stack that signal handlers run on back to what it was.

    Each OpenVINO runtime puts one of its own in place and, when it goes, puts back what it found. NNCF makes several,
    and where they do not go last in, first out, what is put back is freed already: the next signal that Python handles,
    the end of a child process for one, would crash the interpreter (seen with OpenVINO 2026.4).
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
    return part.clone()  # without what only the maps needed


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
    """NNCF draws bars on stdout, where results go."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
