"""What is no network, no stage and no image is an error of ours that says what is needed."""

from pathlib import Path

import numpy as np
import pytest
import torch

import googlenet
from googlenet.errors import InputSizeError, MachineError, NetworkError, WeightsError
from googlenet.models.networks.googlenet import GOOGLENET
from googlenet.models.spec import LRN, Conv, Dropout, Linear, Network, Parallel, Pool, Residual, Stage


def test_any_kind_of_whole_number_is_one():
    network = googlenet.create("lenet5", num_classes=np.int64(3), in_channels=np.uint8(2)).network
    assert (type(network.num_classes), network.num_classes, network.in_channels) == (int, 3, 2)
    assert len(googlenet.create("googlenet", aux=np.int32(1)).network.aux) == 1
    assert Conv(np.int16(8), (np.int64(3), 5)) == Conv(8, (3, 5))
    assert googlenet.analyse("lenet5", np.int64(32)).size == 32


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: googlenet.create("lenet5", num_classes=True), "from 1 to 1,048,576, got True"),
        (lambda: googlenet.create("lenet5", num_classes=10**12), "from 1 to 1,048,576, got 1000000000000"),
        (lambda: googlenet.create("lenet5", num_classes="3"), "num_classes must be a whole number"),
        (lambda: googlenet.create(None), "got None"),
        (lambda: googlenet.create(5), "got 5"),
        (lambda: googlenet.create([]), r"got \[\]"),
        (lambda: googlenet.create("googlenet", aux="x"), "has 2, got 'x'"),
        (lambda: googlenet.create("googlenet", aux=True), "has 2, got True"),
        (lambda: googlenet.create("googlenet", dropout="x"), "dropout is a probability .* got 'x'"),
        (lambda: googlenet.create("googlenet", init=[]), r"name and init are texts, got 'googlenet' and \[\]"),
        (lambda: googlenet.analyse("googlnet"), "did you mean 'googlenet'"),
        (lambda: googlenet.analyse(None), "got None"),
        (lambda: GOOGLENET.insert_after("inception_5b", "x"), "stages is a list of .*: Stage; got 'x'"),
        (lambda: GOOGLENET.insert_after(5, Stage("x", [])), "no stage 5"),
        (lambda: GOOGLENET.rewrite(lambda layer: 5), "layers is a list of .* got 5"),
        (lambda: Stage(5, [Conv(8)]), "non-empty and without dots, got 5"),
        (lambda: Stage("a", Conv(8)), "layers is a list of .*: Conv, .* got Conv"),
        (lambda: Stage("a", "xy"), "layers is a list .* got 'xy'"),
        (lambda: Parallel([1]), "branches is a list of .*: Stage; got 1"),
        (lambda: Residual(None), "body is a list .* got None"),
        (lambda: Network("n", [Conv(3)]), "stages is a list of .*: Stage; got Conv"),
        (lambda: Network(5, []), "name and init are texts"),
        (lambda: Conv(8, (3, "x")), r"kernel must be a whole number from 1 to 4,096, got \(3, 'x'\)"),
        (lambda: Conv(8, 3, padding=-1), "padding must be a whole number from 0"),
        (lambda: Pool("max", "x"), "kernel must be a whole number"),
        (lambda: LRN(size="x"), "size must be a whole number"),
        (lambda: Dropout(None), "got None"),
    ],
)
def test_what_is_no_part_of_a_network_is_refused(make, says):
    with pytest.raises(NetworkError, match=says):
        make()


@pytest.mark.parametrize("size", ["x", 32.0, True])
def test_a_size_is_a_whole_number(size):
    with pytest.raises(InputSizeError, match="size is a whole number of pixels"):
        googlenet.analyse("lenet5", size)


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (torch.zeros(1, 32, 32), r"torch.float32 \(1, 32, 32\)"),
        (torch.zeros(1, 1, 32, 32, dtype=torch.uint8), "torch.uint8"),
        (np.zeros((1, 1, 32, 32), np.float32), "array"),
        (None, "None"),
    ],
)
@pytest.mark.parametrize("forward", ["forward", "forward_with_aux"])
def test_images_are_a_batch_of_floating_point(images, got, forward):
    with pytest.raises(NetworkError, match=rf"takes floating-point images \(N, 1, H, W\), got {got}"):
        getattr(googlenet.create("lenet5"), forward)(images)


def test_more_parameters_than_memory_are_counted():
    huge = Network("huge", [Stage("a", [Linear(2**20)])], input_size=512)  # one layer: nothing is allocated before it
    with pytest.raises(MachineError, match="huge with 1,000 classes has 824,634,769,408 parameters"):
        googlenet.create(huge)


@pytest.mark.parametrize("source", [None, 5, "", b"w.pth", []])
def test_weights_are_named_by_a_path(source, tmp_path):
    with pytest.raises(WeightsError, match="source is a path"):
        googlenet.convert(source, tmp_path / "run", network="lenet5")
    with pytest.raises(WeightsError, match="out is a path"):
        googlenet.convert("w.pth", source, network="lenet5")
    with pytest.raises(WeightsError, match="is an address"):
        googlenet.convert(Path("https://example.org/w.pth"), tmp_path / "run", network="lenet5")
