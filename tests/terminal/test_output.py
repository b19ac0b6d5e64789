"""Tables, lines and bars in a terminal of any width, drawn in this process."""

import ast
import contextlib
import io
import json
import os
import pty
import re
import sys
import threading
from pathlib import Path

import pytest
from rich.cells import cell_len

import googlenet
from googlenet import terminal
from googlenet.cli import output
from tests.terminal.screen import OURS, _set_size

SOURCE = Path(googlenet.__file__).parent


@pytest.fixture
def on(monkeypatch):
    """Draw in a terminal of so many columns; what was written is returned, with its escape codes where asked for."""

    def draw(columns, work, codes=False, **environment):
        master, slave = pty.openpty()
        _set_size(slave, columns)
        for name, value in ({"TERM": "xterm-256color"} | environment).items():
            monkeypatch.setenv(name, value)
        for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
            if name not in environment:
                monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("rich.console._STD_STREAMS", (slave,))  # what rich asks for its width
        with open(slave, "w", encoding="utf-8") as stream, monkeypatch.context() as patched:  # noqa: PTH123
            patched.setattr(sys, "stdout", stream)
            patched.setattr(sys, "stderr", stream)
            written = []
            reader = threading.Thread(target=_read_all, args=(master, written))
            reader.start()
            work()
        reader.join()
        os.close(master)
        raw = b"".join(written).decode()
        return raw if codes else OURS.sub("", raw).replace("\r\n", "\n")

    return draw


def _read_all(master, written):
    with contextlib.suppress(OSError):  # nobody writes any longer
        while chunk := os.read(master, 65536):
            written.append(chunk)


NUMBERS = [[f"{row}{column},234,567" for column in range(8)] for row in range(1, 4)]
NAMES = ["a :dog: [red]x[/b]", "猫" * 20, "q" * 250]
COLUMNS = [("name", "left"), *((f"number\n{column}", "right") for column in range(8))]


@pytest.mark.parametrize("columns", [12, 20, 40, 60, 80, 120, 250])
def test_a_table_keeps_names_and_numbers_whole(on, columns):
    rows = [[name, *numbers] for name, numbers in zip(NAMES, NUMBERS, strict=True)]
    text = on(columns, lambda: output.show_table("", COLUMNS, rows))
    assert max(map(cell_len, text.splitlines())) <= columns
    assert all(number in text.split() for numbers in NUMBERS for number in numbers)
    for letter in "猫q":
        assert text.count(letter) >= "".join(NAMES).count(letter)  # folded, but every letter of them is there
    assert ":dog:" in text
    assert "[red]x[/b]" in text


def test_in_a_pipe_a_row_is_one_line(capsys):
    rows = [[name, *numbers] for name, numbers in zip(NAMES, NUMBERS, strict=True)]
    output.show_table("", COLUMNS, rows)
    lines = capsys.readouterr().out.splitlines()
    for name, numbers in zip(NAMES, NUMBERS, strict=True):
        assert any(line.startswith(name) and line.split()[-8:] == numbers for line in lines)


@pytest.mark.parametrize("columns", [20, 60, 80])
def test_an_empty_table_has_its_headings(on, columns):
    text = on(columns, lambda: output.show_table("nothing", [("name", "left"), ("number", "right")], []))
    assert text.split()[:3] == ["nothing", "name", "number"] or columns == 20


def test_a_thousand_classes_are_all_there(on):
    rows = [(f"class {number} {'x' * 60}", f"{number:,}", "100.0%") for number in range(1000)]
    columns = [("class", "left"), ("images", "right"), ("recall", "right")]
    assert on(60, lambda: output.show_table("", columns, rows)).count("100.0%") == 1000


def test_answers_come_below_each_other_each_beside_its_probability(on):
    rows = [(f"photos/{n}.jpg", *(cell for top in range(3) for cell in (f"class {top} of a long name", f"{top}{n}.5%")))
            for n in range(2)]  # fmt: skip
    columns = [("image", "left"), *(3 * [("class", "left"), ("", "right")])]
    text = on(60, lambda: output.show_table("", columns, rows, groups=3))
    assert re.findall(r"class (\d) of a long name +(\d)\d\.5%", text) == 2 * [(n, n) for n in "012"]
    assert text.count("photos/0.jpg") == 1
    narrow = on(16, lambda: output.show_table("", columns, rows, groups=3))
    assert re.findall(r"class (\d)\s+of a\s+long\s+name\s+(\d)\d\.5%", narrow) == 2 * [
        ("0", "0"),
        ("1", "1"),
        ("2", "2"),
    ]


def test_a_matrix_that_is_too_wide_is_numbered(on):
    names = ["a [red]", "[/b]", "one more \x1b[31m"]
    rows = [[12, "·", "1,234"], [3, 4, 5], [6, 7, 8]]
    text = on(80, lambda: output.show_matrix("true", names, rows))
    assert re.search(r"\n +a \[red\]  \[/b\]  one more \\x1b\[31m\n", text)
    text = on(40, lambda: output.show_matrix("true", names, rows))
    assert re.search(r"\n +1  2 +3\n", text)
    assert re.search(r"\n1 a \[red\] +12  ·  1,234\n2 \[/b\] +3  4 +5\n3 one more \\x1b\[31m +6  7 +8\n", text)


def test_lines_break_between_words_and_a_command_stays_whole(on):
    command = "googlenet train 'my photos' --out 'runs/a long name' --resume"
    text = on(
        40, lambda: terminal.say(f"stopped after 1,582,671,872 of 9,999,999,999 steps, saved; continue with: {command}")
    )
    assert "1,582,671,872" in text.split()
    assert f"\n  {command}\n" in text
    assert max(map(len, text.splitlines()[:-1])) <= 40
    assert on(80, lambda: terminal.say("googlenet: googlenet got 30 pixels")) == "googlenet: googlenet got 30 pixels\n"


def test_in_a_pipe_a_message_is_one_line(capsys):
    line = (
        "googlenet: stopped in epoch 1 of 2, saved; continue with: googlenet train 'my photo' --resume " + "x y " * 99
    )
    terminal.say(line)
    terminal.say(line, to=terminal.console(stderr=True))
    assert capsys.readouterr() == (line + "\n", line + "\n")


@pytest.mark.parametrize(
    "evil", ["[/b] [red]", ":dog: :smiley:", "{0} {x}", "\x1b[31m\x9b2J", "\u202etxt.exe", "a\nb\r\t\x07", "caf\udce9"]
)
def test_what_a_user_named_is_text_wherever_it_is_shown(on, evil):
    def show():
        output.say(evil)
        output.warn(evil)
        output.show_table(evil, [("name", "left")], [(evil,)])
        output.show_table("", [("name", "left"), ("more", "left")], [(evil, [evil, evil])])
        output.show_matrix("", [evil], [[1]])
        output.show_csv([{"path": evil}])
        with output.progress(evil) as report:
            report(0, None)
            report(3, 3)
            output.warn(evil)

    raw = on(80, show, codes=True)
    text = OURS.sub("", raw)
    assert text.count(terminal.printable(evil)) >= 9
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_json_is_exact_and_holds_nothing_that_a_terminal_obeys(capsys):
    value = {"猫\x9b31m\u202e\x7f": ["\x1b", "\ud83d"]}
    output.show_json(value)
    text = capsys.readouterr().out
    assert "猫" in text
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == {"猫\x9b31m\u202e\x7f": ["\x1b", "\\ud83d"]}  # which UTF-8 cannot hold, is spelt


@pytest.mark.parametrize("columns", [20, 40, 80, 120])
def test_a_bar_has_room_at_its_first_step_and_at_its_last(on, columns):
    def work():
        with output.progress("measuring a thing") as report:
            report(0, 1_234_567)
            report(1_234_567, 1_234_567)
            output.say("a line above it")

    raw = on(columns, work, codes=True)
    painted = [OURS.sub("", line) for line in re.split(r"[\r\n]+", raw)]
    assert max(map(cell_len, painted)) <= columns
    assert any("1,234,567/1,234,567" in line for line in painted)
    assert ("ETA" in raw) == (columns >= 60)
    assert raw.count("\x1b[?25l") <= raw.count("\x1b[?25h")
    assert "a line above it" in painted


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": ""}, {"TERM": "unknown"}])
def test_a_terminal_that_obeys_no_codes_gets_none_and_no_bar(on, environment):
    def work():
        with output.progress("measuring") as report:
            report(0, 10)
            report(10, 10)
        output.say("done " * 20)

    raw = on(60, work, codes=True, **environment)
    assert "\x1b" not in raw
    assert "measuring" not in raw
    assert max(map(len, raw.splitlines())) <= 60


def test_a_letter_that_the_encoding_lacks_does_not_cost_the_table(monkeypatch):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    output.show_table("3×3", [("name", "left"), ("n", "right")], [("猫", "7×7")])
    sys.stdout.flush()
    assert b"3x3" in buffer.getvalue()
    assert b"\\u732b" in buffer.getvalue()


# Who may print: terminal.py makes consoles, cli/output.py draws on them.

PRINTERS = {
    "cli/output.py",  # JSON and CSV
    "cli/__init__.py",  # the version
    "stages.py",  # a word while nothing else is shown
    "benchmarking/measure.py",  # to the process that asked for measurements
}


def test_no_other_module_makes_a_console_or_prints():
    found = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            name = file.relative_to(SOURCE).as_posix()
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called.split(".")[-1] in ("Console", "get_console") and name != "terminal.py":
                    found.add(f"{name}: {called}")
                if called in ("print", "sys.stdout.write", "sys.stderr.write", "typer.echo") and name not in PRINTERS:
                    found.add(f"{name}: {called}")
    assert not found


def test_a_console_takes_no_markup():
    made = [terminal.console(), terminal.console(stderr=True)]
    assert [(each._markup, each._emoji, each._highlight) for each in made] == 2 * [(False, False, False)]
