"""The Hugging Face Hub: weights are downloaded from it, runs prepared for it and sent to it. Only when asked to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from googlenet import bundle as bundles
from googlenet.bundle import Bundle
from googlenet.errors import MissingExtraError, RunError, WeightsError
from googlenet.exchange.check import HUB, check_repository, check_source
from googlenet.exchange.places import CONFIG, IN_FOLDER, INDEX
from googlenet.exchange.state_dicts import timm_files
from googlenet.files import write_error
from googlenet.metrics import METRICS
from googlenet.models import weights
from googlenet.text import json_text, printable

README = "README.md"
IN_RUN = "hub"  # where a run keeps its folder for the Hub, by default


def fetch(repo_id: str, download: bool) -> tuple[str, Path]:
    """Download the weights of a repository, with its config.json. Returns a name with the revision, and the folder.

    Raises :class:`WeightsError` without ``download``, or if it fails; :class:`MissingExtraError` without the hub extra.
    """
    check_source(f"{HUB}{repo_id}", download)
    hub = _client()
    try:
        info = hub.HfApi().model_info(repo_id)
        there = [file.rfilename for file in info.siblings or ()]
        wanted = next((name for name in IN_FOLDER if name in there), None)
        if wanted is None:
            known = ", ".join(name for name in IN_FOLDER if not name.endswith(INDEX))
            raise WeightsError(f"{HUB}{repo_id} holds none of {known}: download its weights by hand")
        beside = [name for name in (CONFIG, bundles.CARD) if name in there]
        stem, dot, kind = wanted.removesuffix(INDEX).rpartition(".")
        parts = [f"{stem}-*-of-*{dot}{kind}"] if wanted.endswith(INDEX) else []
        folder = hub.snapshot_download(repo_id, revision=info.sha, allow_patterns=[wanted, *parts, *beside])
    except WeightsError:
        raise
    except Exception as error:  # the client and its dependencies raise exceptions of many families
        raise WeightsError(f"{HUB}{repo_id} could not be fetched: {_first_line(error)}") from error
    return f"{HUB}{repo_id}@{info.sha}", Path(folder)


def push(run: str | Path, name: str, upload: bool = False, *, folder: str | Path | None = None) -> Path:
    """Write the folder of a Hugging Face Hub repository for a run and, with ``upload``, send it. Returns the folder.

    The folder holds the bundle, a model card and, where timm has the network, timm's files. Nothing leaves this
    machine without ``upload``.

    Args:
        run: a run of ``train``, or a bundle.
        name: the repository, ``"OWNER/NAME"``.
        upload: send the folder; this needs the hub extra.
        folder: where to write it; by default ``hub`` beside the bundle. A README.md that is there is kept.

    Raises:
        BundleError: there is no bundle, or it is damaged.
        RunError: the folder cannot be written, or holds something else.
        WeightsError: the name is not one of a repository, or sending failed.
        MissingExtraError: ``upload`` without the hub extra.

    ::

        googlenet.push("runs/flowers", "me/flowers")
    """
    check_repository(name)
    hub = _client() if upload else None
    written = write_hub_folder(run, folder, name)
    if hub is not None:
        try:
            hub.HfApi().create_repo(name, exist_ok=True)
            hub.HfApi().upload_folder(repo_id=name, folder_path=written)
        except Exception as error:  # as above
            raise WeightsError(
                f"{name} could not be sent, the folder {written} is ready: {_first_line(error)} "
                "(`hf auth login` says who you are)"
            ) from error
    return written


def write_hub_folder(run: str | Path, folder: str | Path | None = None, repo_id: str = "OWNER/NAME") -> Path:
    """Write the folder of a Hub repository: the bundle, a model card and, where timm has the network, timm's files.

    ``folder`` is by default beside the bundle. An existing README.md is kept. Training images that the bundle keeps are
    left out: all the world would see them. Raises :class:`RunError` if the folder holds another run or anything else.
    """
    bundle = _without_training_images(bundles.read(run))
    path = bundle.path.parent / IN_RUN if folder is None else Path(folder)
    contents = {name: bundle.read(name) for name in bundle.card.files}
    contents[bundles.CARD] = bundle.card.to_json().encode()
    if "timm" in weights.layouts_of(bundle.network):
        contents |= timm_files(bundle)
    contents[README] = readme(bundle, repo_id, CONFIG in contents).encode()
    _write(path, contents)
    return path


def _without_training_images(bundle: Bundle) -> Bundle:
    files = {name: sha256 for name, sha256 in bundle.card.files.items() if name != bundles.NEIGHBOURS}
    return replace(bundle, card=replace(bundle.card, files=files))


def _write(path: Path, contents: Mapping[str, bytes]) -> None:
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file: --folder names a directory")
    strangers = sorted({entry.name for entry in path.iterdir()} - contents.keys()) if path.is_dir() else []
    if strangers:  # they would be sent along
        raise RunError(f"{path} holds files of something else ({', '.join(strangers[:3])}): choose another --folder")
    card = path / bundles.CARD
    if card.exists() and card.read_bytes() != contents[bundles.CARD]:
        raise RunError(f"{path} was made of another state of the run: delete it, or choose another --folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            if name != README or not (path / README).exists():  # its license was chosen by hand
                (path / name).write_bytes(content)
    except OSError as error:
        raise write_error(path, error) from error


# The model card.


def readme(bundle: Bundle, repo_id: str, for_timm: bool) -> str:
    """Return the text of README.md: metadata for the Hub's search, then the model card."""
    card, network = bundle.card, bundle.network
    tags = ["image-classification", "openvino", "onnx", network.name, *(["timm"] if for_timm else [])]
    parts = [
        "---",
        "library_name: googlenet",
        "# license: choose one, for example apache-2.0",
        "pipeline_tag: image-classification",
        "tags:",
        *(f"- {json_text(printable(tag))}" for tag in tags),
        "---",
        "",
        f"# {repo_id.rpartition('/')[2]}",
        "",
        f"{_plain(network.name)}, a classifier of images into {len(card.class_names)} classes."
        + (f" The network is from: {_plain(network.paper)}." if network.paper else ""),
        "",
        *_classes(card.class_names),
        *_metrics(card.metrics),
        *_input(bundle),
        *_use(repo_id, for_timm),
        *_differences(network.differences),
    ]
    return "\n".join(parts)


_SHOWN_CLASSES = 20
_WORDS = re.compile(r"[^\W_]+([ _-][^\W_]+)*")


def _classes(names: tuple[str, ...]) -> list[str]:
    more = len(names) - _SHOWN_CLASSES
    listed = ", ".join(map(_code, names[:_SHOWN_CLASSES])) + (f" and {more} more (in `card.json`)" if more > 0 else "")
    return ["## Classes", "", listed, ""]


def _code(name: str) -> str:
    """Write a name as plain words, or as code if Markdown, HTML or the Hub might interpret it."""
    text = printable(name)
    if _WORDS.fullmatch(text):
        return text
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    room = " " if text.strip(" ") and (text[0] in "` " or text[-1] in "` ") else ""
    return f"{fence}{room}{text}{room}{fence}" if text else "(empty)"


def _plain(text: str) -> str:
    """Escape all markup of Markdown and HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|!&~$@:])", r"\\\1", printable(text))


def _metrics(metrics: Mapping[str, float]) -> list[str]:
    if not metrics:
        return ["## Metrics", "", "Not measured here: the weights were converted.", ""]
    shown = {
        name: METRICS[name].format(value) if name in METRICS else f"{value:.6g}" for name, value in metrics.items()
    }
    rows = [f"| {_plain(name)} | {value} |" for name, value in shown.items()]
    return ["## Metrics", "", "On held-out images.", "", "| metric | value |", "|---|---:|", *rows, ""]


_RESIZED = {
    "crop": "the shorter side",
    "pad": "the longer side, with grey beside the shorter one,",
    "squash": "both sides",
}


def _input(bundle: Bundle) -> list[str]:
    preprocessing = bundle.card.preprocessing
    return [
        "## Input",
        "",
        f"{preprocessing.kind} images, {_RESIZED[preprocessing.resize]} resized to {preprocessing.resized_side} pixels "
        f"and the centre {preprocessing.size} × {preprocessing.size} cut out. `model.onnx` takes them as uint8 "
        f"(N, H, W, {preprocessing.channels}); it holds the normalisation (mean {_numbers(preprocessing.mean)}, "
        f"standard deviation {_numbers(preprocessing.std)} on a scale of 0 to 1).",
        *(["", "Its answer is the mean over an image and its mirror image."] if bundle.card.mirror else []),
        "",
    ]


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _use(repo_id: str, for_timm: bool) -> list[str]:
    lines = [
        "## Use",
        "",
        "```python",
        "import googlenet, huggingface_hub",
        "",
        f'folder = huggingface_hub.snapshot_download("{repo_id}")',
        "classifier = googlenet.load(folder)",
        'print(classifier.predict("image.jpg").top(5))',
        "```",
        "",
    ]
    if for_timm:
        lines += [f'In timm: `timm.create_model("hf-hub:{repo_id}", pretrained=True)`.', ""]
    return lines


def _differences(differences: Sequence[str]) -> list[str]:
    if not differences:
        return []
    return ["## Differences from the paper", "", *(f"- {_plain(each)}" for each in differences), ""]


# The client.


def _client() -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise MissingExtraError("hub", "huggingface_hub") from error
    return huggingface_hub


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
