"""What must hold for every network of the zoo. A network added there is tested here without another line."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import googlenet
from googlenet.card import ModelCard, Preprocessing
from googlenet.inference.export import write_bundle
from googlenet.models.analysis import analyse, minimum_size
from googlenet.models.build import create
from googlenet.models.spec import to_json
from googlenet.models.zoo import NETWORKS

CLASSES = ("ant", "bee", "cow", "dog", "eel", "fox", "gnu")
every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def trained_a_little(name, **options):
    """A network whose batch statistics are not those of initialisation, in evaluation."""
    network = create(name, num_classes=len(CLASSES), **options)
    network.train()
    with torch.no_grad():
        network(torch.randn(8, network.network.in_channels, 64, 64))
    return network.eval()


def test_how_many_networks_there_are():
    assert len(NETWORKS) == 6
    assert all(name == network.name for name, network in NETWORKS.items())
    assert all(network.differences for network in NETWORKS.values())


@every_network
def test_logits_only_in_training_and_evaluation_alike(name):
    network = create(name, num_classes=5)
    images = torch.randn(2, 3, 64, 72)
    for mode in (network.train(), network.eval()):
        assert isinstance(mode(images), torch.Tensor)
        assert mode(images).shape == (2, 5)
        outputs = mode.forward_with_aux(images)
        assert outputs.logits.shape == (2, 5)
        assert [head.shape for head in outputs.aux] == [(2, 5)] * len(NETWORKS[name].aux)
    torch.testing.assert_close(network.eval().forward_with_aux(images).logits, network(images))


@every_network
def test_the_table_at_224_is_what_the_module_does(name):
    network = create(name, num_classes=1000, aux=0).eval()
    table = analyse(NETWORKS[name])
    assert sum(p.numel() for p in network.parameters()) == table.parameters
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        for stage, row in zip(network.network.stages, table.rows, strict=True):
            x = network.get_submodule(stage.name)(x)
            assert tuple(x.shape[1:]) in (row.cost.shape, row.cost.shape[:1])


@every_network
def test_a_gradient_in_every_parameter(name):
    network = create(name, num_classes=5, init="truncated_normal").train()
    outputs = network.forward_with_aux(torch.randn(2, 3, 64, 64))
    loss = sum(torch.nn.functional.cross_entropy(x, torch.tensor([0, 3])) for x in (outputs.logits, *outputs.aux))
    loss.backward()
    without = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@every_network
@pytest.mark.parametrize("heads", [0, 1, 2])
def test_heads_can_be_kept_or_left_out(name, heads):
    network = create(name, num_classes=4, aux=heads)
    assert len(network.forward_with_aux(torch.randn(2, 3, 64, 64)).aux) == heads


@every_network
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_any_number_of_input_channels(name, channels):
    network = create(name, num_classes=4, in_channels=channels, aux=0)
    assert network(torch.randn(2, channels, 64, 64)).shape == (2, 4)
    with pytest.raises(googlenet.GoogLeNetError, match=f"create it with in_channels={channels + 1}"):
        network(torch.randn(2, channels + 1, 64, 64))


@every_network
def test_saved_loaded_and_exported_it_answers_the_same(name, tmp_path):
    size = max(48, minimum_size(NETWORKS[name]))
    network = trained_a_little(name)
    card = ModelCard(name, to_json(network.network), CLASSES, Preprocessing(size))
    golden = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    bundle = write_bundle(tmp_path / "bundle", network, card, golden)

    images = torch.from_numpy(golden).permute(0, 3, 1, 2) / 255
    normalised = (images - torch.tensor(card.preprocessing.mean).view(1, 3, 1, 1)) / torch.tensor(
        card.preprocessing.std
    ).view(1, 3, 1, 1)
    with torch.inference_mode():
        logits = network(normalised)
        fresh = create(bundle.network, num_classes=len(CLASSES)).eval()
        fresh.load_state_dict(load_file(bundle.path / "weights.safetensors"))
        assert torch.equal(fresh(normalised), logits)

    classifier = googlenet.load(bundle.path)
    expected = logits.softmax(1).numpy()
    for count in (3, 1, 2):  # one graph, any batch size
        answers = classifier.engine.probabilities(golden[:count])
        np.testing.assert_allclose(answers, expected[:count], atol=1e-4)
    maps = classifier.engine.maps(golden)
    np.testing.assert_allclose(maps.mean((2, 3)), logits.numpy(), atol=1e-3, rtol=1e-3)
    assert googlenet.verify(bundle.path).largest_difference <= 1e-4
