"""Measure the code itself and hold it to its limits: sizes, parameters, import cycles, words that are not used.

    python tools/code_figures.py           # a table; exit code 1 where a limit is broken
    python tools/code_figures.py --json

A function's length is its lines from ``def`` on that are not blank, without its docstring. A file's length is all its
lines.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp

ROOT = Path(__file__).parents[1]
PACKAGE = "googlenet"
SOURCE = ROOT / "src" / PACKAGE
MAX_FILE_LINES, MAX_PARAMETERS = 350, 8
FORMER_NAMES = "former.py"  # names of earlier versions are its subject
# Words that say less than the field's own term, each with what to write instead. Regular expressions, whole words.
WORDS = {
    r"pictures?": "image",
    r"unless told": "by default",
    r"as right(?! and)": "as accurate",
    r"to the bit": "bit for bit",
    r"the law": "the import rules",
    r"nouns?(?! and a unit)": "layer type",
    r"verbs?": "command",
    r"gives? back": "return",
    r"fed[_ ]alike": "inherit_normalization",
    r"sized[_ ]alike": "inherit_image_size",
    r"loss of guessing|guessing the class": "chance loss",
    r"together(?= =)|max_together": "max_batches_per_step",
    r"first_size": "initial_size",
    r"step_factor": "lr_gamma",
    r"crop_area": "crop_scale",
    r"crop_aspect": "crop_ratio",
    r"keep_freed": "disable_malloc_trim",
    r"quicken|QuickConv2d": "MatmulWeightGradConv2d",
    r"Ailments?": "Check",
    r"cures?": "fix",
    r"--balance": "--class-balance",
    r"--fit(?! )": "--resize",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    """Every function and method of a file."""
    return (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, Function))


def length(function: Function, lines: list[str]) -> int:
    """Count the lines of a function that are not blank, without its docstring."""
    kept = set(range(function.lineno, (function.end_lineno or function.lineno) + 1))
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        kept -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return sum(bool(lines[number - 1].strip()) for number in kept)


def parameters(function: Function) -> int:
    """Count the parameters of a function, without ``self``, ``cls``, ``*args`` and ``**options``."""
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return sum(each.arg not in ("self", "cls") for each in every)


def cycles() -> list[str]:
    """Name the modules that import themselves by way of others, each with the import that begins the cycle."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True)
    return [
        f"{module} → {imported}"
        for module in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(module))
        if graph.chain_exists(importer=imported, imported=module)
    ]


def banned_words() -> list[str]:
    """Name each use of one of ``WORDS`` in the package, the documents and the examples: file:line: word → better."""
    code = [*SOURCE.rglob("*.py"), *SOURCE.rglob("*.toml"), *(ROOT / "examples").rglob("*.py")]
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    patterns = {re.compile(rf"(?<![\w-])(?:{word})\b", re.IGNORECASE): better for word, better in WORDS.items()}
    return [
        f"{path.relative_to(ROOT)}:{number}: {match[0]} → {better}"
        for path in sorted([*code, *documents])
        if path.name != FORMER_NAMES
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        for pattern, better in patterns.items()
        for match in pattern.finditer(line)
    ]


def figures() -> dict[str, Any]:
    """Measure everything. Lists name what breaks a limit."""
    texts = {path: path.read_text("utf-8").splitlines() for path in sorted(SOURCE.rglob("*.py"))}
    every = [(path, function) for path in texts for function in functions(path)]
    lengths = {f"{path.relative_to(ROOT)}:{each.lineno} {each.name}": length(each, texts[path]) for path, each in every}
    longest = max(lengths, key=lambda name: lengths[name])
    return {
        "files": len(texts),
        "lines": sum(map(len, texts.values())),
        "functions": len(lengths),
        "function_lines": {
            "median": statistics.median(lengths.values()),
            "90th percentile": statistics.quantiles(lengths.values(), n=10)[-1],
            f"most ({longest})": lengths[longest],
        },
        f"files_over_{MAX_FILE_LINES}_lines": [
            f"{path.relative_to(ROOT)} ({len(lines)})" for path, lines in texts.items() if len(lines) > MAX_FILE_LINES
        ],
        f"over_{MAX_PARAMETERS}_parameters_outside_cli": [
            f"{path.relative_to(ROOT)}:{each.lineno} {each.name} ({parameters(each)})"
            for path, each in every
            if parameters(each) > MAX_PARAMETERS and path.parent.name != "cli"
        ],
        "import_cycles": cycles(),
        "banned_words": banned_words(),
    }


def show(found: dict[str, Any]) -> None:
    """Print the figures as lines."""
    for name, value in found.items():
        title = name.replace("_", " ")
        if isinstance(value, dict):
            print(f"{title}: " + ", ".join(f"{key} {number:g}" for key, number in value.items()))
        elif isinstance(value, list):
            print("\n  ".join([f"{title}: {len(value)}", *value]))
        else:
            print(f"{title}: {value:,}")


def main() -> None:
    """Print the figures; fail where a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    found = figures()
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        show(found)
    raise SystemExit(any(value for value in found.values() if isinstance(value, list)))


if __name__ == "__main__":
    main()
