"""Training images that a bundle keeps where the user says so: the nearest, what others see, what is refused."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet import bundle as bundles
from googlenet.bundle import NEIGHBOURS
from googlenet.errors import BundleError, GoogLeNetError
from googlenet.inference.neighbours import MAX_IMAGES, THUMBNAIL, Neighbours, read_neighbours, thumbnail_of, unit
from googlenet.models.zoo import NETWORKS
from tests.conftest import TINY, write_coloured_classes
from tests.explaining.test_maps import narrow


@pytest.fixture(scope="module")
def keeping(tmp_path_factory):
    """A run whose bundle keeps its training images."""
    root = tmp_path_factory.mktemp("keeping")
    photos = write_coloured_classes(root / "photos", per_class=20)
    googlenet.train(photos, root / "run", recipe="default", network=TINY, epochs=2, batch_size=8, workers=0,
                    precision="fp32", keep_neighbours=True)  # fmt: skip
    return root / "run"


def test_a_training_image_is_nearest_to_itself_and_the_order_is_that_of_the_cosine(keeping, capsys):
    photos = keeping.parent / "photos"
    classifier = googlenet.load(keeping, "fp32")
    kept = read_neighbours(classifier.bundle)
    split = (keeping / "split.csv").read_text("utf-8")
    trained = [line for line in split.splitlines()[1:] if line.startswith("train,") or ",train," in line]
    assert len(kept.names) == len(trained) <= MAX_IMAGES
    for name in kept.names[::11]:
        found = classifier.neighbours(photos / name, count=4)
        assert (found[0].name, found[0].labels) == (name, (name.split("/")[0],))
        assert found[0].similarity == pytest.approx(1, abs=2e-3)
    image = photos / kept.names[0]
    found = classifier.predict(image).neighbours(len(kept.names))
    embeddings = np.stack(classifier.embed([photos / name for name in kept.names]))
    mine = classifier.embed(image)
    cosine = embeddings @ mine / np.linalg.norm(embeddings, axis=1) / np.linalg.norm(mine)
    similar = dict(zip(kept.names, cosine, strict=True))
    assert [each.similarity for each in found] == sorted((each.similarity for each in found), reverse=True)
    for each in found:
        assert each.similarity == pytest.approx(similar[each.name], abs=2e-3)
    pixels = found[0].pixels()
    assert max(pixels.shape) <= THUMBNAIL
    with Image.open(image) as original:
        assert np.abs(pixels.mean((0, 1)) - np.asarray(original.convert("RGB")).mean((0, 1))).max() < 8


def test_the_command_shows_them_and_train_says_who_sees_them(keeping, call, tmp_path):
    photo = keeping.parent / "photos" / "red" / "003.png"
    code, out, _ = call("explain", keeping, photo, "--out", tmp_path)
    assert code == 0
    assert out.splitlines()[1].startswith("  nearest training images: red ")
    (entry,) = json.loads((tmp_path / "003.json").read_text("utf-8"))
    assert [set(each) for each in entry["neighbours"]] == [{"name", "labels", "similarity"}] * 5
    with Image.open(tmp_path / "003.png") as sheet:
        alone = googlenet.load(keeping).explain(photo).image()
        assert sheet.height > alone.height + THUMBNAIL
        np.testing.assert_array_equal(np.asarray(sheet)[: alone.height], np.asarray(alone))
    assert googlenet.verify(keeping).images == 4


def test_a_folder_for_the_hub_has_none(keeping, tmp_path):
    folder = googlenet.push(keeping, "me/mine", folder=tmp_path / "hub")
    assert not (folder / NEIGHBOURS).exists()
    assert NEIGHBOURS not in googlenet.load(folder).card.files
    assert googlenet.load(keeping).has_neighbours


def test_a_bundle_keeps_none_by_default(trained_run):
    classifier = googlenet.load(trained_run)
    assert not classifier.has_neighbours
    assert NEIGHBOURS not in classifier.card.files
    with pytest.raises(BundleError, match="keeps no training images: train it with --keep-neighbours"):
        classifier.predict(trained_run.parent / "photos" / "red" / "001.png").neighbours()


def test_a_network_without_embeddings_is_refused_before_the_first_epoch(tmp_path):
    photos = write_coloured_classes(tmp_path / "photos", per_class=6)
    with pytest.raises(GoogLeNetError, match="keep_neighbours: the network has no embeddings"):
        googlenet.train(photos, tmp_path / "run", network=NETWORKS["nin"].rewrite(narrow), image_size=64, epochs=50,
                        batch_size=8, workers=0, precision="fp32", recipe="default", keep_neighbours=True)  # fmt: skip
    assert not (tmp_path / "run" / "log.csv").exists()


def sample(**changed):
    small = thumbnail_of(np.zeros((20, 30, 3), np.uint8))
    given = {"embeddings": np.eye(24)[:2], "names": ("a.png", "b.png"), "labels": ((0,), (1,)),
             "thumbnails": (small, small)}  # fmt: skip
    return Neighbours(**{**given, **changed})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": ((0,), (99,))}, "its images are not names with class numbers"),
        ({"names": ("a.png",), "labels": ((0,),)}, "it has 1 images, 2 embeddings, 2 lengths"),
        ({"embeddings": np.full((2, 24), np.nan)}, "embeddings is not finite"),
    ],
)
def test_what_is_none_of_ours_is_refused(trained_run, tmp_path, changed, said):
    bundle = bundles.read(trained_run)
    files = {name: bundle.read(name) for name in bundle.card.files}
    bad = sample(**changed).to_bytes()
    written = bundles.write(tmp_path / "bundle", bundle.card, {**files, NEIGHBOURS: bad})
    with pytest.raises(BundleError, match=rf"neighbours\.npz is damaged: {said}"):
        read_neighbours(written)


def test_lengths_that_do_not_add_up_are_refused(trained_run, tmp_path):
    bundle = bundles.read(trained_run)
    arrays = dict(np.load(io.BytesIO(sample().to_bytes())))
    arrays["lengths"] = arrays["lengths"] + np.array([1, -2], np.int32)
    content = io.BytesIO()
    np.savez(content, **arrays)
    files = {name: bundle.read(name) for name in bundle.card.files} | {NEIGHBOURS: content.getvalue()}
    with pytest.raises(BundleError, match="its thumbnails have other lengths"):
        read_neighbours(bundles.write(tmp_path / "bundle", bundle.card, files))


def test_unit_keeps_zeros_finite():
    assert np.isfinite(unit(np.zeros((2, 3)))).all()
