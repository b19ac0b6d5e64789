"""Grad-CAM and integrated gradients: what they must equal, what they leave behind, and what is refused."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import googlenet
from googlenet.bundle import WEIGHTS
from googlenet.errors import BundleError, GoogLeNetError, MissingExtraError, NetworkError
from googlenet.exporting.ensemble import write_ensemble
from googlenet.models.zoo import NETWORKS
from tests.explaining.conftest import CLASSES, logits_of, photo, write  # noqa: F401 - a fixture

pytest.importorskip("captum")
from googlenet.gradients.attribution import MAX_ERROR, Attribution


def normalised(module, pixels):
    preprocessing = module.network.preprocessing(len(pixels))
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (preprocessing.mean, preprocessing.std))
    return (torch.tensor(pixels)[None].permute(0, 3, 1, 2) / 255 - mean) / std


def test_grad_cam_of_the_last_stage_is_the_class_activation_map_without_the_bias(write, tiny):  # noqa: F811
    bundle, module = write(tiny, temperature=2.5)
    for number, name in enumerate(CLASSES):
        found = googlenet.explain(bundle.path, photo(32), name, method="gradcam")
        exact = googlenet.explain(bundle.path, photo(32), name)
        np.testing.assert_allclose(found.values, exact.values - module.fc.bias[number].item(), atol=1e-4)
        assert (found.stage, found.method, found.temperature) == ("inception_2", "gradcam", 2.5)
        assert found.total == pytest.approx(exact.total, abs=1e-4)
    found = googlenet.explain(bundle.path, photo(32), "cow", against="ant", method="gradcam", stage="inception_2")
    exact = googlenet.explain(bundle.path, photo(32), "cow", against="ant")
    bias = (module.fc.bias[2] - module.fc.bias[0]).item()
    np.testing.assert_allclose(found.values, exact.values - bias, atol=1e-4)


def test_grad_cam_of_an_earlier_stage_is_maps_times_mean_gradients(write, tiny):  # noqa: F811
    bundle, module = write(tiny)
    pixels = googlenet.load(bundle.path).preprocess(photo(32))
    maps = module.maps_of(normalised(module, pixels), "inception_1").detach().requires_grad_()
    (gradient,) = torch.autograd.grad(module.forward_with_aux(maps, after="inception_1").logits[0, 1], maps)
    expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1)[0].detach().numpy()
    found = googlenet.explain(bundle.path, photo(32), "bee", method="gradcam", stage="inception_1")
    np.testing.assert_allclose(found.values, expected * expected.size, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("channels", "fields"), [(3, {}), (1, {}), (5, {"multi_label": True, "thresholds": (0.5,) * 4})]
)
def test_integrated_gradients_add_up_to_what_the_logit_grew_by(write, tiny, channels, fields):  # noqa: F811
    bundle, module = write(tiny, channels=channels, **fields)
    image = photo(32, channels=channels)
    image = image[:, :, 0] if channels == 1 else image
    pixels = googlenet.load(bundle.path).preprocess(image)
    with torch.inference_mode():
        grew = logits_of(module, pixels) - module(torch.zeros(1, channels, 32, 32))[0].numpy()
    for number in (0, len(CLASSES) - 1):
        found = googlenet.explain(bundle.path, image, CLASSES[number], method="ig")
        assert found.values.shape == (32, 32)
        assert found.values.mean(dtype=np.float64) == pytest.approx(grew[number], rel=1.1 * MAX_ERROR)
        assert f"the logit grew by {grew[number]:+.2f}" in found.notes[0]
    assert googlenet.explain(bundle.path, image, method="gradcam").image().mode == "RGB"


def test_no_hook_is_left_behind_by_an_error_either(write, tiny):  # noqa: F811
    bundle, _ = write(tiny)
    classifier = googlenet.load(bundle.path)
    attribution = Attribution(classifier, "inception_1")
    question = classifier.question(photo(32))

    def hooks():
        return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) + len(each._backward_hooks)
                   for each in attribution.module.modules())  # fmt: skip

    before = attribution.explain(question, "gradcam").values
    assert hooks() == 0
    for method in ("gradcam", "ig"):
        with pytest.raises(IndexError):  # there is no such class
            attribution.explain(replace(question, index=99), method)
        assert hooks() == 0
    np.testing.assert_array_equal(attribution.explain(question, "gradcam").values, before)


def test_one_sheet_of_several_methods(trained_run, call, tmp_path):
    photo = trained_run.parent / "photos" / "red" / "001.png"
    code, out, _ = call("explain", trained_run, photo, "--methods", "cam,gradcam,occlusion,ig", "--stage",
                        "inception_1", "--json", "--out", tmp_path)  # fmt: skip
    assert code == 0
    entries = json.loads(out)
    assert [(each["method"], each["stage"]) for each in entries] == [
        ("cam", None), ("gradcam", "inception_1"), ("occlusion", None), ("ig", None)
    ]  # fmt: skip
    assert len({each["class"] for each in entries}) == 1
    with Image.open(tmp_path / "001.png") as sheet:
        assert sheet.width > 5 * 260  # the image and four maps side by side


def test_what_is_wrong_is_one_line(trained_run, write, tiny, call, tmp_path, monkeypatch):  # noqa: F811
    photo_of = trained_run.parent / "photos" / "red" / "001.png"
    for options, said in (
        (["--methods", "gradcam", "--stage", "inception_3"], "no stage 'inception_3': did you mean 'inception_2'"),
        (["--methods", "gradcam", "--stage", "avgpool"], "stage avgpool of tiny at 32 px is 1×1"),
        (["--methods", "cam", "--stage", "inception_1"], "a stage is that of Grad-CAM"),
        (["--methods", "gradcma"], "no method is called 'gradcma': did you mean 'gradcam'"),
        ([], "name the images to explain"),
    ):
        code, out, err = call("explain", trained_run, *([photo_of] if options else []), *options)
        assert (code != 0, out, err.count("\n")) == (True, "", 1), err
        assert said in err
    bundle, _ = write(tiny)
    with pytest.raises(GoogLeNetError, match=r"gradcam needs PyTorch and the weights: googlenet\.explain"):
        googlenet.load(bundle.path).explain(photo(32), method="gradcam")
    joined = write_ensemble(tmp_path / "joined", [bundle, write(tiny, name="other")[0]], bundle.card)
    with pytest.raises(BundleError, match="answers with several networks, and gradients are of one"):
        googlenet.explain(joined.path, photo(32), method="gradcam")
    files = {name: bundle.read(name) for name in bundle.card.files if name != WEIGHTS}
    bare = googlenet.bundle.write(tmp_path / "bare", bundle.card, files)
    with pytest.raises(BundleError, match=r"has no weights\.safetensors, which ig need: give the run"):
        googlenet.explain(bare.path, photo(32), method="ig")
    monkeypatch.setitem(sys.modules, "captum", None)  # as where it is not installed
    with pytest.raises(MissingExtraError, match=r"needs captum.*googlenet\[explain\]"):
        googlenet.explain(bundle.path, photo(32), method="ig")


def test_small_images_get_the_last_stage_with_places_and_flat_networks_a_map_too(write):  # noqa: F811
    for name, size, stage in (("lenet5", 32, None), ("googlenet_small", 16, None)):
        bundle, _ = write(NETWORKS[name].rewrite(narrow), size=size, name=f"{name} {size}")
        found = googlenet.explain(bundle.path, photo(32), method="gradcam", stage=stage)
        assert min(found.values.shape) > 1
        assert found.stage in [each.name for each in bundle.network.stages]
    with pytest.raises(NetworkError, match="has no stage 'fc9'"):
        googlenet.explain(bundle.path, photo(32), method="gradcam", stage="fc9")


def narrow(layer):
    out = getattr(layer, "out", None)
    return layer if out is None else replace(layer, out=max(2, out // 8))
