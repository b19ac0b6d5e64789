import json
from dataclasses import replace

import pytest
import torch

from googlenet.errors import InputSizeError, NetworkError
from googlenet.exporting.graph import _WRITE
from googlenet.models.analysis import analyse, minimum_size
from googlenet.models.build import create
from googlenet.models.layers.base import Layer
from googlenet.models.layers.containers import LAYER_TYPES
from googlenet.models.modules import _BUILD
from googlenet.models.networks.googlenet import GOOGLENET, GOOGLENET_BN, inception
from googlenet.models.spec import (
    LRN,
    AuxTap,
    BatchNorm,
    Conv,
    Dropout,
    Linear,
    Network,
    Parallel,
    Pool,
    Residual,
    SeparableConv,
    Stage,
    classifier,
    from_json,
    to_json,
)
from googlenet.models.zoo import NETWORKS

# Every layer type, used in ways GoogLeNet does not use it.
EVERY_LAYER_TYPE = Network(
    "every_layer_type",
    stages=[
        Stage("stem", [Conv(8, (3, 5), stride=2), LRN()]),
        Stage("separable", [SeparableConv(12, 3, multiplier=2)]),
        Stage("down", [Residual([Conv(16, 3, stride=2), Conv(16, 3, relu=False)], [Conv(16, stride=2)])]),
        Stage("same", [Residual([Conv(16, 3, groups=4), Conv(16, relu=False)], scale=0.2)]),
        Stage("mixed", [Parallel([Stage("a", [Conv(4)]), Stage("mean", [Pool("avg", 3, padding=1)]), Stage("x", [])])]),
        Stage("squeeze", [Pool("max", 2, stride=2, ceil=False)]),
        *classifier(dropout=0.1),
    ],
    aux=[AuxTap("side", "same", [Pool("max", output=2), Linear(6, relu=True), Linear()])],
    norm=BatchNorm(),
    input_size=32,
    num_classes=7,
)  # fmt: skip


def test_no_table_lacks_a_layer_type():
    assert set(Layer.__subclasses__()) == set(LAYER_TYPES) == set(_BUILD) == set(_WRITE)


@pytest.mark.parametrize(
    "network", [EVERY_LAYER_TYPE, replace(EVERY_LAYER_TYPE, norm=None)], ids=["normalised", "biases"]
)
def test_analysis_counts_what_the_interpreter_builds(network):
    built = create(network, num_classes=7)
    table = analyse(network)
    assert sum(p.numel() for p in built.parameters()) == table.training_parameters
    x = torch.zeros(2, 3, 32, 32)
    for stage, row in zip(network.stages, table.rows, strict=True):
        x = built.get_submodule(stage.name)(x)
        assert tuple(x.shape[1:]) in (row.cost.shape, row.cost.shape[:1])
    assert built.forward_with_aux(torch.zeros(2, 3, 32, 32)).aux[0].shape == (2, 7)


def test_residual_adds_its_shortcut_and_scales_its_body():
    only = Network("only", [Stage("block", [Residual([Conv(3, relu=False)], scale=0.5, relu=False)])], input_size=4)
    built = create(only)
    with torch.no_grad():
        built.block.body.conv.weight.copy_(torch.eye(3)[:, :, None, None])
    x = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(built(x), 1.5 * x)


@pytest.mark.parametrize("network", [*NETWORKS.values(), EVERY_LAYER_TYPE], ids=lambda network: network.name)
def test_a_network_survives_json(network):
    assert from_json(json.loads(json.dumps(to_json(network)))) == network


@pytest.mark.parametrize(
    "rubbish",
    [
        {"Conv": {"out": 0}},
        {"Conv": {"out": "64"}},
        {"Conv": {"out": 8, "kernel": [3, -1]}},
        {"Conv": {"colour": "red"}},
        {"System": {"run": "rm"}},
        {"Network": {"name": "n"}},
        {},
        {"Conv": {"out": 8}, "Pool": {"kind": "max", "kernel": 2}},
        {"Dropout": {"p": 1.5}},
        {"Pool": {"kind": "median", "kernel": 2}},
    ],
    ids=str,
)
def test_json_that_is_no_network_is_a_clear_error(rubbish):
    with pytest.raises(NetworkError) as caught:
        from_json(rubbish)
    assert "\n" not in str(caught.value)


def test_a_stage_is_changed_added_and_removed_in_one_line():
    wider = GOOGLENET.change("inception_4a", inception(192, 96, 256, 16, 48, 64))
    assert analyse(wider).parameters > analyse(GOOGLENET).parameters
    deeper = GOOGLENET.insert_after("inception_5b", Stage("inception_5c", inception(384, 192, 384, 48, 128, 128)))
    assert analyse(deeper).depth == 24
    shallower = GOOGLENET.remove("inception_4b")
    assert analyse(shallower).depth == 20
    assert create(deeper, num_classes=3)(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_rewrite_reaches_into_branches_and_heads():
    narrow = GOOGLENET_BN.rewrite(lambda layer: replace(layer, out=8) if isinstance(layer, Conv) else layer)
    assert {row.cost.shape[0] for row in analyse(narrow).rows if row.kind == "inception"} == {32}
    assert analyse(narrow).aux[0].cost.parameters < analyse(GOOGLENET_BN).aux[0].cost.parameters


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GOOGLENET.change("inception_4z", []), "did you mean 'inception_4"),
        (lambda: replace(GOOGLENET, aux=[AuxTap("a", "nowhere", [])]), "nowhere"),
        (lambda: Network("n", [Stage("a", []), Stage("a", [])]), "used twice: a"),
        (lambda: Stage("a.b", []), "without dots"),
        (lambda: Parallel([Stage("x", []), Stage("x", [])]), "used twice: x"),
        (lambda: analyse(Network("n", [Stage("a", [Conv(9, groups=2)])])), "divided into its groups"),
        (lambda: analyse(Network("n", [Stage("a", [Residual([Conv(5)])])])), "differ in shape: 5×1×1, 3×1×1"),
        (
            lambda: analyse(Network("n", [Stage("a", [Parallel([Stage("x", [Conv(2, 1, 2)]), Stage("y", [])])])]), 8),
            "differ in size",
        ),
        (lambda: analyse(GOOGLENET, 30), "got 30×30 pixels; it takes 31×31 or more"),
    ],
)  # fmt: skip
def test_a_declaration_that_does_not_hold_together_is_a_clear_error(make, says):
    with pytest.raises(NetworkError, match=says):
        make()


@pytest.mark.parametrize("network", NETWORKS.values(), ids=lambda network: network.name)
def test_the_smallest_input_works_with_all_heads_and_a_smaller_one_says_so(network):
    least = minimum_size(network)
    with torch.device("meta"):  # shapes alone
        built = create(network, num_classes=3, in_channels=3).eval()
        assert built.forward_with_aux(torch.zeros(2, 3, least, least + 9)).logits.shape == (2, 3)
        if least > 1:
            with pytest.raises(InputSizeError, match=f"it takes {least}×{least} or more"):
                built(torch.zeros(2, 3, least + 9, least - 1))


def test_the_minimum_is_where_torch_itself_can_pool_no_further():
    sides = [31, 30]
    for kernel, stride, padding in [(7, 2, 3), (3, 2, 0), (3, 2, 0), (3, 2, 0)]:
        sides = (
            [-(-(side + 2 * padding - kernel) // stride) + 1 for side in sides]
            if kernel == 3
            else [(side + 2 * padding - kernel) // stride + 1 for side in sides]
        )
    enough, too_small = (torch.zeros(1, 1, side, side) for side in sides)
    assert torch.nn.functional.max_pool2d(enough, 3, 2, ceil_mode=True).shape == (1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        torch.nn.functional.max_pool2d(too_small, 3, 2, ceil_mode=True)


def test_dropout_has_no_place_to_hide():
    drops = [layer.p for stage in GOOGLENET.stages for layer in stage.layers if isinstance(layer, Dropout)]
    assert drops == [0.4]
    for tap in GOOGLENET.aux:
        assert [layer.p for layer in tap.layers if isinstance(layer, Dropout)] == [0.7]
        assert tap.weight == 0.3
