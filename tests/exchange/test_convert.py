"""Weights of others become runs that answer as their makers' modules do, and go back unchanged to the bit."""

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
import torchvision
from onnx import numpy_helper
from PIL import Image
from safetensors.torch import load_file, save_file

import googlenet
from googlenet.errors import DataError, InputSizeError, NetworkError, RunError, WeightsError
from googlenet.exchange import check
from googlenet.exchange import convert as converting
from googlenet.exchange.export import export_weights
from googlenet.models import zoo

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def randomised(module):
    """Give normalisations other statistics than the initial ones, and answers that are neither flat nor certain."""
    module.eval()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 2)
                part.weight.uniform_(0.5, 2)
                part.bias.normal_(0, 0.1)
        classifier = [part for part in module.modules() if isinstance(part, torch.nn.Linear)][-1]
        classifier.weight.div_(logits_of(module, torch.randn(1, 3, 96, 96)).std())
        classifier.bias.zero_()
    return module


def logits_of(module, x):
    if hasattr(module, "forward_postaux"):  # timm runs the head in evaluation too, which needs larger images
        return module.forward_head(module.forward_postaux(module.forward_preaux(x)))
    return module(x)


def normalised(pixels, mean, std):
    x = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2) / 255
    return (x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def golden(run):
    with np.load(run / "bundle" / "golden.npz") as file:
        return file["images"]


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "noise.png"
    pixels = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


# torchvision


@pytest.fixture(scope="module")
def torchvision_run(tmp_path_factory):
    """GoogLeNet of torchvision with random weights, its file, and the run made of it."""
    root = tmp_path_factory.mktemp("torchvision")
    torch.manual_seed(0)
    module = torchvision.models.googlenet(weights=None, init_weights=True, num_classes=11, aux_logits=True)
    randomised(module)
    torch.save(module.state_dict(), root / "theirs.pth")
    bundle = googlenet.convert(root / "theirs.pth", root / "run", network="googlenet_torchvision", image_size=64)
    return module, root, bundle


def test_torchvisions_module_and_the_run_agree(torchvision_run, image):
    module, root, bundle = torchvision_run
    classifier = googlenet.load(root / "run")
    pixels = np.concatenate([golden(root / "run"), classifier.preprocess(image)[None]])
    with torch.inference_mode():
        expected = module(normalised(pixels, **IMAGENET)).softmax(1).numpy()
    assert 0.15 < expected.max() < 0.999  # it says something
    np.testing.assert_allclose(classifier.engine.probabilities(pixels), expected, atol=1e-4)
    np.testing.assert_allclose(classifier.predict(image).probabilities, expected[-1], atol=1e-4)
    assert googlenet.verify(root / "run").images == 4
    assert bundle.card.class_names == tuple(f"class {n}" for n in range(11))
    assert bundle.card.data["source"] == "theirs.pth"
    assert bundle.card.data["layout"] == "torchvision"
    assert bundle.card.metrics == {}


@pytest.mark.parametrize("name", ["back.pth", "back.safetensors"])
def test_back_to_torchvision_to_the_bit(torchvision_run, tmp_path, name):
    module, root, _ = torchvision_run
    assert export_weights(root / "run", tmp_path / "new" / name, "torchvision") == tmp_path / "new" / name
    read = load_file if name.endswith("s") else torch.load
    back, expected = read(tmp_path / "new" / name), module.state_dict()
    assert back.keys() == expected.keys()
    assert all(torch.equal(back[key], tensor) for key, tensor in expected.items())
    module.load_state_dict(back)


def test_evaluate_reads_it(torchvision_run, coloured):
    _, root, _ = torchvision_run
    torch.manual_seed(1)
    names = sorted(folder.name for folder in coloured.iterdir())
    module = torchvision.models.resnet18(num_classes=3)
    torch.save(module.state_dict(), root / "r.pth")
    googlenet.convert(root / "r.pth", root / "three", network="resnet18", class_names=names, image_size=32)
    result = googlenet.evaluate(root / "three", coloured, split="all")
    assert result.images == 36


def test_the_published_files_were_trained_with_other_pixels(torchvision_run, tmp_path, monkeypatch):
    """torchvision's published GoogLeNet sees (pixel / 255 - 0.5) / 0.5, by transform_input of its module."""
    _, root, bundle = torchvision_run
    theirs = torchvision.models.GoogLeNet(num_classes=2, aux_logits=False, transform_input=True, init_weights=False)
    pixels = golden(root / "run")
    shifted = theirs._transform_input(normalised(pixels, **IMAGENET))
    torch.testing.assert_close(shifted, normalised(pixels, **HALF), atol=1e-5, rtol=1e-5)
    (published,) = [w for w in torchvision.models.GoogLeNet_Weights if w.name == "IMAGENET1K_V1"]
    assert any(f"-{sha256}.pth" in published.url for sha256 in converting._PUBLISHED)
    assert bundle.card.preprocessing.mean == IMAGENET["mean"]
    monkeypatch.setattr(converting, "_PUBLISHED", (bundle.card.data["sha256"][:8],))
    again = googlenet.convert(root / "theirs.pth", tmp_path / "run", network="googlenet_torchvision", image_size=64)
    assert (again.card.preprocessing.mean, again.card.preprocessing.std) == (HALF["mean"], HALF["std"])


# timm


@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        ("xception", "legacy_xception", {}),
        ("inception_v3", "inception_v3", {"aux_logits": True}),
        ("resnet18",) * 2 + ({},),
    ],
)
def test_a_folder_of_timm_there_and_back(tmp_path, image, ours, theirs, settings):
    torch.manual_seed(0)
    module = randomised(timm.create_model(theirs, num_classes=3, **settings))
    names = ["ant", "bee", "cat"]
    config = {"label_names": names, "model_args": settings} if settings else {"label_names": names}
    module.pretrained_cfg["crop_mode"] = "squash"
    timm.models.save_for_hf(module, tmp_path / "theirs", model_config=config, safe_serialization=True)
    bundle = googlenet.convert(tmp_path / "theirs", tmp_path / "run", network=ours, image_size=96)
    card, expected_config = bundle.card, module.pretrained_cfg
    assert card.class_names == ("ant", "bee", "cat")
    assert card.preprocessing.mean == expected_config["mean"]
    assert card.preprocessing.crop_fraction == expected_config["crop_pct"]
    assert card.preprocessing.resize == "squash"
    classifier = googlenet.load(bundle.path)
    pixels = classifier.preprocess(image)[None]
    with torch.inference_mode():
        x = normalised(pixels, card.preprocessing.mean, card.preprocessing.std)
        expected = logits_of(module, x).softmax(1).numpy()
    assert 0.4 < expected.max() < 0.999
    np.testing.assert_allclose(classifier.engine.probabilities(pixels), expected, atol=1e-4)

    export_weights(tmp_path / "run", tmp_path / "back", "timm")
    loaded = timm.create_model(f"local-dir:{tmp_path / 'back'}", pretrained=True).eval()
    found, expected = loaded.state_dict(), module.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
    assert loaded.pretrained_cfg["label_names"] == names
    assert timm.data.resolve_model_data_config(loaded)["input_size"] == [3, 96, 96]
    assert timm.data.resolve_model_data_config(loaded)["crop_mode"] == "squash"
    if not settings:  # timm replaces the classifier, not that of a second head
        other = timm.create_model(f"local-dir:{tmp_path / 'back'}", pretrained=True, num_classes=5).state_dict()
        same = [torch.equal(other[key], tensor) for key, tensor in expected.items() if other[key].shape == tensor.shape]
        assert len(same) == len(expected) - 2
        assert all(same)


# Caffe


def test_caffes_googlenet_from_onnx_and_from_a_caffemodel(caffe_onnx, wire, tmp_path):
    onnx.save(caffe_onnx, tmp_path / "w.onnx")
    arrays = {i.name: numpy_helper.to_array(i) for i in caffe_onnx.graph.initializer}
    layers = [name.removesuffix("_w_0") for name in arrays if name.endswith("_w_0")]
    content = b"".join(wire.caffe_layer(n, [arrays[f"{n}_w_0"], arrays[f"{n}_b_0"]], legacy=True) for n in layers)
    (tmp_path / "w.caffemodel").write_bytes(content)
    # At 222 pixels the file of the onnx package, which rounds down, gives the sizes of Caffe, which rounds up.
    one = googlenet.convert(tmp_path / "w.onnx", tmp_path / "one", network="googlenet", image_size=222)
    two = googlenet.convert(tmp_path / "w.caffemodel", tmp_path / "two", network="googlenet", image_size=222)
    assert one.read("weights.safetensors") == two.read("weights.safetensors")
    assert one.card.preprocessing == two.card.preprocessing
    assert one.network.aux == ()
    assert one.card.class_names[:2] == ("tench", "goldfish")
    pixels = golden(tmp_path / "two")[:1]
    np.testing.assert_allclose(
        googlenet.load(tmp_path / "two").engine.probabilities(pixels), caffe_answers(caffe_onnx, pixels), atol=1e-4
    )


def caffe_answers(model, pixels):
    """Run Caffe's graph on what Caffe fed it: blue, green, red from 0 to 255 less 104, 117, 123."""
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (images,) = [i for i in copy.graph.input if i.name == "data_0"]
    for dimension, side in zip(images.type.tensor_type.shape.dim[2:], pixels.shape[1:3], strict=True):
        dimension.dim_value = side
    del copy.graph.value_info[:]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = pixels[..., ::-1].astype(np.float32) - np.array([104, 117, 123], np.float32)
    answers = session.run(None, {"data_0": fed.transpose(0, 3, 1, 2)})[0].reshape(len(pixels), -1)
    assert answers.max() > 5 * answers.mean()  # the oracle says something, not one flat row
    return answers


# TensorFlow

BRANCHES = {
    "1x1": "1x1",
    "3x3.0": "3x3_bottleneck",
    "3x3.1": "3x3",
    "5x5.0": "5x5_bottleneck",
    "5x5.1": "5x5",
    "pool_proj.1": "pool_reduce",
}
STEM = {"conv1": "conv2d0", "conv2.0": "conv2d1", "conv2.1": "conv2d2"}


def tensorflow_name(key):
    """Name a tensor of ours as the released graph does."""
    layer, _, kind = key.replace(".conv", "").rpartition(".")
    module, _, branch = layer.removeprefix("inception_").partition(".")
    name = "softmax2" if layer == "fc" else STEM.get(layer) or f"mixed{module}_{BRANCHES[branch]}"
    return f"{name}_{kind[0]}"


@pytest.mark.parametrize("kind", [".pb", ".onnx"])
def test_inception5h(wire, tmp_path, kind):
    torch.manual_seed(0)
    module = googlenet.create("inception5h", num_classes=9, aux=0).eval()
    tensors = {tensorflow_name(key): tensor.numpy() for key, tensor in module.state_dict().items()}
    if kind == ".pb":
        turn = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
        nodes = [wire.tensorflow_constant(name, a.transpose(turn[a.ndim])) for name, a in tensors.items()]
        (tmp_path / "w.pb").write_bytes(b"".join(nodes))
    else:
        initializers = [numpy_helper.from_array(array, f"{name}:0") for name, array in tensors.items()]
        onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], initializers)), tmp_path / "w.onnx")
    bundle = googlenet.convert(tmp_path / f"w{kind}", tmp_path / "run", network="inception5h", image_size=96)
    assert bundle.card.data["layout"] == "tensorflow"
    assert bundle.card.class_names[-1] == "class 8"
    pixels = golden(tmp_path / "run")
    fed = torch.from_numpy(pixels).permute(0, 3, 1, 2) - 117.0
    with torch.inference_mode():
        expected = module(fed).softmax(1).numpy()
    np.testing.assert_allclose(googlenet.load(tmp_path / "run").engine.probabilities(pixels), expected, atol=1e-4)


# Small files of our own names do for the rest.


@pytest.fixture
def lenet(tmp_path):
    torch.manual_seed(0)
    state = googlenet.create("lenet5", num_classes=4, in_channels=3).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_class_names_and_where_they_come_from(lenet, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    lenet.rename(folder / "model.safetensors")

    def names(out, **given):
        return googlenet.convert(folder, tmp_path / out, network="lenet5", **given).card.class_names

    assert names("a") == ("class 0", "class 1", "class 2", "class 3")
    config = {"num_classes": 4, "pretrained_cfg": {"mean": [0.1] * 3, "input_size": [1, 32, 32]}}
    for label_names in (["q", "r", "s", "t"], {"0": "q", "1": "r", "2": "s", "3": "t"}):
        (folder / "config.json").write_text(json.dumps({**config, "label_names": label_names}))
        assert names(f"b{len(label_names)}{type(label_names)}") == ("q", "r", "s", "t")
    assert names("c", class_names=["1", "2", "3", "4"]) == ("1", "2", "3", "4")
    with pytest.raises(WeightsError, match=r"--classes names 2 classes, the weights have 4: give --classes with 4"):
        names("d", class_names=["1", "2"])
    with pytest.raises(WeightsError, match="names classes twice: a"):
        names("d", class_names=["a", "a", "b", "c"])
    (folder / "config.json").write_text(json.dumps({**config, "label_names": ["q"]}))
    with pytest.raises(WeightsError, match=r"config.json names 1 classes, the weights have 4"):
        names("d")
    for damaged in (
        {"mean": [1, 2]},
        {"input_size": []},
        {"crop_pct": 7, "mean": [0.5] * 3},
        {"crop_mode": "x", "mean": [0.5] * 3},
        {"mean": None},
    ):
        (folder / "config.json").write_text(json.dumps({"pretrained_cfg": damaged}))
        with pytest.raises(WeightsError, match=r"config.json has no usable mean"):
            names("d")
    assert not (tmp_path / "d").exists()


def test_a_bundle_read_as_a_folder_keeps_classes_and_pixels(trained_run, tmp_path, monkeypatch, tiny):
    monkeypatch.setitem(zoo.NETWORKS, "tiny", tiny)
    before = googlenet.load(trained_run).card
    card = googlenet.convert(trained_run / "bundle", tmp_path / "run", network="tiny").card
    assert (card.class_names, card.preprocessing) == (before.class_names, before.preprocessing)
    assert card.data["layout"] == "googlenet"


def test_grey_weights_become_a_run_that_takes_grey_images(tmp_path, call):
    folder = tmp_path / "grey"
    folder.mkdir()
    save_file(googlenet.create("lenet5").state_dict(), folder / "model.safetensors")
    code, out, _ = call("convert", folder, "--network", "lenet5", "--out", tmp_path / "run")
    assert code == 0
    assert "input:  grey 32×32, crop 1, mean 0.459, std 0.2256" in out
    assert googlenet.verify(tmp_path / "run").images == 4
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    theirs, grey = (googlenet.load(tmp_path / "run").predict(p) for p in (pixels, Image.fromarray(pixels).convert("L")))
    np.testing.assert_array_equal(theirs.probabilities, grey.probabilities)
    (folder / "config.json").write_text(json.dumps({"pretrained_cfg": {"mean": [0.2], "std": [0.4]}}))
    preprocessing = googlenet.convert(folder, tmp_path / "told", network="lenet5").card.preprocessing
    assert (preprocessing.mean, preprocessing.std, preprocessing.channels) == ((0.2,), (0.4,), 1)
    (folder / "config.json").write_text(json.dumps({"pretrained_cfg": {"mean": [0.2] * 3, "std": [0.4] * 3}}))
    with pytest.raises(WeightsError, match="mean needs 1 numbers, one per channel, got"):
        googlenet.convert(folder, tmp_path / "wrong", network="lenet5")
    card = tmp_path / "run/bundle/card.json"
    fields = json.loads(card.read_text()) | {"preprocessing": {"size": 32, **IMAGENET}}
    card.write_text(json.dumps({k: v for k, v in fields.items() if k != "sha256"} | {"format": 3}))  # not sealed yet
    with pytest.raises(WeightsError, match="take images of 1 channels, but they come with a mean for 3: give one for"):
        googlenet.convert(card.parent, tmp_path / "wrong", network="lenet5")


def test_tensors_that_do_not_fit_are_named(lenet, tmp_path):
    good = load_file(lenet)
    first, *_, last = good
    wrong = {name: tensor for name, tensor in good.items() if name != first}
    wrong |= {"surplus.weight": torch.ones(2), last: torch.ones(77)}
    save_file(wrong, lenet)
    with pytest.raises(WeightsError) as raised:
        googlenet.convert(lenet, tmp_path / "run", network="lenet5")
    # Where `last` is the classifier, whose rows are the classes, its bias is of another shape as well.
    parts = ("unknown: surplus.weight", f"missing: {first}", "of another shape: ", f"{last} (77,), needed")
    for part in parts:
        assert part in str(raised.value)
    with pytest.raises(WeightsError, match="these are no weights of xception"):
        googlenet.convert(lenet, tmp_path / "run", network="xception")
    assert not (tmp_path / "run").exists()


def test_where_the_run_may_not_go_and_other_wrong_arguments(lenet, tmp_path):
    def convert(out=tmp_path / "run", network="lenet5", **given):
        return googlenet.convert(lenet, out, network=network, **given)

    with pytest.raises(RunError, match="is not empty: choose another --out"):
        convert(out=tmp_path)
    with pytest.raises(RunError, match="is a file: --out names a directory"):
        convert(out=lenet)
    with pytest.raises(RunError, match="cannot be written"):
        convert(out=Path("/proc/nowhere"))
    with pytest.raises(NetworkError, match="did you mean 'lenet5'"):
        convert(network="lenet")
    with pytest.raises(InputSizeError, match="--image-size 2: "):
        convert(image_size=2)
    with pytest.raises(DataError, match="--classes names a text file"):
        check.read_class_names(tmp_path / "nowhere.txt")


def test_outwards_says_what_a_network_has(trained_run, torchvision_run, tmp_path):
    with pytest.raises(WeightsError, match="timm has no network tiny: its weights can be written with --to torch"):
        export_weights(trained_run, tmp_path / "x", "timm")
    _, root, _ = torchvision_run
    with pytest.raises(
        WeightsError, match=r"the file of torchvision weights ends in one of \.pth, \.pt, \.safetensors"
    ):
        export_weights(root / "run", tmp_path / "x.onnx", "torchvision")
    (tmp_path / "x.pth").touch()
    with pytest.raises(RunError, match="already exists"):
        export_weights(root / "run", tmp_path / "x.pth", "torchvision")
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


# The command line


def test_the_verb(call, lenet, tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\n c\nd\n\n")
    arguments = ["convert", lenet, "--network", "lenet5", "--classes", tmp_path / "classes.txt"]
    code, out, err = call(*arguments, "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    assert f"googlenet predict {tmp_path / 'run'}" in out
    code, out, err = call(*arguments, "--out", tmp_path / "again", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["classes"] == ["a", "b", "c", "d"]
    assert call("verify", tmp_path / "run")[0] == 0


def test_the_verb_outwards(call, torchvision_run, tmp_path):
    _, root, _ = torchvision_run
    code, out, err = call("convert", root / "run", "--to", "torchvision", "--out", tmp_path / "w.pth", "--json")
    assert (code, err, json.loads(out)["path"]) == (0, "", str(tmp_path / "w.pth"))


def test_predict_on_a_converted_run_as_csv(call, torchvision_run, image):
    _, root, _ = torchvision_run
    code, out, _ = call("predict", root / "run", image, "--csv")
    assert code == 0
    assert next(csv.DictReader(out.splitlines()))["class"].startswith("class ")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere.pth", "--network", "lenet5", "--out", "run"], 2, "nowhere.pth does not exist"),
        (["a.pth", "--network", "lenet5", "--out", "run"], 2, "a.pth: not a file of torch.save, or damaged"),
        (["a.pth", "--out", "run"], 2, "say whose weights these are with --network"),
        (["a.pth", "--network", "lenet5"], 2, "Missing option '--out'"),
        (["a.pth", "--network", "lenet", "--out", "run"], 2, "did you mean 'lenet5'"),
        (["a.pth", "--network", "lenet5", "--out", "a.pth"], 1, "a.pth is a file"),
        (["a.pth", "--network", "lenet5", "--out", "run", "--classes", "no.txt"], 2, "no.txt cannot be read"),
        (["hf:me/it", "--network", "lenet5", "--out", "run"], 2, "give --download to fetch it"),
        (["hf:me", "--network", "lenet5", "--out", "run"], 2, "'me' is no name of a repository"),
        (
            ["RUN", "--to", "caffe", "--out", "run"],
            2,
            "no format of weights is called 'caffe': allowed: timm, torch, torchvision",
        ),
        (
            ["RUN", "--to", "timm", "--out", "run"],
            2,
            "timm has no network tiny: its weights can be written with --to torch",
        ),
        (["RUN", "--to", "timm", "--out", "run", "--network", "lenet5"], 2, "leave out --network"),
        (["nowhere", "--to", "timm", "--out", "run"], 1, "nowhere does not exist"),
    ],
)
def test_wrong_use_is_one_line(call, trained_run, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pth").write_text("this is text")
    given, out, err = call("convert", *(str(trained_run) if word == "RUN" else word for word in arguments))
    assert (given, out, len(err.splitlines())) == (code, "", 1), err
    assert says in err
    assert not (tmp_path / "run").exists()
