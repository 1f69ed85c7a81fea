"""MedianStop: by hand, and against the standard library's median."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import OptionsError
from raysubset.hpo.median import MedianStop
from raysubset.hpo.scheduler import Verdict

losses = st.one_of(st.integers(0, 9).map(float), st.just(math.nan), st.just(math.inf))


def verdicts(rule: MedianStop, rung: int, arriving: list[float]) -> str:
    """One letter a trial: c(ontinue) or s(top)."""
    told = ""
    for number, loss in enumerate(arriving):
        rule.start(str(number), 0)
        told += rule.judge(str(number), rung, loss).value[0]
    return told


def test_by_hand() -> None:
    arriving = [0.5, 0.9, 0.7, 0.7, 0.71, 0.6, 0.8]
    # the medians of those before: -, -, -, 0.7, 0.7, 0.7, 0.7
    assert verdicts(MedianStop(3, grace=1), 1, arriving) == "ccccscs"
    assert verdicts(MedianStop(3, grace=1), 0, arriving) == "ccccccc", "grace"
    assert verdicts(MedianStop(3, grace=2), 1, arriving) == "ccccccc", "more grace"
    assert verdicts(MedianStop(3, grace=0, min_trials=1), 0, arriving) == "cscc" + "scs"
    assert verdicts(MedianStop(3, grace=0, min_trials=2), 0, [1.0, 2.0, 1.6]) == "ccs", "the median of two: 1.5"
    assert verdicts(MedianStop(3, grace=0, min_trials=2), 0, [1.0, 2.0, 1.5]) == "ccc"
    assert verdicts(MedianStop(3), 2, arriving) == "sssssss", "the end"


@PROPERTY
@given(st.lists(losses, max_size=20), st.integers(1, 5))
def test_a_trial_stops_where_it_is_worse_than_the_median_of_the_others(arriving: list[float], least: int) -> None:
    told = verdicts(MedianStop(3, grace=0, min_trials=least), 1, arriving)
    plain = [math.inf if math.isnan(loss) else loss for loss in arriving]
    for place, loss in enumerate(plain):
        stops = place >= least and loss > statistics.median(plain[:place])
        assert told[place] == ("s" if stops else "c")


def test_what_is_taken_back_counts_no_more() -> None:
    rule = MedianStop(2, grace=0, min_trials=1)
    for trial in ("a", "b", "c"):
        rule.start(trial, 0)
    assert rule.judge("a", 0, 1.0) is Verdict.CONTINUE
    rule.rewind("a", 0)
    assert rule.judge("b", 0, 9.0) is Verdict.CONTINUE, "the first"
    assert rule.judge("a", 0, 1.0) is Verdict.CONTINUE
    assert rule.judge("c", 0, 5.0) is Verdict.CONTINUE, "the median of 1 and 9"
    assert rule.losses == [{"b": 9.0, "a": 1.0, "c": 5.0}, {}]


def test_all_faults_come_in_one_message() -> None:
    with pytest.raises(OptionsError, match=r"grace=-1.*; min_trials=0"):
        MedianStop(3, grace=-1, min_trials=0)
