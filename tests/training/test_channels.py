"""`train` on grey images and on images of five channels, and all that reads what comes out."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import googlenet
from googlenet.data.opening import open_data
from googlenet.errors import DataError, RecipeError, RunError, UnreadableImageError
from googlenet.training.augment import augment
from googlenet.training.loading import ImageDataset, SampleKey
from googlenet.training.plan import look
from googlenet.training.recipe import Augmentation, Recipe

BRIGHT = {"dark": 60, "light": 190}  # in the last of five channels: the others say nothing


def five_channels(random, brightness):
    pixels = random.normal(120, 40, (40, 48, 5))
    pixels[:, :, 4] += brightness - 120
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Arrays and, in one of four, the pages of a TIFF."""
    root, random = tmp_path_factory.mktemp("channels") / "arrays", np.random.default_rng(0)
    for name, brightness in BRIGHT.items():
        (root / name).mkdir(parents=True)
        for number in range(30):
            pixels = five_channels(random, brightness)
            if number % 4:
                np.save(root / name / f"{number:02d}.npy", pixels)
            else:
                first, *rest = map(Image.fromarray, np.ascontiguousarray(np.moveaxis(pixels, 2, 0)))
                first.save(root / name / f"{number:02d}.tif", save_all=True, append_images=rest)
    Image.new("RGB", (40, 40)).save(root / "dark/colour.png")
    return root


@pytest.fixture(scope="module")
def five(arrays, tiny):
    run = arrays.parent / "five"
    googlenet.train(arrays, run, network=tiny, in_channels=5, epochs=3, batch_size=8)
    return run


def test_a_run_on_five_channels_learned_from_the_last(five, arrays):
    card = googlenet.load(five).card
    assert card.metrics["top1"] > 0.9
    assert (card.preprocessing.mean, card.preprocessing.std) == ((0.5,) * 5, (0.25,) * 5)
    assert (card.recipe["in_channels"], card.network["Network"]["in_channels"]) == (5, 5)
    assert "colour.png has 3 channels (RGB), 5 are needed: a TIFF of 5 grey" in (five / "unreadable.csv").read_text()


def test_the_graph_takes_five_channels_in_any_engine(five, arrays):
    classifier = googlenet.load(five)
    file = arrays / "light/01.npy"
    session = onnxruntime.InferenceSession(five / "bundle/model.onnx")
    assert session.get_inputs()[0].shape == ["batch", 32, 32, 5]
    theirs = session.run(["probabilities"], {"images": classifier.preprocess(file)[None]})[0][0]
    for source in (file, file.read_bytes(), np.load(file)):
        np.testing.assert_allclose(classifier.predict(source).probabilities, theirs, atol=1e-4)
    assert classifier.predict(file).label == "light"
    assert classifier.predict(file).heatmap().shape == (40, 48)
    assert googlenet.verify(five).images == 4
    with pytest.raises(UnreadableImageError, match=r"has 3 channels \(RGB\), 5 are needed"):
        classifier.predict(Image.new("RGB", (40, 40)))
    with pytest.raises(ValueError, match=r"a batch is uint8 \(N, 32, 32, 5\), got uint8 \(1, 32, 32, 3\)"):
        classifier.engine.probabilities(np.zeros((1, 32, 32, 3), np.uint8))


def test_predict_and_evaluate_find_the_arrays(five, arrays, call):
    code, out, _ = call("predict", five, arrays / "light", "--json")
    named = [row["class"] for row in json.loads(out)]
    assert (code, len(named)) == (0, 30)
    assert named.count("light") > 27
    code, _, err = call("predict", five, arrays / "dark/colour.png")
    assert (code, "not read: " in err, "5 are needed" in err) == (1, True, True)
    result = googlenet.evaluate(five, arrays, split="all")
    assert (result.images, list(result.unreadable)) == (61, ["dark/colour.png"])
    assert result.metrics.top1 > 0.9


def test_a_list_of_arrays_with_several_labels_padded(arrays, tiny):
    lines = [f"arrays/{name}/{number:02d}.npy,{name}|array" for name in BRIGHT for number in range(30) if number % 4]
    (arrays.parent / "list.csv").write_text("\n".join(["path,label", *lines]))
    run = arrays.parent / "several"
    googlenet.train(arrays.parent / "list.csv", run, network=tiny, in_channels=5, resize="pad", epochs=6, batch_size=8)
    classifier = googlenet.load(run)
    preprocessing = classifier.card.preprocessing
    assert (preprocessing.channels, preprocessing.resize, classifier.card.multi_label) == (5, "pad", True)
    file = arrays / "light/01.npy"
    assert (classifier.preprocess(file)[0] == 127).all()
    assert classifier.predict(file).heatmap().shape == (40, 48)
    assert classifier.predict(file).label in ("array", "light")
    assert googlenet.verify(run).images == 4
    result = googlenet.evaluate(run, arrays.parent / "list.csv", split="all")
    assert (result.images, result.unreadable) == (44, {})
    assert result.metrics.map > 0.9


def test_a_run_goes_on_with_its_channels(five, arrays, tiny):
    with pytest.raises(RunError, match=r"was started with other settings: --in-channels 3 \(it has 5\)"):
        googlenet.train(arrays, five, network=tiny, in_channels=3, resume=True)
    assert googlenet.train(arrays, five, network=tiny, resume=True).card.preprocessing.channels == 5


def test_a_run_on_grey_images(coloured, tmp_path, tiny, call, monkeypatch):
    monkeypatch.setitem(googlenet.NETWORKS, "tiny", tiny)
    run = tmp_path / "grey"
    code, _, err = call("train", coloured, "--out", run, "--network", "tiny", "--in-channels", 1, "--epochs", 1)
    assert code == 0, err
    classifier = googlenet.load(run)
    preprocessing = classifier.card.preprocessing
    assert (preprocessing.mean, preprocessing.std) == (
        pytest.approx((0.459,), abs=1e-3),
        pytest.approx((0.2256,), abs=1e-3),
    )
    file = coloured / "red/000.png"
    np.testing.assert_array_equal(
        classifier.predict(file).probabilities, classifier.predict(Image.open(file).convert("L")).probabilities
    )
    assert classifier.preprocess(file).shape == (32, 32, 1)
    assert googlenet.verify(run).images == 4
    assert googlenet.evaluate(run, coloured, split="all").images == 36


def test_what_cannot_be_trained_on_is_said_before_any_work(coloured, tmp_path, tiny, call):
    with pytest.raises(DataError, match=r"none of the \d+ validation images could be read: .* 7 are needed"):
        googlenet.train(coloured, tmp_path / "run", network=tiny, in_channels=7)
    (tmp_path / "arrays/one").mkdir(parents=True)
    np.save(tmp_path / "arrays/one/x.npy", np.zeros((4, 4, 5), np.uint8))
    with pytest.raises(DataError, match=r"a class without images: put some into it \(avif, bmp, gif, .*\) or remove"):
        googlenet.train(tmp_path / "arrays", tmp_path / "run", network=tiny)
    assert not (tmp_path / "run").exists()
    for number in (0, 1025):
        code, _, err = call("train", coloured, "--out", tmp_path / "run", "--in-channels", number)
        assert code == 2
        assert f"in_channels = {number}: should be" in err


def test_colours_are_distorted_only_where_there_are_colours(tmp_path):
    with pytest.raises(RecipeError) as raised:
        Recipe.load("paper", in_channels=1)
    assert str(raised.value) == (
        "recipe paper: augmentation.photometric_prob = 0.5 is for RGB images (in_channels = 3), got in_channels = 1: "
        "set it to 0 in a recipe of your own"
    )
    (tmp_path / "mine.toml").write_text("in_channels = 5\n[augmentation]\nhflip_prob = 0.0\n")
    assert Recipe.load(tmp_path / "mine.toml").in_channels == 5


def test_channels_are_varied_together_and_anew_every_epoch(arrays, tiny):
    data = open_data(arrays, channels=5)
    preprocessing = googlenet.Network("five", tiny.stages, in_channels=5).preprocessing(24)
    dataset = ImageDataset(data.train, preprocessing, 0, Augmentation(erasing_prob=1.0))
    one, again, other = (dataset[place][2] for place in (SampleKey(0, 3, 24), SampleKey(0, 3, 24), SampleKey(1, 3, 24)))
    assert (one.shape, one.dtype) == ((5, 24, 24), torch.uint8)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    erased = (one == 127).all(0)
    assert 0.03 < erased.float().mean() < 0.3  # the same rectangle of every channel


def test_colours_of_five_channels_are_varied_as_those_of_an_image_are():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 5), np.uint8)
    for seed in range(10):
        five = augment(pixels, 24, Augmentation(erasing_prob=0.5), np.random.default_rng(seed))
        three = augment(pixels[:, :, :3].copy(), 24, Augmentation(erasing_prob=0.5), np.random.default_rng(seed))
        np.testing.assert_array_equal(five[:, :, :3], three)


def test_what_images_of_the_weights_channels_cannot_have_is_refused(five, arrays, tmp_path):
    with pytest.raises(RecipeError, match=r"photometric_prob = 0.5 is for RGB images .*, got in_channels = 5"):
        googlenet.train(arrays, tmp_path / "run", weights=five, augmentation={"photometric_prob": 0.5})
    assert not (tmp_path / "run").exists()
    plan = look(tmp_path / "run", None, {"augmentation": "microscopy"}, five)  # a preset leaves it out
    assert (plan.recipe.in_channels, plan.recipe.augmentation.jitter_hue) == (5, 0.0)
