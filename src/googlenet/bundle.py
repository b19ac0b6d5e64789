"""A trained classifier on disk, read and written: a directory that is whole or absent.

    card.json            what it is; the sha256 of every file beside it
    weights.safetensors  for fine-tuning
    model.onnx           uint8 (N, H, W, C) in, RGB where C is 3; ``probabilities`` (N, K), ``maps`` (N, K, h, w) and
                         ``embeddings`` (N, D) out
    int8.xml, int8.bin   the same in 8 bits, if it was quantised, without the maps
    golden.npz           a few inputs and their outputs, for verify
    certainty.npz        scores of held-out images, for sets of classes and for "unknown"; not where these were few
    neighbours.npz       embeddings and thumbnails of training images, where ``keep_neighbours`` asked for them
    exits.npz, exit1.onnx, exit2.onnx, …    auxiliary heads that may answer first, and from which confidence on

A bundle from elsewhere is untrusted: nothing in it is ever unpickled or run, hashes are checked on reading, and
whatever no bundle of ours holds is refused before a library reads it (``googlenet.checks``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from googlenet.card import FORMAT, ModelCard
from googlenet.errors import BundleError, NetworkError
from googlenet.files import NotARegularFileError, open_regular, sibling, sync_directory
from googlenet.strict_json import MAX_JSON_BYTES
from googlenet.text import first_few, printable

CARD = "card.json"
MODEL = "model.onnx"
INT8, INT8_WEIGHTS = "int8.xml", "int8.bin"
WEIGHTS = "weights.safetensors"
GOLDEN = "golden.npz"
CERTAINTY = "certainty.npz"
NEIGHBOURS = "neighbours.npz"
EXITS, EXIT_HEADS = "exits.npz", ("exit1.onnx", "exit2.onnx", "exit3.onnx", "exit4.onnx")
IN_RUN = "bundle"  # where a run keeps its bundle

MAX_FILE_BYTES = 2**31 - 1  # the limit of a protocol buffer
MAX_HEAD_WEIGHTS = 2**28  # of auxiliary heads, which are not in the graph; GoogLeNet's have 2**23
MAX_ERROR = 300  # characters
HASHED_BYTES = 2**20  # of a file, at a time
_BLOBS = "blobs"  # folder of the Hugging Face Hub's cache with the files that a snapshot links to

if TYPE_CHECKING:
    from googlenet.models.spec import Network


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, its card read. ``path`` is the directory."""

    path: Path
    card: ModelCard

    @property
    def network(self) -> Network:
        """The network as data. Raises :class:`BundleError` if the card's cannot be built, or is not the graph's."""
        from googlenet.models.spec import Network, from_json

        try:
            network = from_json(self.card.network)
            if not isinstance(network, Network):
                raise NetworkError("it is none")
            self._check_size(network)
        except NetworkError as error:
            reason = printable(str(error))[:MAX_ERROR]
            raise BundleError(f"{_shown(self.path / CARD)} holds a network that cannot be: {reason}") from error
        return network

    def _check_size(self, network: Network) -> None:
        """A card could ask for any number of filters: refuse more than the graph has bytes for."""
        from googlenet.models.layers.containers import cost_of, stage_costs

        after, weights, of_heads = {}, 0, 0
        for stage, _, cost in stage_costs(network, self.card.preprocessing.size):
            after[stage.name] = cost.shape
            weights += cost.weights
        for tap in network.aux:
            of_heads += cost_of(tap.layers, after[tap.after], network).weights
        if 4 * weights > self._size(MODEL) or of_heads > MAX_HEAD_WEIGHTS:
            raise NetworkError(f"{weights:,} weights and {of_heads:,} of its heads are more than {MODEL} has bytes for")

    def read(self, name: str) -> bytes:
        """Read one file, and check its hash and content.

        Raises :class:`BundleError` if it is missing, altered, no file, or holds what no bundle of ours does.
        """
        content = self._content(name) if name in self.card.files else b""
        self._require_hash(name, hashlib.sha256(content))
        try:
            _check_content(name, content)
        except ValueError as error:
            raise BundleError(f"{_shown(self.path / name)} {error}") from error
        return content

    def check_hash(self, name: str) -> None:
        """Check the hash of one file, whose content was checked before. Raises :class:`BundleError` as :meth:`read`."""
        self._require_hash(name, self._hash(name) if name in self.card.files else hashlib.sha256())

    def _require_hash(self, name: str, found: hashlib._Hash) -> None:
        if name not in self.card.files:
            raise BundleError(f"{_shown(self.path)} holds no {name}: it has {first_few(sorted(self.card.files))}")
        if found.hexdigest() != self.card.files[name]:
            raise BundleError(
                f"{_shown(self.path / name)} was altered or damaged: its sha256 is not the one of {CARD}; copy it again"
            )

    def _content(self, name: str) -> bytes:
        return _read_file(self.path, name, MAX_FILE_BYTES)

    def _hash(self, name: str) -> hashlib._Hash:
        found = hashlib.sha256()
        with _open_file(self.path, name, MAX_FILE_BYTES) as (file, left):
            while left > 0 and (part := file.read(min(left, HASHED_BYTES))):
                found.update(part)
                left -= len(part)
        return found

    def _size(self, name: str) -> int:
        try:
            return (self.path / name).stat().st_size
        except OSError as error:
            raise BundleError(f"{_shown(self.path / name)} cannot be read: {error.strerror}") from error

    def holds(self, name: str) -> bool:
        """Whether a file of this name can be read."""
        return name in self.card.files

    def packed(self, *names: str) -> PackedBundle:
        """Return the bundle with some files in memory, for a machine without this disk. Raises as :meth:`read` does."""
        return PackedBundle(self.path, self.card, {name: self.read(name) for name in names})


def _check_content(name: str, content: bytes) -> None:
    """Raise :class:`ValueError` for content that is unsafe: whoever reads a file gets the very bytes checked here.

    A file whose content is known to have been checked is only compared with its hash, and needs no parser.
    """
    if name == MODEL:
        from googlenet.checks.onnx_graph import check_onnx

        check_onnx(content)
    elif name in EXIT_HEADS:
        from googlenet.checks.onnx_graph import check_head

        check_head(content)
    elif name == WEIGHTS:
        from googlenet.checks.arrays import check_safetensors

        check_safetensors(content)


@dataclass(frozen=True)
class PackedBundle(Bundle):
    """A bundle whose ``files`` are in memory, checked when read. ``path`` is where they were on disk."""

    files: Mapping[str, bytes]

    def holds(self, name: str) -> bool:
        """Whether a file of this name was packed."""
        return name in self.files

    def _content(self, name: str) -> bytes:
        if name not in self.files:
            raise BundleError(f"{_shown(self.path / name)} was not packed: {first_few(sorted(self.files))} were")
        return self.files[name]

    def _hash(self, name: str) -> hashlib._Hash:
        return hashlib.sha256(self._content(name))

    def _size(self, name: str) -> int:
        return len(self._content(name))


def read(path: str | Path) -> Bundle:
    """Read the bundle at ``path``, or the one inside the run at ``path``.

    Raises :class:`BundleError` if there is none, or its card is damaged, of another program or of a newer version.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise BundleError(f"a run or bundle is named by its path, got {type(path).__name__}")
    here, found = Path(path), False
    try:
        for folder in (here, here / IN_RUN):
            if (folder / CARD).exists():
                here, found = folder, True
                break
        begun = (here / "run.json").exists()
        what = f"holds no {CARD}" if here.exists() else "does not exist"
    except OSError as error:
        raise BundleError(f"{_shown(here)} cannot be read: {error.strerror}") from error
    if not found and begun:
        raise BundleError(f"{_shown(here)} is a run that has not ended: let it end, or go on with train … --resume")
    if not found:
        raise BundleError(f"{_shown(here)} {what}: give a run of `googlenet train`, or the bundle inside it")
    text = _read_file(here, CARD, MAX_JSON_BYTES)
    try:
        return Bundle(here, ModelCard.from_json(text.decode()))
    except (BundleError, UnicodeDecodeError) as error:
        what = "card.json is damaged: " if isinstance(error, UnicodeDecodeError) else ""
        raise BundleError(f"{_shown(here)}: {what}{printable(str(error))}") from error


def run_name(path: Path) -> str:
    """Return the name of the run's folder, of a path to the run or to the bundle in it.

    >>> run_name(Path("runs/flowers/bundle")), run_name(Path("runs/flowers"))
    ('flowers', 'flowers')
    """
    folder = path.absolute()
    return folder.parent.name if folder.name == IN_RUN else folder.name


def is_here(path: str | Path) -> bool:
    """Whether there is a bundle at ``path``, or in the run at ``path``."""
    try:
        return any((folder / CARD).is_file() for folder in (Path(path), Path(path) / IN_RUN))
    except (OSError, ValueError):
        return False


def _read_file(folder: Path, name: str, most: int) -> bytes:
    with _open_file(folder, name, most) as (file, size):
        return file.read(size)


@contextmanager
def _open_file(folder: Path, name: str, most: int) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file of a bundle, a regular file of at most ``most`` bytes that lies in the folder. Yields its size too.

    Raises :class:`BundleError`, for errors while it is read as well.
    """
    path = folder / name
    try:
        if not _lies_in(path, folder):
            raise BundleError(f"{_shown(path)} is a link that leads out of the bundle: copy the file itself")
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise BundleError(f"{_shown(path)} has {size:,} bytes, a bundle's has {most:,} at most")
            yield file, size
    except NotARegularFileError as error:
        raise BundleError(f"{_shown(path)} {error.strerror}") from error
    except OSError as error:
        again = "; copy the whole bundle again" if isinstance(error, FileNotFoundError) else ""
        raise BundleError(f"{_shown(path)} cannot be read: {error.strerror}{again}") from error


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a file lies in the folder, or in the Hub's cache that a snapshot links to."""
    if not path.is_symlink():
        return True
    here, there = (Path(os.path.realpath(each)) for each in (folder, path))  # realpath: no error on loops
    blobs = here.parents[1] / _BLOBS if here.parent.name == "snapshots" else here
    return there.is_relative_to(here) or there.parent == blobs


def _shown(path: Path) -> str:
    return printable(str(path))


def write(path: str | Path, card: ModelCard, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle, replacing one that is there: into a temporary sibling, synced, then renamed."""
    path = Path(path)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    card = dataclasses.replace(card, files=hashes, format=FORMAT)
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
    try:
        if path.exists():
            path.rename(old)
        fresh.rename(path)
    except BaseException:  # an interrupt as well
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
