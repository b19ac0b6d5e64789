"""A run by minutes on machines of any speed, as its budget sees them: nothing here waits for a clock."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from googlenet.training.budget import Epochs, Minutes

PIXELS = 64 * 64 * 64


@dataclass
class Machine:
    """Runs a budget: steps and validations take the seconds given for the time they begin at."""

    epoch: int = 0
    batch: int = 0
    elapsed: float = 0.0

    def run(self, budget, step, validation, bundle, steps=20):
        budget.reserve(validation(0), bundle(0))
        validated = []
        for number in itertools.count(1):
            seconds = step(self.elapsed)
            self.elapsed += seconds
            budget.after_step(seconds, PIXELS)
            if budget.is_over(self) or (number % steps == 0 and budget.should_validate(self)):
                over = budget.is_over(self)
                taken = validation(self.elapsed)
                self.elapsed += taken
                budget.after_validation(taken)
                validated.append(self.elapsed)
                if over:
                    break
        self.elapsed += bundle(self.elapsed)
        return validated


@pytest.mark.parametrize("speed", [0.5, 1, 5])
def test_ends_in_time_on_an_even_machine(speed):
    machine, budget = Machine(), Minutes(2)
    validated = machine.run(budget, lambda _: 0.2 / speed, lambda _: 5 / speed, lambda _: 3 / speed)
    assert machine.elapsed == pytest.approx(120, rel=0.05)
    assert budget.spent - 5 / speed <= 0.05 * 120  # validation before the last one stays cheap
    assert validated


def test_ends_in_time_where_the_machine_becomes_slower_on_the_way():
    machine, slower = Machine(), lambda at: 1 if at < 60 else 4
    machine.run(Minutes(2), lambda at: 0.2 * slower(at), lambda at: 5 * slower(at), lambda at: 2 * slower(at))
    assert machine.elapsed == pytest.approx(120, rel=0.05)


def test_a_quick_last_validation_begins_no_further_epoch():
    budget, machine = Minutes(2), Machine(elapsed=110)
    budget.reserve(10, 5)
    assert budget.is_over(machine)
    machine.elapsed += 1
    budget.after_validation(1)
    assert budget.is_over(machine)


def test_a_slow_first_step_is_no_sign_of_a_slow_machine():
    machine = Machine()
    machine.run(Minutes(2), lambda at: 10 if at == 0 else 0.2, lambda _: 5, lambda _: 2)
    assert machine.elapsed == pytest.approx(120, rel=0.05)


def test_the_schedule_runs_from_its_beginning_to_its_end():
    budget = Minutes(1)
    budget.reserve(5, 1)
    shares = [budget.share(Machine(elapsed=at)) for at in (0, 26.7, 53.4, 60)]
    assert shares == pytest.approx([0, 0.5, 1, 1])
    assert [Epochs(4, 10).share(Machine(epoch, 5)) for epoch in (0, 3)] == [0.125, 0.875]
