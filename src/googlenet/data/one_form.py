"""Names in one Unicode form: NFC. A Mac's disk may have NFD, in which the same name has other bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from unicodedata import normalize

from googlenet.data.image_set import ImageSet, LabelledData, LabelledImage
from googlenet.errors import DataError
from googlenet.text import first_few, printable


def in_one_form(data: LabelledData, by_class: bool) -> LabelledData:
    """Write names in NFC, and sort images by class and name, or by name only.

    Classes whose names become the same become one class. A note says so, and names images that differ only in capitals.
    """
    classes = [normalize("NFC", name) for name in data.class_names]
    names = tuple(sorted(set(classes)))
    to = [names.index(name) for name in classes]
    parts = {}
    for split, part in data.splits.items():
        items = [_renamed(item, to) for item in part.items]
        if items != list(part.items):
            items.sort(key=lambda item: (item.labels if by_class else (), item.name))
        _refuse_one_name(data.name, items)
        parts[split] = ImageSet(names, tuple(items))
    notes = [
        f"{printable(data.name)}: {first_few([name])} is written in two Unicode forms: taken as one class"
        for name, times in Counter(classes).items()
        if times > 1
    ]
    return replace(data, class_names=names, splits=parts, notes=(*data.notes, *notes, *_case_doubles(data.name, parts)))


def _renamed(item: LabelledImage, to: Sequence[int]) -> LabelledImage:
    name, group = normalize("NFC", item.name), item.group and normalize("NFC", item.group)
    labels = tuple(sorted({to[label] for label in item.labels}))
    same = (name, group, labels) == (item.name, item.group, item.labels)
    return item if same else replace(item, name=name, group=group, labels=labels)


def _refuse_one_name(source: str, items: Sequence[LabelledImage]) -> None:
    twice = [name for name, times in Counter(item.name for item in items).items() if times > 1]
    if twice:
        raise DataError(
            f"{printable(source)}: two images have one name but for the Unicode form it is written in (NFC, NFD): "
            f"{first_few(twice)}; rename one of each two"
        )


def _case_doubles(source: str, parts: Mapping[str, ImageSet]) -> Iterator[str]:
    for part in parts.values():
        first: dict[tuple[tuple[int, ...], str], str] = {}
        pairs = []
        for item in part.items:
            other = first.setdefault((item.labels, item.name.casefold()), item.name)
            if other != item.name:
                pairs.append(f"{other} and {item.name}")
        if pairs:
            yield (
                f"{printable(source)}: names that differ in capitals alone, which some disks take for one: "
                f"{first_few(pairs)}"
            )
