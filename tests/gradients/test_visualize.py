"""Images of channels and dreams: they excite what they should, the same seed makes the same, and Ctrl-C keeps them."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

import googlenet
from googlenet.errors import GoogLeNetError, NetworkError
from googlenet.gradients.ascent import RescuedReLU, rescue
from googlenet.gradients.parametrisation import Spectrum
from googlenet.gradients.transforms import moved
from googlenet.models.zoo import NETWORKS
from tests.explaining.conftest import photo, write  # noqa: F401 - a fixture


@pytest.fixture
def photos(trained_run):
    return trained_run.parent / "photos"


def excitation(run, image, stage):
    """The mean of each channel of a stage, (D,), by the module itself."""
    classifier, module = googlenet.load(run), googlenet.load_module(run)
    preprocessing = classifier.card.preprocessing
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (preprocessing.mean, preprocessing.std))
    x = torch.from_numpy(classifier.preprocess(image))[None].permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        return module.maps_of((x - mean) / std, stage).mean((2, 3))[0].numpy()


def test_images_found_excite_channels_more_than_those_of_the_data(trained_run, photos):
    found = googlenet.visualize(trained_run, "inception_2:0-5", photos, steps=60)
    assert [each.channel for each in found.neurons] == [0, 1, 2, 3, 4, 5]
    paths = sorted(photos.glob("*/*.png"))
    of_data = np.stack([excitation(trained_run, path, "inception_2") for path in paths])
    for each in found.neurons:
        values = of_data[:, each.channel]
        assert each.data[0].excitation == pytest.approx(values.max(), rel=1e-4)
        assert each.data[0].id == str(paths[int(values.argmax())])
        assert [one.excitation for one in each.data] == sorted((one.excitation for one in each.data), reverse=True)
        assert each.found.excitation == pytest.approx(
            excitation(trained_run, each.found.pixels, "inception_2")[each.channel], rel=1e-3
        )
    better = [each.found.excitation > each.data[0].excitation for each in found.neurons]
    assert sum(better) >= 5, [each.found.excitation / each.data[0].excitation for each in found.neurons]
    assert json.loads(json.dumps(found.to_dict()))["channels"][0]["data"][0]["path"]
    assert len(found._repr_png_()) > 1000


def test_the_seed_decides(trained_run):
    one, same, other = (googlenet.visualize(trained_run, "inception_2:3", steps=8, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.neurons[0].found.pixels, same.neurons[0].found.pixels)
    assert (one.neurons[0].found.pixels != other.neurons[0].found.pixels).any()
    photo_ = photo(64)
    first, again = (googlenet.dream(trained_run, photo_, "inception_1", steps=2) for _ in range(2))
    np.testing.assert_array_equal(first.pixels, again.pixels)


def test_the_parts(tiny):
    random = torch.Generator().manual_seed(0)
    images = Spectrum(2, 3, 32, random)()
    assert float(images.detach().min()) > 0.3  # nearly grey
    assert float(images.detach().max()) < 0.7
    power = torch.fft.rfft2(images - images.mean((2, 3), keepdim=True)).abs().mean((0, 1))
    assert power[:3, :3].mean() > 4 * power[8:16, 8:16].mean()  # as in photographs, most is of low frequency
    ramp = torch.linspace(0, 1, 32).expand(4, 3, 32, 32)
    shifted = moved(ramp, random)
    assert shifted.shape == ramp.shape
    assert len({round(float(each.mean()), 4) for each in shifted}) == 4  # each in its own way
    torch.manual_seed(0)
    module = googlenet.create(tiny).eval()
    x = torch.rand(2, 3, 32, 32)
    before = module(x)
    rescue(module)
    assert not any(isinstance(each, torch.nn.ReLU) for each in module.modules())
    assert sum(isinstance(each, RescuedReLU) for each in module.modules()) == 13
    torch.testing.assert_close(module(x), before)


def test_a_dream_excites_its_stage_and_keeps_the_size(trained_run, call, tmp_path):
    Image.fromarray(photo(64)).save(tmp_path / "one.png")
    code, out, _ = call("explain", trained_run, "--dream", tmp_path / "one.png", "--stage", "inception_1", "--steps",
                        "4", "--out", tmp_path)  # fmt: skip
    assert code == 0
    with Image.open(tmp_path / "one.dream.png") as dreamt:
        assert dreamt.size == (96, 80)
    assert "one.dream.png: a dream of inception_1" in out
    found = googlenet.dream(trained_run, photo(64), "inception_1", steps=4)
    assert found.after > 2 * found.before


def test_ctrl_c_keeps_what_is_there(trained_run, call, tmp_path):
    taken = []

    def stop(what, done, total):
        taken.append(done)
        if len(taken) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    found = googlenet.visualize(trained_run, "inception_2", steps=1000, progress=stop)
    assert found.stopped == signal.SIGINT
    assert (found.steps, len(found.neurons), len(taken)) == (3, 8, 3)
    taken.clear()
    dreamt = googlenet.dream(trained_run, photo(64), "inception_1", steps=1000,
                             progress=lambda done, total: stop("", done, total))  # fmt: skip
    assert (dreamt.stopped, len(taken)) == (signal.SIGINT, 3)
    assert dreamt.after > dreamt.before


def test_channels_and_what_is_wrong(trained_run, photos, call, write, tmp_path):  # noqa: F811
    sheet = googlenet.visualize(trained_run, "inception_2:1-2,7", steps=1)
    assert [each.channel for each in sheet.neurons] == [1, 2, 7]
    out = tmp_path / "why"
    code, said, _ = call(
        "explain", trained_run, photos / "red", "--neuron", "inception_2:1", "--steps", "1", "--out", out
    )
    assert code == 0
    assert "channel 1: excited to" in said
    assert sorted(path.name for path in out.iterdir()) == ["inception_2.neurons.json", "inception_2.neurons.png"]
    for options, expected in (
        (["--neuron", "inception_3:1"], "no stage 'inception_3': did you mean 'inception_2'"),
        (["--neuron", "inception_2:24"], "inception_2 has 24 channels, 0 to 23: it has no channel 24"),
        (["--neuron", "inception_2:a"], "channels are numbers such as inception_2:3"),
        (["--neuron", "inception_2:1", "--methods", "cam"], "--methods explains the answer to an image"),
        (["--dream", "x.png"], "--dream needs --stage NAME"),
        (["--dream", "x.png", "--stage", "fc"], "dream with an earlier stage"),
        (["--dream", tmp_path / "no.png", "--stage", "inception_1"], "no.png"),
        (["--neuron", "inception_2:1", "--steps", "0"], "steps is a number from 1"),
    ):
        code, said, err = call("explain", trained_run, *options, "--out", tmp_path / "not")
        assert (code != 0, said, err.count("\n")) == (True, "", 1), err
        assert expected in err
    flat, _ = write(NETWORKS["lenet5"], name="flat")
    with pytest.raises(GoogLeNetError, match="puts out 1×1 places for images of any size"):
        googlenet.dream(flat.path, photo(32), "output")
    with pytest.raises(NetworkError, match="has no stage"):
        googlenet.dream(flat.path, photo(32), "nothing")


def test_any_number_of_channels_several_labels_and_mirror_images(write, tiny):  # noqa: F811
    for channels, fields in ((1, {"mirror": True}), (5, {"multi_label": True, "thresholds": (0.5,) * 4})):
        bundle, _ = write(tiny, channels=channels, name=f"{channels}", **fields)
        found = googlenet.visualize(bundle.path, "inception_1:0", steps=2)
        assert found.neurons[0].found.pixels.shape == (32, 32, channels)
        assert found.image().mode == "RGB"
    image = photo(32, channels=5)
    assert googlenet.dream(bundle.path, image, "conv1", steps=1).pixels.shape[2] == 5
