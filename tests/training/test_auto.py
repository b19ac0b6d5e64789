"""What ``--recipe auto`` chooses: by rules from facts, on many kinds of images, and in real trainings."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torchvision.models import resnet18

import googlenet
from googlenet.data.opening import open_data
from googlenet.errors import RecipeError, WeightsError
from googlenet.models import zoo
from googlenet.models.analysis import analyse, share_through
from googlenet.training import local_weights, speed
from googlenet.training.auto import RULES, choose, pick_weights
from googlenet.training.facts import Facts, facts_of
from googlenet.training.local_weights import Pretrained
from googlenet.training.recipe import Recipe
from googlenet.training.situation import Situation
from googlenet.training.speed import Speed

ROOT = Path(__file__).parents[2]
TWO_CORES = Speed(small=0.0035, large=0.03)  # seconds an image: two cores without AMX
TWO_WITH_AMX = Speed(small=0.0027, large=0.0167)
PHOTOS = Facts(train=1515, val=507, classes=6, smallest=78, largest=347, side=256)
SMALL = Facts(train=5000, val=2000, classes=10, smallest=500, largest=500, side=32)
INCEPTION = Pretrained("v3.pth", zoo.find("inception_v3"), "torchvision's cache", 299)
RESNET = Pretrained("r18.pth", zoo.find("resnet18"), "torchvision's cache", 224)


def chosen(facts, given=None, **others):
    return choose(Situation(facts, given or {}, **others))


# Facts: of images that were written here.

RNG = np.random.default_rng(0)


def photograph(side):
    """Smooth colours with noise."""
    small = RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(small).resize((side + 16, side), Image.Resampling.BICUBIC), np.int16)
    return np.clip(image + RNG.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def scan(side):
    """A grey radiograph: dark at the edges, all levels within."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    return np.clip(230 * np.exp(-2 * (x**2 + y**2)) + RNG.normal(0, 12, x.shape), 0, 255).astype(np.uint8)


def page(side):
    """Lines of text on slightly yellow paper."""
    image = Image.new("RGB", (side, side + side // 3), (246, 244, 238))
    draw = ImageDraw.Draw(image)
    for line in range(side // 20):
        draw.text((side // 12, 10 + 20 * line), "the quick brown fox jumps over it " * 4, fill=(30, 30, 34))
    return np.asarray(image)


def glyph(side):
    """A white character on black, as MNIST has them."""
    image = Image.new("L", (side, side), 0)
    ImageDraw.Draw(image).line((side // 4, side // 4, side // 2, side - 6), fill=255, width=3)
    return np.asarray(image)


def write(root, draw, side, counts):
    for name, count in enumerate(counts):
        (root / f"class{name}").mkdir(parents=True)
        for number in range(count):
            Image.fromarray(draw(side)).save(root / f"class{name}" / f"{number}.png")
    return facts_of(open_data(root))


@pytest.mark.parametrize(
    ("draw", "side", "grey", "ink"),
    [(photograph, 32, False, False), (photograph, 240, False, False), (scan, 200, True, False),
     (page, 400, False, True), (glyph, 28, True, True)],
    ids=["small", "photographs", "scans", "documents", "characters"],
)  # fmt: skip
def test_what_images_are_is_told_from_their_pixels(tmp_path, draw, side, grey, ink):
    facts = write(tmp_path, draw, side, (6, 8))
    assert (facts.grey, facts.ink, facts.side) == (grey, ink, side)
    assert (facts.train + facts.val, facts.classes) == (14, 2)


def test_unequal_classes_several_labels_and_images_that_cannot_be_read(tmp_path):
    facts = write(tmp_path / "a", photograph, 24, (5, 45))
    assert 8 <= facts.largest / facts.smallest <= 10
    for broken in (tmp_path / "a").glob("class0/*"):
        broken.write_bytes(b"nonsense")
    assert facts_of(open_data(tmp_path / "a")).side == 24
    (tmp_path / "b.csv").write_text(
        "path,label\na/class1/1.png,x\na/class1/2.png,x|y\na/class1/3.png,y\na/class1/4.png,\n"
    )
    assert facts_of(open_data(tmp_path / "b.csv", val_fraction=0.5)).multi_label


# Rules: facts → choice.


def test_small_images():
    recipe = chosen(SMALL, speed=TWO_CORES).recipe
    assert (recipe.image_size, recipe.epochs) == (64, 40)
    assert recipe.initial_size == Recipe.load("small").initial_size  # which it begins with
    assert recipe.network == Recipe.load("small").network


def test_many_photographs_and_few():
    many = chosen(Facts(20000, 2000, 20, 1000, 1000, side=500)).recipe
    few = chosen(Facts(38, 9, 6, 6, 7, side=256)).recipe
    assert (many.image_size, few.image_size) == (None, None)  # the network's own
    assert many.epochs == 20
    assert few.epochs == 200
    assert (many.batch_size, few.batch_size) == (Recipe.load("photos").batch_size, 8)
    assert few.lr < many.lr


def test_oblong_photographs_are_squashed_so_that_all_of_them_is_seen(tmp_path):
    def resize(aspect, side=256, given=None, weights=None):
        facts = Facts(1515, 507, 6, 78, 347, side=side, aspect=aspect)
        return chosen(facts, given or {}, weights=weights).settings.get("resize")

    assert [resize(aspect) for aspect in (1.0, 1.04, 1.33, 1.5, 1.78)] == [None, None, "squash", "squash", None]
    assert resize(1.33, weights=INCEPTION) == "squash"
    assert (resize(1.33, side=64), resize(1.33, given={"resize": "crop"})) == (None, None)
    tall = write(tmp_path, lambda side: photograph(side)[:, : 3 * side // 4], 200, (6, 8))
    assert (tall.side, tall.aspect) == (150, 1.333)


def test_without_much_time_images_are_smaller_and_first_stages_frozen():
    assert chosen(PHOTOS, {"minutes": 60.0}, speed=TWO_CORES).recipe.image_size is None
    assert chosen(PHOTOS, {"minutes": 2.0}, speed=TWO_CORES).recipe.image_size in (112, 128)
    quick = chosen(PHOTOS, {"minutes": 5.0}, speed=TWO_CORES, weights=INCEPTION)
    assert (quick.base, quick.recipe.unfreeze, quick.recipe.pool_from) == ("finetune", "gradual", "mixed_6b")
    assert quick.recipe.freeze is None
    assert 0.5 < share_through(INCEPTION.network, "mixed_6b") < 0.6
    assert chosen(PHOTOS, {"minutes": 90.0}, speed=TWO_CORES, weights=INCEPTION).recipe.freeze is None
    assert chosen(PHOTOS, {"minutes": 9.0, "freeze": "conv1"}, speed=TWO_CORES, weights=INCEPTION).recipe.freeze is None


def test_all_stages_of_pretrained_weights_learn_where_photographs_and_time_are_enough():
    enough = chosen(PHOTOS, {"minutes": 9.0}, speed=TWO_WITH_AMX, weights=INCEPTION)
    assert chosen(PHOTOS, {"minutes": 9.0}, speed=TWO_CORES, weights=INCEPTION).base == "finetune"
    assert (enough.base, enough.recipe.image_size) == ("finetune_photos", 256)
    assert (enough.recipe.freeze, enough.recipe.unfreeze) == (None, "none")
    on_a_gpu = chosen(PHOTOS, weights=INCEPTION)
    assert (on_a_gpu.base, on_a_gpu.recipe.image_size) == ("finetune_photos", None)
    few = Facts(train=999, val=300, classes=6, smallest=78, largest=347, side=256)
    small = Facts(train=5000, val=300, classes=6, smallest=78, largest=347, side=96)
    for facts, given in ((few, {}), (small, {}), (PHOTOS, {"freeze": "conv1"}), (PHOTOS, {"unfreeze": "gradual"})):
        assert chosen(facts, {"minutes": 30.0, **given}, speed=TWO_CORES, weights=INCEPTION).base == "finetune"


def test_nobody_waits_for_more_than_an_hour_who_did_not_ask_for_it():
    large = Facts(200_000, 10_000, 100, 1000, 3000, side=500)
    choice = chosen(large, speed=TWO_CORES)
    assert choice.recipe.epochs >= 3
    assert choice.recipe.image_size == 112 or choice.recipe.image_size == 128
    few = chosen(PHOTOS, speed=TWO_CORES)
    assert few.seconds <= 3600
    assert chosen(PHOTOS).recipe.epochs > few.recipe.epochs - 1  # nothing is known of the time
    assert chosen(PHOTOS, {"minutes": 120.0}, speed=TWO_CORES).seconds == 7200


def test_scans_documents_characters():
    scans = chosen(Facts(2000, 500, 2, 800, 1200, side=512, grey=True)).recipe
    assert (scans.in_channels, scans.augmentation.hflip_prob) == (1, 0.5)
    documents = chosen(Facts(2000, 500, 5, 300, 500, side=1000, ink=True)).recipe
    assert (documents.in_channels, documents.augmentation.hflip_prob) == (3, 0.0)
    assert documents.augmentation == Recipe(augmentation="documents").augmentation
    characters = chosen(Facts(1438, 359, 10, 139, 146, side=8, grey=True, ink=True))
    assert (characters.base, characters.recipe.image_size, characters.recipe.in_channels) == ("digits", 32, 1)
    assert characters.recipe.augmentation.hflip_prob == 0.0
    coloured = chosen(Facts(2000, 500, 2, 800, 1200, side=512, grey=True), weights=INCEPTION).recipe
    assert coloured.in_channels == 3  # as the weights have it


def test_unequal_classes():
    assert chosen(Facts(2200, 300, 3, 100, 2000, side=256)).recipe.class_balance == "weighted_loss"
    assert chosen(PHOTOS).recipe.class_balance == "none"
    assert chosen(Facts(2200, 300, 3, 100, 2000, side=256, multi_label=True)).recipe.class_balance == "weighted_loss"


def test_what_is_given_is_not_chosen():
    given = {"image_size": 96, "epochs": 3, "batch_size": 2, "class_balance": "oversample"}
    settings = chosen(Facts(50, 9, 3, 1, 40, side=32), given, speed=TWO_CORES).settings
    assert not given.keys() & settings.keys()
    own = zoo.find("inception_v3_small")
    assert chosen(SMALL, network=own).recipe.image_size == own.input_size  # no larger than what it is made for


def test_the_same_facts_give_the_same_choice_and_every_choice_is_a_recipe():
    random = np.random.default_rng(1)
    for _ in range(60):
        train, side = int(10 ** random.uniform(0.5, 5)), int(10 ** random.uniform(0.8, 3.5))
        facts = Facts(train, 10, int(random.integers(2, 200)), 1, max(1, train // 2), bool(random.integers(2)), side,
                      3, bool(random.integers(2)), bool(random.integers(2)))  # fmt: skip
        for weights in (None, INCEPTION, RESNET):
            for given in ({}, {"minutes": float(10 ** random.uniform(-1, 2))}):
                situation = Situation(facts, given, weights=weights, speed=TWO_CORES)
                found = choose(situation)
                assert found == choose(situation)
                recipe = found.recipe.override(**given)
                analyse(found.network, recipe.image_size or found.network.input_size)


def test_the_weights_that_fit_the_images_and_the_time():
    hour = Situation(PHOTOS, {"minutes": 60.0}, speed=TWO_CORES)
    assert pick_weights(hour, [INCEPTION, RESNET]) is INCEPTION
    assert pick_weights(Situation(PHOTOS, {"minutes": 2.0}, speed=TWO_CORES), [INCEPTION, RESNET]) is RESNET
    assert pick_weights(Situation(PHOTOS, {"minutes": 0.1}, speed=TWO_CORES), [INCEPTION, RESNET]) is RESNET
    assert pick_weights(Situation(SMALL), [INCEPTION, RESNET]) is None  # not made for 32 px
    mine = Pretrained("runs/a", zoo.find("googlenet_bn"), "named", 64, named=True)
    assert pick_weights(Situation(SMALL), [mine, INCEPTION]) is mine
    assert pick_weights(Situation(Facts(9, 9, 2, 1, 1, side=64, channels=5)), [mine, INCEPTION]) is None


# Weights on this machine.


@pytest.fixture
def machine(tmp_path, monkeypatch):
    for name in ("TORCH_HOME", "HF_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def test_weights_in_the_caches_of_torchvision_and_of_the_hub_are_found(machine, monkeypatch):
    assert local_weights.find() == []
    folder = machine / "TORCH_HOME" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    state = resnet18(num_classes=1000).state_dict()
    torch.save(state, folder / "resnet18-f37072fd.pth")
    (folder / "resnet50-0676ba61.pth").write_bytes(b"nonsense")  # nobody named it
    hub = machine / "HF_HOME" / "hub" / "models--timm--resnet18.a1_in1k" / "snapshots" / "1234"
    hub.mkdir(parents=True)
    (hub / "config.json").write_text('{"architecture": "resnet18"}')
    save_file(state, hub / "model.safetensors")
    found = local_weights.find()
    assert [(each.network.name, each.path) for each in found] == [
        ("resnet18", str(folder / "resnet18-f37072fd.pth")),
        ("resnet18", str(hub)),
    ]
    assert local_weights.find(zoo.find("googlenet_bn")) == []


def test_a_run_named_in_the_settings_of_the_user(machine, trained_run, coloured, call):
    folder = machine / "XDG_CONFIG_HOME" / "googlenet"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'weights = "{trained_run}"\n')
    (found,) = local_weights.find()
    assert (found.path, found.network.name, found.side, found.named) == (str(trained_run), "tiny", 32, True)
    code, _, err = call("train", coloured, "--out", machine / "run", "--epochs", 1, "--batch-size", 8)
    assert code == 0, err
    assert f"weights: tiny from {trained_run} (named in {folder / 'config.toml'}); --weights none" in err
    assert "loaded " in err
    code, _, err = call("train", coloured, "--out", machine / "no", "--weights", "none", "--network", "lenet5",
                        "--image-size", 32, "--epochs", 1)  # fmt: skip
    assert code == 0, err
    assert "loaded " not in err
    for content, error, says in (
        ('weights = "nowhere"', WeightsError, "config.toml names weights that cannot be used"),
        ("weights = 3", RecipeError, "weights should be the path of a run"),
        ("weights = ", RecipeError, "cannot be read"),
    ):
        (folder / "config.toml").write_text(content)
        with pytest.raises(error, match=says):
            local_weights.find()


# Real trainings.


def test_a_training_without_any_option_but_its_length_says_why_and_is_repeated_from_its_record(tmp_path, tiny, capsys):
    write(tmp_path / "data", scan, 20, (2, 30))
    run = tmp_path / "run"
    bundle = googlenet.train(tmp_path / "data", run, network=tiny, epochs=2, workers=0)
    said = capsys.readouterr().err
    assert "auto: tiny at 32 px from scratch, recipe small, 2 epochs, batches of 8\n" in said
    assert "because: " in said
    assert "--recipe RUN repeats this run" in said
    record = json.loads((run / "run.json").read_text())
    assert record["choice"]["facts"]["grey"]
    assert record["choice"]["lines"][0] in said
    assert bundle.card.recipe == record["recipe"]
    assert (bundle.card.recipe["in_channels"], bundle.card.recipe["class_balance"]) == (1, "weighted_loss")
    again = googlenet.train(tmp_path / "data", tmp_path / "again", recipe=run / "run.json", workers=0)
    assert again.card.recipe == bundle.card.recipe
    first, second = (load_file(each.path / "weights.safetensors") for each in (bundle, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    longer = googlenet.train(tmp_path / "data", run, resume=True, epochs=3, workers=0)
    assert longer.card.recipe["epochs"] == 3
    assert json.loads((run / "run.json").read_text())["choice"] == record["choice"]


def test_a_run_with_pretrained_weights_is_repeated_with_them(trained_run, coloured, tmp_path):
    options = {"epochs": 1, "batch_size": 8, "workers": 0}
    first = googlenet.train(coloured, tmp_path / "a", weights=trained_run, **options)
    second = googlenet.train(coloured, tmp_path / "b", recipe=tmp_path / "a", workers=0)
    assert first.card.files["weights.safetensors"] == second.card.files["weights.safetensors"]
    settings = json.loads((tmp_path / "a" / "run.json").read_text())
    settings["weights"]["sha256"] = "0" * 64
    (tmp_path / "a" / "run.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match="is not what the run to repeat was trained from any more: give --weights"):
        googlenet.train(coloured, tmp_path / "c", recipe=tmp_path / "a", workers=0)
    assert not (tmp_path / "c").exists()


def test_few_photographs_without_weights_are_told_what_helps(machine, tiny, capsys):
    write(machine / "photos", photograph, 128, (5, 5))
    options = {"image_size": 32, "epochs": 1, "workers": 0}
    googlenet.train(machine / "photos", machine / "run", network="resnet18", **options)
    told = "fetch some to be more accurate: --weights torchvision --network resnet18 --download\n"
    assert told in capsys.readouterr().err
    googlenet.train(machine / "photos", machine / "own", network=tiny, **options)
    assert "fetch some" not in capsys.readouterr().err


# The speed of the machine.


def test_the_speed_is_measured_once_and_anew_for_other_threads(machine, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine / "cache"))
    assert speed.cached() is None
    from googlenet.training import speed_trial

    monkeypatch.setattr(speed_trial, "MIN_CPU_SHARE", 0.0)
    found = speed_trial.measure()
    assert speed.cached() == found
    assert found.large > found.small > 0
    network = zoo.find("googlenet_bn")
    assert found.seconds(network, 224) == pytest.approx(found.large)
    assert found.seconds(zoo.find("inception_v3"), 299) > 3 * found.large
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert speed.cached() is None
    monkeypatch.setattr(speed_trial, "MIN_CPU_SHARE", 9.9)  # other programs had the time
    monkeypatch.setattr(speed_trial, "seconds_of_a_step", lambda *_: (1.0,))
    speed_trial.measure()
    assert speed.cached() is None
    monkeypatch.delenv("OMP_NUM_THREADS")
    (machine / "cache" / "googlenet" / "speed.json").write_text("[]")
    assert speed.cached() is None


# The documents.


@pytest.mark.parametrize("page", ["recipes.md", "recipes.zh.md"])
def test_the_table_of_rules_is_what_the_code_does(page):
    text = (ROOT / "docs" / page).read_text("utf-8")
    rows = [line for line in text.split("<!-- rules -->")[1].splitlines() if line.startswith("|")][2:]
    assert len(rows) == len(RULES)
    for row, rule in zip(rows, RULES, strict=True):
        if page == "recipes.md":
            assert row == f"| {rule.when} | {rule.then} |"
        assert set(rule.then.split("`")[1::2]) <= set(row.split("`")[1::2])
