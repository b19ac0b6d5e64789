"""What a command loads before it answers: what it needs, and nothing of what other commands need."""

import json
import os
import re
import subprocess
import sys

import pytest
import typer

import googlenet
from googlenet.cli import COMMANDS, _command
from googlenet.cli.conversion import _UNKNOWN, _Lightly

HEAVY = (
    "pydantic", "torch", "torchvision", "onnx", "pandas", "pyarrow", "matplotlib", "scipy", "sklearn", "asyncio",
    "multiprocessing", "ssl", "email", "http.client", "urllib.request", "openvino.tools.ovc", "openvino_telemetry.main",
    "googlenet.bulk.results", "googlenet.bulk.parquet", "googlenet.bulk.sorting",
    "googlenet.data.downloads", "googlenet.cli.train", "googlenet.explaining.explanation",
    "googlenet.explaining.branches", "googlenet.inference.cut", "googlenet.models.spec", "googlenet.models.zoo",
    "googlenet.checks.onnx_graph",
)  # fmt: skip

RUN = """
import json, sys
from googlenet.cli import main
try:
    main(json.loads(sys.argv[1]))
except SystemExit as ended:
    sys.stdout.flush()
    heavy = [name for name in json.loads(sys.argv[2]) if sys.modules.get(name)]
    print(json.dumps([ended.code, heavy]), file=sys.stderr)
"""


def loaded(*arguments, **environment):
    """Run a command in a process of its own: exit code, stdout, and which modules of HEAVY were imported."""
    command = [sys.executable, "-c", RUN, json.dumps(list(map(str, arguments))), json.dumps(HEAVY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    code, found = json.loads(done.stderr.splitlines()[-1])
    return code, done.stdout, found


@pytest.fixture
def photo(trained_run):
    photo = trained_run.parent / "photos" / "red" / "007.png"
    assert googlenet.load(trained_run).predict(photo).label == "red"  # its graph is compiled, and kept
    return photo


@pytest.mark.parametrize("options", [[], ["--top", "2", "--json", "--precision", "fp32"], ["--csv", "--debug"]])
def test_one_image_is_answered_without_what_others_need(trained_run, photo, options):
    code, out, found = loaded("predict", trained_run, photo, *options)
    assert (code, found) == (0, [])
    assert "red" in out


def test_the_first_answer_of_a_bundle_reads_its_graph_and_compiles_what_it_needs_alone(trained_run, photo, tmp_path):
    code, out, found = loaded("predict", trained_run, photo, XDG_CACHE_HOME=str(tmp_path))
    assert (code, "red" in out, found) == (0, True, ["googlenet.checks.onnx_graph"])
    assert len(list(tmp_path.rglob("*.blob"))) == 1
    assert loaded("predict", trained_run, photo, XDG_CACHE_HOME=str(tmp_path)) == (0, out, [])


def test_what_is_asked_for_is_still_loaded(trained_run, photo, tmp_path):
    code, _, found = loaded("predict", trained_run, photo, "--out", tmp_path / "results.csv")
    assert (code, found) == (0, ["googlenet.bulk.results"])
    code, _, found = loaded("predict", trained_run, photo, "--top", "many")  # a wrong value: typer says what is wrong
    assert (code, found[:1]) == (2, ["pydantic"])


def test_the_converter_that_openvino_was_spared_can_be_imported_afterwards(trained_run):
    code = """
import sys, googlenet
googlenet.load(sys.argv[1])
assert "openvino.tools.ovc" not in sys.modules
import openvino.tools.ovc
assert openvino.tools.ovc.convert_model
"""
    subprocess.run([sys.executable, "-c", code, trained_run], check=True)


COMPILING = """
import sys
from googlenet.__main__ import main
try:
    main()
except SystemExit as ended:
    assert not ended.code
assert not [name for name in ("torch._dynamo.eval_frame", "torch._inductor") if name in sys.modules]
assert not [name for name in ("torchmetrics", "torchvision", "scipy.signal") if name in sys.modules]
from lightning_fabric.utilities.imports import _TORCHMETRICS_GREATER_EQUAL_1_0_0 as it_is_there
from lightning_utilities.core.imports import RequirementCache
assert it_is_there == bool(RequirementCache("torchmetrics>=1.0.0"))

import torch
from lightning_fabric.wrappers import OptimizedModule
network = torch.nn.Linear(3, 2)
optimizer = torch.optim.SGD(network.parameters(), lr=0.01)  # as while the compiler was not there yet
assert "torch._dynamo.eval_frame" not in sys.modules
graphs = []

def backend(graph, examples):
    graphs.append(graph)
    return graph

compiled = torch.compile(network, backend=backend)
assert isinstance(compiled, OptimizedModule)
assert not isinstance(network, OptimizedModule)

@torch.compile(backend=backend)
def step(x):
    optimizer.zero_grad()
    loss = compiled(x).square().sum()
    loss.backward()
    optimizer.step()
    return loss

losses = [step(torch.ones(4, 3)).item() for _ in range(3)]
assert graphs
assert losses == sorted(losses, reverse=True) != losses[:1] * 3
from torch._dynamo.utils import is_compile_supported
assert is_compile_supported("cpu")
assert sys.modules["torch._dynamo"] is torch._dynamo
assert torch._dynamo.__file__
assert torch._dynamo.utils.is_compile_supported is is_compile_supported
"""


def test_training_starts_without_pytorchs_compiler_which_is_there_when_it_is_used(coloured, tmp_path):
    train = ["train", coloured, "--out", tmp_path / "run", "--network", "lenet5", "--recipe", "default"]
    short = ["--epochs", "1", "--image-size", "32", "--batch-size", "16", "--precision", "fp32", "--workers", "0"]
    command = [sys.executable, "-c", COMPILING, *train, *short]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "bundle").exists()


@pytest.mark.parametrize("name", ["torch._dynamo.utils", "torch._dynamo.testing", "torch._dynamo.eval_frame"])
def test_a_part_of_the_compiler_can_be_imported_on_its_own(name):
    code = f"""
import sys
from googlenet.cli.compiler import defer_compiler
defer_compiler()
import torch, torchvision.ops
assert "torch._dynamo.symbolic_convert" not in sys.modules
import {name}
assert torch._dynamo.config.recompile_limit
assert sys.modules["{name}"] is {name}
assert {name}.__spec__.name == "{name}"
import torch._dynamo.convert_frame, torch._dynamo.utils
assert torch._dynamo.utils.is_compile_supported is sys.modules["torch._dynamo.utils"].is_compile_supported
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_and_a_wrong_command_know_all_commands(call):
    for asked in (["--help"], [], ["--help", "predict"], ["--debug", "-h"]):
        code, out, _ = call(*asked)
        assert code == 0
        assert re.findall(r"^  ([\w-]+) ", out.split("Commands:\n")[1], re.MULTILINE) == list(COMMANDS)
    code, _, err = call("predcit")
    assert (code, "'predict'" in err) == (2, True)


SHELL = {
    "bash": lambda words: {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)},
    "zsh": lambda words: {"_TYPER_COMPLETE_ARGS": " ".join(words)},
    "fish": lambda words: {"_TYPER_COMPLETE_ARGS": " ".join(words), "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


def completed(shell, *words):
    """What a shell offers for the last word, and which commands' modules were loaded for it."""
    code = """
import atexit, sys
from googlenet.cli import COMMANDS, main
modules = {"googlenet.cli." + name.replace("-", "_"): name for name in COMMANDS}
atexit.register(lambda: print(*[name for module, name in modules.items() if module in sys.modules], file=sys.stderr))
sys.argv = ["googlenet"]
main()
"""
    variables = {"_GOOGLENET_COMPLETE": f"complete_{shell}", **SHELL[shell](["googlenet", *words])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables)
    return done.stdout, done.stderr.split()


@pytest.mark.parametrize("shell", SHELL)
def test_a_shell_completes_commands_and_options(shell):
    out, modules = completed(shell, "pre")
    assert "predict" in out
    assert "demo" not in out
    assert modules == list(COMMANDS)
    out, modules = completed(shell, "evaluate", "--spl")
    assert "--split" in out
    assert modules == ["evaluate"]  # the others are not loaded at every key


def test_completion_is_installed_for_bash(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-m", "googlenet", "--install-completion", "bash"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / ".bashrc").exists()
    (script,) = tmp_path.glob("**/googlenet.sh")
    assert "_GOOGLENET_COMPLETE=complete_bash" in script.read_text("utf-8")


WORDS = (
    "", "1", "007", "0", "-3", "9999999999", " 1", "1_0", "١", "1.5", "0.05", ".5", "1.", "1e3", "nan", "inf", "x",
    "yes", "fp32", "FP32", "local", "a/b", "~", "-",
)  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_converted_lightly_is_converted_as_typer_does(name):
    command = _command([name]).commands[name]
    context = typer.Context(command, info_name=name)
    lightly = 0
    for param in command.get_params(context):
        light = param.get_runtime_param()
        assert isinstance(light, _Lightly)
        for word in (*WORDS, ["a", "b"], ("a",), [], 1, 1.5, 10**9, True):
            found = light._converted(word)
            if found is not _UNKNOWN:
                lightly += 1
                expected = light.typers().coerce(word, param=param, ctx=context)
                assert (found, type(found)) == (expected, type(expected)), (param.name, word)
    assert lightly
