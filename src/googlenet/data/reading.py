"""Ids of images → what the decoder reads: a path, or bytes from an archive, a store, a table or the web."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import BinaryIO, cast

from googlenet.data.addresses import is_address, is_url
from googlenet.data.image_ids import ROW, ImageIds, Named
from googlenet.files import open_regular
from googlenet.parallel import map_ordered

STREAMS = 16  # addresses that are fetched at once


def read_images(images: ImageIds, ids: Iterable[str] | None = None) -> Iterator[str | BinaryIO]:
    """Yield, for each of ``ids`` (all by default), what :func:`googlenet.images.decode.decode` takes.

    That is the path of a file, or bytes under the id as their name, of many addresses at once. An image that does not
    exist, or cannot be fetched, is yielded as what raises :class:`ImageError` when it is decoded.

    Raises :class:`DataError` if a store cannot be reached any more, or a table has changed.
    """
    tables, fetch = images.tables, _fetcher(images.download)
    for (place, elsewhere), each in groupby(images.ids if ids is None else ids, lambda id_: _place(id_, tables)):
        if place:
            from googlenet.data.tables import read_rows

            yield from read_rows(place, tables[place], list(each))
        elif elsewhere:
            yield from map_ordered(lambda batch: fetch(batch[0]), each, 1, STREAMS)
        else:
            yield from (_on_disk(path, images.archives) for path in each)


def _place(id_: str, tables: dict[str, str]) -> tuple[str, bool]:
    """Return the table that an image is in, if any, and whether it has an address."""
    table = id_.rpartition(ROW)[0] if tables else ""
    return (table, False) if table in tables else ("", is_address(id_))


def _on_disk(path: str, archives: dict[str, str]) -> str | BinaryIO:
    for archive, folder in archives.items():
        if path.startswith(f"{archive}/"):
            with open_regular(folder + path[len(archive) :]) as file:
                return Named(file.read(), path)
    return path


def _fetcher(download: bool) -> Callable[[str], BinaryIO | str]:
    def fetch(address: str) -> BinaryIO | str:
        if not is_url(address):
            from googlenet.data.stores import opened

            try:
                with opened(address) as file:
                    return Named(file.read(), address)
            except FileNotFoundError:
                return address  # no file has such a path: the decoder says that it does not exist
        from googlenet.data.downloads import Unreachable, fetch_image

        return cast(BinaryIO, fetch_image(address) if download else Unreachable(address, "--download fetches it"))

    return fetch
