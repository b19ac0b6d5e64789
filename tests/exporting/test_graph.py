"""The graph written from the data against the module built from it: torch is the oracle, two engines read the file."""

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import googlenet
from googlenet.card import ModelCard
from googlenet.errors import BundleError, InputSizeError, NetworkError
from googlenet.evaluation.calibration import calibrated
from googlenet.exporting.bundles import Deployed, write_bundle
from googlenet.exporting.graph import to_onnx
from googlenet.models.analysis import minimum_size
from googlenet.models.build import create
from googlenet.models.spec import (
    GLOBAL_AVERAGE,
    LRN,
    AuxTap,
    BatchNorm,
    Conv,
    Dropout,
    Linear,
    Network,
    Parallel,
    Pool,
    ReLU,
    Residual,
    SeparableConv,
    Stage,
    classifier,
    to_json,
)
from googlenet.preprocessing import Preprocessing

EVERY_LAYER_TYPE = Network(
    "every_layer_type",
    stages=[
        Stage("stem", [Conv(8, (3, 5), stride=2, padding=(0, 2)), LRN(3, alpha=0.5, k=2.0), LRN(4, alpha=0.5)]),
        Stage("separable", [SeparableConv(12, (3, 1), multiplier=2), ReLU(), SeparableConv(12, 5, relu=False)]),
        Stage("nothing", []),
        Stage("down", [Residual([Conv(16, 3, stride=2), Conv(16, 3, relu=False)], [Conv(16, stride=2, relu=False)])]),
        Stage("same", [Residual([ReLU(), Conv(16, 3, groups=4), Conv(16, norm=False)], scale=0.2, relu=False)]),
        Stage("mixed", [Parallel([
            Stage("a", [Conv(4)]),
            Stage("mean", [Pool("avg", 3, padding=1), Conv(4, 1, relu=False)]),
            Stage("x", []),
            Stage("deep", [Parallel([Stage("b", [Conv(2, (1, 3))]), Stage("c", [Pool("max", 3, 1, 1), Conv(3)])])]),
        ]), Dropout(0.5)]),
        Stage("maps", [Pool("max", 2, stride=2, ceil=False)]),
        *classifier(dropout=0.1),
    ],
    aux=[AuxTap("side", "same", [Pool("max", output=2), Linear(6, relu=True), Linear()])],
    norm=BatchNorm(eps=0.01),
    input_size=32,
    num_classes=7,
)  # fmt: skip

FLAT = Network(
    "flat",
    stages=[
        Stage("conv", [Conv(6, 3, stride=2)]),
        Stage("pool", [Pool("avg", 4, stride=2, output=3)]),
        Stage("images", [Pool("max", output=2)]),
        Stage("hidden", [Linear(9, relu=True), Dropout(0.5), ReLU()]),
        Stage("probabilities", [Linear()]),
    ],
    num_classes=5,
)

NETWORK_IN_NETWORK = Network(
    "network_in_network",
    stages=[
        Stage("mlpconv1", [Conv(8, 5, stride=2), Conv(8)]),
        Stage("logits", [Conv(8, 3), Conv(None, norm=False, relu=False), Dropout(0.5)]),
        Stage("avgpool", [GLOBAL_AVERAGE]),
    ],
    norm=BatchNorm(),
    num_classes=6,
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def used(network, size):
    """The network with weights and batch statistics that are not those of initialisation, in evaluation."""
    built = create(replace(network, input_size=size), init="truncated_normal")
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        built.train()
        for _ in range(3):
            built(torch.randn(8, 3, size, size))
    return built.eval()


def arrays(module):
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def images_of(size):
    return np.random.default_rng(size).integers(0, 256, (3, size, size, 3), dtype=np.uint8)


def card_of(network, preprocessing, temperature=1.0, **fields):
    classes = tuple(f"class {number}" for number in range(network.num_classes))
    return ModelCard(network.name, to_json(network), classes, preprocessing, temperature=temperature, **fields)


def onnx_runtime(bundle):
    session = onnxruntime.InferenceSession(bundle.read("model.onnx"), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


def logits_of(module, preprocessing, images):
    """What the module says of images prepared by hand."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    x = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        return module(x.flip(1) if preprocessing.channel_order == "BGR" else x)


def assert_engines_agree_with_torch(network, preprocessing, path, temperature=1.0):
    module, images = used(network, preprocessing.size), images_of(preprocessing.size)
    bundle = write_bundle(path / "bundle", module, card_of(network, preprocessing, temperature), images)
    onnx.checker.check_model(onnx.load_from_string(bundle.read("model.onnx")), full_check=True)
    assert googlenet.verify(bundle.path).largest_difference <= 1e-4  # OpenVINO against the golden outputs

    logits = logits_of(module, preprocessing, images)
    expected = (logits / temperature).softmax(1).numpy()
    engine, session = googlenet.load(bundle.path).engine, onnx_runtime(bundle)
    for count in (3, 1):
        some = images[:count]
        for answers in (session(some)[0], engine.probabilities(some)):
            np.testing.assert_allclose(answers, expected[:count], atol=1e-4)
    if network.stages_before_pooling() is not None:
        with torch.inference_mode():
            _, places = Deployed(module, preprocessing, temperature)(torch.from_numpy(images))
        for maps in (session(images)[1], engine.maps(images)):
            np.testing.assert_allclose(maps, places.numpy(), atol=1e-4)
            np.testing.assert_allclose(maps.mean((2, 3)), logits.numpy(), atol=1e-4)
    return engine


@pytest.mark.parametrize("size", [32, 47])
def test_a_classifier_that_sees_several_stages(size, tmp_path):
    network = replace(EVERY_LAYER_TYPE, pooled=("separable", "same", "mixed"))
    assert_engines_agree_with_torch(network, Preprocessing(size), tmp_path)


@pytest.mark.parametrize("size", [32, 33, 47])
@pytest.mark.parametrize("norm", [BatchNorm(eps=0.01), BatchNorm(bias=True), None], ids=["norm", "both", "biases"])
def test_every_layer_type_used_in_unusual_ways(norm, size, tmp_path):
    assert_engines_agree_with_torch(replace(EVERY_LAYER_TYPE, norm=norm), Preprocessing(size), tmp_path)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_several_labels_have_probabilities_of_their_own(temperature, tmp_path):
    preprocessing, images = Preprocessing(32), images_of(32)
    module = used(EVERY_LAYER_TYPE, 32)
    thresholds = (0.5,) * EVERY_LAYER_TYPE.num_classes
    card = card_of(EVERY_LAYER_TYPE, preprocessing, temperature, multi_label=True, thresholds=thresholds)
    bundle = write_bundle(tmp_path / "bundle", module, card, images)
    assert googlenet.verify(bundle.path).largest_difference <= 1e-4
    expected = (logits_of(module, preprocessing, images) / temperature).sigmoid().numpy()
    for answers in (onnx_runtime(bundle)(images)[0], googlenet.load(bundle.path).engine.probabilities(images)):
        np.testing.assert_allclose(answers, expected, atol=1e-4)


@pytest.mark.parametrize("size", [9, 24, 31])
def test_a_network_that_ends_in_linear_layers_has_no_maps(size, tmp_path):
    assert not assert_engines_agree_with_torch(FLAT, Preprocessing(size), tmp_path).has_maps


@pytest.mark.parametrize("size", [7, 32])
def test_a_network_that_averages_one_map_a_class(size, tmp_path):
    assert assert_engines_agree_with_torch(NETWORK_IN_NETWORK, Preprocessing(size), tmp_path).has_maps


@pytest.mark.parametrize("network", [EVERY_LAYER_TYPE, NETWORK_IN_NETWORK], ids=lambda network: network.name)
def test_mean_deviation_order_and_temperature_are_in_the_graph(network, tmp_path):
    preprocessing = Preprocessing(32, mean=(0.1, 0.5, 0.9), std=(0.9, 0.5, 0.2), channel_order="BGR")
    assert_engines_agree_with_torch(network, preprocessing, tmp_path, temperature=2.5)


def test_a_card_says_the_order_of_channels_and_no_other_word(tmp_path):
    card = ModelCard("n", {}, ("a",), Preprocessing(32, channel_order="BGR"), format=3)  # not sealed yet
    assert ModelCard.from_json(card.to_json()) == card
    without = card.to_json().replace(',\n    "channel_order": "BGR"', "")  # a card from before there was a choice
    assert ModelCard.from_json(without).preprocessing.channel_order == "RGB"
    with pytest.raises(BundleError, match="channel_order must be RGB or BGR"):
        ModelCard.from_json(card.to_json().replace('"BGR"', '"GBR"'))


PLAIN = [
    Pool(kind, kernel, stride, padding, ceil, count)
    for kind, kernel, stride, padding, ceil, count in itertools.product(
        ("max", "avg"), (2, 3, 5), (1, 2, 3), (0, 1, 2), (False, True), (False, True)
    )
    if padding <= kernel // 2 and not (kind == "max" and count)
]
FIXED = [
    Pool(kind, kernel, 2, padding, output=output)
    for kind, kernel, padding, output in itertools.product(("max", "avg"), (None, 3), (0, 1), (1, 2, 3, 4, 10))
    if kernel or not padding
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 12, 13])
def test_every_kind_of_pool_gives_what_torch_gives(size, tmp_path):
    pools = [pool for pool in (*PLAIN, *FIXED) if minimum_size(Network("one", [Stage("pool", [pool])])) <= size]
    branches = [Stage(str(number), [pool, Linear(4)]) for number, pool in enumerate(pools)]
    network = Network("pools", [Stage("all", [Parallel(branches)])], num_classes=4 * len(pools))
    module, preprocessing, images = used(network, size), Preprocessing(size), images_of(size)
    with torch.inference_mode():
        (expected,) = Deployed(module, preprocessing, 1.0)(torch.from_numpy(images))
    bundle = write_bundle(tmp_path / "bundle", module, card_of(network, preprocessing), images)
    for answers in (onnx_runtime(bundle)(images)[0], googlenet.load(bundle.path).engine.probabilities(images)):
        wrong = np.abs(np.log(answers) - expected.log().numpy()).max(0).reshape(-1, 4).max(1) > 1e-4
        assert [pool for pool, bad in zip(pools, wrong, strict=True) if bad] == []


def test_the_graph_is_readable():
    content = to_onnx(EVERY_LAYER_TYPE, arrays(create(EVERY_LAYER_TYPE)), Preprocessing(32), 1.0, ["a", "b"])
    model = onnx.load_from_string(content)
    names = [node.name for node in model.graph.node]
    assert len(names) == len(set(names))
    assert {"stem.0.conv", "separable.2.depthwise", "down.body.1.conv", "mixed.0.deep.c.0", "fc"} <= set(names)
    assert not {"BatchNormalization", "Dropout"} & {node.op_type for node in model.graph.node}
    assert {entry.key: entry.value for entry in model.metadata_props} == {"class_names": "a\nb"}
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param == "batch"


def test_heads_are_not_needed():
    weights = {name: array for name, array in arrays(create(EVERY_LAYER_TYPE)).items() if not name.startswith("side.")}
    assert to_onnx(EVERY_LAYER_TYPE, weights, Preprocessing(32), 1.0, ["a"])


@pytest.mark.parametrize(
    ("network", "size", "error", "says"),
    [
        (replace(FLAT, in_channels=1), 32, NetworkError, "takes images of 1 channels, its preprocessing 3"),
        (Network("open", [Stage("conv", [Conv(4)])], num_classes=4), 8, NetworkError, "ends in maps of 8×8"),
        (
            Network("deep", [Stage("pool", [Pool("max", 3, 2, ceil=False)])], num_classes=3),
            2,
            InputSizeError,
            "nothing",
        ),
    ],
    ids=["grey", "no logits", "too small"],
)
def test_what_cannot_be_written_is_said(network, size, error, says):
    with pytest.raises(error, match=says):
        to_onnx(network, arrays(create(network)), Preprocessing(size), 1.0, ["a"])


def test_writing_takes_no_torch():
    code = "import sys, googlenet.exporting.graph; assert not {'torch', 'torchvision', 'openvino'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("network", [EVERY_LAYER_TYPE, NETWORK_IN_NETWORK, FLAT], ids=lambda network: network.name)
@pytest.mark.parametrize("multi_label", [False, True])
def test_mirror_images_are_averaged_in_the_graph(network, multi_label, tmp_path):
    preprocessing, images = Preprocessing(33), images_of(33)  # an odd side has a column that stays where it is
    module = used(network, 33)
    thresholds = (0.5,) * network.num_classes if multi_label else ()
    written = {
        mirror: write_bundle(
            tmp_path / f"mirror {mirror}",
            module,
            card_of(network, preprocessing, 1.0, multi_label=multi_label, thresholds=thresholds, mirror=mirror),
            images,
        )
        for mirror in (False, True)
    }
    assert googlenet.verify(written[True].path).largest_difference <= 1e-4
    onnx.checker.check_model(onnx.load_from_string(written[True].read("model.onnx")), full_check=True)
    alone, both = (googlenet.load(written[mirror].path).engine for mirror in (False, True))
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    for count in (3, 1):
        expected = (alone.probabilities(images[:count]) + alone.probabilities(mirrored[:count])) / 2
        for answers in (onnx_runtime(written[True])(images[:count])[0], both.probabilities(images[:count])):
            np.testing.assert_allclose(answers, expected, atol=1e-5)
        assert not np.allclose(expected, alone.probabilities(images[:count]), atol=1e-3)
    if both.has_embeddings:
        expected = (alone.embeddings(images) + alone.embeddings(mirrored)) / 2
        np.testing.assert_allclose(both.embeddings(images), expected, atol=1e-4)
    if both.has_maps:
        expected = (alone.maps(images) + alone.maps(mirrored)[:, :, :, ::-1]) / 2
        np.testing.assert_allclose(both.maps(images), expected, atol=1e-4)
        np.testing.assert_allclose(both.maps(mirrored), both.maps(images)[:, :, :, ::-1], atol=1e-4)


@pytest.mark.parametrize(
    ("multi_label", "temperature"), [(False, 2.5), (False, 0.1), (True, (0.5, 3.0, 1.0, 0.2, 1.0, 2.0, 7.0))]
)
def test_the_mean_over_mirror_images_is_what_the_temperature_changes(multi_label, temperature, tmp_path):
    """So no answer changes: the mean of calibrated answers could name another class."""
    network, preprocessing, images = EVERY_LAYER_TYPE, Preprocessing(33), images_of(33)
    module = used(network, 33)
    thresholds = (0.5,) * network.num_classes if multi_label else ()
    options = {"multi_label": multi_label, "thresholds": thresholds, "mirror": True}
    before, after = (
        write_bundle(tmp_path / f"{at}", module, card_of(network, preprocessing, at, **options), images)
        for at in (1.0, temperature)
    )
    assert googlenet.verify(after.path).largest_difference <= 1e-4  # PyTorch's answers
    uncalibrated = googlenet.load(before.path).engine.probabilities(images)
    expected = calibrated(uncalibrated, temperature)
    for answers in (onnx_runtime(after)(images)[0], googlenet.load(after.path).engine.probabilities(images)):
        np.testing.assert_allclose(answers, expected, atol=1e-5)
        assert (answers.argmax(axis=1) == uncalibrated.argmax(axis=1)).all() or multi_label
