"""The command line: ``googlenet VERB``. One short file a verb; what a verb needs is imported inside it.

Results go to stdout, progress and logs to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage,
130 stopped by Ctrl-C, 143 by SIGTERM. An error is one line; ``--debug`` shows where it came from.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import threading
import traceback
from typing import Any

import typer

import googlenet
from googlenet import machine, stages
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
    _prepare_streams()
    stages.begin()
    given = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in given
    if not debug:
        _hide_tracebacks()
    given = [argument for argument in given if argument != "--debug"]
    try:
        code: Any = app(given, prog_name="googlenet", standalone_mode=False)
        if code == STOPPED:  # what typer makes of a Ctrl-C
            _fail("stopped", STOPPED, debug)
        sys.stdout.flush()
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
        _discard_stdout()  # whoever read our output, `head` for one, has seen enough
        _exit(1)
    except Exception as error:  # noqa: BLE001 - a user sees one line, not a traceback
        _fail(_unforeseen(error), 1, debug)


def _prepare_streams() -> None:
    """Let no name fail to be printed, whatever the locale, and no file take the number of a stream that is closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - until the end
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _hide_tracebacks() -> None:
    """Print none of what Python prints by itself: of threads, and of objects that cannot be cleared away."""
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None


def _unforeseen(error: Exception) -> str:
    """Say what went wrong that nobody raised on purpose."""
    _discard_stdout()
    return machine.explain(error) or (
        f"{type(error).__name__}: {error} (a defect of this program: --debug shows where)"
    )


def _discard_stdout() -> None:
    """Let what waits to be printed go nowhere, so that the end of the program does not fail at it again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: typer.TyperException) -> str:
    context: Any = getattr(error, "ctx", None)
    where = context.command_path if context else "googlenet"
    return f"{error.format_message()} (see `{where} --help`)"


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    line = " ".join(message.split())
    print(f"googlenet: {line}", file=sys.stderr)  # noqa: T201
    _exit(code)


def _exit(code: int) -> None:
    sys.exit(code)
