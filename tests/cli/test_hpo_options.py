"""What is said on the command line is what a search is asked: no option is lost on the way."""

from __future__ import annotations

from pathlib import Path

from raysubset.cli.hpo_options import SearchChoice
from raysubset.experiment import SearchOptions


def test_what_is_said_reaches_the_search() -> None:
    said = SearchChoice(eta=4, time_budget=12.5, budget_epochs=3.0, earlier=Path("before"), scheduler="dasha")
    found = said.options()
    assert (found.eta, found.time_budget_s, found.budget_epochs) == (4, 12.5, 3.0)
    assert (found.earlier, found.scheduler) == ("before", "dasha")


def test_nothing_said_is_the_search_s_own_default() -> None:
    assert SearchChoice().options() == SearchOptions()
