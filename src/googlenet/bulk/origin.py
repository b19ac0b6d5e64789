"""Which classifier results are of: recorded beside them, so that no file has answers of two."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from googlenet.bundle import CERTAINTY, EXITS, INT8, INT8_WEIGHTS, MODEL
from googlenet.errors import ResultsError
from googlenet.files import open_regular, sibling, write_error, write_whole
from googlenet.inference.origin import OFF, ONE_CROP
from googlenet.text import json_text, printable

if TYPE_CHECKING:
    from googlenet.inference.classifier import Classifier

MAX_RECORD_BYTES = 2**16
SHOWN_DIGITS = 12  # of a sha256


@dataclass(frozen=True)
class Origin:
    """The classifier. ``sha256`` is of all that decides its answers except the precision, ``graph`` of int8's files."""

    name: str
    sha256: str
    precision: str
    graph: str = ""


def origin_of(classifier: Classifier) -> Origin:
    """Return what the answers of a classifier depend on."""
    card, precision = classifier.card, classifier.engine.precision
    decides = [card.files[MODEL], card.class_names, card.thresholds, asdict(card.preprocessing)]
    if CERTAINTY in card.files:
        decides.append(card.files[CERTAINTY])
    if classifier.origin.crops != ONE_CROP:
        decides.append(classifier.origin.crops)
    if classifier.origin.exit != OFF:
        decides.append(card.files[EXITS])
    graph = [card.files[name] for name in (INT8, INT8_WEIGHTS)] if precision == "int8" else []
    return Origin(card.name, _digest(decides), precision, _digest(graph) if graph else "")


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def check_origin(path: Path, origin: Origin) -> bool:
    """Raise :class:`ResultsError` if the results at ``path`` are of another; return whether a record says whose."""
    found = _read(path)
    if found in (None, origin):
        return found is not None
    shown, name = printable(str(path)), printable(found.name)
    if found.sha256 == origin.sha256 and found.precision != origin.precision:
        raise ResultsError(
            f"{shown} holds answers in {found.precision}, and these would be in {origin.precision}: add --precision "
            f"{found.precision}, or give another --out, or delete it"
        )
    raise ResultsError(
        f"{shown} holds answers of another classifier ({name}, sha256 {printable(found.sha256[:SHOWN_DIGITS])}…; "
        f"this one is {origin.name}, {origin.sha256[:SHOWN_DIGITS]}…): give another --out, or delete it"
    )


def write_origin(path: Path, origin: Origin) -> None:
    """Record which classifier the results at ``path`` are of. Raises :class:`RunError` or :class:`DiskFullError`."""
    try:
        write_whole(_beside(path), json_text(asdict(origin), indent=2).encode())
    except OSError as error:
        raise write_error(path, error) from error


def unknown_origin(path: Path) -> str:
    """Return the note for results that rows are added to although no record says whose they are."""
    return f"{path} does not name the classifier of its rows: this one is assumed"


def _read(path: Path) -> Origin | None:
    try:
        with open_regular(_beside(path)) as file:
            fields = json.loads(file.read(MAX_RECORD_BYTES))
        found = Origin(**fields)
    except (OSError, ValueError, TypeError, RecursionError):  # it was lost, or others wrote it
        return None
    return found if all(isinstance(value, str) for value in fields.values()) else None


def _beside(path: Path) -> Path:
    return sibling(path, ".source.json")
