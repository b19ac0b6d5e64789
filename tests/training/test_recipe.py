import re
from importlib import resources
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from pydantic import Field
from pydantic.fields import FieldInfo

from googlenet.cli.train import train
from googlenet.errors import RecipeError
from googlenet.models import zoo
from googlenet.training.recipe import Recipe
from googlenet.training.recipe_file import shipped_recipes
from googlenet.training.settings import help_of

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_valid_and_opens_with_what_it_is(name):
    assert Recipe.load(name).network in zoo.NETWORKS
    header = (resources.files("googlenet.training") / "recipes" / f"{name}.toml").read_text("utf-8").split("\n\n")[0]
    for word in ("# Command:", "# Cost:", "# Accuracy:"):
        assert word in header


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_in_the_help_of_train_and_in_the_docs(name):
    (told,) = (each.help for each in get_type_hints(train, include_extras=True)["recipe"].__metadata__)
    assert re.search(rf"\b{name}\b", told)
    for page in ("recipes.md", "recipes.zh.md"):
        assert f"\n| `{name}` | " in (DOCS / page).read_text("utf-8")


def test_what_a_file_leaves_out_is_as_in_the_default_recipe_but_the_crop_which_is_the_networks():
    assert Recipe.load("default") == Recipe(crop_fraction=1.0)
    assert Recipe().crop_fraction is None


def test_epochs_asked_for_take_the_place_of_the_minutes_of_a_file(tmp_path):
    (tmp_path / "mine.toml").write_text("minutes = 3\n")
    assert Recipe.load(tmp_path / "mine.toml").minutes == 3
    recipe = Recipe.load(tmp_path / "mine.toml", epochs=7)
    assert (recipe.epochs, recipe.minutes) == (7, None)
    with pytest.raises(RecipeError, match="--epochs and --minutes exclude each other"):
        Recipe.load("default", epochs=7, minutes=3.0)


@pytest.mark.parametrize("minutes", [0, -1, float("inf"), float("nan")])
def test_minutes_are_more_than_none(minutes):
    with pytest.raises(RecipeError, match="minutes = "):
        Recipe.load("default", minutes=minutes)


def test_the_papers_recipe():
    recipe = Recipe.load("paper")
    assert recipe.network == "googlenet"
    assert (recipe.optimizer, recipe.momentum) == ("sgd", 0.9)
    assert (recipe.schedule, recipe.lr_gamma, recipe.step_epochs) == ("step", 0.96, 8)
    assert recipe.augmentation.crop_scale == (0.08, 1.0)
    assert recipe.augmentation.crop_ratio == (0.75, pytest.approx(4 / 3, abs=1e-3))
    assert recipe.augmentation.photometric_prob > 0
    assert recipe.ema_decay > 0


def test_overrides_win_over_the_file_and_none_leaves_it(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 3\nlr = 0.5\n")
    recipe = Recipe.load(path, epochs=7, lr=None)
    assert (recipe.epochs, recipe.lr) == (7, 0.5)


def test_all_mistakes_are_reported_at_once(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(
        'epoch = 3\nlr = -1\nbatch_size = "many"\noptimizer = "adam"\n'
        "[augmentation]\nhflop_prob = 0.5\nhflip_prob = 2.0\ncrop_scale = [1.0, 0.5]\n"
    )
    with pytest.raises(RecipeError) as caught:
        Recipe.load(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "unknown key 'epoch', did you mean 'epochs'?",
        "lr = -1: should be greater than 0",
        "batch_size = 'many'",
        "optimizer = 'adam': should be 'sgd', 'adamw' or 'muon'",
        "unknown key 'augmentation.hflop_prob', did you mean 'hflip_prob'",
        "augmentation.hflip_prob = 2.0: should be less than or equal to 1",
        "the first must not be above the second",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("epochs = true", "epochs = true: should be a whole number"),
        ('epochs = "1"', "epochs = '1': should be a whole number"),
        ("seed = 1.0", "seed = 1.0: should be a whole number"),
        ("lr = true", "lr = true: should be a number"),
        ('nesterov = "yes"', "nesterov = 'yes': should be true or false"),
        ("network = 3", "network = 3: should be a string"),
        ("augmentation = 3", "augmentation = 3: should be a table"),
        (
            "augmentation.crop_scale = [0.1, 0.2, 0.3]",
            "augmentation.crop_scale = [0.1, 0.2, 0.3]: should be a list of two",
        ),
        ("augmentation.crop_scale = 1", "augmentation.crop_scale = 1: should be a list of two numbers"),
    ],
)
def test_a_value_of_another_type_is_refused_in_our_words(tmp_path, content, says):
    (tmp_path / "r.toml").write_text(content)
    with pytest.raises(RecipeError, match=re.escape(f"r.toml: {says}")):
        Recipe.load(tmp_path / "r.toml")


def test_a_number_of_thousands_of_digits_is_refused(tmp_path):
    (tmp_path / "decimal.toml").write_text("epochs = " + "9" * 5000)
    with pytest.raises(RecipeError, match="holds a number that is far too large"):
        Recipe.load(tmp_path / "decimal.toml")
    (tmp_path / "hex.toml").write_text("[augmentation]\nhflip_prob = 0x" + "f" * 5000)
    with pytest.raises(RecipeError, match="hflip_prob = a number of thousands of digits: should be"):
        Recipe.load(tmp_path / "hex.toml")


@pytest.mark.parametrize("source", [{"epochs": 1}, 3, b"default", None])
def test_a_recipe_is_named(source):
    with pytest.raises(RecipeError, match="recipe should be a Recipe, its name or a TOML file, got "):
        Recipe.load(source)


def test_numbers_of_numpy_are_numbers():
    recipe = Recipe.load("default", epochs=np.int64(3), lr=np.float32(0.5))
    assert (recipe.epochs, recipe.lr) == (3, 0.5)


@pytest.mark.parametrize(
    ("content", "says"),
    [("epochs = = 3", "is not TOML"), ("\x00", "is not TOML")],
)
def test_a_file_that_is_no_recipe(tmp_path, content, says):
    path = tmp_path / "wrong.toml"
    path.write_text(content)
    with pytest.raises(ValueError, match=says):
        Recipe.load(path)


def test_an_unknown_name_lists_the_recipes():
    with pytest.raises(RecipeError, match=r"did you mean 'default'.*digits, finetune, finetune_photos, notes, paper"):
        Recipe.load("defualt")


def test_the_recipe_of_a_run_survives_json():
    recipe = Recipe.load("paper", epochs=2)
    assert Recipe(**recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    "setting",
    [{"batch_size": 10**21}, {"epochs": 10**21}, {"seed": 10**21}, {"lr": float("inf")}, {"weight_decay": float("inf")},
     {"step_epochs": 10**9}, {"minutes": 1e9}],
    ids=str,
)  # fmt: skip
def test_numbers_that_no_run_needs_are_refused(setting):
    (name,) = setting
    with pytest.raises(RecipeError, match=rf"{name} = .*should be"):
        Recipe.load("default", **setting)


def test_a_recipe_that_a_windows_editor_saved(tmp_path):
    (tmp_path / "r.toml").write_bytes("epochs = 3\n".encode("utf-8-sig"))
    assert Recipe.load(tmp_path / "r.toml").epochs == 3
    (tmp_path / "r.toml").write_bytes("epochs = 3\n".encode("utf-16"))
    with pytest.raises(RecipeError, match=r"r.toml is not UTF-8: save it as UTF-8"):
        Recipe.load(tmp_path / "r.toml")


def test_a_recipe_made_in_python_is_checked_as_a_file_is():
    with pytest.raises(RecipeError) as caught:
        Recipe(epoch=3, lr=-1, augmentation={"flip": 0.5})
    for part in (
        "unknown key 'epoch', did you mean 'epochs'?",
        "lr = -1: should be greater than 0",
        "augmentation.flip",
    ):
        assert part in str(caught.value)
    with pytest.raises(RecipeError, match=r"^--epochs and --minutes exclude each other"):
        Recipe().override(epochs=1, minutes=1)


def test_overriding_some_of_the_augmentation_keeps_the_rest_whatever_it_was_called(tmp_path):
    (tmp_path / "former.toml").write_text("[augmentation]\nflip = 0.1\nerase = 0.2\n")
    recipe = Recipe.load(tmp_path / "former.toml", augmentation={"erasing_prob": 0.3})
    assert (recipe.augmentation.hflip_prob, recipe.augmentation.erasing_prob) == (0.1, 0.3)
    again = recipe.override(augmentation={"hflip_prob": 0.0}, lr=0.5)
    assert (again.augmentation.hflip_prob, again.augmentation.erasing_prob, again.lr) == (0.0, 0.3, 0.5)
    assert recipe.override(lr=None) == recipe


@pytest.mark.parametrize(
    ("limits", "says"),
    [({"ge": 1, "le": 4096}, "1 to 4,096"), ({"ge": 0, "lt": 1}, "0 to less than 1"), ({"gt": 0}, "more than 0"),
     ({"gt": 0, "le": 5}, "more than 0, at most 5"), ({"ge": 0, "le": 2**63}, "0 or more"), ({"lt": 3}, "less than 3")],
)  # fmt: skip
def test_the_help_of_a_setting_ends_with_its_range(limits, says):
    field = FieldInfo.from_annotated_attribute(float, Field(default=1, description="Pixels.", **limits))
    assert help_of(field) == f"Pixels. ({says})"
