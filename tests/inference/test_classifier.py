"""A bundle at work: prediction, maps, many images at once, and everything a bundle from elsewhere can hide."""

import dataclasses
import hashlib
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as save_safetensors

import googlenet
from googlenet import bundle as bundles
from googlenet.errors import BundleError, GoogLeNetError, NetworkError, UnreadableImageError
from googlenet.inference.engine import precisions
from googlenet.models.build import create
from googlenet.parallel import PREFETCH, cores


@pytest.fixture
def photos(trained_run):
    return trained_run.parent / "photos"


@pytest.fixture
def copy(trained_run, tmp_path):
    """A bundle of one's own to damage. `rewrite` puts new content in and makes its hash fit again."""
    bundle = bundles.read(trained_run)
    files = {name: bundle.read(name) for name in bundle.card.files}

    def rewrite(**changes):
        changed = files | {name.replace("_", "."): content for name, content in changes.items()}
        return bundles.write(tmp_path / "bundle", bundle.card, changed)

    return rewrite


def sealed(card):
    """Give the text of a card whose hash fits what it says."""
    fields = {key: value for key, value in card.items() if key != "sha256"}
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return json.dumps(fields | {"sha256": hashlib.sha256(canonical.encode()).hexdigest()})


def test_what_a_prediction_says(trained_run, photos):
    prediction = googlenet.load(trained_run).predict(photos / "red" / "001.png")
    assert prediction.label == "red"
    assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert prediction.top(2)[0] == ("red", prediction.probability)
    assert [p for _, p in prediction.top(5)] == sorted((float(p) for p in prediction.probabilities), reverse=True)
    assert str(prediction).startswith("Prediction('red', ")


def test_an_image_comes_in_any_form(trained_run, photos):
    path = photos / "green" / "003.png"
    with Image.open(path) as image, path.open("rb") as file:
        forms = [path, str(path), path.read_bytes(), file, image, np.asarray(image)]
        answers = [googlenet.load(trained_run).predict(form).probabilities for form in forms]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_a_heatmap_covers_the_image_and_is_black_where_the_crop_cut(trained_run, photos):
    prediction = googlenet.load(trained_run).predict(photos / "blue" / "002.png")
    heat = prediction.heatmap()
    assert heat.shape == (40, 48)  # the image's own size
    assert 0 <= heat.min() <= heat.max() <= 1
    assert not heat[:, :3].any()  # 48 wide, the middle 40 are seen
    assert prediction.heatmap("red").shape == (40, 48)
    with pytest.raises(GoogLeNetError, match=r"no class is called 'rot'.*blue, green, red"):
        prediction.heatmap("rot")


@pytest.mark.parametrize("resize", ["pad", "squash"])
def test_a_heatmap_lies_where_the_network_saw_the_image(trained_run, tmp_path, resize):
    bundle = bundles.read(trained_run)
    preprocessing = dataclasses.replace(bundle.card.preprocessing, resize=resize)
    card = dataclasses.replace(bundle.card, preprocessing=preprocessing)
    written = bundles.write(tmp_path / "bundle", card, {name: bundle.read(name) for name in card.files})
    image = Image.new("RGB", (96, 32), (40, 60, 200))
    image.paste((200, 50, 40), (64, 0, 96, 32))  # red on the right
    classifier = googlenet.load(written.path)
    heat = classifier.predict(image).heatmap("red")
    assert heat.shape == (32, 96)
    # Of the square that the network saw, enlarged: its middle third, or all of it flattened.
    square = Image.fromarray(googlenet.load(trained_run).predict(classifier.preprocess(image)).heatmap("red"))
    expected = square.resize((96, 96)).crop((0, 32, 96, 64)) if resize == "pad" else square.resize((96, 32))
    assert np.abs(heat - np.asarray(expected)).mean() < 0.02
    assert heat[:, 70:].mean() > heat[:, :50].mean()


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_many_images_are_answered_in_order_the_bad_ones_too(trained_run, photos, tmp_path, batch_size):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    sources = [photos / "red" / "000.png", bad, photos / "blue" / "000.png", tmp_path / "missing.png"] * 3
    answers = list(googlenet.load(trained_run).predict_many(sources, batch_size=batch_size))
    assert len(answers) == 12
    for number, answer in enumerate(answers):
        if number % 2:
            assert isinstance(answer, UnreadableImageError)
            assert sources[number].name in str(answer)
        else:
            alone = googlenet.load(trained_run).predict(sources[number])
            np.testing.assert_allclose(answer.probabilities, alone.probabilities, atol=1e-5)


def test_many_images_never_wait_in_memory(trained_run):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield np.zeros((40, 40, 3), np.uint8)

    answers = googlenet.load(trained_run).predict_many(endless(), batch_size=4)
    for _ in range(40):
        next(answers)
    assert len(taken) <= 40 + PREFETCH * cores() * 4
    answers.close()


def test_threads_may_share_a_classifier(trained_run, photos):
    classifier = googlenet.load(trained_run)
    files = sorted(photos.glob("*/*.png"))[:24]
    expected = [classifier.predict(file).probabilities for file in files]
    found = [None] * len(files)

    def work(start):
        for number in range(start, len(files), 4):
            found[number] = classifier.predict(files[number]).probabilities

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_classifiers_of_different_bundles_and_precisions_do_not_disturb_each_other(trained_run, photos, copy):
    bundle = copy()
    names = tuple(reversed(bundle.card.class_names))
    preprocessing = dataclasses.replace(bundle.card.preprocessing, crop_fraction=0.7)
    other = bundles.write(
        bundle.path.with_name("other"),
        dataclasses.replace(bundle.card, class_names=names, preprocessing=preprocessing),
        {name: bundle.read(name) for name in bundle.card.files},
    )
    files = sorted(photos.glob("*/*.png"))[::5]
    kinds = [(path, precision) for path in (trained_run, other.path) for precision in precisions()]

    def answers(classifier):
        alone = [classifier.predict(file) for file in files]
        many = list(classifier.predict_many(files, batch_size=4))
        return [(answer.label, answer.probabilities) for answer in (*alone, *many)]

    expected = [answers(googlenet.load(*kind)) for kind in kinds]
    assert [label for label, _ in expected[0]] != [label for label, _ in expected[-1]]
    together = [googlenet.load(*kind) for kind in kinds]
    with ThreadPoolExecutor(2 * len(kinds)) as pool:  # and each is asked by two threads at once
        found = list(pool.map(answers, together + together))
    for asked, given in zip(expected + expected, found, strict=True):
        assert [label for label, _ in given] == [label for label, _ in asked]
        np.testing.assert_allclose([p for _, p in given], [p for _, p in asked], atol=1e-6)


def test_the_engine_refuses_a_batch_of_another_shape_or_type(trained_run):
    engine = googlenet.load(trained_run).engine
    for wrong in (
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((1, 3, 32, 32), np.uint8),
    ):
        with pytest.raises(ValueError, match=r"a batch is uint8 \(N, 32, 32, 3\), got"):
            engine.probabilities(wrong)


@pytest.mark.parametrize("changed", ["another training", "one number"])
def test_verify_notices_weights_that_are_not_those_of_the_graph(trained_run, tiny, tmp_path, changed):
    bundle = bundles.read(trained_run)
    tensors = parse_safetensors(bundle.read("weights.safetensors"))
    if changed == "another training":
        tensors = {name: tensor.contiguous() for name, tensor in create(tiny, num_classes=3).state_dict().items()}
    else:
        tensors["fc.bias"][1] += 1e-6
    files = {name: bundle.read(name) for name in bundle.card.files}
    other = bundles.write(tmp_path / "bundle", bundle.card, files | {"weights.safetensors": save_safetensors(tensors)})
    googlenet.load(other.path)
    with pytest.raises(BundleError, match=r"other weights than model.onnx \(.*fc.bias.*differ"):
        googlenet.verify(other.path)


def test_verify_replays_the_golden_images(trained_run):
    result = googlenet.verify(trained_run)
    assert result.images == 4
    assert result.largest_difference <= 1e-4
    assert set(result.files) == {"certainty.npz", "golden.npz", "model.onnx", "weights.safetensors"}


def test_the_card_is_plain_json_with_everything_in_it(trained_run):
    card = json.loads((trained_run / "bundle" / "card.json").read_text("utf-8"))
    assert card["class_names"] == ["blue", "green", "red"]
    assert set(card["versions"]) == {"googlenet", "python", "torch", "onnx"}
    assert card["preprocessing"]["size"] == 32
    assert set(card["files"]) == {"certainty.npz", "golden.npz", "model.onnx", "weights.safetensors"}
    assert len(card["data"]["fingerprint"]) == 64
    assert str(Path.home()) not in json.dumps(card["network"])


def test_the_graph_is_a_single_file_any_engine_reads(trained_run, photos):
    import onnxruntime

    session = onnxruntime.InferenceSession(trained_run / "bundle" / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["class_names"] == "blue\ngreen\nred"
    classifier = googlenet.load(trained_run)
    batch = np.stack([classifier.preprocess(photos / name / "005.png") for name in classifier.class_names])
    probabilities, maps, embeddings = session.run(None, {"images": batch})
    np.testing.assert_allclose(probabilities, classifier.engine.probabilities(batch), atol=1e-4)
    np.testing.assert_allclose(maps, classifier.engine.maps(batch), atol=1e-3)
    np.testing.assert_allclose(embeddings, classifier.engine.embeddings(batch), atol=1e-3)


# A bundle that is not what it should be. Each is one readable line.


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "weights.safetensors"])
@pytest.mark.parametrize("how", ["altered", "cut", "missing"])
def test_a_damaged_or_missing_file_is_named(copy, name, how):
    path = copy().path / name
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if how == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(
        BundleError, match=f"{name} " + ("cannot be read" if how == "missing" else "was altered or damaged")
    ):
        googlenet.verify(path.parent)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda card: "no table", "names no format"),
        (lambda card: [], "names no format"),
        (lambda card: card | {"format": 99}, "format 99, this version reads up to 6: pip install --upgrade"),
        (
            lambda card: {k: v for k, v in card.items() if k != "class_names"},
            r"damaged: class_names is missing$",
        ),
        (lambda card: card | {"preprocessing": {"size": 32, "mean": [0, 0], "std": [1]}}, "a mean and a std for each"),
        (lambda card: card | {"preprocessing": {"size": 32, "mean": [], "std": []}}, "a mean and a std for each"),
        (
            lambda card: card | {"preprocessing": {"size": 32, "mean": [0], "std": [1], "channel_order": "BGR"}},
            "channel_order BGR is for 3 channels",
        ),
        (
            lambda card: card | {"preprocessing": {"size": 32, "mean": [0], "std": [1]}},
            r"does not fit its card, which says uint8 \(N, 32, 32, 1\) in",
        ),
        (lambda card: card | {"preprocessing": card["preprocessing"] | {"size": 10**9}}, "size must be 1 to 4096"),
        (lambda card: card | {"class_names": ["one", "two"]}, "does not fit its card"),
        (lambda card: card | {"preprocessing": card["preprocessing"] | {"size": 64}}, "does not fit its card"),
        (lambda card: card | {"surprise": 1}, r"card.json is damaged: surprise is not known$"),
        (lambda card: {k: v for k, v in card.items() if k != "name"}, r"card.json is damaged: name is missing$"),
        (
            lambda card: card | {"preprocessing": card["preprocessing"] | {"mean": True}},
            r"card.json is damaged: preprocessing.mean should be a list of numbers, got true$",
        ),
        (lambda card: card | {"preprocessing": {"mean": [0]}}, r"card.json is damaged: preprocessing.size is missing$"),
        (lambda card: card | {"metrics": 3, "name": None}, r"damaged: name cannot be null; metrics cannot be 3$"),
        (lambda card: card | {"multi_label": "yes"}, "multi_label must be true or false, got 'yes'"),
        (lambda card: card | {"multi_label": True}, r"thresholds must be 3 numbers from 0 to 1, got \(\)"),
        (lambda card: card | {"multi_label": True, "thresholds": [0, 1, 2]}, "thresholds must be 3 numbers from 0 to"),
        (lambda card: card | {"multi_label": True, "thresholds": [0, 1, None]}, "thresholds must be 3 numbers from 0"),
        (lambda card: card | {"thresholds": [0.5, 0.5, 0.5]}, "thresholds must be 0 numbers from 0 to 1"),
        (lambda card: card | {"thresholds": 0.5}, "card.json is damaged"),
        (lambda card: card | {"files": {}}, "holds no model.onnx"),
    ],
)
def test_a_wrong_card_is_said_even_where_its_hash_fits(copy, change, says):
    path = copy().path / "card.json"
    changed = change(json.loads(path.read_text("utf-8")))
    path.write_text(sealed(changed) if isinstance(changed, dict) else json.dumps(changed), "utf-8")
    with pytest.raises(BundleError, match=says) as caught:
        googlenet.load(path.parent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", "{}", "", '{"format": 4, "format": 4}'])
def test_a_card_that_is_none_is_said(copy, text):
    path = copy().path / "card.json"
    path.write_text(text)
    with pytest.raises(BundleError, match=r"card.json is (damaged|not the card of a bundle)"):
        googlenet.load(path.parent)


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card | {"class_names": card["class_names"][::-1]},
        lambda card: card | {"temperature": 2.0},
        lambda card: card | {"sha256": "0" * 64},
        lambda card: {key: value for key, value in card.items() if key != "sha256"},
    ],
)
def test_a_card_that_was_changed_is_refused(copy, change):
    path = copy().path / "card.json"
    path.write_text(json.dumps(change(json.loads(path.read_text("utf-8")))), "utf-8")
    with pytest.raises(BundleError, match=r"card.json was altered or damaged: its sha256 is not the one of its text"):
        googlenet.load(path.parent)


def test_a_card_that_was_only_laid_out_anew_is_read(copy):
    path = copy().path / "card.json"
    card = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(dict(reversed(card.items()))), "utf-8")
    googlenet.verify(path.parent)


@pytest.mark.parametrize("format_", [1, 2, 3])
def test_a_card_of_before_several_labels_is_read(copy, format_):
    path = copy().path / "card.json"
    card = json.loads(path.read_text("utf-8"))
    newer = ("multi_label", "thresholds", "sha256")
    old = {key: value for key, value in card.items() if key not in newer} | {"format": format_}
    path.write_text(json.dumps(old), "utf-8")
    classifier = googlenet.load(path.parent)
    assert not classifier.card.multi_label
    assert "sha256" not in json.loads(classifier.card.to_json())  # whoever wrote it can still read it


def test_rubbish_with_a_fitting_hash_is_still_refused(copy):
    with pytest.raises(BundleError, match="not a graph OpenVINO can read"):
        googlenet.load(copy(model_onnx=b"rubbish").path)
    with pytest.raises(BundleError, match=r"golden.npz is damaged"):
        googlenet.verify(copy(golden_npz=b"rubbish").path)


def test_golden_outputs_that_do_not_come_out_are_said(copy, trained_run):
    with np.load(trained_run / "bundle" / "golden.npz") as golden:
        images, probabilities = golden["images"], golden["probabilities"]
    import io

    wrong = io.BytesIO()
    np.savez(wrong, images=images, probabilities=probabilities[:, ::-1])
    with pytest.raises(BundleError, match="a golden probability differs by"):
        googlenet.verify(copy(golden_npz=wrong.getvalue()).path)


def test_a_pickle_in_the_golden_file_is_never_opened(copy, tmp_path):
    import io

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "was_run",))

    trap = io.BytesIO()
    np.savez(trap, images=np.array([Evil()], dtype=object), probabilities=np.zeros(1))
    with pytest.raises(BundleError, match=r"golden.npz is damaged"):
        googlenet.verify(copy(golden_npz=trap.getvalue()).path)
    assert not (tmp_path / "was_run").exists()


def test_a_graph_with_data_outside_of_itself_is_refused(copy, trained_run, tmp_path):
    model = onnx.load(trained_run / "bundle" / "model.onnx")
    onnx.save_model(
        model, tmp_path / "outside.onnx", save_as_external_data=True, location="secret.bin", size_threshold=0
    )
    bundle = copy(model_onnx=(tmp_path / "outside.onnx").read_bytes())
    (bundle.path / "secret.bin").write_bytes((tmp_path / "secret.bin").read_bytes())
    with pytest.raises(BundleError, match="refers to data outside of itself"):
        googlenet.load(bundle.path)


@pytest.mark.parametrize("make", [lambda p: p / "nothing", lambda p: p])
def test_no_bundle_at_all(tmp_path, make):
    with pytest.raises(BundleError, match="give a run of `googlenet train`, or the bundle inside it"):
        googlenet.load(make(tmp_path))


def test_writing_a_bundle_replaces_the_old_one_whole(copy):
    first = copy()
    before = first.path.stat().st_ino
    second = copy()
    assert first.path == second.path
    assert second.path.stat().st_ino != before
    assert [p.name for p in second.path.parent.iterdir() if p.name.startswith(".")] == []
    googlenet.verify(second.path)


def test_a_bundle_that_cannot_be_written_leaves_the_old_one(copy, monkeypatch):
    bundle = copy()
    monkeypatch.setattr(
        bundles, "_swap", lambda fresh, path: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space"):
        copy()
    googlenet.verify(bundle.path)
    assert [p.name for p in bundle.path.parent.iterdir() if p.name.startswith(".")] == []


def test_prediction_imports_no_torch_and_nothing_phones_home(trained_run, photos):
    code = """
import socket, sys
def refuse(*arguments, **options):
    raise SystemExit(f"the network was asked for: {arguments}")
socket.socket.connect = socket.getaddrinfo = refuse
import googlenet
assert not {"torch", "openvino", "numpy"} & set(sys.modules), "importing the package alone must stay light"
answer = googlenet.load(sys.argv[1]).predict(sys.argv[2])
answer.heatmap(), googlenet.verify(sys.argv[1]), googlenet.analyse(googlenet.NETWORKS["googlenet"])
heavy = {"torch", "torchvision", "onnx", "sklearn", "matplotlib", "openvino_telemetry.main"} & set(sys.modules)
assert not heavy, heavy
print(answer.label)
"""
    command = [sys.executable, "-c", code, trained_run, photos / "red" / "007.png"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("red\n", "")


def test_a_signal_after_the_last_classifier_is_gone_does_not_crash(trained_run):
    code = """
import os, signal, sys
import numpy as np, googlenet
classifier = googlenet.load(sys.argv[1])
image = np.zeros((40, 40, 3), np.uint8)
classifier.predict(image).heatmap()
del classifier
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGUSR1)
"""
    result = subprocess.run([sys.executable, "-c", code, trained_run], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "handled\n")


def test_what_is_of_another_type_is_said(trained_run):
    classifier = googlenet.load(trained_run)
    prediction = classifier.predict(np.zeros((8, 8, 3), np.uint8))
    for wrong in (0, -1, "x", None):
        with pytest.raises(GoogLeNetError, match="top takes a whole number of classes"):
            prediction.top(wrong)
    assert len(prediction.top(np.int64(2))) == 2
    for wrong in ("a.jpg", b"abc", None):
        with pytest.raises(GoogLeNetError, match="many images are a list of them, got"):
            list(classifier.predict_many(wrong))
    with pytest.raises(GoogLeNetError, match="no class is called 5"):
        prediction.heatmap(5)
    with pytest.raises(UnreadableImageError, match="has no pixels: it is 0×0"):
        classifier.predict(Image.new("RGB", (0, 0)))
    for wrong in (None, 5, b"runs"):
        with pytest.raises(BundleError, match="a run or bundle is named by its path, got"):
            googlenet.load(wrong)
    for wrong in (None, 5, []):
        with pytest.raises(NetworkError, match="a network is a Network"):
            googlenet.analyse(wrong)
    with pytest.raises(NetworkError, match="a network is a Network"):
        googlenet.create(5)
