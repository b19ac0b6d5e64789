"""What ``googlenet explain`` found of images: written into a folder, and said in a line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from googlenet.cli.class_branches import NAME, show_classes
from googlenet.cli.output import progress, say, show_json, warn
from googlenet.data.inputs import Input, find_images
from googlenet.data.reading import read_images
from googlenet.errors import ImageError
from googlenet.explaining.branches import Branches
from googlenet.explaining.class_branches import ClassBranches
from googlenet.explaining.examples import with_examples
from googlenet.explaining.explanation import Explanation, draw, save
from googlenet.files import fitting_name, write_error, write_whole
from googlenet.gradients.explain import gradient_methods
from googlenet.inference.crops import load
from googlenet.inference.explain import Explained, Request, explain_images
from googlenet.stages import stage
from googlenet.text import escape_surrogates, json_text, printable


def explain_to_files(
    run: Path,
    inputs: Sequence[Input],
    request: Request,
    precision: str | None,
    scale: float | None,
    made: Callable[[], Path] | None,
    as_json: bool,
) -> bool:
    """Explain images into the folder that ``made`` makes, if any. Return whether all of them could be read."""
    with stage(f"loading {run}"):
        classifier = load(run, precision)
    request = request.check(classifier)
    others = gradient_methods(classifier, request.methods, request.stage)
    images = find_images(inputs, channels=classifier.card.preprocessing.channels, tell=warn)
    folder = made() if made else None
    files = _Files(folder, scale)
    with progress("explaining") as report:
        single = len(images.ids) == 1
        found = explain_images(classifier, read_images(images), request, report if single else None, others)
        told, unreadable = _written(zip(images.ids, found, strict=True), files, as_json,
                                    lambda done: None if single else report(done, len(images.ids)))  # fmt: skip
    show_classes(files.of_classes, folder, quiet=as_json)
    if as_json:
        show_json(told)
    elif files.written:
        say(f"{folder}: {files.written:,} image{'s' if files.written > 1 else ''} explained, .png and .json")
    return not unreadable


def _written(
    found: Iterable[tuple[str, list[Explained] | ImageError]],
    files: _Files,
    as_json: bool,
    report: Callable[[int], object],
) -> tuple[list[Any], int]:
    """Write and print what was found of each image; return what the JSON files have, and how many were not read."""
    told, unreadable = list[Any](), 0
    for number, (id_, each) in enumerate(found, start=1):
        if isinstance(each, Exception):
            warn(f"not read: {each}")
            unreadable += 1
            continue
        for explained in each:
            told += files.write(id_, explained)
            for line in () if as_json else _lines(id_, explained):
                say(line)
        report(number)
    return told, unreadable


class _Files:
    """Writes what was found into a folder, if there is one, each under a name of its own."""

    def __init__(self, folder: Path | None, scale: float | None) -> None:
        self.folder, self.scale, self.written = folder, scale, 0
        self._taken = {NAME}
        self.of_classes = ClassBranches()

    def write(self, id_: str, found: Explained) -> list[dict[str, Any]]:
        """Write NAME.png, NAME.branches.png and NAME.json; return what the latter has."""
        every: list[Explanation | Branches] = [*found.maps, *([found.branches] if found.branches else [])]
        entries = [{**each.to_dict(), "path": escape_surrogates(id_)} for each in every]
        if found.branches:
            self.of_classes.add(found.branches)
        if found.neighbours:
            entries[0]["neighbours"] = [each.to_dict() for each in found.neighbours]
        if self.folder is None:
            return entries
        name = self._name(Path(id_).stem)
        path = self.folder / fitting_name(name, ".json")
        save(_with_neighbours(draw(found.maps, self.scale), found), self.folder / fitting_name(name, ".png"))
        if found.branches:
            found.branches.save(self.folder / fitting_name(name, ".branches.png"))
        try:
            write_whole(path, (json_text(entries) + "\n").encode())
        except OSError as error:
            raise write_error(path, error) from error
        self.written += 1
        return entries

    def _name(self, stem: str) -> str:
        name, number = stem, 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken |= {name.casefold(), f"{name}.branches".casefold()}
        return name


def _with_neighbours(sheet: Any, found: Explained) -> Any:
    if not found.neighbours:
        return sheet
    return with_examples(sheet, [(each.pixels(), ", ".join(each.labels), each.similarity) for each in found.neighbours])


def _lines(id_: str, found: Explained) -> Iterable[str]:
    first, *others = found.maps
    yield f"{printable(id_)}: {first.sentence}"
    for each in others:
        yield f"  by {each.method}: {each.seen.sentence(printable(each.asked.class_name))}"
    if found.branches:
        said = found.branches.sentence.removeprefix(f"{first.asked.sentence()}: ")
        yield f"  {said}"
    if found.neighbours:
        nearest = (f"{printable(', '.join(each.labels))} {each.similarity:.2f}" for each in found.neighbours)
        yield f"  nearest training images: {', '.join(nearest)}"
