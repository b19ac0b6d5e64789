"""The names that other projects give the tensors of our networks: data, and one table.

A layout maps our names to theirs. The way back follows from the names a network has, so nothing is written twice.
"""

from __future__ import annotations

from googlenet.models.layouts import classics, googlenet, inception
from googlenet.models.layouts.base import Layout
from googlenet.models.networks.classics import (
    ALEXNET_CAFFE,
    RESNET50_CAFFE,
    VGG11,
    VGG11_BN,
    VGG16,
    VGG16_BN,
    VGG19,
    VGG19_BN,
)
from googlenet.models.networks.inception_v2 import INCEPTION_BN, INCEPTION_BN_ONNX
from googlenet.models.spec import Network

LAYOUTS: dict[str, dict[str, Layout]] = {
    "googlenet_torchvision": {"torchvision": googlenet.TORCHVISION},
    "googlenet": {"caffe": googlenet.CAFFE},
    "inception5h": {"tensorflow": googlenet.TENSORFLOW},
    "inception_v2": {"caffe": inception.INCEPTION_BN, "caffe2": (*inception.INCEPTION_BN[:-2], (r"\.bn\.", r"/bn."))},
    "inception_v3": {"torchvision": inception.INCEPTION_V3, "timm": inception.INCEPTION_V3},
    "inception_v4": {"timm": inception.inception_v4()},
    "inception_resnet_v2": {"timm": inception.INCEPTION_RESNET_V2},
    "xception": {"timm": inception.xception()},
    "alexnet": {"caffe": classics.ALEXNET_CAFFE},
    "alexnet_torchvision": {"torchvision": classics.ALEXNET},
    "resnet18": {"torchvision": classics.RESNET, "timm": classics.RESNET},
    "resnet50": {
        "torchvision": classics.RESNET,
        "timm": classics.RESNET,
        "caffe": classics.resnet_caffe(),
        "caffe2": classics.resnet_caffe2(),
    },
    **{vgg.name: {"torchvision": classics.vgg(vgg), "caffe": classics.vgg_caffe(vgg)} for vgg in (VGG11, VGG16, VGG19)},
    **{vgg.name: {"torchvision": classics.vgg(vgg)} for vgg in (VGG11_BN, VGG16_BN, VGG19_BN)},
}

# Networks as those had them who made weights in a layout, where they differ from ours in ways that no tensor shows.
AS_MADE: dict[tuple[str, str], Network] = {
    ("alexnet", "caffe"): ALEXNET_CAFFE,
    ("inception_v2", "caffe"): INCEPTION_BN,
    ("inception_v2", "caffe2"): INCEPTION_BN_ONNX,
    ("resnet50", "caffe"): RESNET50_CAFFE,
}
