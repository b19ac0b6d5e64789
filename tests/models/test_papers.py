"""What the papers print stands beside the right rows, and agrees wherever no remark says otherwise."""

import pytest

from googlenet.models.analysis import analyse
from googlenet.models.papers import PRINTED, claims, find
from googlenet.models.zoo import NETWORKS

# Where paper and network part ways, and a remark or a difference says why.
DIFFER = {"inception_v2": {"inception_3c", "inception_4e"}, "inception_v3": {"conv4"}}


@pytest.mark.parametrize("name", PRINTED)
def test_every_printed_row_is_a_row_of_the_network(name):
    network = NETWORKS[name]
    printed = find(network, network.input_size)
    assert printed.rows.keys() <= {stage.name for stage in network.stages}
    assert printed.rows or printed.total


@pytest.mark.parametrize("name", [name for name in PRINTED if "output" in PRINTED[name].columns])
def test_printed_sizes_are_the_true_ones_where_nothing_is_said(name):
    for row in analyse(NETWORKS[name]).rows:
        channels, height, width = row.cost.shape
        output = PRINTED[name].rows.get(row.name, {}).get("output")
        forms = (None, f"{height}×{width}×{channels}", f"{height}×{width}", str(channels))
        assert (output in forms) != (row.name in DIFFER.get(name, ())), (row.name, output)
    assert not DIFFER.get(name) or PRINTED[name].remarks()


def test_nothing_is_printed_about_another_input_size():
    assert find(NETWORKS["inception_v3"], 96).columns == ()
    assert find(NETWORKS["googlenet_bn"], 224).columns == ()


def test_the_claims_of_size_beside_what_is_true():
    assert claims(["googlenet", "vgg16", "alexnet"]) == [
        "said: 1/12 of AlexNet's parameters; true: 1/8.7 (6,998,552 against 60,965,224)",
        "said: 1/3 of VGG-16's parameters; true: 1/19.8 (6,998,552 against 138,357,544)",
    ]
    assert claims(["googlenet", "resnet18"]) == claims(["alexnet"]) == []
