"""The answer to each image, what it cost, and the wrong ones: the worst first, and as a list that ``train`` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from googlenet.data.image_set import LabelledImage
from googlenet.dataframes import to_dataframe
from googlenet.errors import MissingExtraError, ResultsError
from googlenet.files import check_output_path, replace_file, write_error
from googlenet.metrics import truth_of
from googlenet.text import BETWEEN_LABELS, csv_line, escape_surrogates, no_formula, no_formula_path, printable

if TYPE_CHECKING:
    import pandas

COLUMNS = ("path", "label", "predicted", "probability", "loss")
SUFFIXES = (".csv", ".parquet")
TINY = float(np.finfo(np.float32).tiny)  # a probability of 0 would be an infinite loss


@dataclass(frozen=True)
class Mistake:
    """An image that was answered wrong.

    ``true`` and ``predicted`` are names of classes: one each, or any number where an image may have several labels.
    ``probability`` is that of the predicted class (with several labels: of the label that is most wrong), 0 to 1.
    ``loss`` is the cross-entropy of the answer in nats (with several labels the mean over labels).
    """

    path: str
    true: tuple[str, ...]
    predicted: tuple[str, ...]
    probability: float
    loss: float
    image: LabelledImage = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return {
            "path": escape_surrogates(self.path),
            "label": BETWEEN_LABELS.join(self.true),
            "predicted": BETWEEN_LABELS.join(self.predicted),
            "probability": self.probability,
            "loss": self.loss,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Answers:
    """The answers to N images: ``probabilities`` (N, K), with the ``images`` in the same order.

    ``thresholds`` has one number for each class where an image may have several labels; it is empty otherwise.
    ``p_values`` (N,) say how usual each image is, 0 to 1; ``None`` if the bundle does not tell.
    """

    images: tuple[LabelledImage, ...]
    probabilities: NDArray[Any]
    class_names: tuple[str, ...]
    thresholds: tuple[float, ...] = ()
    p_values: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"Answers({len(self):,} images, {int((~self.right).sum()):,} wrong)"

    @cached_property
    def truth(self) -> NDArray[Any]:
        """Class numbers (N,), or booleans (N, K) where an image may have several labels."""
        return truth_of([item.labels for item in self.images], len(self.class_names), bool(self.thresholds))

    @cached_property
    def named(self) -> NDArray[Any]:
        """The predicted class numbers (N,), or booleans (N, K)."""
        if not self.thresholds:
            return np.asarray(self.probabilities.argmax(axis=1))
        return np.asarray(self.probabilities >= np.array(self.thresholds))

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether each answer is right, (N,): with several labels, every label of it."""
        same = self.named == self.truth
        return np.asarray(same.all(axis=1) if self.thresholds else same)

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """The cross-entropy of each answer in nats, (N,): with several labels the mean over labels."""
        of_truth = self.probabilities.astype(float)
        if self.thresholds:
            return np.asarray(-np.log(np.maximum(np.where(self.truth, of_truth, 1 - of_truth), TINY)).mean(axis=1))
        return np.asarray(-np.log(np.maximum(of_truth[np.arange(len(self)), self.truth], TINY)))

    @property
    def groups(self) -> tuple[str | None, ...]:
        """The group of each image, ``None`` for one in no group."""
        return tuple(item.group for item in self.images)

    @cached_property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The wrong answers, the highest loss first."""
        wrong = np.flatnonzero(~self.right)
        order = wrong[np.argsort(-self.losses[wrong], kind="stable")]
        return tuple(self._mistake(int(at)) for at in order)

    def _mistake(self, at: int) -> Mistake:
        item, row = self.images[at], self.probabilities[at]
        worst = int(np.where(self.truth[at], 1 - row, row).argmax()) if self.thresholds else int(self.named[at])
        true = tuple(self.class_names[label] for label in item.labels)
        return Mistake(path_of(item), true, self.predicted(at), float(row[worst]), float(self.losses[at]), item)

    def row(self, at: int) -> dict[str, Any]:
        """Return path, label, predicted, probability and loss of an image, right or wrong."""
        return self._mistake(at).to_dict()

    def predicted(self, at: int) -> tuple[str, ...]:
        """Return the predicted classes of an image."""
        numbers = np.flatnonzero(self.named[at]) if self.thresholds else [self.named[at]]
        return tuple(self.class_names[int(number)] for number in numbers)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each image: path, label, predicted, probability, loss, then the probability of each class."""
        classes = [f"p_{escape_surrogates(name)}" for name in self.class_names]
        for at, row in enumerate(self.probabilities):
            yield self.row(at) | dict(zip(classes, map(float, row), strict=True))

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a pandas DataFrame with a row for each image: see :meth:`rows`.

        Raises :class:`MissingExtraError` where pandas is not installed: ``pip install 'googlenet[pandas]'``.
        """
        rows = list(self.rows())
        return to_dataframe(rows, list(rows[0]))

    def write(self, path: Path) -> None:
        """Write every answer, a row each: CSV or Parquet. Raises :class:`RunError`, :class:`DiskFullError`."""
        write_rows(list(self.rows()), path)


def path_of(item: LabelledImage) -> str:
    """Return the absolute path of an image, so that lists are read from anywhere; its name if it has no file."""
    return item.name if item.path is None else str(item.path.absolute())


def write_mistakes(mistakes: Sequence[Mistake], path: Path) -> None:
    """Write mistakes as CSV. Once a ``label`` is corrected, or a line deleted, it is a list that ``train`` reads.

    Raises :class:`RunError`, :class:`DiskFullError`.
    """
    write_rows([mistake.to_dict() for mistake in mistakes], path, COLUMNS)


def check_table(option: str, path: Path | None, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Raise where no table can be written to ``path``: a suffix, a folder, pyarrow that is missing."""
    if path is None:
        return
    name = printable(str(path))
    if path.suffix.lower() not in suffixes:
        raise ResultsError(f"{option} {name} should end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise ResultsError(f"{option} {name} is a folder: name a file, such as {name}/{option[2:]}{suffixes[0]}")
    check_output_path(path)
    if path.suffix.lower() == ".parquet":
        _pyarrow()


def write_rows(rows: Sequence[dict[str, Any]], path: Path, columns: Sequence[str] = ()) -> None:
    """Write rows with the same keys whole, or not at all, as CSV or Parquet by the suffix of ``path``."""
    names = list(columns) or list(rows[0])

    def csv(fresh: Path) -> None:
        with fresh.open("w", encoding="utf-8", newline="") as file:
            file.write(csv_line(no_formula(name) for name in names))
            for row in rows:
                file.write(csv_line(_cell(name, row[name]) for name in names))

    def parquet(fresh: Path) -> None:
        arrow, writer = _pyarrow()
        writer.write_table(arrow.table({name: [row[name] for row in rows] for name in names}), fresh)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, parquet if path.suffix.lower() == ".parquet" else csv)
    except OSError as error:
        raise write_error(path, error, "free some space, or name another file") from error


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}"
    return no_formula_path(value) if name == "path" else no_formula(str(value))


def _pyarrow() -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("parquet", "pyarrow") from error
    return pyarrow, parquet
