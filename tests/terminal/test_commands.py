"""Commands in real terminals, as a reader sees them. Every command in every terminal: tests/soak/test_terminal.py."""

import re

import pytest

from googlenet import cli
from googlenet.text import printable
from tests.terminal.conftest import CLASSES, COMMANDS, FOLDER, SLOW, TRAIN
from tests.terminal.screen import assert_no_codes, assert_tidy, googlenet, show

NO_COLOR, DUMB, C = {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
QUIET = {"PYTHONWARNINGS": "ignore"}  # fonts that lack a letter
SAME = ("table", "table of many widths", "table naive", "predict", "predict csv", "evaluate", "doctor")  # every time
CODES = {"predict": 1, "predict csv": 1, "predict out": 1, "wrong": 1, "usage": 2}
CASES = [
    ("train", 80, {}),
    ("train", 60, {"environment": DUMB}),
    ("train", 120, {"environment": NO_COLOR, "resize": 30, "piped": "stdout"}),
    ("table", 60, {}),
    ("table", 80, {"environment": C}),
    ("table", 20, {}),
    ("table of many widths", 80, {}),
    ("table naive", 60, {}),
    ("evaluate", 60, {"environment": QUIET}),
    ("evaluate", 80, {"environment": DUMB | QUIET, "piped": "stderr"}),
    ("predict", 20, {}),
    ("predict", 60, {}),
    ("predict", 80, {"environment": C}),
    ("predict", 120, {"environment": NO_COLOR}),
    ("predict csv", 80, {}),
    ("predict out", 60, {}),
    ("doctor", 60, {}),
    ("doctor", 80, {}),
    ("verify", 60, {}),
    ("benchmark", 80, {}),
    ("push", 80, {"environment": NO_COLOR}),
    ("export", 60, {}),
    ("wrong", 60, {}),
    ("usage", 80, {"environment": {"FORCE_COLOR": "1"}, "piped": "both"}),
]


@pytest.fixture(scope="module")
def screens(start):
    """What each case leaves, begun all at once; and what goes into a pipe of commands that say the same every time."""
    cases = {f"{name} {columns} {how}": start(name, columns, **how) for name, columns, how in CASES}
    pipes = {name: start(name, piped="stdout") for name in SAME}
    return cases, pipes


@pytest.mark.parametrize(("name", "columns", "how"), CASES, ids=str)
def test_a_terminal_shows_all_that_a_pipe_gets(screens, name, columns, how):
    shown = screens[0][f"{name} {columns} {how}"].result()
    assert shown.code == CODES.get(name, 0), shown.plain + shown.piped
    assert_readable(shown, name, how)
    if name in SAME and "piped" not in how and how.get("environment") != C:
        assert_whole(shown, screens[1][name].result())


def assert_readable(shown, name, how):
    environment = how.get("environment", {})
    if "resize" not in how:
        assert_tidy(shown, any_width=name == "predict csv")
    if name != "predict csv":  # a program gets names as they are
        assert_no_codes(shown.piped)
    if environment == DUMB:
        assert_no_codes(shown.raw)
    if environment == NO_COLOR:
        assert not re.search(r"\x1b\[[0-9;]*[345][0-9]", shown.raw)
    assert "defect" not in shown.joined


def assert_whole(shown, piped):
    """Every number of the pipe is in the terminal, in one piece, and every word of a name that need not be folded."""
    seen = set(shown.screen.split())
    for word in piped.piped.split():
        if re.fullmatch(r"[\d,.%]*\d[\d,.%]*", word) or (shown.columns >= 60 and word.isalpha() and len(word) < 12):
            assert word in seen, word


def test_training_shows_classes_epochs_and_how_to_go_on(screens):
    shown = screens[0]["train 80 {}"].result()
    assert [len(re.findall(rf"^epoch   {n}/2  loss .* top-1 +[\d.]+%", shown.screen, re.M)) for n in (1, 2)] == [1, 1]
    for name in CLASSES:
        assert f"{printable(name)} 1" in shown.joined or f"{printable(name)} " in shown.joined, name
    assert "steps  loss" in shown.raw
    assert "ETA" in shown.raw
    assert "ETA" not in shown.screen  # the bar is gone
    assert shown.lines[-1].strip().startswith("googlenet evaluate 'run [")


@pytest.mark.parametrize("columns", [60, 120])
def test_images_are_told_apart_however_narrow(screens, columns):
    how = {"environment": NO_COLOR} if columns == 120 else {}
    lines = screens[0][f"predict {columns} {how}"].result().lines
    heading = next(line for line in lines if "class" in line)
    names = "".join(line[: heading.index("class")].replace(" ", "") for line in lines)
    for number in range(3):
        assert f"new/IMG_{number}[edited]\\x1b[31mredofanamethatislongenoughtobefolded.png" in names
    assert len(re.findall(r"\d+\.\d%", "\n".join(lines))) == 9


def test_a_confusion_matrix_says_which_row_is_which(screens):
    shown = screens[0][f"evaluate 60 {CASES[8][2]}"].result()
    matrix = shown.screen.split("true \\ predicted")[1]
    for name in CLASSES:
        assert printable(name) in matrix


def test_what_a_user_named_is_not_obeyed(screens):
    assert "no [/b] run \\x1b[31m" in screens[0]["wrong 60 {}"].result().joined
    piped = screens[0][f"usage 80 {CASES[-1][2]}"].result().piped
    assert "--no-\\x1b[31m:dog:" in piped
    assert piped.count("\n") == 1


def test_ctrl_c_ends_a_training_in_order_and_the_command_it_names_goes_on(place):
    long = [*TRAIN, "--out", "stopped run", "--epochs", 500]
    shown = show(googlenet(*long), cwd=place, keys=[("loss", "\x03")])
    assert shown.code == 130
    assert_tidy(shown)
    assert re.search(r"stopped in epoch \d+ of 500, saved; continue with:$", shown.screen, re.M)
    assert shown.lines[-1] == f"  googlenet train '{FOLDER}' --out 'stopped run' --resume"
    again = show(googlenet(*long, "--resume"), cwd=place, keys=[("loss", "\x03")])
    assert again.code == 130


def test_every_command_is_here():
    elsewhere = {"convert", "serve"}  # which runs until it is stopped: tests/serving/test_process.py
    assert {arguments[0] for arguments in (COMMANDS | SLOW).values()} >= set(cli.COMMANDS) - elsewhere
