"""Images answered by a Ray cluster: a process with one engine on every core. No torch; the only module with Ray.

Ray Data hands out parts and, when a worker dies, hands its part out again. A worker gives back a part's rows as the
bytes of a Parquet file, and this process writes them: a cluster needs no disk that all of it sees.
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from googlenet._version import __version__
from googlenet.bulk.parquet import encoded
from googlenet.bulk.parts import Part
from googlenet.bulk.rows import Answer, Layout
from googlenet.bundle import INT8, INT8_WEIGHTS, MODEL, PackedBundle
from googlenet.data.tables import read_images
from googlenet.errors import ClusterError, GoogLeNetError, MissingExtraError
from googlenet.inference.classifier import Classifier
from googlenet.parallel import map_ordered
from googlenet.text import printable

ATTEMPTS = 4  # at a part whose worker died: Ray would try for ever where an image kills each worker
MAX_ERROR = 240  # characters of what Ray says
CONNECT_TIMEOUT = 10.0  # seconds that a cluster may take to answer at all
FETCHING = 16  # addresses that a worker waits for at once
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def require_ray(address: str | None = None) -> None:
    """Import Ray, told by the environment what it reads there. Raises :class:`MissingExtraError` where it is not."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what its C++ part would say on stderr
    if _given(address):
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # on this machine it is the default
    elif not any(map(os.environ.get, TOKENS)):
        os.environ[TOKENS[0]] = secrets.token_hex(32)  # this user alone can read it; Ray's processes inherit it
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error


@dataclass(frozen=True)
class Job:
    """What every worker is told once: the classifier, its precision, and what a row says.

    ``tables`` is that of :class:`googlenet.data.tables.ImageSet`, ``folder`` what paths are relative to.
    """

    bundle: PackedBundle
    precision: str
    layout: Layout
    tables: Mapping[str, str]
    folder: str
    version: str


def job_of(classifier: Classifier, layout: Layout, tables: Mapping[str, str]) -> Job:
    """Pack a classifier, so that the workers need not see its files."""
    precision = classifier.engine.precision
    graphs = (INT8, INT8_WEIGHTS) if precision == "int8" else (MODEL,)
    packed = classifier.bundle.packed(*graphs)
    return Job(packed, precision, layout, tables, os.getcwd(), __version__)  # noqa: PTH109


class Attempts:
    """Counts how often each part was begun, in a process of its own that Ray starts."""

    def __init__(self) -> None:
        self.begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Count one more."""
        self.begun[number] += 1
        return self.begun[number]


class Worker:
    """Answers parts on one core. Ray builds it once in each process, and anew where the process was killed."""

    def __init__(self, told: list[Any], attempts: Any) -> None:
        self.told, self.attempts = told, attempts

    @cached_property
    def job(self) -> Job:
        """What there is to do. Not read when built: what goes wrong then, Ray tries again and reports at length."""
        import ray

        job: Job = ray.get(self.told[0])
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
        """Answer one part: a ``pyarrow.Table`` of its number and what it is, to one of its number and its rows."""
        import pyarrow as pa
        import ray

        [row] = batch.to_pylist()
        part: Part = pickle.loads(row["part"])  # from the process that called, as Ray brings this class itself
        if ray.get(self.attempts.begin.remote(row["number"])) > ATTEMPTS:
            first, last = map(printable, (part.ids[0], part.ids[-1]))
            raise ClusterError(
                f"{ATTEMPTS} workers died of the images from {first} to {last}: look for what is wrong with one, or "
                "for more memory; the same command with --resume goes on"
            )
        content = pa.array([encoded(self._rows(part), self.job.layout)], pa.large_binary())
        return pa.table({"number": batch["number"], "content": content})

    def _rows(self, part: Part) -> list[dict[str, Any]]:
        sources = read_images(part.ids, self.job.tables, _many_at_once)
        answers: Iterable[Answer] = (
            self.classifier.embed_many(sources) if self.job.layout.dimension else self.classifier.predict_many(sources)
        )
        return [self.job.layout.row(id_, answer) for id_, answer in zip(part.ids, answers, strict=True)]


def _many_at_once(fetch: Callable[[str], Any], addresses: Iterable[str]) -> Iterator[Any]:
    return map_ordered(lambda batch: fetch(batch[0]), addresses, 1, FETCHING)


@contextmanager
def cluster(address: str | None = None) -> Iterator[int]:
    """Join the cluster at an address (or of RAY_ADDRESS), or start one on this machine; gives the number of its cores.

    Without a dashboard, without reports to Ray's makers, and with a token that whoever connects must have: that of
    RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token; on this machine, where none is told, one made up now.

    Raises :class:`MissingExtraError`; :class:`ClusterError` where it cannot be reached or does not let us in.
    """
    require_ray(address)
    import ray

    if ray.is_initialized():  # by whoever calls us, who goes on with it
        yield _cores()
        return
    given = _given(address)
    try:
        _knock(given)
        with _said_nothing():
            ray.init(given or "local", include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        raise ClusterError(_unreached(given, error)) from error
    try:
        yield _cores()
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Raise :class:`OSError` where nothing listens at HOST:PORT: Ray would try for ever."""
    host, _, port = (address or "").rpartition(":")
    if port.isdecimal() and "://" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT).close()


@contextmanager
def _said_nothing() -> Iterator[None]:
    """Drop what Ray's C++ part says on stderr while it starts: that it was told to say less."""
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
    if any("AuthenticationError" in f"{each!r}" for each in _chain(error)):  # some is only quoted by what follows
        return (
            f"the Ray cluster at {address} wants its token: put it into RAY_AUTH_TOKEN, or a file named by "
            "RAY_AUTH_TOKEN_PATH; set RAY_AUTH_MODE=disabled for a cluster that has none"
        )
    return f"no Ray cluster answers at {address}: give --address HOST:PORT of its head ({_line(error)})"


def score_parts(job: Job, parts: Sequence[Part], workers: int) -> Iterator[tuple[Part, bytes]]:
    """Have parts answered by so many workers, of a core each; gives each with its rows as Parquet, as they come.

    Raises what a worker raised on purpose; :class:`ClusterError` for all else that ended the work.

    ::

        with cluster() as cores:
            for part, content in score_parts(job, split(ids, workers=cores), cores):
                results.add(part.name, content)
    """
    import ray
    import ray.data

    rows = [{"number": number, "part": pickle.dumps(part)} for number, part in enumerate(parts)]
    told = [ray.put(job)]  # in a list: on its own it would be read when a worker is built
    attempts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts).remote()
    try:
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        _quieten(dataset.context)
        answers = dataset.map_batches(
            Worker,
            fn_constructor_args=(told, attempts),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
        )
        for answer in answers.iter_rows():
            yield parts[answer["number"]], answer["content"]
    except Exception as error:
        raise _said(error) from error


def _quieten(context: Any) -> None:
    """What Ray Data says goes to its own log only; ours is the progress, and the errors."""
    context.enable_progress_bars = context.print_on_execution_start = False
    context.raise_original_map_exception = True
    context.max_consecutive_actor_init_deaths = ATTEMPTS  # a worker may be killed while it starts, too
    log = logging.getLogger("ray.data")
    for handler in [each for each in log.handlers if isinstance(each, logging.StreamHandler)]:
        log.removeHandler(handler)


def _said(error: Exception) -> GoogLeNetError:
    """Give what a worker raised on purpose; for all else, one line."""
    cause = getattr(error, "cause", error)
    if isinstance(cause, GoogLeNetError):
        return cause
    return ClusterError(f"the cluster stopped working: {_line(cause)}; the same command with --resume goes on")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return printable(lines[-1].strip())[:MAX_ERROR] or type(error).__name__
