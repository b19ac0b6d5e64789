"""What ``googlenet explain`` does of a network itself: images of its channels, and dreams of its stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from googlenet.cli.output import progress, say, show_json
from googlenet.errors import StoppedError
from googlenet.files import check_output_path, fitting_name, write_error, write_whole
from googlenet.stopping import CODE
from googlenet.text import json_text, printable

if TYPE_CHECKING:
    from googlenet.gradients.neurons import Neurons


@dataclass(frozen=True)
class Wish:
    """The options of ``--neuron`` and ``--dream``: one is given. ``out`` is None where JSON is only printed."""

    neuron: str | None
    dream: str | None
    stage: str | None
    steps: int | None
    seed: int
    out: Path | None
    as_json: bool

    def check(self, paths: Sequence[str], others: Sequence[str]) -> None:
        """Refuse options that do not go together. ``others`` are those given that explain answers."""
        if self.neuron is not None and self.dream is not None:
            raise typer.BadParameter("--neuron and --dream are two commands: give one")
        if others:
            asked = "--neuron" if self.neuron is not None else "--dream"
            raise typer.BadParameter(f"{others[0]} explains the answer to an image: leave it out, or {asked}")
        if self.neuron is not None and self.stage is not None:
            raise typer.BadParameter("--neuron names its stage itself, as STAGE:CHANNEL: leave out --stage")
        if self.dream is not None:
            self._check_dream(paths)

    def _check_dream(self, paths: Sequence[str]) -> None:
        if self.stage is None:
            raise typer.BadParameter("--dream needs --stage NAME: the stage that dreams, such as inception_4c")
        if paths:
            raise typer.BadParameter(f"--dream takes one image, its own: leave out {printable(paths[0])}")
        if self.as_json:
            raise typer.BadParameter("--dream makes an image, and no numbers: leave out --json")


def show(run: Path, wish: Wish, paths: Sequence[str]) -> None:
    """Show what channels look for, beside the images of ``paths``, or dream."""
    if wish.out is not None:
        check_output_path(wish.out)
    if wish.neuron is not None:
        _show_neurons(run, wish.neuron, wish, paths)
    elif wish.dream is not None and wish.stage is not None and wish.out is not None:
        _show_dream(run, (wish.dream, wish.stage), wish, wish.out)


def _show_neurons(run: Path, neuron: str, wish: Wish, paths: Sequence[str]) -> None:
    """Find images of channels, and write them as STAGE.neurons.png and .json."""
    from googlenet.gradients.visualize import visualize

    with progress("visualizing") as bar:
        found = visualize(run, neuron, list(paths), steps=wish.steps, seed=wish.seed,
                          progress=lambda what, done, total: bar(done, total))  # fmt: skip
    path = wish.out and wish.out / fitting_name(found.stage, ".neurons.png")
    if path is not None:
        numbers = (json_text(found.to_dict()) + "\n").encode()
        _written(path, found.save)
        _written(path.with_suffix(".json"), lambda file: write_whole(file, numbers))
    if wish.as_json:
        show_json(found.to_dict())
    else:
        for line in _lines(found):
            say(line)
        say(f"{path}: {len(found.neurons)} channel{'s' if len(found.neurons) > 1 else ''} of {printable(found.stage)}")
    where = f"; what there was is in {path}" if path is not None else ""
    _end(found.stopped, f"stopped after step {found.steps:,} of the last channels{where}")


def _lines(found: Neurons) -> Iterator[str]:
    from googlenet.explaining.drawing import number

    for each in found.neurons:
        line = f"channel {each.channel}: excited to {number(each.found.excitation)}"
        if each.data:
            best = each.data[0]
            line += f"; of the data most by {printable(best.id)}, to {number(best.excitation)}"
        yield line


def _show_dream(run: Path, what: tuple[str, str], wish: Wish, out: Path) -> None:
    """Dream of a stage about an image, and write it as NAME.dream.png."""
    from googlenet.gradients.visualize import dream

    image, stage = what
    with progress("dreaming") as bar:
        found = dream(run, image, stage, steps=wish.steps, seed=wish.seed, progress=bar)
    path = out / fitting_name(Path(image).stem, ".dream.png")
    _written(path, found.save)
    say(f"{path}: a dream of {printable(stage)}, which it excites {found.after / max(found.before, 1e-12):,.1f} times "
        "as much (mean square of its maps)")  # fmt: skip
    _end(found.stopped, f"stopped early; what there was is in {path}")


def _written(path: Path, write: Callable[[Path], object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    except OSError as error:
        raise write_error(path, error) from error


def _end(stopped: int | None, line: str) -> None:
    if stopped is not None:
        raise StoppedError(line, CODE + stopped)
