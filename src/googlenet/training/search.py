"""The search itself, by Optuna: which values to try next, and which trials to end early. The only module that knows it.

Every proposal and result is appended to a journal as it comes, so that a search can be killed anywhere and continued.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from googlenet.errors import RunError
from googlenet.text import printable
from googlenet.training.search_space import Choices, Span, Value

if TYPE_CHECKING:
    import optuna

JOURNAL = "trials.journal"
STUDY = "googlenet"
STARTUP_TRIALS = 4  # are drawn at random, and never ended early
STEPS = 10  # of a trial's schedule, at which trials are compared
FIRST_STEP, LAST_STEP = 4, 8  # none is ended early before its rate has fallen somewhat, or shortly before its end
NUMBER = "number"


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: ``"finished"``, ``"pruned"`` or ``"failed"``, its score (higher is better), and notes."""

    number: int
    state: str
    score: float | None
    values: Mapping[str, Value]
    notes: Mapping[str, Any]


class Proposal:
    """A trial under way: its ``number``, from 1, and the ``values`` to try."""

    def __init__(self, trial: optuna.Trial, number: int) -> None:
        self.trial, self.number = trial, number
        self.values: dict[str, Value] = dict(trial.params)
        self.step = 0

    def report(self, score: float, share: float) -> bool:
        """Note a score (higher is better) at a ``share`` of the schedule. Returns whether to end the trial early."""
        step = int(share * STEPS + 1e-9)
        if step <= self.step:
            return False
        self.step = step
        self.trial.report(score, step)
        return FIRST_STEP <= step <= LAST_STEP and self.trial.should_prune()


class Search:
    """The trials of a journal in ``folder``, which is made or continued.

    Raises :class:`RunError` where the journal cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        import optuna
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = str(folder / JOURNAL)
        try:
            storage = optuna.storages.JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path)))
            pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=FIRST_STEP - 1)
            self.study = optuna.create_study(
                storage=storage, study_name=STUDY, direction="maximize", load_if_exists=True, pruner=pruner
            )
        except (OSError, ValueError, KeyError) as error:
            why = printable(" ".join(str(error).split()))
            raise RunError(f"{printable(path)} cannot be read ({why}): start again with --overwrite") from error
        self.distributions: dict[str, optuna.distributions.BaseDistribution] = {}
        self.seed = 0
        self.interrupted = False  # the next trial was begun before

    def begin(self, space: Mapping[str, Span | Choices], seed: int) -> None:
        """Say what to try. A trial that was stopped or killed is to be tried next, with the same values and number."""
        import optuna

        self.distributions = {name: _distribution(values) for name, values in space.items()}
        self.seed = seed
        for trial in self._in_state("RUNNING"):
            if NUMBER in trial.user_attrs:
                self.study.enqueue_trial(trial.params, {NUMBER: trial.user_attrs[NUMBER]})
                self.interrupted = True
            self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def note(self, name: str, value: Any) -> None:
        """Record something of the whole search, as JSON has it."""
        self.study.set_user_attr(name, value)

    def noted(self, name: str) -> Any:
        """Return what :meth:`note` recorded; ``None`` where there is nothing."""
        return self.study.user_attrs.get(name)

    def add(self, values: Mapping[str, Value]) -> None:
        """Try these values next."""
        self.study.enqueue_trial(dict(values))

    def ask(self) -> Proposal:
        """Return the next trial. The same trials before it always lead to the same values."""
        import optuna

        count = len(self.outcomes())
        self.interrupted = False
        self.study.sampler = optuna.samplers.TPESampler(seed=self.seed + count, n_startup_trials=STARTUP_TRIALS)
        trial = self.study.ask(self.distributions)
        number = trial.user_attrs.get(NUMBER, count + 1)
        trial.set_user_attr(NUMBER, number)
        return Proposal(trial, number)

    def tell(self, proposal: Proposal, score: float | None, notes: Mapping[str, Any]) -> None:
        """Record the score of a trial (higher is better), or ``None`` where it ended early, and notes for people."""
        import optuna

        for name, value in notes.items():
            proposal.trial.set_user_attr(name, value)
        state = optuna.trial.TrialState.COMPLETE if score is not None else optuna.trial.TrialState.PRUNED
        self.study.tell(proposal.trial, score, state)

    def outcomes(self) -> list[Outcome]:
        """Return the trials that are over, by their numbers."""
        found = []
        for trial in self._in_state("COMPLETE", "PRUNED"):
            notes = {name: value for name, value in trial.user_attrs.items() if name != NUMBER}
            state = notes.pop("state", "finished")
            score = trial.value if state == "finished" else None
            found.append(Outcome(trial.user_attrs[NUMBER], state, score, trial.params, notes))
        return sorted(found, key=lambda each: each.number)

    def _in_state(self, *names: str) -> list[Any]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.name in names]


def _distribution(values: Span | Choices) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(values, Choices):
        return CategoricalDistribution(values.values)
    return FloatDistribution(values.low, values.high, log=values.log)
