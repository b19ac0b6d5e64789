"""Prediction on a Ray cluster: one process with one engine on every core. No torch; the only module that imports Ray.

Ray Data hands out parts, and hands a part out again if its worker dies. A worker returns the rows of a part as the
bytes of a Parquet file, and this process writes them: a cluster needs no shared disk.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import secrets
import socket
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from googlenet._version import __version__
from googlenet.bulk.job import Job, answer_images
from googlenet.bulk.parquet import encoded
from googlenet.bulk.parts import Part
from googlenet.bulk.rows import RowSchema
from googlenet.bundle import CERTAINTY, INT8, INT8_WEIGHTS, MODEL, PackedBundle
from googlenet.data.image_ids import ImageIds
from googlenet.data.reading import read_images
from googlenet.errors import ClusterError, GoogLeNetError, MissingExtraError
from googlenet.inference.classifier import Classifier
from googlenet.text import printable

MAX_ATTEMPTS = 4  # at a part whose worker died: if an image kills each worker, Ray would retry for ever
MAX_ERROR_LENGTH = 240  # characters of an error of Ray
CONNECT_TIMEOUT = 10.0  # seconds that a cluster may take to answer at all
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def require_ray(address: str | None = None) -> None:
    """Import Ray with the environment variables it reads. Raises :class:`MissingExtraError` if it is not installed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # keeps its C++ part quiet on stderr
    if _given(address):
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # the default only on this machine
    elif not any(map(os.environ.get, TOKENS)):
        os.environ[TOKENS[0]] = secrets.token_hex(32)  # only this user can read it; Ray's processes inherit it
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error


@dataclass(frozen=True)
class ClusterJob:
    """What every worker gets once: the classifier, its precision, and the columns of a row.

    ``images`` has no ids, only how to read them; relative paths are relative to ``folder``.
    """

    bundle: PackedBundle
    precision: str
    schema: RowSchema
    images: ImageIds
    folder: str
    version: str


def cluster_job(job: Job) -> ClusterJob:
    """Pack the classifier of a job, so that workers need not see its files."""
    precision = job.classifier.engine.precision
    graphs = (INT8, INT8_WEIGHTS) if precision == "int8" else (MODEL,)
    others = [name for name in (CERTAINTY,) if name in job.classifier.card.files]
    packed = job.classifier.bundle.packed(*graphs, *others)
    folder = os.getcwd()  # noqa: PTH109
    return ClusterJob(packed, precision, job.schema, replace(job.images, ids=[]), folder, __version__)


class Attempts:
    """Counts how often each part was begun, in a process of its own."""

    def __init__(self) -> None:
        self.begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Count one more."""
        self.begun[number] += 1
        return self.begun[number]


class Worker:
    """Predicts parts on one core. Ray builds it once in each process, and again if the process was killed."""

    def __init__(self, reference: list[Any], attempts: Any) -> None:
        self.reference, self.attempts = reference, attempts

    @cached_property
    def job(self) -> ClusterJob:
        """What there is to do. Not read in ``__init__``: whatever fails there is retried, and reported at length."""
        import ray

        job: ClusterJob = ray.get(self.reference[0])
        if job.version != __version__:
            raise ClusterError(
                f"a worker has googlenet {__version__}, here it is {job.version}: install the same everywhere"
            )
        with contextlib.suppress(OSError):  # a machine without that folder may still read addresses
            os.chdir(job.folder)
        return job

    @cached_property
    def classifier(self) -> Classifier:
        """The engine of this process. The hashes of its files are checked now."""
        return Classifier(self.job.bundle, self.job.precision, threads=1)

    def __call__(self, batch: Any) -> Any:
        """Predict one part: from a ``pyarrow.Table`` of its number and ids to one of its number and rows."""
        import pyarrow as pa
        import ray

        [row] = batch.to_pylist()
        part: Part = pickle.loads(row["part"])  # trusted as much as this class, which comes from the same process
        if ray.get(self.attempts.begin.remote(row["number"])) > MAX_ATTEMPTS:
            first, last = map(printable, (part.ids[0], part.ids[-1]))
            raise ClusterError(
                f"{MAX_ATTEMPTS} workers died of the images from {first} to {last}: look for what is wrong with one, "
                "or for more memory; the same command with --resume continues"
            )
        content = pa.array([encoded(self._rows(part), self.job.schema)], pa.large_binary())
        return pa.table({"number": batch["number"], "content": content})

    def _rows(self, part: Part) -> list[dict[str, Any]]:
        answers = answer_images(self.classifier, self.job.schema, read_images(self.job.images, part.ids))
        return [self.job.schema.row(id_, answer) for id_, answer in zip(part.ids, answers, strict=True)]


@contextmanager
def cluster(address: str | None = None) -> Iterator[int]:
    """Join the cluster at an address (or RAY_ADDRESS), or start one on this machine; yield the number of its cores.

    There is no dashboard and no telemetry, and whoever connects needs a token: that of RAY_AUTH_TOKEN,
    RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token; by default, on this machine, a random one.

    Raises :class:`MissingExtraError`, or :class:`ClusterError` if it cannot be reached or does not let us in.
    """
    require_ray(address)
    import ray

    if ray.is_initialized():  # by the caller, who keeps it
        yield _cores()
        return
    given = _given(address)
    try:
        _check_listening(given)
        with _quiet_stderr():
            ray.init(given or "local", include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        raise ClusterError(_unreached(given, error)) from error
    try:
        yield _cores()
    finally:
        ray.shutdown()


def _check_listening(address: str | None) -> None:
    """Raise :class:`OSError` if nothing listens at HOST:PORT: Ray would try for ever."""
    host, _, port = (address or "").rpartition(":")
    if port.isdecimal() and "://" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT).close()


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drop what Ray's C++ part prints on stderr while it starts."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _given(address: str | None) -> str | None:
    return address or os.environ.get("RAY_ADDRESS")


def _cores() -> int:
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(int(resources.get("CPU", 0)), 1)


def _unreached(address: str | None, error: Exception) -> str:
    if address is None:
        return f"Ray cannot be started here: {_line(error)}"
    if any("AuthenticationError" in f"{each!r}" for each in _chain(error)):  # some errors are only quoted in the next
        return (
            f"the Ray cluster at {address} wants its token: put it into RAY_AUTH_TOKEN, or a file named by "
            "RAY_AUTH_TOKEN_PATH; set RAY_AUTH_MODE=disabled for a cluster that has none"
        )
    return f"no Ray cluster answers at {address}: give --address HOST:PORT of its head ({_line(error)})"


def score_parts(job: ClusterJob, parts: Sequence[Part], workers: int) -> Generator[tuple[Part, bytes]]:
    """Have parts predicted by so many workers, a core each; yield each part with its rows as Parquet, as they come.

    Raises the :class:`GoogLeNetError` of a worker, or :class:`ClusterError` if anything else ended the work.

    ::

        with cluster() as cores:
            for part, content in score_parts(job, split(ids, workers=cores), cores):
                results.add(part.name, content)
    """
    import ray
    import ray.data

    rows = [{"number": number, "part": pickle.dumps(part)} for number, part in enumerate(parts)]
    reference = [ray.put(job)]  # in a list: on its own it would be read when a worker is built
    attempts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts).remote()
    try:
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        _quieten(dataset.context)
        answers = dataset.map_batches(
            Worker,
            fn_constructor_args=(reference, attempts),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
        )
        for answer in answers.iter_rows():
            yield parts[answer["number"]], answer["content"]
    except Exception as error:
        raise _our_error(error) from error


def _quieten(context: Any) -> None:
    """Leave Ray Data's messages to its own log: progress and errors are ours."""
    context.enable_progress_bars = context.print_on_execution_start = False
    context.raise_original_map_exception = True
    context.max_consecutive_actor_init_deaths = MAX_ATTEMPTS  # a worker may be killed while it starts, too
    log = logging.getLogger("ray.data")
    for handler in [each for each in log.handlers if isinstance(each, logging.StreamHandler)]:
        log.removeHandler(handler)


def _our_error(error: Exception) -> GoogLeNetError:
    """Return the error of this package that a worker raised, or one line about any other."""
    cause = getattr(error, "cause", error)
    if isinstance(cause, GoogLeNetError):
        return cause
    return ClusterError(f"the cluster stopped working: {_line(cause)}; the same command with --resume continues")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return printable(lines[-1].strip())[:MAX_ERROR_LENGTH] or type(error).__name__
