"""The options of ``train``: one declaration for Python, the command line and the recipe."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import get_type_hints

import pytest

import googlenet
from googlenet.cli.train import RECIPE_OPTIONS, RUN_OPTIONS
from googlenet.errors import DeviceError, RecipeError
from googlenet.training.options import RunOptions, TrainOptions
from googlenet.training.recipe import Recipe


def test_the_typed_options_are_every_setting_of_the_recipe_and_of_the_machine():
    declared = {**Recipe.model_fields, **RunOptions.model_fields}
    del declared["network"]  # a parameter of its own, which may be a Network
    hints = get_type_hints(TrainOptions)
    assert list(hints) == list(declared)
    for name, field in declared.items():
        optional = (
            field.annotation if type(None) in getattr(field.annotation, "__args__", ()) else field.annotation | None
        )
        if name not in ("device", "augmentation"):  # a closed list of words, and a table of some settings
            assert hints[name] == optional, name


def test_every_parameter_and_every_option_of_train_is_documented():
    documented = re.findall(r"^ {4,8}([\w, ]+): ", inspect.getdoc(googlenet.train), re.MULTILINE)
    named = {name for names in documented for name in names.split(", ")}
    parameters = [name for name in inspect.signature(googlenet.train).parameters if name != "options"]
    assert {*parameters, *TrainOptions.__annotations__} <= named


def test_every_setting_says_what_it_means():
    fields = {**Recipe.model_fields, **RunOptions.model_fields, **Recipe().augmentation.__class__.model_fields}
    assert [name for name, field in fields.items() if not str(field.description).endswith(".")] == []


@pytest.mark.parametrize("name", [*RECIPE_OPTIONS, *RUN_OPTIONS])
def test_an_option_of_the_command_line_is_what_the_setting_says(call, name):
    declared = {**Recipe.model_fields, **RunOptions.model_fields}[name]
    words = " ".join(call("train", "--help")[1].split()).replace("- ", "-")
    assert f"--{name.replace('_', '-')} " in words
    assert str(declared.description).replace("`", "").replace("- ", "-") in words


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batchsize": 8}, "train has no option 'batchsize': did you mean 'batch_size'?"),
        ({"follow_links": True}, "train has no option 'follow_links'"),
        ({"augmentation": {"hflip": 0.0}}, "unknown key 'augmentation.hflip', did you mean 'hflip_prob'"),
        ({"ema_decay": 1.0}, "ema_decay = 1.0: should be less than 1"),
        ({"download": "yes"}, "download = 'yes': should be true or false"),
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_with_the_nearest_name(coloured, tmp_path, options, says):
    with pytest.raises(RecipeError, match=re.escape(says)):
        googlenet.train(coloured, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_device_that_does_not_exist_is_refused(coloured, tmp_path):
    with pytest.raises(DeviceError, match="no device is called 'tpu': allowed are auto, cpu, cuda, mps"):
        googlenet.train(coloured, tmp_path / "run", device="tpu")


def test_a_recipe_made_in_python_trains_with_its_settings_and_overrides(coloured, tiny, tmp_path):
    recipe = googlenet.Recipe(
        epochs=5, batch_size=8, ema_decay=0.0, precision="fp32", augmentation={"erasing_prob": 0.0}
    )
    run = tmp_path / "run"
    card = googlenet.train(coloured, run, recipe=recipe, network=tiny, epochs=1, workers=0,
                           augmentation={"hflip_prob": 0.0}, optimizer="sgd").card  # fmt: skip
    found = Recipe(**card.recipe)
    assert (found.epochs, found.batch_size, found.ema_decay, found.optimizer) == (1, 8, 0.0, "sgd")
    assert (found.augmentation.erasing_prob, found.augmentation.hflip_prob) == (0.0, 0.0)
    with pytest.raises(googlenet.errors.RunError, match=r"--augmentation .* \(it has crop_scale="):
        googlenet.train(coloured, run, resume=True, augmentation={"hflip_prob": 0.5})
    assert googlenet.train(coloured, run, resume=True, augmentation={"hflip_prob": 0.0}).card.recipe == card.recipe


def test_the_help_of_all_commands_does_not_wait_for_the_settings():
    code = "import atexit, sys; atexit.register(lambda: print('pydantic' in sys.modules))\n"
    code += "from googlenet.cli import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "False")
