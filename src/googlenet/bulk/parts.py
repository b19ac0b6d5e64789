"""Results of a cluster: a folder of Parquet parts. Each is whole or absent, and no image is in two of them.

A part is named by the images in it. What is computed twice, because it was not known whether the first time had
worked, gets the same name, and the later takes the place of the earlier.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from googlenet.bulk.origin import check_origin, write_origin
from googlenet.bulk.parquet import require_pyarrow, rows_of, schema_of
from googlenet.bulk.results import FORMATS, WHEN_FULL, Summary
from googlenet.bulk.rows import Layout
from googlenet.errors import ClusterError, ResultsError
from googlenet.files import lock, write_error, write_whole
from googlenet.text import escape_surrogates, first_few, printable

MAX_PART_IMAGES = 1024  # images of a part: what is lost at most where a worker dies
PARTS_A_WORKER = 4  # at least, so that none is idle for long at the end


@dataclass(frozen=True)
class Part:
    """Images that are answered together, and the name of the file that their rows go to."""

    name: str
    ids: tuple[str, ...]


def split(ids: Sequence[str], done: Counter[str] | None = None, workers: int = 1) -> list[Part]:
    """Cut what is not ``done`` into parts for so many workers, in order. Its name begins with the place of its first.

    >>> [(part.name[:14], part.ids) for part in split("abcde", done=Counter("b"))]
    [('part-000000000', ('a',)), ('part-000000002', ('c',)), ('part-000000003', ('d',)), ('part-000000004', ('e',))]
    """
    done = done or Counter()
    left = [place for place, id_ in enumerate(ids) if escape_surrogates(id_) not in done]
    size = min(MAX_PART_IMAGES, -(-len(left) // (workers * PARTS_A_WORKER)) or 1)
    chunks = (left[start : start + size] for start in range(0, len(left), size))
    return [_part(chunk[0], tuple(ids[place] for place in chunk)) for chunk in chunks]


def _part(first: int, ids: tuple[str, ...]) -> Part:
    digest = hashlib.sha256(b"\0".join(map(os.fsencode, ids))).hexdigest()
    return Part(f"part-{first:09d}-{digest[:16]}.parquet", ids)


@dataclass
class Contents:
    """What the parts of a folder hold, as read from the disk: how often each image is there, and a summary."""

    parts: int = 0
    ids: Counter[str] = field(default_factory=Counter)
    summary: Summary = field(default_factory=Summary)

    def audit(self, ids: Sequence[str]) -> None:
        """Hold what is there against what was asked: each image once. Raises :class:`ClusterError` otherwise."""
        twice = [name for name, times in self.ids.items() if times > 1]
        missing = [name for name in map(escape_surrogates, ids) if name not in self.ids]
        if twice or missing:
            raise ClusterError(
                f"the results are not whole: {_counted(missing)} missing, {_counted(twice)} there more than once; "
                "delete the parts concerned, then --resume"
            )


def _counted(names: Sequence[str]) -> str:
    return f"{len(names):,}" + (f" ({first_few(names)})" if names else "")


class Parts:
    """A folder of parts, open for more of them, for one process alone. A context manager.

    ``contents`` is what was there before, and ``is_known`` whether it is recorded whose answers these are. Raises
    :class:`ResultsError` where the folder is in the way or has the answers of another classifier, another process
    writes to it, or what is in it does not fit; :class:`RunError` where it cannot be made.

    ::

        with Parts(Path("results"), ranked_schema(), resume=True) as parts:
            for part in split(ids, parts.contents.ids):
                parts.add(part.name, encoded(rows, parts.layout))
            parts.read().audit(ids)
    """

    def __init__(self, folder: Path, layout: Layout, *, resume: bool = False) -> None:
        check_output_path(folder)
        self.folder, self.layout = folder, layout
        try:
            folder.mkdir(parents=True, exist_ok=True)
            there = [path.name for path in folder.iterdir()]
        except OSError as error:
            raise write_error(folder, error) from error
        if there and not resume:
            raise ResultsError(f"{folder} is there already and not empty: --resume goes on with it; or give another")
        if foreign := [name for name in there if not name.lstrip(".").startswith("part-")]:
            raise ResultsError(f"{folder} holds {printable(foreign[0])}, which is no part of results: give another")
        self._closing = ExitStack()
        self._lock()
        try:
            for left_behind in folder.glob(".part-*.new"):
                left_behind.unlink(missing_ok=True)
            self.is_known = not (there and layout.origin) or check_origin(folder, layout.origin)
            self.contents = self.read()
            if layout.origin:
                write_origin(folder, layout.origin)
        except BaseException:
            self._closing.close()
            raise

    def _lock(self) -> None:
        if os.name == "nt":  # it opens no folders
            return
        handle = os.open(self.folder, os.O_RDONLY)
        self._closing.callback(os.close, handle)
        try:
            lock(handle)
        except BlockingIOError as error:
            self._closing.close()
            raise ResultsError(f"{self.folder} is being written by another process: wait, or stop it") from error

    def add(self, name: str, content: bytes) -> None:
        """Write a part to stay. Raises :class:`RunError` or :class:`DiskFullError`; what was there before is whole."""
        try:
            write_whole(self.folder / name, content)
        except OSError as error:
            raise write_error(self.folder, error, WHEN_FULL) from error

    def read(self) -> Contents:
        """Read what is in all parts. Raises :class:`ResultsError` where one is damaged or has other columns."""
        contents, schema = Contents(), schema_of(self.layout)
        for path in self._paths():
            contents.parts += 1
            for row in rows_of(path, schema):
                contents.ids[row["path"]] += 1
                contents.summary.add(row)
        return contents

    def _paths(self) -> Iterator[Path]:
        return iter(sorted(self.folder.glob("part-*.parquet")))

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()


def check_output_path(folder: Path) -> None:
    """Raise where no parts can be written to ``folder`` for what it is alone, before any work is done."""
    if folder.suffix.lower() in FORMATS or (folder.exists() and not folder.is_dir()):
        raise ResultsError(
            f"{folder} is no name of a folder: --engine ray writes a folder of Parquet parts, --out results/ for one"
        )
    require_pyarrow()
