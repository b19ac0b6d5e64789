"""What the package declares: its extras install what is imported, and nothing that nothing imports."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from googlenet.extras import missing_extra

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
TOOLS = {"dev", "docs"}  # run, not imported
LOGGERS = {"tensorboard", "mlflow", "wandb"}  # imported by Lightning's loggers
BUILDS = {"onnxruntime-gpu"}  # of what is imported by another name


def normal(name):
    return re.sub("[-_.]+", "-", re.match("[A-Za-z0-9._-]+", name)[0]).lower()


def imported():
    """The packages that src/googlenet imports, anywhere in it."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            found.update(names)
    return found


@cache
def distributions():
    """The distributions that what is imported comes from."""
    owners = packages_distributions() | {"google": ["protobuf"]}  # a namespace of many
    names = {name.split(".")[0] for name in imported()} - set(sys.stdlib_module_names) - {"googlenet"}
    return {normal(owner) for name in names for owner in owners.get(name, [name])}


@pytest.mark.parametrize("extra", sorted({*PROJECT["optional-dependencies"], ""} - TOOLS))
def test_an_extra_installs_nothing_that_nothing_imports(extra):
    declared = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    assert {normal(each) for each in declared} <= distributions() | LOGGERS | BUILDS


def test_what_is_imported_is_installed_by_an_extra():
    extras = [each for name, each in PROJECT["optional-dependencies"].items() if name not in TOOLS]
    declared = {normal(each) for group in (PROJECT["dependencies"], *extras) for each in group}
    # export replays its file with onnxruntime if that is installed; typing_extensions is imported by type checkers only
    assert distributions() - declared <= {"onnxruntime", "typing-extensions"}


@pytest.mark.parametrize("extra", sorted({*PROJECT["optional-dependencies"]} - TOOLS))
def test_a_package_that_is_missing_is_told_with_its_extra(extra):
    for requirement in PROJECT["optional-dependencies"][extra]:
        modules = {"pillow": "PIL", "scikit-learn": "sklearn", "protobuf": "google.protobuf", "pi-heif": "pi_heif",
                   "onnxruntime-gpu": "onnxruntime"}  # fmt: skip
        name = modules.get(normal(requirement), normal(requirement).replace("-", "_"))
        error = missing_extra(ModuleNotFoundError(name=name))
        assert (error.extra, error.missing) == (extra, name)
    assert missing_extra(ModuleNotFoundError(name="googlenet.nothing")) is None


def test_every_module_is_either_kept_from_pytorch_or_allowed_it():
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    without = [
        module
        for each in contracts
        if "torch" in each.get("forbidden_modules", ())
        for module in each["source_modules"]
    ]
    [allowed] = [each["allowed_importers"] for each in contracts if "torch" in each.get("protected_modules", ())]
    commands = ["googlenet.cli", "googlenet.__main__"]  # which import what a command needs when it is called
    paths = [path.relative_to(ROOT / "src").with_suffix("") for path in (ROOT / "src").rglob("*.py")]
    modules = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    parents = {module.rpartition(".")[0] for module in modules}  # a package's own file has nothing in it
    decided = [*without, *allowed, *commands]
    assert not {
        module for module in modules - parents
        if not any(module == each or module.startswith(f"{each}.") for each in decided)
    }  # fmt: skip
