"""`benchmark`: every precision has its figures, they fit together, and a bare install is enough for a run."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

import googlenet
from googlenet import bundle as bundles
from googlenet.benchmarking.peak import peak
from googlenet.errors import BundleError, DeviceError, InputSizeError, NetworkError, RecipeError
from googlenet.inference.engine import precisions, precisions_for
from googlenet.models.analysis import analyse
from tests.conftest import without_stages

SHORT = 0.02  # seconds of each measurement
TRAIN_EXTRA = ("torch", "torchvision", "onnx", "sklearn", "matplotlib", "safetensors", "nncf")  # typer has pydantic


@pytest.fixture(scope="module")
def quantised(trained_run, tmp_path_factory):
    """A copy of the run with an 8-bit graph and what each precision scores on its card."""
    run = tmp_path_factory.mktemp("quantised") / "run"
    shutil.copytree(trained_run / "bundle", run / "bundle")
    googlenet.quantize(run, trained_run.parent / "photos")
    return run


@pytest.fixture
def bare(tmp_path):
    """As in an environment without the train extra: what it brings cannot be imported, in processes begun there too."""
    lines = ["import sys", f"for name in {TRAIN_EXTRA}:", "    sys.modules[name] = None"]
    (tmp_path / "sitecustomize.py").write_text("\n".join(lines) + "\n")
    paths = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))

    def run(*arguments):
        command = [sys.executable, "-m", "googlenet", *map(str, arguments)]
        return subprocess.run(
            command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
        )

    return run


def test_each_precision_has_its_figures_and_they_fit_together(quantised):
    done = []
    result = googlenet.benchmark(quantised, batch_sizes=(4, 1, 4), seconds=SHORT, progress=lambda *at: done.append(at))
    bundle = bundles.read(quantised)
    assert (result.network, result.size, result.score_is) == ("tiny", 32, "top1")
    assert result.macs == analyse(bundle.network, 32).macs
    assert tuple(row.precision for row in result.precisions) == precisions_for(bundle)
    assert "int8" in precisions_for(bundle)
    for row in result.precisions:
        assert 0 < row.latency_ms.p50 <= row.latency_ms.p95 <= row.latency_ms.p99
        assert row.compile_ms > 0
        assert [each.batch_size for each in row.throughput] == [4, 1]
        for each in row.throughput:
            assert each.gops == pytest.approx(2 * result.macs * each.images_per_second / 1e9)
            assert each.share == pytest.approx(each.gops / row.peak.gops)
            assert 0 < each.share < 1
            assert 0 < each.busy <= 1.1
        assert row.best.images_per_second == max(each.images_per_second for each in row.throughput)
        assert row.score == bundle.card.precisions[row.precision]["score"]
        assert 0 < row.memory_bytes <= row.bulk_memory_bytes < 2**30
    files = {row.precision: row.file_bytes for row in result.precisions}
    assert files["fp32"] == (bundle.path / "model.onnx").stat().st_size
    assert files["int8"] == sum((bundle.path / f"int8.{end}").stat().st_size for end in ("xml", "bin"))
    total = len(result.precisions) * 5
    assert done[0] == (0, total)
    assert done[-1] == (total, total)
    assert done == sorted(done)


def test_the_memory_counted_is_that_of_the_engine_alone():
    """ResNet-18 has 12 million weights, LeNet-5 61 thousand; what this process has taken does not count."""
    ballast = b"\1" * 2**28
    small, large = (
        googlenet.benchmark(name, image_size=32, precisions=["fp32"], batch_sizes=[1], seconds=SHORT).precisions[0]
        for name in ("lenet5", "resnet18")
    )
    weights = 4 * analyse(googlenet.NETWORKS["resnet18"]).weights
    assert small.memory_bytes < len(ballast) / 4
    assert large.memory_bytes - small.memory_bytes > weights
    assert weights < large.file_bytes < 1.02 * weights
    assert large.score is None


def test_a_precision_is_computed_in_the_numbers_it_is_named_after():
    assert peak("fp32", SHORT).kernel.lower().endswith("f32")
    assert peak("int8", SHORT).kernel.lower().endswith("i8")
    if "bf16" in precisions():
        assert peak("bf16", SHORT).kernel.lower().endswith("bf16")
    assert 1 < peak("fp32", SHORT).gops < 1e6


def test_the_card_says_how_right_a_run_is_that_was_not_quantised(trained_run):
    (row,) = googlenet.benchmark(trained_run / "bundle", precisions=["fp32"], batch_sizes=[1], seconds=SHORT).precisions
    assert row.score == bundles.read(trained_run).card.metrics["top1"]


def test_a_network_of_ones_own_at_another_size(tiny):
    result = googlenet.benchmark(tiny, image_size=40, precisions=["fp32"], batch_sizes=[2], seconds=SHORT)
    assert (result.network, result.size, result.macs) == ("tiny", 40, analyse(tiny, 40).macs)


def test_wrong_use(trained_run, tiny, tmp_path):
    with pytest.raises(
        NetworkError, match="lenet is neither a run, nor a bundle, nor a network: did you mean 'lenet5'"
    ):
        googlenet.benchmark("lenet")
    with pytest.raises(BundleError, match=r"holds no card.json"):
        googlenet.benchmark(tmp_path)
    with pytest.raises(RecipeError, match="takes images of 32 pixels: image_size is for networks"):
        googlenet.benchmark(trained_run, image_size=64)
    with pytest.raises(RecipeError, match="batch sizes are 1 or more, got 4, 0"):
        googlenet.benchmark(trained_run, batch_sizes=[4, 0])
    with pytest.raises(RecipeError, match="got none"):
        googlenet.benchmark(trained_run, batch_sizes=[])
    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(RecipeError, match="more than 0 and at most 3600 seconds"):
            googlenet.benchmark(trained_run, seconds=seconds)
    with pytest.raises(DeviceError, match="has no int8 graph: make one with"):
        googlenet.benchmark(trained_run, precisions=["int8"])
    with pytest.raises(InputSizeError, match="4×4"):
        googlenet.benchmark("googlenet", image_size=4)


def test_a_folder_that_is_called_like_a_network_does_not_hide_it_unless_it_is_a_bundle(
    trained_run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = {"precisions": ["fp32"], "batch_sizes": [1], "seconds": SHORT}
    (tmp_path / "lenet5").mkdir()
    assert googlenet.benchmark("lenet5", **options).network == "lenet5"
    (tmp_path / "lenet5").rmdir()
    shutil.copytree(trained_run / "bundle", tmp_path / "lenet5")
    assert googlenet.benchmark("lenet5", **options).network == "tiny"


def test_files_of_the_users_do_not_get_in_the_way_of_the_measuring_process(call, trained_run, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('not the json that was meant')")
    monkeypatch.chdir(tmp_path)
    assert call("benchmark", trained_run, "--seconds", SHORT, "--batch-size", 1, "--precision", "fp32")[0] == 0


def test_a_measuring_process_that_ends_is_one_line(call, trained_run, tmp_path, monkeypatch):
    """As when the system takes it down for want of memory."""
    (tmp_path / "sitecustomize.py").write_text("import os, sys\nif '-m' in sys.argv: os.kill(os.getpid(), 9)\n")
    monkeypatch.syspath_prepend(tmp_path)
    code, out, err = call("benchmark", trained_run, "--seconds", SHORT)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "fp32 of" in err
    assert "could not be measured: its process ended with -9, perhaps out of memory" in err


# The verb


def test_for_programs_and_for_people(call, quantised, tmp_path):
    code, out, err = call("benchmark", quantised, "--json", "--seconds", SHORT, "--batch-size", 2)
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert set(document) == {"network", "size", "macs", "score_is", "precisions", "machine"}
    row = document["precisions"][-1]
    assert row["precision"] == "int8"
    assert set(row["latency_ms"]) == {"p50", "p95", "p99"}
    assert set(row["throughput"][0]) == {"batch_size", "images_per_second", "gops", "share", "busy"}
    image = tmp_path / "plots" / "speed.png"
    code, out, err = call(
        "benchmark", quantised, "--seconds", SHORT, "--batch-size", 2, "--batch-size", 3, "--plot", image
    )
    assert (code, err) == (0, "")
    for part in (
        "tiny at 32×32",
        "top-1",
        "p99",
        "images/s",
        "int8",
        "batch size",
        "peak of this processor in fp32",
        "measured on",
    ):
        assert part in out
    assert out.splitlines()[-1] == f"plot: {image}"
    with Image.open(image) as image:
        assert image.format == "PNG"
        assert min(image.size) > 200


def test_a_network_by_name_and_only_the_precision_asked_for(call):
    options = ("--seconds", SHORT, "--batch-size", 1, "--precision", "fp32", "--json")
    document = json.loads(call("benchmark", "lenet5", "--image-size", 32, *options)[1])
    assert [row["precision"] for row in document["precisions"]] == ["fp32"]
    assert document["precisions"][0]["score"] is None
    assert document["macs"] == analyse(googlenet.NETWORKS["lenet5"], 32).macs


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["lenet"], 2, "did you mean 'lenet5'"),
        (["nowhere/at/all"], 2, "neither a run, nor a bundle, nor a network"),
        (["."], 1, "holds no card.json"),
        (["RUN", "--image-size", "64"], 2, "image_size is for networks"),
        (["lenet5", "--image-size", "0"], 2, "--image-size"),
        (["RUN", "--batch-size", "0"], 2, "--batch-size"),
        (["RUN", "--seconds", "nan"], 2, "more than 0"),
        (["RUN", "--precision", "fp8"], 2, "no precision is called 'fp8'"),
        (["RUN", "--plot", "speed.gif"], 2, "should end in .png"),
        ([], 2, "Missing argument"),
    ],
)
def test_wrong_use_is_one_line(call, trained_run, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    given, out, err = call("benchmark", *(str(trained_run) if each == "RUN" else each for each in arguments))
    assert (given, out) == (code, "")
    assert err.startswith("googlenet: ")
    assert err.count("\n") == 1
    assert says in err


def test_a_bare_install_measures_a_run_and_says_what_a_network_and_a_plot_need(bare, quantised, tmp_path):
    result = bare("benchmark", quantised, "--json", "--seconds", SHORT, "--batch-size", 1)
    assert (result.returncode, without_stages(result.stderr)) == (0, "")
    assert "int8" in [row["precision"] for row in json.loads(result.stdout)["precisions"]]
    for arguments in (["lenet5"], [quantised, "--plot", tmp_path / "speed.png"]):
        result = bare("benchmark", *arguments)
        assert (result.returncode, result.stdout, without_stages(result.stderr).count("\n")) == (1, "", 1)
        assert "pip install 'googlenet[train]'" in result.stderr
