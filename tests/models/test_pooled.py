"""Networks whose classifier sees the averaged maps of several stages."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from googlenet.errors import NetworkError
from googlenet.models import zoo
from googlenet.models.analysis import analyse
from googlenet.models.build import create
from googlenet.models.grids import to_grid
from googlenet.models.shapes import state_dict_on_meta
from googlenet.models.spec import AuxTap, Linear, Pool, from_json, to_json

POOLED = ("inception_1", "inception_2")


@pytest.fixture
def pooled(tiny):
    more = replace(tiny.stages[3], name="inception_3")
    return replace(tiny.insert_after("inception_2", more), pooled=POOLED, num_classes=5)


def test_the_classifier_sees_the_averages_of_each_stage_in_order(pooled):
    network = create(pooled).eval()
    images = torch.randn(2, 3, 32, 32)
    x, seen = images, {}
    for stage in pooled.stages[:5]:
        seen[stage.name] = x = network.get_submodule(stage.name)(x)
    averages = torch.cat([seen[name].mean((2, 3)) for name in (*POOLED, "inception_3")], dim=1)
    expected = network.get_submodule("fc")(averages)
    torch.testing.assert_close(network(images), expected)
    torch.testing.assert_close(network.forward_with_aux(images).logits, expected)
    for after in ("conv1", "inception_1"):
        torch.testing.assert_close(network.forward_with_aux(seen[after], after).logits, expected)
        torch.testing.assert_close(network.embed(seen[after], after), averages)
    assert [maps.shape[1] for maps in network.averaged_maps(images)] == [20, 24, 24]


def test_what_is_computed_from_the_data_agrees_with_the_module(pooled):
    network = create(pooled)
    meta = state_dict_on_meta(pooled)
    assert {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()} == {
        key: header.shape for key, header in meta.items()
    }
    assert analyse(pooled).training_parameters == sum(p.numel() for p in network.parameters())
    assert from_json(to_json(pooled)) == pooled


@pytest.mark.parametrize(("change", "message"), [
    ({"pooled": ("inception_9",)}, "stage 'inception_9' cannot be pooled for the classifier"),
    ({"pooled": ("inception_3",)}, "'inception_3' cannot be pooled"),  # which the classifier sees anyway
    ({"pooled": POOLED[::-1]}, "pooled is not in the order of the stages: inception_2, inception_1"),
    ({"pooled": (POOLED[0], POOLED[0])}, "not in the order of the stages"),
    ({"aux": [AuxTap("late", "dropout", [Pool("avg", output=1), Linear()])]}, "head 'late' sits after the pooling"),
])  # fmt: skip
def test_what_cannot_be_pooled_is_refused(pooled, change, message):
    with pytest.raises(NetworkError, match=message):
        replace(pooled, **change)


def test_a_network_without_global_average_pooling_has_nothing_to_pool_for():
    with pytest.raises(NetworkError, match="does not end in global average pooling and one linear layer"):
        replace(zoo.find("vgg11"), pooled=("conv1",))


@pytest.mark.parametrize("source", [1, 2, 5, 8, 17])
@pytest.mark.parametrize("target", [1, 3, 8, 17, 35])
def test_maps_keep_their_average_on_another_grid(source, target):
    weights = to_grid(source, target)
    row = np.random.default_rng(0).random(source)
    assert (weights @ row).mean() == pytest.approx(row.mean())
    assert (weights @ np.ones(source)).tolist() == pytest.approx([1.0] * target)
