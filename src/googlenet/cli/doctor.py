"""``googlenet doctor``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from googlenet.cli.data_options import FollowLinks, LabelColumn, MultiLabel, PathColumn
from googlenet.cli.limits import MaxMegapixels

if TYPE_CHECKING:
    from googlenet.diagnosis.clean import Cleaned
    from googlenet.diagnosis.findings import Finding, Findings
    from googlenet.images.decode import Pixels

EXAMPLES_SHOWN = 3  # of each kind
MAX_PAIRS_DRAWN = 12
DRAWN_SIDE = 256  # pixels


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", short_help="Find what is wrong with labelled images, and write a clean copy.")(doctor)


def doctor(
    data: Annotated[str, typer.Argument(help="Labelled images, as for `googlenet train`, or a folder it refuses.")],
    fix: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Write a clean copy to this new folder, or a list of it to OUT.csv."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the worst pairs of similar images.")] = None,
    image_size: Annotated[int | None, typer.Option(min=1, help="Also report images smaller than this.")] = None,
    seed: Annotated[int, typer.Option(help="As in training: decides what is held out if DATA has no val/.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print every finding as JSON.")] = False,
    follow_links: FollowLinks = False,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    multi_label: MultiLabel = False,
    download: Annotated[bool, typer.Option("--download", help="Fetch DATA, the address of an archive, first.")] = False,
    max_megapixels: MaxMegapixels = None,
) -> None:
    """Example: googlenet doctor photos/

    Find what is wrong with labelled images before training on them. DATA is never changed.

    The exit code is 1 if something would harm training: data that train refuses, images that cannot be read,
    the same image in several splits or classes. It is 0 if there is only advice.

    A clean copy: googlenet doctor photos/ --fix clean/

    It omits unreadable files and duplicates: of an image in several splits the one in test or val is kept, of an
    image in several classes none. Others are renamed or turned upright if needed. doctor.json in it (beside
    OUT.csv: OUT.doctor.json) says what was done. The exit code is then 1 only if train would refuse the copy.
    """
    from googlenet.cli import look
    from googlenet.files import check_output_path
    from googlenet.stages import stage

    if plot is not None:
        look.check_plot(plot)
    from googlenet.cli.output import show_json, warn
    from googlenet.data.source import DataSource
    from googlenet.diagnosis import doctor as diagnosis
    from googlenet.diagnosis.clean import check_apart, clean

    if fix is not None:
        check_apart(data, fix)
        check_output_path(fix)
    cleaned = None
    source = DataSource(
        data, follow_links=follow_links, path_column=path_column, label_column=label_column, multi_label=multi_label,
        download=download,
    )  # fmt: skip
    with stage(f"reading {data}"), _bars() as report:
        findings = diagnosis.doctor(source, seed=seed, image_size=image_size, progress=report)
        if fix is not None:
            cleaned = clean(findings, fix, progress=report)
    for note in findings.notes:
        warn(note)
    if as_json:
        show_json(findings.to_dict())
    else:
        _show(findings, data)
    if cleaned:
        _show_cleaned(cleaned, as_json)
    if plot:
        _draw(findings, plot, warn)
    if cleaned.refusal if cleaned else findings.harmful:
        raise typer.Exit(1)


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar of its own for each stage of the work."""
    from contextlib import ExitStack

    from googlenet.cli.output import progress

    with ExitStack() as stack:
        now: list[tuple[str, Callable[[int, int | None], None]]] = []

        def report(what: str, done: int, total: int) -> None:
            if not now or now[0][0] != what:
                stack.close()
                now[:] = [(what, stack.enter_context(progress(what, total)))]
            now[0][1](done, total)

        yield report


def _show(findings: Findings, data: str) -> None:
    from googlenet.cli.output import say, show_table
    from googlenet.diagnosis.findings import CHECKS

    splits = ", ".join(f"{split} {count:,}" for split, count in findings.splits.items() if split)
    say(f"{data}: {findings.images:,} images in {findings.classes:,} classes" + (f" ({splits})" if splits else ""))
    if not findings.items:
        say("no problems found")
        return
    rows = []
    for kind, check in CHECKS.items():
        found = findings.of(kind)
        if found:
            examples = [_example(one) for one in found[:EXAMPLES_SHOWN]] + ["…"] * (len(found) > EXAMPLES_SHOWN)
            harm = "harm" if check.harms else ""
            rows.append((check.title, harm, f"{len(found):,}", examples, check.fix))
    columns = [("what", "left"), ("", "left"), ("found", "right"), ("for example", "left"), ("fix", "left")]
    show_table("", columns, rows)
    if findings.harmful:
        say("harm: training would fail or give misleading metrics")


def _example(finding: Finding) -> str:
    """Name the images of a finding, and its detail."""
    from googlenet.diagnosis.findings import CHECKS

    if CHECKS[finding.kind].shows == "detail":
        return finding.detail
    names = (" ≈ " if finding.kind.startswith("near") else " = ").join(finding.names[:EXAMPLES_SHOWN])
    return f"{names}: {finding.detail}" if finding.detail else names


def _draw(findings: Findings, path: Path, say: Callable[[str], None]) -> None:
    import numpy as np
    from PIL import Image

    from googlenet.cli.look import plot
    from googlenet.diagnosis.findings import CHECKS
    from googlenet.images.decode import decode
    from googlenet.text import printable

    def small(name: str) -> Pixels:
        image = Image.fromarray(decode(sources[name]))
        image.thumbnail((DRAWN_SIDE, DRAWN_SIDE))
        return np.asarray(image)

    sources = {printable(seen.entry.name): seen.entry.source for seen in findings.facts}
    alike = [finding for finding in findings.items if CHECKS[finding.kind].drawn][:MAX_PAIRS_DRAWN]
    if not alike:
        say("nothing to draw: no two images are alike")
        return

    def draw() -> None:
        from googlenet.evaluation.plots import draw_pairs

        pairs = []
        for one in alike:
            images = [(name, small(name)) for name in (one.names[0], one.names[-1])]
            pairs.append((f"{CHECKS[one.kind].title}\n{one.detail}", images))
        draw_pairs(pairs, path)

    plot(draw, path, asked=True)
    say(f"plot: {path}")


def _show_cleaned(cleaned: Cleaned, as_json: bool) -> None:
    from googlenet.cli.output import say, say_command, warn

    counts = ", ".join(f"{count:,} {done}" for done, count in sorted(cleaned.counts().items()))
    tell = warn if as_json else say
    tell(f"clean copy: {cleaned.path} ({counts}: see {cleaned.report})")
    if cleaned.refusal:
        tell(f"train would refuse it: {cleaned.refusal}")
    else:
        say_command("next:", "googlenet", "train", cleaned.path, "--out", "runs/mine", to_stderr=as_json)
