"""The command line: ``googlenet COMMAND``. One short file for each command, which imports what it needs when called.

Results go to stdout, progress and logs to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C,
143 by SIGTERM, 129 by a closed terminal. An error is one line; ``--debug`` shows its traceback.
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

from googlenet import extras, machine, stages, stopping
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

COMMANDS = (
    "demo",
    "train",
    "tune",
    "ablate",
    "doctor",
    "augment",
    "evaluate",
    "predict",
    "explain",
    "serve",
    "table",
    "compare",
    "benchmark",
    "quantize",
    "early-exit",
    "prune",
    "export",
    "verify",
    "convert",
    "push",
)
STOPPED = 130
COMPLETION = "_GOOGLENET_COMPLETE"  # set by a shell that asks for completions
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
    """Build the command line with the command that is called, or completed; the others need not be loaded.

    Help, and the message about a command that does not exist, need all of them.
    """
    app = typer.Typer(
        name="googlenet",
        help="Train an image classifier on a folder of labelled images, on an ordinary CPU, and use it anywhere.\n\n"
        "Start with `googlenet demo`, or with your own folder: `googlenet train photos/ --out runs/mine`.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    first = _first_word(given)
    for name in [first] if first in COMMANDS else COMMANDS:
        importlib.import_module(f"googlenet.cli.{name.replace('-', '_')}").register(app)
    command = typer.main.get_command(app)
    convert_lightly(command)
    return command


def _first_word(given: list[str]) -> str:
    """Return the first word after ``googlenet``. A shell that asks for completions has what was typed in variables."""
    if COMPLETION in os.environ:
        typed = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
        return next(iter(typed.split()[1:]), "")
    return given[0]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. Every error is one line on stderr."""
    given = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in given
    _prepare_streams()
    os.environ["MPLBACKEND"] = "agg"  # plots go to files: a notebook may have set a backend that is missing here
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
    """Run a command; return the line to print at its end, which may be empty, and the exit code.

    ``caught`` holds the signal that interrupted it, if one did.
    """
    try:
        _refuse_empty(given)
        code: Any = _command(given)(given, prog_name="googlenet", standalone_mode=False)
        sys.stdout.flush()
        if isinstance(sys.stdout, _ClosedStdout) and sys.stdout.lost:
            raise MachineError("standard output is closed, so the results are lost: send them to a file (> FILE)")
        if code == STOPPED:  # typer's code for an interrupt
            return _ended(KeyboardInterrupt(), caught)
        return "", code if isinstance(code, int) else 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a user sees one line, not a traceback
        for line in traceback.format_exc().splitlines() if debug else ():
            _say(line, wrap=False)
        return _ended(error, caught)


def _refuse_empty(given: list[str]) -> None:
    """Refuse an empty word, as a shell variable that is not set leaves it: as a path it would be the current folder."""
    for number, word in enumerate(given):
        option = word.partition("=")[0] if word.startswith("--") and word.endswith("=") else ""
        if not word or option:
            after = option or (given[number - 1] if number else "googlenet")
            raise typer.BadParameter(f"the value after {after!r} is empty: give one, or leave it out")


def _ended(error: BaseException, caught: list[int]) -> tuple[str, int]:
    """Return the line to print about an error that ended a command, and the exit code."""
    if isinstance(error, ModuleNotFoundError):
        error = extras.missing_extra(error) or error
    if caught or isinstance(error, (typer.Abort, KeyboardInterrupt)):  # libraries turn an interrupt into other errors
        line = str(error) if isinstance(error, StoppedError) else "stopped"
        return line, stopping.CODE + caught[0] if caught else STOPPED
    if isinstance(error, BrokenPipeError):
        _discard_stdout()  # the program that read our output, such as `head`, has ended
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
    """Make every name printable in any locale, and keep files from taking the number of a stream that is closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
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
    """Stand-in for a stdout that was closed before the program began. ``lost`` tells whether anything was printed."""

    lost = False

    def write(self, text: str) -> int:
        self.lost = True
        return len(text)


class _Stderr(io.TextIOWrapper):
    """Stderr whose failures do not end the work: a closed terminal, a full disk, a reader that has ended."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def _hide_tracebacks() -> None:
    """Suppress the tracebacks that Python prints itself: from threads, and from finalizers."""
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None


def _discard_stdout() -> None:
    """Discard what is still to be printed, so that the program does not fail again when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: typer.TyperException) -> str:
    context: Any = getattr(error, "ctx", None)
    where = context.command_path if context else "googlenet"
    return f"{error.format_message()} (see `{where} --help`)"


def _say(line: str, wrap: bool = True) -> None:
    """Print a line on stderr. The terminal library is imported only when there is something to print."""
    from googlenet import terminal

    terminal.say(line, to=terminal.console(stderr=True), wrap=wrap)
