"""``DataSource``: which DATA, and how it is read. Whatever asks for DATA takes one."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from googlenet.errors import DataError


@dataclass(frozen=True)
class DataSource:
    """Labelled images, and how to read them. A plain path or name stands for ``DataSource(path)``.

    Args:
        data: a folder, a list, an archive, an address or the name of a set, as :func:`googlenet.open_data` takes it.
        path_column: the column of a list that names the images, if it is not called ``path``.
        label_column: the column of a list that names the classes, if it is not called ``label``.
        follow_links: follow symbolic links out of ``data``, and into linked folders; each file is read once.
        multi_label: an image of a list may have several labels, or none where the label is empty.
        download: allow ``data`` to be the address (https) of an archive, which is fetched.

    Raises:
        DataError: ``data`` is neither a path nor a name.

    >>> import googlenet
    >>> googlenet.DataSource("scans.csv", label_column="species").label_column
    'species'
    """

    data: str | Path
    _: KW_ONLY
    path_column: str | None = None
    label_column: str | None = None
    follow_links: bool = False
    multi_label: bool = False
    download: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.data, (str, os.PathLike)) or not str(self.data):
            got = repr(self.data) if isinstance(self.data, str) else type(self.data).__name__
            raise DataError(f"DATA is a path, the name of a set, a DataSource or LabelledData, got {got}")

    def __str__(self) -> str:
        return str(self.data)


def to_source(data: str | Path | DataSource) -> DataSource:
    """Wrap a plain path or name. Raises :class:`DataError` where it is neither."""
    return data if isinstance(data, DataSource) else DataSource(data)
