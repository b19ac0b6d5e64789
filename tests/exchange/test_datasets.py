"""Named sets, through torchvision's own loaders, on tiny files in the real formats; nothing is downloaded."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torchvision import datasets

import googlenet
from googlenet.data.datasets import NAMED, folder_of
from googlenet.data.opening import open_data
from googlenet.errors import DataError, FetchError
from googlenet.exchange import datasets as fetching

FLOWERS = datasets.Flowers102._file_dict


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """Keep the sets in a folder of their own, and let no connection through: every proxy is a closed port."""
    monkeypatch.setenv("GOOGLENET_DATA", str(tmp_path / "sets"))
    for scheme in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)


def write_idx(path, array):
    """Write an array as MNIST's files hold it: http://yann.lecun.com/exdb/mnist, at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
    path.write_bytes(head + array.tobytes())


def write_mnist(folder, train=40, test=20):
    rng = np.random.default_rng(0)
    pixels, labels = {}, {}
    for part, count in (("train", train), ("t10k", test)):
        pixels[part] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels[part] = (np.arange(count) % 10).astype(np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte", pixels[part])
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels[part])
    return pixels, labels


def image(path, colour="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)


def test_every_name_has_a_source_and_says_where_it_is_looked_for(tmp_path):
    assert tuple(fetching._SOURCES) == NAMED
    for name in NAMED:
        with pytest.raises(DataError) as caught:
            open_data(name)
        assert str(caught.value).startswith(f"{name} is not in {tmp_path / 'sets' / name}: ")
        assert str(caught.value).isprintable()
        assert "--download" in str(caught.value)


@pytest.mark.parametrize("name", [name for name in NAMED if name != "imagenet"])
def test_without_a_connection_it_is_said_in_one_line(name, tmp_path):
    with pytest.raises(FetchError) as caught:
        googlenet.fetch(name)
    assert str(caught.value).startswith(f"{name} could not be fetched to {tmp_path / 'sets' / name}: ")
    assert str(caught.value).endswith(
        ": check the connection, delete what is damaged there if anything is, and try again"
    )
    assert str(caught.value).isprintable()
    with pytest.raises(DataError, match=r"--download fetches it$"):
        open_data(name)


def test_imagenet_must_be_put_there_by_hand_and_how_is_said(tmp_path):
    with pytest.raises(FetchError, match=r"ILSVRC2012_devkit_t12\.tar\.gz is not present .* put them there") as caught:
        googlenet.fetch("imagenet")
    assert str(caught.value).isprintable()
    with pytest.raises(DataError, match=r"ILSVRC2012_img_train\.tar, .* from image-net\.org and put them there, then"):
        open_data("imagenet")


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnist_is_train_and_the_official_test_as_val_pixel_for_pixel(name, folder):
    pixels, labels = write_mnist(folder_of(name) / folder / "raw")
    calls = []
    path = googlenet.fetch(name, lambda done, total: calls.append((done, total)))
    assert path == folder_of(name) / "list.csv"
    assert calls == [(n, 60) for n in range(1, 61)]
    data = open_data(name)
    assert (data.name, data.made_here, data.multi_label) == (name, False, False)
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 40, "val": 20}
    assert sorted(data.class_names) == sorted(getattr(datasets, folder).classes)
    for split, part in (("train", "train"), ("val", "t10k")):
        for item, image, label in zip(data.split(split).items, pixels[part], labels[part], strict=True):
            assert data.class_names[item.label] == getattr(datasets, folder).classes[label]
            assert (item.read() == image[:, :, None]).all()
    before = path.stat().st_mtime_ns
    assert googlenet.fetch(name) == path
    assert path.stat().st_mtime_ns == before


def test_archives_that_were_put_there_are_taken_only_if_they_are_the_real_ones():
    raw = folder_of("mnist") / "MNIST" / "raw"
    write_mnist(raw)
    for file in list(raw.iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    with pytest.raises(FetchError, match="could not be fetched"):  # of another checksum: fetched anew, which fails
        googlenet.fetch("mnist")


def test_a_damaged_file_is_one_line_and_leaves_no_list():
    raw = folder_of("mnist") / "MNIST" / "raw"
    write_mnist(raw)
    images = raw / "t10k-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-100])
    with pytest.raises(FetchError, match=r"mnist could not be fetched to .* delete what is damaged there") as caught:
        googlenet.fetch("mnist")
    assert str(caught.value).isprintable()
    assert not (folder_of("mnist") / "list.csv").exists()


def test_cifar_of_another_checksum_is_never_unpickled(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harmed"),)

    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"]:
        path = folder_of("cifar10") / "cifar-10-batches-py" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(Harm()))
    with pytest.raises(FetchError):
        googlenet.fetch("cifar10")
    assert not (tmp_path / "harmed").exists()


def test_food101_is_listed_where_it_lies():
    root = folder_of("food101") / "food-101"
    for split, numbers in (("train", (1, 2)), ("test", (3,))):
        listed = {food: [f"{food}/{n}" for n in numbers] for food in ("apple_pie", "sushi")}
        (root / "meta").mkdir(parents=True, exist_ok=True)
        (root / "meta" / f"{split}.json").write_text(json.dumps(listed))
        for name in (name for names in listed.values() for name in names):
            image(root / "images" / f"{name}.jpg")
    googlenet.fetch("food101")
    data = open_data("food101")
    assert data.class_names == ("apple_pie", "sushi")
    assert [item.name for item in data.val.items] == ["food-101/images/apple_pie/3.jpg", "food-101/images/sushi/3.jpg"]
    assert len(data.train) == 4


def test_oxford_pets_are_listed_with_the_names_of_the_breeds():
    root = folder_of("oxford-pets") / "oxford-iiit-pet"
    breeds = {"Abyssinian": (1, 1), "great_pyrenees": (2, 2)}
    (root / "annotations").mkdir(parents=True)
    for split, number in (("trainval", 1), ("test", 2)):
        lines = [f"{breed}_{number} {label} {kind} 1" for breed, (label, kind) in breeds.items()]
        (root / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")
        for breed in breeds:
            image(root / "images" / f"{breed}_{number}.jpg")
    googlenet.fetch("oxford-pets")
    data = open_data("oxford-pets")
    assert data.class_names == ("Abyssinian", "Great Pyrenees")
    assert [item.path.stem for item in data.train.items] == ["Abyssinian_1", "great_pyrenees_1"]
    assert [item.path.stem for item in data.val.items] == ["Abyssinian_2", "great_pyrenees_2"]


def write_imagenette():
    for split in ("train", "val"):
        for wnid in datasets.Imagenette._WNID_TO_CLASS:
            image(folder_of("imagenette") / "imagenette2" / split / wnid / "1.JPEG")


def test_imagenette_that_was_cut_short_is_not_taken_for_whole():
    write_imagenette()
    with pytest.raises(FetchError, match="is not whole: it has 10 images of train and should have 9,469; delete"):
        googlenet.fetch("imagenette")


def test_imagenettes_classes_have_the_names_that_published_weights_have(monkeypatch):
    from torchvision.models import GoogLeNet_Weights

    write_imagenette()
    tiny = dataclasses.replace(fetching._SOURCES["imagenette"], sizes={"train": 10, "val": 10})
    monkeypatch.setitem(fetching._SOURCES, "imagenette", tiny)
    googlenet.fetch("imagenette")
    data = open_data("imagenette")
    assert len(data.class_names) == 10
    assert set(data.class_names) <= set(GoogLeNet_Weights.IMAGENET1K_V1.meta["categories"])


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_cifar_whose_checksums_are_right_becomes_png_files(monkeypatch):
    base = folder_of("cifar10") / "cifar-10-batches-py"
    base.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), np.uint8)
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    for image, (label, name) in zip(pixels, enumerate(names), strict=True):
        (base / name).write_bytes(pickle.dumps({"data": image.reshape(1, -1), "labels": [label % 5]}))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcde")}))
    sums = [[name, md5(base / name)] for name in names]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(datasets.CIFAR10, "meta", datasets.CIFAR10.meta | {"md5": md5(base / "batches.meta")})
    googlenet.fetch("cifar10")
    data = open_data("cifar10")
    assert [data.class_names[item.label] for item in data.split("all").items] == list("abcdea")
    for item, image in zip(data.split("all").items, pixels, strict=True):
        assert (item.read() == image.transpose(1, 2, 0)).all()


def test_flowers_keep_all_three_official_splits_and_have_real_names(monkeypatch):
    base = folder_of("flowers102") / "flowers-102"
    for number in (1, 2, 3):
        image(base / "jpg" / f"image_{number:05d}.jpg")
    scipy.io.savemat(base / "imagelabels.mat", {"labels": [[1, 1, 1]]})
    scipy.io.savemat(base / "setid.mat", {"trnid": [[1, 2]], "valid": [[3, 2]], "tstid": [[2, 1]]})
    known = {key: (name, md5(base / name) if key != "image" else "") for key, (name, _) in FLOWERS.items()}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", known)
    with googlenet.fetch("flowers102").open(encoding="utf-8", newline="") as file:
        rows = [(Path(row["path"]).stem[-1], row["label"], row["split"]) for row in csv.DictReader(file)]
    flower = "pink primrose"
    assert rows == [
        ("1", flower, "train"), ("2", flower, "train"), ("3", flower, "val"), ("2", flower, "val"),
        ("2", flower, "test"), ("1", flower, "test"),
    ]  # fmt: skip


def test_imagenet_that_was_unpacked_there_has_the_names_that_published_weights_have(monkeypatch):
    folder, wnids = folder_of("imagenet"), ("n01440764", "n01443537")
    for path in (f"{split}/{wnid}/1.JPEG" for split in ("train", "val") for wnid in wnids):
        image(folder / path)
    torch.save(({wnid: (wnid,) for wnid in wnids}, []), folder / "meta.bin")
    tiny = dataclasses.replace(fetching._SOURCES["imagenet"], sizes={})
    monkeypatch.setitem(fetching._SOURCES, "imagenet", tiny)
    googlenet.fetch("imagenet")
    data = open_data("imagenet")
    assert data.class_names == ("goldfish", "tench")
    assert [item.path.parent.name for item in data.val.items if data.class_names[item.label] == "tench"] == [wnids[0]]


def test_a_folder_of_the_same_name_goes_before_the_set(tmp_path):
    for name in (f"{cls}/{n}.jpg" for cls in ("cat", "dog") for n in range(40)):
        (tmp_path / "mnist" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mnist" / name).touch()
    assert open_data("mnist").class_names == ("cat", "dog")
    with pytest.raises(DataError, match="mnist is a folder here, which goes before the set of that name: leave --down"):
        googlenet.fetch("mnist")


def test_what_is_no_named_set_cannot_be_fetched():
    for name, says in (
        ("photos", "allowed: cifar10, cifar100,"),
        ("cifar-10", "did you mean 'cifar10'"),
        ("digits", ""),
    ):
        with pytest.raises(DataError, match=f"^{name} is none of the sets that can be fetched: .*{says}"):
            googlenet.fetch(name)


@pytest.mark.skipif(sys.platform != "linux", reason="each system has a place of its own")
def test_unless_told_otherwise_sets_are_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("GOOGLENET_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert folder_of("mnist") == tmp_path / "cache/googlenet/data/mnist"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert folder_of("mnist") == Path.home() / ".cache/googlenet/data/mnist"


def test_the_list_is_plain_csv():
    write_mnist(folder_of("mnist") / "MNIST" / "raw")
    with googlenet.fetch("mnist").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[:2] == [["path", "label", "split"], ["train/00000.png", "0 - zero", "train"]]


# From the command line


def test_train_and_evaluate_with_download(call, tmp_path):
    write_mnist(folder_of("mnist") / "MNIST" / "raw", train=80, test=20)
    options = ["--network", "lenet5", "--epochs", "1", "--batch-size", "16"]
    code, out, err = call("train", "mnist", "--download", "--out", "run", *options)
    assert code == 0, err
    assert "80 training images of 10 classes, 20 held out" in err
    code, out, err = call("evaluate", "run", "mnist", "--download")
    assert code == 0, err
    assert "on 20 images (val of mnist, fp32)" in out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train", "mnist", "--out", "run"], 2, "--download fetches it"),
        (["train", "mnist", "--out", "run", "--download"], 1, "mnist could not be fetched to"),
        (["train", "photos", "--out", "run", "--download"], 2, "photos is none of the sets that can be fetched"),
        (["train", "digits", "--out", "run", "--download"], 2, "digits is none of the sets that can be fetched"),
        (["train", "cifar10", "--out", "run", "--download"], 2, "cifar10 is a folder here"),
        (["train", "minst", "--out", "run"], 2, "minst does not exist: DATA is a folder with"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing_behind(call, tmp_path, arguments, code, says):
    (tmp_path / "photos").mkdir()
    (tmp_path / "cifar10").mkdir()
    given, out, err = call(*arguments)
    assert (given, out) == (code, "")
    assert err.startswith("googlenet: ")
    assert err.count("\n") == 1
    assert says in err
    assert not (tmp_path / "run").exists()
