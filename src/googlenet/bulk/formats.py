"""The table of result formats, by the suffix of the file. A new format is one more entry here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from googlenet.bulk.results import Lines, Results, already_exists_error
from googlenet.bulk.rows import CSVFormat, JSONLFormat, LineFormat, RowSchema
from googlenet.errors import ResultsError
from googlenet.files import check_output_path


@dataclass(frozen=True)
class ResultFormat:
    """A format of result files: what opens one, and what it needs (raises :class:`MissingExtraError`)."""

    open: Callable[[Path, RowSchema, bool], Results]
    require: Callable[[], None] = lambda: None


def _lines_of(form: Callable[[RowSchema], LineFormat]) -> Callable[[Path, RowSchema, bool], Results]:
    return lambda path, schema, resume: Results(path, schema, Lines(path, form(schema), path, resume))


def _parquet(path: Path, schema: RowSchema, resume: bool) -> Results:
    from googlenet.bulk.parquet import ParquetResults

    return ParquetResults(path, schema, resume)


def _require_pyarrow() -> None:
    from googlenet.bulk.parquet import require_pyarrow

    require_pyarrow()


FORMATS: dict[str, ResultFormat] = {
    ".csv": ResultFormat(_lines_of(CSVFormat)),
    ".jsonl": ResultFormat(_lines_of(JSONLFormat)),
    ".parquet": ResultFormat(_parquet, _require_pyarrow),
}


def open_results(path: Path, schema: RowSchema, *, resume: bool = False) -> Results:
    """Open a results file of one of :data:`FORMATS`; one that exists already, only with ``resume``.

    ::

        with open_results(Path("results.csv"), ranked_schema()) as results:
            for source, answer in zip(sources, classifier.predict_many(sources)):
                results.add(source, answer)
            results.finish()

    Raises:
        ResultsError: no such format; a file that exists, has other columns, is damaged, has the answers of another
            classifier, or is being written by another process.
        MissingExtraError: pyarrow is not installed, for Parquet.
        RunError, DiskFullError: it could not be written.
    """
    _check_name(path)
    return FORMATS[path.suffix.lower()].open(path, schema, resume)


def check_results_path(path: Path, *, resume: bool = False) -> None:
    """Raise what :func:`open_results` would raise for the path alone, before any work is done."""
    _check_name(path)
    if path.exists() and not resume:
        raise already_exists_error(path, path)
    check_output_path(path)


def _check_name(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        raise ResultsError(f"{path} ends in none of {', '.join(FORMATS)}: give a name that does")
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises on a name that is too long
        raise ResultsError(f"{path} is a folder: give the name of a file, {path / 'results.csv'} for one")
    FORMATS[path.suffix.lower()].require()
