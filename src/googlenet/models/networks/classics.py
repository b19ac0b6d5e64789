"""The forebears and rivals of GoogLeNet: LeNet-5, AlexNet, Network in Network, VGG and ResNet, as data.

The layer types are in ``models/layers``. Where a linear layer follows, the last pool has a fixed ``output``: it keeps
the map that the layer needs at input sizes other than the paper's.
"""

from __future__ import annotations

from dataclasses import replace

from googlenet.models.spec import (
    GLOBAL_AVERAGE,
    LRN,
    BatchNorm,
    Conv,
    Dropout,
    Layer,
    Linear,
    Network,
    Pool,
    Residual,
    Stage,
)

LENET5 = Network(
    "lenet5",
    stages=[
        Stage("c1", [Conv(6, 5, padding=0)]),
        Stage("s2", [Pool("avg", 2, stride=2)]),
        Stage("c3", [Conv(16, 5, padding=0)]),
        Stage("s4", [Pool("avg", 2, stride=2, output=5)]),
        Stage("c5", [Conv(120, 5, padding=0)]),
        Stage("f6", [Linear(84, relu=True)]),
        Stage("output", [Linear()]),
    ],
    input_size=32,
    crop_fraction=1.0,
    in_channels=1,
    num_classes=10,
    paper="LeCun et al., Gradient-based learning applied to document recognition, 1998, section II.B",
    differences=[
        "ReLU where the paper has a scaled tanh",
        "the subsampling layers average; they have no coefficients to learn (12 and 32 parameters in the paper)",
        "every map of c3 sees every map of s2; the paper connects 60 of the 96 pairs (1,516 parameters)",
        "a linear layer and softmax where the paper has radial basis functions",
    ],
)

HALVE = Pool("max", 3, stride=2, ceil=False)
NORMALISE = LRN(k=2.0)

ALEXNET = Network(
    "alexnet",
    stages=[
        Stage("conv1", [Conv(96, 11, stride=4, padding=0), NORMALISE]),
        Stage("pool1", [HALVE]),
        Stage("conv2", [Conv(256, 5, groups=2), NORMALISE]),
        Stage("pool2", [HALVE]),
        Stage("conv3", [Conv(384, 3)]),
        Stage("conv4", [Conv(384, 3, groups=2)]),
        Stage("conv5", [Conv(256, 3, groups=2)]),
        Stage("pool5", [replace(HALVE, output=6)]),
        Stage("fc6", [Linear(4096, relu=True), Dropout(0.5)]),
        Stage("fc7", [Linear(4096, relu=True), Dropout(0.5)]),
        Stage("fc8", [Linear()]),
    ],
    input_size=227,
    paper="Krizhevsky et al., ImageNet classification with deep convolutional neural networks, 2012, section 3.5",
    differences=[
        "the input is 227×227: the paper's 224 does not give its 55×55 maps",
        "what the paper spreads over two GPUs are two groups of one convolution",
        "alpha of the local response normalisation is divided by its size, as in Caffe",
    ],
)

ALEXNET_CAFFE = replace(
    ALEXNET.rewrite(lambda layer: LRN() if isinstance(layer, LRN) else layer),
    name="alexnet_caffe",
    differences=[*ALEXNET.differences, "k of the local response normalisation is 1, as in Caffe"],
)

ALEXNET_TORCHVISION = replace(
    ALEXNET,
    name="alexnet_torchvision",
    stages=[
        Stage("conv1", [Conv(64, 11, stride=4, padding=2)]),
        Stage("pool1", [HALVE]),
        Stage("conv2", [Conv(192, 5)]),
        Stage("pool2", [HALVE]),
        Stage("conv3", [Conv(384, 3)]),
        Stage("conv4", [Conv(256, 3)]),
        Stage("conv5", [Conv(256, 3)]),
        Stage("pool5", [HALVE, Pool("avg", output=6)]),
        Stage("fc6", [Dropout(0.5), Linear(4096, relu=True)]),
        Stage("fc7", [Dropout(0.5), Linear(4096, relu=True)]),
        Stage("fc8", [Linear()]),
    ],
    input_size=224,
    paper="Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014, as in torchvision",
    differences=[
        "the widths of the paper of 2014, in one tower: 64, 192, 384, 256, 256, without groups",
        "no local response normalisation",
        "dropout before, not after, the hidden linear layers; average pooling to 6×6 at other input sizes",
    ],
)


def mlpconv(first: Conv, *widths: int | None) -> list[Layer]:
    """Build a convolution followed by 1×1 convolutions: a small network that slides over the image (section 3.1)."""
    return [first, *(Conv(width, relu=width is not None) for width in widths)]


NIN = Network(
    "nin",
    stages=[
        Stage("mlpconv1", mlpconv(Conv(192, 5), 160, 96)),
        Stage("pool1", [Pool("max", 3, stride=2), Dropout(0.5)]),
        Stage("mlpconv2", mlpconv(Conv(192, 5), 192, 192)),
        Stage("pool2", [Pool("avg", 3, stride=2), Dropout(0.5)]),
        Stage("mlpconv3", mlpconv(Conv(192, 3), 192, None)),
        Stage("avgpool", [GLOBAL_AVERAGE]),
    ],
    input_size=32,
    crop_fraction=1.0,
    num_classes=10,
    paper="Lin et al., Network in network, 2013, section 4, with the widths of the authors' CIFAR-10 network",
    differences=["no ReLU after the last convolution: its averages are the logits"],
)


def _vgg(name: str, configuration: str, depths: list[int], norm: BatchNorm | None = None) -> Network:
    """Table 1 of the paper: 3×3 convolutions in five stages of so many layers each, halved in between."""
    stages = []
    for number, (depth, width) in enumerate(zip(depths, (64, 128, 256, 512, 512), strict=True), start=1):
        stages += [
            Stage(f"conv{number}", depth * [Conv(width, 3)]),
            Stage(f"pool{number}", [Pool("max", 2, stride=2, ceil=False)]),
        ]
    normalised = ["batch normalisation after every convolution, which keeps its bias, as in torchvision"]
    return Network(
        name,
        stages=[
            *stages,
            Stage("avgpool", [Pool("avg", output=7)]),
            Stage("fc6", [Linear(4096, relu=True), Dropout(0.5)]),
            Stage("fc7", [Linear(4096, relu=True), Dropout(0.5)]),
            Stage("fc8", [Linear()]),
        ],
        norm=norm,
        paper=f"Simonyan & Zisserman, Very deep convolutional networks for large-scale image recognition, 2014, "
        f"configuration {configuration}",
        differences=[
            "average pooling to 7×7 before the linear layers: nothing at 224 pixels, and any size works",
            *(normalised if norm else []),
        ],
    )


VGG11 = _vgg("vgg11", "A", [1, 1, 2, 2, 2])
VGG16 = _vgg("vgg16", "D", [2, 2, 3, 3, 3])
VGG19 = _vgg("vgg19", "E", [2, 2, 4, 4, 4])
VGG11_BN = _vgg("vgg11_bn", "A", [1, 1, 2, 2, 2], BatchNorm(bias=True))
VGG16_BN = _vgg("vgg16_bn", "D", [2, 2, 3, 3, 3], BatchNorm(bias=True))
VGG19_BN = _vgg("vgg19_bn", "E", [2, 2, 4, 4, 4], BatchNorm(bias=True))


def basic_block(width: int, stride: int, project: bool) -> Residual:
    """Build the block of ResNet-18 (figure 5, left); ``project`` puts a 1×1 on the shortcut (option B)."""
    body = [Conv(width, 3, stride=stride), Conv(width, 3, relu=False)]
    return Residual(body, [Conv(width, stride=stride, relu=False)] if project else [])


def bottleneck(width: int, stride: int, project: bool) -> Residual:
    """Build the block of ResNet-50 (figure 5, right): four times ``width`` comes out."""
    body = [Conv(width), Conv(width, 3, stride=stride), Conv(4 * width, relu=False)]
    return Residual(body, [Conv(4 * width, stride=stride, relu=False)] if project else [])


_RESNET_STEM = [Stage("conv1", [Conv(64, 7, stride=2)]), Stage("maxpool", [replace(HALVE, padding=1)])]
_RESNET_CLASSIFIER = [Stage("avgpool", [GLOBAL_AVERAGE]), Stage("fc", [Linear()])]

RESNET18 = Network(
    "resnet18",
    stages=[
        *_RESNET_STEM,
        Stage("layer1", [basic_block(64, 1, project=False), basic_block(64, 1, project=False)]),
        Stage("layer2", [basic_block(128, 2, project=True), basic_block(128, 1, project=False)]),
        Stage("layer3", [basic_block(256, 2, project=True), basic_block(256, 1, project=False)]),
        Stage("layer4", [basic_block(512, 2, project=True), basic_block(512, 1, project=False)]),
        *_RESNET_CLASSIFIER,
    ],
    norm=BatchNorm(),
    paper="He et al., Deep residual learning for image recognition, 2015, Table 1",
    differences=["1×1 convolutions on the shortcuts that change size (option B), as in torchvision"],
)

RESNET50 = replace(
    RESNET18,
    name="resnet50",
    stages=[
        *_RESNET_STEM,
        Stage("layer1", [bottleneck(64, 1, project=True), *2 * [bottleneck(64, 1, project=False)]]),
        Stage("layer2", [bottleneck(128, 2, project=True), *3 * [bottleneck(128, 1, project=False)]]),
        Stage("layer3", [bottleneck(256, 2, project=True), *5 * [bottleneck(256, 1, project=False)]]),
        Stage("layer4", [bottleneck(512, 2, project=True), *2 * [bottleneck(512, 1, project=False)]]),
        *_RESNET_CLASSIFIER,
    ],
    differences=[
        *RESNET18.differences,
        "the 3×3 of a block halves the map where the paper's first 1×1 does, as in torchvision: 4.1 instead of "
        "3.8 billion MACs",
    ],
)


def _first_halves(layer: Layer) -> Layer:
    """Let the first convolution of a block halve the map."""
    if not isinstance(layer, Residual) or not any(isinstance(each, Conv) and each.stride > 1 for each in layer.body):
        return layer
    strides = (2, *(1 for _ in layer.body[1:]))
    pairs = zip(layer.body, strides, strict=True)
    return replace(layer, body=[replace(each, stride=n) if isinstance(each, Conv) else each for each, n in pairs])


RESNET50_CAFFE = replace(
    RESNET50.rewrite(_first_halves).change("maxpool", [Pool("max", 3, stride=2)]),
    name="resnet50_caffe",
    differences=[
        *RESNET18.differences,
        "the pool after the first convolution has no padding and rounds up, as in the authors' Caffe network",
    ],
)
