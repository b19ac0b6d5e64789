"""Two classifiers' speed in turns: a slow second of the machine then affects both, and their ratio has an interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from googlenet.benchmarking.speed import latency, throughput
from googlenet.inference.engine import Engine
from googlenet.parallel import cores

ROUNDS = 9
# The second lowest and the second highest of nine: the median lies outside both in 2 · 10/512 of cases at most, so that
# the interval is one of 96 %, whatever the distribution of the rounds.
SECOND = 1
BATCH_SIZE = 16

Report = Callable[[int, int], object]


@dataclass(frozen=True)
class Median:
    """The median over the rounds, and the ends of its 96 % interval, which assumes no distribution."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> Median:
        """Summarise the figures of the rounds.

        >>> Median.of([5, 1, 2, 9, 3, 4, 8, 6, 7])
        Median(value=5, low=2, high=8)
        """
        ordered = sorted(rounds)
        return cls(median(ordered), ordered[SECOND], ordered[-1 - SECOND])


@dataclass(frozen=True)
class SpeedInTurns:
    """Milliseconds for one image, images per second in bulk work, and both as a factor of the first classifier's."""

    latency_ms: Median
    images_per_second: Median
    faster_alone: Median
    faster_in_bulk: Median

    def to_dict(self) -> dict[str, Any]:
        """Return what ``json.dumps`` takes."""
        return asdict(self)


def measure_in_turns(engines: Sequence[Engine], progress: Report | None = None) -> list[SpeedInTurns]:
    """Measure engines one after another, for nine rounds. The first is what the others are compared with."""
    alone: list[list[float]] = [[] for _ in engines]
    bulk: list[list[float]] = [[] for _ in engines]
    for turn in range(ROUNDS * len(engines)):
        number = turn % len(engines)
        alone[number].append(latency(engines[number]).p50)
        bulk[number].append(throughput(engines[number], BATCH_SIZE, cores()))
        if progress:
            progress(turn + 1, ROUNDS * len(engines))
    return [
        SpeedInTurns(
            Median.of(mine_alone),
            Median.of(mine_bulk),
            Median.of([first / mine for first, mine in zip(alone[0], mine_alone, strict=True)]),
            Median.of([mine / first for first, mine in zip(bulk[0], mine_bulk, strict=True)]),
        )
        for mine_alone, mine_bulk in zip(alone, bulk, strict=True)
    ]
