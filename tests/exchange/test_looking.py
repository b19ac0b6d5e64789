"""Weights that do not fit by name and shape are refused before PyTorch is loaded; what fits is read as it is."""

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

import googlenet
from googlenet.errors import WeightsError
from googlenet.exchange import files
from googlenet.models import weights, zoo
from googlenet.models.build import create
from googlenet.models.layouts.table import AS_MADE
from googlenet.models.shapes import state_dict_on_meta

CONVERT = """
import sys
from googlenet.cli import main
try:
    main(["convert", *sys.argv[1:]])
finally:
    print("torch" in sys.modules)
"""


def convert(*arguments, cwd):
    """Run a command line in a process of its own: the code, whether PyTorch was loaded, stderr."""
    command = [sys.executable, "-c", CONVERT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    return done.returncode, done.stdout, done.stderr


def edited(**changed):
    return dict(create("lenet5", num_classes=3).state_dict()) | {k.replace("__", "."): v for k, v in changed.items()}


def empty_classes():
    last = [name for name in edited() if name.endswith("weight")][-1]
    return edited() | {last: torch.empty(0, edited()[last].shape[1])}


def write(path):
    name = path.name
    if name.startswith("zero."):
        state = {key: tensor.contiguous() for key, tensor in empty_classes().items()}
        {"pth": torch.save, "safetensors": save_file}.get(
            name[5:], lambda state, path: np.savez(path, **{key: tensor.numpy() for key, tensor in state.items()})
        )(state, path)
    elif name == "old.pth":
        torch.save(empty_classes(), path, _use_new_zipfile_serialization=False)
    elif name == "words.pth":
        torch.save({"a.weight": torch.ones(3, 3), "b.bias": torch.ones(3)}, path)
    elif name == "bytes.pth":
        torch.save({key.encode(): tensor for key, tensor in edited().items()}, path)
    elif name == "int8.pth":
        torch.save({key: tensor.to(torch.int8) for key, tensor in edited().items()}, path)
    elif name in ("float8_e4m3fn.pth", "complex64.pth", "uint16.pth"):
        torch.save({key: tensor.to(getattr(torch, name[:-4])) for key, tensor in edited().items()}, path)
    elif name == "empty.pth":
        path.touch()
    elif name == "pipe.pth":
        os.mkfifo(path)
    elif name == "folder":
        path.mkdir()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("zero.pth", r"zero.pth: tensors without any values: \S+weight \(0, \d+\)"),
        ("zero.safetensors", r"zero.safetensors: tensors without any values: \S+weight \(0, \d+\)"),
        ("zero.npz", r"zero.npz: tensors without any values: \S+weight \(0, \d+\)"),
        ("old.pth", r"old.pth: tensors without any values: \S+weight \(0, \d+\)"),
        ("words.pth", "words.pth: these are no weights of lenet5: they have a.weight, b.bias"),
        ("bytes.pth", "bytes.pth: these are no weights of lenet5: they have <a key that is no text>"),
        ("int8.pth", "int8.pth: the weights .* not of floating point"),
        ("float8_e4m3fn.pth", r"pth: it holds numbers of a kind that is not read \(torch\S+: .*save them as float32"),
        ("complex64.pth", r"pth: it holds numbers of a kind that is not read \(torch.ComplexFloatStorage"),
        ("uint16.pth", "pth: it holds numbers of a kind that is not read"),
        ("empty.pth", "empty.pth: the file is empty"),
        ("pipe.pth", "pipe.pth: a pipe or a device"),
        ("folder", "folder holds no weights"),
        ("missing.pth", "missing.pth does not exist"),
        ("https://example.org/w.pth", "w.pth is an address: download the file first"),
    ],
)
def test_names_and_shapes_tell_before_pytorch_is_loaded(tmp_path, name, says):
    write(tmp_path / name)
    code, loaded, err = convert(name, "--network", "lenet5", "--out", "run", cwd=tmp_path)
    assert (code, loaded, len(err.splitlines())) == (2, "False\n", 1), err
    assert re.search(says, err), err
    assert not (tmp_path / "run").exists()


def test_what_googlenet_wrote_itself_needs_no_converting(tmp_path, trained_run):
    googlenet.export(trained_run, tmp_path / "exported")
    for source, what in [
        (trained_run, "is a run already"),
        (trained_run / "bundle" / "model.onnx", "a graph that googlenet wrote"),
        (tmp_path / "exported" / "model.onnx", "a graph that googlenet wrote"),
    ]:
        code, loaded, err = convert(source, "--network", "lenet5", "--out", "run", cwd=tmp_path)
        assert (code, loaded) == (2, "False\n")
        assert f"{what}" in err
        assert "predict, evaluate, train --weights and convert --to take its run as it is" in err


@pytest.mark.parametrize("layout", ["torchvision", "timm"])
def test_a_network_goes_out_as_what_is_named(tmp_path, trained_run, layout):
    code, loaded, err = convert(trained_run, "--to", layout, "--out", "w.pth", cwd=tmp_path)
    assert (code, loaded) == (2, "False\n")
    assert err == f"googlenet: {layout} has no network tiny: its weights can be written with --to torch\n"
    assert convert(trained_run, "--to", "torch", "--out", "w.pth", cwd=tmp_path)[0] == 0


@pytest.fixture(scope="module")
def resnet() -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=3).eval()


def onnx_of(module, path: Path, **options) -> Path:
    torch.onnx.export(module, torch.rand(1, 3, 64, 64), path, dynamo=False, **options)
    return path


KEPT = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}


@pytest.mark.filterwarnings("ignore")
def test_folded_normalisation_is_named_and_the_advice_works(tmp_path, resnet):
    folded = onnx_of(resnet, tmp_path / "folded.onnx")
    code, loaded, err = convert(folded, "--network", "resnet18", "--out", "run", cwd=tmp_path)
    assert (code, loaded, len(err.splitlines())) == (2, "False\n", 1)
    assert "batch normalisation was folded into the convolutions when this file was written" in err
    assert "training=torch.onnx.TrainingMode.PRESERVE, dynamo=False and do_constant_folding=False" in err
    kept = files.read(onnx_of(resnet, tmp_path / "kept.onnx", **KEPT))
    # Every normalisation of a fresh network is the same: the file has it once, under many names.
    taken = weights.from_layout(zoo.find("resnet18"), kept.tensors)
    module = {name: tensor for name, tensor in resnet.state_dict().items() if not weights.is_a_counter(name)}
    back = weights.to_layout(taken.network, taken.state, "torchvision")
    torch.testing.assert_close({name: back[name] for name in module}, module, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("suffix", ["pth", "safetensors", "npz"])
def test_values_are_those_of_the_source_and_rounding_is_said(tmp_path, dtype, suffix):
    state = {name: tensor.to(dtype) for name, tensor in edited().items()}
    path = tmp_path / f"w.{suffix}"
    if suffix == "npz":
        if dtype == torch.bfloat16:
            pytest.skip("numpy has no bfloat16")
        np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})
    else:
        {"pth": torch.save, "safetensors": save_file}[suffix](state, path)
    bundle = googlenet.convert(path, tmp_path / "run", network="lenet5")
    written = load_file(bundle.path / "weights.safetensors")
    torch.testing.assert_close(written, {name: tensor.float() for name, tensor in state.items()}, rtol=0, atol=0)
    notes = ["weights of float64 were rounded to float32"] if dtype == torch.float64 else []
    assert bundle.card.data["notes"] == notes


def test_tensors_that_share_memory_are_read_as_what_they_are(tmp_path):
    first, *_ = edited()
    whole = torch.cat([edited()[first].flatten(), torch.ones(7)])
    state = edited() | {first: whole[:-7].view(edited()[first].shape).transpose(2, 3)}
    for new in (True, False):
        torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
        torch.testing.assert_close(files.read(tmp_path / "w.pth").tensors, state, rtol=0, atol=0)


def test_of_two_tensors_of_one_name_none_is_taken(tmp_path):
    torch.save({"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}}, tmp_path / "w.pth")
    entry = {"dtype": "F32", "shape": [1]}
    pairs = [f'"w":{json.dumps(entry | {"data_offsets": [4 * n, 4 * n + 4]})}' for n in range(2)]
    header = f"{{{','.join(pairs)}}}".encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    for name, tensor in (("w.pth", "a.b"), ("w.safetensors", "w")):
        for read in (files.look, files.read):
            with pytest.raises(WeightsError, match=f"two tensors are called {tensor}"):
                read(tmp_path / name)


@pytest.mark.parametrize("name", weights.LAYOUTS)
def test_no_name_means_two_tensors_in_two_layouts(name):
    places: dict[str, set[str]] = {}
    for layout in weights.layouts_of(zoo.find(name)):
        keys = state_dict_on_meta(AS_MADE.get((name, layout), zoo.find(name)))
        theirs = weights.to_layout(zoo.find(name), {key: key for key in keys}, layout)
        assert len(theirs) == len(keys)
        for their, key in theirs.items():
            places.setdefault(their, set()).add(key)
    assert all(len(keys) == 1 for keys in places.values())
