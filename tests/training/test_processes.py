"""The processes that read images: scripts without a guard, signals to all of them, kills that leave none behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FIVE_LINES = """
import sys, multiprocessing
multiprocessing.set_start_method(sys.argv[1])
import googlenet

print("once")
googlenet.train(sys.argv[2], out=sys.argv[3], network="lenet5", epochs=1, image_size=32, batch_size=16, workers=1,
                device="cpu", precision="fp32")
classifier = googlenet.load(sys.argv[3])
print(classifier.predict(sys.argv[2] + "/red/000.png").label in classifier.class_names)
"""

OWN_CLASS = """
import sys, multiprocessing
multiprocessing.set_start_method(sys.argv[1])
import googlenet
from googlenet.data.image_set import LabelledData
from googlenet.data.opening import open_data

class Mine(str):
    pass

data = open_data(sys.argv[2])
item = data.splits["train"].items[0]
object.__setattr__(item, "group", Mine("a"))
googlenet.train(data, out=sys.argv[3], network="lenet5", epochs=1, image_size=32, batch_size=16, workers=1,
                device="cpu", precision="fp32")
"""


def script(tmp_path, text, *arguments):
    path = tmp_path / "script.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, path, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=240
    )


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_the_five_lines_are_a_script_without_a_guard_however_processes_are_started(coloured, tmp_path, method):
    done = script(tmp_path, FIVE_LINES, method, coloured, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "once\nTrue\n"
    assert "Traceback" not in done.stderr


def test_what_the_script_defines_itself_cannot_be_given_to_processes_and_is_said_at_once(coloured, tmp_path):
    done = script(tmp_path, OWN_CLASS, "spawn", coloured, tmp_path / "run")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("googlenet.errors.MachineError: workers that read images cannot be sent what the script")
    assert "workers=0" in last


@pytest.fixture
def train():
    """Start a training in a session of its own; none outlives its test."""
    started = []

    def start(photos, out, *more, **options):
        command = [
            sys.executable, "-m", "googlenet", "train", photos, "--out", out, "--network", "lenet5", "--image-size",
            "32", "--batch-size", "8", "--epochs", "2000", "--precision", "fp32", "--device", "cpu", *more,
        ]  # fmt: skip
        started.append(subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            **options,
        ))  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def under_way(out):
    return lambda: (out / "log.csv").exists()


def session(number):
    """The processes of a session that live, without those that only wait to be buried."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == number and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def assert_saved(err):
    assert "googlenet: stopped in epoch" in err
    assert "--resume" in err.splitlines()[-1]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_a_killed_training_leaves_no_process_behind_and_its_directory_free(train, call, coloured, tmp_path):
    out = tmp_path / "run"
    process = train(coloured, out, "--workers", 3)
    wait_for(under_way(out))
    assert len(session(process.pid)) >= 4
    process.kill()
    process.communicate()
    wait_for(lambda: not session(process.pid), 20)
    code, _, err = call("train", coloured, "--out", out, "--overwrite", "--lr", "-1")  # looked at without a lock
    assert "another training" not in err
    assert code == 2


def test_a_second_training_into_one_directory_is_refused(train, call, coloured, tmp_path):
    out = tmp_path / "run"
    process = train(coloured, out, "--workers", 1)
    try:
        wait_for(under_way(out))
        for more in (["--overwrite"], ["--resume"], []):
            code, _, err = call("train", coloured, "--out", out, *more)
            assert code == 1
            assert f"another training is running in {out}: wait for it" in err
            assert len(err.splitlines()) == 1
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # as `timeout`, systemd and Slurm do: to all processes of the job
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert_saved(err)
    assert "Traceback" not in err
    code, _, err = call("train", coloured, "--out", out)
    assert "holds a run: continue it with --resume" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_all_processes_of_a_training_saves(train, coloured, tmp_path, number, code):
    """Twice, as `timeout` sends SIGTERM, and a shell and a terminal that is closed SIGHUP: that is one wish."""
    out = tmp_path / "run"
    process = train(coloured, out, "--workers", 2)
    wait_for(under_way(out))
    os.killpg(process.pid, number)
    time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert_saved(err)
    assert "Traceback" not in err
    assert list((out / "checkpoints").glob("step-*"))


def test_a_terminal_that_is_closed_saves(coloured, tmp_path):
    """As a terminal window does: its end of the pseudo-terminal is gone, and the session gets SIGHUP."""
    import pty

    out = tmp_path / "run"
    child, terminal = pty.fork()
    if not child:  # pragma: no cover - becomes another program
        os.environ["TERM"] = "dumb"  # no live bar: this is not about bars
        os.execv(
            sys.executable,
            [sys.executable, "-m", "googlenet", "train", str(coloured), "--out", str(out), "--network", "lenet5",
             "--image-size", "32", "--batch-size", "8", "--epochs", "2000", "--precision", "fp32", "--workers", "2"],
        )  # fmt: skip
    os.set_blocking(terminal, False)

    def read_on():
        with contextlib.suppress(BlockingIOError):
            os.read(terminal, 2**16)
        return (out / "log.csv").exists()

    wait_for(read_on)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert list((out / "checkpoints").glob("step-*"))


@pytest.mark.parametrize("pause", [0.0, 0.05, 0.3])
def test_ctrl_c_pressed_again_and_again_is_one_line_without_a_traceback(train, coloured, tmp_path, pause):
    out = tmp_path / "run"
    process = train(coloured, out, "--workers", 2)
    wait_for(under_way(out))
    for _ in range(4):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(pause)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.count("googlenet: stopped") == err.count("googlenet: ") == 1
    assert "Traceback" not in err
    wait_for(lambda: not session(process.pid), 20)


COMMANDS = {  # a command, and seconds from its start on; each at all of these: tests/soak/test_soak.py
    "train PHOTOS --out run --network lenet5": (0.3, 0.8, 2.0, 4.0),
    "compare lenet5 --image-size 32": (0.8, 2.0),
    "predict RUN PHOTOS": (0.3, 0.8),
    "doctor PHOTOS": (0.3, 0.8),
    "benchmark RUN": (0.3, 2.0),
}


@pytest.mark.parametrize(("command", "seconds"), [(name, each) for name in COMMANDS for each in COMMANDS[name]])
def test_two_ctrl_c_at_some_time_print_no_traceback(trained_run, tmp_path, command, seconds):
    assert_two_ctrl_c_print_no_traceback(trained_run, tmp_path, command, seconds)


def assert_two_ctrl_c_print_no_traceback(trained_run, tmp_path, command, seconds):
    named = {"RUN": trained_run, "PHOTOS": trained_run.parent / "photos"}
    words = [str(named.get(word, word)) for word in command.split()]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "googlenet", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True,
    )  # fmt: skip
    signal.signal(signal.SIGINT, before)
    time.sleep(seconds)
    for _ in range(2):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert process.returncode in (0, 130, -2)  # -2: there was no Python yet to hear it
    assert err.count("googlenet: ") == (process.returncode == 130)


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.08, 0.12, 0.17])
def test_ctrl_c_while_the_command_line_is_loaded_prints_no_traceback(seconds):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-m", "googlenet", "table", "lenet5", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    assert "googlenet/cli" not in process.communicate(timeout=60)[1]  # Python itself may be caught before we are there
