"""What can be wrong with labelled images, how bad that is, and the fix; what was found in some."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from googlenet.dataframes import to_dataframe, to_html
from googlenet.diagnosis.facts import ImageFacts
from googlenet.text import first_few, printable

if TYPE_CHECKING:
    import pandas

COLUMNS = ("kind", "severity", "names", "detail", "fix")


@dataclass(frozen=True)
class Check:
    """A kind of finding. ``harms``: training on it misleads or fails; otherwise it is worth knowing.

    ``fixed``: the clean copy is without it.
    """

    title: str
    fix: str
    harms: bool = False
    fixed: bool = False


# The worst first: the order of every report.
CHECKS: dict[str, Check] = {
    "refused": Check("train takes no such data", "do what the message says", harms=True),
    "class_mismatch": Check(
        "classes that train lacks", "rename the folder as train has it, or give train images of it", harms=True
    ),
    "empty_class": Check("classes without images", "put images into the folder, or remove it", harms=True),
    "unreadable": Check(
        "images that cannot be read", "fetch them again; --fix leaves them out", harms=True, fixed=True
    ),
    "two_classes": Check(
        "the same image in several classes",
        "decide which it is and delete the others; --fix leaves all of them out",
        harms=True,
        fixed=True,
    ),
    "leak": Check(
        "the same image in several splits",
        "delete those in train, or accuracy is overstated; --fix does",
        harms=True,
        fixed=True,
    ),
    "near_leak": Check(
        "nearly the same image in several splits", "look (--plot) and delete those in train that are copies"
    ),
    "near_two_classes": Check("nearly the same image in several classes", "look (--plot): one may be mislabelled"),
    "similar_names": Check("classes named nearly alike", "if they are one, put them into one folder"),
    "small_class": Check("classes with few images", "add images: 10 to learn from and one held out at least"),
    "imbalance": Check("classes of very unequal size", "add images of the small classes"),
    "duplicate": Check("copies within a class", "delete all but one; --fix does", fixed=True),
    "near_duplicate": Check("near copies within a class", "keep the better, unless they are meant"),
    "blank": Check("images of one colour", "delete them, unless they are meant"),
    "tiny": Check("very small images", "fetch larger ones, or train with a smaller --image-size"),
    "crop_loss": Check("much is lost to the centre crop", "train with --resize pad or --resize squash"),
    "grey": Check("grey images among coloured ones", "see that no class is mostly grey: it would be known by that"),
    "deep": Check("deeper than 8 bits", "see that 0 and 255 are what is black and white in them"),
    "clipped": Check(
        "values beyond what is black or white", "scale them alike, or correct the highest sample value in their files"
    ),
    "profile": Check("colour profiles that are not applied", "save them anew in sRGB"),
    "turned": Check("turned by EXIF alone", "other programs may show them lying; --fix turns them", fixed=True),
    "wrong_suffix": Check("named for another format", "rename them; --fix does", fixed=True),
    "ignored": Check("files that train passes over", "convert what should be learnt to JPEG or PNG", fixed=True),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, of a kind of :data:`CHECKS`.

    ``names`` are the images it is about, below DATA, or the classes.
    """

    kind: str
    names: tuple[str, ...]
    detail: str


@dataclass(frozen=True, repr=False)
class Findings:
    """Everything :func:`~googlenet.diagnosis.doctor.doctor` found, the worst first. ``facts`` are what it saw.

    ``notes`` say what of the data ``train`` leaves out, or takes otherwise than as written, a sentence each.
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
        """Give the findings of one kind of :data:`CHECKS`."""
        return tuple(item for item in self.items if item.kind == kind)

    @property
    def harmful(self) -> bool:
        """Whether anything was found that would harm training."""
        return any(CHECKS[item.kind].harms for item in self.items)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row a finding, the worst first."""
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
        """Give a row a finding as a pandas DataFrame.

        Raises :class:`MissingExtraError` where pandas is not installed: ``pip install 'googlenet[pandas]'``.

        ::

            googlenet.doctor("photos/").to_dataframe().groupby("kind").size()
        """
        return to_dataframe(self.rows, COLUMNS)

    def _repr_html_(self) -> str:
        return to_html(str(self), [{**row, "names": first_few(row["names"])} for row in self.rows])

    def to_dict(self) -> dict[str, Any]:
        """Give what ``json.dumps`` takes: what ``googlenet doctor --json`` prints."""
        return {
            "data": printable(self.data),
            "images": self.images,
            "classes": self.classes,
            "splits": self.splits,
            "harmful": self.harmful,
            "findings": self.rows,
        }
