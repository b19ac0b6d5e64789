"""`googlenet explain RUN DATA --check`: what it measures, what it says, and what passes for a reason."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve
from scipy.stats import spearmanr

import googlenet
from googlenet import bundle as bundles
from googlenet.card import FAILS, NOT_SHOWN, PASSES
from googlenet.checks.onnx_graph import read_constants
from googlenet.errors import BundleError, DataError, GoogLeNetError
from googlenet.evaluation.boxes import mask_of, read_boxes
from googlenet.evaluation.explanations import plan_check
from googlenet.evaluation.intervals import Interval
from googlenet.evaluation.verdicts import Gain, MethodCheck
from googlenet.explaining import removing
from googlenet.explaining.imputing import impute
from googlenet.inference.shuffled import shuffled
from googlenet.models.zoo import NETWORKS
from googlenet.preprocessing import Preprocessing
from tests.conftest import without_stages
from tests.explaining.conftest import photo


def solved(image, missing):
    """The equations of ROAD by scipy's sparse solver: the means of the neighbours, (S, S, C)."""
    size, number = len(image), np.cumsum(missing.ravel()) - 1
    matrix, right = lil_matrix((missing.sum(), missing.sum())), np.zeros((missing.sum(), image.shape[2]))
    for y, x in zip(*np.nonzero(missing), strict=True):
        near = [(y + a, x + b, 2 if 0 in (a, b) else 1) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]
        near = [each for each in near if 0 <= each[0] < size and 0 <= each[1] < size]
        total, row = sum(weight for *_, weight in near), number[y * size + x]
        matrix[row, row] = 1
        for v, u, weight in near:
            if missing[v, u]:
                matrix[row, number[v * size + u]] -= weight / total
            else:
                right[row] += weight / total * image[v, u]
    filled = image.astype(float)
    filled[missing] = np.column_stack([spsolve(matrix.tocsc(), each) for each in right.T])
    return filled


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_imputed_pixels_solve_the_equations_of_road(share):
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC))
    values = removing.enlarged(random.random((5, 5), np.float32), 48)
    missing = values > np.quantile(values, 1 - share)
    filled = impute(image, missing, random)
    np.testing.assert_array_equal(filled[~missing], image[~missing])
    off = np.abs(filled.astype(float) - solved(image, missing))[missing]
    spread = image.astype(float).std()
    assert off.mean() < 0.08 * spread
    assert np.abs(image.astype(float) - solved(image, missing))[missing].mean() > 3 * off.mean()


def test_what_the_answer_depends_on_is_found_by_every_measure():
    """The score is how much of one corner is there: the map of that corner is the best there is."""
    random = np.random.default_rng(0)
    image = random.integers(120, 256, (32, 32, 3)).astype(np.uint8)

    def judged(values):
        between = removing.ends(image, np.zeros(3, np.uint8))

        def score(images):
            near = [np.abs(each[:8, :8].astype(int) - image[:8, :8]) < 5 for each in images]
            return np.array([each.mean() for each in near])

        order = removing.ranking(values, 32, random)
        return removing.measure(score(between), score(list(removing.taken_apart(between, order, random))))

    corner = np.zeros((4, 4), np.float32)
    corner[0, 0] = 1
    elsewhere = np.roll(corner, 2, axis=(0, 1))
    own, opposite, blind = judged(corner), judged(-corner), judged(elsewhere)
    assert own["deletion"] < blind["deletion"] < opposite["deletion"]
    assert own["insertion"] > blind["insertion"] > opposite["insertion"]
    assert own["road"] > 0.9
    assert opposite["road"] < -0.9


def test_a_moved_map_has_the_same_values_in_any_place():
    random, values = np.random.default_rng(0), np.arange(12, dtype=np.float32).reshape(3, 4)
    moved = [removing.moved_map(values, random) for _ in range(300)]
    assert all(np.array_equal(np.sort(each, None), values.ravel()) for each in moved)
    assert {tuple(np.argwhere(each == 0)[0]) for each in moved} == {(y, x) for y in range(3) for x in range(4)}
    assert all(1 in (each[np.argwhere(each == 0)[0][0]]) for each in moved)  # neighbours stay in a row


def test_shuffled_weights_are_the_same_values_in_the_same_layers(write, tiny):
    bundle, _ = write(tiny)
    before, after = (read_constants(each.read("model.onnx")) for each in (bundle, shuffled(bundle)))
    assert before.keys() == after.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(np.sort(values, None), np.sort(after[name], None))
    assert all(np.array_equal(before[name], after[name]) for name in before if name.startswith(("images.", "prob")))
    kernel = "inception_2.3x3.1.conv.weight"
    assert abs(spearmanr(before[kernel].ravel(), after[kernel].ravel()).statistic) < 0.2
    np.testing.assert_array_equal(shuffled(bundle).read("model.onnx"), shuffled(bundle).read("model.onnx"))
    assert shuffled(bundle, 1).read("model.onnx") != shuffled(bundle).read("model.onnx")


def gain(low, high, measure="road", centre=(0.1, 0.3)):
    return Gain(measure, 0.5, 0.3, 0.3, Interval(0.2, low, high, 40), Interval(0.2, *centre, 40))


@pytest.mark.parametrize(
    ("gains", "alike", "verdict", "reason"),
    [
        ([gain(0.1, 0.3)], 0.1, PASSES, None),
        ([gain(0.1, 0.3)], 0.31, FAILS, "its maps stay alike when the weights are shuffled (0.31)"),
        ([gain(-0.1, 0.3)], 0.1, NOT_SHOWN, "not shown to be better than a random map by road"),
        ([gain(None, None)], 0.1, NOT_SHOWN, "not shown to be better than a random map by road"),
        ([gain(-0.1, 0.3), gain(0.1, 0.3, centre=(-0.3, -0.1))], 0.1, FAILS, "worse than the centre by road"),
    ],
)
def test_verdicts(gains, alike, verdict, reason):
    found = MethodCheck("cam", tuple(gains), Interval(alike, None, None, 10))
    assert found.verdict == verdict
    assert found.reasons == (() if reason is None else (reason,))


def test_boxes_are_where_the_network_sees_them(tmp_path):
    table = tmp_path / "boxes.csv"
    table.write_text("path,left,top,right,bottom\na.png,0,0,10,20\na.png,30,30,40,40\n")
    ((key, found),) = read_boxes(table).items()
    assert (key, len(found)) == (str((tmp_path / "a.png").resolve()), 2)
    mask = mask_of(found, 60, 40, Preprocessing(size=20))  # of the width, 10 to 50 is seen
    assert mask.sum() == 5 * 5
    assert mask[15:, 10:15].all()
    for text, said in (("path,left\n", "has no column 'top'"), ("a.png,5,0,5,20\n", r"boxes\.csv:2: a box is path")):
        heading = "" if text.startswith("path") else "path,left,top,right,bottom\n"
        table.write_text(heading + text)
        with pytest.raises(DataError, match=said):
            read_boxes(table)


@pytest.fixture(scope="module")
def checked(trained_run, tmp_path_factory):
    """A copy of the trained run whose explanations were checked, by the command."""
    import shutil

    root = tmp_path_factory.mktemp("checked")
    shutil.copytree(trained_run, root / "run")
    return root / "run", trained_run.parent / "photos"


def test_the_command_says_what_passes_and_keeps_the_verdicts(checked, call):
    run, photos = checked
    arguments = ("explain", run, photos, "--check", "--images", 4, "--methods", "cam,contrast,occlusion")
    code, out, err = call(*arguments, "--precision", "fp32")
    said = without_stages(err)
    assert code == 0, err
    assert "checked are 4 of 24 images, evenly over the classes" in said
    assert f"{plan_check(run, photos, images=4, methods=('cam', 'contrast', 'occlusion')).runs:,} runs" in said
    assert [line.split()[:2] for line in out.splitlines()[3:12:3]] == [["cam", "deletion"], ["contrast", "deletion"],
                                                                      ["occlusion", "deletion"]]  # fmt: skip
    assert out.splitlines()[-1] == f"plot: {run / 'explanations.png'}"
    with Image.open(run / "explanations.png") as drawn:
        assert drawn.size[0] > 600
    kept = bundles.read(run).card.explanations
    assert kept.keys() == {"cam", "contrast", "occlusion"}
    code, out, _ = call(*arguments, "--json", "--precision", "fp32")
    found = json.loads(out)
    assert {name: each["verdict"] for name, each in found["methods"].items()} == kept
    assert googlenet.verify(run).images == 4  # the bundle is whole
    road = found["methods"]["cam"]["measures"]["road"]
    assert road["over_random"]["value"] == pytest.approx(road["value"] - road["random"])
    assert -1 <= road["value"] <= 1
    deletion = found["methods"]["cam"]["measures"]["deletion"]
    assert deletion["over_random"]["value"] == pytest.approx(deletion["random"] - deletion["value"])


def test_the_check_loads_no_torch(checked, without_torch, tmp_path):
    """As where it is not installed: whoever loads it ends with a code of its own."""
    run, photos = checked
    command = ["explain", run, photos, "--check", "--images", 3, "--methods", "cam,contrast,occlusion"]
    done = subprocess.run(
        [sys.executable, "-m", "googlenet", *map(str, command), "--out", tmp_path / "out"],
        capture_output=True, text=True, check=False, env=without_torch, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "occlusion" in done.stdout
    assert (tmp_path / "out" / "explanations.png").stat().st_size > 1000


def test_progress_ends_with_the_runs_that_were_announced(checked):
    run, photos = checked
    plan = plan_check(run, photos, images=3, methods=("cam", "contrast"))
    told = []
    plan.run(lambda done, total: told.append((done, total)))
    assert told[-1] == (plan.runs, plan.runs)
    assert told == sorted(told)
    # Nothing was left out or counted twice: the last step adds nothing.
    assert told[-2] == told[-1]


def test_a_method_that_failed_is_not_the_default(write, tiny):
    bundle, _ = write(tiny)
    assert googlenet.explain(bundle.path, photo(32)).method == "cam"
    files = {name: bundle.read(name) for name in bundle.card.files}
    bundles.write(bundle.path, replace(bundle.card, explanations={"cam": FAILS, "occlusion": NOT_SHOWN}), files)
    assert googlenet.explain(bundle.path, photo(32)).method == "occlusion"
    assert googlenet.explain(bundle.path, photo(32), method="cam").method == "cam"
    every = dict.fromkeys(("cam", "occlusion", "rise"), FAILS)
    bundles.write(bundle.path, replace(bundle.card, explanations=every), files)
    assert googlenet.explain(bundle.path, photo(32)).method == "cam"


def test_what_cannot_be_checked_is_said_at_once(checked, write, call, tmp_path):
    run, photos = checked
    with pytest.raises(GoogLeNetError, match="no method is called 'lime'"):
        plan_check(run, photos, methods=("lime",))
    (tmp_path / "boxes.csv").write_text("path,left,top,right,bottom\nnothing.png,0,0,1,1\n")
    with pytest.raises(DataError, match="has no box of an image in"):
        plan_check(run, photos, boxes=tmp_path / "boxes.csv")
    flat, _ = write(NETWORKS["lenet5"], name="flat")
    with pytest.raises(BundleError, match="lenet5 does not end in pooling"):
        plan_check(flat.path, photos, methods=("cam",))
    code, _, err = call("explain", run, photos, photos, "--check")
    assert (code, "--check takes one DATA" in err) == (2, True)
    code, _, err = call("explain", run, photos, "--check", "--images", 1)
    assert code == 2
