"""PromotionHalving: golden traces, and a brute force that sorts everything at every question."""

from __future__ import annotations

import math
from typing import Any

import pytest
from golden_values import golden
from hypothesis import given, settings
from search_stories import Numbered, Story, geometric_rungs, happenings
from search_workers import Faulty, Watched, Workers
from tolerances import PROPERTY

from raysubset.errors import OptionsError, SchedulerError
from raysubset.hpo.promotion import PromotionHalving
from raysubset.hpo.scheduler import Verdict
from raysubset.hpo.search import Search, Start

GOLDEN: dict[str, Any] = golden("asha_trace")
RULES: dict[str, dict[str, bool]] = {
    "asha": {},
    "delayed": {"delayed": True},
    "delayed_threshold_4_2": {"delayed": True, "thresholds": True},
}


def golden_loss(config: int, rung: int) -> float:
    first: float = GOLDEN["base"][config]
    second = 0.9 * first + 0.02 * (config % 2)
    return [first, second, 0.9 * second][rung]


def golden_trace(scheduler: Any, jobs: int) -> list[list[Any]]:
    """One worker: ask, train to the rung, report."""
    rungs = geometric_rungs(2, 2)
    search = Search(rungs, scheduler, Numbered(), trials=10, concurrency=1)
    trace: list[list[Any]] = []
    for _ in range(jobs):
        job = search.ask()
        assert job is not None
        trace.append(["new" if isinstance(job, Start) else "promote", int(job.trial), job.rung])
        search.report(job.trial, int(rungs.levels[job.rung]), golden_loss(int(job.trial), job.rung))
    return trace


@pytest.mark.parametrize("name", RULES)
def test_golden_traces(name: str) -> None:
    assert golden_trace(PromotionHalving(3, 2, **RULES[name]), len(GOLDEN[name])) == GOLDEN[name]


def test_every_field_of_the_golden_file_is_read() -> None:
    assert set(GOLDEN) == {"note", "base", "r1", "r2", *RULES}
    assert (GOLDEN["r1"], GOLDEN["r2"]) == ("0.9*base+0.02*(c odd)", "0.9*r1")


class Oracle(Watched):
    """Answers `promotable` by the definitions, from a list of all results."""

    def __init__(self, scheduler: Any) -> None:
        super().__init__(scheduler)
        self.losses: dict[tuple[str, int], float] = {}
        self.order: dict[tuple[str, int], int] = {}
        self.paused: dict[str, int] = {}
        self.closed = False
        core = getattr(scheduler, "_halving", scheduler)
        self.rungs, self.eta, self.rules = core.rungs, core.eta, (core.delayed, core.thresholds)

    def note(self, trial: str, rung: int, loss: float) -> None:
        self.losses[trial, rung] = loss if math.isfinite(loss) else math.inf
        self.order.setdefault((trial, rung), len(self.order))

    def judge(self, trial: str, rung: int, loss: float) -> Verdict:
        verdict = super().judge(trial, rung, loss)
        self.note(trial, rung, loss)
        if verdict is Verdict.PAUSE:
            self.paused[trial] = rung
        return verdict

    def withdraw(self, trial: str) -> None:
        if trial in self.heading:
            self.note(trial, self.heading[trial], math.inf)
        self.paused.pop(trial, None)
        super().withdraw(trial)

    def promote(self, trial: str) -> int:
        del self.paused[trial]
        return super().promote(trial)

    def rewind(self, trial: str, rung: int) -> None:
        self.losses = {(who, k): x for (who, k), x in self.losses.items() if who != trial or k < rung}
        self.paused.pop(trial, None)
        super().rewind(trial, rung)

    def close(self) -> None:
        self.closed = True
        self.scheduler.close()

    def promotable(self) -> str | None:
        answer = super().promotable()
        assert answer == next((trial for k in range(self.rungs - 2, -1, -1) if (trial := self.best(k))), None)
        return answer

    def best(self, rung: int) -> str | None:
        results = [(x, self.order[who, k], who) for (who, k), x in self.losses.items() if k == rung]
        delayed, thresholds = self.rules
        if delayed and len(results) / (len(self.promoted[rung]) + 1) < self.eta:
            return None
        if thresholds and not self.closed and len(results) < self.eta ** (self.rungs - 1 - rung):
            return None
        among = sorted(results)[: math.floor(len(results) / self.eta)]
        return next((who for x, _, who in among if self.paused.get(who) == rung and x < math.inf), None)


@pytest.mark.parametrize("driver", [Workers, Faulty])
@pytest.mark.parametrize("scheduler", ["asha-promote", "dasha", "dasha-threshold", "hyper-tune"])
@settings(PROPERTY, max_examples=10)
@given(options=happenings())
def test_promotions_are_those_of_brute_force(
    scheduler: str, driver: type[Workers], options: dict[str, Any]
) -> None:
    driver(Story(scheduler, **options), watch=Oracle).run()


def ranked(halving: PromotionHalving, losses: dict[str, float], rung: int = 0) -> list[str]:
    """Judge new trials at a rung, then promote until nobody is left to promote."""
    for trial, loss in losses.items():
        halving.start(trial, rung)
        halving.judge(trial, rung, loss)
    promoted = []
    while (trial := halving.promotable()) is not None:
        halving.promote(trial)
        promoted.append(trial)
    return promoted


def test_ties_go_to_the_trial_that_arrived_first() -> None:
    names = ["z", "b", "a", "y", "c", "x"]
    assert ranked(PromotionHalving(2, 2), dict.fromkeys(names, 0.5)) == ["z", "b", "a"]


def test_the_highest_rung_comes_first() -> None:
    halving = PromotionHalving(3, 2)
    for trial, rung in {"a": 1, "b": 1, "c": 0, "d": 0}.items():
        halving.start(trial, rung)
        halving.judge(trial, rung, 0.5)
    assert ranked(halving, {}) == ["a", "c"]


def test_a_late_report_of_a_lower_rung_changes_nothing() -> None:
    halving = PromotionHalving(3, 2)
    assert ranked(halving, {"a": 0.5, "b": 0.6}) == ["a"]
    assert halving.judge("a", 0, 9.0) is Verdict.CONTINUE
    halving.start("c", 1)
    assert halving.judge("c", 0, 0.1) is Verdict.CONTINUE
    assert halving.promotable() is None
    assert halving.judge("a", 1, 0.5) is Verdict.PAUSE
    assert halving.judge("c", 1, 0.4) is Verdict.PAUSE
    assert halving.promotable() == "c"


def test_nobody_whose_loss_is_not_finite_is_promoted() -> None:
    halving = PromotionHalving(2, 2)
    assert ranked(halving, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 7.0}) == ["d"]
    halving.start("e", 0)
    assert halving.judge("e", 0, math.nan) is Verdict.STOP


def test_a_failed_trial_counts_as_finished() -> None:
    halving = PromotionHalving(2, 3)
    assert ranked(halving, {"a": 0.5, "b": 0.6}) == []
    halving.start("c", 0)
    halving.withdraw("c")
    assert halving.promotable() == "a"
    halving.withdraw("a")
    assert halving.promotable() is None, "b is not the best third"


def test_the_start_threshold_holds_until_no_more_will_come() -> None:
    halving = PromotionHalving(3, 2, delayed=True, thresholds=True)
    assert ranked(halving, {"a": 0.5, "b": 0.6, "c": 0.7}) == []
    halving.close()
    assert ranked(halving, {}) == ["a"]


def test_results_of_all_brackets_live_together_but_only_the_promoted_count_as_promoted() -> None:
    halving = PromotionHalving(3, 2, delayed=True)
    assert ranked(halving, {"x": 0.1, "y": 0.2}, rung=1) == ["x"]
    assert ranked(halving, {"a": 0.5, "b": 0.6}) == ["a"], "x and y at rung 1 are nobody's promotion"
    halving.judge("a", 1, 0.05)
    assert halving.promotable() is None
    assert ranked(halving, {"z": 0.3}, rung=1) == ["a"], "a is the best of four, and two of four may go"


def test_options_and_brackets_out_of_range() -> None:
    with pytest.raises(OptionsError, match="eta=1"):
        PromotionHalving(3, 1)
    with pytest.raises(SchedulerError, match="rung 3; there are 3"):
        PromotionHalving(3).start("a", 3)
