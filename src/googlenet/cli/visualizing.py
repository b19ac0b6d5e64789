"""What ``googlenet explain`` does of a network itself: images of its channels, and dreams of its stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from googlenet.cli.output import progress, say, show_json
from googlenet.errors import StoppedError
from googlenet.stopping import CODE
from googlenet.text import printable


def show_neurons(run: Path, neuron: str, paths: Sequence[str], how: tuple[int | None, int], out: Path | None) -> None:
    """Find images of channels, and write them as STAGE.neurons.png and .json into ``out``; without it print JSON."""
    from googlenet.files import fitting_name, write_error, write_whole
    from googlenet.gradients.visualize import visualize
    from googlenet.text import json_text

    steps, seed = how
    with progress("visualizing") as bar:
        found = visualize(run, neuron, list(paths), steps=steps, seed=seed,
                          progress=lambda what, done, total: bar(done, total))  # fmt: skip
    if out is None:
        show_json(found.to_dict())
        return
    path = out / fitting_name(found.stage, ".neurons.png")
    found.save(path)
    try:
        write_whole(path.with_suffix(".json"), (json_text(found.to_dict()) + "\n").encode())
    except OSError as error:
        raise write_error(path, error) from error
    for each in found.neurons:
        line = f"channel {each.channel}: excited to {each.found.excitation:.3g}"
        if each.data:
            best = each.data[0]
            line += f"; of the data most by {printable(best.id)}, to {best.excitation:.3g}"
        say(line)
    say(f"{path}: {len(found.neurons)} channel{'s' if len(found.neurons) > 1 else ''} of {printable(found.stage)}")
    _end(found.stopped, f"stopped after step {found.steps:,} of the last channels; what there was is in {path}")


def show_dream(run: Path, image: str, stage: str, how: tuple[int | None, int], out: Path) -> None:
    """Dream of a stage about an image, and write it as NAME.dream.png."""
    from googlenet.files import fitting_name
    from googlenet.gradients.visualize import dream

    steps, seed = how
    with progress("dreaming") as bar:
        found = dream(run, image, stage, steps=steps, seed=seed, progress=bar)
    path = out / fitting_name(Path(image).stem, ".dream.png")
    found.save(path)
    say(f"{path}: a dream of {printable(stage)}, which it excites {found.after / max(found.before, 1e-12):,.1f} times "
        "as much (mean square of its maps)")  # fmt: skip
    _end(found.stopped, f"stopped early; what there was is in {path}")


def _end(stopped: int | None, line: str) -> None:
    if stopped is not None:
        raise StoppedError(line, CODE + stopped)


def check(
    neuron: str | None, dream: str | None, stage: str | None, paths: Sequence[str], others: Sequence[str]
) -> None:
    """Refuse options that do not go together. ``others`` are those given that explain answers."""
    asked = "--neuron" if neuron is not None else "--dream"
    if neuron is not None and dream is not None:
        raise typer.BadParameter("--neuron and --dream are two commands: give one")
    if others:
        raise typer.BadParameter(f"{others[0]} explains the answer to an image: leave it out, or {asked}")
    if dream is not None and stage is None:
        raise typer.BadParameter("--dream needs --stage NAME: the stage that dreams, such as inception_4c")
    if dream is not None and paths:
        raise typer.BadParameter(f"--dream takes one image, its own: leave out {printable(paths[0])}")
    if neuron is not None and stage is not None:
        raise typer.BadParameter("--neuron names its stage itself, as STAGE:CHANNEL: leave out --stage")
