"""A trained classifier on disk: write, read, verify. A directory that is whole or absent.

    card.json            what it is; the sha256 of every file beside it
    weights.safetensors  for fine-tuning
    model.onnx           uint8 (N, H, W, C) in, RGB where C is 3; ``probabilities`` (N, K), ``maps`` (N, K, h, w) and
                         ``embeddings`` (N, D) out
    int8.xml, int8.bin   the same in 8 bits, where it was quantised, without the maps
    golden.npz           a few inputs and the outputs they must give

A bundle from elsewhere is untrusted: nothing in it is ever unpickled or run, hashes are checked on
reading, and a graph that refers to files outside itself is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from googlenet.card import ModelCard
from googlenet.errors import BundleError
from googlenet.files import sibling, sync_directory
from googlenet.models.spec import Network, from_json

CARD = "card.json"
MODEL = "model.onnx"
INT8, INT8_WEIGHTS = "int8.xml", "int8.bin"
WEIGHTS = "weights.safetensors"
GOLDEN = "golden.npz"
IN_RUN = "bundle"  # where a run keeps its bundle

# A tensor of an ONNX file that lies outside of it names its place under the key "location".
_EXTERNAL_DATA = b"\x0a\x08location"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, its card read. ``path`` is the directory."""

    path: Path
    card: ModelCard

    @property
    def network(self) -> Network:
        """The network as data."""
        network = from_json(self.card.network)
        if not isinstance(network, Network):
            raise BundleError(f"{self.path / CARD} holds no network")
        return network

    def read(self, name: str) -> bytes:
        """Read one file and check its hash. Raises :class:`BundleError` when it is missing or altered."""
        path = self.path / name
        if name not in self.card.files:
            raise BundleError(f"{self.path} holds no {name}: it has {', '.join(sorted(self.card.files))}")
        content = self._content(name)
        if hashlib.sha256(content).hexdigest() != self.card.files[name]:
            raise BundleError(f"{path} was altered or damaged: its sha256 is not the one of {CARD}; copy it again")
        if name == MODEL and _EXTERNAL_DATA in content:
            raise BundleError(f"{path} refers to data outside of itself: only single-file graphs are read")
        return content

    def _content(self, name: str) -> bytes:
        path = self.path / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error.strerror}") from error

    def packed(self, *names: str) -> PackedBundle:
        """Take some of the files along, for a machine that does not see this disk. Raises as :meth:`read` does."""
        return PackedBundle(self.path, self.card, {name: self.read(name) for name in names})


@dataclass(frozen=True)
class PackedBundle(Bundle):
    """A bundle whose ``files`` are in memory. Reading checks them as on a disk; ``path`` is where they were."""

    files: Mapping[str, bytes]

    def _content(self, name: str) -> bytes:
        if name not in self.files:
            raise BundleError(f"{self.path / name} was not packed: {', '.join(sorted(self.files))} were")
        return self.files[name]


def read(path: str | Path) -> Bundle:
    """Read the bundle at ``path``, or the one inside the run at ``path``.

    Raises :class:`BundleError` when there is none or its card is damaged, foreign or too new.
    """
    here = Path(path)
    if not (here / CARD).is_file() and (here / IN_RUN / CARD).is_file():
        here = here / IN_RUN
    if not (here / CARD).is_file():
        what = f"holds no {CARD}" if here.exists() else "does not exist"
        raise BundleError(f"{path} {what}: give a run of `googlenet train`, or the bundle inside it")
    try:
        text = (here / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{here / CARD} cannot be read: {error}") from error
    return Bundle(here, ModelCard.from_json(text))


def write(path: str | Path, card: ModelCard, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle, replacing one that is there: to a temporary sibling, synced to disk, then renamed."""
    path = Path(path)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    card = dataclasses.replace(card, files=hashes)
    fresh = sibling(path, f".{os.getpid()}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        for name, content in {**files, CARD: card.to_json().encode()}.items():
            _write_synced(fresh / name, content)
        _swap(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    sync_directory(path.parent)
    return Bundle(path, card)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _swap(fresh: Path, path: Path) -> None:
    old = sibling(path, f".{os.getpid()}.old")
    if path.exists():
        path.rename(old)
    fresh.rename(path)
    shutil.rmtree(old, ignore_errors=True)
