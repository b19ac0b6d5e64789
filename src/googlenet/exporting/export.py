"""``export``: a bundle's graph as files for programs that know nothing of bundles. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from googlenet import bundle as bundles
from googlenet.bundle import INT8, MODEL, Bundle
from googlenet.errors import BundleError
from googlenet.exporting.formats import Format, check_format, find_format, replay_engines
from googlenet.files import write_error, write_whole
from googlenet.inference.engine import Engine
from googlenet.inference.golden import golden
from googlenet.inference.verify import TOLERANCE


@dataclass(frozen=True)
class Exported:
    """The files that were written, the engines that replayed them, and the largest difference of a probability."""

    files: tuple[Path, ...]
    engines: tuple[str, ...]
    largest_difference: float


def export(run: str | Path, out: str | Path, to: str = "onnx", *, int8: bool = False) -> Exported:
    """Write a bundle's graph into the folder ``out``: ``model.onnx``, or OpenVINO's ``model.xml`` and ``model.bin``.

    The graph takes ``images`` (N, size, size, C) uint8, any N. ``card.json``, written beside it, describes it; the
    class names are in its metadata too. The bundle's golden images are then replayed from the files, by OpenVINO and,
    for ONNX, by ONNX Runtime where it is installed.

    Args:
        run: a run of ``train``, or a bundle.
        out: a folder; files of the same names in it are replaced.
        to: the format, ``"onnx"`` or ``"openvino"``.
        int8: write the graph in 8 bits, as ``int8.xml`` and ``int8.bin`` (OpenVINO only). The bundle must have been
            quantised (:func:`googlenet.quantize`).

    Raises:
        BundleError: there is no bundle, it is damaged, or the files do not reproduce its answers.
        DeviceError: there is no such format, or no graph in 8 bits in it.
        RunError: the files cannot be written.

    ::

        googlenet.export("runs/flowers", "flowers-onnx").files
    """
    check_format(to, int8)
    bundle, folder, format_ = bundles.read(run), Path(out), find_format(to)
    if int8:
        Engine(bundle, "int8")  # raises where there is none
    contents = format_.write(bundle, INT8 if int8 else MODEL)
    contents["card.json"] = bundle.card.to_json().encode()
    try:
        files = _write(folder, contents)
    except OSError as error:
        raise write_error(folder, error) from error
    return _replayed(bundle, files, format_, int8)


def _write(folder: Path, contents: dict[str, bytes]) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_whole(folder / name, content)
    return tuple(folder / name for name in contents)


def _replayed(bundle: Bundle, files: tuple[Path, ...], format_: Format, int8: bool) -> Exported:
    images, expected = golden(bundle)
    if int8:
        expected = Engine(bundle, "int8").probabilities(images)
    engines = replay_engines(format_)
    differences = {name: float(np.abs(answer(files[0], images) - expected).max()) for name, answer in engines.items()}
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            raise BundleError(f"{files[0]}: in {name} a probability differs by {difference:.2g} from the bundle's")
    return Exported(files, tuple(differences), max(differences.values()))
