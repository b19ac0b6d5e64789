"""Results of a cluster: a folder of Parquet parts. Each is whole or absent, and no image is in two of them.

A part is named after the images in it. If one is computed twice, because it was not known whether the first time had
worked, it gets the same name and replaces the first.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from googlenet.bulk.formats import FORMATS
from googlenet.bulk.origin import check_origin, write_origin
from googlenet.bulk.parquet import arrow_schema, require_pyarrow, rows_of
from googlenet.bulk.report import Summary
from googlenet.bulk.results import WHEN_FULL
from googlenet.bulk.rows import RowSchema
from googlenet.errors import ClusterError, ResultsError
from googlenet.files import lock, write_error, write_whole
from googlenet.text import escape_surrogates, first_few, printable

MAX_PART_IMAGES = 1024  # lost at most if a worker dies
MIN_PARTS_PER_WORKER = 4  # so that none is idle for long at the end


@dataclass(frozen=True)
class Part:
    """Images that are predicted together, and the name of the file for their rows."""

    name: str
    ids: tuple[str, ...]


def split(ids: Sequence[str], done: Counter[str] | None = None, workers: int = 1) -> list[Part]:
    """Cut what is not ``done`` into parts for so many workers, in order. Names begin with the place of the first image.

    >>> [(part.name[:14], part.ids) for part in split("abcde", done=Counter("b"))]
    [('part-000000000', ('a',)), ('part-000000002', ('c',)), ('part-000000003', ('d',)), ('part-000000004', ('e',))]
    """
    done = done or Counter()
    left = [place for place, id_ in enumerate(ids) if escape_surrogates(id_) not in done]
    size = min(MAX_PART_IMAGES, -(-len(left) // (workers * MIN_PARTS_PER_WORKER)) or 1)
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
        """Check that each of ``ids`` is there once. Raises :class:`ClusterError` otherwise."""
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
    """A folder of parts, open for more of them in one process only. A context manager.

    ``contents`` is what was there before; ``is_known`` is false if nothing records which classifier that is of.

    Raises:
        ResultsError: the folder exists, has the answers of another classifier, other columns or other files, or
            another process writes to it.
        RunError: it cannot be made.

    ::

        with Parts(Path("results"), ranked_schema(), resume=True) as parts:
            for part in split(ids, parts.contents.ids):
                parts.add(part.name, encoded(rows, parts.schema))
            parts.read().audit(ids)
    """

    def __init__(self, folder: Path, schema: RowSchema, *, resume: bool = False) -> None:
        check_parts_folder(folder)
        self.folder, self.schema = folder, schema
        try:
            folder.mkdir(parents=True, exist_ok=True)
            there = [path.name for path in folder.iterdir()]
        except OSError as error:
            raise write_error(folder, error) from error
        if there and not resume:
            raise ResultsError(f"{folder} already exists and is not empty: --resume continues it; or give another")
        if foreign := [name for name in there if not name.lstrip(".").startswith("part-")]:
            raise ResultsError(f"{folder} holds {printable(foreign[0])}, which is no part of results: give another")
        self._closing = ExitStack()
        self._lock()
        try:
            for left_behind in folder.glob(".part-*.new"):
                left_behind.unlink(missing_ok=True)
            self.is_known = not (there and schema.origin) or check_origin(folder, schema.origin)
            self.contents = self.read()
            if schema.origin:
                write_origin(folder, schema.origin)
        except BaseException:
            self._closing.close()
            raise

    def _lock(self) -> None:
        if os.name == "nt":  # folders cannot be opened there
            return
        handle = os.open(self.folder, os.O_RDONLY)
        self._closing.callback(os.close, handle)
        try:
            lock(handle)
        except BlockingIOError as error:
            self._closing.close()
            raise ResultsError(f"{self.folder} is being written by another process: wait, or stop it") from error

    def add(self, name: str, content: bytes) -> None:
        """Write a part. Raises :class:`RunError` or :class:`DiskFullError`; the parts before it are whole."""
        try:
            write_whole(self.folder / name, content)
        except OSError as error:
            raise write_error(self.folder, error, WHEN_FULL) from error

    def has(self, name: str) -> bool:
        """Whether a part was written."""
        return (self.folder / name).exists()

    def read(self) -> Contents:
        """Read all parts. Raises :class:`ResultsError` if one is damaged or has other columns."""
        contents, columns = Contents(), arrow_schema(self.schema)
        for path in self._paths():
            contents.parts += 1
            for row in rows_of(path, columns):
                contents.ids[row["path"]] += 1
                contents.summary.add(row)
        return contents

    def _paths(self) -> Iterator[Path]:
        return iter(sorted(self.folder.glob("part-*.parquet")))

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()


def check_parts_folder(folder: Path) -> None:
    """Raise if ``folder`` is no name of a folder, or pyarrow is not installed, before any work is done."""
    if folder.suffix.lower() in FORMATS or (folder.exists() and not folder.is_dir()):
        raise ResultsError(
            f"{folder} is no name of a folder: --engine ray writes a folder of Parquet parts, --out results/ for one"
        )
    require_pyarrow()
