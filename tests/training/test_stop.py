"""A signal at any moment of a command: one line, its exit code, nothing left behind; what is ignored stays ignored."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

import googlenet
from googlenet import stopping
from googlenet.data import archives
from googlenet.errors import RunError

# Runs a command that gets a signal once it opens or renames a path with such a text in it.
AT = """
import os, sys
place, number, left = sys.argv.pop(1), int(sys.argv.pop(1)), [1]

def hook(event, arguments):
    if left and event in ("open", "os.rename") and place in str(arguments[0]):
        left.clear()
        os.kill(os.getpid(), number)

sys.addaudithook(hook)
from googlenet.__main__ import main
main()
"""
TRAIN = "train PHOTOS --out run --network lenet5 --image-size 32 --batch-size 16 --epochs 1 --device cpu --workers 0"


def command(line, photos, run=""):
    return [str({"PHOTOS": photos, "RUN": run}.get(word, word)) for word in f"{line}".split()]


def stopped_at(place, number, words, folder):
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", AT, place, str(int(number)), *words],
        capture_output=True, text=True, check=False, timeout=120, cwd=folder,
        env=os.environ | {"TMPDIR": str(folder / "tmp")},
    )  # fmt: skip


def left_behind(folder):
    """What is hidden in a run, and all in the temporary folder."""
    hidden = [path for path in (folder / "run").rglob("*") if path.name.startswith(".")]
    return [str(path.relative_to(folder)) for path in (*hidden, *(folder / "tmp").iterdir())]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("place", "goes_on"), [(".run.json.", False), (".trial-", False), ("run/.bundle.", True)])
def test_a_signal_clears_all_away_and_says_how_to_go_on(call, coloured, tmp_path, place, number, goes_on):
    done = stopped_at(place, number, command(TRAIN, coloured), tmp_path)
    assert done.returncode == 128 + number, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("googlenet: ") == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("googlenet: stopped")
    assert left_behind(tmp_path) == []
    assert (tmp_path / "run").exists() == goes_on
    if goes_on:
        assert last.endswith(f"intact, continue with: googlenet train {coloured} --out run --resume")
        code, _, err = call("train", coloured, "--out", tmp_path / "run", "--resume")
        assert code == 0, err


def test_a_bundle_that_is_being_replaced_is_there_after_a_signal(trained_run, tmp_path):
    """Between the two renames there is none under its name."""
    shutil.copytree(trained_run, tmp_path / "run")
    before = googlenet.load(tmp_path / "run").card
    again = command("train PHOTOS --out run --resume --workers 0", trained_run.parent / "photos")
    done = stopped_at("run/bundle", signal.SIGTERM, again, tmp_path)
    assert done.returncode == 143, done.stderr
    assert googlenet.load(tmp_path / "run").card == before
    assert left_behind(tmp_path) == []


def test_what_a_killed_training_left_goes_with_the_next(call, coloured, tmp_path):
    done = stopped_at("run/.bundle.", signal.SIGKILL, command(TRAIN, coloured), tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert left_behind(tmp_path) != []
    shutil.copytree(tmp_path / "run", tmp_path / "other", ignore_dangling_symlinks=True)
    for folder, how in (("run", "--resume"), ("other", "--overwrite")):
        code, _, err = call(*command(TRAIN, coloured)[:2], "--out", tmp_path / folder, how, "--network", "lenet5",
                            "--image-size", 32, "--epochs", 1)  # fmt: skip
        assert code == 0, err
        assert not list((tmp_path / folder).rglob(".*"))


@pytest.mark.parametrize("place", [".run.json.", ".split.csv.", ".trial-"])
def test_what_was_killed_before_its_first_step_is_known_for_a_run(call, coloured, tmp_path, place):
    stopped_at(place, signal.SIGKILL, command(TRAIN, coloured), tmp_path)
    code, _, err = call("train", coloured, "--out", tmp_path / "run", "--overwrite", "--network", "lenet5",
                        "--image-size", 32, "--epochs", 1)  # fmt: skip
    assert code == 0, err
    assert not list((tmp_path / "run").rglob(".*"))


@pytest.mark.parametrize(
    ("line", "place", "number"),
    [
        ("evaluate RUN PHOTOS", "googlenet-archive-", signal.SIGTERM),  # while it is unpacked
        ("evaluate RUN PHOTOS", "model.onnx", signal.SIGHUP),
        ("predict RUN PHOTOS", "model.onnx", signal.SIGTERM),
        ("doctor PHOTOS", "googlenet-archive-", signal.SIGHUP),
        (TRAIN, ".split.csv.", signal.SIGTERM),
    ],
)
def test_an_archive_that_was_unpacked_goes_whenever_a_signal_comes(trained_run, tmp_path, line, place, number):
    packed = shutil.make_archive(tmp_path / "photos", "zip", trained_run.parent / "photos")
    done = stopped_at(place, number, command(line, packed, trained_run), tmp_path)
    assert done.returncode == 128 + number, done.stderr
    assert done.stderr.splitlines()[-1] == "googlenet: stopped"
    assert left_behind(tmp_path) == []


def test_what_a_killed_process_unpacked_goes_when_the_next_unpacks(trained_run, tmp_path):
    packed = shutil.make_archive(tmp_path / "photos", "zip", trained_run.parent / "photos")
    words = command("evaluate RUN PHOTOS --json", packed, trained_run)
    for place in ("009.png", "nowhere"):  # a kill, then a command that ends well
        stopped_at(place, signal.SIGKILL, words, tmp_path)
        for folder in left_behind(tmp_path):
            os.utime(tmp_path / folder, (0, 0))
    assert left_behind(tmp_path) == []


def test_what_a_process_that_lives_unpacked_stays(trained_run, tmp_path, monkeypatch):
    packed = shutil.make_archive(tmp_path / "photos", "zip", trained_run.parent / "photos")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    folder = archives.unpack(packed).folder
    os.utime(folder, (0, 0))
    done = stopped_at("nowhere", signal.SIGKILL, command("evaluate RUN PHOTOS --json", packed, trained_run), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (folder / "red" / "009.png").exists()


# What the caller ignores.


@pytest.mark.parametrize(
    ("line", "made"), [("predict RUN PHOTOS --out results.csv", "results.csv"), (TRAIN + " --epochs 3", "run/log.csv")]
)
def test_what_the_caller_ignores_is_heard_at_no_time(trained_run, tmp_path, line, made):
    before = {number: signal.signal(number, signal.SIG_IGN) for number in stopping.STOPPING}  # it is inherited
    words = command(line, trained_run.parent / "photos", trained_run)
    process = subprocess.Popen([sys.executable, "-m", "googlenet", *words], stderr=subprocess.PIPE, text=True,
                               stdout=subprocess.DEVNULL, cwd=tmp_path)  # fmt: skip
    for number, handler in before.items():
        signal.signal(number, handler)
    while process.poll() is None:
        for number in stopping.STOPPING:
            process.send_signal(number)
        time.sleep(0.02)
    assert process.returncode == 0, process.stderr.read()
    assert (tmp_path / made).exists()


# What a second signal is.


@pytest.fixture
def hangups():
    before = [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)]
    yield
    for number, handler in zip((signal.SIGTERM, signal.SIGHUP), before, strict=True):
        signal.signal(number, handler)


def test_a_second_wish_is_heard_and_an_echo_is_not(hangups, monkeypatch):
    def again():
        with stopping.interrupts(for_good=False), stopping.stop_signals() as caught:
            for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.raise_signal(number)
            assert caught == [signal.SIGTERM]
            monkeypatch.setattr(stopping, "ECHO_SECONDS", 0.0)
            signal.raise_signal(signal.SIGHUP)  # a terminal is closed only once
            signal.raise_signal(signal.SIGTERM)
            pytest.fail("it was not heard")

    with pytest.raises(KeyboardInterrupt):
        again()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_interrupt_that_python_loses_comes_again(hangups):
    class Cleared:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def lose():
        with stopping.interrupts(for_good=False):
            Cleared()
            time.sleep(5)
            pytest.fail("it was lost")

    with pytest.raises(KeyboardInterrupt):
        lose()


def test_in_a_thread_no_signal_is_waited_for():
    """Signals come to the main thread alone."""
    heard = []

    def work():
        with stopping.interrupts(for_good=False) as caught, stopping.stop_signals() as more:
            heard.append((caught, more))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [([], [])]


def test_a_second_training_in_one_process_is_refused_at_once(coloured, tmp_path):
    """Both would draw from PyTorch's one state of random numbers, and neither give the weights of its seed."""
    told = {"network": "lenet5", "image_size": 32, "batch_size": 16, "workers": 0, "device": "cpu"}
    thread = threading.Thread(target=googlenet.train, args=(coloured, tmp_path / "a"), kwargs=told | {"epochs": 4})
    thread.start()
    while not (tmp_path / "a" / "checkpoints").exists():
        time.sleep(0.02)
    begun = time.monotonic()
    with pytest.raises(RunError, match=r"another training is running in this process, .*: wait for it, or start a"):
        googlenet.train(coloured, tmp_path / "b", epochs=1, **told)
    assert time.monotonic() - begun < 1
    thread.join()
    assert not (tmp_path / "b").exists()
    assert googlenet.train(coloured, tmp_path / "b", epochs=1, **told).path.exists()
