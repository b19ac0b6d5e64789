"""Class activation maps as explanations: what they add up to, what they are means of, what is refused."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

import googlenet
from googlenet.bundle import GOLDEN
from googlenet.errors import BundleError, GoogLeNetError
from googlenet.explaining.explanation import SIGN
from googlenet.exporting.ensemble import write_ensemble
from googlenet.models.zoo import NETWORKS
from tests.explaining.conftest import CLASSES, logits_of, module_of, photo


def test_the_mean_of_a_map_is_the_logit_and_of_a_contrast_the_log_of_the_ratio(write, tiny):
    bundle, module = write(tiny, temperature=2.5)
    classifier, image = googlenet.load(bundle.path), photo(32)
    logits = logits_of(module, classifier.preprocess(image))
    prediction = classifier.predict(image)
    for number, name in enumerate(CLASSES):
        found = prediction.explain(name)
        assert found.values.shape == (8, 8)
        assert found.values.mean(dtype=np.float64) == pytest.approx(logits[number], abs=1e-4)
        assert (found.total, found.temperature) == (pytest.approx(logits[number], abs=1e-4), 2.5)
        if name == "bee":
            continue
        contrast = prediction.explain(name, against="bee")
        np.testing.assert_allclose(contrast.values, found.values - prediction.explain("bee").values, atol=1e-5)
        odds = np.log(prediction.probabilities[number] / prediction.probabilities[1])
        assert contrast.total / contrast.temperature == pytest.approx(odds, abs=1e-4)
    assert prediction.explain().asked.class_name == prediction.label


def test_captum_says_the_same_without_the_bias(write, tiny):
    attr = pytest.importorskip("captum.attr")
    bundle, module = write(tiny)
    classifier = googlenet.load(bundle.path)
    pixels = classifier.preprocess(photo(32))
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (tiny.mean, tiny.std))
    x = (torch.tensor(pixels)[None].permute(0, 3, 1, 2) / 255 - mean) / std
    grad_cam = attr.LayerGradCam(module, module.inception_2)
    for number, name in enumerate(CLASSES):
        theirs = grad_cam.attribute(x, target=number)[0, 0].detach().numpy()
        ours = classifier.explain(photo(32), name).values - module.fc.bias[number].item()
        np.testing.assert_allclose(ours, theirs * theirs.size, atol=1e-4)


def test_mirror_images_and_several_networks_are_means_and_say_so(write, tiny, tmp_path):
    image = photo(32)
    mirrored, module = write(tiny, name="mirrored", mirror=True)
    classifier = googlenet.load(mirrored.path)
    pixels = classifier.preprocess(image)
    both = (logits_of(module, pixels) + logits_of(module, np.ascontiguousarray(pixels[:, ::-1]))) / 2
    found = classifier.explain(image, "cow")
    assert found.total == pytest.approx(both[2], abs=1e-4)
    assert "mean over the image and its mirror image" in found.notes[0]

    members = [write(tiny, name=f"fold {number}")[0] for number in range(2)]
    second = module_of(tiny, 32)
    with torch.no_grad():
        second.fc.weight.mul_(-2)
    members[1], _ = write(tiny, name="fold 1", module=second, temperature=3.0)
    joined = write_ensemble(tmp_path / "joined", members, members[0].card)
    classifier = googlenet.load(joined.path)
    means = np.mean([googlenet.load(each.path).explain(image, "cow").values for each in members], axis=0)
    found = classifier.explain(image, "cow")
    np.testing.assert_allclose(found.values, means, atol=1e-4)
    assert "mean over 2 networks, and so is its logit" in found.notes[0]
    assert (classifier.engine.members, found.temperature) == (2, 1.0)
    assert googlenet.verify(joined.path).map_differences["fp32"] < 1e-4


def test_any_number_of_channels_and_several_labels(write, tiny):
    for channels in (1, 5):
        bundle, module = write(tiny, name=f"{channels}", channels=channels)
        image = photo(32, channels=channels)
        image = image[:, :, 0] if channels == 1 else image
        found = googlenet.load(bundle.path).explain(image)
        pixels = googlenet.load(bundle.path).preprocess(image)
        assert found.total == pytest.approx(logits_of(module, pixels).max(), abs=1e-4)
        assert found.image().mode == "RGB"
    bundle, _ = write(tiny, multi_label=True, thresholds=(0.5,) * 4, temperature=(1.0, 2.0, 0.5, 4.0))
    prediction = googlenet.load(bundle.path).predict(photo(32))
    for number, name in enumerate(CLASSES):
        found = prediction.explain(name)
        p = float(prediction.probabilities[number])
        assert found.total / found.temperature == pytest.approx(np.log(p / (1 - p)), abs=1e-3)


def test_what_cannot_be_explained_is_said_in_one_line(write, tiny):
    small, _ = write(NETWORKS["googlenet_small"].rewrite(narrow), size=8, name="small")
    with pytest.raises(GoogLeNetError, match=r"the map of googlenet_small at 8 px is 1×1.*--image-size or --network"):
        googlenet.explain(small.path, photo(32))
    flat, _ = write(NETWORKS["lenet5"], name="flat")
    with pytest.raises(BundleError, match=r"lenet5 does not end in pooling.*explain it by occlusion"):
        googlenet.explain(flat.path, photo(32), method="cam")
    assert googlenet.explain(flat.path, photo(32)).method == "occlusion"
    bundle, _ = write(tiny)
    classifier, image = googlenet.load(bundle.path), photo(32)
    for asked, said in (
        ({"class_name": "cwo"}, "no class is called 'cwo': did you mean 'cow'"),
        ({"against": "cat"}, "no class is called 'cat'"),
        ({"class_name": "ant", "against": "ant"}, "'ant' cannot be explained against itself: name two"),
        ({"method": "gradcma"}, "no method is called 'gradcma': .*cam, occlusion, rise"),
    ):
        with pytest.raises(GoogLeNetError, match=said):
            classifier.explain(image, **asked)
    found = classifier.explain(image)
    with pytest.raises(GoogLeNetError, match=r"is saved as a \.png file, got 'why\.gif'"):
        found.save("why.gif")
    with pytest.raises(GoogLeNetError, match="scale is the value, above 0"):
        found.image(scale=0)


def narrow(layer):
    out = getattr(layer, "out", None)
    return layer if out is None else replace(layer, out=max(2, out // 8))


def test_json_has_sign_unit_and_grid(write, tiny):
    bundle, _ = write(tiny)
    found = googlenet.explain(bundle.path, photo(32), "cow", against="ant")
    said = json.loads(json.dumps(found.to_dict()))
    assert (said["class"], said["against"], said["unit"], said["sign"]) == ("cow", "ant", "logit", SIGN)
    assert said["grid"]["rows"] == said["grid"]["columns"] == 8
    left, top, right, bottom = said["grid"]["box"]
    assert 0 < left < right < 1  # it is wider than high
    assert top == pytest.approx(1 - bottom)
    np.testing.assert_allclose(said["values"], found.values, rtol=1e-5)
    assert said["precision"] == "fp32"


def test_verify_notices_maps_that_do_not_explain_the_answers(write, tiny, tmp_path):
    bundle, _ = write(tiny)
    found = googlenet.verify(bundle.path)
    assert found.map_differences["fp32"] < 1e-4
    assert found.map_differences.get("bf16", 0) < 0.2 * found.map_size
    files = {name: bundle.read(name) for name in bundle.card.files}
    golden = dict(np.load(bundle.path / GOLDEN))
    golden["maps"] = golden["maps"] + 0.01
    np.savez(tmp_path / "golden.npz", **golden)
    changed = googlenet.bundle.write(tmp_path / "other", bundle.card,
                                     files | {GOLDEN: (tmp_path / "golden.npz").read_bytes()})  # fmt: skip
    with pytest.raises(BundleError, match=r"class activation maps in fp32 differ by 0\.01 logits"):
        googlenet.verify(changed.path)
    moved = _with_other_maps(files)
    changed = googlenet.bundle.write(tmp_path / "other", bundle.card, files | {"model.onnx": moved})
    with pytest.raises(BundleError, match="its maps do not explain its answers"):
        googlenet.verify(changed.path)


def _with_other_maps(files):
    """The graph with maps twice as large."""
    import onnx

    model = onnx.load_from_string(files["model.onnx"])
    (node,) = [each for each in model.graph.node if each.output[0] == "maps"]
    node.output[0] = "maps.half"
    model.graph.node.append(onnx.helper.make_node("Add", ["maps.half", "maps.half"], ["maps"], name="maps.doubled"))
    return model.SerializeToString()


def test_a_thousand_explanations_add_no_memory(write, tiny):
    bundle, _ = write(tiny)
    classifier, image = googlenet.load(bundle.path), photo(32)

    def resident():
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    for _ in range(50):
        classifier.explain(image)
    before = resident()
    for _ in range(1000):
        classifier.explain(image)
    assert resident() - before < 20
