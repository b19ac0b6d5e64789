"""``Job``: a classifier, the images it is to answer, and what a row says of each. One process works on it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from googlenet.bulk.origin import origin_of
from googlenet.bulk.rows import (
    Answer,
    Row,
    RowSchema,
    embedding_schema,
    labels_schema,
    ranked_schema,
    with_set,
    with_unknown,
)
from googlenet.data.image_ids import ImageIds
from googlenet.data.inputs import Input, find_images
from googlenet.data.reading import read_images
from googlenet.errors import GoogLeNetError, ImageError
from googlenet.inference.certainty import check_rate, scores_of
from googlenet.inference.classifier import Classifier, Prediction, load
from googlenet.inference.conformal import GUARANTEE, limit
from googlenet.stages import stage
from googlenet.text import escape_surrogates

if TYPE_CHECKING:
    from googlenet.bulk.sorting import Sorter

Progress = Callable[[int, int], object]
Tell = Callable[[str], object]


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
    top: int | None = None,
    embeddings: bool = False,
    precision: str | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    tell: Tell = lambda note: None,
) -> Job:
    """Load the classifier and find the images. Arguments and errors are those of :func:`googlenet.predict`."""
    if embeddings and top is not None:
        raise GoogLeNetError("embeddings and top exclude each other: choose one")
    if isinstance(run, Classifier):
        classifier = run
    else:
        with stage(f"loading {run}"):
            classifier = load(run, precision, device)
    with stage("looking for images"):
        images = find_images(inputs, channels=classifier.card.preprocessing.channels, tell=tell)
    return Job(classifier, images, schema_for(classifier, top, embeddings), progress, tell)


def schema_for(classifier: Classifier, top: int | None = None, embeddings: bool = False) -> RowSchema:
    """Return the columns that the answers of a classifier need.

    These are the ``top`` classes (by default the class, or all labels if an image may have several), or embeddings.
    """
    if embeddings:
        nothing = np.zeros((1, *classifier.engine.image), np.uint8)
        (embedding,) = classifier.embed_many(nothing)
        assert isinstance(embedding, np.ndarray)
        schema = embedding_schema(len(embedding))
    elif classifier.card.multi_label and top is None:
        schema = labels_schema()
    else:
        schema = ranked_schema(min(top or 1, len(classifier.class_names)))
    return replace(schema, origin=origin_of(classifier))


def with_certainty(job: Job, level: float | None, rate: float | None) -> Job:
    """Add what rows say of certainty: the set of classes at ``level``, whether an image is unknown at ``rate``.

    Raises :class:`GoogLeNetError` if the bundle cannot tell, or had too few held-out images.
    """
    schema, bundle = job.schema, job.classifier.bundle
    if level is not None:
        scores = scores_of(bundle)
        schema = with_set(schema, level, limit(scores, level))
        job.tell(GUARANTEE.format(level=100 * level, images=len(scores)))
    if rate is not None:
        check_rate(bundle, rate)
        schema = with_unknown(schema, rate)
    return replace(job, schema=schema)
