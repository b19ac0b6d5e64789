"""The command line: ``googlenet VERB``. One short file a verb; what a verb needs is imported inside it.

Results go to stdout, progress and logs to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage,
130 stopped by Ctrl-C, 143 by SIGTERM. An error is one line; ``--debug`` shows where it came from.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

import typer

import googlenet
from googlenet.errors import (
    DataError,
    DeviceError,
    GoogLeNetError,
    NetworkError,
    RecipeError,
    ResultsError,
    StoppedError,
    WeightsError,
)
from googlenet.text import printable

VERBS = (
    "demo",
    "train",
    "doctor",
    "evaluate",
    "predict",
    "table",
    "compare",
    "benchmark",
    "export",
    "verify",
    "convert",
    "push",
)
STOPPED = 130
WRONG_USAGE = (DataError, DeviceError, NetworkError, RecipeError, ResultsError, WeightsError)

app = typer.Typer(
    name="googlenet",
    help="From a folder of labelled pictures to a small, fast, explained classifier.\n\n"
    "Start with `googlenet demo`, or with your own folder: `googlenet train photos/ --out runs/mine`.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"googlenet {googlenet.__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _common(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    pass


for _verb in VERBS:
    importlib.import_module(f"googlenet.cli.{_verb}").register(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. Whatever goes wrong is one line on stderr."""
    given = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        code: Any = app(given, prog_name="googlenet", standalone_mode=False)
        if code == STOPPED:  # what typer makes of a Ctrl-C
            _fail("stopped", STOPPED, debug)
        _exit(code if isinstance(code, int) else 0)
    except typer.TyperException as error:
        _fail(_usage(error), 2, debug)
    except (typer.Abort, KeyboardInterrupt):
        _fail("stopped", STOPPED, debug)
    except StoppedError as error:
        _fail(str(error), error.exit_code, debug)
    except WRONG_USAGE as error:
        _fail(str(error), 2, debug)
    except GoogLeNetError as error:
        _fail(str(error), 1, debug)
    except BrokenPipeError:
        # Whoever read our output, `head` for one, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _exit(1)
    except Exception as error:  # noqa: BLE001 - a user sees one line, not a traceback
        _fail(f"{type(error).__name__}: {error} (a defect of this program: --debug shows where)", 1, debug)


def _usage(error: typer.TyperException) -> str:
    context: Any = getattr(error, "ctx", None)
    where = context.command_path if context else "googlenet"
    return f"{error.format_message()} (see `{where} --help`)"


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    line = printable(" ".join(message.split()))
    print(f"googlenet: {line}", file=sys.stderr)  # noqa: T201
    _exit(code)


def _exit(code: int) -> None:
    sys.exit(code)
