"""A bundle as a web page: its files, its weights, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import googlenet
from googlenet.errors import BundleError, DeviceError, GoogLeNetError, MachineError
from googlenet.exporting import runtime, web
from googlenet.exporting.integers import weights_as_integers


def test_the_files_of_the_page(folder, trained_run, call, tmp_path):
    bundle = googlenet.load(trained_run).bundle
    names = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {"index.html", "offline.js", "runtime/LICENSE", "examples/1.png"} < names
    script = (folder / "offline.js").read_text("utf-8")
    assert all(f'"{name}"' in script for name in names - {"offline.js"})
    # The graph is an ONNX file like any other: half as large, with nearly the same weights.
    before, after = onnx.load_from_string(bundle.read("model.onnx")), onnx.load(folder / "model.onnx")
    onnx.checker.check_model(after)
    integers = {each.name for each in after.graph.initializer if each.data_type == onnx.TensorProto.INT16}
    constants = {each.name: numpy_helper.to_array(each) for each in after.graph.initializer}
    large = [each for each in before.graph.initializer if len(each.dims) > 1 and np.prod(each.dims) >= 256]
    assert {f"{each.name}.whole" for each in large} == integers != set()
    for each in large:
        weights, whole = numpy_helper.to_array(each), constants[f"{each.name}.whole"]
        restored = whole.astype(np.float32) * constants[f"{each.name}.scale"]
        assert np.abs(restored - weights).max() <= np.abs(weights).max() / 65_000
    # Written over another page, it shows none of that one's images.
    (tmp_path / "page" / "examples").mkdir(parents=True)
    (tmp_path / "page" / "examples" / "4.png").touch()
    code, out, _ = call("export", trained_run, "--to", "web", "--out", tmp_path / "page", "--no-examples")
    assert code == 0
    assert "python -m http.server" in out
    assert not list((tmp_path / "page" / "examples").iterdir())


@pytest.mark.parametrize("bits", [8, 16])
def test_weights_as_integers_answer_nearly_the_same(trained_run, bits):
    bundle = googlenet.load(trained_run).bundle
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    before, after = (
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"images": images})
        for content in (bundle.read("model.onnx"), weights_as_integers(bundle.read("model.onnx"), bits))
    )
    difference = max(float(np.abs(one - other).max()) for one, other in zip(before, after, strict=True))
    assert 0 < difference <= (0.1 if bits == 8 else 1e-3)


def test_what_cannot_be_a_page_is_refused(trained_run, call, tmp_path, monkeypatch):
    code, _, err = call("export", trained_run, "--single-file", "--out", tmp_path)
    assert (code, "give --to web" in err) == (2, True)
    with pytest.raises(DeviceError, match="in 8 bits cannot be written as web"):
        googlenet.export(trained_run, tmp_path, to="web", int8=True)
    with monkeypatch.context() as patched:
        patched.setattr(web, "MAX_SINGLE_BYTES", 1_000_000)
        with pytest.raises(GoogLeNetError, match="leave --single-file out"):
            googlenet.export(trained_run, tmp_path, to="web", single_file=True)
    five = googlenet.preprocessing.Preprocessing(32, mean=(0.5,) * 5, std=(0.5,) * 5)
    bundle = googlenet.load(trained_run).bundle
    object.__setattr__(bundle.card, "preprocessing", five)
    with pytest.raises(BundleError, match="a web page reads grey and RGB"):
        web.write_page(bundle, single_file=False, examples=())
    assert not list(tmp_path.iterdir())


def test_a_runtime_that_was_altered_is_refused(monkeypatch, tmp_path):
    for file in Path(runtime.HERE).iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(runtime, "HERE", tmp_path)
    assert set(runtime.runtime_files()) == {runtime.SCRIPT, runtime.PROGRAM, runtime.LICENCE}
    packed = tmp_path / f"{runtime.SCRIPT}.xz"
    packed.write_bytes(packed.read_bytes()[:-100] + b"\0" * 100)
    with pytest.raises(MachineError, match="install googlenet again"):
        runtime.runtime_files()
