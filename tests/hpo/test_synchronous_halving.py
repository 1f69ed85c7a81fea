"""SynchronousHalving: rungs by hand, and a brute force over what each bracket's trials came to."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from search_stories import Story, happenings
from search_workers import Watched, Workers
from tolerances import PROPERTY

from raysubset.errors import OptionsError, SchedulerError
from raysubset.hpo.brackets import Bracket, hyperband_brackets
from raysubset.hpo.history import History
from raysubset.hpo.scheduler import Verdict
from raysubset.hpo.synchronous import SynchronousHalving

NONE = History(3)


def halving_of_nine(started: int = 9) -> SynchronousHalving:
    core = SynchronousHalving(hyperband_brackets(2, 3)[:1], 3)
    for number in range(started):
        assert core.start(f"t{number}", core.opening(NONE)) == 0
    return core


def promote_all(core: SynchronousHalving) -> list[str]:
    promoted = []
    while (trial := core.promotable()) is not None:
        core.promote(trial)
        promoted.append(trial)
    return promoted


def test_a_bracket_by_hand() -> None:
    core = halving_of_nine()
    losses = {"t0": 0.5, "t7": 0.3, "t2": 0.3, "t3": 0.9, "t4": 0.2, "t5": math.nan, "t6": 0.8, "t1": 0.3}
    for trial, loss in losses.items():
        assert core.judge(trial, 0, loss) is (Verdict.STOP if trial == "t5" else Verdict.PAUSE)
        assert core.promotable() is None, "t8 has not reported"
    assert core.judge("t8", 0, 0.7) is Verdict.PAUSE
    assert promote_all(core) == ["t4", "t7", "t2"], "best first, ties by arrival"
    assert core.judge("t2", 0, 0.0) is Verdict.CONTINUE, "a late report of a lower rung"
    assert core.judge("t2", 1, 0.1) is Verdict.PAUSE
    assert core.judge("t4", 1, 0.2) is Verdict.PAUSE
    assert core.promotable() is None
    assert core.judge("t7", 1, 0.3) is Verdict.PAUSE
    assert promote_all(core) == ["t2"]
    assert core.judge("t2", 2, 0.1) is Verdict.STOP


def test_where_trials_fail_no_more_go_on_than_are_left() -> None:
    core = halving_of_nine()
    for number in range(9):
        if number < 7:
            core.withdraw(f"t{number}")
        else:
            core.judge(f"t{number}", 0, 1.0)
    assert promote_all(core) == ["t7", "t8"]
    core.withdraw("t7")
    assert core.promotable() is None
    core.judge("t8", 1, 1.0)
    assert promote_all(core) == ["t8"]


def test_a_winner_that_is_withdrawn_while_it_waits_is_not_waited_for() -> None:
    core = halving_of_nine()
    for number in range(9):
        core.judge(f"t{number}", 0, float(number))
    core.promote("t0")
    core.judge("t0", 1, 0.0)
    core.withdraw("t1")
    core.withdraw("t2")
    assert core.promotable() == "t0"


def test_a_paused_trial_that_is_withdrawn_before_the_decision_leaves_its_place_to_the_next() -> None:
    core = halving_of_nine()
    for number in range(8):
        core.judge(f"t{number}", 0, float(number))
    core.withdraw("t1")
    core.judge("t8", 0, 8.0)
    assert promote_all(core) == ["t0", "t2", "t3"]
    core.withdraw("t7")
    assert core.promotable() is None


def test_no_worker_waits_for_a_rung_the_next_bracket_opens() -> None:
    core = SynchronousHalving(hyperband_brackets(2, 3), 3)
    starts = [core.start(str(number), core.opening(NONE)) for number in range(9 + 5 + 3 + 2)]
    assert starts == [0] * 9 + [1] * 5 + [2] * 3 + [0] * 2
    with pytest.raises(SchedulerError, match="cannot join bracket 2; 0 is open"):
        core.start("another", 2)


@pytest.mark.parametrize(("n", "sizes"), [(1, [1, 1]), (2, [1, 1]), (3, [1, 1]), (6, [2, 1]), (8, [2, 1])])
def test_once_closed_a_bracket_goes_on_with_those_it_has(n: int, sizes: list[int]) -> None:
    core = halving_of_nine(started=n)
    for number in range(n):
        core.judge(f"t{number}", 0, float(number))
    assert core.promotable() is None
    core.close()
    core.close()
    for rung, size in enumerate(sizes, start=1):
        promoted = promote_all(core)
        assert promoted == [f"t{number}" for number in range(size)]
        for trial in promoted:
            core.judge(trial, rung, 0.0)


def test_a_report_past_a_rung_takes_a_place_there() -> None:
    core = halving_of_nine()
    assert core.judge("t8", 1, 9.0) is Verdict.PAUSE
    for number in range(8):
        core.judge(f"t{number}", 0, float(number))
    assert promote_all(core) == ["t0", "t1"], "t8 has the third place, and trained for it"
    core.judge("t0", 1, 0.5)
    core.judge("t1", 1, 0.4)
    assert promote_all(core) == ["t1"]


def test_a_decision_stands_when_a_trial_comes_again() -> None:
    core = halving_of_nine()
    for number in range(9):
        core.judge(f"t{number}", 0, float(number))
    core.promote("t0")
    core.rewind("t0", 0)
    core.rewind("t8", 0)
    assert promote_all(core) == ["t1", "t2"]
    assert core.judge("t8", 0, -5.0) is Verdict.PAUSE
    assert core.promotable() is None, "it had lost"
    assert core.judge("t0", 0, math.inf) is Verdict.STOP
    core.judge("t1", 1, 1.0)
    core.judge("t2", 1, 2.0)
    assert promote_all(core) == ["t1"], "t0 had won, diverged at its second coming, and is not waited for"


def test_a_winner_that_comes_again_goes_on_before_those_that_wait() -> None:
    core = halving_of_nine()
    for number in range(9):
        core.judge(f"t{number}", 0, 9.0 - number)
    core.promote("t8")
    core.rewind("t8", 0)
    assert core.promotable() == "t7"
    core.judge("t8", 0, 1.0)
    assert promote_all(core) == ["t8", "t7", "t6"], "as if nothing had happened"


def test_a_waiting_winner_that_comes_again_does_not_wait_meanwhile() -> None:
    core = halving_of_nine()
    for number in range(9):
        core.judge(f"t{number}", 0, float(number))
    core.rewind("t0", 0)
    assert promote_all(core) == ["t1", "t2"]
    core.judge("t0", 0, 0.0)
    assert promote_all(core) == ["t0"]


def test_ties_are_as_before_when_a_trial_comes_again() -> None:
    core = halving_of_nine()
    for number in range(8):
        core.judge(f"t{number}", 0, 0.5)
    core.rewind("t1", 0)
    core.judge("t8", 0, 0.5)
    core.judge("t1", 0, 0.5)
    assert promote_all(core) == ["t0", "t1", "t2"]


def test_nobody_waits_for_a_trial_that_fell_back_below_a_decided_rung() -> None:
    """Four of nine pass the first rung, which has three places; the fourth falls back, and has lost there."""
    core = halving_of_nine()
    for number in range(4):
        core.judge(f"t{number}", 1, float(number))
    core.rewind("t3", 1)
    for number in range(4, 9):
        core.judge(f"t{number}", 0, 0.0)
    assert core.promotable() is None, "t3 is still to be judged at the second rung"
    core.rewind("t3", 0)
    assert promote_all(core) == ["t0"]
    assert core.judge("t3", 0, -9.0) is Verdict.PAUSE
    assert core.promotable() is None


class Patient(Watched):
    """Sees that nobody is promoted from a rung at which somebody of the bracket is still expected."""

    def __init__(self, scheduler: Any) -> None:
        super().__init__(scheduler)
        self.bracket: dict[str, int] = {}
        self.sizes: list[int] = []
        self.closed = False

    def start(self, trial: str, bracket: int) -> int:
        cycle = self.scheduler.brackets
        if not self.sizes or self.sizes[-1] == cycle[(len(self.sizes) - 1) % len(cycle)].sizes[0]:
            self.sizes.append(0)
        self.sizes[-1] += 1
        self.bracket[trial] = len(self.sizes) - 1
        return super().start(trial, bracket)

    def promote(self, trial: str) -> int:
        rung = super().promote(trial) - 1
        number = self.bracket[trial]
        cycle = self.scheduler.brackets
        assert self.closed or self.sizes[number] == cycle[number % len(cycle)].sizes[0]
        others = [who for who, where in self.bracket.items() if where == number and who != trial]
        assert not any(self.heading.get(who, 99) <= rung for who in others)
        return rung + 1

    def close(self) -> None:
        self.closed = True
        self.scheduler.close()


@pytest.mark.parametrize("scheduler", ["halving", "hyperband"])
@settings(PROPERTY, max_examples=25)
@given(happenings())
def test_who_reaches_a_rung_is_who_was_best_below(scheduler: str, options: dict[str, Any]) -> None:
    """Epochs too short to pass a rung. What came of each bracket is worked out again from all losses."""
    options |= {"unjudged": 0.0, "costs": (5, 10), "budget": math.inf}
    workers = Workers(Story(scheduler, **options), watch=Patient).run()
    search, eta, halvings = workers.search, options["eta"], options["halvings"]
    brackets = hyperband_brackets(halvings, eta)
    cycle = brackets[:1] if scheduler == "halving" else brackets
    trials, turn = list(search.history.points), 0
    while trials:
        kind = cycle[turn % len(cycle)]
        members, trials, turn = trials[: kind.sizes[0]], trials[kind.sizes[0] :], turn + 1
        n = len(members)
        sizes = kind.sizes if n == kind.sizes[0] else [max(1, n // eta**i) for i in range(len(kind.sizes))]
        for index, rung in enumerate(range(kind.start, halvings + 1)):
            judged = search.history.losses[rung]
            assert {trial for trial in judged if trial in members} == set(members)
            if rung < halvings:
                by_loss = sorted(
                    (x, place, who) for place, (who, x) in enumerate(judged.items()) if who in members
                )
                members = [who for x, _, who in by_loss if x < math.inf][: sizes[index + 1]]


def test_the_cycle_must_end_at_one_rung() -> None:
    for brackets in ((), (Bracket(0, (3, 1)), Bracket(0, (3,)))):
        with pytest.raises(OptionsError, match="end at the same rung"):
            SynchronousHalving(brackets)
    with pytest.raises(OptionsError, match="eta=1"):
        SynchronousHalving((Bracket(0, (3, 1)),), 1)
