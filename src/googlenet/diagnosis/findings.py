"""What can be wrong with labelled pictures, how bad that is, and the cure; what was found in some."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from googlenet.dataframes import to_dataframe, to_html
from googlenet.diagnosis.facts import Look
from googlenet.text import first_few, printable

if TYPE_CHECKING:
    import pandas

COLUMNS = ("kind", "severity", "names", "detail", "cure")


@dataclass(frozen=True)
class Ailment:
    """A kind of finding. ``harms``: training on it misleads or fails; otherwise it is worth knowing.

    ``fixed``: the clean copy is without it.
    """

    title: str
    cure: str
    harms: bool = False
    fixed: bool = False


# The worst first: the order of every report.
AILMENTS: dict[str, Ailment] = {
    "refused": Ailment("train takes no such data", "do what the message says", harms=True),
    "class_mismatch": Ailment(
        "classes that train lacks", "rename the folder as train has it, or give train pictures of it", harms=True
    ),
    "empty_class": Ailment("classes without pictures", "put pictures into the folder, or remove it", harms=True),
    "unreadable": Ailment(
        "pictures that cannot be read", "fetch them again; --fix leaves them out", harms=True, fixed=True
    ),
    "two_classes": Ailment(
        "the same picture in several classes",
        "decide which it is and delete the others; --fix leaves all of them out",
        harms=True,
        fixed=True,
    ),
    "leak": Ailment(
        "the same picture in several splits",
        "delete those in train, or accuracy is overstated; --fix does",
        harms=True,
        fixed=True,
    ),
    "near_leak": Ailment(
        "nearly the same picture in several splits", "look (--plot) and delete those in train that are copies"
    ),
    "near_two_classes": Ailment("nearly the same picture in several classes", "look (--plot): one may be mislabelled"),
    "similar_names": Ailment("classes named nearly alike", "if they are one, put them into one folder"),
    "small_class": Ailment("classes with few pictures", "add pictures: 10 to learn from and one held out at least"),
    "imbalance": Ailment("classes of very unequal size", "add pictures of the small classes"),
    "duplicate": Ailment("copies within a class", "delete all but one; --fix does", fixed=True),
    "near_duplicate": Ailment("near copies within a class", "keep the better, unless they are meant"),
    "blank": Ailment("pictures of one colour", "delete them, unless they are meant"),
    "tiny": Ailment("very small pictures", "fetch larger ones, or train with a smaller --image-size"),
    "crop_loss": Ailment("much is lost to the centre crop", "train with --fit pad or --fit squash"),
    "grey": Ailment("grey pictures among coloured ones", "see that no class is mostly grey: it would be known by that"),
    "deep": Ailment("deeper than 8 bits", "see that 0 and 255 are what is black and white in them"),
    "clipped": Ailment(
        "values beyond what is black or white", "scale them alike, or correct the highest sample value in their files"
    ),
    "profile": Ailment("colour profiles that are not applied", "save them anew in sRGB"),
    "turned": Ailment("turned by EXIF alone", "other programs may show them lying; --fix turns them", fixed=True),
    "wrong_suffix": Ailment("named for another format", "rename them; --fix does", fixed=True),
    "ignored": Ailment("files that train passes over", "convert what should be learnt to JPEG or PNG", fixed=True),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, of a kind of :data:`AILMENTS`.

    ``names`` are the pictures it is about, below DATA, or the classes.
    """

    kind: str
    names: tuple[str, ...]
    detail: str


@dataclass(frozen=True, repr=False)
class Findings:
    """Everything :func:`~googlenet.diagnosis.doctor.examine` found, the worst first. ``looks`` are what it saw.

    ``notes`` say what of the data ``train`` leaves out, or takes otherwise than as written, a sentence each.
    """

    data: str
    pictures: int
    classes: int
    splits: dict[str, int]
    items: tuple[Finding, ...]
    seed: int = 0
    looks: tuple[Look, ...] = field(default=(), repr=False, compare=False)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Findings({self})"

    def __str__(self) -> str:
        kinds = Counter(item.kind for item in self.items)
        found = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "nothing wrong"
        return f"{printable(self.data)}: {self.pictures:,} pictures in {self.classes:,} classes: {found}"

    def of(self, kind: str) -> tuple[Finding, ...]:
        """Give the findings of one kind of :data:`AILMENTS`."""
        return tuple(item for item in self.items if item.kind == kind)

    @property
    def harmful(self) -> bool:
        """Whether anything was found that would harm training."""
        return any(AILMENTS[item.kind].harms for item in self.items)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row a finding, the worst first."""
        return [
            {
                "kind": item.kind,
                "severity": "harm" if AILMENTS[item.kind].harms else "advice",
                "names": list(item.names),
                "detail": item.detail,
                "cure": AILMENTS[item.kind].cure,
            }
            for item in self.items
        ]

    def to_dataframe(self) -> pandas.DataFrame:
        """Give a row a finding as a pandas DataFrame.

        Raises :class:`MissingExtraError` where pandas is not installed: ``pip install 'googlenet[pandas]'``.

        ::

            googlenet.examine("photos/").to_dataframe().groupby("kind").size()
        """
        return to_dataframe(self.rows, COLUMNS)

    def _repr_html_(self) -> str:
        return to_html(str(self), [{**row, "names": first_few(row["names"])} for row in self.rows])

    def to_dict(self) -> dict[str, Any]:
        """Give what ``json.dumps`` takes: what ``googlenet doctor --json`` prints."""
        return {
            "data": printable(self.data),
            "pictures": self.pictures,
            "classes": self.classes,
            "splits": self.splits,
            "harmful": self.harmful,
            "findings": self.rows,
        }
