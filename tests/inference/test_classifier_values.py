"""Answers are values: compared, kept, copied, pickled, sent to another process; a classifier is pickled by its path."""

import copy
import io
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet import bundle as bundles
from googlenet.errors import BundleError, GoogLeNetError, UnreadableImageError


@pytest.fixture
def classifier(trained_run):
    return googlenet.load(trained_run)


@pytest.fixture
def photo(trained_run):
    return trained_run.parent / "photos" / "red" / "007.png"


def through_pickle(value):
    return pickle.loads(pickle.dumps(value))


def forms(photo):
    """Give an image in every form that `predict` takes but an open file."""
    with Image.open(photo) as image:
        loaded = image.copy()
    return [photo, str(photo), photo.read_bytes(), loaded, Image.open(photo), np.asarray(loaded)]


@pytest.mark.parametrize("form", range(6))
def test_a_prediction_is_the_same_after_pickle_and_copy(classifier, photo, form):
    source = forms(photo)[form]
    prediction = classifier.predict(source)
    for again in (through_pickle(prediction), copy.copy(prediction), copy.deepcopy(prediction)):
        assert again == prediction
        assert hash(again) == hash(prediction)
        assert again.top() == prediction.top()
        assert repr(again) == repr(prediction)
        np.testing.assert_array_equal(again.heatmap("blue"), prediction.heatmap("blue"))


def test_predictions_are_compared_by_image_and_answer(classifier, photo):
    prediction = classifier.predict(photo)
    assert prediction == classifier.predict(str(photo))
    assert (prediction == classifier.predict(photo.with_name("008.png"))) is False
    assert (prediction == "red") is False
    assert prediction in [classifier.predict(photo)]
    assert len({classifier.predict(photo), classifier.predict(photo), classifier.predict(photo.read_bytes())}) == 2
    black = np.zeros((1, 40, 40, 3), np.uint8)
    other = classifier.predict(np.full((41, 41, 3), 0, np.uint8))  # the same to the network
    assert classifier.predict(black[0]) != other
    with pytest.raises(ValueError, match="read-only"):
        prediction.probabilities[0] = 1


def test_an_open_file_is_not_pickled_and_its_heat_map_says_so(classifier, photo):
    file = io.BytesIO(photo.read_bytes())
    prediction = classifier.predict(file)
    assert prediction.heatmap().shape == (40, 48)
    again = through_pickle(prediction)
    assert again == prediction
    with pytest.raises(
        UnreadableImageError, match=r"an open file, which is not pickled.*call heatmap of the classifier"
    ):
        again.heatmap()
    np.testing.assert_array_equal(classifier.heatmap(photo), prediction.heatmap())
    np.testing.assert_array_equal(classifier.heatmap(photo, "blue"), prediction.heatmap("blue"))


def test_a_prediction_keeps_no_engine_and_finds_one_again(trained_run, photo):
    predictions = [googlenet.load(trained_run).predict(photo) for _ in range(2)]
    assert not [each for each in vars(predictions[0]).values() if isinstance(each, googlenet.Classifier)]
    assert len(pickle.dumps(predictions[0])) < 2000
    np.testing.assert_array_equal(predictions[0].heatmap(), predictions[1].heatmap())


@pytest.fixture
def own(trained_run, tmp_path):
    """A bundle of one's own, to be replaced."""
    bundle = bundles.read(trained_run)
    return bundles.write(tmp_path / "own", bundle.card, {name: bundle.read(name) for name in bundle.card.files})


def test_what_was_answered_by_another_bundle_is_not_explained_by_this_one(own, photo):
    import dataclasses

    classifier = googlenet.load(own.path)
    prediction, pickled = classifier.predict(photo), pickle.dumps(classifier)
    del classifier
    names = tuple(reversed(own.card.class_names))
    bundles.write(own.path, dataclasses.replace(own.card, class_names=names), {n: own.read(n) for n in own.card.files})
    for again in (prediction.heatmap, lambda: pickle.loads(pickled)):
        with pytest.raises(BundleError, match="own has changed since: load it"):
            again()
    for file in own.path.iterdir():
        file.unlink()
    with pytest.raises(BundleError, match=r"own holds no card\.json"):
        prediction.heatmap()


@pytest.mark.parametrize("how", [through_pickle, copy.copy, copy.deepcopy])
def test_a_classifier_that_was_pickled_or_copied_answers(trained_run, photo, how):
    classifier = googlenet.load(trained_run, "fp32")
    again = how(classifier)
    assert again.predict(photo) == classifier.predict(photo)
    assert again.engine.precision == "fp32"
    assert repr(again) == repr(classifier) == f"Classifier({str(trained_run / 'bundle')!r}, fp32, 3 classes)"
    np.testing.assert_array_equal(
        how(classifier.engine).probabilities(classifier.preprocess(photo)[None])[0], again.predict(photo).probabilities
    )


def test_a_classifier_whose_files_are_in_memory_takes_them_along(trained_run, photo):
    packed = bundles.read(trained_run).packed("model.onnx")
    classifier = googlenet.Classifier(packed, "fp32")
    assert through_pickle(classifier).predict(photo) == classifier.predict(photo)


def test_answers_and_classifier_cross_processes(trained_run, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(trained_run.parent)
    classifier = googlenet.load(trained_run.name)  # relative: the other process is elsewhere
    (tmp_path / "pickled").write_bytes(pickle.dumps((classifier, classifier.predict(photo))))
    code = """
import pickle, pathlib
classifier, prediction = pickle.loads(pathlib.Path("pickled").read_bytes())
assert prediction == classifier.predict(prediction.source)
print(prediction.label, prediction.heatmap().shape)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("red (40, 48)\n", "")


def test_a_prediction_as_a_dict_is_json(classifier, photo):
    prediction = classifier.predict(photo)
    told = json.loads(json.dumps(prediction.to_dict()))
    assert told["path"] == str(photo)
    assert (told["label"], told["labels"], told["probability"]) == ("red", ["red"], prediction.probability)
    assert [(each["class"], each["probability"]) for each in told["predictions"]] == prediction.top()
    assert classifier.predict(photo.read_bytes()).to_dict()["path"] is None


def test_a_notebook_shows_a_prediction_and_nothing_in_a_name_is_html(own, photo):
    import dataclasses

    evil = ("<script>alert(1)</script>", "a & b", "\x1b[31m")
    files = {name: own.read(name) for name in own.card.files}
    bundles.write(own.path, dataclasses.replace(own.card, class_names=evil), files)
    shown = googlenet.load(own.path).predict(photo)._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "a &amp; b" in shown
    assert "\x1b" not in shown
    assert shown.startswith("<p>\\x1b[31m</p><table><tr><th>class</th><th>probability</th></tr>")
    assert len(shown) < 1000


# Many at once.


def test_a_list_is_answered_by_a_list(classifier, photo):
    photos = sorted(photo.parent.glob("*.png"))[:3]
    for many in (photos, tuple(photos)):
        answers = classifier.predict(many)
        assert isinstance(answers, list)
        assert answers == [classifier.predict(each) for each in photos]
    assert classifier.predict([]) == []


def test_probabilities_and_embeddings_are_arrays(classifier, photo):
    photos = sorted(photo.parent.glob("*.png"))[:3]
    found = classifier.probabilities(iter(photos))
    assert (found.shape, found.dtype) == ((3, 3), np.float32)
    np.testing.assert_array_equal(found, [each.probabilities for each in classifier.predict(photos)])
    assert classifier.probabilities([]).shape == (0, 3)
    one, many = classifier.embed(photo), classifier.embed(photos)
    assert (one.ndim, one.dtype) == (1, np.float32)
    assert many.shape == (3, len(one))
    np.testing.assert_allclose(many, [classifier.embed(each) for each in photos], atol=1e-5)
    assert classifier.embed([]).shape == (0, len(one))


@pytest.mark.parametrize("ask", ["predict", "probabilities", "embed"])
def test_the_first_image_of_a_list_that_cannot_be_read_is_named(classifier, photo, ask):
    with pytest.raises(UnreadableImageError, match=r"nothing\.png does not exist"):
        getattr(classifier, ask)([photo, "nothing.png", photo])


@pytest.mark.parametrize("ask", ["predict_many", "embed_many", "probabilities"])
@pytest.mark.parametrize("wrong", ["a.jpg", b"abc", None, 5])
def test_what_is_no_list_is_said_at_once(classifier, ask, wrong):
    with pytest.raises(GoogLeNetError, match="many images are a list of them, got"):
        getattr(classifier, ask)(wrong)


@pytest.mark.parametrize("wrong", ["x", 1.5, None, True, 0, -1])
def test_a_batch_size_that_is_none_is_said_at_once(classifier, wrong):
    for ask in (classifier.predict_many, classifier.embed_many):
        with pytest.raises(GoogLeNetError, match=r"batch_size is a whole number of images, 1 or more, got"):
            ask([], batch_size=wrong)


def test_whole_numbers_of_numpy_are_whole_numbers_and_true_is_none(classifier, photo):
    assert len(classifier.predict(photo).top(np.int64(1))) == 1
    assert len(list(classifier.predict_many([photo], batch_size=np.int32(2)))) == 1
    with pytest.raises(GoogLeNetError, match="top takes a whole number of classes, 1 or more, got True"):
        classifier.predict(photo).top(True)


def test_an_empty_path_is_said(classifier, photo):
    for ask in (classifier.predict, classifier.embed, classifier.heatmap):
        with pytest.raises(UnreadableImageError, match="an empty path names no image"):
            ask("")
    _, error = classifier.predict_many([photo, ""])
    assert str(error) == "an empty path names no image: give the path of one"
