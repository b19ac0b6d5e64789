"""A run's own files, damaged in any way, and then gone on with: one line each, and the run is as it was."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import save_file

import googlenet
from googlenet.errors import CheckpointError, GoogLeNetError, RunError
from googlenet.training import checkpoint


@pytest.fixture
def run(trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "run")
    return tmp_path / "run"


def resume(run, trained_run):
    return googlenet.train(trained_run.parent / "photos", run, resume=True)


SETTINGS = {
    "empty": lambda settings: "",
    "cut": lambda settings: json.dumps(settings)[:-9],
    "a list": lambda settings: "[]",
    "no recipe": lambda settings: json.dumps({k: v for k, v in settings.items() if k != "recipe"}),
    "a recipe that is a list": lambda settings: json.dumps(settings | {"recipe": []}),
    "an unknown setting": lambda settings: json.dumps(settings | {"recipe": settings["recipe"] | {"evil": 1}}),
    "a rate in words": lambda settings: json.dumps(settings | {"recipe": settings["recipe"] | {"lr": "fast"}}),
    "a rate that is no number": lambda settings: json.dumps(settings | {"recipe": settings["recipe"] | {"lr": 1e999}}),
    "no network": lambda settings: json.dumps(settings | {"network": None}),
    "a network that is a layer": lambda settings: json.dumps(settings | {"network": {"ReLU": {}}}),
    "a network that is a program": lambda settings: json.dumps(settings | {"network": {"os.system": {}}}),
    "a wide network": lambda settings: json.dumps(settings | {"network": {"Conv": {"out": 10**9}}}),
    "data without a fingerprint": lambda settings: json.dumps(settings | {"data": {}}),
    "an origin that is a text": lambda settings: json.dumps(settings | {"from": "there"}),
    "an origin with words for a mean": lambda settings: json.dumps(
        settings | {"from": {"source": "x", "sha256": "y", "mean": ["a"], "std": [1]}}
    ),
    "a rate that is true": lambda settings: json.dumps(settings | {"recipe": settings["recipe"] | {"epochs": True}}),
    "a reading of nothing": lambda settings: json.dumps(settings | {"reading": {}}),
    "a reading in words": lambda settings: json.dumps(settings | {"reading": settings["reading"] | {"value_range": 3}}),
    "an unknown key": lambda settings: json.dumps(settings | {"newkey": 1}),
    "as deep as a well": lambda settings: "[" * 100_000 + "]" * 100_000,
    "a key that is there twice": lambda settings: json.dumps(settings)[:-1] + ', "recipe": {}}',
    "nine megabytes": lambda settings: json.dumps(settings) + " " * (9 << 20),
    "escapes": lambda settings: json.dumps(settings | {"network": {"\x1b[31m": {}}}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_damaged_run_json_is_one_line(run, trained_run, name):
    path = run / "run.json"
    path.write_text(SETTINGS[name](json.loads(path.read_text("utf-8"))))
    with pytest.raises(RunError, match=r"run.json is damaged: ") as caught:
        resume(run, trained_run)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    for word in ("Error", "Input should", "Extra inputs", "instance of", "dict", "NoneType"):
        assert word not in str(caught.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_for(run, trained_run, make):
    (run / "run.json").unlink()
    make(run / "run.json")
    with pytest.raises(RunError, match=r"run.json cannot be read: is a (FIFO|folder), not a file"):
        resume(run, trained_run)


@pytest.mark.parametrize("left", [None, "empty", "best alone"])
def test_where_checkpoints_were_deleted_nothing_is_trained_over(run, trained_run, left):
    shutil.rmtree(run / "checkpoints")
    if left:
        (run / "checkpoints").mkdir()
    if left == "best alone":
        shutil.copy(min((trained_run / "checkpoints").glob("best-*")), run / "checkpoints")
    before = (run / "bundle" / "card.json").read_bytes()
    with pytest.raises(RunError) as caught:
        resume(run, trained_run)
    assert str(caught.value) == (
        f"{run} has no checkpoints to continue from: start again with --overwrite, or start a new run from its "
        f"weights: --weights {run} --out NEW"
    )
    assert (run / "bundle" / "card.json").read_bytes() == before


def hashed(path, change):
    """Write a checkpoint anew, its hash fitting."""
    tensors, state = checkpoint.load(path)
    change(tensors, state)
    checkpoint.save(path, tensors, state)


def raw(content):
    return lambda path: path.write_bytes(content(path.read_bytes()))


CHECKPOINTS = {
    "empty": raw(lambda content: b""),
    "cut": raw(lambda content: content[: len(content) // 2]),
    "one bit": raw(lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]),
    "a header of any length": raw(lambda content: b"\xff" * 8 + content[8:]),
    "a header as deep as a well": raw(
        lambda content: (200_000).to_bytes(8, "little") + b"[" * 100_000 + b"]" * 100_000
    ),
    "a header that is a list": raw(lambda content: (2).to_bytes(8, "little") + b"[]"),
    "metadata that is a list": raw(lambda content: (20).to_bytes(8, "little") + b'{"__metadata__": []}'),
    "no state": lambda path: save_file({"a": torch.zeros(1)}, path, {"sha256": "0"}),
    "not a checkpoint": lambda path: save_file({"a": torch.zeros(1)}, path),
    "a FIFO": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a state that is a list": lambda path: checkpoint.save(path, {}, []),
    "no progress": lambda path: hashed(path, lambda tensors, state: state.pop("progress")),
    "progress that is a list": lambda path: hashed(path, lambda tensors, state: state.update(progress=[])),
    "a history of numbers": lambda path: hashed(path, lambda tensors, state: state["progress"].update(history=[1])),
    "no random states": lambda path: hashed(
        path, lambda tensors, state: [tensors.pop(name) for name in list(tensors) if name.startswith("random")]
    ),
    "no tensors": lambda path: hashed(path, lambda tensors, state: tensors.clear()),
    "an optimizer of others": lambda path: hashed(
        path, lambda tensors, state: tensors.update({"optimizer.9999.exp_avg": torch.zeros(1)})
    ),
    "an optimizer of words": lambda path: hashed(
        path, lambda tensors, state: tensors.update({"optimizer.x.exp_avg": torch.zeros(1)})
    ),
    "weights that are no numbers": lambda path: hashed(
        path, lambda tensors, state: tensors.update({n: t * torch.nan for n, t in tensors.items() if "conv1" in n})
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_damaged_checkpoint_is_one_line(run, trained_run, name):
    for path in (run / "checkpoints").glob("step-*"):
        CHECKPOINTS[name](path)
    with pytest.raises(CheckpointError, match=r"step-|another version") as caught:
        resume(run, trained_run)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    googlenet.verify(run)  # what was done before is there


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_of_a_damaged_checkpoint_the_one_before_is_taken(run, trained_run, name, capsys):
    newest = max((run / "checkpoints").glob("step-*"))
    CHECKPOINTS[name](newest)
    try:
        resume(run, trained_run)
    except GoogLeNetError as error:
        pytest.fail(f"the one before was sound: {error}")
    assert "continuing from the one before" in capsys.readouterr().err
