"""Several classifiers become one bundle: a graph that answers with the mean of their answers. No torch.

The graphs of the bundles are joined as they are, so that whatever is in them (calibration, mirror images) stays.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from googlenet import bundle as bundles
from googlenet.bundle import GOLDEN, MODEL, Bundle
from googlenet.card import ModelCard
from googlenet.errors import BundleError
from googlenet.exporting.onnx_writer import EMBEDDINGS, INPUT
from googlenet.inference.engine import Engine
from googlenet.inference.golden import golden

SHARED = ("class_names", "preprocessing", "multi_label", "mirror")  # fields of the cards that must agree


def write_ensemble(path: str | Path, members: Sequence[Bundle], card: ModelCard) -> Bundle:
    """Write the bundle of an ensemble. It holds no ``weights.safetensors``: each member has its own.

    ``probabilities`` and ``maps`` are means over the members; ``embeddings`` are those of all members, one after
    another, (N, K · D): each network has features of its own, whose mean would mean nothing. The golden answers are
    means of the members' own, computed by their own graphs.

    Raises :class:`BundleError` where the members take other images or have other classes.
    """
    for name in SHARED:
        if any(getattr(each.card, name) != getattr(members[0].card, name) for each in members):
            raise BundleError(f"bundles of different {name} have no common answer: give bundles that agree")
    images, _ = golden(members[0])
    engines = [Engine(each) for each in members]
    answers = {"probabilities": np.mean([each.probabilities(images) for each in engines], axis=0, dtype=np.float32)}
    if all(each.has_maps for each in engines):
        answers["maps"] = np.mean([each.maps(images) for each in engines], axis=0, dtype=np.float32)
    replayed = io.BytesIO()
    np.savez_compressed(replayed, images=images, **answers)  # type: ignore[arg-type]
    files = {MODEL: join_graphs([each.read(MODEL) for each in members]), GOLDEN: replayed.getvalue()}
    versions = {**members[0].card.versions, "onnx": onnx.__version__}
    return bundles.write(path, dataclasses.replace(card, versions=versions), files)


def join_graphs(contents: Sequence[bytes]) -> bytes:
    """Join ONNX files of one kind: one input, and each output the mean (embeddings: all of them) of theirs."""
    models = [ModelProto.FromString(content) for content in contents]
    joined = ModelProto()
    joined.CopyFrom(models[0])
    del joined.graph.node[:], joined.graph.initializer[:], joined.graph.output[:]
    for number, model in enumerate(models, start=1):
        _add(joined, model, f"member_{number}.")
    for output in models[0].graph.output:
        joined.graph.output.append(_combined(joined, output, len(models)))
    content: bytes = joined.SerializeToString()
    return content


def _add(joined: ModelProto, model: ModelProto, prefix: str) -> None:
    """Add the nodes and constants of a member, each name with a prefix; the input is common to all."""
    for node in model.graph.node:
        node.name = prefix + node.name
        node.input[:] = [name if name == INPUT else prefix + name for name in node.input]
        node.output[:] = [prefix + name for name in node.output]
    for constant in model.graph.initializer:
        constant.name = prefix + constant.name
    joined.graph.node.extend(model.graph.node)
    joined.graph.initializer.extend(model.graph.initializer)


def _combined(joined: ModelProto, output: ValueInfoProto, count: int) -> ValueInfoProto:
    """Add the nodes that compute an output of the ensemble."""
    name = output.name
    theirs = [f"member_{number}.{name}" for number in range(1, count + 1)]
    if name == EMBEDDINGS:
        joined.graph.node.append(helper.make_node("Concat", theirs, [name], name=name, axis=1))
        width = output.type.tensor_type.shape.dim[1].dim_value
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", count * width])
    total = theirs[0]
    for number, each in enumerate(theirs[1:], start=2):
        joined.graph.node.append(
            helper.make_node("Add", [total, each], [f"{name}.sum_{number}"], name=f"{name}.sum_{number}")
        )
        total = f"{name}.sum_{number}"
    joined.graph.initializer.append(
        helper.make_tensor(f"{name}.members", TensorProto.FLOAT, [], np.float32(count).tobytes(), raw=True)
    )
    joined.graph.node.append(helper.make_node("Div", [total, f"{name}.members"], [name], name=name))
    return output
