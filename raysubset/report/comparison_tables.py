"""A study of trainings as tables of text and sentences, for page and terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

from raysubset.report.comparison import Comparison, Training, Way
from raysubset.report.comparison_lines import ADAPTIVE, Claim, WayLine, claims, way_lines
from raysubset.report.intervals import Estimate
from raysubset.report.tables import Table
from raysubset.report.wording import count, number, percent, seconds

ABSENT = "-"
NOTE = (
    "Means over seeds with 95 % Student intervals; differences are paired by seed (equal initial weights and "
    "draws) and in points of {measure}. The split into training and validation rows is the same for all seeds, so "
    "its draw is not in the intervals. Time: training, selection and evaluation of one training."
)


def comparison_tables(comparison: Comparison, trainings: Sequence[Training]) -> tuple[Table, ...]:
    """Return the tables that have rows: ways, claims, what was not run."""
    lines = way_lines(comparison, trainings)
    tables = (
        _ways_table(comparison, lines),
        _claims_table(claims(comparison, trainings)),
        _missing_table(lines),
    )
    return tuple(table for table in tables if table.rows)


def _ways_table(comparison: Comparison, lines: Sequence[WayLine]) -> Table:
    judged = comparison.judged_on
    scores = (f"{judged} R2, %", f"{judged} RMSE") if comparison.measure == "R2" else (f"{judged} %",)
    columns = ("rows chosen by", "schedule", "ratio", "seeds", *scores, "against",
               "difference", "to full", "samples", "of full", "time", "selection")  # fmt: skip
    return Table("Ways of choosing rows", columns, tuple(_way_row(comparison, line) for line in lines))


def _way_row(comparison: Comparison, line: WayLine) -> tuple[str, ...]:
    way, samples = line.way, line.mean(lambda t: t.samples)
    return (
        f"{way.method} (by {way.taken_by})" if way.taken_by else way.details or way.method,
        way.schedule if way.ratio < 1 else ABSENT,
        f"{way.ratio:g}",
        f"{len(line.trainings)} of {len(comparison.seeds)}",
        _percent(line.accuracy),
        *((_error(line.rmse),) if comparison.measure == "R2" else ()),
        _baseline(comparison, way) or ABSENT,
        _percent(line.gain, "+"),
        _percent(line.to_full, "+"),
        ABSENT if samples is None else count(round(samples)),
        ABSENT if samples is None else f"{samples / comparison.full_samples:.3f}",
        ABSENT if (spent := line.mean(lambda t: t.seconds)) is None else seconds(spent),
        ABSENT if line.selection_share is None else percent(line.selection_share),
    )


def _claims_table(found: Sequence[Claim]) -> Table:
    rows = tuple(
        (claim.words, f"{claim.ratio:g}", _percent(claim.difference, "+"), _says(claim.difference))
        for claim in found
    )
    return Table("Claims of the ASP paper, on these data", ("claim", "ratio", "difference", "here"), rows)


def _missing_table(lines: Sequence[WayLine]) -> Table:
    rows = [(line.way.name, f"seed {seed}", "not run") for line in lines for seed in line.missing]
    rows += [(line.way.name, f"seed {t.seed}", f"failed: {t.reason}") for line in lines for t in line.failed]
    return Table("Not measured", ("way", "seed", "why"), tuple(rows))


def comparison_facts(comparison: Comparison, trainings: Sequence[Training]) -> list[tuple[str, str]]:
    """Return (label, value) pairs that sum a study up, in the order they should be printed."""
    planned = len(comparison.ways) * len(comparison.seeds)
    return [
        ("state", "finished" if len(trainings) == planned else "UNFINISHED: the numbers below are partial"),
        ("trainings", f"{len(trainings)} of {planned}, {sum(bool(t.reason) for t in trainings)} failed"),
        ("samples", count(sum(training.samples for training in trainings))),
        ("trial time", seconds(sum(training.seconds for training in trainings))),
        *(("note", note) for note in comparison.notes),
    ]


def comparison_found(comparison: Comparison, trainings: Sequence[Training]) -> Iterator[str]:
    """Say what was found: the best way of each ratio, and what it gains on its baseline."""
    lines = way_lines(comparison, trainings)
    for ratio in sorted({line.way.ratio for line in lines}):
        judged = [(line, line.accuracy) for line in lines if line.way.ratio == ratio and line.accuracy is not None]
        if not judged:
            continue
        best, accuracy = max(judged, key=lambda pair: pair[1].value)
        measured = "R2 " if comparison.measure == "R2" else ""
        said = f"Ratio {ratio:g}: {_named(best)} comes out highest, {measured}{_percent(accuracy)} %"
        if best.gain is None:
            yield f"{said}."
        else:
            yield f"{said}, {_gain_words(best.gain)} {_baseline(comparison, best.way)} on equal samples."


def comparison_against(comparison: Comparison, trainings: Sequence[Training]) -> Iterator[str]:
    """Say what weakens it: ways that adaptive random beats, and those that cannot be told from it."""
    lines = [line for line in way_lines(comparison, trainings) if line.gain is not None and _informed(line)]
    worse = [line for line in lines if line.gain is not None and line.gain.high < 0]
    better = [line for line in lines if line.gain is not None and line.gain.low > 0]
    open_ = len(lines) - len(worse) - len(better)
    if lines:
        yield (
            f"Of {len(lines)} informed ways at a ratio and schedule, {len(better)} are above and {len(worse)} "
            f"below what they are compared with, on equal samples; {open_} cannot be told from it by "
            f"{len(comparison.seeds)} seeds. Some 1 in 20 would be told apart by chance."
        )
    for line in worse:
        assert line.gain is not None
        yield f"{_named(line)} at ratio {line.way.ratio:g} is {_gain_words(line.gain)} its baseline."
    for line in lines:
        if line.way.taken_by:
            yield f"{line.way.name}: {line.way.taken_by} took its place, which would have cost more than it saved."


def comparison_unmeasured(comparison: Comparison, trainings: Sequence[Training]) -> Iterator[str]:
    """Say what was not run and what cannot be known."""
    lines = way_lines(comparison, trainings)
    missing = sum(len(line.missing) for line in lines)
    if missing:
        absent = [line.way.name for line in lines if not line.trainings and not line.failed]
        names = f"; not at all: {', '.join(absent)}" if absent else ""
        yield f"{missing} of {len(comparison.ways) * len(comparison.seeds)} trainings were not run{names}."
    for line in lines:
        for training in line.failed:
            yield f"{line.way.name}, seed {training.seed} failed: {training.reason}"
    if len(comparison.seeds) < 2:
        yield "One seed: there is no interval, and no difference can be told from chance."
    if comparison.judged_on != "test":
        yield "The data set has no test rows: scores are those on the validation rows."


def _informed(line: WayLine) -> bool:
    return line.way.method not in (ADAPTIVE, "random", "full")


def _baseline(comparison: Comparison, way: Way) -> str:
    """Name what a way is compared with, "" for nothing; its ratio and schedule are the way's own."""
    if not way.against:
        return ""
    against = comparison.way(way.against)
    return against.details or against.method


def _named(line: WayLine) -> str:
    way = line.way
    return way.details or (f"{way.method}, {way.schedule}" if way.ratio < 1 else way.method)


def _gain_words(gain: Estimate) -> str:
    side = "above" if gain.value >= 0 else "below"
    size = f"{100 * abs(gain.value):.2f} points {side}"
    if not isfinite(gain.low):
        return f"{size} (no interval)"
    shown = "" if gain.low > 0 or gain.high < 0 else ", which includes 0"
    return f"{size} (95 % interval {100 * gain.low:+.2f} to {100 * gain.high:+.2f}{shown})"


def _says(difference: Estimate) -> str:
    if not isfinite(difference.low):
        return "no interval"
    return "holds" if difference.low > 0 else "the reverse" if difference.high < 0 else "not told from 0"


def _error(estimate: Estimate | None) -> str:
    """Return an RMSE with its half interval, in units of the targets."""
    if estimate is None:
        return ABSENT
    half = estimate.high - estimate.value
    return number(estimate.value) + (f" ± {number(half)}" if isfinite(half) else "")


def _percent(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None:
        return ABSENT
    half = estimate.high - estimate.value
    return f"{100 * estimate.value:{sign}.2f}" + (f" ± {100 * half:.2f}" if isfinite(half) else "")
