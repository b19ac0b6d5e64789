"""Key maps between this project's weights and those of others. Tensors go in and out unchanged.

Nothing here reads a pickle: a map takes names and tensors that a safe reader gave.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import onnx
import torch
from torch import Tensor

from googlenet.errors import NetworkError

# Pattern and replacement, theirs → ours, applied in order to every key.
_TORCHVISION = (
    (r"^conv2\.", r"conv2.0."),
    (r"^conv3\.", r"conv2.1."),
    (r"^inception(\d)(\w)\.", r"inception_\1\2."),
    (r"\.branch1\.", r".1x1."),
    (r"\.branch2\.", r".3x3."),
    (r"\.branch3\.", r".5x5."),
    (r"\.branch4\.1\.", r".pool_proj.1."),
    (r"^(aux\d)\.conv\.", r"\1.1."),
    (r"^(aux\d)\.fc1\.", r"\1.2."),
    (r"^(aux\d)\.fc2\.", r"\1.4."),
)

# A blob of Caffe's GoogLeNet as the ONNX model zoo names it: layer, then _w_0 or _b_0.
_CAFFE = (
    (r"^conv1/7x7_s2_", r"conv1.conv."),
    (r"^conv2/3x3_reduce_", r"conv2.0.conv."),
    (r"^conv2/3x3_", r"conv2.1.conv."),
    (r"^(inception_\w\w)/1x1_", r"\1.1x1.conv."),
    (r"^(inception_\w\w)/(3x3|5x5)_reduce_", r"\1.\2.0.conv."),
    (r"^(inception_\w\w)/(3x3|5x5)_", r"\1.\2.1.conv."),
    (r"^(inception_\w\w)/pool_proj_", r"\1.pool_proj.1.conv."),
    (r"^loss3/classifier_", r"fc."),
    (r"\.w_0$", r".weight"),
    (r"\.b_0$", r".bias"),
)


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of ``torchvision.models.googlenet`` to the keys of ``googlenet_torchvision``.

    >>> list(from_torchvision({"inception3a.branch2.0.conv.weight": torch.zeros(1)}))
    ['inception_3a.3x3.0.conv.weight']
    """
    return {_renamed(key, _TORCHVISION): tensor for key, tensor in state.items()}


def from_caffe_onnx(model: Any) -> dict[str, Tensor]:
    """Take the weights out of Caffe's GoogLeNet as an ONNX model, by layer name, to the keys of ``googlenet``.

    The auxiliary heads are not in such files. Raises :class:`NetworkError` when the model has no such layers.
    """
    found = {}
    for initializer in model.graph.initializer:
        key = _renamed(initializer.name, _CAFFE)
        if key.endswith((".weight", ".bias")):
            found[key] = torch.from_numpy(onnx.numpy_helper.to_array(initializer).copy())
    if "fc.weight" in found:  # Caffe keeps it as (1, 1, classes, features)
        found["fc.weight"] = found["fc.weight"].flatten(0, -2)
    if not found:
        raise NetworkError("the ONNX model has none of the layers of Caffe's GoogLeNet (conv1/7x7_s2 and so on)")
    return found


def _renamed(key: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
