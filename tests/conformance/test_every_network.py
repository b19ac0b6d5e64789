"""What must hold for every network of the zoo. A network added there is tested here without another line."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import googlenet
from googlenet.card import ModelCard
from googlenet.exporting.bundles import write_bundle
from googlenet.models.analysis import analyse, minimum_size
from googlenet.models.build import create
from googlenet.models.spec import to_json
from googlenet.models.zoo import NETWORKS

CLASSES = ("ant", "bee", "cow", "dog", "eel", "fox", "gnu")
every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def narrow(name):
    """The same network with an eighth of its widths: every layer is there, and hundreds of megabytes are not."""

    def preprocessing(layer):
        out = getattr(layer, "out", None)
        return layer if out is None else replace(layer, out=max(2, out // 8))

    return NETWORKS[name].rewrite(preprocessing)


def a_size(network):
    """A small input size that the network takes, and that is not its own."""
    return max(48, minimum_size(network) + 1)


def trained_a_little(network):
    """A network whose batch statistics are not those of initialisation, in evaluation."""
    built = create(network, num_classes=len(CLASSES), in_channels=3, init="truncated_normal").train()
    with torch.no_grad():
        built(torch.randn(8, 3, a_size(network), a_size(network)))
    return built.eval()


def test_every_network_is_found_by_its_name_and_names_its_paper():
    assert all(name == network.name for name, network in NETWORKS.items())
    assert all(network.differences and network.paper for network in NETWORKS.values() if network.norm is None)
    assert all(network.paper for network in NETWORKS.values())


@every_network
def test_logits_only_in_training_and_evaluation_alike(name):
    network = create(narrow(name), num_classes=5)
    size = a_size(network.network)
    images = torch.randn(2, network.network.in_channels, size, size + 8)
    for mode in (network.train(), network.eval()):
        assert isinstance(mode(images), torch.Tensor)
        assert mode(images).shape == (2, 5)
        outputs = mode.forward_with_aux(images)
        assert outputs.logits.shape == (2, 5)
        assert [head.shape for head in outputs.aux] == [(2, 5)] * len(NETWORKS[name].aux)
    torch.testing.assert_close(network.eval().forward_with_aux(images).logits, network(images))


@every_network
def test_the_table_at_the_networks_own_size_is_what_the_module_does(name):
    table = analyse(NETWORKS[name])
    with torch.device("meta"):  # shapes alone
        network = create(name, aux=0).eval()
        x = torch.randn(1, network.network.in_channels, table.size, table.size)
    assert sum(p.numel() for p in network.parameters()) == table.parameters
    for stage, row in zip(network.network.stages, table.rows, strict=True):
        x = network.get_submodule(stage.name)(x)
        assert tuple(x.shape[1:]) in (row.cost.shape, row.cost.shape[:1])


@every_network
def test_a_gradient_in_every_parameter(name):
    network = create(narrow(name), num_classes=5, init="truncated_normal").train()
    size = max(64, a_size(network.network))
    outputs = network.forward_with_aux(torch.randn(4, network.network.in_channels, size, size))
    labels = torch.tensor([0, 3, 1, 2])
    loss = sum(torch.nn.functional.cross_entropy(x, labels) for x in (outputs.logits, *outputs.aux))
    loss.backward()
    without = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@every_network
def test_heads_can_be_kept_or_left_out(name):
    network = narrow(name)
    images = torch.randn(2, network.in_channels, a_size(network), a_size(network))
    for heads in range(len(network.aux) + 1):
        assert len(create(network, num_classes=4, aux=heads).forward_with_aux(images).aux) == heads
    with pytest.raises(googlenet.GoogLeNetError, match=f"has {len(network.aux)}, got {len(network.aux) + 1}"):
        create(network, aux=len(network.aux) + 1)


@every_network
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_any_number_of_input_channels(name, channels):
    network = create(narrow(name), num_classes=4, in_channels=channels, aux=0)
    size = a_size(network.network)
    assert network(torch.randn(2, channels, size, size)).shape == (2, 4)
    with pytest.raises(googlenet.GoogLeNetError, match=f"create it with in_channels={channels + 1}"):
        network(torch.randn(2, channels + 1, size, size))


@every_network
def test_saved_loaded_and_exported_it_answers_the_same(name, tmp_path):
    declared = narrow(name)
    network, size = trained_a_little(declared), a_size(declared)
    card = ModelCard(name, to_json(network.network), CLASSES, network.network.preprocessing(size))
    golden = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    bundle = write_bundle(tmp_path / "bundle", network, card, golden)

    images = torch.from_numpy(golden).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (declared.mean, declared.std))
    with torch.inference_mode():
        logits = network((images - mean) / std)
        fresh = create(bundle.network).eval()
        fresh.load_state_dict(load_file(bundle.path / "weights.safetensors"))
        assert torch.equal(fresh((images - mean) / std), logits)

    classifier = googlenet.load(bundle.path)
    expected = logits.softmax(1).numpy()
    for count in (3, 1, 2):  # one graph, any batch size
        answers = classifier.engine.probabilities(golden[:count])
        np.testing.assert_allclose(answers, expected[:count], atol=1e-4)
    assert googlenet.verify(bundle.path).largest_difference <= 1e-4
    if classifier.engine.has_maps:
        maps = classifier.engine.maps(golden)
        np.testing.assert_allclose(maps.mean((2, 3)), logits.numpy(), atol=1e-4, rtol=1e-4)
        assert classifier.predict(golden[0]).heatmap().shape == (size, size)
        assert_explained(classifier, golden[0])
    else:
        with pytest.raises(googlenet.GoogLeNetError, match="does not end in pooling"):
            classifier.predict(golden[0]).heatmap()


def assert_explained(classifier, image):
    """A map whose mean is the logit, or a line that it is 1×1; parts of branches that add up to it, or why not."""
    pixels = classifier.preprocess(image)
    logit = classifier.engine.maps(pixels[None])[0, 2].mean(dtype=np.float64)
    if classifier.engine.maps(pixels[None]).shape[2] > 1:
        explanation = classifier.explain(image, "cow", against="dog")
        p = classifier.probabilities([image])[0]
        assert abs(explanation.total - np.log(p[2] / p[3])) <= 1e-4 * max(1, abs(explanation.total))
    else:
        with pytest.raises(googlenet.GoogLeNetError, match="is 1×1, which says nothing about where"):
            classifier.explain(image)
    name = classifier.card.name
    if name.startswith(("googlenet", "inception5h", "inception_v")):
        found = classifier.branches(image, "cow")
        assert abs(found.parts.sum(dtype=np.float64) + found.rest - logit) <= 1e-4 * max(1, abs(logit))
    else:
        with pytest.raises(googlenet.GoogLeNetError, match=r"has no branches|a convolution follows the join"):
            classifier.branches(image)


def test_which_networks_have_no_activation_maps():
    without = {name for name, network in NETWORKS.items() if network.stages_before_pooling() is None}
    vggs = {f"vgg{depth}{norm}" for depth in (11, 16, 19) for norm in ("", "_bn")}
    assert without == {"lenet5", "alexnet", "alexnet_torchvision", *vggs}
