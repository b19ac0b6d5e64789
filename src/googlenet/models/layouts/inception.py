"""How torchvision, timm and Caffe name the tensors of GoogLeNet's successors: Inception v2 to v4, Xception."""

from __future__ import annotations

from googlenet.models.layouts.base import Layout

# torchvision and timm name Inception v3 alike but for the head.
INCEPTION_V3: Layout = (
    (r"^conv1\.", r"Conv2d_1a_3x3."),
    (r"^conv2\.", r"Conv2d_2a_3x3."),
    (r"^conv3\.", r"Conv2d_2b_3x3."),
    (r"^conv4\.", r"Conv2d_3b_1x1."),
    (r"^conv5\.", r"Conv2d_4a_3x3."),
    (r"^mixed_(7[bc])\.3x3\.0\.", r"Mixed_\1.branch3x3_1."),
    (r"^mixed_(7[bc])\.3x3\.1\.1x3\.", r"Mixed_\1.branch3x3_2a."),
    (r"^mixed_(7[bc])\.3x3\.1\.3x1\.", r"Mixed_\1.branch3x3_2b."),
    (r"^mixed_(7[bc])\.double_3x3\.0\.", r"Mixed_\1.branch3x3dbl_1."),
    (r"^mixed_(7[bc])\.double_3x3\.1\.", r"Mixed_\1.branch3x3dbl_2."),
    (r"^mixed_(7[bc])\.double_3x3\.2\.1x3\.", r"Mixed_\1.branch3x3dbl_3a."),
    (r"^mixed_(7[bc])\.double_3x3\.2\.3x1\.", r"Mixed_\1.branch3x3dbl_3b."),
    (r"^mixed_", r"Mixed_"),
    (r"\.1x1\.", r".branch1x1."),
    (r"\.pool_proj\.1\.", r".branch_pool."),
    *((rf"\.{ours}\.{n}\.", rf".branch{theirs}_{n + 1}.")
      for ours, theirs in (("5x5", "5x5"), ("double_3x3", "3x3dbl"), ("7x7", "7x7"), ("double_7x7", "7x7dbl"),
                           ("3x3", "3x3"), ("7x7_3x3", "7x7x3"))
      for n in range(5)),
    (r"\.3x3\.", r".branch3x3."),
    (r"^aux\.1\.", r"AuxLogits.conv0."),
    (r"^aux\.2\.", r"AuxLogits.conv1."),
    (r"^aux\.3\.", r"AuxLogits.fc."),
)  # fmt: skip


def inception_v4() -> Layout:
    """Return timm's names of Inception v4: a flat list of numbered features."""
    first = {"inception_a": 6, "inception_b": 11, "inception_c": 19}
    counts = {"inception_a": 4, "inception_b": 7, "inception_c": 3}
    named = ["conv1", "conv2", "conv3", "mixed_3a", "mixed_4a", "mixed_5a"]
    numbers = {name: number for number, name in enumerate(named)} | {"reduction_a": 10, "reduction_b": 18}
    return (
        *((rf"^{name}\.(?=conv|bn)", rf"features.{numbers[name]}.") for name in named[:3]),
        (r"^mixed_3a\.3x3\.", r"features.3.conv."),
        (r"^mixed_4a\.3x3\.", r"features.4.branch0."),
        (r"^mixed_4a\.7x7_3x3\.", r"features.4.branch1."),
        (r"^mixed_5a\.3x3\.", r"features.5.conv."),
        (r"^reduction_a\.3x3\.", r"features.10.branch0."),
        (r"^reduction_a\.double_3x3\.", r"features.10.branch1."),
        (r"^reduction_b\.3x3\.", r"features.18.branch0."),
        (r"^reduction_b\.7x7_3x3\.", r"features.18.branch1."),
        *((rf"^{name}\.{n}\.", rf"features.{first[name] + n}.") for name in first for n in range(counts[name])),
        (r"^(features\.(?:19|20|21))\.3x3\.0\.", r"\1.branch1_0."),
        (r"^(features\.(?:19|20|21))\.3x3\.1\.1x3\.", r"\1.branch1_1a."),
        (r"^(features\.(?:19|20|21))\.3x3\.1\.3x1\.", r"\1.branch1_1b."),
        (r"^(features\.(?:19|20|21))\.double_3x3\.([012])\.", r"\1.branch2_\2."),
        (r"^(features\.(?:19|20|21))\.double_3x3\.3\.1x3\.", r"\1.branch2_3a."),
        (r"^(features\.(?:19|20|21))\.double_3x3\.3\.3x1\.", r"\1.branch2_3b."),
        (r"\.1x1\.", r".branch0."),
        (r"\.(?:3x3|7x7)\.", r".branch1."),
        (r"\.(?:double_3x3|double_7x7)\.", r".branch2."),
        (r"^(features\.(?:19|20|21))\.pool_proj\.", r"\1.branch3."),
        (r"\.pool_proj\.", r".branch3."),
        (r"^fc\.", r"last_linear."),
    )


INCEPTION_RESNET_V2: Layout = (
    (r"^conv1\.", r"conv2d_1a."),
    (r"^conv2\.", r"conv2d_2a."),
    (r"^conv3\.", r"conv2d_2b."),
    (r"^conv4\.", r"conv2d_3b."),
    (r"^conv5\.", r"conv2d_4a."),
    (r"^conv7\.", r"conv2d_7b."),
    (r"^reduction_a\.3x3\.", r"mixed_6a.branch0."),
    (r"^reduction_a\.double_3x3\.", r"mixed_6a.branch1."),
    (r"^reduction_b\.3x3_a\.", r"mixed_7a.branch0."),
    (r"^reduction_b\.3x3_b\.", r"mixed_7a.branch1."),
    (r"^reduction_b\.double_3x3\.", r"mixed_7a.branch2."),
    (r"^mixed_5b\.1x1\.", r"mixed_5b.branch0."),
    (r"^mixed_5b\.5x5\.", r"mixed_5b.branch1."),
    (r"^mixed_5b\.double_3x3\.", r"mixed_5b.branch2."),
    (r"^mixed_5b\.pool_proj\.", r"mixed_5b.branch3."),
    (r"^block_35\.", r"repeat."),
    (r"^block_17\.", r"repeat_1."),
    (r"^block_8\.9\.", r"block8."),
    (r"^block_8\.", r"repeat_2."),
    (r"\.body\.0\.", r"."),
    (r"\.body\.1\.conv\.", r".conv2d."),
    (r"^fc\.", r"classif."),
)


def xception() -> Layout:
    """Return timm's names of Xception."""

    # A block of theirs is a flat list of ReLU, convolution and normalisation; the first block has no ReLU in front.
    def unit(block: str, ours: int, theirs: int) -> Layout:
        return (
            (rf"^{block}\.body\.{ours}\.depthwise\.", rf"{block}.rep.{theirs}.conv1."),
            (rf"^{block}\.body\.{ours}\.conv\.", rf"{block}.rep.{theirs}.pointwise."),
            (rf"^{block}\.body\.{ours}\.bn\.", rf"{block}.rep.{theirs + 1}."),
        )

    halving = ("block2", "block3", "block12")
    middle = tuple(f"block{number}" for number in range(4, 12))
    return (
        *((rf"^middle\.{n}\.", rf"{block}.") for n, block in enumerate(middle)),
        *unit("block1", 0, 0),
        *unit("block1", 1, 3),
        *(
            preprocessing
            for block in (*halving, *middle)
            for n in (1, 2, 3)
            for preprocessing in unit(block, n, 3 * n - 2)
        ),
        (r"\.shortcut\.conv\.", r".skip."),
        (r"\.shortcut\.bn\.", r".skipbn."),
        (r"^conv([34])\.depthwise\.", r"conv\1.conv1."),
        (r"^conv([34])\.conv\.", r"conv\1.pointwise."),
        (r"^conv([12])\.conv\.", r"conv\1."),
        (r"^conv(\d)\.bn\.", r"bn\1."),
    )


# Caffe normalises in two layers: the statistics are the first one's, what is learnt the second one's.
INCEPTION_BN: Layout = (
    (r"^conv1\.", r"conv1/7x7_s2."),
    (r"^conv2\.0\.", r"conv2/3x3_reduce."),
    (r"^conv2\.1\.", r"conv2/3x3."),
    (r"^(inception_\w\w)\.1x1\.", r"\1/1x1."),
    (r"^(inception_\w\w)\.3x3\.0\.", r"\1/3x3_reduce."),
    (r"^(inception_\w\w)\.3x3\.1\.", r"\1/3x3."),
    (r"^(inception_\w\w)\.double_3x3\.0\.", r"\1/double3x3_reduce."),
    (r"^(inception_\w\w)\.double_3x3\.1\.", r"\1/double3x3a."),
    (r"^(inception_\w\w)\.double_3x3\.2\.", r"\1/double3x3b."),
    (r"^(inception_\w\w)\.pool_proj\.1\.", r"\1/pool_proj."),
    (r"^fc\.", r"loss3/classifier."),
    (r"\.conv\.", r"."),
    (r"\.bn\.running", r"/bn.running"),
    (r"\.bn\.", r"/bn/sc."),
)
