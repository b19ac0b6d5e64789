"""What is below folders: the images, and everything that is left out, with the reason. Nothing is silently skipped.

Only names, as plain text, so millions fit.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from googlenet.images.kinds import advice_for, is_left_by_a_system, suffix_of
from googlenet.images.pixels import COLOURS, suffixes
from googlenet.text import first_few, printable

_MADE_HERE = (("run.json", "checkpoints"), ("card.json", "model.onnx"))
MAX_SUFFIXES_SHOWN = 8  # that a note counts one by one
SPLIT_WORDS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})


@dataclass(frozen=True)
class Reason:
    """Why something is left out: its name in singular and plural, and what to do."""

    one: str
    several: str
    advice: str = ""

    @property
    def text(self) -> str:
        """The reason for one of them."""
        return f"{self.one}: {self.advice}" if self.advice else self.one


HIDDEN = Reason("hidden file or folder", "hidden files and folders")
SYSTEM = Reason("file or folder that a system made", "files and folders that a system made")
NO_IMAGE = Reason("file that is no image", "files that are no images")
NO_SUFFIX = Reason(
    "file without a suffix", "files without a suffix", "if they are images, name them .jpg or as they are"
)
LINKED = Reason("linked folder", "linked folders", "--follow-links takes in what they hold")
TWICE = Reason("link to what is there already", "links to what is there already")
RUN = Reason("run or bundle of googlenet", "runs or bundles of googlenet")
BESIDE_CLASSES = Reason(
    "image beside the folders", "images beside the folders", "put each into the folder of its class"
)
BESIDE_SPLITS = Reason("folder beside the splits", "folders beside the splits")


def unread_for(advice: str) -> Reason:
    """Return the reason for images of a format that is not read."""
    return Reason("image", "images", advice)


class Contents:
    """What is below some folders.

    Attributes:
        images, unread: paths by folder; ``unread`` are images of formats that are not read.
        left_out: the paths of everything else, by reason.
        closed: folders that could not be read, with the error.
        inner_splits: folders that contain folders named like splits.

    Links to folders are followed only with ``follow_links``. Then each file and folder is there once, under its own
    path if that is among them.
    """

    def __init__(self, channels: int = COLOURS, *, follow_links: bool = False) -> None:
        self.channels, self.follow_links = channels, follow_links
        self.images: dict[str, list[str]] = {}
        self.unread: dict[str, list[str]] = {}
        self.left_out: defaultdict[Reason, list[str]] = defaultdict(list)
        self.closed: dict[str, str] = {}
        self.inner_splits: dict[str, list[str]] = {}
        self._read = suffixes(channels)
        self._linked: deque[tuple[str, str]] = deque()  # (the folder passed to add, a link below it)
        self._real: set[str] = set()  # real paths that were seen

    def sub_folders(self, parent: str) -> list[str]:
        """Return the names of the folders in ``parent`` that may be classes, sorted; everything else is left out."""
        names = []
        self._is_new(parent)  # so that a link to it is not followed again
        for entry in self._entries(parent):
            if reason := self._reason_to_leave(entry):
                self._leave(reason, _path(entry))
            elif _is_folder(entry):
                names.append(entry.name)
            elif self._is_image(entry.name):
                self._leave(BESIDE_CLASSES, _path(entry))
            elif advice_for(entry.name):
                self.unread.setdefault(parent, []).append(_path(entry))
            else:
                self._leave_file(_path(entry))
        return names

    def add(self, folders: Sequence[str]) -> None:
        """Add what is below ``folders``: first everything by its own path, then what links lead to."""
        for folder in folders:
            self.images[folder], self.unread[folder] = [], []
        for folder in folders:
            self._walk(folder, folder)
        while self._linked:
            folder, link = self._linked.popleft()
            (self._walk if os.path.isdir(link) else self._add_file)(folder, link)  # noqa: PTH112 - a circular link
        for every in (self.images, self.unread):
            every.update({folder: sort_paths(paths) for folder, paths in every.items()})

    def notes(self, root: str, *, below: str = "", unread: bool = True) -> list[str]:
        """Return a note for each reason: how many were left out, which (relative to ``root``), and what to do.

        Only those ``below`` a folder; with or without ``unread`` images.
        """
        notes = []
        for reason, paths in (self._every_reason() if unread else self.left_out).items():
            chosen = [path for path in paths if path.startswith(below)]
            notes += [note_of(root, reason, chosen)] if chosen else []
        return notes

    def _every_reason(self) -> dict[Reason, list[str]]:
        by_advice: defaultdict[Reason, list[str]] = defaultdict(list)
        for paths in self.unread.values():
            for path in paths:
                by_advice[unread_for(advice_for(path) or "")].append(path)
        return {**by_advice, **self.left_out}

    # The walk.

    def _walk(self, folder: str, top: str) -> None:
        stack = [top]
        while stack:
            directory = stack.pop()
            if not self._is_new(directory):
                self._leave(TWICE, directory)
                continue
            below = [_path(entry) for entry in self._entries(directory) if self._add(folder, entry)]
            splits = sorted(name for name in map(os.path.basename, below) if name.lower() in SPLIT_WORDS)
            if len(splits) > 1:
                self.inner_splits[directory] = splits
            stack += reversed(below)

    def _is_new(self, place: str) -> bool:
        """Whether a file or folder was not seen before. Without links there is only one path to each."""
        if not self.follow_links:
            return True
        real = os.path.realpath(place)
        before = len(self._real)
        self._real.add(real)
        return len(self._real) > before

    def _add(self, folder: str, entry: os.DirEntry[str]) -> bool:
        """Add one entry, or leave it out; return whether it is a folder to read."""
        if reason := self._reason_to_leave(entry):
            self._leave(reason, _path(entry))
        elif entry.is_dir(follow_symlinks=False):
            return True
        elif entry.is_symlink() and (self.follow_links or _is_folder(entry)):
            if self.follow_links:
                self._linked.append((folder, _path(entry)))
            else:
                self._leave(LINKED, _path(entry))
        else:
            self._add_file(folder, _path(entry))
        return False

    def _add_file(self, folder: str, path: str) -> None:
        if self._is_image(path):
            if self._is_new(path):
                self.images[folder].append(path)
            else:
                self._leave(TWICE, path)
        elif advice_for(path):
            self.unread[folder].append(path)
        else:
            self._leave_file(path)

    def _is_image(self, name: str) -> bool:
        return suffix_of(name) in self._read

    def _entries(self, directory: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(Path(directory)) as found:  # normalised: neither "./" nor "//"
                return sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.closed[directory] = error.strerror or str(error)
            return []

    def _reason_to_leave(self, entry: os.DirEntry[str]) -> Reason | None:
        is_folder = _is_folder(entry)
        if is_left_by_a_system(entry.name, is_folder):
            return SYSTEM
        if is_folder and _is_made_here(_path(entry)):
            return RUN
        return HIDDEN if entry.name.startswith(".") else None

    def _leave_file(self, path: str) -> None:
        self._leave(NO_IMAGE if suffix_of(path) else NO_SUFFIX, path)

    def _leave(self, reason: Reason, path: str) -> None:
        self.left_out[reason].append(path)


def _path(entry: os.DirEntry[str]) -> str:
    return entry.path.removeprefix(f".{os.sep}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circular link
        return False


def _is_made_here(folder: str) -> bool:
    """Whether a folder is a run of ``train``, or a bundle, whose plots are not training images."""
    return any(all(os.path.exists(f"{folder}/{name}") for name in names) for names in _MADE_HERE)  # noqa: PTH110


def note_of(root: str, reason: Reason, paths: Sequence[str]) -> str:
    """Return a note: how many were left out for a reason, which (relative to ``root``), and what to do."""
    what = reason.one if len(paths) == 1 else reason.several
    named = first_few(_below(root, path) for path in paths)
    kinds = Counter(filter(None, map(suffix_of, paths))).most_common()
    counts = ", ".join(f"{printable(suffix)} {count:,}" for suffix, count in kinds[:MAX_SUFFIXES_SHOWN])
    more = f" and {len(kinds) - MAX_SUFFIXES_SHOWN} other kinds" if len(kinds) > MAX_SUFFIXES_SHOWN else ""
    shown = f"{counts}{more}: {named}" if counts and reason.one in ("image", NO_IMAGE.one) else named
    return f"left out {len(paths):,} {what} ({shown})" + (f": {reason.advice}" if reason.advice else "")


def _below(root: str, path: str) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def sort_paths(paths: Iterable[str]) -> list[str]:
    """Sort paths in the same way on every system."""
    return sorted(paths, key=None if os.sep == "/" else lambda path: path.replace(os.sep, "/"))


def images_below(folder: Path, channels: int = COLOURS) -> list[Path]:
    """List every image below ``folder`` by its suffix, sorted; hidden files and folders are ignored."""
    contents = Contents(channels)
    contents.add([str(folder)])
    return list(map(Path, contents.images[str(folder)]))


def case_doubles(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Return groups of names that differ only in case.

    >>> list(case_doubles(["Cat", "cat", "dog"]))
    [('Cat', 'cat')]
    """
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[name.casefold()].append(name)
    return (tuple(group) for group in alike.values() if len(group) > 1)


def notes_of_case(source: Path, class_names: Iterable[str]) -> Iterator[str]:
    """Yield a note for classes whose names differ only in capitals."""
    for names in case_doubles(list(class_names)):
        yield (
            f"{printable(str(source))}: the classes {' and '.join(map(printable, names))} differ in capitals alone and "
            "are learned as several: give them one name if they are one"
        )
