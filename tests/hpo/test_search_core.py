"""Search: what holds for every scheduler, whatever happens in whatever order."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_stories import SCHEDULERS, Numbered, Story, geometric_rungs, happenings
from search_workers import Crashing, Faulty, Watched, Workers, verdicts
from tolerances import PROPERTY

from raysubset.errors import OptionsError, SchedulerError
from raysubset.hpo.budget import Ledger
from raysubset.hpo.halving import StoppingHalving
from raysubset.hpo.history import History
from raysubset.hpo.promotion import PromotionHalving
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.scheduler import Verdict
from raysubset.hpo.search import Promotion, Search, Start

FEW = settings(PROPERTY, max_examples=12)
every_scheduler = pytest.mark.parametrize("scheduler", SCHEDULERS)


@every_scheduler
@FEW
@given(happenings())
def test_whatever_happens_the_search_ends_within_its_bounds(scheduler: str, options: dict[str, Any]) -> None:
    """The workers check at every event: see `search_workers.Workers.check`."""
    workers = Workers(Story(scheduler, **options), watch=Watched).run()
    search = workers.search
    spent_out = search.ledger.exhausted or not search.ledger.admits()
    assert spent_out or search.started == min(options["trials"], options["points"])
    assert search.ledger.committed == {}
    assert search.ledger.promised == 0
    assert search.scheduler.heading == {}, "a trial that ended is no trial to wait for"  # type: ignore[attr-defined]
    assert search.ask() is None


@every_scheduler
@FEW
@given(happenings())
def test_faults_at_any_moment_bring_no_search_to_a_standstill(scheduler: str, options: dict[str, Any]) -> None:
    story = Story(scheduler, **options)
    whole = Faulty(story, watch=Watched).run()
    assert whole.search.ask() is None
    again = story.search()
    again.replay(whole.events)
    assert again.finished
    assert again.history == whole.search.history


@pytest.mark.parametrize("driver", [Workers, Faulty])
@pytest.mark.parametrize("scheduler", ["dasha", "dasha-threshold", "hyper-tune"])
@FEW
@given(options=happenings())
def test_no_more_than_a_share_of_the_finished_is_promoted(
    scheduler: str, driver: type[Workers], options: dict[str, Any]
) -> None:
    class Counting(Watched):
        def promote(self, trial: str) -> int:
            heading = super().promote(trial)
            assert len(self.promoted[heading - 1]) <= len(self.finished[heading - 1]) // options["eta"]
            return heading

    driver(Story(scheduler, **options), watch=Counting).run()


def test_asha_promotes_more_than_a_share_of_the_finished_where_losses_fall() -> None:
    """Each trial better than all before: every one but the first is promoted as soon as it comes."""
    halving = PromotionHalving(2, eta=2)
    promoted = []
    for number in range(8):
        halving.start(str(number), 0)
        halving.judge(str(number), 0, -number)
        while (trial := halving.promotable()) is not None:
            halving.promote(trial)
            promoted.append(trial)
    assert promoted == ["1", "2", "3", "4", "5", "6", "7"]


@every_scheduler
@FEW
@given(happenings(), st.sets(st.integers(1, 120), min_size=1, max_size=4))
def test_killed_and_reloaded_after_any_event_it_goes_on_as_it_would_have(
    scheduler: str, options: dict[str, Any], kill_at: set[int]
) -> None:
    story = Story(scheduler, **options)
    whole = Workers(story).run()
    killed = Workers(story, frozenset(kill_at)).run()
    assert killed.events == whole.events
    assert killed.search.history == whole.search.history
    assert killed.search.ledger == whole.search.ledger


@every_scheduler
def test_killed_after_every_single_event(scheduler: str) -> None:
    story = Story(scheduler, seed=7, trials=6, concurrency=2)
    whole = Workers(story).run()
    for event in range(1, len(whole.events) + 1):
        assert Workers(story, frozenset({event})).run().events == whole.events


@every_scheduler
@FEW
@given(st.integers(0, 2**32), st.integers(2, 3), st.integers(1, 14))
def test_after_a_crash_the_same_losses_give_the_same_decisions(
    scheduler: str, seed: int, eta: int, trials: int
) -> None:
    """One worker, whose trials die now and then and run again from an earlier epoch."""
    story = Story(scheduler, seed, eta=eta, trials=trials, concurrency=1, failures=0, unjudged=0.1)
    whole = Workers(story).run()
    crashing = Crashing(story).run()
    assert verdicts(crashing) == verdicts(whole)
    assert list(verdicts(crashing)) == list(verdicts(whole))
    assert crashing.search.history.points == whole.search.history.points
    assert crashing.search.history.losses == whole.search.history.losses


def search_of(scheduler: Any, **options: Any) -> Search:
    return Search(geometric_rungs(2, 3), scheduler, Numbered(), **{"trials": 9, "concurrency": 2, **options})


def test_jobs_by_hand() -> None:
    events: list[Any] = []
    search = search_of(PromotionHalving(3, 2), trials=2, concurrency=1, journal=events.append)
    assert search.ask() == Start("0000", {"x": 0}, 0)
    assert search.ask() is None, "the only worker is busy"
    assert search.report("0000", 9, 0.5) is Verdict.CONTINUE
    assert search.report("0000", 12, None) is Verdict.CONTINUE, "past its rung, but not judged"
    assert search.report("0000", 15, 0.5) is Verdict.PAUSE
    assert search.ask() == Start("0001", {"x": 1}, 0)
    assert search.closed
    assert search.report("0001", 10, math.nan) is Verdict.STOP, "what diverged is never promoted"
    assert not search.finished
    assert search.ask() == Promotion("0000", 1)
    assert search.report("0000", 20, 0.4) is Verdict.CONTINUE
    assert search.report("0000", 30, 0.4, elapsed_s=5.0) is Verdict.PAUSE
    assert search.finished, "one of one is less than a half"
    assert search.ask() is None
    assert search.history.losses == [{"0000": 0.5, "0001": math.inf}, {"0000": 0.4}, {}]
    assert search.ledger.total == 40
    assert search.ledger.elapsed_s == 5.0
    assert [event["event"] for event in events].count("report") == 6
    assert json.loads(json.dumps(events, allow_nan=False)) == events


def test_a_proposer_with_nothing_left_closes_the_search_and_the_open_bracket_goes_on() -> None:
    """One answer later would be too late: a driver whose workers are all idle has nothing to wait for."""
    story = Story("halving", seed=0, halvings=1, trials=30, points=2, concurrency=1)
    story.failures, story.odd_losses, story.unjudged, story.costs = 0, 0, 0, (5, 10)
    workers = Workers(story).run()
    assert workers.search.started == 2
    assert len(workers.search.history.losses[1]) == 1


def test_time_that_is_up_ends_every_trial_with_its_epoch() -> None:
    search = search_of(PromotionHalving(3, 3), ledger=Ledger(seconds=60))
    assert search.ask()
    assert search.ask()
    assert search.report("0000", 5, elapsed_s=59.9) is Verdict.CONTINUE
    assert search.report("0001", 5, elapsed_s=60.0) is Verdict.STOP
    assert search.ask() is None
    assert search.report("0000", 9, elapsed_s=60.5) is Verdict.STOP
    assert not search.closed
    assert search.ask() is None
    assert search.finished


def test_a_failed_trial_is_infinitely_bad_where_it_was_heading() -> None:
    search = search_of(PromotionHalving(3, 2))
    assert search.ask()
    assert search.ask()
    search.end("0000", 5, failed=True)
    search.end("0001", 5)
    assert search.history.losses == [{"0000": math.inf}, {}, {}]
    assert search.history.failed == {"0000"}
    assert search.ledger.total == 10
    search.rewind("0000", 5)
    assert search.history.losses == [{}, {}, {}]
    assert search.history.failed == set()
    assert search.running == {"0000": 0}


def test_nobody_is_promoted_once_the_budget_is_spent() -> None:
    search = search_of(PromotionHalving(3, 2), concurrency=1, ledger=Ledger(20))
    for loss in (0.5, 0.6):
        job = search.ask()
        assert job is not None
        assert search.report(job.trial, 10, loss) is Verdict.PAUSE
    assert search.scheduler.promotable() == "0000"
    assert search.ask() is None
    assert search.finished


@every_scheduler
def test_impossible_news_are_refused_and_change_nothing(scheduler: str) -> None:
    story, events = Story(scheduler, seed=0), []
    search = story.search(events.append)
    job = search.ask()
    assert job is not None
    before = len(events)
    for news in (
        lambda: search.report("lost", 10, 0.5),
        lambda: search.end("lost"),
        lambda: search.rewind("lost", 0),
        lambda: search.replay([{"event": "start", "trial": job.trial, "bracket": 0, "point": {}}]),
    ):
        with pytest.raises(SchedulerError, match="lost|given twice"):
            news()
    assert len(events) == before
    assert list(search.running) == [job.trial]
    search.end(job.trial, failed=True)
    search.end(job.trial, failed=True)
    with pytest.raises(SchedulerError, match="not running"):
        search.report(job.trial, 10, 0.5)
    assert len(events) == before + 1, "what has ended does not end again"


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name != "none"])
def test_schedulers_themselves_refuse_what_cannot_be(scheduler: str) -> None:
    core = SCHEDULERS[scheduler](geometric_rungs(2, 3), 3)
    bracket = core.opening(History(3))
    assert bracket is not None
    rung = core.start("a", bracket)
    for news in (
        lambda: core.start("a", bracket),
        lambda: core.judge("lost", 0, 0.5),
        lambda: core.withdraw("lost"),
        lambda: core.rewind("lost", 0),
        lambda: core.promote("a"),
        lambda: core.promote("lost"),
    ):
        with pytest.raises(SchedulerError, match="Trial"):
            news()
    first = core.judge("a", rung, 0.5)
    assert first is (Verdict.PAUSE if core.pauses else Verdict.CONTINUE)
    named = core.promotable()
    assert core.judge("a", rung, 99.0) is Verdict.CONTINUE, "judged once"
    assert core.promotable() == named


def test_options_out_of_range_come_in_one_message() -> None:
    with pytest.raises(OptionsError, match=r"trials=0.*; concurrency=-1"):
        search_of(PromotionHalving(3), trials=0, concurrency=-1)


def test_a_rewound_trial_heads_no_lower_than_its_bracket_and_no_higher_than_before() -> None:
    search = search_of(SCHEDULERS["hyper-tune"](geometric_rungs(2, 3), 3))
    search.replay([{"event": "start", "trial": "a", "bracket": 1, "point": {}}])
    search.rewind("a", 0)
    assert search.running == {"a": 1}
    search.rewind("a", 85)
    assert search.running == {"a": 1}, "it was not judged at rung 1 yet"
    assert search.report("a", 31, 0.5) is Verdict.PAUSE
    search.rewind("a", 31)
    assert (search.running, search.paused) == ({"a": 1}, {}), "nobody promoted it: it is judged again"
    assert search.history.losses == [{}, {}, {}]


def test_a_stopped_trial_that_comes_again_is_judged_again_as_often_as_it_falls_back() -> None:
    search = search_of(SCHEDULERS["asha"](geometric_rungs(2, 3), 3))
    for loss in (0.5, 0.6):
        job = search.ask()
        assert job is not None
        search.report(job.trial, 10, loss)
    assert search.running == {"0000": 1}
    search.rewind("0001", 10)
    assert search.running == {"0000": 1, "0001": 0}
    assert search.report("0001", 15, 0.4) is Verdict.CONTINUE
    search.rewind("0001", 12)
    assert search.running == {"0000": 1, "0001": 0}
    assert search.history.losses == [{"0000": 0.5}, {}, {}]


def test_a_trial_that_consumes_less_than_planned_is_judged_where_the_plan_says() -> None:
    """InfoBatch leaves out as many rows as it likes; its epochs say where it stands."""
    search = Search(Rungs((100.0, 300.0), (1, 3)), StoppingHalving(2, 3), Numbered(), trials=1, concurrency=1)
    search.ask()
    assert search.report("0000", 60, 0.5, epochs=1) is Verdict.CONTINUE
    assert search.running == {"0000": 1}
    assert search.report("0000", 180, 0.4, epochs=3) is Verdict.STOP
    assert [losses["0000"] for losses in search.history.losses] == [0.5, 0.4]
    assert search.finished
