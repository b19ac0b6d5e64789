"""Fine-tuning: what is taken, what learns and what does not, and every way it can go wrong."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save, save_file

import googlenet
from googlenet.errors import BundleError, NetworkError, RecipeError, RunError, StoppedError, WeightsError
from googlenet.exchange import convert as converting
from googlenet.exchange import files
from googlenet.exchange.torchvision_weights import published
from googlenet.models import zoo
from googlenet.models.build import create
from googlenet.models.weights import LAYOUTS
from googlenet.preprocessing import Preprocessing
from googlenet.training import checkpoint, run
from googlenet.training.objective import Objective
from googlenet.training.optimizer import make_optimizer
from googlenet.training.plan import look
from googlenet.training.recipe import Recipe
from googlenet.training.sources import Source, open_source
from googlenet.training.task import OneLabel
from googlenet.training.transfer import for_channels, freeze_through, load_matching

RULE = Preprocessing(32)


def weights(run):
    return load_file(Path(run) / "bundle" / "weights.safetensors")


def newest(run):
    return checkpoint.Checkpoints(run / "checkpoints").newest_first()[0]


@pytest.fixture
def train():
    return partial(googlenet.train, epochs=2, batch_size=8, precision="fp32")


@pytest.fixture
def shapes(tmp_path):
    """Two classes that no colour is called by."""
    noise = np.random.default_rng(1)
    for name, value in (("dark", 60), ("light", 200)):
        (tmp_path / "shapes" / name).mkdir(parents=True)
        for n in range(12):
            pixels = np.clip(value + noise.normal(0, 25, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "shapes" / name / f"{n:02d}.png")
    return tmp_path / "shapes"


# What is taken.


def test_with_other_classes_all_but_the_classifiers_is_taken(trained_run, tiny):
    built = create(tiny, num_classes=2)
    taken = load_matching(built, open_source(trained_run), ("dark", "light"), RULE)
    source, now = weights(trained_run), built.state_dict()
    new = {"fc.weight", "fc.bias", "aux1.3.weight", "aux1.3.bias"}
    assert set(taken.new) == set(taken.unused) == new
    assert not any(now[key].any() for key in new)  # no class is preferred to another
    assert set(taken.matched) | new == {key for key in now if "num_batches" not in key}
    assert all(torch.equal(now[key], source[key]) for key in taken.matched)
    assert taken.parameters == sum(p.numel() for key, p in built.named_parameters() if key not in new)
    assert str(taken).splitlines() == [
        f"loaded {len(taken.matched)} tensors ({taken.parameters:,} parameters) from {trained_run}: "
        "conv1, inception_1, aux1.1, inception_2",
        "unused: aux1.3, fc",
        "new: aux1.3, fc (other classes)",
    ]


def test_the_same_classes_in_the_same_order_bring_their_classifier(trained_run, tiny):
    built = create(tiny, num_classes=3)
    taken = load_matching(built, open_source(trained_run), ("blue", "green", "red"), RULE)
    assert (taken.new, taken.unused, taken.reason) == ([], [], "")
    assert torch.equal(built.fc.weight, weights(trained_run)["fc.weight"])


def test_as_many_other_classes_are_other_classes(trained_run, tiny):
    taken = load_matching(create(tiny, num_classes=3), open_source(trained_run), ("a", "b", "c"), RULE)
    assert "fc.weight" in taken.new
    assert taken.reason == "other classes"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("red", "green", "blue"), "classes: kept blue, green, red"),
        (("blue", "green", "red", "violet"), "classes: kept blue, green, red; new violet"),
        (("amber", "green", "blue"), "classes: kept blue, green; new amber; gone red"),
        (("green", "red"), "classes: kept green, red; gone blue"),
    ],
)
def test_known_classes_keep_their_rows_wherever_they_are_now(trained_run, tiny, names, says):
    built = create(tiny, num_classes=len(names))
    taken = load_matching(built, open_source(trained_run), names, RULE)
    before, now = weights(trained_run), built.state_dict()
    known = {"blue": 0, "green": 1, "red": 2}
    assert str(taken).splitlines()[-1] == says
    assert (taken.new, taken.unused) == ([], [])
    for key in ("fc.weight", "fc.bias", "aux1.3.weight", "aux1.3.bias"):
        rows = [before[key][known[name]] for name in names if name in known]
        for row, name in zip(now[key], names, strict=True):
            wanted = before[key][known[name]] if name in known else sum(rows) / len(rows)
            torch.testing.assert_close(row, wanted)


def test_of_a_mere_file_no_classes_are_known(trained_run, tiny, tmp_path):
    save_file({f"module.{key}": tensor for key, tensor in weights(trained_run).items()}, tmp_path / "a.safetensors")
    source = open_source(tmp_path / "a.safetensors")
    assert source.network is None
    assert set(source.record()) == {"source", "sha256"}
    taken = load_matching(create(tiny, num_classes=3), source, ("blue", "green", "red"), RULE)
    assert taken.reason == "its classes are unknown"
    assert "fc.weight" in taken.new


def test_of_another_network_what_fits_by_name_and_shape_is_taken(trained_run, tiny):
    other = tiny.change("inception_2", tiny.stages[1].layers).remove("maxpool1")
    taken = load_matching(create(other, num_classes=2), open_source(trained_run), ("a", "b"), RULE)
    assert any(key.startswith("conv1.") for key in taken.matched)
    assert {key.partition(".")[0] for key in taken.new} == {"inception_2", "aux1", "fc"}


def test_stages_that_follow_each_other_are_named_by_the_first_and_the_last():
    source = Source("file", "0", create("googlenet_bn", num_classes=2).state_dict())
    text = str(load_matching(create("googlenet_bn", num_classes=3), source, ("a", "b", "c"), RULE))
    took, left, new = text.splitlines()
    assert took.endswith(
        "conv1 to inception_4a, aux1.1, aux1.2, inception_4b to inception_4d, aux2.1, aux2.2, "
        "inception_4e to inception_5b"
    )
    assert left == "unused: aux1.4, aux2.4, fc"
    assert new == "new: aux1.4, aux2.4, fc (its classes are unknown)"


# Other numbers of channels.


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_a_grey_image_gives_the_same_whatever_the_channels(channels):
    """Exactly where the channels of the source are normalised with one mean."""
    colour = create("googlenet_bn", num_classes=2).eval()
    card = googlenet.bundle.ModelCard("x", {}, ("a", "b"), Preprocessing(64, mean=(0.5,) * 3, std=(0.2, 0.25, 0.5)))
    source = Source("x", "0", colour.state_dict(), card)
    mean, std = (0.5,) * channels, (0.3,) * channels
    built = create("googlenet_bn", num_classes=2, in_channels=channels).eval()
    load_matching(built, source, ("a", "b"), replace(RULE, mean=mean, std=std))
    pixels = torch.rand(2, 1, 64, 64)
    seen = (pixels - 0.5) / torch.tensor(card.preprocessing.std).view(1, 3, 1, 1)
    if channels == 3:
        built.conv1.conv.weight.data = for_channels(colour.conv1.conv.weight.data, 3, card.preprocessing.std, std)
    expected = colour(seen)
    torch.testing.assert_close(built(((pixels - 0.5) / 0.3).expand(-1, channels, -1, -1)), expected)


def test_four_channels_repeat_in_turn():
    weight = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    assert for_channels(weight, 4, (1, 1, 1), (1,) * 4).flatten().tolist() == [0.75, 1.5, 2.25, 0.75]


# What learns.


def test_frozen_stages_do_not_change_and_cost_nothing(trained_run, shapes, train, tmp_path, capsys):
    train(shapes, tmp_path / "run", weights=trained_run, freeze="inception_1")
    before, after = weights(trained_run), weights(tmp_path / "run")
    frozen = [key for key in after if key.startswith(("conv1.", "inception_1.")) and "num_batches" not in key]
    assert all(torch.equal(before[key], after[key]) for key in frozen)  # statistics too
    moved = [key for key in after if key.startswith("inception_2.") and not torch.equal(before[key], after[key])]
    assert any("running_mean" in key for key in moved)
    assert any("conv.weight" in key for key in moved)
    assert not any(key.startswith("aux1.") for key in after)  # its stage does not learn
    tensors, _ = checkpoint.load(newest(tmp_path / "run"))
    learning = [key for key in after if key.startswith(("inception_2.", "fc.")) and key.endswith(("weight", "bias"))]
    assert len([key for key in tensors if key.startswith("optimizer.") and key.endswith("exp_avg")]) == len(learning)
    err = capsys.readouterr().err
    assert "unused: fc, aux1\n" in err


def test_frozen_stages_get_no_gradient_and_stay_in_evaluation(tiny):
    built = create(replace(tiny, aux=[]), num_classes=2)
    freeze_through(built, "inception_1")
    objective = Objective(built, RULE, 0.0, OneLabel(2)).train()
    assert [name for name, stage in built.named_children() if not stage.training] == ["conv1", "inception_1"]
    objective(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.zeros(4, dtype=torch.long)).total.backward()
    assert {name.partition(".")[0] for name, p in built.named_parameters() if p.grad is not None} == {
        "inception_2",
        "fc",
    }


def test_earlier_stages_learn_slower(tiny):
    built = create(tiny, num_classes=2)
    names = {id(p): name for name, p in built.named_parameters()}
    optimizer = make_optimizer(built, Recipe.load("finetune", lr_decay=0.5))
    scales = {
        names[id(p)].partition(".")[0]: group["scale"] for group in optimizer.param_groups for p in group["params"]
    }
    assert scales == {"conv1": 0.125, "inception_1": 0.25, "inception_2": 0.5, "fc": 1.0, "aux1": 1.0}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(names)
    for group in optimizer.param_groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}


def test_the_rate_of_the_log_is_that_of_the_last_stage(trained_run, shapes, train, tmp_path):
    train(shapes, tmp_path / "run", weights=trained_run, epochs=1, lr=0.004)
    before, after = weights(trained_run), weights(tmp_path / "run")
    moved = [(after[f"{key}.bn.bias"] - before[f"{key}.bn.bias"]).abs().max() for key in ("conv1", "inception_2.1x1")]
    assert 0 < moved[0] < moved[1]


# The run.


def test_a_run_brings_its_network_its_images_and_the_recipe(trained_run, shapes, train, tmp_path, tiny, capsys):
    bundle = train(shapes, tmp_path / "run", weights=trained_run)
    assert bundle.network == replace(tiny, num_classes=2)
    assert bundle.card.preprocessing == googlenet.load(trained_run).card.preprocessing
    assert bundle.card.recipe["lr_decay"] == Recipe.load("finetune").lr_decay < 1
    settings = json.loads((tmp_path / "run" / "run.json").read_text())
    assert settings["weights"]["source"] == str(trained_run)
    assert settings["weights"]["sha256"] == googlenet.load(trained_run).card.files["weights.safetensors"]
    assert "\nloaded " in capsys.readouterr().err


def test_its_normalisation_is_kept_and_size_crop_and_shape_are_unless_told(trained_run, shapes, train, tmp_path):
    card = googlenet.load(trained_run).card
    preprocessing = Preprocessing(40, 0.8, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "BGR", "pad")
    changed = googlenet.bundle.write(
        tmp_path / "changed", replace(card, preprocessing=preprocessing),
        {name: (trained_run / "bundle" / name).read_bytes() for name in card.files},
    )  # fmt: skip
    assert train(shapes, tmp_path / "a", weights=changed.path, epochs=1).card.preprocessing == preprocessing
    told = train(shapes, tmp_path / "b", weights=changed.path, epochs=1, image_size=32, resize="crop")
    assert told.card.preprocessing == replace(preprocessing, size=32, resize="crop")


def test_stopped_and_resumed_without_the_source_it_ends_with_the_same_weights(
    trained_run, shapes, train, tmp_path, monkeypatch
):
    source = tmp_path / "source"
    googlenet.bundle.shutil.copytree(trained_run, source)
    options = {"weights": source, "freeze": "conv1"}
    train(shapes, tmp_path / "whole", **options)
    original = run.Display.step

    def stop(display, *arguments):
        original(display, *arguments)
        run.signal.raise_signal(run.signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(run.Display, "step", stop)
        with pytest.raises(StoppedError):
            train(shapes, tmp_path / "cut", **options)
    googlenet.bundle.shutil.rmtree(source)
    googlenet.train(shapes, tmp_path / "cut", resume=True, weights=source)
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_stopped_before_its_first_step_it_has_what_it_took(trained_run, shapes, train, tmp_path, monkeypatch):
    monkeypatch.setattr(run.Display, "begin", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(StoppedError, match="what was saved before is intact, continue with"):
        train(shapes, tmp_path / "run", weights=trained_run)
    tensors, _ = checkpoint.load(newest(tmp_path / "run"))
    assert torch.equal(tensors["network.conv1.conv.weight"], weights(trained_run)["conv1.conv.weight"])
    newest(tmp_path / "run").unlink()
    with pytest.raises(RunError, match=r"was stopped before it had the weights of .*: start it with --overwrite"):
        googlenet.train(shapes, tmp_path / "run", resume=True)
    with pytest.raises(RunError, match=r"--weights elsewhere \(it has .*run\)"):
        googlenet.train(shapes, tmp_path / "run", resume=True, weights="elsewhere")
    with pytest.raises(RunError, match=r"--freeze conv1 \(it has None\)"):
        googlenet.train(shapes, tmp_path / "run", resume=True, freeze="conv1")


# torchvision's weights.


@pytest.fixture
def torchvisions(tmp_path, monkeypatch):
    """An empty cache, and torchvision's address of a ResNet-18 led to a file here with random weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    module = torchvision.models.resnet18(weights=None)
    torch.save(module.state_dict(), tmp_path / "theirs.pth")
    sha256 = files.read(tmp_path / "theirs.pth").sha256
    there = tmp_path / f"resnet18-{sha256[:8]}.pth"
    (tmp_path / "theirs.pth").rename(there)
    monkeypatch.setattr(torchvision.models.ResNet18_Weights.DEFAULT.value, "url", there.as_uri())
    return module, there


def test_torchvisions_weights_are_fetched_only_when_asked_to(torchvisions, shapes, train, tmp_path, capsys):
    module, there = torchvisions
    options = {"weights": "torchvision", "network": "resnet18", "image_size": 32, "epochs": 1}
    with pytest.raises(WeightsError, match=r"weights for resnet18 are not at .*: give --download to fetch them"):
        train(shapes, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
    bundle = train(shapes, tmp_path / "run", download=True, freeze="conv1", **options)
    assert torch.equal(weights(tmp_path / "run")["conv1.conv.weight"], module.conv1.weight)
    assert bundle.card.class_names == ("dark", "light")
    assert "parameters) from torchvision: " in capsys.readouterr().err
    there.unlink()  # it is in the cache now
    variant = zoo.find("resnet18").remove("maxpool")
    assert open_source("torchvision", variant).card.class_names[0] == "tench"


def test_a_damaged_file_of_the_cache_is_known_for_one(torchvisions):
    cached = published(zoo.find("resnet18"), download=True)
    cached.write_bytes(cached.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match=r"is damaged, its sha256 does not begin with \w{8}: delete it"):
        open_source("torchvision", "resnet18")


def test_what_cannot_be_fetched_is_said(torchvisions):
    torchvisions[1].write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"resnet18-\w{8}.pth could not be fetched: invalid hash value"):
        open_source("torchvision", "resnet18", download=True)
    torchvisions[1].unlink()
    with pytest.raises(WeightsError, match=r"could not be fetched: .*No such file"):
        open_source("torchvision", "resnet18", download=True)


def test_the_published_googlenet_is_fed_as_it_was_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    module = torchvision.models.googlenet(weights=None, init_weights=False)
    torch.save(module.state_dict(), tmp_path / "theirs.pth")
    sha256 = files.read(tmp_path / "theirs.pth").sha256
    address = torchvision.models.GoogLeNet_Weights.DEFAULT.value
    monkeypatch.setattr(address, "url", f"file:///nowhere/googlenet-{sha256[:8]}.pth")
    monkeypatch.setattr(converting, "_PUBLISHED", (sha256[:8],))
    (tmp_path / "cache" / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "theirs.pth").rename(tmp_path / "cache" / "hub" / "checkpoints" / f"googlenet-{sha256[:8]}.pth")
    source = open_source("torchvision")
    assert source.network.name == "googlenet_torchvision"
    assert source.record()["mean"] == source.record()["std"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("network", [name for name, known in LAYOUTS.items() if "torchvision" in known])
def test_torchvision_has_an_address_for_every_network_in_its_layout(network, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="give --download"):
        published(zoo.find(network), download=False)


# What goes wrong.


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (
            {"weights": "nowhere"},
            WeightsError,
            "--weights nowhere does not exist: give a run, a bundle",
        ),
        ({"weights": "photos"}, BundleError, "holds no card.json: give a run"),
        ({"weights": "run", "freeze": "inception1"}, NetworkError, "no stage 'inception1': did you mean 'inception_1'"),
        ({"weights": "run", "freeze": "fc"}, RecipeError, "--freeze fc leaves nothing of tiny to learn"),
        ({"freeze": "conv1"}, RecipeError, "--freeze conv1 without --weights would keep random weights"),
        ({"weights": "run", "network": "lenet5"}, WeightsError, "nothing of .* fits lenet5: it has .*the network has"),
        (
            {"weights": "torchvision", "network": "nin"},
            WeightsError,
            "torchvision publishes no weights for nin",
        ),
        ({"weights": "file"}, WeightsError, "file.safetensors: not a safetensors file, or damaged"),
    ],
)
def test_wrong_use_is_said_before_any_work(trained_run, shapes, tmp_path, options, error, says):
    (tmp_path / "file.safetensors").write_bytes(b"nonsense")
    places = {"run": trained_run, "photos": shapes, "file": tmp_path / "file.safetensors"}
    options = {**options, "weights": places.get(options.get("weights"), options.get("weights"))}
    with pytest.raises(error, match=says) as caught:
        googlenet.train(shapes, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_altered_weights_of_a_bundle_are_refused(trained_run, tmp_path):
    googlenet.bundle.shutil.copytree(trained_run, tmp_path / "run")
    with (tmp_path / "run" / "bundle" / "weights.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match="was altered or damaged"):
        open_source(tmp_path / "run")


def test_the_command_line(call, trained_run, shapes, tmp_path):
    arguments = ["train", shapes, "--out", tmp_path / "run", "--weights", trained_run, "--epochs", 1]
    code, out, err = call(*arguments, "--freeze", "inception_1")
    assert code == 0, err
    assert out.startswith("tiny: top-1 ")
    kinds = ("auto", "because", "any option", "loaded", "unused", "new")
    assert [line.startswith(kind) for line, kind in zip(err.splitlines(), kinds, strict=False)] == [True] * 6
    code, out, err = call("train", shapes, "--out", tmp_path / "no", "--freeze", "conv1")
    assert (code, out) == (2, "")
    assert err.startswith("googlenet: --freeze conv1 without --weights")


def test_weights_for_other_channels_than_the_images_have_are_the_cause(shapes, tmp_path):
    state = torchvision.models.resnet18(num_classes=3).state_dict() | {"conv1.weight": torch.rand(64, 4, 7, 7)}
    torch.save(state, tmp_path / "four.pth")
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, tmp_path / "four.safetensors")
    for start, network in (("four.pth", "resnet18"), ("four.pth", None), ("four.safetensors", "resnet18")):
        command = [sys.executable, "-c", TRAIN, shapes, tmp_path / start, *([network] if network else [])]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.stdout == "False\n"  # PyTorch was not loaded
        assert re.search(
            r"--weights were trained on 4 channels: none of the \d+ .* has 3 channels \(RGB\), 4 are needed.*; "
            "--in-channels 3 reads any images as RGB and learns the first convolution from scratch",
            done.stderr,
        )
    assert not (tmp_path / "out").exists()
    plan = look(tmp_path / "out", None, {"network": "resnet18", "in_channels": 3}, tmp_path / "four.pth")
    assert (plan.network.in_channels, plan.inherited_channels) == (3, None)
    told = look(tmp_path / "out", None, {"network": "resnet18"}, tmp_path / "four.pth")
    assert (told.network.in_channels, told.inherited_channels) == (4, 4)


TRAIN = """
import sys
from googlenet.cli import main
data, start, *network = sys.argv[1:]
try:
    main(["train", data, "--out", "out", "--weights", start, *(["--network", *network] if network else [])])
finally:
    print("torch" in sys.modules)
"""


# Files of other projects: one reader for `convert` and for --weights.


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".ckpt"])
@pytest.mark.parametrize("network", ["resnet18", None])
def test_files_of_others_are_read_as_convert_reads_them(tmp_path, ending, network):
    torch.manual_seed(0)
    module = torchvision.models.resnet18(num_classes=3)
    state = {f"model.{key}": tensor for key, tensor in module.state_dict().items()}
    path = tmp_path / f"theirs{ending}"
    save_file(state, path) if ending == ".safetensors" else torch.save({"epoch": 1, "state_dict": state}, path)
    source = open_source(path, network)
    assert source.network.name == "resnet18"
    built = create("resnet18", num_classes=2)
    taken = load_matching(built, source, ("a", "b"), RULE)
    assert torch.equal(built.conv1.conv.weight, module.conv1.weight)
    assert {key.partition(".")[0] for key in taken.new} == {"fc"}


def test_of_files_of_others_what_fits_is_taken_and_notes_are_said(tmp_path):
    module = torchvision.models.googlenet(num_classes=3, init_weights=False)
    state = {key: tensor for key, tensor in module.state_dict().items() if not key.startswith("inception5b")}
    torch.save({"model": state, "model_ema": state | {"n_averaged": torch.tensor(4)}}, tmp_path / "w.pth")
    source = open_source(tmp_path / "w.pth", "googlenet_torchvision")
    text = str(load_matching(create("googlenet_torchvision", num_classes=3), source, ("a", "b", "c"), RULE))
    assert re.search(r"^new: .*inception_5b, fc", text, re.MULTILINE)
    assert "\nnote: took model_ema (EMA of 4 updates) rather than model" in text
    assert "\nnote: recognised by its names as a part of googlenet_torchvision (torchvision)\n" in text


@pytest.mark.parametrize("kind", ["run", ".pth", ".safetensors"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_before_any_work(trained_run, shapes, tmp_path, tiny, kind, value):
    state = {key: tensor.clone() for key, tensor in weights(trained_run).items()}
    state["conv1.conv.weight"][0, 0, 0, 0] = value
    path = tmp_path / f"w{kind}"
    if kind == "run":
        card = googlenet.load(trained_run).card
        contents = {name: (trained_run / "bundle" / name).read_bytes() for name in card.files}
        contents["weights.safetensors"] = save(state)
        googlenet.bundle.write(path, card, contents)
    else:
        save_file(state, path) if kind == ".safetensors" else torch.save(state, path)
    says = r"1 of \d+ tensors hold NaN or infinite values.*: conv1.conv.weight; take"
    if kind == "run":  # which is refused as every bundle is
        says = "weights that are not finite, in conv1.conv.weight: train it again"
    with pytest.raises((WeightsError, BundleError), match=says):
        googlenet.train(shapes, tmp_path / "out", weights=path, network=None if kind == "run" else tiny)
    assert not (tmp_path / "out").exists()


def test_a_file_that_must_be_read_whole_brings_its_network_too(caffe_onnx, shapes, tmp_path, capsys):
    onnx.save(caffe_onnx, tmp_path / "caffe.onnx")
    bundle = googlenet.train(
        shapes, tmp_path / "run", weights=tmp_path / "caffe.onnx", freeze="inception_5a", epochs=1, batch_size=8,
        image_size=32,
    )  # fmt: skip
    assert bundle.card.name == "googlenet"
    assert bundle.card.preprocessing.channel_order == "BGR"
    assert "conv1 to inception_5b" in capsys.readouterr().err


def test_a_body_in_others_layout_brings_its_network_and_how_it_is_fed(shapes, tmp_path, capsys):
    """As torchvision's names have it, without the classifier: nobody names the network."""
    module = torchvision.models.resnet18(num_classes=3)
    body = {key: tensor for key, tensor in module.state_dict().items() if not key.startswith("fc.")}
    (tmp_path / "theirs").mkdir()
    save_file(body, tmp_path / "theirs" / "model.safetensors")  # a folder as the Hub has it, with timm's config
    (tmp_path / "theirs" / "config.json").write_text(json.dumps({"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}))
    told = look(tmp_path / "out", None, {}, tmp_path / "theirs")
    assert (told.network.name, told.recipe.network) == ("resnet18", "resnet18")
    bundle = googlenet.train(
        shapes, tmp_path / "run", weights=tmp_path / "theirs", freeze="layer3", epochs=1, batch_size=8, image_size=32
    )
    assert torch.equal(weights(tmp_path / "run")["conv1.conv.weight"], module.conv1.weight)
    assert (bundle.card.preprocessing.mean, bundle.card.preprocessing.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    said = capsys.readouterr().err
    assert "loaded 100 tensors (" in said
    assert "new: fc (its classes are unknown)\n" in said
    assert "note: recognised by its names as a part of resnet18 (torchvision)\n" in said
