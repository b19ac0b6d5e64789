"""The engine's precisions: what a processor has can be asked for, anything else is one line."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from googlenet import bundle as bundles
from googlenet.errors import BundleError, DeviceError
from googlenet.inference import engine, graphs, runtime
from googlenet.inference.engine import Engine, precisions


@pytest.fixture
def bundle(trained_run):
    return bundles.read(trained_run)


@pytest.fixture
def images(bundle):
    size = bundle.card.preprocessing.size
    return np.random.default_rng(0).integers(0, 256, (5, size, size, 3), dtype=np.uint8)


def test_every_precision_of_this_processor_gives_about_the_same_answers(bundle, images):
    assert precisions()[0] == "fp32"
    exact = Engine(bundle).probabilities(images)
    assert np.array_equal(Engine(bundle, "fp32").probabilities(images), exact)
    for precision in precisions():
        answers = Engine(bundle, precision).probabilities(images)
        assert answers.dtype == np.float32
        assert np.abs(answers - exact).max() < 0.03
        assert answers.sum(axis=1) == pytest.approx(1, abs=0.02)


def test_a_precision_that_does_not_exist(bundle):
    with pytest.raises(DeviceError, match=r"no precision is called 'fp8': this processor has fp32"):
        Engine(bundle, "fp8")


def test_a_precision_that_this_processor_lacks(bundle, monkeypatch):
    monkeypatch.setattr(engine, "precisions", lambda: ("fp32",))
    with pytest.raises(DeviceError, match="bf16 cannot be computed here: this processor has fp32"):
        Engine(bundle, "bf16")


def test_what_was_compiled_is_kept_for_the_next_process_and_answers_the_same(bundle, images, tmp_path):
    code = """
import sys
import os
import subprocess
import sys

import numpy as np
from googlenet import bundle as bundles
from googlenet.inference.engine import Engine
bundle = bundles.read(sys.argv[1])
images = np.load(sys.argv[2])
for precision in sys.argv[3:]:
    np.save(f"{precision}.npy", Engine(bundle, precision, cached=True).probabilities(images))
"""
    np.save(tmp_path / "images.npy", images)
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code, bundle.path, "images.npy", *precisions(), *precisions()[::-1]]
    for _ in range(2):
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
        assert list((tmp_path / "cache" / "googlenet" / "compiled").iterdir())
        for precision in precisions():
            assert np.array_equal(
                np.load(tmp_path / f"{precision}.npy"), Engine(bundle, precision).probabilities(images)
            )


@pytest.fixture
def read(monkeypatch):
    """The graphs that are read in this test, rather than taken from the cache."""
    names = []

    def noted(bundle, graph):
        names.append(graph)
        return read_graph(bundle, graph)

    read_graph = graphs.read_graph
    monkeypatch.setattr(graphs, "read_graph", noted)
    return names


def test_a_graph_that_was_compiled_is_not_read_again(bundle, images, tmp_path, monkeypatch, read):
    monkeypatch.setattr(engine, "compiled_cache", lambda: tmp_path)
    first, expected = Engine(bundle, cached=True), Engine(bundle).probabilities_and_embeddings(images)
    assert read == ["model.onnx", "model.onnx"]
    for one, same in zip(first.probabilities_and_embeddings(images), expected, strict=True):
        assert np.array_equal(one, same)
    read.clear()
    again = Engine(bundle, cached=True)
    for one, same in zip(again.probabilities_and_embeddings(images), expected, strict=True):
        assert np.array_equal(one, same)
    assert (again.has_maps, again.has_embeddings, again.members) == (first.has_maps, first.has_embeddings, 1)
    assert read == []
    assert np.array_equal(again.maps(images), first.maps(images))  # which nothing had compiled
    assert read == ["model.onnx"]


def resident(folder):
    """Bytes of files in a folder that this process has in its memory."""
    areas = re.findall(r"^[0-9a-f]+-[0-9a-f]+ .*\n(?:\w+:.*\n)+", Path("/proc/self/smaps").read_text(), re.MULTILINE)
    return 1024 * sum(int(re.search(r"Rss:\s+(\d+)", each)[1]) for each in areas if str(folder) in each)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take memory back by themselves")
def test_memory_of_what_was_compiled_is_given_back(bundle, images, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "compiled_cache", lambda: tmp_path)
    Engine(bundle, cached=True).probabilities(images)
    again = Engine(bundle, cached=True)
    expected = again.probabilities(images)
    assert resident(tmp_path) > 0
    again.release()
    assert resident(tmp_path) == 0
    assert np.array_equal(again.probabilities(images), expected)


def test_a_file_that_was_altered_is_noticed_though_its_graph_was_compiled(bundle, tmp_path, monkeypatch, read):
    monkeypatch.setattr(engine, "compiled_cache", lambda: tmp_path / "cache")
    copy = bundles.write(tmp_path / "copy", bundle.card, {name: bundle.read(name) for name in bundle.card.files})
    nothing = np.zeros((1, *Engine(copy, cached=True).image), np.uint8)
    Engine(copy, cached=True).probabilities(nothing)
    read.clear()
    content = bytearray((copy.path / "model.onnx").read_bytes())
    content[-1] ^= 1
    (copy.path / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx was altered or damaged: its sha256 is not the one of card"):
        Engine(copy, cached=True)
    (copy.path / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx cannot be read: No such file"):
        Engine(copy, cached=True)
    assert read == []


def test_another_card_for_the_same_graph_is_checked_again(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "compiled_cache", lambda: tmp_path / "cache")
    Engine(bundle, cached=True)
    files = {name: bundle.read(name) for name in bundle.card.files}
    more = replace(bundle.card, class_names=(*bundle.card.class_names, "one more"))
    larger = replace(bundle.card, preprocessing=replace(bundle.card.preprocessing, size=64))
    for number, card in enumerate((more, larger)):
        with pytest.raises(BundleError, match=r"does not fit its card"):
            Engine(bundles.write(tmp_path / str(number), card, files), cached=True)


@pytest.mark.parametrize("damage", ["cut", "rubbish", "empty", "inside", "facts"])
def test_a_damaged_cache_is_compiled_anew(bundle, images, tmp_path, damage, monkeypatch, read):
    expected = Engine(bundle).probabilities(images)
    monkeypatch.setattr(engine, "compiled_cache", lambda: tmp_path)
    assert np.array_equal(Engine(bundle, cached=True).probabilities(images), expected)
    read.clear()
    (kept,) = tmp_path.glob("*/facts.json" if damage == "facts" else "*/*.blob")
    content = kept.read_bytes()
    damaged = {
        "cut": content[: len(content) // 2],
        "rubbish": b"rubbish" * 100,
        "empty": b"",
        "inside": content[:4096] + bytes(max(0, len(content) - 4096)),
        "facts": b'{"outputs": 3}',
    }
    kept.write_bytes(damaged[damage])
    for _ in range(2):  # the second time it is there again
        assert np.array_equal(Engine(bundle, cached=True).probabilities(images), expected)
    assert read == ["model.onnx"]


def test_what_one_graph_leaves_in_the_cache_is_never_taken_for_another(bundle, images, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "compiled_cache", lambda: tmp_path / "cache")
    other = onnx.load_from_string(bundle.read("model.onnx"))
    weights = next(each for each in other.graph.initializer if each.name.endswith("conv.weight"))
    weights.raw_data = bytes(len(weights.raw_data))
    files = {name: bundle.read(name) for name in bundle.card.files} | {"model.onnx": other.SerializeToString()}
    changed = bundles.write(tmp_path / "other", bundle.card, files)
    ours = Engine(bundle, cached=True).probabilities(images)
    theirs = Engine(changed, cached=True).probabilities(images)
    assert np.abs(ours - theirs).max() > 0.01
    assert len({path.parent for path in (tmp_path / "cache").glob("*/*.blob")}) == 2
    assert all(path.parent.parent == tmp_path / "cache" for path in (tmp_path / "cache").glob("**/*.blob"))
    assert np.array_equal(Engine(bundle, cached=True).probabilities(images), ours)


def test_no_place_for_a_cache_is_no_trouble(bundle, images, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    code = """
import sys
import googlenet
print(googlenet.load(sys.argv[1]).predict(sys.argv[2]).label)
"""
    image = bundle.path.parents[1] / "photos" / "red" / "001.png"
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "file")}
    command = [sys.executable, "-c", code, bundle.path, image]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("red\n", "")


def test_the_cache_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "MAX_CACHE_BYTES", 25)
    for number in range(5):
        (tmp_path / f"{number}.blob").write_bytes(b"0123456789")
        os.utime(tmp_path / f"{number}.blob", (number, number))
    runtime.tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3.blob", "4.blob"]


def test_threads_that_all_come_first_do_not_wait_for_each_other(bundle):
    code = """
import sys, threading
import numpy as np
from googlenet import bundle as bundles
from googlenet.inference.engine import Engine

sys.setswitchinterval(1e-6)
engine = Engine(bundles.read(sys.argv[1]))
image = np.zeros((1, *engine.image), np.uint8)
engine._compile("probabilities", 8)
together = threading.Barrier(8)


def ask():
    engine._request("probabilities", 8)
    together.wait()
    engine.probabilities(image, 8)


threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code, bundle.path], timeout=60, check=True)
