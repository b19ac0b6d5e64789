"""The network before its branches were removed, in between, and after fine-tuning: the same images, speed in turns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from googlenet import bundle as bundles
from googlenet.benchmarking.in_turns import SpeedInTurns, measure_in_turns
from googlenet.bundle import Bundle
from googlenet.data.image_set import DataLike, ImageSet
from googlenet.evaluation.comparison import Comparison, compare_answers
from googlenet.evaluation.evaluate import Evaluation, evaluate, evaluate_on
from googlenet.evaluation.selection import Selection, in_the_order_of
from googlenet.inference.crops import load
from googlenet.inference.engine import Engine, processor
from googlenet.models.analysis import analyse
from googlenet.parallel import cores
from googlenet.pruning.record import Record
from googlenet.pruning.result import CUT, ORIGINAL, TUNED, Pruning, State
from googlenet.stages import stage
from googlenet.training.directory import PRUNED

Report = Callable[[str, int, int], object]
PRECISION = "fp32"  # that of the weights: int8 and bf16 would be compared as well


def measure(run: Path, out: Path, data: DataLike, record: Record, progress: Report) -> Pruning:
    """Compare the three networks. Raises what :func:`googlenet.evaluate` raises."""
    original, cut, tuned = bundles.read(run), bundles.read(out / PRUNED), bundles.read(out)

    def report(what: str) -> Callable[[int, int], None]:
        def of_measurement(done: int, total: int) -> None:
            progress(what, done, total)

        return of_measurement

    with stage("measuring accuracy"):
        after = evaluate(out, data, precision=PRECISION, against=run, progress=report("measuring accuracy"))
        assert after.against is not None
        before, between = after.against.evaluation, _on_the_same(cut, after)
    with stage("measuring speed"):
        engines = [Engine(bundle, PRECISION) for bundle in (original, tuned)]
        slow, fast = measure_in_turns(engines, report("measuring speed"))
    states = (
        _state(ORIGINAL, original, before, None, slow),
        _state(CUT, cut, between, _compared(between, before), None),
        _state(TUNED, tuned, after, after.against.comparison, fast),
    )
    machine = {"processor": processor(), "cores": cores(), "precision": PRECISION}
    return Pruning(tuned, run, _metric(tuned), record.images, record.ranking, record.removed, states, record.bordered,
                   after.notes, machine)  # fmt: skip


def _metric(bundle: Bundle) -> str:
    return "exact" if bundle.card.multi_label else "top1"


def _state(
    name: str, bundle: Bundle, found: Evaluation, against: Comparison | None, speed: SpeedInTurns | None
) -> State:
    table = analyse(bundle.network, bundle.card.preprocessing.size)
    return State(name, found.intervals[_metric(bundle)], against, table.macs, table.parameters, speed)


def _on_the_same(bundle: Bundle, other: Evaluation) -> Evaluation:
    """Measure a classifier on the images that another one was measured on."""
    classifier = load(bundle.path, PRECISION)
    images = ImageSet(other.answers.class_names, other.answers.images)
    images = in_the_order_of(classifier.class_names, other.data, images)
    return evaluate_on(classifier, Selection(images, other.data, other.split, 0, ()))


def _compared(first: Evaluation, second: Evaluation) -> Comparison:
    place = {item.name: at for at, item in enumerate(second.answers.images)}
    both = [(at, place[item.name]) for at, item in enumerate(first.answers.images) if item.name in place]
    here, there = map(list, zip(*both, strict=True))
    groups = [first.answers.images[at].group for at in here]
    return compare_answers(first.answers.right[here], second.answers.right[there], groups)
