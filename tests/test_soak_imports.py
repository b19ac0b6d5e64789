"""The long tests of tests/soak, which `make test` does not run, still find what they import from the others."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def defined(path):
    """The names that a file defines or imports, outside of its functions and classes."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {each.asname or each.name for each in node.names}
        else:
            names |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "soak").glob("*.py")), ids=lambda path: path.name)
def test_what_the_long_tests_import_is_there(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
            source = ROOT.joinpath(*node.module.split(".")).with_suffix(".py")
            assert source.exists(), node.module
            assert {each.name for each in node.names} <= defined(source), node.module
