"""What each branch of the last module gave: parts that add up to the logit, and what has none."""

import json
import re

import numpy as np
import pytest
import torch

import googlenet
from googlenet.errors import GoogLeNetError
from googlenet.explaining.branches import LastModule
from googlenet.exporting.ensemble import write_ensemble
from googlenet.models.zoo import NETWORKS
from tests.explaining.conftest import CLASSES, logits_of, module_of, photo

CHANNELS = {"1x1": slice(0, 8), "3x3": slice(8, 16), "5x5": slice(16, 20), "pool_proj": slice(20, 24)}  # of tiny's last


def test_parts_and_bias_are_the_logit_and_each_part_is_of_its_own_channels(write, tiny):
    bundle, module = write(tiny)
    classifier, image = googlenet.load(bundle.path), photo(32)
    pixels = classifier.preprocess(image)
    logits = logits_of(module, pixels)
    features = classifier.embed(image)
    weight, bias = (each.detach().numpy() for each in (module.fc.weight, module.fc.bias))
    for number, name in enumerate(CLASSES):
        found = classifier.branches(image, name)
        assert (found.stage, found.names) == ("inception_2", tuple(CHANNELS))
        assert found.parts.sum() + found.rest == pytest.approx(logits[number], abs=1e-4)
        assert found.total == pytest.approx(logits[number], abs=1e-4)
        assert found.rest == pytest.approx(bias[number], abs=1e-6)
        for part, channels in zip(found.parts, CHANNELS.values(), strict=True):
            assert part == pytest.approx(weight[number, channels] @ features[channels], abs=1e-4)
    contrast = classifier.branches(image, "cow", against="ant")
    assert contrast.parts.sum() + contrast.rest == pytest.approx(logits[2] - logits[0], abs=1e-4)
    assert contrast.average is None  # such a bundle has seen no held-out images
    assert json.loads(json.dumps(contrast.to_dict()))["branches"][1]["name"] == "3x3"


@pytest.mark.parametrize("branch", CHANNELS)
def test_a_class_that_depends_on_one_branch_is_given_by_it(write, tiny, branch):
    module = module_of(tiny, 32)
    with torch.no_grad():
        others = torch.ones(24, dtype=torch.bool)
        others[CHANNELS[branch]] = False
        module.fc.weight[:, others] = 0
    bundle, _ = write(tiny, module=module)
    found = googlenet.load(bundle.path).branches(photo(32))
    shares = np.abs(found.parts) / np.abs(found.parts).sum()
    assert shares[found.names.index(branch)] >= 0.95


def test_mirror_images_and_several_networks(write, tiny, tmp_path):
    image = photo(32)
    mirrored, module = write(tiny, name="mirrored", mirror=True)
    classifier = googlenet.load(mirrored.path)
    pixels = classifier.preprocess(image)
    both = (logits_of(module, pixels) + logits_of(module, np.ascontiguousarray(pixels[:, ::-1]))) / 2
    found = classifier.branches(image, "cow")
    assert found.parts.sum() + found.rest == pytest.approx(both[2], abs=1e-4)
    second = module_of(tiny, 32)
    with torch.no_grad():
        second.fc.weight.mul_(-2)
    members = [write(tiny, name="a")[0], write(tiny, name="b", module=second)[0]]
    joined = googlenet.load(write_ensemble(tmp_path / "joined", members, members[0].card).path)
    found = joined.branches(image, "cow")
    parts = [googlenet.load(each.path).branches(image, "cow").parts for each in members]
    np.testing.assert_allclose(found.parts, np.mean(parts, axis=0), atol=1e-4)
    assert found.parts.sum() + found.rest == pytest.approx(found.total, abs=1e-4)


def test_a_trained_network_compares_with_its_held_out_images(trained_run, call, tmp_path):
    photo_of_red = trained_run.parent / "photos" / "red" / "001.png"
    found = googlenet.load(trained_run).predict(photo_of_red).branches()
    assert found.average is not None
    np.testing.assert_allclose(found.shown, found.parts - found.average)
    assert "more than on average" in found.sentence
    code, out, _ = call("explain", trained_run, photo_of_red, "--branches", "--out", tmp_path)
    assert code == 0
    assert re.search(r"in inception_2, branch (1×1|3×3|5×5|pool proj) gives it most", out.splitlines()[1])
    entries = json.loads((tmp_path / "001.json").read_text("utf-8"))
    assert [entry["method"] for entry in entries] == ["cam", "branches"]
    assert (tmp_path / "001.branches.png").read_bytes() == found._repr_png_()


def test_which_networks_have_exact_branches_and_why_the_others_have_not():
    found, why = {}, {}
    for name, network in NETWORKS.items():
        try:
            found[name] = LastModule.of(network, network.input_size)
        except GoogLeNetError as error:
            why[name] = str(error)
    exact = {name for name in NETWORKS if name.startswith(("googlenet", "inception5h", "inception_v"))}
    assert set(found) == exact
    assert found["googlenet"] == LastModule("inception_5b", ("1x1", "3x3", "5x5", "pool_proj"), (384, 384, 128, 128))
    assert found["inception_v3"].channels == (320, 768, 768, 192)
    assert all(sum(module.channels) > 1000 for module in found.values())
    for name in ("inception_resnet_v1", "inception_resnet_v2"):
        assert "a convolution follows the join of the last branches and mixes them" in why[name]
    for name in ("xception", "resnet18", "nin", "vgg16", "lenet5"):
        assert f"{name} has no branches" in why[name]


def test_the_command_says_it_before_an_image_is_read(write, call, tmp_path):
    bundle, _ = write(NETWORKS["lenet5"])
    code, _, err = call("explain", bundle.path, "nothing.png", "--branches", "--out", tmp_path / "why")
    assert (code, "lenet5 has no branches: GoogLeNet, Inception v2, v3 and v4 have" in err) == (1, True)
    assert not (tmp_path / "why").exists()


def test_of_several_images_a_table_and_a_file_say_which_branches_matter_to_which_class(trained_run, call, tmp_path):
    photos = trained_run.parent / "photos"
    paths = [photos / name / f"00{number}.png" for name in ("red", "blue") for number in range(3)]
    code, out, _ = call("explain", trained_run, *paths, "--branches", "--out", tmp_path)
    assert code == 0
    lines = out.splitlines()
    assert "what the branches of inception_2 gave to each class more than to an average image, in logits" in lines
    table = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(("red  ", "blue  "))}
    classifier = googlenet.load(trained_run)
    shown = [classifier.branches(path) for path in paths]
    for name, row in table.items():
        of_class = [each.shown for each in shown if each.asked.class_name == name]
        assert int(row[0]) == len(of_class)
        np.testing.assert_allclose([float(value) for value in row[1:]], np.mean(of_class, axis=0), atol=0.006)
    kept = json.loads((tmp_path / "branches.json").read_text("utf-8"))
    assert (kept["by"], kept["centred"], len(kept["classes"])) == ("sum", True, len(table))
    assert (tmp_path / "branches.png").stat().st_size > 1000
    code, out, _ = call("explain", trained_run, *paths, "--module", "inception_1", "--class", "red", "--json")
    assert (code, {entry["by"] for entry in json.loads(out) if entry["method"] == "branches"}) == (0, {"shapley"})
