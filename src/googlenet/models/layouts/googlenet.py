"""How torchvision, Caffe and TensorFlow name the tensors of GoogLeNet."""

from __future__ import annotations

from googlenet.models.layouts.base import Layout

TORCHVISION: Layout = (
    (r"^conv2\.0\.", r"conv2."),
    (r"^conv2\.1\.", r"conv3."),
    (r"^inception_(\d)(\w)\.", r"inception\1\2."),
    (r"\.1x1\.", r".branch1."),
    (r"\.3x3\.", r".branch2."),
    (r"\.5x5\.", r".branch3."),
    (r"\.pool_proj\.1\.", r".branch4.1."),
    (r"^(aux\d)\.1\.", r"\1.conv."),
    (r"^(aux\d)\.2\.", r"\1.fc1."),
    (r"^(aux\d)\.4\.", r"\1.fc2."),
)

CAFFE: Layout = (
    (r"^conv1\.conv\.", r"conv1/7x7_s2."),
    (r"^conv2\.0\.conv\.", r"conv2/3x3_reduce."),
    (r"^conv2\.1\.conv\.", r"conv2/3x3."),
    (r"^(inception_\w\w)\.1x1\.conv\.", r"\1/1x1."),
    (r"^(inception_\w\w)\.(3x3|5x5)\.0\.conv\.", r"\1/\2_reduce."),
    (r"^(inception_\w\w)\.(3x3|5x5)\.1\.conv\.", r"\1/\2."),
    (r"^(inception_\w\w)\.pool_proj\.1\.conv\.", r"\1/pool_proj."),
    (r"^aux(\d)\.1\.conv\.", r"loss\1/conv."),
    (r"^aux(\d)\.2\.", r"loss\1/fc."),
    (r"^aux(\d)\.4\.", r"loss\1/classifier."),
    (r"^fc\.", r"loss3/classifier."),
)

TENSORFLOW: Layout = (
    (r"^conv1\.conv\.", r"conv2d0."),
    (r"^conv2\.0\.conv\.", r"conv2d1."),
    (r"^conv2\.1\.conv\.", r"conv2d2."),
    (r"^inception_(\w\w)\.1x1\.conv\.", r"mixed\1_1x1."),
    (r"^inception_(\w\w)\.(3x3|5x5)\.0\.conv\.", r"mixed\1_\2_bottleneck."),
    (r"^inception_(\w\w)\.(3x3|5x5)\.1\.conv\.", r"mixed\1_\2."),
    (r"^inception_(\w\w)\.pool_proj\.1\.conv\.", r"mixed\1_pool_reduce."),
    (r"^aux1\.1\.conv\.", r"head0_bottleneck."),
    (r"^aux2\.1\.conv\.", r"head1_bottleneck."),
    (r"^aux1\.2\.", r"nn0."),
    (r"^aux2\.2\.", r"nn1."),
    (r"^aux1\.4\.", r"softmax0."),
    (r"^aux2\.4\.", r"softmax1."),
    (r"^fc\.", r"softmax2."),
    (r"\.weight$", r"_w"),
    (r"\.bias$", r"_b"),
)
