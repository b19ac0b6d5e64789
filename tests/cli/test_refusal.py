"""A wrong command is refused within a second of the processor's time, before what works is loaded: every command."""

import resource
import shlex
import subprocess
import sys

import pytest

from tests.conftest import TORCH, forbidding, without_stages

SECONDS = 1.0  # of processor time, of the whole command

WORKS = (*TORCH, "scipy._lib", "sklearn.base", "matplotlib.cbook", "fastapi.routing", "uvicorn.config",
         "onnxruntime.capi", "optuna.study")  # fmt: skip


@pytest.fixture(scope="module")
def without_what_works(tmp_path_factory):
    """The environment of a process that may only look whether a command can be done."""
    return forbidding(tmp_path_factory.mktemp("hook"), *WORKS)


def refused(arguments, environment, **options):
    """Run a command; its exit code, the line it printed, and the processor time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "googlenet", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment, timeout=60, **options,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = without_stages(done.stderr).splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("googlenet: ")
    assert "defect" not in lines[0]
    assert done.stdout == ""
    return done.returncode, lines[0], seconds


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("train '' --out run", 2, "the value after 'train' is empty"),
        ("train PHOTOS --out=", 2, "the value after '--out' is empty"),
        ("train PHOTOS --out run --batch-size 999999999999999999999", 2, "batch_size = 999999999999999999999"),
        ("train nowhere --out run", 2, "nowhere does not exist: DATA is a folder"),
        ("train empty --out run", 2, "empty has no images"),
        ("train PHOTOS --out a.txt", 1, "a.txt is a file: --out names a directory"),
        ("train PHOTOS --out a.txt/run", 1, "a.txt is not a folder"),
        ("train PHOTOS --out RUN", 1, "holds a run: continue it with --resume"),
        ("train PHOTOS --out full", 1, "full is not empty and holds no run"),
        ("train PHOTOS --out LONG", 1, "a name has more than 255 bytes"),
        ("train PHOTOS --out loop/run", 1, "symbolic links"),
        ("train PHOTOS --out locked/run", 1, "locked: "),
        ("train PHOTOS --out empty --resume", 1, "holds no run to resume"),
        ("train PHOTOS --out run --recipe bad.toml", 2, "unknown key 'epoch', did you mean 'epochs'"),
        ("train PHOTOS --out run --recipe broken.toml", 2, "is not TOML"),
        ("train PHOTOS --out run --recipe deep.toml", 2, "nested too deeply: a recipe is"),
        ("train PHOTOS --out run --recipe dotted.toml", 2, "nested too deeply: a recipe is"),
        ("train PHOTOS --out run --network googlenett", 2, "did you mean 'googlenet'"),
        ("train PHOTOS --out run --image-size 20", 2, "it takes 31×31 or more"),
        ("train PHOTOS --out run --lr -1", 2, "lr = -1.0"),
        ("train PHOTOS --out run --minutes 1 --epochs 1", 2, "exclude each other"),
        ("train PHOTOS --out run --workers -1", 2, "workers = -1: should be greater than or equal to 0"),
        ("train PHOTOS --out run --device cuda", 2, "this machine has no cuda"),
        ("train PHOTOS --out run --device tpu", 2, "tpu"),
        ("train PHOTOS --out run --precision fp64", 2, "fp64"),
        ("train PHOTOS --out run --freeze conv1", 2, "--freeze conv1 without --weights"),
        ("train PHOTOS --out run --weights RUN --freeze conv9", 2, "conv9"),
        ("train PHOTOS --out run --weights nowhere", 2, "--weights nowhere does not exist"),
        ("train PHOTOS --out run --weights full", 1, "full holds no card.json"),
        ("train cifar10 --download --out run --lr -1", 2, "lr = -1.0"),
        ("train flowers --download --out run", 2, "none of the sets that can be fetched"),
        ("tune nowhere --minutes 1 --out run", 2, "nowhere does not exist: DATA is a folder"),
        ("ablate nowhere --out run", 2, "nowhere does not exist: DATA is a folder"),
        ("ablate PHOTOS --out run --heads 0,7", 2, "--heads asks for 7"),
        ("prune nowhere --out run", 1, "nowhere does not exist: give a run"),
        ("augment nowhere --sheet sheet.png", 2, "nowhere does not exist: DATA is a folder"),
        ("demo --out a.txt", 1, "a.txt is a file"),
        ("demo --out full", 1, "full is not empty"),
        ("evaluate nowhere PHOTOS", 1, "nowhere does not exist: give a run"),
        ("evaluate RUN nowhere", 2, "nowhere does not exist"),
        ("evaluate RUN PHOTOS --split test", 2, "has no split 'test'"),
        ("evaluate RUN PHOTOS --precision int8", 2, "has no int8 graph"),
        ("evaluate RUN PHOTOS --plot plot.docx", 2, "should end in .png"),
        ("evaluate RUN PHOTOS --plot a.txt/plot.png", 1, "a.txt is not a folder"),
        ("evaluate RUN flowers --download", 2, "none of the sets that can be fetched"),
        ("predict nowhere a.txt", 1, "nowhere does not exist: give a run"),
        ("predict RUN PHOTOS --out a.txt", 2, "ends in none of"),
        ("predict RUN PHOTOS --out there.csv", 2, "already exists: --resume"),
        ("predict RUN PHOTOS --out a.txt/r.csv", 1, "a.txt is not a folder"),
        ("predict RUN PHOTOS --sort-into a.txt", 2, "--sort-into a.txt is a file"),
        ("predict RUN PHOTOS --sort-into a.txt/sorted", 1, "a.txt is not a folder"),
        ("predict RUN PHOTOS --precision int8", 2, "has no int8 graph"),
        ("explain nowhere a.txt", 1, "nowhere does not exist: give a run"),
        ("explain RUN a.txt --class rose", 1, "no class is called 'rose'"),
        ("serve nowhere", 1, "nowhere does not exist: give a run"),
        ("early-exit nowhere", 1, "nowhere does not exist: give a run"),
        ("compare lenet", 2, "no network is called 'lenet'"),
        ("compare lenet5 --train nowhere --image-size 32", 2, "nowhere does not exist"),
        ("compare lenet5 --image-size 32 --plot plot.docx", 2, "should end in .png"),
        ("compare lenet5 --image-size 32 --plot a.txt/plot.png", 1, "a.txt is not a folder"),
        ("benchmark nowhere", 2, "neither a run, nor a bundle, nor a network"),
        ("benchmark lenet5 --precision int8", 2, "int8 cannot be measured"),
        ("benchmark lenet5 --precision fp8", 2, "fp8 cannot be measured"),
        ("benchmark lenet5 --image-size 4", 2, "lenet5 got 4×4 pixels"),
        ("benchmark lenet5 --seconds 0", 2, "more than 0"),
        ("benchmark RUN --plot a.txt/plot.png", 1, "a.txt is not a folder"),
        ("export nowhere", 1, "nowhere does not exist: give a run"),
        ("export RUN --to onnx --out a.txt/out", 1, "a.txt is not a folder"),
        ("export RUN --to tflite", 2, "no format is called 'tflite'"),
        ("export RUN --to onnx --int8", 2, "give --to openvino"),
        ("export RUN --to openvino --int8", 2, "make one with `googlenet quantize"),
        ("quantize nowhere", 1, "nowhere does not exist: give a run"),
        ("quantize RUN --data nowhere", 2, "nowhere does not exist"),
        ("verify nowhere", 1, "nowhere does not exist: give a run"),
        ("table lenet", 2, "no network is called 'lenet'"),
        ("doctor nowhere", 2, "nowhere does not exist"),
        ("doctor PHOTOS --plot plot.docx", 2, "should end in .png"),
        ("doctor PHOTOS --fix full", 2, "already exists"),
        ("doctor PHOTOS --fix a.txt/clean", 1, "a.txt is not a folder"),
        ("convert nowhere.pth --out run --network googlenet", 2, "nowhere.pth does not exist"),
        ("convert hf:a/b --out run --network googlenet", 2, "give --download"),
        ("convert a.txt --out run --network googlenett", 2, "did you mean 'googlenet'"),
        ("convert a.txt --out full --network googlenet", 1, "full is not empty"),
        ("convert a.txt --out run --network googlenet --classes nowhere", 2, "--classes names a text file"),
        ("convert nowhere --to timm --out new", 1, "nowhere does not exist: give a run"),
        ("convert RUN --to caffe --out new", 2, "no format of weights is called 'caffe'"),
        ("convert RUN --to torchvision --out a.txt", 1, "a.txt already exists"),
        ("convert RUN --to torchvision --out new.zip", 2, "ends in one of .pth, .pt, .safetensors"),
        ("push nowhere me/flowers", 1, "nowhere does not exist: give a run"),
        ("push RUN flowers", 2, "write OWNER/NAME"),
        ("push RUN me/flowers --folder a.txt/hub", 1, "a.txt is not a folder"),
    ],
)
def test_a_wrong_command_is_refused_at_once(without_what_works, trained_run, tmp_path, command, code, says):
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "a.txt").touch()
    (tmp_path / "a.txt").write_text("this is text")
    (tmp_path / "there.csv").touch()
    (tmp_path / "bad.toml").write_text("epoch = 3\n")
    (tmp_path / "broken.toml").write_text("epochs = = 3\n")
    (tmp_path / "deep.toml").write_text("epochs = " + 100_000 * "[" + 100_000 * "]")
    (tmp_path / "dotted.toml").write_text(".".join(100_000 * ["a"]) + " = 1")
    (tmp_path / "loop").symlink_to("loop")
    if "locked" in command:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path / "empty"], check=False).returncode:
            pytest.skip("needs the right to mount")
        (tmp_path / "locked").symlink_to("empty")
    named = {"RUN": str(trained_run), "PHOTOS": str(trained_run.parent / "photos"), "LONG": 300 * "x"}
    try:
        given, line, seconds = refused(
            [named.get(word, word) for word in shlex.split(command)], without_what_works, cwd=tmp_path
        )
    finally:
        if "locked" in command:
            subprocess.run(["umount", "--lazy", tmp_path / "empty"], check=True)
    assert given == code, line
    assert says in line
    assert seconds < SECONDS
    assert not (tmp_path / "run").exists()
