"""Checkpoints as people save them: where in a file the weights lie, which are taken, and what is said of it."""

import argparse
import collections
import json
import types

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

import googlenet
from googlenet.errors import WeightsError
from googlenet.exchange import check, files
from googlenet.exchange import convert as converting
from googlenet.models import weights, zoo

LENET = zoo.find("lenet5")


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return googlenet.create("lenet5", num_classes=4).state_dict()


def under(prefix, state):
    return {prefix + key: tensor for key, tensor in state.items()}


class Config(dict):
    """What a project keeps its settings in."""


class Mode:
    def __init__(self):
        self.inner = {"state_dict": torch.ones(2)}


WRAPPED = {
    "plain": lambda s: s,
    "examples/imagenet": lambda s: {"arch": "x", "state_dict": under("module.", s), "best_acc1": torch.tensor(7.0)},
    "Lightning": lambda s: {"state_dict": under("model.", s), "hyper_parameters": Config(lr=0.1), "calls": {Mode: 1}},
    "with a loss of its own": lambda s: {"state_dict": {**under("net._orig_mod.", s), "loss.w": torch.ones(3)}},
    "compiled, in parallel": lambda s: under("module._orig_mod.", s),
    "parallel inside": lambda s: {key.replace("c1.", "c1.module."): tensor for key, tensor in s.items()},
    "DeepSpeed": lambda s: {"module": s, "ds_config": {"a": [1, (2, 3)]}},
    "detectron2": lambda s: {"model": under("backbone.bottom_up.", s)},
    "deep": lambda s: {"a": {"b": {"c": [None, {"net": s}]}}, "optimizer": {"state": {0: {"exp_avg": torch.ones(9)}}}},
    "Namespace and others": lambda s: {"net": s, "args": argparse.Namespace(lr=1, mode=Mode()), "m": np.float64(3),
                                       "n": np.ones(3), "c": collections.Counter("ab"),
                                       "d": collections.defaultdict(list, a=[1])},
    "in a mapping of a project": lambda s: Config(weights=Config(s)),
    "SimpleNamespace": lambda s: {"args": types.SimpleNamespace(a=1), "params": s},
    "parameters": lambda s: {"model": {key: torch.nn.Parameter(tensor) for key, tensor in s.items()}},
    "averaged alone": lambda s: {"n_averaged": torch.tensor(3), **under("module.", s)},
    "half": lambda s: {key: tensor.half() for key, tensor in s.items()},
    "behind a dropout": lambda s: {key.replace("output.", "output.1."): tensor for key, tensor in s.items()},
    "a number beside": lambda s: {**s, "epoch": torch.tensor(3)},
    "views": lambda s: {key: torch.stack([tensor, tensor])[1] for key, tensor in s.items()},
    "transposed in memory": lambda s: {k: t.T.contiguous().T if t.ndim == 2 else t for k, t in s.items()},
}  # fmt: skip
FORMATS = {
    "zip": {},
    "before 1.6": {"_use_new_zipfile_serialization": False},
    "protocol 5": {"pickle_protocol": 5},
}


@pytest.mark.parametrize("saved", FORMATS)
@pytest.mark.parametrize("wrapped", WRAPPED)
def test_the_weights_are_found_wherever_they_lie(tmp_path, state, wrapped, saved):
    torch.save(WRAPPED[wrapped](state), tmp_path / "w.pth.tar", **FORMATS[saved])
    taken = weights.from_layout(LENET, files.read(tmp_path / "w.pth.tar").tensors)
    tolerance = 1e-3 if wrapped == "half" else 0
    for key, tensor in state.items():
        torch.testing.assert_close(taken.state[key].float(), tensor, atol=tolerance, rtol=tolerance)


def test_of_several_the_average_is_taken_and_said(tmp_path, call, state):
    zeros = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
    averaged = {"n_averaged": torch.tensor(3), **under("module.", state)}
    torch.save({"model": zeros, "model_ema": averaged, "epoch": 2}, tmp_path / "w.pth")
    arguments = ["convert", tmp_path / "w.pth", "--network", "lenet5"]
    code, out, err = call(*arguments, "--out", tmp_path / "ema")
    assert (code, err) == (0, "took model_ema (EMA of 3 updates) rather than model; --key NAME chooses\n")
    assert "from weights of googlenet (model_ema)" in out
    code, out, err = call(*arguments, "--out", tmp_path / "model", "--key", "model", "--json")
    assert (code, err, json.loads(out)["place"]) == (0, "", "model")
    sums = [files.read(tmp_path / name / "bundle").tensors["c1.conv.weight"].abs().sum() for name in ("ema", "model")]
    assert sums[0] > 0 == sums[1]
    code, out, err = call(*arguments, "--out", tmp_path / "no", "--key", "net")
    assert (code, out) == (2, "")
    assert "--key net: no tensors lie under it; there are model, model_ema" in err


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (lambda a, b: {"state_dict": a, "state_dict_ema": b}, "state_dict_ema"),  # timm
        (lambda a, b: {**under("model.", a), **under("ema_model.", b)}, "ema_model"),
        (lambda a, b: {"net": a, "best": b}, "net"),  # the first
        (lambda a, b: {"model": a, "model_ema": {"n_averaged": torch.tensor(0), **under("module.", b)}}, "model"),
        (lambda a, b: {"model": {k: t for k, t in a.items() if "output" not in k}, "teacher": b}, "teacher"),
        (lambda a, b: {"model": {k: torch.cat([t, t]) for k, t in a.items()}, "student": b}, "student"),
    ],
)  # fmt: skip
def test_which_of_several_is_taken(state, make, place, tmp_path):
    torch.save(make(state, {key: tensor.clone() for key, tensor in state.items()}), tmp_path / "w.pt")
    taken = weights.from_layout(LENET, files.read(tmp_path / "w.pt").tensors)
    assert taken.place == place


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_modules_are_refused_with_what_to_do(tmp_path, state):
    torch.save({"model": torchvision.models.resnet18(), "optimizer": {"state": {0: torch.ones(2)}}}, tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=r"no weights of lenet5.*holds objects \(torchvision.*\).*module.state_dict\(\)"
    ):
        googlenet.convert(tmp_path / "w.pth", tmp_path / "run", network="lenet5")
    torch.save(torchvision.models.resnet18(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"torchvision.models.resnet.ResNet.*save the weights alone"):
        googlenet.convert(tmp_path / "w.pth", tmp_path / "run", network="lenet5")


def test_npz_and_weights_in_several_files(tmp_path, state):
    np.savez_compressed(tmp_path / "w.npz", names=np.array(["a"]), **{k: t.numpy() for k, t in state.items()})
    assert weights.from_layout(LENET, files.read(tmp_path / "w.npz").tensors).state.keys() == state.keys()
    names = list(state)
    folder = tmp_path / "hub"
    folder.mkdir()
    parts = {"model-1-of-2.safetensors": names[:3], "model-2-of-2.safetensors": names[3:]}
    for file, inside in parts.items():
        save_file({name: state[name] for name in inside}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, inside in parts.items() for name in inside}}))
    for source in (folder, index):
        assert weights.from_layout(LENET, files.read(source).tensors).state.keys() == state.keys()
    (tmp_path / "secret.safetensors").write_bytes((folder / "model-1-of-2.safetensors").read_bytes())
    for strange in ("../secret.safetensors", str(tmp_path / "secret.safetensors"), 3, "model-1-of-2.bin", ""):
        index.write_text(json.dumps({"weight_map": {"a": strange}}))
        with pytest.raises(WeightsError, match=r"its weight_map must name .safetensors files beside it, got"):
            files.read(folder)


def test_nan_and_infinite_weights_are_refused(tmp_path, state):
    for value in (float("nan"), float("inf")):
        bad = {key: tensor.clone() for key, tensor in state.items()}
        bad["output.bias"][0] = value
        torch.save(bad, tmp_path / "w.pth")
        with pytest.raises(WeightsError, match=r"1 of 10 tensors hold NaN or infinite values.*: output.bias;"):
            googlenet.convert(tmp_path / "w.pth", tmp_path / "run", network="lenet5")
    large = {key: tensor.double() for key, tensor in state.items()}
    large["c1.conv.bias"][0] = 1e200  # infinite as float32
    torch.save(large, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"c1.conv.bias"):
        googlenet.convert(tmp_path / "w.pth", tmp_path / "run", network="lenet5")
    torch.save({key: tensor.to(torch.int8) for key, tensor in state.items()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"not of floating point: c1.conv.weight"):
        googlenet.convert(tmp_path / "w.pth", tmp_path / "run", network="lenet5")


# transform_input, which torchvision's published weights have and no state dict tells.


@pytest.mark.parametrize("transform", [True, False])
@pytest.mark.parametrize("network", ["googlenet_torchvision", "inception_v3"])
def test_predictions_are_torchvisions_with_and_without_transform_input(tmp_path, call, network, transform):
    torch.manual_seed(0)
    make = torchvision.models.googlenet if network.startswith("g") else torchvision.models.inception_v3
    module = make(weights=None, init_weights=False, num_classes=4, aux_logits=True)
    module.train()(torch.randn(4, 3, 299, 299))
    module.transform_input = transform
    module.eval()
    torch.save(module.state_dict(), tmp_path / "w.pth")
    size = 96
    word = "yes" if transform else "no"
    arguments = ["convert", tmp_path / "w.pth", "--network", network, "--image-size", size]
    code, _, err = call(*arguments, "--out", tmp_path / "run", "--transform-input", word)
    assert (code, err) == (0, "")
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    fed = torchvision.transforms.functional.normalize(
        torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )
    with torch.inference_mode():
        expected = module(fed).softmax(1).numpy()
    found = googlenet.load(tmp_path / "run", precision="fp32").engine.probabilities(pixels)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if not transform:
        code, _, err = call(*arguments, "--out", tmp_path / "assumed")
        assert code == 0
        assert err.startswith("transform_input: no, by default; if these weights were fine-tuned from")
        assert (
            googlenet.load(tmp_path / "assumed").card.preprocessing
            == googlenet.load(tmp_path / "run").card.preprocessing
        )


def test_transform_input_is_known_of_published_files_and_refused_elsewhere(tmp_path):
    module = torchvision.models.googlenet(weights=None, init_weights=False)
    torch.save(module.state_dict(), tmp_path / "googlenet-1378be20.pth")
    card, _ = converting.read_weights(tmp_path / "googlenet-1378be20.pth", zoo.find("googlenet_torchvision"), "x")
    assert card.preprocessing.mean == (0.5, 0.5, 0.5)
    assert card.data["notes"] == [
        "transform_input: yes, as torchvision's published weights have it; --transform-input chooses"
    ]
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "r.pth")
    with pytest.raises(WeightsError, match="--transform-input is for weights of torchvision's googlenet_torchvision"):
        converting.read_weights(tmp_path / "r.pth", zoo.find("resnet18"), "x", transform_input=True)


# Lists of classes.


@pytest.mark.parametrize(
    ("content", "encoding", "names"),
    [
        ("cat\ndog\n", "UTF-8", ("cat", "dog")),
        ("\ufeffcat\r\ndog\r\n\r\n\n", "UTF-8", ("cat", "dog")),
        ("a\u2028b\nc\x85d\x0be\n", "UTF-8", ("a\u2028b", "c\x85d\x0be")),
        ("n01440764 tench, Tinca tinca\r\n'goldfish'\r\n", "UTF-8", ("n01440764 tench, Tinca tinca", "'goldfish'")),
        ("猫\n犬\n", "utf-16", ("猫", "犬")),
        ("猫\n犬", "UTF-16-BE", ("猫", "犬")),
        ("caf\xe9\nni\xf1o\n", "Latin-1", ("caf\xe9", "ni\xf1o")),
    ],
)
def test_lists_of_classes_in_the_encodings_there_are(tmp_path, content, encoding, names):
    mark = b"\xfe\xff" if encoding == "UTF-16-BE" else b""
    (tmp_path / "c.txt").write_bytes(mark + content.encode(encoding))
    found = check.read_class_names(tmp_path / "c.txt")
    assert found.names == names
    assert found.encoding == {"utf-16": "UTF-16-LE"}.get(encoding, encoding)


def test_the_encoding_is_said(tmp_path, call, state):
    torch.save(state, tmp_path / "w.pth")
    (tmp_path / "c.txt").write_bytes("a\nb\nc\ncaf\xe9".encode("latin-1"))
    code, _, err = call(
        "convert", tmp_path / "w.pth", "--network", "lenet5", "--out", tmp_path / "r", "--classes", tmp_path / "c.txt"
    )
    assert (code, err) == (0, f"{tmp_path / 'c.txt'} was read as Latin-1\n")
    assert googlenet.load(tmp_path / "r").class_names == ("a", "b", "c", "caf\xe9")


def test_the_list_of_inception5h_is_padded_and_no_other(tmp_path):
    module = googlenet.create("inception5h", num_classes=1008, aux=0)
    tensors = weights.to_layout(module.network, module.state_dict(), "tensorflow")
    np.savez(tmp_path / "w.npz", **{name: tensor.numpy() for name, tensor in tensors.items()})
    found, network = files.read(tmp_path / "w.npz"), zoo.find("inception5h")
    names = [f"label {n}" for n in range(1001)]
    card, _ = converting.describe(found, network, "x", names)
    assert card.class_names[1000:1002] == ("label 1000", "unused 1002")
    assert card.class_names[-1] == "unused 1008"
    assert card.data["notes"] == [
        "--classes names 1,001 classes of 1,008 outputs: the others are unused 1002 to unused 1008"
    ]
    for count in (1000, 1002):
        with pytest.raises(WeightsError, match=f"--classes names {count} classes, the weights have 1008: give"):
            converting.describe(found, network, "x", [f"label {n}" for n in range(count)])


@pytest.mark.parametrize("kind", ["a variance below 0", "weights that overflow"])
def test_weights_whose_answers_are_not_finite_are_refused(tmp_path, kind):
    state = torchvision.models.resnet18(num_classes=2).state_dict()
    if kind == "a variance below 0":
        state["bn1.running_var"] = -torch.ones(64)
    else:
        state["conv1.weight"] = torch.full_like(state["conv1.weight"], 1e38)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="the answers of resnet18 with these weights are not finite"):
        googlenet.convert(tmp_path / "w.pth", tmp_path / "run", network="resnet18", image_size=64)
    assert not (tmp_path / "run").exists()


def test_keys_that_are_no_text_are_said(tmp_path):
    state = torchvision.models.resnet18(num_classes=2).state_dict()
    torch.save({key.encode(): tensor for key, tensor in state.items()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        googlenet.convert(tmp_path / "w.pth", tmp_path / "run", network="resnet18")
    assert "object at 0x" not in str(caught.value)
