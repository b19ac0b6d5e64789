"""`augment`: the sheet has the pixels that training trains on, of any channels, and is drawn."""

import numpy as np
import pytest
import torch
from PIL import Image

import googlenet
from googlenet.errors import RecipeError
from googlenet.images.resize import load_image
from googlenet.training.objective import Objective

AUGMENTATION = {"rotation_prob": 0.5, "jitter_prob": 0.5, "noise_prob": 0.5, "blur_prob": 0.5, "rand_augment_prob": 0.3}
MIXING = {"mixup_prob": 0.5, "mixup_alpha": 1.0, "cutmix_prob": 0.5, "mix_during": (0.5, 1.0)}


@pytest.fixture
def trained(coloured, tmp_path, monkeypatch):
    """A run of two epochs, the first at half the size, the second with mixed steps: recipe and images of each step."""
    steps, forward = [], Objective.forward

    def recording(objective, images, labels):
        if objective.training and torch.is_grad_enabled():
            steps.append((images.permute(0, 2, 3, 1).numpy().copy(), labels.numpy().copy()))
        return forward(objective, images, labels)

    recipe = googlenet.Recipe(network="lenet5", epochs=2, batch_size=8, image_size=64, precision="fp32",
                              initial_size=0.5, growth_fraction=0.5, augmentation=AUGMENTATION | MIXING)  # fmt: skip
    monkeypatch.setattr(Objective, "forward", recording)
    googlenet.train(coloured, tmp_path / "run", recipe=recipe, workers=0)
    monkeypatch.undo()
    return recipe, [step for step in steps if len(step[0]) > 1]


def test_the_sheet_has_the_pixels_that_training_trains_on(coloured, trained, tmp_path):
    recipe, steps = trained
    seen = googlenet.augment(coloured, recipe=recipe, count=30, views=2)
    assert seen.epochs == (1, 2)
    assert [image.views[0].shape for image in seen.images] == [(32, 32, 3)] * 30
    trained_on = {pixels.tobytes() for images, _ in steps for pixels in images}
    of_first_epoch = {image.views[0].tobytes() for image in seen.images}
    # Two of the three steps of the first epoch are at 32 pixels. 30 images make no fourth step of 8.
    assert len(of_first_epoch - trained_on) == 30 - 2 * 8
    assert len({each.pixels.tobytes() for each in seen.mixed}) == 8
    assert {each.pixels.tobytes() for each in seen.mixed} <= trained_on
    images, labels = next((images, labels) for images, labels in steps if labels.ndim == 2)
    for number, each in enumerate(seen.mixed):
        np.testing.assert_array_equal(each.pixels, images[number])
        shares = [each.shares.get(name, 0.0) for name in ("blue", "green", "red")]
        np.testing.assert_allclose(shares, labels[number], atol=1e-6)


def test_originals_are_as_prediction_sees_them_of_all_classes_in_turn(coloured, tmp_path):
    seen = googlenet.augment(coloured, count=4, views=1, image_size=48, augmentation="none")
    assert [image.labels for image in seen.images] == [("blue",), ("green",), ("red",), ("blue",)]
    network = googlenet.NETWORKS["googlenet_bn"]
    preprocessing = network.preprocessing(48, seen.recipe.crop_fraction)
    for image in seen.images:
        path = coloured / image.name if (coloured / image.name).exists() else image.name
        np.testing.assert_array_equal(image.original, load_image(path, preprocessing))


def test_the_command_draws_and_says_how_to_train_so(coloured, tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ("--augmentation", "microscopy", "--image-size", 40, "--in-channels", 1, "--seed", 3)
    code, out, err = call("augment", coloured, "--sheet", "sheet.png", "--views", 3, *options)
    assert code == 0, err
    assert "sheet.png: 6 images in 3 epochs, augmentation microscopy" in out
    suggested = f"googlenet train {coloured} --out runs/mine {' '.join(map(str, options))}"
    assert suggested in " ".join(out.split())
    with Image.open("sheet.png") as drawn:
        assert drawn.width > 400
        assert len(drawn.convert("RGB").getcolors(1 << 20)) > 50


def test_without_a_recipe_it_draws_what_train_would_choose(coloured, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seen = googlenet.augment(coloured, count=3, views=2)
    small = googlenet.Recipe.load("small")
    assert (seen.recipe.max_batches_per_step, seen.recipe.augmentation) == (2, small.augmentation)
    assert [view.shape[0] for view in seen.images[0].views] == [32, 64]  # images grow in that recipe
    assert "recipe small" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [coloured.name]
    assert googlenet.augment(coloured, count=1, views=1, recipe="default").images[0].original.shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--sheet", "sheet.txt"), "--sheet sheet.txt should end in .png"),
        (("--sheet", "s.png", "--augmentation", "arial"), "augmentation = 'arial': did you mean 'aerial'"),
        (("--sheet", "s.png", "--recipe", "smal"), "no recipe is called 'smal'"),
        (("--sheet", "s.png", "--count", 0), "Invalid value for '--count'"),
    ],
)
def test_what_is_wrong_is_one_line(coloured, call, options, says):
    code, _, err = call("augment", coloured, *options)
    assert (code, err.count("\n")) == (2, 1)
    assert says in err


def test_counts_in_python_are_checked(coloured):
    with pytest.raises(RecipeError, match="views = 21: should be a whole number of 1 to 20"):
        googlenet.augment(coloured, views=21)
