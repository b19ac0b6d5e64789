"""Two processes that `torchrun` started train as one would, and a lost one costs nothing but time."""

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

from googlenet.data.opening import open_data
from googlenet.training.checkpoint import Checkpoints, load
from googlenet.training.distributed import SyncBatchNorm2d, says_lost_process, synchronise
from googlenet.training.loading import BatchSampler

PROGRAM = Path(__file__).with_name("distributed_run.py")
EVERY_STEP = "1e-9"  # minutes between checkpoints
RECIPE = "network = 'plain'\nprecision = 'fp32'\nepochs = 2\nbatch_size = 4\naveraging = 0.9\n"  # 12 steps an epoch


def same_shape(epoch, batch):
    """Every batch is of the same size, and a step of its own."""
    return 32, 1


def torchrun(photos, out, *options, processes=2, restarts=0, **environment):
    """Run the tests' training program in some processes: exit code, stdout, stderr."""
    recipe = out.parent / "recipe.toml"
    recipe.write_text(RECIPE)
    command = [sys.executable]
    if processes:
        command += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
        command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--monitor-interval=0.1"]
    command += [PROGRAM, photos, "--out", out, "--recipe", recipe, "--workers", "0", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def photos(trained_run, tmp_path_factory):
    """Images of three colours, some unreadable: so many that a process may find none of its part of a batch."""
    folder = tmp_path_factory.mktemp("distributed") / "photos"
    for image in sorted((trained_run.parent / "photos").glob("*/0[01]?.png")):
        copy = folder / image.parent.name / image.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(image.read_bytes())
    for image in sorted((folder / "red").iterdir())[:18]:
        image.write_bytes(b"this is no image")
    data = open_data(folder).train
    bad = {number for number, item in enumerate(data.items) if item.path.stat().st_size < 20}
    batches = [batch for rank in (0, 1) for batch in BatchSampler(len(data), 4, 0, True, same_shape, rank, 2)]
    assert any({place.index for place in batch} <= bad for batch in batches)
    return folder


@pytest.fixture(scope="module")
def two(photos):
    """A run of two processes that nothing happens to."""
    out = photos.parent / "two"
    code, said, err = torchrun(photos, out)
    assert code == 0, err
    assert said.count("bundle:") == 1
    assert err.count("epoch   2/2") == 1
    assert "plain at 32 px on 2 processes, cpu" in err
    assert err.count("skipped: ") == len((out / "unreadable.csv").read_text().splitlines()) - 1 > 10
    return out


def losses(run):
    with (run / "log.csv").open() as file:
        names = ("lr", "loss", "loss_main", "loss_aux1", "train_top1", "val_loss", "val_top1", "val_top5")
        return [[float(row[name]) for name in names] for row in csv.DictReader(file)]


def assert_same(one, other):
    """Both ended with the same weights and state, to the bit."""
    (a, _), (b, _) = (load(Checkpoints(run / "checkpoints").newest_first()[0]) for run in (one, other))
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert losses(one) == losses(other)


def test_two_processes_learn_what_one_does(photos, two):
    one = photos.parent / "one"
    assert torchrun(photos, one, processes=0)[0] == 0
    for a, b in zip(losses(one), losses(two), strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    names = [(run / "unreadable.csv").read_text() for run in (one, two)]
    assert names[0] == names[1]
    weights = [load_file(run / "bundle" / "weights.safetensors") for run in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-2, atol=1e-3)


def test_a_killed_process_is_started_again_and_the_run_ends_the_same(photos, two):
    out = photos.parent / "killed"
    code, _, err = torchrun(photos, out, "--checkpoint-minutes", EVERY_STEP, restarts=3, SIGNAL="1 9 9")
    assert code == 0, err
    assert "process 0 of 2 lost another one, which ended or did not answer for 45 s; continue with --resume" in err
    assert_same(two, out)


def test_a_signal_to_one_process_stops_all_at_the_same_step(photos):
    out = photos.parent / "stopped"
    code, _, err = torchrun(photos, out, SIGNAL=f"1 3 {int(signal.SIGTERM)}")
    assert code == 1
    assert f"stopped in epoch 1 of 2, saved; continue with: googlenet train {photos} --out {out} --resume" in err
    assert "exitcode  : 143" in err
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-000003.safetensors"]


def in_processes(count, work, folder):
    """Call ``work(rank)`` in so many processes that can talk; give what they return."""
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()

    def run(rank):
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
        results.put((rank, [tensor.detach().numpy() for tensor in work(rank)]))
        dist.destroy_process_group()

    started = [context.Process(target=run, args=(rank,)) for rank in range(count)]
    for process in started:
        process.start()
    found = dict(results.get() for _ in started)
    for process in started:
        process.join()
    return [[torch.from_numpy(array) for array in found[rank]] for rank in range(count)]


@pytest.mark.parametrize("sizes", [(5, 5), (7, 2), (6, 0)])
def test_batch_normalisation_over_processes_is_pytorchs_over_the_whole_batch(tmp_path, sizes):
    torch.manual_seed(0)
    x = torch.randn(sum(sizes), 3, 4, 5) * torch.tensor([1.0, 30.0, 0.1])[:, None, None] + 3
    weigh = torch.randn_like(x)
    plain = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3))
    nn.init.normal_(plain[0].weight)
    shared = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3))
    shared.load_state_dict(plain.state_dict())
    synchronise(shared, torch.device("cpu"))
    assert isinstance(shared[0], SyncBatchNorm2d)

    def work(rank):
        part = x.split(sizes)[rank].clone().requires_grad_()
        out = shared(part)
        (out * weigh.split(sizes)[rank]).sum().backward()
        gradients = [parameter.grad.clone() for parameter in shared.parameters()]
        for gradient in gradients:
            dist.all_reduce(gradient)
        return [out, part.grad, *gradients, *shared.buffers()]

    parts = in_processes(2, work, tmp_path)
    x.requires_grad_()
    whole = plain(x)
    (whole * weigh).sum().backward()
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), whole.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.cat([part[1] for part in parts]), x.grad, rtol=1e-4, atol=1e-4)
    expected = [*(parameter.grad for parameter in plain.parameters()), *plain.buffers()]
    for part in parts:
        for mine, theirs in zip(part[2:], expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    assert shared.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_the_slices_of_all_processes_are_the_batches_of_one(ranks):
    for count, shuffle in [(50, True), (50, False), (7, True)]:
        whole = BatchSampler(count, 12, 3, shuffle, same_shape)
        slices = [list(BatchSampler(count, 12, 3, shuffle, same_shape, rank, ranks)) for rank in range(ranks)]
        for batch, parts in zip(whole, zip(*slices, strict=True), strict=True):
            assert set(batch) == {place for part in parts for place in part}


def test_other_errors_are_not_taken_for_a_lost_process():
    assert says_lost_process(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"))
    assert says_lost_process(dist.DistNetworkError("timed out"))
    assert not says_lost_process(RuntimeError("size mismatch"))
