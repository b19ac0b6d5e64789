"""The family against those who made it: torchvision's and timm's modules with random weights, and the papers."""

import warnings

import pytest
import timm
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from googlenet.models.analysis import analyse
from googlenet.models.build import create
from googlenet.models.spec import Conv
from googlenet.models.weights import from_layout, to_layout
from googlenet.models.zoo import NETWORKS, find


def a_torchvision(name, **options):
    def make():
        return getattr(torchvision.models, name)(weights=None, num_classes=13, **options)

    return make


def a_timm(name, **options):
    return lambda: timm.create_model(name, pretrained=False, num_classes=13, **options)


def same(*names):
    return {name: name for name in names}


V3 = {
    "conv1": "Conv2d_1a_3x3", "conv2": "Conv2d_2a_3x3", "conv3": "Conv2d_2b_3x3", "conv4": "Conv2d_3b_1x1",
    "conv5": "Conv2d_4a_3x3",
    **{f"mixed_{n}": f"Mixed_{n}" for n in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")},
}  # fmt: skip
V3_TORCHVISION = {**V3, "maxpool1": "maxpool1", "maxpool2": "maxpool2", "avgpool": "avgpool"}
V3_TIMM = {**V3, "maxpool1": "Pool1", "maxpool2": "Pool2"}
V4 = {
    **{name: f"features.{n}" for n, name in enumerate(["conv1", "conv2", "conv3", "mixed_3a", "mixed_4a", "mixed_5a"])},
    "inception_a": "features.9", "reduction_a": "features.10", "inception_b": "features.17",
    "reduction_b": "features.18", "inception_c": "features.21",
}  # fmt: skip
RESNET_V2 = {
    "conv1": "conv2d_1a", "conv2": "conv2d_2a", "conv3": "conv2d_2b", "maxpool1": "maxpool_3a", "conv4": "conv2d_3b",
    "conv5": "conv2d_4a", "maxpool2": "maxpool_5a", "mixed_5b": "mixed_5b", "block_35": "repeat",
    "reduction_a": "mixed_6a", "block_17": "repeat_1", "reduction_b": "mixed_7a", "block_8": "block8",
    "conv7": "conv2d_7b",
}  # fmt: skip
XCEPTION = {
    "conv1": "act1", "conv2": "act2", **same("block1", "block2", "block3", "block12"), "middle": "block11",
    "conv3": "act3", "conv4": "act4",
}  # fmt: skip
ALEXNET = {
    "conv1": "features.1", "pool1": "features.2", "conv2": "features.4", "pool2": "features.5", "conv3": "features.7",
    "conv4": "features.9", "conv5": "features.11", "pool5": "avgpool", "fc6": "classifier.2", "fc7": "classifier.5",
    "fc8": "classifier.6",
}  # fmt: skip
RESNET = {"conv1": "relu", **same("maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc")}


def vgg_stages(name):
    """Their flat list: the ReLU that ends each of our stages, and the pool after it."""
    network, stages, at = find(name), {"avgpool": "avgpool", "fc8": "classifier.6"}, 0
    for number in range(1, 6):
        layers = network.stages[2 * number - 2].layers
        at += len(layers) * (2 if network.norm is None else 3)
        stages |= {f"conv{number}": f"features.{at - 1}", f"pool{number}": f"features.{at}"}
        at += 1
    return stages


VGGS = ["vgg11", "vgg16", "vgg19", "vgg11_bn", "vgg16_bn", "vgg19_bn"]

# our network, theirs, the layout of their weights, which module of theirs gives what a stage of ours gives
ORACLES = [
    ("inception_v3", a_torchvision("inception_v3", init_weights=True), "torchvision", V3_TORCHVISION),
    ("inception_v3", a_timm("inception_v3"), "timm", V3_TIMM),
    ("inception_v4", a_timm("inception_v4"), "timm", V4),
    ("inception_resnet_v2", a_timm("inception_resnet_v2"), "timm", RESNET_V2),
    ("xception", a_timm("legacy_xception"), "timm", XCEPTION),
    ("alexnet_torchvision", a_torchvision("alexnet"), "torchvision", ALEXNET),
    *((name, a_torchvision(name), "torchvision", vgg_stages(name)) for name in VGGS),
    ("resnet18", a_torchvision("resnet18"), "torchvision", RESNET),
    ("resnet50", a_torchvision("resnet50"), "torchvision", RESNET),
    ("resnet18", a_timm("resnet18"), "timm", RESNET | {"conv1": "act1", "avgpool": "global_pool"}),
]


def randomised(theirs, size):
    """Batch statistics as the network has them on some images, scales and shifts at random, so that all count."""
    torch.manual_seed(0)
    norms = [module for module in theirs.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            norm.weight.uniform_(0.7, 1.3)
            norm.bias.normal_(0, 0.2)
        if norms:
            theirs.train()(torch.randn(2, 3, size, size))
    return theirs.eval()


@pytest.fixture(scope="module", params=ORACLES, ids=[f"{name}-{layout}" for name, _, layout, _ in ORACLES])
def pair(request):
    name, make, layout, stages = request.param
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = randomised(make(), find(name).input_size)
    taken = from_layout(find(name), theirs.state_dict())
    with torch.device("meta"):  # no random weights: they are replaced
        ours = create(taken.network).eval()
    ours.load_state_dict(taken.state, assign=True)
    return ours, theirs, layout, stages


@pytest.fixture
def make(request):
    """What makes their module of the pair."""
    return request.node.callspec.params["pair"][1]


@torch.inference_mode()
def test_outputs_and_every_stage_are_theirs(pair):
    ours, theirs, _, stages = pair
    size = ours.network.input_size
    x = torch.randn(1, 3, size, size)
    seen = {}

    def watch(stage):
        return lambda _, __, out: seen.update({stage: out.clone()})

    hooks = [theirs.get_submodule(module).register_forward_hook(watch(stage)) for stage, module in stages.items()]
    expected = theirs(x)
    for hook in hooks:
        hook.remove()
    if isinstance(expected, tuple):
        expected = expected[0]
    assert expected.std() > 0.01  # an oracle that says something
    torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=1e-4)
    y = x
    for stage in ours.network.stages:
        y = ours.get_submodule(stage.name)(y)
        if stage.name in stages:
            torch.testing.assert_close(y.flatten(1), seen.pop(stage.name).flatten(1), atol=1e-3, rtol=1e-3)
    assert not seen
    assert len(stages) >= len(ours.network.stages) - 6  # all but poolings and dropouts they have no module for


def test_parameters_and_operations_are_counted_as_theirs(pair, make):
    network = pair[0].network
    table, size = analyse(network), network.input_size
    with warnings.catch_warnings(), torch.device("meta"):  # shapes alone
        warnings.simplefilter("ignore")
        theirs, image = make().eval(), torch.zeros(1, 3, size, size)
    assert table.training_parameters == sum(parameter.numel() for parameter in theirs.parameters())
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        theirs(image)
    assert 2 * table.macs == counter.get_total_flops()


def test_weights_go_out_as_they_came_in(pair):
    ours, theirs, layout, _ = pair
    back, state = to_layout(ours.network, ours.state_dict(), layout), theirs.state_dict()
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state if not key.endswith("num_batches_tracked"))


@torch.inference_mode()
def test_the_head_of_inception_v3():
    torch.manual_seed(0)
    theirs = randomised(torchvision.models.inception_v3(weights=None, num_classes=7, init_weights=True), 299)
    taken = from_layout(find("inception_v3"), theirs.state_dict())
    ours = create(taken.network).eval()
    ours.load_state_dict(taken.state)
    x = torch.randn(2, 3, 299, 299)
    theirs.training = True  # their head speaks in training only; everything inside stays as in evaluation
    outputs = ours.forward_with_aux(x)
    torch.testing.assert_close(outputs.aux[0], theirs(x).aux_logits, atol=1e-4, rtol=1e-4)


# What the papers print, and what is known of the authors' networks.


def rows(name):
    return {row.name: row.cost for row in analyse(find(name)).rows}


def test_lenet_against_its_paper():
    table = rows("lenet5")
    assert (table["c1"].parameters, table["c5"].parameters, table["f6"].parameters) == (156, 48_120, 10_164)
    assert [table[row].shape for row in ("c1", "s2", "c3", "s4", "c5")] == [
        (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120, 1, 1),
    ]  # fmt: skip
    assert table["c1"].macs + 6 * 28 * 28 == 122_304  # connections, a bias each
    assert analyse(find("lenet5")).parameters == 61_706


def test_alexnet_against_its_paper():
    table = rows("alexnet")
    neurons = [table[row].shape for row in ("conv2", "conv3", "conv4", "conv5")]
    assert [c * h * w for c, h, w in neurons] == [186_624, 64_896, 64_896, 43_264]
    assert analyse(find("alexnet")).parameters == 60_965_224


def test_nin_has_the_size_of_its_authors_network():
    assert analyse(find("nin")).parameters == 966_986
    assert not [key for key, _ in create("nin").named_parameters() if "fc" in key]


def test_inception_v2_against_figure_5():
    table = rows("inception_v2")
    printed = {
        "conv1": (112, 64), "maxpool1": (56, 64), "conv2": (56, 192), "maxpool2": (28, 192), "inception_3a": (28, 256),
        "inception_3b": (28, 320), "inception_4a": (14, 576), "inception_4b": (14, 576), "inception_4c": (14, 576),
        "inception_4d": (14, 576), "inception_5a": (7, 1024), "inception_5b": (7, 1024), "avgpool": (1, 1024),
    }  # fmt: skip
    assert {row: (table[row].shape[1], table[row].shape[0]) for row in printed} == printed
    assert {table[row].depth for row in printed if row.startswith("inception")} == {3}


def test_inception_resnet_v1_against_figure_15():
    table = rows("inception_resnet_v1")
    grids = [table[row].shape for row in ("block_35", "reduction_a", "block_17", "reduction_b", "block_8", "avgpool")]
    assert grids == [(256, 35, 35), (896, 17, 17), (896, 17, 17), (1792, 8, 8), (1792, 8, 8), (1792, 1, 1)]


def test_xception_has_the_parameters_its_paper_prints():
    assert analyse(find("xception")).parameters == 22_855_952


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.endswith("_small")])
def test_a_small_sibling_differs_in_its_stem_alone(name):
    small, full = find(name), find({"googlenet_small": "googlenet_bn"}.get(name, name.removesuffix("_small")))
    table = {row.name: row.cost for row in analyse(small).rows}
    last = [stage.name for stage in small.stages if any(not isinstance(layer, Conv) for layer in stage.layers)][-4]
    assert table[last].shape[1] >= 3  # modules still see a map, not a point
    assert small.input_size == 32
    assert small.stages[-8:] == full.stages[-8:]
