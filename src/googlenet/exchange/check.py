"""Checks before weights are converted: the source, and where it is to go. No PyTorch."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from googlenet.errors import DataError, InputSizeError, RunError, WeightsError
from googlenet.exchange import files
from googlenet.extras import require
from googlenet.files import check_output_path, open_regular
from googlenet.models import weights, zoo
from googlenet.models.analysis import minimum_size, too_small
from googlenet.models.spec import Network
from googlenet.text import first_few, printable

HUB = "hf:"  # prefix of sources on the Hugging Face Hub

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_repository(repo_id: str) -> None:
    """Raise :class:`WeightsError` unless this is the name of a repository on the Hub."""
    if not _REPOSITORY.fullmatch(repo_id):
        raise WeightsError(f"{repo_id!r} is no name of a repository on the Hugging Face Hub: write OWNER/NAME")


def check_source(source: str | Path, download: bool) -> None:
    """Raise if a source is an address, or lies on the Hub and may not be downloaded, or the extra is missing."""
    name = str(source)
    if name.startswith(HUB):
        check_repository(name.removeprefix(HUB))
        if not download:
            raise WeightsError(f"{name} lies on the Hugging Face Hub: give --download to fetch it from there")
        require("hub", "huggingface_hub")
    elif re.match(r"[A-Za-z]{2,}:/", name):
        raise WeightsError(f"{printable(name)} is an address: download the file first")


def check_fits(source: str | Path, network: Network, key: str | None) -> None:
    """Raise :class:`WeightsError` if names and shapes in a file show that its weights are not of ``network``."""
    looked = None if str(source).startswith(HUB) else files.look(source)
    if looked is None:
        return
    try:
        weights.fit(network, looked.tensors, key)
    except WeightsError as error:
        raise unfit(looked, network, error) from error


def unfit(found: files.Looked | files.WeightsFile, network: Network, error: WeightsError) -> WeightsError:
    """Return the error with the name of the file, and a hint at what is missing or was not opened."""
    return WeightsError(f"{printable(found.path.name)}: {error}{_folded(found, network)}{_beside(found.objects)}")


def _folded(found: files.Looked | files.WeightsFile, network: Network) -> str:
    """Return a hint if batch normalisation was folded into the convolutions, which cannot be undone."""
    statistics = any(name.endswith((".running_mean", ".running_var")) for name in found.tensors)
    if found.path.suffix.lower() != ".onnx" or network.norm is None or statistics:
        return ""
    return (
        "; batch normalisation was folded into the convolutions when this file was written: convert the state dict "
        "(.pth) that it came from, or export it anew with training=torch.onnx.TrainingMode.PRESERVE, dynamo=False and "
        "do_constant_folding=False"
    )


def _beside(objects: tuple[str, ...]) -> str:
    """Return a hint at objects of the file that were not opened, and may hold its weights."""
    modules = [name for name in objects if not name.startswith(("argparse.", "numpy.", "collections."))]
    if not modules:
        return ""
    return f"; it also holds objects ({first_few(modules, 2)}), which are not opened: save module.state_dict()"


def check_free(run: Path) -> None:
    """Raise :class:`RunError` if a new run cannot be written to ``run``, or something is there."""
    check_output_path(run)
    if run.exists() and not run.is_dir():
        raise RunError(f"{printable(str(run))} is a file: --out names a directory for the run")
    if run.is_dir() and any(run.iterdir()):
        raise RunError(f"{printable(str(run))} is not empty: choose another --out")


def check_network(name: str, image_size: int | None) -> None:
    """Raise :class:`NetworkError` if there is no such network, or it takes no images of that size."""
    network = zoo.find(name)
    if image_size is not None and image_size < minimum_size(network):
        raise InputSizeError(f"--image-size {image_size}: {too_small(network, image_size, image_size)}")


@dataclass(frozen=True)
class ClassList:
    """The classes of a text file, in order, and the ``encoding`` it was read with."""

    names: tuple[str, ...]
    encoding: str = "UTF-8"


def read_class_names(path: str | Path) -> ClassList:
    """Read a text file with one class per line, in UTF-8, UTF-16 with a byte order mark, or else Latin-1.

    Lines end with LF, CR LF or CR; other line separators stay in the name. Raises :class:`DataError` if the file
    cannot be read or has no names.
    """
    name = printable(str(path))
    try:
        with open_regular(path) as file:
            content = file.read(_MAX_CLASS_BYTES + 1)
    except (OSError, ValueError) as error:
        raise DataError(f"{name} cannot be read: --classes names a text file with one class a line") from error
    text, encoding = _decoded(content)
    names = tuple(line.strip(" \t") for line in re.split(r"\r\n|\n|\r", text))
    names = tuple(line for line in names if line)
    if not names or "\0" in text or len(content) > _MAX_CLASS_BYTES:
        raise DataError(f"{name} holds no class names: --classes names a text file with one class a line")
    return ClassList(names, encoding)


_MAX_CLASS_BYTES = 2**24


def _decoded(content: bytes) -> tuple[str, str]:
    marks = ((codecs.BOM_UTF8, "UTF-8"), (codecs.BOM_UTF16_LE, "UTF-16-LE"), (codecs.BOM_UTF16_BE, "UTF-16-BE"))
    for mark, encoding in marks:
        if content.startswith(mark):
            return content.removeprefix(mark).decode(encoding, "replace"), encoding
    try:
        return content.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "Latin-1"
