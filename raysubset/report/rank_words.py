"""The rank check in words: one line for the terminal, rows and notes for the page."""

from __future__ import annotations

import math

from raysubset.report.agreement import FEWEST
from raysubset.report.intervals import Estimate
from raysubset.report.rank_check import RankCheck, RankPair

COLUMNS = ("judged at", "and again at", "trials at the first", "trials at both", "tau", "95 % interval", "note")


def tau_words(tau: float, interval: Estimate | None) -> str:
    """Return ".62 (95 % interval .31 to .84)"; what is not defined or has no interval says so."""
    if math.isnan(tau):
        return "not defined (equal scores)"
    return f"{tau:.2f} ({interval_words(interval)})"


def interval_words(interval: Estimate | None) -> str:
    """Return "95 % interval .31 to .84", or that there is none."""
    return "no interval" if interval is None else f"95 % interval {interval.low:.2f} to {interval.high:.2f}"


def rank_line(check: RankCheck) -> str | None:
    """Return the terminal's line: lowest rung against the latest with enough trials; None if there is none."""
    pair = check.widest
    if pair is None:
        return None
    return (
        f"Kendall tau {tau_words(pair.tau, pair.interval)} between rung {pair.rung} and rung {pair.later}, over "
        f"the {pair.n} of {pair.judged} trials that were judged at both"
    )


def rank_rows(check: RankCheck) -> tuple[tuple[str, ...], ...]:
    """Return a row for each pair of rungs, and one for the retrainings, under `COLUMNS`."""
    pairs = check.pairs if check.retrained is None else (*check.pairs, check.retrained)
    return tuple(
        (
            "the last report" if pair.rung is None else f"rung {pair.rung}",
            "the end, on all data" if pair.later is None else f"rung {pair.later}",
            str(pair.judged),
            str(pair.n),
            "not defined" if math.isnan(pair.tau) else f"{pair.tau:.2f}",
            "none" if pair.interval is None else f"{pair.interval.low:.2f} to {pair.interval.high:.2f}",
            _note(pair),
        )
        for pair in pairs
    )


def _note(pair: RankPair) -> str:
    if pair.means_little:
        return f"fewer than {FEWEST}: means little"
    if math.isnan(pair.tau):
        return "all scores of a side are equal"
    if pair.interval is None:
        return "every pair alike: resampling gives no interval"
    return ""


def rank_notes(check: RankCheck) -> tuple[str, ...]:
    """Return what the table means and how far it can be trusted; nothing to say of an empty check."""
    notes = []
    if check.pairs:
        notes.append(
            "Kendall's tau compares the order of the trials at a rung with their order later: 1 is the same "
            "order, 0 no relation, -1 the reverse. Intervals cover the draw of the trials, not that of seeds."
        )
        notes.append(
            "Only trials that passed a rung were judged again. They are its best and lie close together, so tau "
            "among them is lower than it would be among all trials: these figures understate how well a rung "
            "ranks, and say nothing of the trials it stopped."
        )
    if check.retrained is not None:
        notes.append(_retrained_note(check.retrained))
    return tuple(notes)


def _retrained_note(pair: RankPair) -> str:
    if pair.n < 2:
        return (
            f"{pair.n} retrained configuration has a score on subsets to compare with: there is no order to check."
        )
    said = f"{pair.n} retrained configurations are compared with their last scores on subsets"
    if pair.n < FEWEST:
        return f"{said}: with so few, and all of them the search's best, tau is nearly meaningless."
    return f"{said}; they are the search's best, so this tau too understates."
