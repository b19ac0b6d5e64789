"""``Job``: a classifier, the images it is to answer, and what a row says of each. One process works on it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from googlenet.bulk.origin import origin_of
from googlenet.bulk.rows import (
    Answer,
    Row,
    RowSchema,
    embedding_schema,
    labels_schema,
    ranked_schema,
    with_head,
    with_set,
    with_unknown,
)
from googlenet.data.image_ids import ImageIds
from googlenet.data.inputs import Input, find_images
from googlenet.data.reading import read_images
from googlenet.errors import GoogLeNetError, ImageError
from googlenet.inference.certainty import check_rate, scores_of
from googlenet.inference.classifier import Classifier, Prediction
from googlenet.inference.conformal import GUARANTEE, LAC, limit
from googlenet.inference.crops import load
from googlenet.inference.early import why_off
from googlenet.inference.origin import AUTO, OFF, ONE_CROP
from googlenet.stages import stage
from googlenet.text import escape_surrogates

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from googlenet.bulk.sorting import Sorter

Progress = Callable[[int, int], object]
Tell = Callable[[str], object]


class RowOptions(TypedDict, total=False):
    """What a row says, as :func:`googlenet.predict` describes it."""

    top: int | None
    embeddings: bool
    sets: float | None
    set_score: str
    unknown: float | None


@dataclass
class Job:
    """What there is to do. ``sorter`` copies each image into the folder of its class.

    ``progress(done, total)`` counts images; ``tell`` hears what was left out, one sentence each.
    """

    classifier: Classifier
    images: ImageIds
    schema: RowSchema
    progress: Progress | None = None
    tell: Tell = lambda note: None
    sorter: Sorter | None = None

    def answers(self, done: Container[str] = ()) -> Iterator[tuple[str, Answer]]:
        """Yield the id of each image and its answer, in order, without those that are ``done``."""
        ids = [id_ for id_ in self.images.ids if escape_surrogates(id_) not in done] if done else self.images.ids
        with stage("predicting"):
            answers = answer_images(self.classifier, self.schema, read_images(self.images, ids))
            for number, (id_, answer) in enumerate(zip(ids, answers, strict=True), start=1):
                yield id_, self._sorted(id_, answer)
                if self.progress:
                    self.progress(number, len(ids))

    def rows(self) -> Iterator[Row]:
        """Yield the row of each image, in order."""
        return (self.schema.row(id_, answer) for id_, answer in self.answers())

    def _sorted(self, id_: str, answer: Answer) -> Answer:
        if self.sorter is None or not isinstance(answer, Prediction):
            return answer
        try:
            self.sorter.place(id_, answer)
        except ImageError as error:
            return error
        return answer


def answer_images(classifier: Classifier, schema: RowSchema, sources: Iterable[Any]) -> Iterator[Answer]:
    """Predict images, or compute their embeddings if that is what a row says."""
    return classifier.embed_many(sources) if schema.dimension else classifier.predict_many(sources)


def make_job(
    run: str | Path | Classifier,
    inputs: Input | Iterable[Input],
    *,
    precision: str | None = None,
    device: str = "cpu",
    crops: int | str = 1,
    exit: str = OFF,
    progress: Progress | None = None,
    tell: Tell = lambda note: None,
    **rows: Unpack[RowOptions],
) -> Job:
    """Load the classifier and find the images. Arguments and errors are those of :func:`googlenet.predict`."""
    check_rows(**rows)
    if isinstance(run, Classifier):
        classifier = run
    else:
        with stage(f"loading {run}"):
            classifier = load(run, precision, device, crops, exit)
        if exit == AUTO and classifier.origin.exit == OFF:
            tell(str(why_off(classifier.bundle, precision)))
    with stage("looking for images"):
        images = find_images(inputs, channels=classifier.card.preprocessing.channels, tell=tell)
    return Job(classifier, images, schema_for(classifier, tell, **rows), progress, tell)


def check_rows(
    top: int | None = None,
    embeddings: bool = False,
    sets: float | None = None,
    set_score: str = LAC,
    unknown: float | None = None,
) -> None:
    """Raise :class:`GoogLeNetError` where rows cannot say all of this."""
    others = {"top": top, "sets": sets, "unknown": unknown}
    for name in [name for name, value in others.items() if embeddings and value is not None]:
        raise GoogLeNetError(f"embeddings and {name} exclude each other: choose one")
    if sets is None and set_score != LAC:
        raise GoogLeNetError(f"set_score={set_score!r} says how sets are made: give a level, such as sets=0.9")


def schema_for(
    classifier: Classifier,
    tell: Tell = lambda note: None,
    *,
    top: int | None = None,
    embeddings: bool = False,
    sets: float | None = None,
    set_score: str = LAC,
    unknown: float | None = None,
) -> RowSchema:
    """Return the columns that the answers of a classifier need.

    These are the ``top`` classes (by default the class, or all labels if an image may have several), or embeddings;
    then the set of classes at the level ``sets``, and whether an image is unknown at a rate. Raises
    :class:`GoogLeNetError` if the bundle cannot tell, or had too few held-out images.
    """
    asked = {"embeddings": embeddings, "sets": sets is not None, "unknown": unknown is not None}
    for name in [name for name, value in asked.items() if value and classifier.origin.crops != ONE_CROP]:
        raise GoogLeNetError(f"crops={classifier.origin.crops} and {name} exclude each other: {name} are of one crop")
    exits = classifier.origin.exit != OFF
    for name in [name for name, value in asked.items() if value and exits]:
        raise GoogLeNetError(f"exit and {name} exclude each other: {name} are of the full network")
    if embeddings:
        nothing = np.zeros((1, *classifier.engine.image), np.uint8)
        (embedding,) = classifier.embed_many(nothing)
        assert isinstance(embedding, np.ndarray)
        schema = embedding_schema(len(embedding))
    elif classifier.card.multi_label and top is None:
        schema = labels_schema()
    else:
        schema = ranked_schema(min(top or 1, len(classifier.class_names)))
    if sets is not None:
        scores = scores_of(classifier.bundle, set_score)
        schema = with_set(schema, sets, limit(scores, sets), set_score)
        tell(GUARANTEE.format(level=100 * sets, images=len(scores)))
    if unknown is not None:
        check_rate(classifier.bundle, unknown)
        schema = with_unknown(schema, unknown)
    return replace(with_head(schema) if exits else schema, origin=origin_of(classifier))
