"""What takes too long for `make test`: every place to stop at, many kills, frozen processes. `make soak` runs it."""

import signal
import time
from functools import partial

import pytest

from googlenet.bulk.formats import FORMATS
from googlenet.errors import StoppedError
from tests.cli.test_bulk import assert_survives, predicted, write_many
from tests.training.test_checkpoint import assert_same, interrupt, kill_while_it_trains, terminate
from tests.training.test_distributed import EVERY_STEP, losses, torchrun
from tests.training.test_distributed import assert_same as assert_same_of_two
from tests.training.test_processes import COMMANDS, assert_two_ctrl_c_print_no_traceback


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_stopped_at_each_of_20_steps_it_ends_the_same(train, tmp_path, monkeypatch, workers):
    train = partial(train, batch_size=12, workers=workers)  # 8 steps an epoch, 24 in all
    train(out=tmp_path / "whole")
    for step in range(1, 21):
        out = tmp_path / f"cut{step}"
        with monkeypatch.context() as patched:
            interrupt(patched, "step", step, terminate)
            with pytest.raises(StoppedError):
                train(out=out)
        train(out=out, resume=True, workers=(workers + step) % 3)
        assert_same(tmp_path / "whole", out)


def test_killed_200_times_it_ends_the_same(train, tmp_path):
    train = partial(train, batch_size=8, epochs=200)  # 12 steps an epoch
    train(out=tmp_path / "whole")
    assert kill_while_it_trains(train, tmp_path / "run", 200, steps_an_epoch=12) == 200
    assert_same(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_frozen_process_is_killed_in_90_seconds_and_the_run_ends_the_same(photos, two, rank):
    out = photos.parent / f"frozen{rank}"
    begun = time.monotonic()
    stop = f"{rank} 9 {int(signal.SIGSTOP)}"
    code, _, err = torchrun(photos, out, "--checkpoint-minutes", EVERY_STEP, restarts=3, SIGNAL=stop)
    assert code == 0, err
    assert time.monotonic() - begun < 90 + 60  # both attempts have to start, too
    assert f"process {1 - rank} of 2 lost another one" in err
    assert_same_of_two(two, out)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_is_missed_at_once(photos, two, rank):
    out = photos.parent / f"killed{rank}"
    code, _, err = torchrun(photos, out, SIGNAL=f"{rank} 5 9")
    assert code == 1
    assert f"process {1 - rank} of 2 lost another one" in err


def test_stopped_by_a_signal_to_one_process_two_end_the_same(photos, two):
    out = photos.parent / "stopped_and_resumed"
    assert torchrun(photos, out, SIGNAL="0 8 15")[0] == 1
    assert torchrun(photos, out, "--resume")[0] == 0
    assert_same_of_two(two, out)


def test_a_run_goes_on_with_another_number_of_processes_and_says_what_differs(photos, two):
    out = photos.parent / "fewer"
    assert torchrun(photos, out, SIGNAL="0 9 15")[0] == 1
    code, _, err = torchrun(photos, out, "--resume", processes=0)
    assert code == 0
    assert "going on with 1 processes where there were 2" in err
    for a, b in zip(losses(out), losses(two), strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_a_batch_that_cannot_be_split_and_an_old_run_are_left_alone_by_every_restart(photos, two):
    before = (two / "run.json").read_bytes()
    code, _, err = torchrun(photos, two, restarts=1)
    assert code == 1
    assert err.count("holds a run: continue it with --resume") == 2  # the restart did not take it for its own
    assert (two / "run.json").read_bytes() == before
    code, _, err = torchrun(photos, photos.parent / "odd", "--batch-size", "5")
    assert code == 1
    assert "--batch-size 5 cannot be split among 2 processes: give a multiple of 2, 4 for one" in err
    assert not (photos.parent / "odd").exists()


@pytest.mark.parametrize("suffix", FORMATS)
def test_predict_killed_50_times_has_every_image_once(call, trained_run, tmp_path, suffix):
    many = write_many(tmp_path / "many", trained_run.parent / "photos", 30_000)
    whole = predicted(trained_run, many, tmp_path / "whole.csv")
    (tmp_path / "results").mkdir()
    assert_survives(call, trained_run, many, whole, tmp_path / "results" / f"all{suffix}", rounds=60, at_least=50)


@pytest.mark.parametrize("seconds", [0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("command", COMMANDS)
def test_two_ctrl_c_at_any_time_print_no_traceback(trained_run, tmp_path, command, seconds):
    assert_two_ctrl_c_print_no_traceback(trained_run, tmp_path, command, seconds)
