"""A bundle in 8 bits, every precision measured, and what `load` makes of it; copies for other programs."""

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import googlenet
from googlenet import bundle as bundles
from googlenet.errors import BundleError, DataError, DeviceError, RunError
from googlenet.evaluation.calibration import calibrated
from googlenet.exporting.bundles import write_bundle
from googlenet.exporting.quantization import kept_in_floating_point
from googlenet.inference.engine import Engine, best_precision, precisions
from googlenet.models.build import create


@pytest.fixture(scope="module")
def quantised(trained_run, tmp_path_factory):
    """The shared run, quantised."""
    run = tmp_path_factory.mktemp("quantised") / "run"
    shutil.copytree(trained_run, run)
    googlenet.quantize(run)
    return run


@pytest.fixture
def own(quantised, tmp_path):
    """A quantised run of one's own."""
    return shutil.copytree(quantised, tmp_path / "run")


def rewritten(run, **changes):
    bundle = bundles.read(run)
    files = {name: bundle.read(name) for name in bundle.card.files}
    return bundles.write(bundle.path, dataclasses.replace(bundle.card, **changes), files)


def test_every_precision_is_measured_and_the_answers_agree(quantised, trained_run):
    bundle = bundles.read(quantised)
    assert set(bundle.card.precisions) == {*precisions(), "int8"}
    for precision, measured in bundle.card.precisions.items():
        evaluated = googlenet.evaluate(quantised, trained_run.parent / "photos", precision=precision)
        assert evaluated.precision == precision
        assert measured["score"] == evaluated.metrics.top1
        assert measured["latency_ms"] > 0
        assert measured["images_per_second"] > 0
    assert bundle.card.measured_on
    size = bundle.card.preprocessing.size
    images = np.random.default_rng(0).integers(0, 256, (6, size, size, 3), dtype=np.uint8)
    # Before calibration: a temperature below 1 makes much of small differences.
    exact, coarse = (
        calibrated(Engine(bundle, precision).probabilities(images), 1 / bundle.card.temperature)
        for precision in ("fp32", "int8")
    )
    assert 0 < np.abs(exact - coarse).max() < 0.1


def test_the_quantised_graph_computes_in_8_bits(quantised):
    engine = Engine(bundles.read(quantised), "int8")
    engine.probabilities(np.zeros((1, 32, 32, 3), np.uint8))
    (compiled,) = engine._compiled.values()
    layers = [op for op in compiled.get_runtime_model().get_ordered_ops() if _kind(op) == "Convolution"]
    assert layers
    for layer in layers:
        assert layer.input(0).get_element_type().get_type_name() in ("u8", "i8"), layer.get_friendly_name()


def _kind(op):
    return op.get_rt_info()["layerType"].astype(str)


def test_maps_and_embeddings_come_out_in_8_bits_too(quantised, trained_run):
    image = trained_run.parent / "photos" / "red" / "001.png"
    exact, coarse = (googlenet.load(quantised, precision) for precision in ("fp32", "int8"))
    np.testing.assert_allclose(exact.predict(image).heatmap("red"), coarse.predict(image).heatmap("red"))
    (a,), (b,) = exact.embed_many([image]), coarse.embed_many([image])
    assert a.shape == b.shape == (24,)
    assert np.corrcoef(a, b)[0, 1] > 0.99


def test_the_fastest_that_is_as_right_is_taken(own):
    measured = timed(bundles.read(own).card.precisions, fp32=(2.0, 100.0), bf16=(1.5, 150.0), int8=(1.0, 300.0))
    rewritten(own, precisions=measured)
    assert googlenet.load(own).engine.precision == "int8"
    worse = measured | {"int8": measured["int8"] | {"score": measured["fp32"]["score"] - 0.006}}
    expected = "bf16" if "bf16" in precisions() else "fp32"
    assert best_precision(rewritten(own, precisions=worse)) == expected
    only = {"fp32": measured["fp32"], "int8": worse["int8"]}
    assert best_precision(rewritten(own, precisions=only)) == "fp32"
    assert googlenet.load(own, "int8").engine.precision == "int8"  # whoever asks for it gets it
    assert best_precision(rewritten(own, precisions={})) == "fp32"


def timed(precisions, **speeds):
    """Say of measured precisions how fast they were: milliseconds of one image, images a second."""
    return {
        name: measured | dict(zip(("latency_ms", "images_per_second"), speeds[name], strict=True))
        for name, measured in precisions.items()
    }


@pytest.mark.parametrize("slow", [(11.8, 50.0), (11.8, 300.0), (1.0, 50.0)], ids=["both", "one", "many"])
def test_what_was_measured_to_be_slower_is_not_taken(own, slow):
    scores = {name: {"score": 0.9} for name in ("fp32", "bf16", "int8")}
    rewritten(own, precisions=timed(scores, fp32=(2.0, 100.0), bf16=slow, int8=slow))
    assert googlenet.load(own).engine.precision == "fp32"


def test_measuring_alone_leaves_the_graphs_as_they_are(own):
    rewritten(own, precisions={})
    before = bundles.read(own).card.files
    found = googlenet.measure_precisions(own)
    assert found.bundle.card.files == before
    assert set(found.bundle.card.precisions) == {*precisions(), "int8"}
    googlenet.verify(own)


def _with_one_channel_far_larger(run):
    """Scale a channel of conv1 up and what reads it down by as much: the same answers, but 8 bits lose the others."""
    bundle = bundles.read(run)
    network = create(bundle.network, num_classes=3)
    network.load_state_dict(load_file(bundle.path / "weights.safetensors"))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in ("conv1.bn.weight", "conv1.bn.bias"):
                parameter[0] *= 3000
            elif name.startswith("inception_1.") and parameter.ndim == 4 and parameter.shape[1] == 8:
                parameter[:, 0] /= 3000
    with np.load(bundle.path / "golden.npz") as golden:
        write_bundle(bundle.path, network, bundle.card, golden["images"])


def test_layers_that_cost_too_much_are_kept_in_floating_point(trained_run, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")
    _with_one_channel_far_larger(run)
    seen = []
    found = googlenet.quantize(run, progress=lambda *at: seen.append(at))
    assert seen
    assert found.plain_loss > 0.3  # all layers in 8 bits: most answers are lost
    measured = found.bundle.card.precisions
    assert measured["int8"]["score"] >= measured["fp32"]["score"] - 0.005
    # The layers that read the large channel, and no other, as the graph itself says:
    readers = {f"inception_1.{branch}.conv" for branch in ("1x1", "3x3.0", "5x5.0", "pool_proj.1")}
    assert set(found.kept) == readers == set(kept_in_floating_point(bundles.read(run)))
    googlenet.verify(run)


def test_images_that_are_not_where_they_were(own):
    data = bundles.read(own).card.data
    rewritten(own, data=data | {"name": "nowhere"})
    with pytest.raises(DataError, match=r"nowhere.*name the labelled images where they are now"):
        googlenet.quantize(own)
    rewritten(own, data={})
    with pytest.raises(DataError, match="name the labelled images"):
        googlenet.quantize(own)


def test_images_of_other_classes(own, tmp_path, coloured):
    (coloured / "red").rename(coloured / "purple")
    with pytest.raises(DataError, match="classes the classifier does not know: purple"):
        googlenet.quantize(own, coloured)


def test_a_bundle_that_cannot_be_written_is_left_as_it_is(own, small_disk):
    run = shutil.copytree(own / "bundle", small_disk / "bundle")
    room = small_disk / "full"
    with pytest.raises(OSError, match="No space"):
        room.write_bytes(bytes(16 * 2**20))
    with pytest.raises(RunError, match="cannot be written"):
        googlenet.measure_precisions(run)
    googlenet.verify(run)


def test_a_read_only_bundle_answers_and_cannot_be_changed(own, small_disk, call):
    run = shutil.copytree(own / "bundle", small_disk / "bundle")
    image = bundles.read(own).card.data["name"] + "/red/001.png"
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert googlenet.load(run).predict(image).label == "red"
    googlenet.verify(run)
    code, out, err = call("quantize", run)
    assert (code, out) == (1, "")
    assert err.endswith("cannot be written: Read-only file system\n")


def test_no_int8_graph(trained_run):
    with pytest.raises(DeviceError, match=r"has no int8 graph: make one with `googlenet quantize "):
        googlenet.load(trained_run, "int8")


@pytest.mark.parametrize("name", ["int8.xml", "int8.bin"])
@pytest.mark.parametrize("how", ["cut", "missing"])
def test_a_damaged_graph_in_8_bits_is_named(own, name, how):
    path = own / "bundle" / name
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=f"{name} " + ("cannot be read" if how == "missing" else "was altered")):
        googlenet.load(own, "int8")


@pytest.mark.parametrize(
    "files",
    [{"int8.xml": b"<net></net>"}, {"int8.xml": b""}, {"int8.bin": b""}, {"int8.bin": b"another file"}],
    ids=str,
)
def test_rubbish_in_8_bits_with_a_fitting_hash_is_refused(own, files):
    bundle = bundles.read(own)
    there = {name: bundle.read(name) for name in bundle.card.files}
    bundles.write(bundle.path, bundle.card, there | files)
    for read in (lambda run: googlenet.load(run, "int8"), googlenet.verify):
        with pytest.raises(BundleError, match=r"int8.xml (is not a graph OpenVINO can read|has a constant)"):
            read(own)


def test_verify_replays_every_precision(own, call):
    assert googlenet.verify(own).precisions == (*precisions(), "int8")
    code, out, _ = call("verify", own)
    assert code == 0
    assert out.endswith(f"also replayed in {' and '.join([*precisions()[1:], 'int8'])}\n")


# Copies for other programs.


def test_onnx_is_replayed_by_two_engines(trained_run, tmp_path):
    written = googlenet.export(trained_run, tmp_path / "out")
    assert [file.name for file in written.files] == ["model.onnx", "card.json"]
    assert written.engines == ("OpenVINO", "ONNX Runtime")
    assert written.largest_difference <= 1e-4
    assert json.loads((tmp_path / "out" / "card.json").read_text())["class_names"] == ["blue", "green", "red"]


@pytest.mark.parametrize("int8", [False, True])
def test_openvino_says_what_it_knows_and_takes_any_batch(quantised, tmp_path, int8):
    import openvino

    written = googlenet.export(quantised, tmp_path, "openvino", int8=int8)
    model = openvino.Core().read_model(written.files[0])
    assert model.get_rt_info(["model_info", "labels"]).astype(str) == "blue green red"
    compiled = openvino.Core().compile_model(model, "CPU")
    for count in (1, 3):
        assert compiled([np.zeros((count, 32, 32, 3), np.uint8)])["probabilities"].shape == (count, 3)


def test_copies_that_cannot_be(trained_run, quantised, tmp_path):
    with pytest.raises(DeviceError, match="has no int8 graph"):
        googlenet.export(trained_run, tmp_path, "openvino", int8=True)
    with pytest.raises(DeviceError, match="give --to openvino"):
        googlenet.export(quantised, tmp_path, int8=True)
    with pytest.raises(DeviceError, match="no format is called 'tflite': allowed: onnx, openvino"):
        googlenet.export(quantised, tmp_path, "tflite")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        googlenet.export(quantised, tmp_path / "file")


def test_the_commands(call, own):
    code, out, err = call("quantize", own)
    assert (code, err) == (0, "")
    assert "int8" in out
    assert f"`predict` uses {best_precision(bundles.read(own))} here" in out
    code, out, _ = call("export", own, "--to", "openvino", "--int8", "--json")
    assert code == 0
    written = json.loads(out)
    assert set(written) == {"files", "largest_difference"}
    assert [Path(file).name for file in written["files"]] == ["int8.xml", "int8.bin", "card.json"]
    code, out, _ = call("export", own)
    assert (code, "exported/model.onnx" in out) == (0, True)


def test_measuring_alone_adds_no_graph(call, trained_run, tmp_path):
    own = shutil.copytree(trained_run, tmp_path / "run")
    before = bundles.read(own).card.files
    data = json.loads((own / "run.json").read_text())["data"]["name"]
    code, out, _ = call("quantize", own, "--measure-only", "--data", data, "--json")
    assert code == 0
    assert set(json.loads(out)["precisions"]) == set(precisions())
    assert bundles.read(own).card.files == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["export", "--int8"], "cannot be written as onnx: give --to openvino"),
        (["export", "--to", "tflite"], "no format is called 'tflite': allowed: onnx, openvino"),
        (["quantize", "--data", "nowhere"], "nowhere"),
    ],
)
def test_contradictions_are_one_line(call, own, options, says):
    code, out, err = call(options[0], own, *options[1:])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
