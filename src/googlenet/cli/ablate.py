"""``googlenet ablate``."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from googlenet.cli.data_options import FollowLinks, LabelColumn, MultiLabel, PathColumn
from googlenet.cli.limits import MaxMegapixels
from googlenet.cli.settings import Options, add_command, training_options

if TYPE_CHECKING:
    from googlenet.training.ablation import Ablation

RECIPE_OPTIONS = (
    "epochs", "minutes", "network", "image_size", "batch_size", "lr", "resize", "in_channels", "augmentation",
    "val_fraction", "test_fraction", "seed", "precision",
)  # fmt: skip
RUN_OPTIONS = ("device", "workers", "on_bad_image")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, ablate, _options, before="follow_links", short_help="Measure what auxiliary heads are worth.")


def _options() -> Options:
    return training_options(RECIPE_OPTIONS, RUN_OPTIONS)


def ablate(
    data: Annotated[str, typer.Argument(help="Labelled images, as for `googlenet train`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory: a run for each training, ablation.json.")],
    heads: Annotated[
        str, typer.Option(metavar="N,…", help="Numbers of auxiliary heads; the smallest is compared with.")
    ] = "0,1,2",
    seeds: Annotated[int, typer.Option(help="How many trainings with each number of heads.")] = 5,
    recipe: Annotated[str, typer.Option(help="The recipe, as for `googlenet train`, but auto.")] = "default",
    resume: Annotated[bool, typer.Option("--resume", help="Continue what is in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    follow_links: FollowLinks = False,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    multi_label: MultiLabel = False,
    max_megapixels: MaxMegapixels = None,
    **options: Any,
) -> None:
    """Example: googlenet ablate photos/ --heads 0,1,2 --seeds 5 --epochs 20 --out runs/heads

    Measure what auxiliary heads are worth: train with each number of heads and each seed, and compare the accuracies
    on the same held-out images, beside the 0.5 points of the GoogLeNet paper.

    Stop at any time; --resume goes on.
    """
    from googlenet.data.source import DataSource
    from googlenet.training.ablation import ablate as measure

    numbers = [part.strip() for part in heads.split(",")]
    if not all(part.isdecimal() for part in numbers):
        raise typer.BadParameter(f"--heads is numbers of heads with commas between them, such as 0,1,2, got {heads!r}")
    source = DataSource(
        data, follow_links=follow_links, path_column=path_column, label_column=label_column, multi_label=multi_label
    )
    found = measure(source, out, heads=[int(part) for part in numbers], seeds=seeds, recipe=recipe, resume=resume,
                    overwrite=overwrite, **options)  # fmt: skip
    if as_json:
        from googlenet.cli.output import show_json

        show_json(found.to_dict())
        return
    _show(found)


def _show(found: Ablation) -> None:
    from googlenet.cli.output import say, show_table
    from googlenet.metrics import METRICS
    from googlenet.training.ablation import ABLATION, PAPER_EFFECT

    title = METRICS[found.metric].title
    columns = [("heads", "right"), (f"{title},\nmean of seeds", "right"), ("lowest to\nhighest", "right"),
               (f"points against\n{found.baseline} heads", "right"), ("95 % interval", "right")]  # fmt: skip
    show_table("", columns, [_row(found, heads) for heads in found.heads])
    paper = f"{100 * PAPER_EFFECT:.1f}"
    for heads, effect in found.effects.items():
        many, s = (f"{heads} head", "s") if heads == 1 else (f"{heads} heads", "")  # a head helps, two heads help
        said = {
            "better": f"{many} help{s}",
            "worse": f"{many} harm{s}",
            "no difference": f"{many} make{s} no difference that these runs show",
            "unknown": f"one seed does not show what {many} contribute{s}",
        }[effect.verdict]
        low, high = effect.difference.low, effect.difference.high
        if low is not None and high is not None:
            where = "inside" if low <= PAPER_EFFECT <= high else "outside"
            said += f"; the paper's {paper} points are {where} the interval"
        say(said)
    say(_power(found, paper))
    say(f"{found.out / ABLATION}: every run and comparison")


def _power(found: Ablation, paper: str) -> str:
    """Say whether so many images and seeds can show the paper's effect at all."""
    by_one = max((effect.detectable_by_one or 0.0 for effect in found.effects.values()), default=0.0)
    by_all = max((effect.detectable or 0.0 for effect in found.effects.values()), default=0.0)
    images = f"{found.images:,} images of {found.split}"
    said = f"{images} show a difference of at least {100 * by_one:.1f} points with one pair of runs"
    if not by_all:
        return f"{said}: {_enough(by_one)} for the paper's {paper}"
    with_all = f"{100 * by_all:.1f} with these seeds" if by_all <= 1 else "none at all with so few seeds"
    return f"{said}, {with_all}: {_enough(by_all)} for the paper's {paper} (in 80 % of cases)"


def _enough(detectable: float) -> str:
    from googlenet.training.ablation import PAPER_EFFECT

    return "enough" if detectable <= PAPER_EFFECT else "not enough"


def _row(found: Ablation, heads: int) -> list[str]:
    values = found.of(heads)
    row = [str(heads), f"{fmean(values):.2%}", f"{min(values):.2%} to {max(values):.2%}"]
    if heads not in found.effects:
        return [*row, "", ""]
    each = found.effects[heads].difference
    span = "" if each.low is None or each.high is None else f"{100 * each.low:+.2f} to {100 * each.high:+.2f}"
    return [*row, f"{100 * each.value:+.2f}", span]
