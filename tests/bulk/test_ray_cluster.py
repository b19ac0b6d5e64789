"""`predict --engine ray`: what one process says, said by a cluster; killed anywhere, each image is there once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from googlenet.bulk.ray_cluster import cluster
from tests.cli.test_bulk import write_many
from tests.conftest import without_stages

pytest.importorskip("ray", reason="needs googlenet[ray]")
IMAGES = 2400  # enough that a driver and its workers are killed while they work


@pytest.fixture(scope="module")
def photos(trained_run):
    return trained_run.parent / "photos"


@pytest.fixture(scope="module")
def many(trained_run, photos):
    return write_many(trained_run.parent / "many_of_a_cluster", photos, IMAGES)


@pytest.fixture(scope="module")
def several(trained_run, photos):
    return write_many(trained_run.parent / "several_of_a_cluster", photos, 600)


@pytest.fixture(scope="module")
def started():
    """One cluster for all tests of this file. Gives its address."""
    with cluster():
        import ray

        yield ray.get_runtime_context().gcs_address


@pytest.fixture
def predict(call, started, trained_run):
    return lambda *arguments: call("predict", trained_run, "--engine", "ray", *arguments)


def read(out):
    """What parts, or a file, say: path → row."""
    rows = pq.read_table(out).to_pylist()
    answers = {row.pop("path"): row for row in rows}
    assert len(answers) == len(rows)  # none is there twice
    return answers


def assert_same(here, there):
    assert list(here) == list(there)
    for name, row in here.items():
        other = there[name]
        assert {k: v for k, v in row.items() if not isinstance(v, float)} == {
            k: v for k, v in other.items() if not isinstance(v, float)
        }
        for key, value in row.items():
            if isinstance(value, float):
                assert value == pytest.approx(other[key], abs=1.1e-5)  # both are rounded to 1e-6


def processes(of):
    """The processes that descend from one, with their command lines."""
    parents, names = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended
            continue
    found, generation = {}, {of}
    while generation := {pid for pid, parent in parents.items() if parent in generation}:
        found |= {pid: names[pid] for pid in generation if pid in names}
    return found


def workers(of):
    return [pid for pid, name in processes(of).items() if name.startswith("ray::") and "MapBatches(Worker)" in name]


def start(*arguments, **environment):
    command = [sys.executable, "-m", "googlenet", "predict", *map(str, arguments), "--engine", "ray"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def wait_for(true, seconds=180.0):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


# The same as one process


def test_it_says_what_one_process_says(predict, call, trained_run, several, tmp_path):
    whole, out = tmp_path / "whole.parquet", tmp_path / "results"
    assert call("predict", trained_run, several, "gone.png", "--top", 2, "--out", whole)[0] == 1
    code, said, err = predict(several, "gone.png", "--top", 2, "--out", out)
    assert (code, err) == (1, "")
    assert said.startswith(f"{out} (8 parts): 601 images, each there once, 3 could not be read; ")
    assert_same(read(out), read(whole))
    assert read(out)["gone.png"]["error"] == "gone.png does not exist"
    parts = sorted(out.iterdir())
    assert all(path.name.startswith("part-") for path in parts)
    assert {str(pq.read_schema(path)) for path in parts} == {str(pq.read_schema(whole))}


def test_embeddings(predict, call, trained_run, photos, tmp_path):
    whole, out = tmp_path / "whole.parquet", tmp_path / "results"
    assert call("predict", trained_run, photos, "--embeddings", "--out", whole)[0] == 0
    assert predict(photos, "--embeddings", "--out", out)[0] == 0
    here, there = read(out), read(whole)
    assert list(here) == list(there)
    for name, row in here.items():
        np.testing.assert_allclose(row["embedding"], there[name]["embedding"], rtol=1e-4, atol=1e-5)
    code, said, err = predict(photos, "--out", out, "--resume")
    assert (code, said, err.count("\n")) == (2, "", 1)
    assert "has other columns" in err


def test_images_in_tables_and_stores(predict, call, trained_run, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = sorted(photos.glob("*/*.png"))
    files = [path.read_bytes() for path in images]
    pq.write_table(pa.table({"image": [*files, b"junk", None]}), "bytes.parquet", row_group_size=50)
    paths = [os.path.relpath(path, tmp_path) for path in images]
    pq.write_table(pa.table({"image": [*paths[:60], *(f"file://{path}" for path in images[60:]), "gone"]}), "p.parquet")
    Path("plain").mkdir()
    assert call("predict", trained_run, photos, "--out", "plain/whole.parquet")[0] == 0
    assert predict(f"file://{photos}", "--out", "stored")[0] == 0
    assert predict("bytes.parquet", "p*.parquet", "--column", "image", "--out", "both")[0] == 1
    plain = list(read(Path("plain/whole.parquet")).values())
    assert_same(read(Path("stored")), {f"file://{path}": row for path, row in zip(images, plain, strict=True)})
    both = read(Path("both"))
    assert len(both) == 122 + 121
    assert_same(
        {name: row for name, row in both.items() if not row["error"]},
        {f"bytes.parquet#{number}": row for number, row in enumerate(plain)}
        | dict(zip([*paths[:60], *(f"file://{path}" for path in images[60:])], plain, strict=True)),
    )
    wrong = "is not an image (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, HEIC)"
    assert both["bytes.parquet#120"]["error"] == f"bytes.parquet#120 {wrong}"
    assert both["bytes.parquet#121"]["error"] == f"bytes.parquet#121 {wrong}"
    assert both["gone"]["error"] == "gone does not exist"


# Killed


def test_a_worker_is_killed_and_each_image_is_there_once(predict, many, photos, tmp_path):
    out, killed = tmp_path / "results", []

    def kill():
        wait_for(lambda: out.exists() and any(out.glob("part-*")) and workers(os.getpid()))
        killed.append(workers(os.getpid())[0])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    code, said, err = predict(many, "--out", out)
    killer.join()
    assert (code, err) == (1, "")
    assert killed
    assert said.startswith(str(out))
    assert f"(8 parts): {IMAGES:,} images, each there once, 2 could not be read; " in said
    assert sorted(read(out)) == sorted(map(str, many.iterdir()))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_the_driver_is_killed_or_stopped_and_resumed(predict, trained_run, many, tmp_path, number, code):
    assert_survives_the_driver(predict, trained_run, many, tmp_path / "results", number, code)


def assert_survives_the_driver(predict, run, many, out, number, code):
    images = sorted(map(str, many.iterdir()))
    driver = start(run, many, "--out", out)
    wait_for(lambda: out.exists() and any(out.glob("part-*")))
    its = processes(driver.pid)
    driver.send_signal(number)
    said, err = driver.communicate(timeout=60)
    assert (driver.returncode, said) == (code, "")
    there = len(read(out))
    assert 0 < there < len(images)
    if number != signal.SIGKILL:
        assert err == (f"googlenet: stopped: {there:,} images are in {out}; the same command with --resume continues\n")
    computing = {pid for pid, name in its.items() if "raylet" in name or "Worker" in name}
    wait_for(lambda: not computing & processes(1).keys())  # they end with it
    code, said, err = predict(many, "--out", out, "--resume")
    assert (code, err) == (1, "")
    assert f"{len(images):,} images, each there once, {there:,} of them from before, 2 could not be read; " in said
    assert sorted(read(out)) == images
    assert not list(out.glob(".*"))
    assert predict(many, "--out", out, "--resume")[1].splitlines()[0].endswith(
        f"each there once, {len(images):,} of them from before, 2 could not be read"
    )  # fmt: skip


# Who may come in


def listening(pid):
    """The addresses at which a process waits for connections."""
    held = {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    rows = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held]


def test_the_dashboard_is_off(started):
    [dashboard] = [pid for pid, name in processes(os.getpid()).items() if "dashboard.py" in name]
    assert listening(dashboard) == []
    [server] = [pid for pid, name in processes(os.getpid()).items() if "gcs_server" in name]
    assert listening(server)  # so that the test could fail


def test_who_has_the_token_is_let_in_and_no_one_else(started, trained_run, photos, tmp_path):
    tokens = {"f" * 64: os.environ["HOME"], "": str(tmp_path), os.environ["RAY_AUTH_TOKEN"]: os.environ["HOME"]}
    attempts = [
        start(
            trained_run, photos, "--out", tmp_path / f"r{token}", "--address", started, RAY_AUTH_TOKEN=token, HOME=home
        )
        for token, home in tokens.items()
    ]
    wrong, none, right = [(*each.communicate(timeout=120), each.returncode) for each in attempts]
    for said, err, code in (wrong, none):
        assert (said, code, without_stages(err).count("\n")) == ("", 1, 1)
        assert f"the Ray cluster at {started} wants its token: put it into RAY_AUTH_TOKEN" in err
    assert right[1:] == ("", 0)
    assert "120 images, each there once" in right[0]


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--engine", "ray"], 2, "--engine ray needs --out"),
        (["--engine", "ray", "--out", "r", "--json"], 2, "--out and --json exclude each other"),
        (["--engine", "ray", "--csv"], 2, "--engine ray and --csv exclude each other"),
        (["--engine", "ray", "--out", "r", "--sort-into", "s"], 2, "--engine ray and --sort-into exclude each other"),
        (["--address", "head:6379"], 2, "--address needs --engine ray"),
        (["--engine", "spark"], 2, "'spark' is not one of 'local', 'ray'"),
        (["--engine", "ray", "--out", "r.csv"], 2, "r.csv is no name of a folder"),
        (["--engine", "ray", "--out", "notes.txt"], 2, "notes.txt is no name of a folder"),
        (["--engine", "ray", "--out", "notes.txt/r"], 1, "notes.txt/r cannot be written"),
        (["--engine", "ray", "--out", "r", "hdfs://a/b"], 2, "hdfs://a/b: stores are reached by s3://, gs://, file://"),
        (["--engine", "ray", "--out", "r", "a.parquet"], 2, "a.parquet does not exist"),
        (
            ["--engine", "ray", "--out", "r", "--column", "a"],
            2,
            "--column a names a column of a .csv, .tsv or .parquet file",
        ),
        (["--engine", "ray", "--out", "r", "a.zip"], 2, "a.zip is an archive, which a cluster does not read"),
        (["hdfs://a/b"], 2, "hdfs://a/b: stores are reached by s3://, gs://, file://"),
        (["a.parquet", "--column", "image"], 2, "a.parquet does not exist"),
    ],
)
def test_wrong_use_is_one_line(call, trained_run, photos, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("mine")
    got, out, err = call("predict", trained_run, photos, *arguments)
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert says in err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_cluster_that_is_not_there(trained_run, photos, tmp_path):
    process = start(trained_run, photos, "--out", tmp_path / "r", "--address", "127.0.0.1:1", RAY_AUTH_TOKEN="f" * 64)
    said, err = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert err.startswith("googlenet: no Ray cluster answers at 127.0.0.1:1: give --address HOST:PORT of its head")


def test_a_store_that_is_not_there(call, trained_run, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    code, out, err = call("predict", trained_run, "s3://bucket/a", "--engine", "ray", "--out", tmp_path / "r")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "s3://bucket/a cannot be reached (" in err
    assert "check the address, the network and the credentials (AWS_PROFILE, or AWS_ACCESS_KEY_ID" in err


def test_without_the_extra_it_is_one_line(trained_run, photos, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['ray'] = None\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = start(trained_run, photos, "--out", tmp_path / "r", PYTHONPATH=path)
    said, err = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert err == "googlenet: this needs ray, which is not installed: pip install 'googlenet[ray]'\n"
    assert not (tmp_path / "r").exists()
