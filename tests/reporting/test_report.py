"""`report.html`: what is in it, for every kind of data, and that it never costs more than it may."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import googlenet
from googlenet.errors import ResultsError, RunError
from googlenet.reporting import report as reports
from googlenet.reporting.blocks import Paragraph, Text
from googlenet.reporting.certainty import reliability_bins
from googlenet.reporting.sections import SECTIONS, Section
from googlenet.training import report as of_runs
from tests.reporting.conftest import HOSTILE, evaluation_of, figures_in, make_run, text_of

MEGABYTE = 1_000_000


def report_of(run, evaluation, tmp_path):
    googlenet.write_report(run, evaluation, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text("utf-8")


def write_images(root, names, per_class=3, channels=3, seed=0):
    random = np.random.default_rng(seed)
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = random.integers(0, 256, (40, 48, channels), dtype=np.uint8)
            if channels > 4:
                np.save(root / name / f"{number}.npy", pixels)
            else:
                Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(root / name / f"{number}.png")
    return root


def test_a_run_has_a_report_whose_figures_are_those_of_evaluate(trained_run, call):
    page = (trained_run / "report.html").read_text("utf-8")
    code, out, _ = call("evaluate", trained_run, "--json", "--plot", trained_run.parent / "plot.png")
    assert code == 0
    assert figures_in(page) == json.loads(out)
    words, chinese = text_of(page), text_of(page, "zh")
    assert re.search(r"It names 100.0% of images like these correctly — with 95% confidence between \d\d", words)
    assert re.search("对同类图片，它的识别准确率为 100.0%；在 24 张留出的图片上测得，95% 置信区间为 8", chinese)
    for section in SECTIONS:
        assert f'<section id="{section.name}"' in page
        assert section.title.en in words
        assert section.title.zh in chinese
    assert "head 1" in words  # the loss of the auxiliary head
    (norms,) = (each for each in re.findall("<figure.*?</figure>", page, re.S) if "Norm of the gradients" in each)
    assert ">0</text>" in norms  # where a head that has stopped learning is


def test_evaluate_writes_it_anew(trained_run, tmp_path, call):
    arguments = ["evaluate", trained_run, trained_run.parent / "photos", "--split", "all", "--plot", tmp_path / "c.png"]
    code, out, _ = call(*arguments, "--report", tmp_path / "new/page.html", "--json")
    assert code == 0
    page = (tmp_path / "new/page.html").read_text("utf-8")
    assert figures_in(page) == json.loads(out)
    assert "If images that it learned from are among them" in text_of(page)
    code, _, err = call(*arguments, "--report", tmp_path / "page.pdf")
    assert (code, err.count("\n")) == (2, 1)
    assert "should end in .html" in err
    assert call(*arguments, "--report", tmp_path)[0] == 2


def test_nothing_in_it_comes_from_elsewhere_and_no_name_is_html(hostile_page):
    page = hostile_page.read_text("utf-8")
    assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?\s*(?:https?:|//|\.|/)""", page)
    assert "default-src 'none'" in page
    assert page.count("<script") == 3  # the figures, the images, and the one script whose hash is allowed
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert "&lt;img src=x onerror=" in page
    assert set(figures_in(page)["classes"]) == set(HOSTILE)


def test_figures_that_are_no_shares_are_not_drawn_in_percent(trained_page):
    page = trained_page.read_text("utf-8")
    drawn = page[page.index('class="whisker"') : page.index("Each figure with its 95% interval")]
    assert "accuracy" in drawn
    assert "log loss" not in drawn
    assert "Brier" not in drawn


def test_its_mistakes_have_heat_maps_and_its_cells_open_images(trained_page):
    page = trained_page.read_text("utf-8")
    assert page.count('class="heat"') == 12
    images = json.loads(re.search(r'id="images">(.*?)</script>', page, re.DOTALL)[1])
    keys = set(re.findall(r'data-open="([^"]+)"', page))
    assert keys == set(images["behind"])
    wrong = images["behind"]["0-2"]  # called red, in the folder of blue images
    assert wrong["title"] == ["blue", "red"]
    assert wrong["count"] == 24
    assert {images["images"][str(n)][0] for n in wrong["numbers"]} <= {f"blue/red-{n:03d}.png" for n in range(24)}
    for number in wrong["numbers"]:
        assert str(number) in images["thumbs"] or f'id="image-{number}"' in page


KINDS = {
    "one class": (("cat",), {}, "knows only one class"),
    "grey": (("cat", "dog"), {"channels": 1}, "1 channels"),
    "five channels": (("cat", "dog"), {"channels": 5}, "5 channels"),
    "several labels": (("cat", "dog", "tree"), {"multi_label": True}, "wrongly given"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_has_a_report(kind, tmp_path):
    names, how, said = KINDS[kind]
    run = make_run(tmp_path / "bundle", names, **how)
    images = write_images(tmp_path / "photos", names, channels=how.get("channels", 3))
    source = googlenet.DataSource(images, multi_label="multi_label" in how)
    if "multi_label" in how:
        lines = [f"{name}/{n}.png,{name}" for name in names for n in range(3)]
        (images / "list.csv").write_text("\n".join(["path,label", *lines, "cat/0.png,"][:10]) + "\n")
        source = googlenet.DataSource(images / "list.csv", multi_label=True)
    evaluation = googlenet.evaluate(run, source)
    page = report_of(run, evaluation, tmp_path)
    assert figures_in(page) == json.loads(json.dumps(evaluation.to_dict()))
    assert said in text_of(page)
    assert page.count("data:image/jpeg") >= len(names)


def test_one_image_a_class_and_classes_that_are_never_answered(tmp_path):
    names = ("ant", "bee", "cat", "dog", "eel")
    run = make_run(tmp_path / "bundle", names)
    evaluation = googlenet.evaluate(run, write_images(tmp_path / "photos", names[:4], per_class=1))
    words = text_of(report_of(run, evaluation, tmp_path))
    assert "Only 4 images were measured: the range is wide." in words
    assert "No image of eel was measured: how well it is recognised is not known." in words
    never = [name for k, name in enumerate(names[:4]) if k not in evaluation.answers.named]
    assert f"Never answered: {', '.join(never)}." in words
    assert "Too little was measured to tell how far the probabilities can be believed" in words


def test_groups_too_few_for_an_interval_are_said(tmp_path):
    run = make_run(tmp_path / "bundle", ("cat", "dog"))
    images = write_images(tmp_path / "photos", ("cat", "dog"))
    lines = [f"{name}/{n}.png,{name},patient {n}" for name in ("cat", "dog") for n in range(3)]
    (images / "list.csv").write_text("\n".join(["path,label,group", *lines]) + "\n")
    evaluation = googlenet.evaluate(run, images / "list.csv")
    words = text_of(report_of(run, evaluation, tmp_path))
    assert "6 images of 3 groups: too few groups to say how sure that is" in words


def test_a_thousand_classes_stay_within_five_megabytes(tmp_path):
    names = tuple(f"{HOSTILE[n % 8][:200]} {n}" for n in range(1000))
    run = make_run(tmp_path / "bundle", names)
    evaluation = evaluation_of(run, 4000)
    page = report_of(run, evaluation, tmp_path)
    assert len(page.encode()) < 5 * MEGABYTE
    assert figures_in(page)["confusion"] == evaluation.to_dict()["confusion"]
    assert "The 20 of 1,000 classes with most mistakes." in text_of(page)


def test_the_programs_in_it_run(trained_run, tmp_path, call, monkeypatch):
    page = (trained_run / "report.html").read_text("utf-8")
    from html import unescape

    terminal, python, onnx, again, *_ = [unescape(code) for code in re.findall(r"<code>([^<]*)</code></pre>", page)]
    photos = trained_run.parent / "photos"
    shutil.copy(photos / "red/000.png", tmp_path / "IMAGE.jpg")
    shutil.copytree(photos / "red", tmp_path / "FOLDER")
    monkeypatch.chdir(tmp_path)
    for line in terminal.splitlines():
        code, _, err = call(*shlex.split(line.partition(" > ")[0])[1:])
        assert code == 0, (line, err)
    assert (tmp_path / "report.html").stat().st_size
    label, probability = run_program(python, tmp_path).splitlines()[0].split()
    theirs, near = run_program(onnx, tmp_path).split()
    assert label == theirs == "red"
    assert float(near) == pytest.approx(float(probability), abs=0.02)  # Pillow resizes within one level of 255
    code, _, err = call(*shlex.split(again)[1:], "--help")  # its options exist
    assert code == 0, err


def run_program(text, folder):
    done = subprocess.run([sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("how", [{"resize": "pad"}, {"resize": "squash"}, {"crop_fraction": 0.8}, {"channels": 1}])
def test_the_program_of_onnxruntime_sees_what_the_classifier_sees(how, tmp_path):
    from html import unescape

    run = make_run(tmp_path / "bundle", ("cat", "dog"), **how)
    images = write_images(tmp_path / "photos", ("cat", "dog"), per_class=1)
    page = report_of(run, googlenet.evaluate(run, images), tmp_path)
    program = unescape(re.findall(r"<code>([^<]*)</code></pre>", page)[2])
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 70, 3), np.uint8)).save(tmp_path / "IMAGE.jpg")
    label, probability = run_program(program, tmp_path).split()
    ours = googlenet.load(run).predict(tmp_path / "IMAGE.jpg")
    assert (label, float(probability)) == (ours.label, pytest.approx(ours.probability, abs=0.02))


def test_a_report_that_fails_costs_no_run(trained_run, tmp_path, tiny, capsys, monkeypatch):
    def broken(material):
        raise ValueError("no idea\nat all")
        yield

    monkeypatch.setattr(reports, "SECTIONS", (Section("broken", Text("", ""), broken),))
    bundle = googlenet.train(
        trained_run.parent / "photos", tmp_path / "run", recipe="default", network=tiny, epochs=1, batch_size=16
    )
    assert bundle.card.metrics
    assert not (tmp_path / "run/report.html").exists()
    assert "report.html could not be drawn: no idea at all\n" in capsys.readouterr().err


def test_a_section_is_one_entry(trained_run, tmp_path, monkeypatch):
    extra = Section("weather", Text("Weather", "天气"), lambda material: iter([Paragraph(Text("Sunny.", "晴。"))]))
    monkeypatch.setattr(reports, "SECTIONS", (*SECTIONS, extra))
    page = report_of(trained_run, googlenet.evaluate(trained_run), tmp_path)
    assert '<section id="weather"' in page
    assert "Sunny." in text_of(page)
    assert "晴。" in text_of(page, "zh")


def test_a_damaged_log_leaves_out_the_curves_alone(trained_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    for content in (b"epoch,loss\n\xff\xfe,1\n", b"", b"a,b\n1,2\n", b"epoch,val_top1,loss_main\nx,nan,inf\n"):
        (run / "log.csv").write_bytes(content)
        page = report_of(run, googlenet.evaluate(run), tmp_path)
        assert "The log of the run is not beside this bundle." in text_of(page)


def test_other_classes_and_places_that_cannot_be_written_are_refused(trained_run, tmp_path):
    evaluation = googlenet.evaluate(trained_run)
    other = make_run(tmp_path / "bundle", ("cat", "dog"))
    with pytest.raises(ResultsError, match="has other classes than the evaluation"):
        googlenet.write_report(other, evaluation, tmp_path / "report.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        googlenet.write_report(trained_run, evaluation, tmp_path / "file/report.html")


def test_copies_are_found_in_the_record_and_a_sample_of_the_images_is_called_one(tiny, coloured, tmp_path, monkeypatch):
    monkeypatch.setattr(of_runs, "MAX_IMAGES", 3)
    shutil.copy(coloured / "red/000.png", coloured / "blue/copy.png")
    for number in range(3, 12):
        (coloured / "green" / f"{number:03d}.png").unlink()
    googlenet.train(coloured, tmp_path / "run", recipe="default", network=tiny, epochs=1, batch_size=16)
    page = (tmp_path / "run/report.html").read_text("utf-8")
    words, held_out = text_of(page), googlenet.load(tmp_path / "run").card.data["val"]
    assert re.search(r"1 × the same file in several classes: \S+ = \S+\.", words)
    assert held_out > 3
    assert figures_in(page)["intervals"]["top1"]["n"] == 3
    assert f"They are a random sample of {held_out}; googlenet evaluate RUN --report report.html measures all" in words
    assert f"它们是 {held_out} 张中的随机样本" in text_of(page, "zh")
    googlenet.write_report(tmp_path / "run", googlenet.evaluate(tmp_path / "run"), tmp_path / "all.html")
    assert "random sample" not in text_of((tmp_path / "all.html").read_text("utf-8"))
    assert "classes with few images: green" in words


def test_the_band_holds_a_perfect_model_in_95_percent_of_cases():
    random, outside, bins = np.random.default_rng(3), 0, 0
    for _ in range(40):
        stated = random.uniform(0.3, 1, 1000)
        for each in reliability_bins(stated, random.random(1000) < stated):
            bins, outside = bins + 1, outside + (not each.low <= each.right <= each.high)
    assert bins == 400
    assert 0.02 < outside / bins < 0.08
    sharp = reliability_bins(np.full(1000, 0.9), np.arange(1000) < 700)
    assert all(each.right < each.low or each.right > each.high or each.right == 1 for each in sharp)
