"""Every command in every terminal: three widths, and each environment at 80 columns. Half an hour on two cores."""

import pytest

from tests.terminal.conftest import COMMANDS, SLOW, place, run, start  # noqa: F401
from tests.terminal.screen import googlenet, show
from tests.terminal.test_commands import (
    CODES,
    DUMB,
    NO_COLOR,
    QUIET,
    SAME,
    TRAIN,
    assert_readable,
    assert_whole,
)

TERMINALS = [
    (60, {}),
    (80, {}),
    (120, {}),
    (80, {"environment": NO_COLOR}),
    (80, {"environment": DUMB}),
    (80, {"environment": {"LC_ALL": "C"}}),
    (80, {"piped": "stdout"}),
    (80, {"piped": "stderr"}),
    (80, {"piped": "both"}),
    (80, {"resize": 20}),
]


@pytest.mark.parametrize("name", COMMANDS | SLOW)
def test_every_terminal_shows_all_that_a_pipe_gets(start, name):  # noqa: F811
    begun = []
    for columns, how in TERMINALS:
        environment = how.get("environment", {})
        begun.append((columns, how, start(name, columns, **how | {"environment": environment | QUIET})))
    pipe = start(name, piped="stdout", environment=QUIET)
    for columns, how, future in begun:
        shown = future.result()
        assert shown.code == CODES.get(name, 0), (columns, how, shown.plain + shown.piped)
        assert_readable(shown, name, how)
        if name in SAME and how in ({}, {"environment": NO_COLOR}):
            assert_whole(shown, pipe.result())


@pytest.mark.parametrize("seen", ["loading", "training images", "loss", "val loss"])
def test_ctrl_c_at_any_moment_is_one_line(place, seen):  # noqa: F811
    out = f"run {seen}"
    shown = show(googlenet(*TRAIN, "--out", out, "--epochs", 500), cwd=place, keys=[(seen, "\x03")])
    assert shown.code == 130, shown.plain
    assert_readable(shown, "train", {})
    assert "stopped" in shown.screen.replace("^C", "").splitlines()[-1 if seen == "loading" else -2]


@pytest.mark.parametrize("name", ["evaluate", "predict", "benchmark", "doctor", "demo"])
def test_ctrl_c_ends_other_work_in_one_line(place, name):  # noqa: F811
    shown = run(place, name, 80, keys=[("..." if name != "demo" else "loss", "\x03")], environment=QUIET)
    assert shown.code in (130, CODES.get(name, 0)), shown.plain  # it may have ended before
    assert_readable(shown, name, {})
