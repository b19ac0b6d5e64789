"""``googlenet explain``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from googlenet.cli.data_options import FollowLinks
from googlenet.cli.devices import PredictIn
from googlenet.cli.limits import MaxMegapixels

if TYPE_CHECKING:
    from googlenet.errors import ImageError
    from googlenet.explaining.branches import Branches
    from googlenet.explaining.explanation import Explanation
    from googlenet.inference.explain import Explained

FOLDER = Path("explanations")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain", short_help="Show what in an image speaks for its class (no PyTorch needed).")(explain)


def explain(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Images, folders, globs such as 'new/*.jpg', photos.zip.", metavar="IMAGE…"),
    ] = None,
    class_name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="The class to explain. By default the predicted one."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="OTHER", help="Show what speaks for the class rather than for this one."),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="cam (exact, quick), occlusion, rise (hundreds of runs), gradcam, ig (need PyTorch and captum), or "
            "several with commas between them. By default cam where the network has one, else occlusion.",
        ),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of gradcam: a stage such as inception_4e. By default the last one."),
    ] = None,
    neuron: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE:CHANNELS",
            help="Instead find images that excite channels most, such as inception_5b:0-7, beside those of IMAGE… that "
            "do (needs PyTorch).",
        ),
    ] = None,
    dream: Annotated[
        str | None,
        typer.Option(metavar="IMAGE", help="Instead let --stage dream about this image (needs PyTorch)."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Of --neuron (by default 256) or --dream (24 at each size).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of --neuron and --dream.")] = 0,
    branches: Annotated[
        bool,
        typer.Option("--branches", help="Also show how much each branch of the last module gave: NAME.branches.png."),
    ] = False,
    module: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The same of another module, such as inception_4a, by Shapley values."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Check each method on the labelled images DATA, in place of IMAGE…: does it show what the answers "
            "depend on?",
        ),
    ] = False,
    count: Annotated[
        int,
        typer.Option("--images", metavar="N", min=2, help="With --check: how many images, evenly over the classes."),
    ] = 40,
    boxes: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="With --check: path, left, top, right, bottom in pixels: where the thing is in each image.",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            metavar="VALUE", help="The value at which colours are full. By default the largest of each image."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help=f"Where to write NAME.png and NAME.json. Default: {FOLDER}"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON array of what NAME.json has; write files with --out only.")
    ] = False,
    precision: PredictIn = None,
    follow_links: FollowLinks = False,
    max_megapixels: MaxMegapixels = None,
) -> None:
    """Example: googlenet explain runs/flowers daisy.jpg --against rose

    Show what in an image speaks for its class and what against it, beside the image and in one line. PyTorch is not
    needed, except for gradcam and ig.

    What a channel looks for: googlenet explain runs/flowers --neuron inception_5b:0-7 photos/

    For networks that end in global pooling and one linear layer (GoogLeNet, the Inceptions, Xception, ResNets, NIN)
    the map is exact: its mean is the logit of the class. Others are explained by occlusion.

    Can it be believed? googlenet explain runs/flowers photos/ --check
    """
    if neuron is not None or dream is not None:
        given = {"--class": class_name, "--against": against, "--methods": methods, "--module": module,
                 "--scale": scale, "--branches": branches or None, "--precision": precision,
                 "--check": check or None}  # fmt: skip
        others = [name for name, value in given.items() if value is not None]
        _visualize(run, (neuron, dream, stage), paths or [], others, (steps, seed), (out, as_json))
        return
    _check(paths, steps, scale)
    from googlenet.data.source import DataSource

    inputs = [DataSource(path, follow_links=follow_links) for path in paths or ()]
    chosen = _names(methods)
    if check:
        from googlenet.cli.checking import check as check_methods

        check_methods(run, inputs, chosen, count, boxes, precision, out and _made(out), as_json)
        return
    from googlenet.cli.class_branches import show_classes
    from googlenet.cli.output import progress, say, show_json, warn
    from googlenet.data.inputs import find_images
    from googlenet.data.reading import read_images
    from googlenet.gradients.explain import gradient_methods
    from googlenet.inference.crops import load
    from googlenet.inference.explain import Request, explain_images
    from googlenet.stages import stage as named_stage

    with named_stage(f"loading {run}"):
        classifier = load(run, precision)
    request = Request(class_name, against, chosen, branches, module, stage).check(classifier)
    others = gradient_methods(classifier, request.methods, stage)
    images = find_images(inputs, channels=classifier.card.preprocessing.channels, tell=warn)
    folder = _made(out) if out else None if as_json else _made(FOLDER)
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
    if unreadable:
        raise typer.Exit(1)


def _check(paths: list[str] | None, steps: int | None, scale: float | None) -> None:
    if not paths:
        raise typer.BadParameter("name the images to explain: googlenet explain RUN IMAGE…")
    if steps is not None:
        raise typer.BadParameter("--steps is that of --neuron or --dream: leave it out")
    if scale is not None and not scale > 0:
        raise typer.BadParameter(f"--scale is a value above 0, got {scale:g}")


def _written(
    found: Iterable[tuple[str, list[Explained] | ImageError]],
    files: _Files,
    as_json: bool,
    report: Callable[[int], object],
) -> tuple[list[Any], int]:
    """Write and print what was found of each image; return what the JSON files have, and how many were not read."""
    from googlenet.cli.output import say, warn

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


def _visualize(
    run: Path,
    what: tuple[str | None, str | None, str | None],
    paths: list[str],
    others: list[str],
    how: tuple[int | None, int],
    output: tuple[Path | None, bool],
) -> None:
    from googlenet.cli import visualizing

    (neuron, dream, stage), (out, as_json) = what, output
    visualizing.check(*what, paths, [*others, *(["--json"] if dream is not None and as_json else [])])
    if dream is not None and stage is not None:
        visualizing.show_dream(run, dream, stage, how, _made(out or FOLDER))
    elif neuron is not None:
        visualizing.show_neurons(run, neuron, paths, how, None if as_json else _made(out or FOLDER))


def _names(methods: str | None) -> tuple[str, ...]:
    return tuple(methods.split(",")) if methods else ()


def _made(folder: Path) -> Path:
    from googlenet.files import write_error

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


class _Files:
    """Writes what was found into a folder, if there is one, each under a name of its own."""

    def __init__(self, folder: Path | None, scale: float | None) -> None:
        from googlenet.cli.class_branches import NAME
        from googlenet.explaining.class_branches import ClassBranches

        self.folder, self.scale, self.written = folder, scale, 0
        self._taken = {NAME}
        self.of_classes = ClassBranches()

    def write(self, id_: str, found: Explained) -> list[dict[str, Any]]:
        """Write NAME.png, NAME.branches.png and NAME.json; return what the latter has."""
        from googlenet.explaining.explanation import draw, save
        from googlenet.files import fitting_name, write_error, write_whole
        from googlenet.text import escape_surrogates, json_text

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
    from googlenet.explaining.examples import with_examples

    return with_examples(sheet, [(each.pixels(), ", ".join(each.labels), each.similarity) for each in found.neighbours])


def _lines(id_: str, found: Explained) -> Iterable[str]:
    from googlenet.text import printable

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
