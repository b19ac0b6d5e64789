"""Every network goes out to plain PyTorch: a program that knows nothing of this project builds it."""

import ast
import runpy
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import googlenet
from googlenet.card import ModelCard
from googlenet.errors import RunError, WeightsError
from googlenet.exchange.export import export_weights
from googlenet.exchange.program import program_of
from googlenet.models.analysis import minimum_size
from googlenet.models.zoo import NETWORKS
from googlenet.preprocessing import Preprocessing


def narrow(name):
    """The same network with an eighth of its widths."""

    def preprocessing(layer):
        out = getattr(layer, "out", None)
        return layer if out is None else replace(layer, out=max(2, out // 8))

    return NETWORKS[name].rewrite(preprocessing)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_program_of_every_network_gives_the_same_logits(name, tmp_path):
    torch.manual_seed(0)
    ours = googlenet.create(narrow(name), num_classes=5, in_channels=3, aux=0)
    size = max(48, minimum_size(ours.network) + 1)
    ours.train()(torch.randn(4, 3, size, size))  # statistics that are not those of initialisation
    card = ModelCard(name, {}, tuple("abcde"), Preprocessing(size))
    (tmp_path / "net.py").write_text(program_of(ours, card, "net.pth"), "ascii")
    theirs = runpy.run_path(str(tmp_path / "net.py"))["build"]()
    theirs.load_state_dict(ours.state_dict())
    for side in (size, size + 9):
        images = torch.randn(2, 3, side, side)
        with torch.inference_mode():
            torch.testing.assert_close(theirs.eval()(images), ours.eval()(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["flowers.pth", "my flowers.safetensors"])
def test_a_run_goes_out_and_answers_without_this_project(trained_run, tmp_path, call, name):
    out = tmp_path / "new" / name
    code, told, _ = call("convert", trained_run, "--to", "torch", "--out", out)
    assert code == 0
    program = out.with_suffix(".py")
    lines = [
        line.removeprefix("#     ") for line in program.read_text("ascii").splitlines() if line.startswith("#     ")
    ]
    assert all(line in told for line in lines[:2])
    shown = "\n".join(lines)
    test = f"""
import runpy, sys
sys.modules["googlenet"] = None  # not to be imported
import safetensors.torch
import torch
images = torch.load("images.pt")
{shown}
torch.save(logits.detach(), "logits.pt")
"""
    images = torch.randn(2, 3, 32, 32)
    torch.save(images, out.parent / "images.pt")
    subprocess.run([sys.executable, "-c", test], check=True, cwd=out.parent)
    ours = googlenet.create(googlenet.bundle.read(trained_run).network, aux=0).eval()
    weights = load_file(trained_run / "bundle" / "weights.safetensors")
    ours.load_state_dict({key: weights[key] for key in ours.state_dict()})
    with torch.inference_mode():
        torch.testing.assert_close(torch.load(out.parent / "logits.pt"), ours(images), atol=1e-5, rtol=1e-5)
    with pytest.raises(RunError, match="already exists"):
        export_weights(trained_run, program.with_suffix(".pt"), "torch")
    assert not program.with_suffix(".pt").exists()


def test_names_of_classes_cannot_become_code(tiny):
    names = ('"""\nimport os', "'); import os; ('", "猫\udce9", "{stages}", "\\")
    built = googlenet.create(replace(tiny, name='x"""\nimport os', aux=()), num_classes=5)
    text = program_of(built, ModelCard("x", {}, names, Preprocessing(32)), 'a"""b.pth')
    module = ast.parse(text)
    assert not any(
        alias.name == "os" for node in ast.walk(module) if isinstance(node, ast.Import) for alias in node.names
    )
    assigned = {ast.unparse(node.targets[0]): node.value for node in module.body if isinstance(node, ast.Assign)}
    assert ast.literal_eval(assigned["CLASSES"]) == names


def test_other_endings_are_refused(trained_run, tmp_path):
    with pytest.raises(WeightsError, match=r"the file of torch weights ends in one of \.pth, \.pt, \.safetensors"):
        export_weights(trained_run, tmp_path / "x.onnx", "torch")
