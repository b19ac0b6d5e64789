"""Images by their ids, and bytes that are known by one."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

ROW = "#"  # between a table and the number of a row


@dataclass
class ImageIds:
    """Images by their ids: paths, addresses, ``photos.zip/a.jpg`` of an archive, ``images.parquet#7`` of a table.

    Attributes:
        tables: the column of each table that holds the images themselves.
        archives: the folder that each archive was unpacked to.
        download: whether an address (https) may be fetched.
    """

    ids: list[str]
    tables: dict[str, str] = field(default_factory=dict)
    archives: dict[str, str] = field(default_factory=dict)
    download: bool = False


class Named(io.BytesIO):
    """Bytes that messages call by a name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name
