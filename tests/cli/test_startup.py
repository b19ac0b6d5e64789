"""What a command loads before it answers: what it needs, and nothing of what other commands need."""

import json
import os
import re
import subprocess
import sys

import pytest
import typer

from googlenet.cli import COMMANDS, _command
from googlenet.cli.conversion import _UNKNOWN, _Lightly

HEAVY = (
    "pydantic", "torch", "torchvision", "onnx", "pandas", "pyarrow", "matplotlib", "scipy", "sklearn", "asyncio",
    "multiprocessing", "ssl", "email", "http.client", "urllib.request", "openvino.tools.ovc", "openvino_telemetry.main",
    "googlenet.bulk.results", "googlenet.bulk.parquet", "googlenet.bulk.sorting",
    "googlenet.data.downloads", "googlenet.cli.train",
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


def loaded(*arguments):
    """Run a command in a process of its own: exit code, stdout, and which modules of HEAVY were imported."""
    command = [sys.executable, "-c", RUN, json.dumps(list(map(str, arguments))), json.dumps(HEAVY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    code, found = json.loads(done.stderr.splitlines()[-1])
    return code, done.stdout, found


@pytest.mark.parametrize("options", [[], ["--top", "2", "--json", "--precision", "fp32"], ["--csv", "--debug"]])
def test_one_image_is_answered_without_what_others_need(trained_run, options):
    photo = trained_run.parent / "photos" / "red" / "007.png"
    code, out, found = loaded("predict", trained_run, photo, *options)
    assert (code, found) == (0, [])
    assert "red" in out


def test_what_is_asked_for_is_still_loaded(trained_run, tmp_path):
    photo = trained_run.parent / "photos" / "red" / "007.png"
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


def test_help_and_a_wrong_command_know_all_commands(call):
    for asked in (["--help"], [], ["--help", "predict"], ["--debug", "-h"]):
        code, out, _ = call(*asked)
        assert code == 0
        assert re.findall(r"^  (\w+) ", out.split("Commands:\n")[1], re.MULTILINE) == list(COMMANDS)
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
atexit.register(lambda: print(*[c for c in COMMANDS if f"googlenet.cli.{c}" in sys.modules], file=sys.stderr))
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
    "", "1", "007", "0", "-3", "9999999999", " 1", "1_0", "١", "1.5", "x", "yes", "fp32", "FP32", "local",
    "a/b", "~", "-",
)  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_converted_lightly_is_converted_as_typer_does(name):
    command = _command([name]).commands[name]
    context = typer.Context(command, info_name=name)
    lightly = 0
    for param in command.get_params(context):
        light = param.get_runtime_param()
        assert isinstance(light, _Lightly)
        for word in (*WORDS, ["a", "b"], ("a",), []):
            found = light._converted(word)
            if found is not _UNKNOWN:
                lightly += 1
                expected = light.typers().coerce(word, param=param, ctx=context)
                assert (found, type(found)) == (expected, type(expected)), (param.name, word)
    assert lightly
