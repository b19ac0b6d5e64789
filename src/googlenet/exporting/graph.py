"""A network and its weights become an ONNX graph. No torch.

Every node has the name of its layer in the state dict, so that a viewer shows ``inception_3a.3x3.1.conv``. Batch
normalisation is folded into the convolutions, and dropout is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from googlenet.errors import NetworkError
from googlenet.exporting import class_maps, views
from googlenet.exporting.onnx_writer import (
    EMBEDDINGS,
    FEATURES,
    INPUT,
    MAPS,
    PROBABILITIES,
    Array,
    Graph,
    Weights,
)
from googlenet.exporting.pooling import write_pool
from googlenet.models import spec
from googlenet.models.layers.base import Shape, pair
from googlenet.models.layers.containers import cost_of, stage_costs
from googlenet.models.layers.weighted import padding_of
from googlenet.preprocessing import Preprocessing
from googlenet.text import printable

Temperature = float | tuple[float, ...]


def to_onnx(
    network: spec.Network,
    weights: Weights,
    preprocessing: Preprocessing,
    temperature: Temperature,
    class_names: Sequence[str],
    multi_label: bool = False,
    mirror: bool = False,
) -> bytes:
    """Write a network as a single ONNX file of any batch size, the class names among its metadata.

    In: ``images`` (N, size, size, C) uint8; the normalisation is inside. Out: ``probabilities`` (N, K) and, where they
    exist, ``maps`` (N, K, h, w), the class activation maps, which averaged over (h, w) are the logits, and
    ``embeddings`` (N, D), the input of the last layer.

    Args:
        network: the network as data, for images of as many channels C as ``preprocessing`` has means.
        weights: the arrays of its module's ``state_dict``, by their keys. Those of the heads may be left out.
        preprocessing: side of the images, mean, standard deviation and order of the channels.
        temperature: the logits are divided by it before the softmax or sigmoid; with ``multi_label`` it may be one
            for each class. With ``mirror`` these are the logits of the mean, so that no answer changes.
        class_names: one per class.
        multi_label: independent probabilities (sigmoid) instead of ones that sum to 1 (softmax).
        mirror: answer with the mean of each image's and its mirror image's outputs; maps are mirrored back before.

    Raises:
        InputSizeError: images of ``preprocessing.size`` pixels are too small for the network.
        NetworkError: the network takes another number of channels or does not end in logits.
    """
    if network.in_channels != preprocessing.channels:
        raise NetworkError(
            f"{network.name} takes images of {network.in_channels} channels, its preprocessing {preprocessing.channels}"
        )
    graph = Graph(network, weights)
    images = views.stacked(preprocessing.size, graph) if mirror else INPUT
    x = _normalised(images, preprocessing, graph)
    shape: Shape = (preprocessing.channels, preprocessing.size, preprocessing.size)
    before = network.stages_before_pooling()
    also, averaged = [], list[class_maps.Maps]()
    for at, stage in enumerate(network.stages):
        if before is not None and at == len(before):
            also.append(class_maps.write([*averaged, (x, shape)], mirror, graph))
        if at == len(network.stages) - 1 and stage.layers == (spec.Linear(),):
            also.append(_embeddings(x, shape, mirror, graph))
        x, shape = _sequence(stage.layers, x, shape, stage.name, graph)
        if stage.name in network.pooled:
            averaged.append((x, shape))
        if stage.name == network.pooling:
            x, shape = class_maps.join(averaged, (x, shape), graph)
    taken: list[str | int] = ["batch", preprocessing.size, preprocessing.size, preprocessing.channels]
    graph.written.input.append(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, taken))
    if shape[1:] != (1, 1):
        raise NetworkError(f"{network.name} ends in maps of {shape[1]}×{shape[2]}, not in one logit a class")
    probabilities = _probabilities(x, shape[0], temperature, multi_label, mirror, graph)
    graph.written.output.extend([probabilities, *also])
    helper.set_model_props(graph.model, {"class_names": "\n".join(map(printable, class_names))})
    content: bytes = graph.model.SerializeToString()
    return content


def stage_to_onnx(network: spec.Network, weights: Weights, preprocessing: Preprocessing, stage: str) -> bytes:
    """Write the first stages of a network, up to ``stage``, as a single ONNX file of any batch size.

    In: ``images`` (N, size, size, C) uint8. Out: what ``stage`` puts out, channels last: (N, h, w, D).
    """
    graph = Graph(network, weights)
    x, shape = (
        _normalised(INPUT, preprocessing, graph),
        (preprocessing.channels, preprocessing.size, preprocessing.size),
    )
    for each in network.through(stage):
        x, shape = _sequence(each.layers, x, shape, each.name, graph)
    graph.own("Transpose", MAPS, x, perm=[0, 2, 3, 1])
    size: list[str | int] = ["batch", preprocessing.size, preprocessing.size, preprocessing.channels]
    graph.written.input.append(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, size))
    maps = helper.make_tensor_value_info(MAPS, TensorProto.FLOAT, ["batch", *shape[1:], shape[0]])
    graph.written.output.append(maps)
    content: bytes = graph.model.SerializeToString()
    return content


def head_to_onnx(
    network: spec.Network, weights: Weights, tap: spec.AuxTap, size: int, temperature: float = 1.0
) -> bytes:
    """Write an auxiliary head as a single ONNX file of any batch size.

    In: ``features`` (N, D, h, w), what the stage before the head puts out for images of ``size`` pixels. Out:
    ``probabilities`` (N, K), of logits divided by ``temperature``.
    """
    (given,) = (cost.shape for stage, _, cost in stage_costs(network, size) if stage.name == tap.after)
    graph = Graph(network, weights)
    x, shape = _sequence(tap.layers, FEATURES, given, tap.name, graph)
    graph.written.input.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", *given]))
    graph.written.output.append(_probabilities(x, shape[0], temperature, False, False, graph))
    content: bytes = graph.model.SerializeToString()
    return content


def _normalised(images: str, preprocessing: Preprocessing, graph: Graph) -> str:
    """(N, H, W, C) uint8 → (N, C, H, W) float, the same arithmetic as ``build.Normalise``."""
    mean, std = (
        np.array(values, np.float32).reshape(1, -1, 1, 1) * 255 for values in (preprocessing.mean, preprocessing.std)
    )
    x = graph.node("Transpose", "images.channels_first", images, perm=[0, 3, 1, 2])
    x = graph.node("Cast", "images.float", x, to=TensorProto.FLOAT)
    x = graph.node("Sub", "images.centred", x, graph.constant("images.mean", mean))
    x = graph.node("Div", "images.normalised", x, graph.constant("images.std", std))
    if preprocessing.channel_order == "BGR":
        x = graph.node("Gather", "images.bgr", x, graph.constant("images.order", np.array([2, 1, 0])), axis=1)
    return x


def _embeddings(features: str, shape: Shape, mirror: bool, graph: Graph) -> ValueInfoProto:
    """Flatten the input of the last layer, (N, D, ...), to one row per image: (N, D)."""
    return views.output(graph, EMBEDDINGS, (math.prod(shape),), mirror, "Flatten", features)


def _probabilities(
    logits: str, classes: int, temperature: Temperature, multi_label: bool, mirror: bool, graph: Graph
) -> ValueInfoProto:
    """(N, K, 1, 1) or (N, K) → (N, K)."""
    answer: tuple[str, dict[str, int]] = ("Sigmoid", {}) if multi_label else ("Softmax", {"axis": 1})
    x = graph.node("Flatten", "probabilities.logits", logits)
    divisors = np.atleast_1d(np.array(temperature))
    if (divisors == 1).all():
        return views.output(graph, PROBABILITIES, (classes,), mirror, answer[0], x, **answer[1])
    if mirror:
        of_views = graph.node(answer[0], f"{PROBABILITIES}.of_views", x, **answer[1])
        views.mean(of_views, f"{PROBABILITIES}.uncalibrated", (classes,), graph)
        x = _logits_of(f"{PROBABILITIES}.uncalibrated", multi_label, graph)
    divisor = graph.constant(f"{PROBABILITIES}.temperature", divisors)
    x = graph.node("Div", f"{PROBABILITIES}.calibrated", x, divisor)
    return views.output(graph, PROBABILITIES, (classes,), False, answer[0], x, **answer[1])


def _logits_of(probabilities: str, multi_label: bool, graph: Graph) -> str:
    """Return log p, or log p - log(1 - p) of independent probabilities: (N, K) → (N, K)."""
    logs = graph.node("Log", "probabilities.logs", probabilities)
    if not multi_label:
        return logs
    rest = graph.node("Sub", "probabilities.rest", graph.constant("probabilities.one", np.array(1.0)), probabilities)
    return graph.node("Sub", "probabilities.log_odds", logs, graph.node("Log", "probabilities.rest_logs", rest))


def _sequence(layers: Sequence[spec.Layer], x: str, shape: Shape, at: str, graph: Graph) -> tuple[str, Shape]:
    for number, layer in enumerate(layers):
        path = at if len(layers) == 1 else f"{at}.{number}"  # the names of the module's state dict
        x = _WRITE[type(layer)](layer, x, shape, path, graph)
        shape = cost_of([layer], shape, graph.network).shape
    return x, shape


# One function per layer type: layer, name and shape of its input, its own name, graph → name of its output.


def _conv(layer: spec.Conv, x: str, shape: Shape, at: str, graph: Graph) -> str:
    kernel, bias = _folded(at, graph.network.norm if layer.norm else None, graph.weights)
    x = _convolution(layer, x, f"{at}.conv", kernel, bias, layer.groups, graph)
    return _rectified(x, layer.relu, at, graph)


def _separable_conv(layer: spec.SeparableConv, x: str, shape: Shape, at: str, graph: Graph) -> str:
    x = _convolution(
        layer, x, f"{at}.depthwise", graph.weights[f"{at}.depthwise.weight"], None, groups=shape[0], graph=graph
    )
    kernel, bias = _folded(at, graph.network.norm, graph.weights)
    x = _convolution(spec.Conv(layer.out), x, f"{at}.conv", kernel, bias, groups=1, graph=graph)
    return _rectified(x, layer.relu, at, graph)


def _convolution(
    layer: spec.Conv | spec.SeparableConv,
    x: str,
    at: str,
    kernel: Array,
    bias: Array | None,
    groups: int,
    graph: Graph,
) -> str:
    constants = [graph.constant(f"{at}.weight", kernel)]
    if bias is not None:
        constants.append(graph.constant(f"{at}.bias", bias))
    return graph.node(
        "Conv",
        at,
        x,
        *constants,
        kernel_shape=pair(layer.kernel),
        strides=pair(layer.stride),
        pads=2 * padding_of(layer),
        group=groups,
    )


def _folded(at: str, norm: spec.BatchNorm | None, weights: Weights) -> tuple[Array, Array]:
    """Kernel and bias of a convolution with its normalisation in them: γ · (w * x + b - μ) / √(σ² + ε) + β."""
    kernel = weights[f"{at}.conv.weight"]
    if norm is None:
        return kernel, weights[f"{at}.conv.bias"]
    gamma, beta, mean, variance = (
        weights[f"{at}.bn.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + norm.eps)
    bias = weights[f"{at}.conv.bias"] if norm.bias else 0.0
    return kernel * scale[:, None, None, None], beta + (bias - mean) * scale


def _rectified(x: str, relu: bool, at: str, graph: Graph) -> str:
    return graph.node("Relu", f"{at}.relu", x) if relu else x


def _linear(layer: spec.Linear, x: str, shape: Shape, at: str, graph: Graph) -> str:
    weight, bias = (graph.constant(f"{at}.{part}", graph.weights[f"{at}.{part}"]) for part in ("weight", "bias"))
    x = graph.node("Flatten", f"{at}.flatten", x)
    x = graph.node("Gemm", at, x, weight, bias, transB=1)
    return _rectified(x, layer.relu, at, graph)


def _lrn(layer: spec.LRN, x: str, shape: Shape, at: str, graph: Graph) -> str:
    if layer.size % 2:
        return graph.node("LRN", at, x, size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)
    # For an even size torch puts the extra neighbour before, ONNX after, and engines refuse it.
    channels = np.arange(shape[0])
    ahead = channels[None, :] - channels[:, None]
    near = (ahead >= -(layer.size // 2)) & (ahead < layer.size // 2)
    kernel = graph.constant(f"{at}.weight", near[:, :, None, None] * (layer.alpha / layer.size))
    k = graph.constant(f"{at}.bias", np.full(shape[0], layer.k))
    energy = graph.node("Conv", f"{at}.energy", graph.node("Mul", f"{at}.square", x, x), kernel, k)
    beta = graph.constant(f"{at}.beta", np.array(layer.beta))
    return graph.node("Div", at, x, graph.node("Pow", f"{at}.power", energy, beta))


def _relu(layer: spec.ReLU, x: str, shape: Shape, at: str, graph: Graph) -> str:
    return graph.node("Relu", at, x)


def _dropout(layer: spec.Dropout, x: str, shape: Shape, at: str, graph: Graph) -> str:
    return x


def _parallel(layer: spec.Parallel, x: str, shape: Shape, at: str, graph: Graph) -> str:
    branches = [_sequence(branch.layers, x, shape, f"{at}.{branch.name}", graph)[0] for branch in layer.branches]
    return graph.node("Concat", at, *branches, axis=1)


def _residual(layer: spec.Residual, x: str, shape: Shape, at: str, graph: Graph) -> str:
    body, _ = _sequence(layer.body, x, shape, f"{at}.body", graph)
    shortcut, _ = _sequence(layer.shortcut, x, shape, f"{at}.shortcut", graph)
    if layer.scale != 1:
        body = graph.node("Mul", f"{at}.scaled", body, graph.constant(f"{at}.scale", np.array(layer.scale)))
    return _rectified(graph.node("Add", at, shortcut, body), layer.relu, at, graph)


_WRITE: dict[type, Callable[[Any, str, Shape, str, Graph], str]] = {
    spec.Conv: _conv,
    spec.SeparableConv: _separable_conv,
    spec.Pool: write_pool,
    spec.LRN: _lrn,
    spec.ReLU: _relu,
    spec.Dropout: _dropout,
    spec.Linear: _linear,
    spec.Parallel: _parallel,
    spec.Residual: _residual,
}
