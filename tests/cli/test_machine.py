"""What the machine refuses is one line with what to do, never a defect of this program; numbers come before plots."""

import json
import os
import shutil
import subprocess
import sys

import pytest

TRAIN = "train PHOTOS --network lenet5 --image-size 32 --batch-size 16 --epochs 1 --device cpu --precision fp32"


def shell(before, command, trained_run, folder, **environment):
    """Run a command after lines of a shell; exit code, stdout, stderr."""
    words = {"RUN": trained_run, "PHOTOS": trained_run.parent / "photos"}
    line = " ".join(str(words.get(word, word)) for word in command.split())
    done = subprocess.run(
        ["bash", "-c", f"{before}\nexec {sys.executable} -m googlenet {line}"],
        capture_output=True, check=False, cwd=folder, timeout=240, env=os.environ | environment,
    )  # fmt: skip
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def last_line(err):
    assert "Traceback" not in err, err
    assert "defect" not in err
    line = err.splitlines()[-1]
    assert line.startswith("googlenet: ")
    assert err.count("googlenet: ") == 1
    return line


@pytest.mark.parametrize(
    ("before", "command", "says"),
    [
        ("ulimit -n 20", TRAIN + " --out run --workers 2", "too many files are open: raise the limit (ulimit -n)"),
        ("ulimit -n 48", TRAIN + " --out run --workers 8", "too many files are open: raise the limit (ulimit -n)"),
        ("ulimit -f 10", TRAIN + " --out run", "cannot be written: the file would be larger than"),
        ("ulimit -f 1", "predict RUN PHOTOS --out r.csv", "r.csv cannot be written: the file would be"),
        ("ulimit -v 1500000", TRAIN + " --out run", "there is not enough memory"),
        ("", "table --json > /dev/full", "standard output, or a temporary file, cannot be written: no space"),
        ("", "table > /dev/full", "standard output, or a temporary file, cannot be written: no space"),
        ("", "table >&-", "standard output is closed, so the results are lost"),
        ("", "predict RUN PHOTOS --json >&-", "standard output is closed, so the results are lost"),
        ("", "evaluate RUN PHOTOS >&- <&-", "standard output is closed, so the results are lost"),
        ("", "--version >&-", "standard output is closed, so the results are lost"),
        ("", "predict RUN - <&-", "standard input (-) names no images"),
        ("mkdir gone; cd gone; rmdir ../gone", "predict RUN PHOTOS --out r.csv", "cannot be written: No such file"),
        ("mkdir gone; cd gone; rmdir ../gone", "demo", "cannot be written: No such file"),
        ("mkdir gone; cd gone; rmdir ../gone", TRAIN + " --out $OLDPWD/run", "current folder was deleted: change"),
        ("mkdir gone; cd gone; rmdir ../gone", "compare lenet5 --image-size 32", "current folder was deleted: change"),
        ("mkdir gone; cd gone; rmdir ../gone", "convert RUN --to torchvision --out $OLDPWD/w.pth", "was deleted"),
        ("", "doctor PHOTOS --fix " + 300 * "x", "255 bytes"),
        ("", "predict RUN PHOTOS --out " + 300 * "x" + ".csv", "255 bytes"),
        ("", "evaluate RUN PHOTOS --plot " + 300 * "x" + ".png", "255 bytes"),
        ("", "convert RUN --to timm --out " + 300 * "x", "255 bytes"),
        ("", "export RUN --to onnx --out " + 300 * "x", "255 bytes"),
        ("", "push RUN me/it --folder " + 300 * "x", "255 bytes"),
        ("", "verify " + 300 * "x", "cannot be read: File name too long"),
        ("", "evaluate " + 300 * "x" + " PHOTOS", "cannot be read: File name too long"),
        ("", "train " + 300 * "x" + " --out run", "255 bytes"),
        ("", TRAIN + " --out run --weights " + 300 * "x", "cannot be read"),
        ("", TRAIN + " --out run --recipe " + 300 * "x", "255 bytes"),
        ("ln -s loop loop", "verify loop", "loop"),
        ("ln -s loop loop", "train loop --out run", "loop"),
        ("ln -s loop loop", "evaluate RUN loop", "loop"),
        ("ln -s loop loop", "doctor loop", "loop"),
    ],
)  # fmt: skip
def test_it_is_one_line(trained_run, tmp_path, before, command, says):
    code, _, err = shell(before, command, trained_run, tmp_path)
    assert code in (1, 2)
    assert says in last_line(err)


@pytest.mark.parametrize(
    ("before", "command"),
    [
        ("", "table 2>&-"),
        ("", "table --naive <&-"),
        ("", "predict RUN PHOTOS --out r.csv >&- 2>&- <&-"),
        ("", TRAIN + " --out run --workers 1 >&- 2>&- <&-"),
        ("", TRAIN + " --out run --workers 1 2> /dev/full"),
        ("export LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0", "table"),
        ("export PYTHONIOENCODING=cp1252", "table --naive"),
        ("export PYTHONIOENCODING=ascii", "evaluate RUN PHOTOS --split all --plot p.png"),
        ("export LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0", TRAIN + " --out run --workers 1"),
    ],
)
def test_it_works_all_the_same(trained_run, tmp_path, before, command):
    code, _, err = shell(before, command, trained_run, tmp_path)
    assert (code, "Traceback" in err) == (0, False), err


def test_a_small_shared_memory_is_enough(trained_run, tmp_path):
    """As in a container: processes that read images hand them over by pipes."""
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("needs the right to mount")
    train = (
        TRAIN.replace("--image-size 32 --batch-size 16", "--image-size 128 --batch-size 32") + " --out run --workers 2"
    )
    mounted = f"unshare -m bash -c 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec {sys.executable} -m googlenet "
    words = {"PHOTOS": str(trained_run.parent / "photos")}
    line = " ".join(words.get(word, word) for word in train.split())
    done = subprocess.run(
        ["bash", "-c", f"{mounted}{line}'"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_a_user_without_a_home_directory_is_told_where_to_keep_sets():
    """A container's user often has no entry in /etc/passwd, and no HOME."""
    code = (
        "import os\n"
        "from googlenet import files\n"
        "from googlenet.data.datasets import find_named\n"
        "from googlenet.errors import DataError\n"
        "os.setuid(12345)\n"
        "assert files.user_cache() is None\n"
        "try: find_named('mnist')\n"
        "except DataError as error: print(error)\n"
    )
    if os.geteuid():
        pytest.skip("needs the right to be another user")
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "say with GOOGLENET_DATA where" in done.stdout


# Plots never cost the numbers.


def test_numbers_are_printed_before_a_plot_that_fails(trained_run, tmp_path):
    limits = "ulimit -f 6"  # blocks of 1,024 bytes: a plot is larger, a bundle is only read
    code, out, err = shell(limits, "evaluate RUN PHOTOS --json --plot p.png", trained_run, tmp_path)
    assert json.loads(out)["top1"] > 0
    assert code == 1
    assert "p.png could not be drawn: " in last_line(err)
    assert not (tmp_path / "p.png").exists()
    shutil.copytree(trained_run, tmp_path / "run")
    (tmp_path / "run" / "confusion.png").unlink(missing_ok=True)
    code, out, err = shell(limits, "evaluate run PHOTOS --json", trained_run, tmp_path)
    assert json.loads(out)["top1"] > 0
    assert code == 0
    assert err.splitlines()[-1].startswith("run/confusion.png could not be drawn: ")
    assert not (tmp_path / "run" / "confusion.png").exists()


# Long work says what it does.


@pytest.mark.parametrize(
    ("command", "stages"),
    [
        (TRAIN.replace("fp32", "auto") + " --out run",
         ["reading ", "loading PyTorch", "building lenet5", "trying precisions", "writing the bundle"]),
        ("evaluate RUN PHOTOS --plot p.png", ["evaluating "]),
        ("predict RUN PHOTOS", ["loading ", "predicting"]),
        ("export RUN --to onnx --out out", ["writing and replaying"]),
        ("benchmark RUN --seconds 0.01", ["measuring "]),
        ("compare lenet5 --image-size 32", ["comparing", "loading PyTorch"]),
        ("convert RUN --to torch --out w.pth", ["converting "]),
        ("verify RUN", ["verifying "]),
        ("doctor PHOTOS", ["reading "]),
    ],
)  # fmt: skip
def test_every_stage_has_a_name(trained_run, tmp_path, command, stages):
    (tmp_path / "sitecustomize.py").write_text(
        "import googlenet.stages as s\ns.MAX_SILENCE = s.MIN_STAGE_SECONDS = 0.0\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    _, _, err = shell("", command, trained_run, tmp_path, PYTHONPATH=path)
    for stage in stages:
        assert any(line.startswith(stage) and line.endswith(" ...") for line in err.splitlines()), err


def test_a_stage_is_named_within_two_seconds_and_not_at_all_where_it_is_over_soon():
    code = (
        "import time, sys\nfrom googlenet.stages import stage\nbegun = time.monotonic()\n"
        "with stage('short'): time.sleep(0.05)\n"
        "with stage('first'): time.sleep(0.5)\n"
        "with stage('second'): time.sleep(1.6)\n"
    )
    loud = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=loud)
    assert done.stderr == "second ...\n"
