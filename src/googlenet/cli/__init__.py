"""The command line: ``googlenet VERB``. One short file a verb; what a verb needs is imported inside it.

Results go to stdout, progress and logs to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage,
130 stopped by Ctrl-C, 143 by SIGTERM, 129 by a terminal that was closed. An error is one line; ``--debug`` shows where
it came from.
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
import typer.main

from googlenet import machine, stages, stopping
from googlenet._version import __version__
from googlenet.cli.conversion import convert_lightly
from googlenet.errors import (
    DataError,
    DeviceError,
    GoogLeNetError,
    MachineError,
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


def _version(asked: bool) -> None:
    if asked:
        print(f"googlenet {__version__}")  # noqa: T201
        raise typer.Exit


def _common(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    pass


def _command(given: list[str]) -> Any:
    """Make the command line: of the verb that is called alone, where one is, as the others would be loaded for nothing.

    Help, and what is said of a verb that does not exist, need all of them.
    """
    app = typer.Typer(
        name="googlenet",
        help="From a folder of labelled images to a small, fast, explained classifier.\n\n"
        "Start with `googlenet demo`, or with your own folder: `googlenet train photos/ --out runs/mine`.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    for verb in given[:1] if given[0] in VERBS else VERBS:
        importlib.import_module(f"googlenet.cli.{verb}").register(app)
    command = typer.main.get_command(app)
    convert_lightly(command)
    return command


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. Whatever goes wrong is one line on stderr."""
    given = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in given
    _prepare_streams()
    os.environ["MPLBACKEND"] = "agg"  # plots go to files: what a notebook has set, and is not here, must not matter
    if arguments is None and not debug:
        _hide_tracebacks()
    stages.begin()
    try:
        with stopping.interrupts(for_good=arguments is None) as caught:
            line, code = _run([argument for argument in given if argument != "--debug"], debug, caught)
    except KeyboardInterrupt:  # just before the command began, or just after it ended
        line, code = "stopped", STOPPED
    if line:
        _say(f"googlenet: {' '.join(line.split())}")
    sys.exit(code)


def _run(given: list[str], debug: bool, caught: list[int]) -> tuple[str, int]:
    """Run a command; return what is to be said of how it ended, if anything, and the exit code.

    ``caught`` holds the signal that interrupted it, if one did.
    """
    try:
        _refuse_empty(given)
        code: Any = _command(given)(given, prog_name="googlenet", standalone_mode=False)
        sys.stdout.flush()
        if isinstance(sys.stdout, _ClosedStdout) and sys.stdout.lost:
            raise MachineError("standard output is closed, so the answer is lost: send it somewhere (> FILE)")
        if code == STOPPED:  # what typer makes of an interrupt
            return _ended(KeyboardInterrupt(), caught)
        return "", code if isinstance(code, int) else 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a user sees one line, not a traceback
        for line in traceback.format_exc().splitlines() if debug else ():
            _say(line, wrap=False)
        return _ended(error, caught)


def _refuse_empty(given: list[str]) -> None:
    """Raise where a word is empty, as a variable that is not set makes it: as a path it would be this folder."""
    for number, word in enumerate(given):
        option = word.partition("=")[0] if word.startswith("--") and word.endswith("=") else ""
        if not word or option:
            after = option or (given[number - 1] if number else "googlenet")
            raise typer.BadParameter(f"what is given after {after!r} is empty: give a value, or leave it out")


def _ended(error: BaseException, caught: list[int]) -> tuple[str, int]:
    if caught or isinstance(error, (typer.Abort, KeyboardInterrupt)):  # libraries make other errors of an interrupt
        line = str(error) if isinstance(error, StoppedError) else "stopped"
        return line, stopping.CODE + caught[0] if caught else STOPPED
    if isinstance(error, BrokenPipeError):
        _discard_stdout()  # whoever read our output, `head` for one, has seen enough
        return "", 1
    if isinstance(error, typer.TyperException):
        return _usage(error), 2
    if isinstance(error, GoogLeNetError):
        code = error.exit_code if isinstance(error, StoppedError) else 2 if isinstance(error, WRONG_USAGE) else 1
        return str(error), code
    _discard_stdout()
    unknown = f"{type(error).__name__}: {error} (a defect of this program: --debug shows where)"
    return machine.explain(error) or unknown, 1


def _prepare_streams() -> None:
    """Let no name fail to be printed, whatever the locale, and no file take the number of a stream that is closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None and name == "stdout":
            sys.stdout = _ClosedStdout()
        elif stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - until the end
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        encoding = sys.stderr.encoding
        sys.stderr = _Stderr(sys.stderr.buffer, encoding, "backslashreplace", line_buffering=True)


class _ClosedStdout(io.TextIOBase):
    """Stands for a stdout that was closed before the program began, and notes that something is lost."""

    lost = False

    def write(self, text: str) -> int:
        self.lost = True
        return len(text)


class _Stderr(io.TextIOWrapper):
    """Progress and warnings end no work: not where the terminal is gone, the disk full, or nobody reads on."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def _hide_tracebacks() -> None:
    """Print none of what Python prints by itself: of threads, and of objects that cannot be cleared away."""
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None


def _discard_stdout() -> None:
    """Let what waits to be printed go nowhere, so that the end of the program does not fail at it again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: typer.TyperException) -> str:
    context: Any = getattr(error, "ctx", None)
    where = context.command_path if context else "googlenet"
    return f"{error.format_message()} (see `{where} --help`)"


def _say(line: str, wrap: bool = True) -> None:
    """Print a line on stderr. What draws on terminals is loaded only now that there is something to be said."""
    from googlenet import terminal

    terminal.say(line, to=terminal.console(stderr=True), wrap=wrap)
