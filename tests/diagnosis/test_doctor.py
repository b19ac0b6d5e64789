"""`doctor`: a folder with every ailment at once, a healthy one, clean copies, and wrong uses."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

import googlenet
from googlenet.data.opening import open_data
from googlenet.diagnosis.clean import clean
from googlenet.diagnosis.findings import CHECKS
from googlenet.errors import DataError, MissingExtraError, RunError


def image(seed, width=48, height=48):
    """An image of soft shapes, like no other: noise enlarged."""
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def write(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def fill(root, counts, first=0):
    seed = first
    for place, count in counts.items():
        for number in range(count):
            write(root / place / f"{number:03d}.png", image(seed := seed + 1))
    return root


def contents(root):
    return {p.relative_to(root): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def healthy(tmp_path):
    counts = {"train/cat": 12, "train/dog": 12, "val/cat": 3, "val/dog": 3}
    return fill(tmp_path / "photos", counts)


def turned(path, seed, **options):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return write(path, image(seed, 50, 46), exif=exif, **options)


@pytest.fixture
def ailing(healthy):
    """Everything that can be cured is wrong with it."""
    cat, dog, held = healthy / "train" / "cat", healthy / "train" / "dog", healthy / "val" / "cat"
    (cat / "text.jpg").write_text("no image")
    write(cat / "cut.png", image(900, 300, 300))
    (cat / "cut.png").write_bytes((cat / "cut.png").read_bytes()[:9000])
    (cat / "nowhere.jpg").symlink_to("missing.jpg")
    write(cat / "png.jpg", image(901), format="PNG")
    write(cat / "both.jpg", image(902), format="PNG")  # its right name is taken
    write(cat / "both.png", image(903))
    (cat / "again.png").write_bytes((cat / "000.png").read_bytes())
    write(dog / "reencoded.bmp", Image.open(dog / "000.png"))  # the same pixels in another file
    (dog / "seen.png").write_bytes((held / "000.png").read_bytes())
    (held / "seen.png").write_bytes((held / "000.png").read_bytes())
    write(dog / "cat.png", image(904))
    write(cat / "dog.png", image(904))
    turned(dog / "turned.jpg", 905)
    turned(dog / "turned.webp", 906, lossless=True)
    write(dog / "near.jpg", Image.open(healthy / "val" / "dog" / "001.png"), quality=80)
    write(dog / "small.png", image(907, 20, 24))
    write(dog / "grey.png", image(908).convert("L"))
    write(dog / "black.png", Image.new("RGB", (48, 48), (3, 3, 3)))
    (healthy / "train" / "cat" / "notes.txt").write_text("")
    (healthy / "loose.png").write_bytes((cat / "001.png").read_bytes())
    return healthy


def found(findings):
    return {kind: [finding.names for finding in findings.of(kind)] for kind in CHECKS if findings.of(kind)}


def test_nothing_is_wrong_with_a_healthy_folder(healthy, call):
    findings = googlenet.doctor(healthy)
    assert findings.items == ()
    assert not findings.harmful
    assert (findings.images, findings.classes, findings.splits) == (30, 2, {"train": 24, "val": 6})
    code, out, err = call("doctor", healthy)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "no problems found"


def test_every_ailment_is_found_and_nothing_else(ailing):
    before = contents(ailing)
    findings = googlenet.doctor(ailing)
    assert found(findings) == {
        "unreadable": [("train/cat/cut.png",), ("train/cat/nowhere.jpg",), ("train/cat/text.jpg",)],
        "two_classes": [
            ("train/cat/dog.png", "train/dog/cat.png"),
            ("train/dog/seen.png", "val/cat/000.png", "val/cat/seen.png"),
        ],
        "leak": [("train/dog/seen.png", "val/cat/000.png", "val/cat/seen.png")],
        "near_leak": [("train/dog/near.jpg", "val/dog/001.png")],
        "duplicate": [("train/cat/000.png", "train/cat/again.png"), ("train/dog/000.png", "train/dog/reencoded.bmp")],
        "blank": [("train/dog/black.png",)],
        "tiny": [("train/dog/small.png",)],
        "grey": [("train/dog/grey.png",)],
        "turned": [("train/dog/turned.jpg",), ("train/dog/turned.webp",)],
        "wrong_suffix": [("train/cat/both.jpg",), ("train/cat/png.jpg",)],
        "ignored": [("loose.png",), ("train/cat/notes.txt",)],
    }
    assert [one.detail for one in findings.of("duplicate")] == ["identical files", "the same pixels"]
    assert findings.harmful
    assert contents(ailing) == before


def left_out(ailing):
    """What is said on stderr."""
    return [
        f"{ailing}: left out 1 image beside the folders (loose.png): put each into the folder of its class",
        f"{ailing}: left out 1 file that is no image (.txt 1: train/cat/notes.txt)",
    ]


def test_the_report_is_for_people_and_for_programs(ailing, call):
    code, out, err = call("doctor", ailing)
    assert code == 1
    assert err.splitlines() == left_out(ailing)
    assert "harm" in out
    for kind in ("unreadable", "leak", "tiny", "ignored"):
        assert CHECKS[kind].title in out
    code, out, err = call("doctor", ailing, "--json")
    report = json.loads(out)
    assert (code, err.splitlines()) == (1, left_out(ailing))
    assert report["harmful"]
    assert len(report["findings"]) == len(googlenet.doctor(ailing).items)
    assert report["findings"][0]["kind"] == "unreadable"
    assert set(report["findings"][0]) == {"kind", "severity", "names", "detail", "fix"}


def test_the_worst_pairs_are_drawn(ailing, healthy, tmp_path, call):
    code, _, _ = call("doctor", ailing, "--plot", tmp_path / "doctor.png")
    assert code == 1
    with Image.open(tmp_path / "doctor.png") as image:
        assert min(image.size) > 400


def test_where_no_two_are_alike_nothing_is_drawn(healthy, tmp_path, call):
    code, _, err = call("doctor", healthy, "--plot", tmp_path / "doctor.png")
    assert (code, err) == (0, "nothing to draw: no two images are alike\n")
    assert not (tmp_path / "doctor.png").exists()


def test_advice_alone_is_no_failure(healthy, call):
    write(healthy / "train" / "cat" / "small.png", image(1000, 16, 16))
    assert call("doctor", healthy)[0] == 0
    assert len(googlenet.doctor(healthy, image_size=64).of("tiny")) == 31


# What train refuses, and classes.


def test_folders_that_do_not_agree(healthy):
    fill(healthy, {"val/Cat": 2, "test/bird": 1}, first=2000)
    (healthy / "train" / "fish").mkdir()
    (healthy / "val" / "cat" / "broken.jpg").write_text("no image")
    findings = googlenet.doctor(healthy)
    assert found(findings) == {
        "refused": [()],
        "class_mismatch": [("val/Cat",), ("test/bird",)],
        "empty_class": [("train/fish",)],
        "unreadable": [("val/cat/broken.jpg",)],
        "similar_names": [("Cat", "cat")],
    }
    assert findings.of("class_mismatch")[0].detail == "train has no Cat, it has cat, dog, fish"
    assert findings.harmful


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"Train/cat": 2, "valid/cat": 2}, "look like splits"),
        ({"cat": 30}, "one class only"),
        ({"": 3}, "4 images but no sub-folders"),
    ],
    ids=["splits misnamed", "one class", "no classes"],
)
def test_what_train_refuses_is_said_as_train_says_it_beside_the_rest(tmp_path, counts, words):
    fill(tmp_path / "photos", counts)
    (tmp_path / "photos" / next(iter(counts)) / "bad.jpg").write_text("")
    findings = googlenet.doctor(tmp_path / "photos")
    assert words in findings.of("refused")[0].detail
    with pytest.raises(DataError, match=words):
        open_data(tmp_path / "photos")
    assert findings.of("unreadable") or findings.of("ignored")


def test_few_and_unequal_classes_and_names_that_are_nearly_one(tmp_path):
    counts = {"train/cat": 100, "train/cats": 12, "train/Fire Truck": 12, "train/fire_truck": 5, "train/glass": 11}
    fill(tmp_path, counts | {f"val/{place[6:]}": 2 for place in counts if place != "train/glass"})
    findings = googlenet.doctor(tmp_path)
    assert found(findings) == {
        "similar_names": [("Fire Truck", "fire_truck"), ("cat", "cats")],
        "small_class": [("fire_truck",), ("glass",)],
        "imbalance": [("cat", "fire_truck")],
    }
    details = [one.detail for one in findings.of("small_class")]
    assert details == ["5 images for training", "none is held out, so its accuracy cannot be measured"]
    assert findings.of("imbalance")[0].detail == "100 of cat, 5 of fire_truck: 20 to 1"
    assert not findings.harmful


def test_what_the_centre_crop_would_lose(healthy):
    for number in range(6):
        write(healthy / "train" / "cat" / f"wide{number}.png", image(3000 + number, 96, 48))
    (finding,) = googlenet.doctor(healthy).items
    assert finding.kind == "crop_loss"
    assert len(finding.names) == 6
    assert finding.detail == "17% of the images lose more than a quarter of their area, the median image 0%"
    assert "--resize pad" in CHECKS["crop_loss"].fix


def test_a_split_made_by_name_is_examined_as_train_makes_it(tmp_path):
    fill(tmp_path, {"cat": 30, "dog": 30})
    data = open_data(tmp_path)
    (tmp_path / "copy.png").write_bytes(data.val.items[0].path.read_bytes())
    copy = (tmp_path / "copy.png").rename(data.train.items[0].path)
    (leak,) = googlenet.doctor(tmp_path).of("leak")
    assert set(leak.names) == {copy.relative_to(tmp_path).as_posix(), data.val.items[0].name}
    other = googlenet.doctor(tmp_path, seed=7)
    assert other.splits == googlenet.doctor(tmp_path).splits  # so many of each class, but others
    assert {look.entry.name for look in other.facts if look.entry.split == "val"} != {i.name for i in data.val.items}


def test_digits_are_examined_too(call):
    code, out, _ = call("doctor", "digits", "--json")
    assert code == 0
    assert {finding["kind"] for finding in json.loads(out)["findings"]} == {"tiny"}


def test_odd_names_are_printed_on_one_line(healthy, call):
    bad = os.fsdecode(b"\xff\n.jpg")
    (healthy / "train" / "cat" / bad).write_text("no image")
    code, out, _ = call("doctor", healthy, "--json")
    assert code == 1
    assert json.loads(out)["findings"][0]["names"] == ["train/cat/\\udcff\\n.jpg"]
    assert call("doctor", healthy)[0] == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_named_like_an_image_does_not_hang(healthy):
    os.mkfifo(healthy / "train" / "cat" / "pipe.jpg")
    (finding,) = googlenet.doctor(healthy).items
    assert finding.kind == "unreadable"
    assert finding.detail == "is a FIFO, not an image"


# Near copies.


def test_copies_are_known_when_reencoded_resized_and_cropped(healthy):
    train = healthy / "train" / "cat"
    with Image.open(healthy / "val" / "cat" / "002.png") as image:
        image = image.convert("RGB")
        write(train / "jpeg.jpg", image, quality=50)
        write(train / "large.png", image.resize((120, 120)))
        write(train / "cropped.png", image.crop((1, 1, 47, 47)))
    pairs = [one.names for one in googlenet.doctor(healthy).of("near_leak")]
    assert {names[0] for names in pairs} == {f"train/cat/{name}" for name in ("jpeg.jpg", "large.png", "cropped.png")}
    assert {names[1] for names in pairs} == {"val/cat/002.png"}


def test_known_duplicates_of_cifar10_are_found_and_little_else(cifar):
    """CIFAR-10 is known for its near duplicates; all that are found here were looked at: none is a mistake."""
    findings = googlenet.doctor(cifar / "val")
    assert found(findings)["near_duplicate"]
    assert len(findings.of("near_duplicate") + findings.of("near_leak") + findings.of("near_two_classes")) < 5


# The clean copy.


def test_a_clean_copy_is_clean_and_trains_and_its_source_is_untouched(ailing, tmp_path, call, tiny):
    before = contents(ailing)
    code, out, err = call("doctor", ailing, "--fix", tmp_path / "clean")
    assert (code, err.splitlines()) == (0, left_out(ailing))
    assert "clean copy:" in out
    assert contents(ailing) == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    copy = googlenet.doctor(tmp_path / "clean")
    assert set(found(copy)) == {"near_leak", "blank", "tiny", "grey"}  # for people to decide
    assert not copy.harmful
    report = json.loads((tmp_path / "clean" / "doctor.json").read_text("utf-8"))
    done = {deed["name"]: (deed["done"], deed["to"]) for deed in report["done"]}
    assert done["train/cat/001.png"] == ("copied", "train/cat/001.png")
    assert done["train/cat/png.jpg"] == ("renamed", "train/cat/png.png")
    assert done["train/cat/both.jpg"] == ("renamed", "train/cat/both_1.png")
    assert done["train/dog/turned.jpg"] == ("turned", "train/dog/turned.jpg")
    assert done["train/dog/turned.webp"] == ("turned", "train/dog/turned.png")
    out_of = {name for name, (deed, _) in done.items() if deed == "left out"}
    assert out_of == {f"train/cat/{name}" for name in ("cut.png", "nowhere.jpg", "text.jpg", "again.png", "dog.png")} \
        | {f"train/dog/{name}" for name in ("reencoded.bmp", "seen.png", "cat.png")} \
        | {"val/cat/000.png", "val/cat/seen.png"}  # fmt: skip
    assert {str(p) for p in contents(tmp_path / "clean")} == {to for _, to in done.values() if to} | {"doctor.json"}
    assert googlenet.train(tmp_path / "clean", tmp_path / "run", network=tiny, epochs=1, batch_size=8)


def test_images_are_turned_without_loss_where_the_format_allows(ailing, tmp_path):
    from googlenet.images.decode import decode

    clean(googlenet.doctor(ailing), tmp_path / "clean")
    there, here = ailing / "train" / "dog", tmp_path / "clean" / "train" / "dog"
    np.testing.assert_array_equal(decode(there / "turned.webp"), decode(here / "turned.png"))
    assert np.abs(decode(there / "turned.jpg").astype(int) - decode(here / "turned.jpg")).mean() < 4
    with Image.open(here / "turned.jpg") as image:
        assert image.size == (46, 50)
        assert not image.getexif()


def test_of_a_leak_the_held_out_image_stays(healthy, tmp_path):
    content = (healthy / "val" / "cat" / "000.png").read_bytes()
    (healthy / "train" / "cat" / "a.png").write_bytes(content)
    (healthy / "test" / "cat").mkdir(parents=True)
    (healthy / "test" / "cat" / "z.png").write_bytes(content)
    clean(googlenet.doctor(healthy), tmp_path / "clean")
    assert (tmp_path / "clean" / "test" / "cat" / "z.png").read_bytes() == content
    assert not (tmp_path / "clean" / "val" / "cat" / "000.png").exists()
    assert not (tmp_path / "clean" / "train" / "cat" / "a.png").exists()


def test_a_clean_list(ailing, tmp_path, call):
    code, _, _ = call("doctor", ailing, "--fix", tmp_path / "lists" / "clean.csv")
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "lists").iterdir()) == ["clean.csv", "clean.doctor.json"]
    with (tmp_path / "lists" / "clean.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "split"]
    folder = clean(googlenet.doctor(ailing), tmp_path / "clean")
    assert len(rows) == sum(action.done != "left out" for action in folder.actions)
    for row in rows:
        assert Path(row["path"]).is_file()
        assert Path(row["path"]).relative_to(ailing).parts[:2] == (row["split"], row["label"])
    assert "listed" in (tmp_path / "lists" / "clean.doctor.json").read_text("utf-8")


@pytest.mark.parametrize(
    "name", ["train/cat|dog/a.png", os.fsdecode(b"train/cat/\xff.png")], ids=["between", "not UTF-8"]
)
def test_a_name_that_no_list_can_hold_is_one_line(healthy, tmp_path, name):
    write(healthy / name, image(6000))
    with pytest.raises(DataError, match=r"cannot be named in a list, which is UTF-8 with \| between"):
        clean(googlenet.doctor(healthy), tmp_path / "clean.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]
    assert (clean(googlenet.doctor(healthy), tmp_path / "clean").path / name).is_file()


@pytest.mark.parametrize("out", ["clean", "clean.csv"])
def test_a_copy_that_train_still_refuses_is_a_failure(healthy, tmp_path, call, out):
    fill(healthy, {"val/Cat": 1}, first=4000)
    code, printed, err = call("doctor", healthy, "--fix", tmp_path / out, "--json")
    assert code == 1
    assert json.loads(printed)["findings"][0]["kind"] == "refused"
    assert "train would refuse it: " in err
    assert "lacks: Cat" in err


def test_a_class_of_which_nothing_is_left_is_said(healthy, tmp_path, call):
    for path in (healthy / "train" / "dog").iterdir():
        path.write_text("no image")
    code, printed, _ = call("doctor", healthy, "--fix", tmp_path / "clean")
    assert code == 1
    assert "train would refuse it: " in printed
    assert "lacks: dog" in printed


# Wrong uses, and what goes wrong on the way.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing"], "missing does not exist: DATA is a folder"),
        (["photos/train/cat/000.png"], "is not a folder"),
        (["photos", "--fix", "photos/clean"], "lies inside photos, which is never written to"),
        (["photos", "--fix", "photos"], "lies inside photos"),
        (["photos", "--fix", "full"], "full already exists: give a new or empty folder"),
        (["photos", "--fix", "there.csv"], "there.csv already exists"),
        (["photos", "--fix", "new.csv"], "new.doctor.json already exists"),
        (["photos", "--fix", "full/file"], "full/file already exists"),
        (["digits", "--fix", "clean"], "digits has no image files that could be kept"),
        (["photos", "--image-size", "0"], "--image-size"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_uses_are_one_line(healthy, tmp_path, call, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    for name in ("full/file", "there.csv", "new.doctor.json"):
        (tmp_path / name).write_text("")
    before = contents(tmp_path)
    code, _, err = call("doctor", *arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert contents(tmp_path) == before


def test_an_empty_folder_is_taken(healthy, tmp_path):
    (tmp_path / "clean").mkdir()
    cleaned = clean(googlenet.doctor(healthy), tmp_path / "clean")
    assert cleaned.counts() == {"copied": 30}
    assert repr(cleaned) == f"Cleaned({str(tmp_path / 'clean')!r}, 30 copied)"


def test_a_place_that_cannot_be_written_is_one_line(healthy, tmp_path, call):
    (tmp_path / "file").write_text("")
    code, _, err = call("doctor", healthy, "--fix", tmp_path / "file" / "clean")
    assert code == 1
    assert f"clean cannot be written: {tmp_path / 'file'} is not a folder" in err
    (healthy / "train" / "cat" / "copy.png").write_bytes((healthy / "train" / "cat" / "000.png").read_bytes())
    code, _, err = call("doctor", healthy, "--plot", tmp_path / "file" / "doctor.png")
    assert code == 1
    assert "doctor.png cannot be written" in err


def test_an_image_that_changes_meanwhile_is_one_line_and_leaves_nothing(healthy, tmp_path):
    findings = googlenet.doctor(healthy)
    (healthy / "train" / "cat" / "004.png").unlink()
    with pytest.raises(DataError, match=r"004.png cannot be read any more"):
        clean(findings, tmp_path / "clean")
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


def test_several_classes_fit_into_a_list_not_into_folders(healthy, tmp_path):
    import dataclasses

    findings = googlenet.doctor(healthy)
    first, *rest = findings.facts
    both = dataclasses.replace(first, entry=dataclasses.replace(first.entry, classes=("cat", "dog")))
    findings = dataclasses.replace(findings, data=str(tmp_path / "list.csv"), facts=(both, *rest))
    with pytest.raises(DataError, match=r"is of cat, dog, which no one folder .* file that ends in .csv"):
        clean(findings, tmp_path / "clean")
    clean(findings, tmp_path / "clean.csv")
    assert ",cat|dog,train\n" in (tmp_path / "clean.csv").read_text("utf-8")


COPY = """
import sys, googlenet
from googlenet.diagnosis import clean
findings = googlenet.doctor(sys.argv[1])
{before}
clean.clean(findings, sys.argv[2], progress=lambda what, done, total: print(done, flush=True))
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(healthy, tmp_path):
    """A limit on the size of files stands for the full disk: both come as an error of writing."""
    before = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    before += "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"
    command = [sys.executable, "-c", COPY.format(before=before), str(healthy), str(tmp_path / "clean")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert RunError.__name__ in ended.stderr.splitlines()[-1]
    assert "clean cannot be written: the file would be larger than is allowed there" in ended.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


def test_killed_on_the_way_nothing_lies_under_the_name(healthy, tmp_path):
    fill(healthy, {"train/cat": 400}, first=5000)
    command = [sys.executable, "-c", COPY.format(before=""), str(healthy), str(tmp_path / "clean")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.kill()
    assert not (tmp_path / "clean").exists()
    assert clean(googlenet.doctor(healthy), tmp_path / "clean").counts() == {"copied": 418}


def test_a_missing_library_is_one_line(healthy, monkeypatch, call):
    monkeypatch.setitem(sys.modules, "imagehash", None)
    for name in [name for name in sys.modules if name.startswith("googlenet.diagnosis")]:
        monkeypatch.delitem(sys.modules, name)
    code, _, err = call("doctor", healthy)
    assert code == 1
    assert err == f"googlenet: {MissingExtraError('train', 'imagehash')}\n"
