"""A simulation killed at any event goes on to the same trace, and by no other simulation's journal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysubset.errors import SchedulerError
from raysubset.hpo.budget import Ledger
from raysubset.hpo.simulator import simulate
from tests.hpo.listed_losses import FEW, Listed, run, search_of, searches


@FEW
@given(searches, st.integers(0, 10**6))
def test_a_simulation_killed_at_any_event_goes_on_to_the_same_trace(story: dict[str, Any], cut: int) -> None:
    whole: list[Any] = []
    trace, _, task = run(story, journal=lambda event: whole.append(json.loads(json.dumps(event, allow_nan=False))))
    cut %= len(whole) + 1
    ledger = Ledger(samples=story["samples"], seconds=story["seconds"])
    rest: list[Any] = []
    search = search_of(
        task,
        story["scheduler"],
        story["trials"],
        story["workers"],
        ledger,
        journal=lambda event: rest.append(event),
    )
    again = simulate(
        search,
        task,
        startup_s=story["startup_s"],
        seconds_per_sample=0.25,
        straggling=story["straggling"],
        journal=whole[:cut],
    )
    assert again == trace
    assert [json.loads(json.dumps(event)) for event in rest] == whole[cut:]


def test_the_journal_of_another_simulation_is_refused() -> None:
    task = Listed([1, 1], lambda x, epoch: float(x))
    events: list[Any] = []
    simulate(search_of(task, "asha", 4, 2, journal=events.append), task)
    other = Listed([2, 1], task.of)
    with pytest.raises(SchedulerError, match="journal is of another simulation"):
        simulate(search_of(other, "asha", 4, 2), other, journal=events)
    for wrong in (events[:1] + events[2:], [{"event": "rewind", "trial": "0000", "samples": 0}]):
        with pytest.raises(SchedulerError, match="cannot come next"):
            simulate(search_of(task, "asha", 4, 2), task, journal=wrong)
    with pytest.raises(SchedulerError, match="'event': 'start'.* cannot come next"):
        simulate(search_of(task, "asha", 4, 1), task, journal=events)
