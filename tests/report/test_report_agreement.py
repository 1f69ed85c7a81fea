"""Rank agreement against brute force over pairs, hand-made rungs, and what the report says of them."""

from __future__ import annotations

import math
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from synthetic import record, run_info, search_records, whole_run
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import OptionsError
from raysubset.report.agreement import (
    RESAMPLES,
    agreement,
    bootstrap_interval,
    kendall,
    kendall_resampled,
    pearson,
    resample_counts,
    spearman,
    top_overlap,
    top_regret,
)
from raysubset.report.html import write_report
from raysubset.report.intervals import Estimate, student
from raysubset.report.rank_check import RankPair, rank_check, rung_agreement
from raysubset.report.rank_words import rank_line, rank_notes, rank_rows
from raysubset.report.records import Records
from raysubset.report.summary import summarise
from raysubset.report.tables import rank_table, rows_of, summary_rows

GOLDEN = golden("correlation")
PROXY, FULL = GOLDEN["inputs"]["proxy"], GOLDEN["inputs"]["full"]

# Few levels, so that ties are the rule; -inf is a configuration that failed.
LEVELS = st.sampled_from([-math.inf, 0.0, 0.25, 1.0, 1.5, 7.0])
PAIRED = st.integers(2, 9).flatmap(
    lambda n: st.tuples(*[st.lists(LEVELS, min_size=n, max_size=n) for _ in range(2)])
)


def tau_by_pairs(x: list[float], y: list[float]) -> float:
    """The definition, pair by pair."""
    balance = untied_x = untied_y = 0
    for (a, b), (c, d) in combinations(list(zip(x, y, strict=True)), 2):
        first, second = (a > c) - (a < c), (b > d) - (b < d)
        balance, untied_x, untied_y = balance + first * second, untied_x + abs(first), untied_y + abs(second)
    return balance / math.sqrt(untied_x * untied_y) if untied_x and untied_y else math.nan


def mid_ranks(values: list[float]) -> list[float]:
    return [
        sum(other < value for other in values) + sum(other == value for other in values) / 2 for value in values
    ]


def moment_correlation(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    below = math.sqrt(sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y))
    return above / below if below > 1e-12 else math.nan


def same(found: float, expected: float) -> bool:
    return found == pytest.approx(expected, abs=FLOAT64, nan_ok=True)


# ---------------------------------------------------------------------- coefficients


def test_golden_values() -> None:
    found, expected = agreement(PROXY, FULL), GOLDEN["expected"]
    assert found.n == 8
    assert found.tau == pytest.approx(expected["kendall_tau_b"], abs=FLOAT64)
    assert found.pearson == pytest.approx(expected["pearson"], abs=FLOAT64)
    assert found.spearman == pytest.approx(expected["spearman"], abs=FLOAT64)
    assert found.regret == expected["top1_regret"]
    assert found.overlap == 1.0  # a tenth of 8, rounded up: the best is the best
    assert found.interval is not None
    assert found.interval.value == found.tau
    assert 0.3 < found.interval.low < found.tau < found.interval.high <= 1


@PROPERTY
@given(PAIRED)
def test_coefficients_are_their_definitions(scores: tuple[list[float], list[float]]) -> None:
    x, y = scores
    assert same(kendall(x, y), tau_by_pairs(x, y))
    assert same(spearman(x, y), moment_correlation(mid_ranks(x), mid_ranks(y)))
    finite = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
    a, b = [p for p, _ in finite], [q for _, q in finite]
    assert same(pearson(x, y), moment_correlation(a, b) if len(finite) > 1 else math.nan)


@PROPERTY
@given(PAIRED, st.randoms(use_true_random=False))
def test_the_order_of_configurations_does_not_matter(scores: tuple[list[float], list[float]], random: Any) -> None:
    x, y = scores
    order = list(range(len(x)))
    random.shuffle(order)
    mixed = [x[i] for i in order], [y[i] for i in order]
    for measure in (kendall, pearson, spearman, top_regret, top_overlap):
        assert same(measure(*mixed), measure(x, y))


@pytest.mark.parametrize("constant", [[0.5, 0.5, 0.5], [-math.inf] * 3, [0.1 + 0.2, 0.3, 0.3]])
def test_equal_scores_have_no_correlation(constant: list[float]) -> None:
    found = agreement(constant, [1.0, 2.0, 3.0])
    assert math.isnan(found.pearson)  # the third differs by rounding alone
    assert math.isnan(found.tau) == math.isnan(found.spearman) == (len(set(constant)) == 1)
    assert found.interval is None


def test_regret_is_what_the_pick_lacks_and_ties_are_picked_from_at_random() -> None:
    assert top_regret([1, 3, 2], [0.9, 0.7, 0.8]) == pytest.approx(0.2)
    assert top_regret([1, 3, 3], [0.9, 0.7, 0.8]) == pytest.approx(0.15)
    assert top_regret([1, 3], [0.9, -math.inf]) == math.inf
    assert math.isnan(top_regret([1, 3], [-math.inf, -math.inf]))


@PROPERTY
@given(PAIRED.filter(lambda scores: len(scores[0]) <= 5), st.data())
def test_overlap_is_the_mean_over_all_ways_to_break_ties(
    scores: tuple[list[float], list[float]], data: Any
) -> None:
    n = len(scores[0])
    k = data.draw(st.integers(1, n))

    def best(values: list[float]) -> list[set[int]]:
        return [set(sorted(lot, key=lambda i: -values[i])[:k]) for lot in permutations(range(n))]

    pairs = [len(a & b) / k for a in best(scores[0]) for b in best(scores[1])]
    assert same(top_overlap(*scores, k), sum(pairs) / len(pairs))


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [([1.0], [1.0], "at least 2"), ([1.0, 2.0], [1.0], r"\(2,\), \(1,\)"), ([1.0, math.nan], [1, 2], "NaN")],
)
def test_scores_that_cannot_be_compared(x: list[float], y: list[float], said: str) -> None:
    for measure in (agreement, kendall, pearson, spearman, top_regret, top_overlap):
        with pytest.raises(OptionsError, match=said):
            measure(x, y)


def test_overlap_of_more_than_there_are() -> None:
    with pytest.raises(OptionsError, match="k=4, need 1 <= k <= n=3"):
        top_overlap([1, 2, 3], [1, 2, 3], 4)


# ---------------------------------------------------------------------- resampling


@PROPERTY
@given(PAIRED, st.data())
def test_a_resample_s_tau_is_that_of_the_copies_written_out(
    scores: tuple[list[float], list[float]], data: Any
) -> None:
    n = len(scores[0])
    drawn = data.draw(st.lists(st.lists(st.integers(0, n - 1), min_size=n, max_size=n), min_size=1, max_size=4))
    counts = np.array([[row.count(i) for i in range(n)] for row in drawn])
    found = kendall_resampled(*scores, counts)
    for value, row in zip(found, drawn, strict=True):
        assert same(value, tau_by_pairs([scores[0][i] for i in row], [scores[1][i] for i in row]))


def test_blocks_of_pairs_add_up() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1100)).round(1)  # three blocks, with ties
    counts = np.ones((1, 1100), dtype=np.int64)
    assert kendall_resampled(x, y, counts)[0] == pytest.approx(kendall(x, y), abs=FLOAT64)


def test_resamples_are_keyed_draws_with_replacement() -> None:
    counts = resample_counts(40)
    assert counts.shape == (RESAMPLES, 40)
    assert (counts.sum(axis=1) == 40).all()
    assert (resample_counts.__wrapped__(40) == counts).all()
    assert not counts.flags.writeable
    # Binomial(40, 1/40): mean 1, variance 39/40; 40,000 of them.
    assert counts.mean(axis=0) == pytest.approx(1, abs=5 * math.sqrt(39 / 40 / RESAMPLES))
    assert counts.var() == pytest.approx(39 / 40, abs=0.05)


def test_an_interval_by_hand() -> None:
    resampled = np.array([math.nan] * 7 + [i / 40 for i in range(41)])
    found = bootstrap_interval(0.6, resampled, 10)
    assert (found.value, found.low, found.high) == (0.6, pytest.approx(0.025), pytest.approx(0.975))


@pytest.mark.parametrize(
    ("value", "resampled", "n"),
    [
        (0.5, [0.1, 0.5, 0.9], 4),  # too few configurations
        (math.nan, [0.1, 0.5, 0.9], 9),
        (0.5, [0.1, 0.9, math.nan, math.nan], 9),  # half of them not defined
        (1.0, [1.0, 1.0, 1.0], 9),  # resampling an unbroken order makes a certainty of it
    ],
)
def test_no_interval_is_better_than_a_false_one(value: float, resampled: list[float], n: int) -> None:
    assert bootstrap_interval(value, np.array(resampled), n) is None


def test_intervals_narrow_with_more_configurations_and_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    truth = 2 / math.pi * math.asin(0.7)  # tau of a normal pair with correlation 0.7
    widths, held = {}, 0
    for n in (12, 12, 12, 60, 60, 60):
        x = rng.normal(size=n)
        y = 0.7 * x + math.sqrt(1 - 0.7**2) * rng.normal(size=n)
        found = agreement(x, y).interval
        held += found.low <= truth <= found.high
        widths.setdefault(n, []).append(found.high - found.low)
    assert held >= 5
    assert max(widths[60]) < min(widths[12])


def test_the_mean_of_repeats_by_hand() -> None:
    found = student([0.4, 0.5, 0.6])
    half = 4.302652729911275 * 0.1 / math.sqrt(3)  # t(2), two-sided 95 %, from a table
    assert (found.value, found.low, found.high) == (
        pytest.approx(0.5),
        pytest.approx(0.5 - half),
        pytest.approx(0.5 + half),
    )
    assert student([0.4]) is None
    assert student([0.4, 0.4, 0.4]) is None  # coarse values repeat by chance
    assert student([0.4, math.nan]) is None


# ---------------------------------------------------------------------- rungs


def judged(trial: str, losses: list[float], **changes: Any) -> list[Any]:
    """A trial's reports at rungs 0, 1, ..., at epochs 1, 3, 9, ...; accuracy falls with the loss."""
    return [
        record(trial, 3**rung, rung=rung, val_loss=loss, val_accuracy=1 - loss, config={"lr": trial}, **changes)
        for rung, loss in enumerate(losses)
    ]


# Rung 0 judges seven, five pass; rung 1 swaps the two best (1 of 10 pairs), three pass; rung 2 reverses them.
RUNGS = [
    row
    for trial, losses in {
        "a": [0.10, 0.09, 0.03],
        "b": [0.20, 0.08, 0.02],
        "c": [0.30, 0.10, 0.01],
        "d": [0.40, 0.20],
        "e": [0.50, 0.30],
        "f": [0.60],
        "g": [0.70],
    }.items()
    for row in judged(trial, losses)
]


@pytest.mark.parametrize("score", ["loss", "accuracy"])
def test_rungs_are_compared_over_the_trials_that_both_judged(score: str) -> None:
    pairs = rung_agreement(RUNGS[::-1], score)
    found = [(p.rung, p.later, p.judged, p.n, round(p.tau, 9), p.means_little) for p in pairs]
    assert found == [
        (0, 1, 7, 5, 0.8, False),
        (0, 2, 7, 3, -1.0, True),
        (1, 2, 5, 3, round(-1 / 3, 9), True),
    ]
    assert pairs[0].interval is not None
    assert pairs[1].interval is None


def test_failures_and_reports_between_rungs_are_no_judgements() -> None:
    rows = [
        *judged("a", [0.1, 0.2]),
        *judged("b", [0.3, math.inf]),
        *judged("c", [0.2]),
        record("c", 2, rung=None, val_loss=0.1, status="failed"),
    ]
    (pair,) = rung_agreement(rows, "loss")
    assert (pair.judged, pair.n) == (3, 1)
    assert math.isnan(pair.tau)
    assert rung_agreement(judged("a", [0.1]) + judged("b", [0.2]), "loss") == ()


def test_retrained_configurations_are_matched_by_what_they_are() -> None:
    retrain = [
        row
        for new, old, loss in (("0000", "a", 0.5), ("0001", "b", 0.4), ("0002", "c", 0.45), ("0003", "d", 0.1))
        for row in [record(new, 9, stage="retrain", config={"lr": old}, val_loss=loss, status="done")]
    ]
    pair = rank_check(RUNGS, retrain, "loss").retrained
    # a .03, b .02, c .01 on subsets, .5, .4, .45 on all data: one pair of three is turned; d stopped a rung before
    assert (pair.rung, pair.later, pair.judged, pair.n) == (2, None, 4, 3)
    assert pair.tau == pytest.approx(1 / 3)
    assert rank_check(RUNGS, [], "loss").retrained is None


def test_the_terminal_names_the_widest_pair_with_enough_trials() -> None:
    check = rank_check(RUNGS, [], "loss")
    assert check.widest == check.pairs[0]
    line = rank_line(check)
    assert line.startswith("Kendall tau 0.80 (95 % interval ")
    assert line.endswith("between rung 0 and rung 1, over the 5 of 7 trials that were judged at both")
    few = [row for row in RUNGS if row.trial in "abcd"]
    assert rank_line(rank_check(few, [], "loss")) is None
    rows = dict(rows_of(summarise(run_info(), Records(tuple(RUNGS)))))
    assert rows["rungs against later rungs"] == line
    assert "rungs against later rungs" not in dict(rows_of(summarise(run_info(), Records(tuple(few)))))


def test_what_weakens_the_figures_is_said() -> None:
    retrain = [record(f"new {t}", 9, config={"lr": t}, val_loss=v) for t, v in (("a", 1.0), ("b", 2.0))]
    check = rank_check(RUNGS, retrain, "loss")
    notes = " ".join(rank_notes(check))
    assert "understate how well a rung ranks" in notes
    assert "nearly meaningless" in notes
    table = rank_rows(check)
    assert table[0][:5] == ("rung 0", "rung 1", "7", "5", "0.80")
    assert table[1][-1] == "fewer than 5: means little"
    assert rank_notes(rank_check([], [], "loss")) == ()


@pytest.mark.parametrize(
    ("n", "said"),
    [(1, "no order to check"), (3, "nearly meaningless"), (6, "this tau too understates")],
)
def test_few_retrainings_say_so(n: int, said: str) -> None:
    search = [row for i in range(n) for row in judged(f"t{i}", [0.1 * i + 0.1])]
    retrain = [record(f"{i}", 9, config={"lr": f"t{i}"}, val_loss=1.0 + i, status="done") for i in range(n)]
    check = rank_check(search, retrain, "loss")
    assert check.retrained.n == n
    assert said in rank_notes(check)[-1]


def test_a_perfect_order_gets_no_interval_and_equal_scores_no_tau() -> None:
    check = rank_check([row for i in range(6) for row in judged(f"t{i}", [i / 10, i / 20])], [], "loss")
    assert rank_rows(check)[0][4:] == ("1.00", "none", "every pair alike: resampling gives no interval")
    check = rank_check([row for i in range(6) for row in judged(f"t{i}", [i / 10, 0.5])], [], "loss")
    assert rank_rows(check)[0][4:] == ("not defined", "none", "all scores of a side are equal")
    assert check.widest is None


def test_a_search_s_own_records_make_the_table() -> None:
    rows = search_records(trials=40)
    summary = summarise(run_info(), Records(tuple(rows)))
    table = rank_table(summary)
    assert [row[:2] for row in table.rows] == [("rung 0", "rung 1"), ("rung 0", "rung 2"), ("rung 1", "rung 2")]
    first = {r.trial: r.val_loss for r in rows if r.rung == 0 and r.val_loss is not None}
    last = {r.trial: r.val_loss for r in rows if r.rung == 2 and r.val_loss is not None}
    both = sorted(first.keys() & last.keys())
    pair = next(p for p in summary.ranks.pairs if (p.rung, p.later) == (0, 2))
    assert (pair.judged, pair.n) == (len(first), len(both))
    assert same(pair.tau, tau_by_pairs([first[t] for t in both], [last[t] for t in both]))


@pytest.mark.slow
def test_the_page_has_the_section_and_the_terminal_the_line(tmp_path: Path) -> None:
    folder = whole_run(tmp_path, trials=40)
    text = write_report(folder).read_text(encoding="utf-8")
    assert "Do the rungs rank right?" in text
    assert "say nothing of the trials it stopped" in text
    assert "rungs against later rungs" in dict(summary_rows(folder))
    alone = write_report(whole_run(tmp_path / "alone", trials=2, epochs=1, full=False)).read_text(encoding="utf-8")
    assert "Do the rungs rank right?" not in alone


def test_a_pair_knows_when_it_means_little() -> None:
    assert RankPair(0, 1, 9, 4, 0.5, None).means_little
    assert not RankPair(0, 1, 9, 5, 0.5, Estimate(0.5, 0.1, 0.9)).means_little
