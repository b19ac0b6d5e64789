"""``export``: a bundle's graph as files for programs that know nothing of bundles. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from googlenet import bundle as bundles
from googlenet.bundle import INT8, MODEL, Bundle
from googlenet.errors import BundleError
from googlenet.exporting.formats import Format, Request, check_format, find_format, replay_engines
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


def export(
    run: str | Path,
    out: str | Path,
    to: str = "onnx",
    *,
    int8: bool = False,
    single_file: bool = False,
    examples: bool = True,
) -> Exported:
    """Write a bundle into the folder ``out`` for other programs: as a graph, or as a web page.

    A graph is ``model.onnx``, or OpenVINO's ``model.xml`` and ``model.bin``. It takes ``images`` (N, size, size, C)
    uint8, any N. ``card.json``, written beside it, describes it; the class names are in its metadata too. A web page
    (``index.html`` and what it needs) classifies images in the browser, without a server; its weights have 16 bits. The
    bundle's golden images are then replayed from the files, by OpenVINO and, except for OpenVINO's format, by ONNX
    Runtime where it is installed.

    Args:
        run: a run of ``train``, or a bundle.
        out: a folder; files of the same names in it are replaced.
        to: the format, ``"onnx"``, ``"openvino"`` or ``"web"``.
        int8: write the graph in 8 bits, as ``int8.xml`` and ``int8.bin`` (OpenVINO only). The bundle must have been
            quantised (:func:`googlenet.quantize`).
        single_file: make the web page one HTML file, which opens from a disk, too.
        examples: show the images that the bundle keeps (``golden.npz``) on the web page, to try it with.

    Raises:
        BundleError: there is no bundle, it is damaged, or the files do not reproduce its answers.
        DeviceError: there is no such format, or no graph in 8 bits in it, or it is no web page.
        GoogLeNetError: the page is too large for a single file.
        RunError: the files cannot be written.

    ::

        googlenet.export("runs/flowers", "flowers-onnx").files
    """
    check_format(to, int8, page=single_file or not examples)
    bundle, folder, format_ = bundles.read(run), Path(out), find_format(to)
    if int8:
        Engine(bundle, "int8")  # raises where there is none
    contents = format_.write(bundle, Request(INT8 if int8 else MODEL, single_file, examples))
    try:
        files = _write(folder, contents)
        for name in set(format_.images) - files.keys():  # of a page that was there, and perhaps showed them
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return _replayed(bundle, files, format_, int8)


def _write(folder: Path, contents: dict[str, bytes]) -> dict[str, Path]:
    files = {name: folder / name for name in contents}
    for name, content in contents.items():
        files[name].parent.mkdir(parents=True, exist_ok=True)
        write_whole(files[name], content)
    return files


def _replayed(bundle: Bundle, files: dict[str, Path], format_: Format, int8: bool) -> Exported:
    images, expected = golden(bundle)
    if int8:
        expected = Engine(bundle, "int8").probabilities(images)
    graph, weights = format_.read(files)
    differences = {
        name: float(np.abs(replay(graph, weights, images) - expected).max())
        for name, replay in replay_engines(format_).items()
    }
    first, *_ = paths = tuple(files.values())
    for name, difference in differences.items():
        if not difference <= (format_.tolerance or TOLERANCE):
            raise BundleError(f"{first}: in {name} a probability differs by {difference:.2g} from the bundle's")
    return Exported(paths, tuple(differences), max(differences.values()))
