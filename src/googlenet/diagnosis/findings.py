"""The table of checks: what can be wrong with labelled images, and the fix. And the findings of ``doctor``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from googlenet.dataframes import to_dataframe, to_html
from googlenet.text import first_few, printable

if TYPE_CHECKING:
    import pandas

    from googlenet.diagnosis.facts import ImageFacts

COLUMNS = ("kind", "severity", "names", "detail", "fix")


@dataclass(frozen=True)
class Check:
    """A kind of finding: its title, and the fix.

    Attributes:
        harms: true: training would fail or give misleading metrics; false: advice only.
        fixed: the clean copy is without it.
        drawn: it is about images that look alike, which a plot shows side by side.
        shows: whether the names of images, or the detail alone, are an example of it.
    """

    title: str
    fix: str
    harms: bool = False
    fixed: bool = False
    drawn: bool = False
    shows: Literal["names", "detail"] = "names"


# Worst first: the order of every report. A new check is one more entry, and a finder in doctor.py.
CHECKS: dict[str, Check] = {
    "refused": Check("training refuses this data", "do what the message says", harms=True, shows="detail"),
    "class_mismatch": Check(
        "classes missing in train",
        "rename the folder as in train, or put images of the class into train",
        harms=True,
        shows="detail",
    ),
    "empty_class": Check(
        "classes without images", "put images into the folder, or remove it", harms=True, shows="detail"
    ),
    "unreadable": Check(
        "images that cannot be read", "copy or download them again; --fix leaves them out", harms=True, fixed=True
    ),
    "two_classes": Check(
        "the same image in several classes",
        "decide which class it is, and delete the others; --fix leaves out all of them",
        harms=True,
        fixed=True,
        drawn=True,
    ),
    "leak": Check(
        "the same image in several splits",
        "delete those in train, or accuracy is overstated; --fix does",
        harms=True,
        fixed=True,
        drawn=True,
    ),
    "near_leak": Check(
        "nearly the same image in several splits", "look (--plot), and delete copies in train", drawn=True
    ),
    "near_two_classes": Check(
        "nearly the same image in several classes", "look (--plot): one may be mislabelled", drawn=True
    ),
    "similar_names": Check("class names that are nearly alike", "if they mean one class, merge them", shows="detail"),
    "small_class": Check("classes with few images", "add images: at least 10 for training and one held out"),
    "imbalance": Check("classes of very unequal size", "add images of the small classes", shows="detail"),
    "duplicate": Check("copies within a class", "delete all but one; --fix does", fixed=True, drawn=True),
    "near_duplicate": Check("near copies within a class", "keep the better one, unless both are wanted", drawn=True),
    "blank": Check("images of one colour", "delete them, unless they are wanted"),
    "tiny": Check("very small images", "get larger ones, or train with a smaller --image-size"),
    "crop_loss": Check("much is lost to the centre crop", "train with --resize pad or --resize squash", shows="detail"),
    "grey": Check("grey images among coloured ones", "check that no class is mostly grey: it would be learned by that"),
    "deep": Check("deeper than 8 bits", "check that 0 and 255 are black and white in them", shows="detail"),
    "clipped": Check(
        "values outside of black and white", "scale all images alike, or correct the highest sample value in the files"
    ),
    "profile": Check("colour profiles that cannot be applied", "save them again in sRGB"),
    "turned": Check("turned only by EXIF", "other programs may show them rotated; --fix turns them", fixed=True),
    "wrong_suffix": Check("suffix of another format", "rename them; --fix does", fixed=True),
    "ignored": Check("files that training ignores", "convert what should be learned to JPEG or PNG", fixed=True),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, a ``kind`` of :data:`CHECKS`. ``names`` are paths of images below DATA, or classes."""

    kind: str
    names: tuple[str, ...]
    detail: str


@dataclass(frozen=True, repr=False)
class Findings:
    """Everything that :func:`googlenet.doctor` found, worst first. ``facts`` has what it measured of each image.

    ``notes`` say what training would leave out of the data, or read otherwise than as written, one sentence each.
    """

    data: str
    images: int
    classes: int
    splits: dict[str, int]
    items: tuple[Finding, ...]
    seed: int = 0
    facts: tuple[ImageFacts, ...] = field(default=(), repr=False, compare=False)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Findings({self})"

    def __str__(self) -> str:
        kinds = Counter(item.kind for item in self.items)
        found = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "nothing wrong"
        return f"{printable(self.data)}: {self.images:,} images in {self.classes:,} classes: {found}"

    def of(self, kind: str) -> tuple[Finding, ...]:
        """Return the findings of one kind of :data:`CHECKS`."""
        return tuple(item for item in self.items if item.kind == kind)

    @property
    def harmful(self) -> bool:
        """Whether anything was found that would harm training."""
        return any(CHECKS[item.kind].harms for item in self.items)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each finding, worst first."""
        return [
            {
                "kind": item.kind,
                "severity": "harm" if CHECKS[item.kind].harms else "advice",
                "names": list(item.names),
                "detail": item.detail,
                "fix": CHECKS[item.kind].fix,
            }
            for item in self.items
        ]

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a pandas DataFrame with one row for each finding.

        Raises :class:`MissingExtraError` if pandas is not installed: ``pip install 'googlenet[pandas]'``.

        ::

            googlenet.doctor("photos/").to_dataframe().groupby("kind").size()
        """
        return to_dataframe(self.rows, COLUMNS)

    def _repr_html_(self) -> str:
        return to_html(str(self), [{**row, "names": first_few(row["names"])} for row in self.rows])

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for ``json.dumps``: what ``googlenet doctor --json`` prints."""
        return {
            "data": printable(self.data),
            "images": self.images,
            "classes": self.classes,
            "splits": self.splits,
            "harmful": self.harmful,
            "findings": self.rows,
        }
