"""``googlenet.clean``: a copy of a data set without what can be fixed, as a folder or a list. DATA never changes."""

from __future__ import annotations

import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from googlenet.data.addresses import is_archive, is_url
from googlenet.data.opening import open_data
from googlenet.diagnosis.doctor import BATCH, REPORT, SPLITS, same_images
from googlenet.diagnosis.facts import SUFFIXES_OF, ImageFacts
from googlenet.diagnosis.findings import CHECKS, Findings
from googlenet.errors import DataError, ImageError
from googlenet.files import fitting_name, open_regular, sibling, write_error
from googlenet.images.decode import decode
from googlenet.parallel import in_batches
from googlenet.text import BETWEEN_LABELS, csv_line, json_text, no_formula, no_formula_path, printable

LIST = ".csv"
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Action:
    """What was done to an image: ``copied``, ``listed``, ``renamed``, ``turned`` upright or ``left out``, and why."""

    name: str
    done: str
    to: str | None
    why: str = ""


@dataclass(frozen=True, repr=False)
class Cleaned:
    """A clean copy at ``path``, and what was done with every image, which the file ``report`` says, too.

    ``refusal`` is why ``train`` still does not accept it, if so.
    """

    path: Path
    report: Path
    actions: tuple[Action, ...]
    refusal: str | None

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {done}" for done, count in sorted(self.counts().items()))
        return f"Cleaned({printable(str(self.path))!r}, {counts})"

    def counts(self) -> dict[str, int]:
        """How many images were copied, renamed, turned, left out."""
        return dict(Counter(action.done for action in self.actions))


def clean(findings: Findings, out: str | Path, *, progress: Callable[[str, int, int], None] | None = None) -> Cleaned:
    """Write a clean copy of the data that ``doctor`` read. The data itself never changes.

    Left out are images that cannot be read; copies of an image except one, which is the one in test or val if there is
    one (so that metrics stay comparable); and all copies of an image that is in several classes. In a folder, images
    with the suffix of another format are renamed, and those that only EXIF turns upright are written upright (JPEG in
    quality 95, others as PNG). All others are copied byte by byte.

    If names decide what is held out, a renamed image may change its split; in a list none does.

    Args:
        findings: what :func:`googlenet.doctor` returned.
        out: a new folder, or a list if it ends in ``.csv``. It is whole or absent, and ``doctor.json`` in it (beside a
            list: named after it) says what was done.
        progress: called with the name of the stage, the number of images done, and of all images.

    Raises:
        DataError: ``out`` is not empty or lies inside the data; images have no files, or no class to name a folder by.
        RunError, DiskFullError: ``out`` could not be written.

    ::

        cleaned = googlenet.clean(googlenet.doctor("photos/"), "clean/")
        cleaned.counts()  # {"copied": 412, "left out": 3, "renamed": 1}
    """
    out = Path(out)
    check_apart(findings.data, out)
    kept, actions = _sorted_out(findings)
    as_list = out.suffix.lower() == LIST
    report = _report_beside(out) if as_list else out / REPORT
    plan = {} if as_list else _places(findings, kept)
    fresh = sibling(out, f".{os.getpid()}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        if as_list:
            actions += [Action(printable(seen.entry.name), "listed", None) for seen in kept]
            (fresh / out.name).write_text(_list_of(kept), "utf-8")
        else:
            actions += list(_copy(plan, fresh, progress))
        (fresh / report.name).write_text(_report(findings, actions), "utf-8")
        _move(fresh, out, report if as_list else None)
    except OSError as error:
        raise write_error(out, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Cleaned(out, report, tuple(actions), _refusal(findings, None if as_list else out))


def check_apart(data: str | Path, out: Path) -> None:
    """Raise :class:`DataError` if no clean copy of ``data`` can be written to ``out``."""
    if Path(data).is_dir() and out.resolve().is_relative_to(Path(data).resolve()):
        raise DataError(f"--fix {out} lies inside {data}, which is never written to: choose a place outside of it")
    as_list = out.suffix.lower() == LIST
    if as_list and (is_archive(str(data)) or is_url(str(data))):
        raise DataError(
            f"--fix {out}: a list cannot name what lies in {printable(str(data))}, which is unpacked while this runs: "
            "give a folder"
        )
    existing = [place for place in (out, _report_beside(out)) if as_list and place.exists()]
    if existing or (out.exists() and not as_list and not _is_empty_folder(out)):
        raise DataError(
            f"--fix {out}: {existing[0] if existing else out} already exists: "
            f"give a new or empty folder, or a new file that ends in {LIST}"
        )


def _report_beside(out: Path) -> Path:
    return out.with_name(fitting_name(out.stem, f".{REPORT}"))


def _is_empty_folder(path: Path) -> bool:
    try:
        return path.is_dir() and not any(path.iterdir())
    except OSError:
        return False


def _move(fresh: Path, out: Path, report: Path | None) -> None:
    """Rename what is now whole: the folder, or the report and then the list."""
    if report is not None:
        (fresh / report.name).rename(report)
        (fresh / out.name).rename(out)
        return
    if out.is_dir():  # and empty
        out.rmdir()
    fresh.rename(out)


def _refusal(findings: Findings, folder: Path | None) -> str | None:
    """Return why ``train`` refuses the clean copy; of a list, what is wrong with the data that copying does not fix."""
    if folder is None:
        lasting = (one for one in findings.items if CHECKS[one.kind].harms and not CHECKS[one.kind].fixed)
        return next((one.detail for one in lasting), None)
    try:
        open_data(folder, seed=findings.seed)
    except DataError as error:
        return str(error)
    return None


def _sorted_out(findings: Findings) -> tuple[list[ImageFacts], list[Action]]:
    """Decide which images stay."""
    actions = [Action(found.names[0], "left out", None, found.detail) for found in findings.of("unreadable")]
    out: dict[str, str] = {}
    for group in same_images(findings.facts):
        if len({seen.entry.classes for seen in group}) > 1:
            out |= {seen.entry.name: "the same image is in several classes" for seen in group}
        else:
            best = max(group, key=lambda seen: _importance(seen.entry.split))
            why = f"the same image as {printable(best.entry.name)}"
            out |= {seen.entry.name: why for seen in group if seen is not best}
    actions += [Action(printable(name), "left out", None, why) for name, why in out.items()]
    kept = [seen for seen in findings.facts if seen.entry.name not in out]
    if not any(isinstance(seen.entry.source, Path) for seen in kept):
        raise DataError(f"{findings.data} has no image files that could be kept: there is nothing to copy")
    return kept, actions


def _importance(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else -1


# A folder.


def _places(findings: Findings, kept: list[ImageFacts]) -> dict[str, ImageFacts]:
    """Return the place of every image in the copy, with the suffix of its format, no two the same."""
    in_folder = Path(findings.data).is_dir()
    taken = {seen.entry.name.casefold() for seen in kept}
    plan: dict[str, ImageFacts] = {}
    for seen in kept:
        place = PurePosixPath(seen.entry.name if in_folder else _listed_place(seen))
        right = SUFFIXES_OF[_format_written(seen)]
        if place.suffix.lower() not in right or not in_folder:
            place = _free(place, place.suffix if place.suffix.lower() in right else right[0], taken)
        plan[place.as_posix()] = seen
    return plan


def _listed_place(seen: ImageFacts) -> str:
    """Return where an image of a list goes: into the folder of its class."""
    classes = seen.entry.classes
    if len(classes) != 1 or classes[0] in ("", ".", "..") or {"/", "\\", "\0"} & set(classes[0]):
        raise DataError(
            f"{printable(seen.entry.name)} is of {printable(', '.join(classes)) or 'no class'}, which no one "
            f"folder can be named after: give --fix a file that ends in {LIST}"
        )
    return f"{seen.entry.split}/{classes[0]}/{PurePosixPath(seen.entry.name).name}"


def _free(place: PurePosixPath, suffix: str, taken: set[str]) -> PurePosixPath:
    """Return ``place`` with this suffix, and a number if another image has that name already."""
    candidate, number = place.with_name(fitting_name(place.stem, suffix)), 0
    while candidate.as_posix().casefold() in taken:
        number += 1
        candidate = place.with_name(fitting_name(place.stem, f"_{number}{suffix}"))
    taken.add(candidate.as_posix().casefold())
    return candidate


def _format_written(seen: ImageFacts) -> str:
    return "PNG" if seen.turned and seen.format not in ("JPEG", "MPO") else seen.format


def _copy(
    plan: dict[str, ImageFacts], fresh: Path, progress: Callable[[str, int, int], None] | None
) -> Iterator[Action]:
    done = 0
    for batch in in_batches(lambda planned: _write(fresh, *planned), plan.items(), BATCH):
        for _, action in batch:
            assert isinstance(action, Action)
            yield action
        done += len(batch)
        if progress:
            progress("copying images", done, len(plan))


def _write(fresh: Path, place: str, seen: ImageFacts) -> Action:
    name, source = seen.entry.name, seen.entry.source
    assert isinstance(source, Path)
    try:
        content = _upright(seen, source) if seen.turned else _bytes_of(source)
    except (OSError, ImageError) as error:  # doctor could read it
        raise DataError(f"{printable(name)} cannot be read any more: it changed since doctor read it") from error
    target = fresh / place
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    renamed = PurePosixPath(name).name != target.name
    return Action(printable(name), "turned" if seen.turned else "renamed" if renamed else "copied", printable(place))


def _bytes_of(source: Path) -> bytes:
    with open_regular(source) as file:
        return file.read()


def _upright(seen: ImageFacts, source: Path) -> bytes:
    stream = io.BytesIO()
    kind = "PNG" if _format_written(seen) == "PNG" else "JPEG"
    Image.fromarray(decode(source)).save(stream, kind, quality=JPEG_QUALITY, subsampling=0)
    return stream.getvalue()


# A list, and the report.


def _list_of(kept: list[ImageFacts]) -> str:
    lines = [csv_line(["path", "label", "split"])]
    for seen in kept:
        assert isinstance(seen.entry.source, Path)
        path, classes = str(seen.entry.source.absolute()), seen.entry.classes
        if not all(map(_can_be_listed, classes)) or not _is_utf8(path):
            raise DataError(
                f"{printable(seen.entry.name)} cannot be named in a list, which is UTF-8 with {BETWEEN_LABELS} between "
                "classes, without blanks around them: rename it, or give --fix a folder"
            )
        lines.append(csv_line([no_formula_path(path), no_formula(BETWEEN_LABELS.join(classes)), seen.entry.split]))
    return "".join(lines)


def _can_be_listed(name: str) -> bool:
    return BETWEEN_LABELS not in name and name == name.strip() == printable(name)


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)  # how Python holds bytes that are not


def _report(findings: Findings, actions: list[Action]) -> str:
    ordered = [asdict(action) for action in sorted(actions, key=lambda action: action.name)]
    return json_text({**findings.to_dict(), "done": ordered}, indent=2) + "\n"
