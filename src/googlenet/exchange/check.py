"""What is looked at before weights are converted, without PyTorch: the source, and where it is to go."""

from __future__ import annotations

import re
from pathlib import Path

from googlenet.errors import DataError, InputSizeError, RunError, WeightsError
from googlenet.extras import require
from googlenet.files import check_output_path
from googlenet.models import zoo
from googlenet.models.analysis import minimum_size, too_small
from googlenet.text import printable

HUB = "hf:"  # of a source that lies on the Hugging Face Hub

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_repository(repo_id: str) -> None:
    """Raise :class:`WeightsError` where this is no name of a repository on the Hub."""
    if not _REPOSITORY.fullmatch(repo_id):
        raise WeightsError(f"{repo_id!r} is no repository of the Hugging Face Hub: write OWNER/NAME")


def check_source(source: str | Path, download: bool) -> None:
    """Raise where there is nothing to convert, or what is on the Hub may not be fetched or lacks its extra."""
    name = str(source)
    if name.startswith(HUB):
        check_repository(name.removeprefix(HUB))
        if not download:
            raise WeightsError(f"{name} lies on the Hugging Face Hub: give --download to fetch it from there")
        require("hub", "huggingface_hub")
    elif not Path(source).exists():
        raise WeightsError(f"{printable(name)} does not exist: give a file or a folder of weights, or {HUB}OWNER/NAME")


def check_free(run: Path) -> None:
    """Raise :class:`RunError` where something is in the way of a new run, or it cannot be written."""
    check_output_path(run)
    if run.exists() and not run.is_dir():
        raise RunError(f"{printable(str(run))} is a file: --out names a directory for the run")
    if run.is_dir() and any(run.iterdir()):
        raise RunError(f"{printable(str(run))} is not empty: choose another --out")


def check_network(name: str, image_size: int | None) -> None:
    """Raise :class:`NetworkError` where there is no such network, or it takes no pictures of that size."""
    network = zoo.find(name)
    if image_size is not None and image_size < minimum_size(network):
        raise InputSizeError(f"--image-size {image_size}: {too_small(network, image_size, image_size)}")


def check_weights_file(path: Path, layout: str) -> None:
    """Raise where weights in another project's ``layout`` cannot be written to ``path``."""
    check_output_path(path)
    if path.exists() and not (layout == "timm" and path.is_dir() and not any(path.iterdir())):
        raise RunError(f"{printable(str(path))} is there already: choose another --out")
    if layout != "timm" and path.suffix not in (".pth", ".pt", ".safetensors"):
        raise WeightsError(
            f"--out {printable(str(path))}: {layout} weights are written to a .pth or a .safetensors file"
        )


def read_class_names(path: str | Path) -> tuple[str, ...]:
    """Read a text file with one class a line. Raises :class:`DataError` when it cannot be read."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: --classes names a text file with one class a line") from error
    return tuple(line.strip() for line in lines if line.strip())
