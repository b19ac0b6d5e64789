"""Files that would run something, or take more memory than they have: one line within a second, and nothing happens."""

import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from googlenet.errors import WeightsError
from googlenet.exchange import files
from googlenet.models import weights, zoo

MAX_MEMORY = 2**31  # bytes of memory that reading may take beside what is there already


class Call:
    """Pickled as a call of any function with any arguments."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def by_name(module, name, arguments=b")"):
    """A pickle that calls module.name, which need not exist here."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + arguments + b"R."


def archive(path, pickled, members=()):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (("data.pkl", pickled), ("version", b"3"), *members):
            file.writestr(f"archive/{name}", content)


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("function", [os.system, eval, exec, open, getattr, __import__, subprocess.call, os.mkdir])
def test_calls_of_the_standard_library_are_refused_and_not_made(tmp_path, beside, function):
    marker = tmp_path / "ran"
    arguments = {os.system: (f"touch {marker}",), subprocess.call: (["touch", str(marker)],), getattr: (os, "system")}
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    call = Call(function, *arguments.get(function, (code if function in (eval, exec) else str(marker),)))
    if function is open:
        call = Call(open, str(marker), "w")
    content = {"state_dict": {"a": torch.ones(2)}, "x": call} if beside else call
    if function is getattr:
        pickled = by_name("builtins", "getattr")
        (tmp_path / "w.pth").write_bytes(pickled)
    else:
        torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"its pickle holds more than tensors \(\S+\) and could run code"):
        files.read(tmp_path / "w.pth")
    assert not marker.exists()


def test_no_class_is_imported_and_no_function_called(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef run(*_): open('ran', 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    state = {"a": torch.ones(2)}
    torch.save(state, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth") as file:
        members = {name.partition("/")[2]: file.read(name) for name in file.namelist()}
    call = by_name("evil", "run")[2:-1]
    whole = b"\x80\x02}(X\x01\x00\x00\x00x" + call + b"X\x01\x00\x00\x00s" + members.pop("data.pkl")[2:-1] + b"u."
    archive(tmp_path / "v.pth", whole, members.items())
    found = files.read(tmp_path / "v.pth")
    assert (list(found.tensors), found.objects) == (["s.a"], ("evil.run",))
    assert "evil" not in sys.modules
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "pickled",
    [
        by_name("torch._utils", "_rebuild_tensor_v2")[:-2] + b"}b.",  # looks into what is called
        by_name("torch._utils", "_rebuild_tensor_v2")[:-2] + b"N}X\x05\x00\x00\x00_functK\x01s\x86b.",
        by_name("collections", "OrderedDict")[:-2] + b"}X\x01\x00\x00\x00aK\x01sb.",
        b"\x80\x02" + b")" + 200_000 * b"\x85" + b"q\x00}h\x00K\x01s.",  # a key whose hash would be deep without end
        b"\x80\x02" + b"N" + b"r\xff\xff\xff\xff" + b".",  # a place in a memo of four billion
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",  # an array of bytes that is not there
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".",
        b"\x80\x02I" + b"9" * 100_000 + b"\n.",
        b"\x80\x02U\x03abcQ.",
        b"\x80\x02](h\x00e.",
        b"\x80\x02" + 100_000 * b"]" + 99_999 * b"a" + b".",
        b"cos\nsystem\n(S'true'\ntR.",
    ],
)
def test_odd_pickles_are_refused(tmp_path, pickled):
    (tmp_path / "w.pth").write_bytes(pickled)
    archive(tmp_path / "z.pth", pickled)
    for name in ("w.pth", "z.pth"):
        with pytest.raises(WeightsError) as raised:
            files.read(tmp_path / name)
        assert "\n" not in str(raised.value)


# Memory.


def rebuilt(size, stride, count=1):
    """A pickle of one tensor over a storage of ``count`` numbers, of any size and stride."""

    def numbers(values):
        return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"

    pid = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + (
        b"\x8a\x08" + struct.pack("<q", count) + b"tQ"
    )
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + b"K\x00" + numbers(size) + numbers(stride) + b"\x89Ntr"
    return b"\x80\x02}X\x01\x00\x00\x00w" + call[:-1] + b"Rs."


def bomb(path, names=("archive/data.pkl", "archive/data/0")):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(names[0], rebuilt((2,), (1,)) if names[0].endswith("pkl") else bytes(2**27))
        for name in names[1:]:
            file.writestr(name, bytes(2**27))


def header(shape):
    content = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(content) + 1) + content + b"\n"


def npz(path, content):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("w.npy", content)


def sparse(path, size, start=b""):
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)


def onnx_file(path, dims, **values):
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=dims, **values)
    path.write_bytes(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor])).SerializeToString())


def filled(wire, shapes):
    one = wire.varint(5 << 3 | 5) + struct.pack("<f", 0.25)
    shaped = [SimpleNamespace(shape=shape) for shape in shapes]
    return b"".join(wire.tensorflow_constant(f"w{n}", array, content=one) for n, array in enumerate(shaped))


HUGE = 10**10
FILES = {
    "expanded.pth": lambda p, wire: archive(p, rebuilt((HUGE, 4), (0, 0)), [("data/0", bytes(4))]),
    "beyond.pth": lambda p, wire: archive(p, rebuilt((4, 4), (1, 1)), [("data/0", bytes(8))]),
    "count.pth": lambda p, wire: archive(p, rebuilt((4,), (1,), HUGE), [("data/0", bytes(8))]),
    "negative.pth": lambda p, wire: archive(p, rebuilt((-4,), (1,)), [("data/0", bytes(8))]),
    "bomb.pth": lambda p, wire: bomb(p),
    "bomb.npz": lambda p, wire: bomb(p, ("a.npy", "b.npy")),
    "shape.npz": lambda p, wire: npz(p, header((HUGE, 4))),
    "negative.npz": lambda p, wire: npz(p, header((-1, 4))),
    "header.npz": lambda p, wire: npz(p, b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"(" * 50_000),
    "objects.npz": lambda p, wire: np.savez(p, w=np.array([{}], object)),
    "header.safetensors": lambda p, wire: p.write_bytes(struct.pack("<Q", 2**60) + b"{}"),
    "long.safetensors": lambda p, wire: p.write_bytes(struct.pack("<Q", 2**26) + b"{" + bytes(64)),
    "shape.safetensors": lambda p, wire: p.write_bytes(
        struct.pack("<Q", 71) + b'{"w":{"dtype":"F32","shape":[10000000000],"data_offsets":[0,4]}}'.ljust(71) + bytes(4)
    ),
    "empty.pth": lambda p, wire: sparse(p, 2**31),
    "empty.safetensors": lambda p, wire: sparse(p, 2**31),
    "empty.npz": lambda p, wire: sparse(p, 2**31),
    "empty.onnx": lambda p, wire: sparse(p, 2**31),
    "empty.pb": lambda p, wire: sparse(p, 2**31),
    "empty.caffemodel": lambda p, wire: sparse(p, 2**31),
    "large.pb": lambda p, wire: sparse(p, 2**40, b"\x0a"),
    "large.pth": lambda p, wire: sparse(p, 2**40, b"PK\x03\x04"),
    "one.pb": lambda p, wire: p.write_bytes(filled(wire, [(60_000, 60_000)])),
    "many.pb": lambda p, wire: p.write_bytes(filled(wire, 40 * [(9_000, 10_000)])),
    "huge.pb": lambda p, wire: p.write_bytes(filled(wire, [(2**31, 2**31)])),
    "shape.onnx": lambda p, wire: onnx_file(p, [HUGE, 4]),
    "one.onnx": lambda p, wire: onnx_file(p, [HUGE, 4], float_data=[1.0]),
    "negative.onnx": lambda p, wire: onnx_file(p, [-1, -4], float_data=[1.0]),
    "shape.caffemodel": lambda p, wire: p.write_bytes(
        wire.block(100, wire.text(1, "w") + wire.block(7, wire.block(7, wire.block(1, 2 * wire.varint(2**40)))))
    ),
}  # fmt: skip


@pytest.fixture
def little_memory():
    """No more address space than is in use, and MOST."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MAX_MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", FILES)
def test_files_that_would_grow_are_refused_before_memory_is_taken(tmp_path, wire, name, little_memory):
    FILES[name](tmp_path / name, wire)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError) as raised:
        files.read(tmp_path / name)
    assert "\n" not in str(raised.value)
    assert "more memory than there is" not in str(raised.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 2**18  # KiB


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".onnx"])
def test_pipes_devices_and_folders_are_not_opened(tmp_path, suffix):
    os.mkfifo(tmp_path / f"w{suffix}")
    with pytest.raises(WeightsError, match=r"a pipe or a device, not a file"):
        files.read(tmp_path / f"w{suffix}")
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    with pytest.raises(WeightsError, match=r"a pipe or a device, not a file"):
        files.read(tmp_path / f"zero{suffix}")
    (tmp_path / "loop.pth").symlink_to(tmp_path / "loop.pth")
    with pytest.raises(WeightsError, match=r"loop.pth"):
        files.read(tmp_path / "loop.pth")
    folder = tmp_path / "folder"
    folder.mkdir()
    save_file({"a": torch.ones(1)}, folder / "model.safetensors")
    os.mkfifo(folder / "config.json")
    with pytest.raises(WeightsError, match=r"config.json is damaged: a pipe or a device"):
        files.read(folder)


def test_names_of_tensors_and_files_are_one_printable_line(tmp_path):
    odd = "x\x1b[31m\n\u202ey"
    torch.save({odd: torch.ones(1)}, tmp_path / f"{odd}.pth")
    found = files.read(tmp_path / f"{odd}.pth").tensors
    with pytest.raises(WeightsError) as raised:
        weights.from_layout(zoo.find("lenet5"), found)
    assert str(raised.value).isprintable()
    (tmp_path / f"{odd}.safetensors").write_bytes(pickle.dumps(1))
    with pytest.raises(WeightsError) as raised:
        files.read(tmp_path / f"{odd}.safetensors")
    assert str(raised.value).isprintable()
