"""What is wrong with classes: too few images, very unequal sizes, names that are nearly alike. No image is read."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from googlenet.diagnosis.findings import Finding
from googlenet.text import printable

MIN_CLASS_IMAGES = 10  # for training
MAX_CLASS_RATIO = 10.0  # of the largest class to the smallest


def class_findings(counts: Mapping[str, Counter[str]], classes: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Yield what is wrong with ``classes``, of which ``counts`` has the number of images, both by split."""
    learnt = counts.get("train", Counter()) if "train" in classes else counts.get("", Counter())
    held_out = counts.get("val", Counter())
    names = sorted({name for names in classes.values() for name in names})
    for name in names:
        if 0 < learnt[name] < MIN_CLASS_IMAGES:
            yield Finding("small_class", (printable(name),), f"{learnt[name]} images for training")
        if "val" in classes and learnt[name] and not held_out[name]:
            yield Finding("small_class", (printable(name),), "none is held out, so its accuracy cannot be measured")
    if learnt:
        (most, many), (least, few) = learnt.most_common()[0], learnt.most_common()[-1]
        if many > MAX_CLASS_RATIO * few:
            detail = f"{many:,} of {printable(most)}, {few:,} of {printable(least)}: {many / few:.0f} to 1"
            yield Finding("imbalance", (printable(most), printable(least)), detail)
    alike = defaultdict(list)
    for name in names:
        alike[_stem(name)].append(name)
    for group in alike.values():
        if len(group) > 1:
            yield Finding("similar_names", tuple(map(printable, group)), " and ".join(_distinguishable(group)))


def _distinguishable(names: list[str]) -> Iterator[str]:
    """Write names so that a reader sees how they differ: accents may be separate characters (NFD), or not (NFC)."""
    written_alike = Counter(unicodedata.normalize("NFC", name) for name in names)
    for name in names:
        nfc = unicodedata.normalize("NFC", name)
        which = f" ({'NFC' if name == nfc else 'NFD'})" if written_alike[nfc] > 1 else ""
        yield printable(name) + which


def _stem(name: str) -> str:
    """Return a class name without case, Unicode form, blanks, hyphens and the ending of a plural."""
    plain = re.sub(r"[\s_-]+", "", unicodedata.normalize("NFC", name).casefold()) or name
    return re.sub(r"(?<=..[^s])(es|s)$", "", plain)
