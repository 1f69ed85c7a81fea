"""What the runs of a kernel benchmark say: medians, ratios, and what falls against us."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from raysubset.bench.kernels import CASES, Case
from raysubset.bench.runs import Run

QUALITY_SLACK = 0.005  # qualities closer than this are called equal
MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One contender in one case.

    Attributes:
        case, contender: Names.
        n, k, picked: Rows, rows asked for, rows chosen.
        repeats: Runs that did not fail.
        cpu_min_s, cpu_s, cpu_max_s: Least, median and largest CPU seconds.
        times_ours: Median over that of our contender.
        quality: Median of the case's measure.
        quality_ratio: That over the median of the case's reference.
        extra_bytes: Largest extra memory of a run, or None where it was not measured.
        note: Of the last run that failed.

    Numbers are NaN where there is nothing to compute them from.
    """

    case: str
    contender: str
    n: int
    k: int
    picked: int
    repeats: int
    cpu_min_s: float
    cpu_s: float
    cpu_max_s: float
    times_ours: float
    quality: float
    quality_ratio: float
    extra_bytes: int | None
    note: str


def rows_of(runs: Iterable[Run]) -> list[Row]:
    """Return a row a contender, in the order of the cases."""
    by_case: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        by_case.setdefault(run.case, {}).setdefault(run.contender, []).append(run)
    return [
        _row(CASES[name], contender, contenders)
        for name, contenders in by_case.items()
        for contender in contenders
    ]


def _row(case: Case, contender: str, contenders: Mapping[str, Sequence[Run]]) -> Row:
    runs = contenders[contender]
    done = [run for run in runs if not run.note]
    seconds = [run.cpu_s for run in done] or [math.nan]
    quality = _median(run.quality for run in done)
    reference = _median(run.quality for run in contenders.get(case.reference or "", ()))
    return Row(
        *(case.name, contender),
        *((done[0].n, done[0].k, done[0].picked) if done else (0, 0, 0)),
        len(done),
        *(min(seconds), statistics.median(seconds), max(seconds)),
        statistics.median(seconds) / _median(run.cpu_s for run in contenders[case.contenders[0].name]),
        *(quality, quality / reference if reference else math.nan),
        max((run.extra_bytes for run in done if run.extra_bytes is not None), default=None),
        next((run.note for run in reversed(runs) if run.note), ""),
    )


def _median(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def against_us(rows: Sequence[Row]) -> list[str]:
    """Return a sentence for each thing in which a peer does better than our first contender."""
    found = []
    for name in dict.fromkeys(row.case for row in rows):
        case = CASES[name]
        by_name = {row.contender: row for row in rows if row.case == name}
        ours = by_name[case.contenders[0].name]
        if not ours.repeats:
            found.append(f"{name}: {ours.contender} failed: {ours.note}")
            continue
        for contender in case.contenders:
            peer = by_name.get(contender.name)
            if contender.peer and peer is not None:
                found += [f"{name}: {contender.name} {what}" for what in _better(case, peer, ours)]
    return found


def verdict(rows: Sequence[Row]) -> str:
    """Return the line that goes before the sentences of `against_us`, or stands for them."""
    if against_us(rows):
        return "Against us:"
    peers = {
        (name, contender.name) for name, case in CASES.items() for contender in case.contenders if contender.peer
    }
    if not any(row.repeats for row in rows if (row.case, row.contender) in peers):
        return "No peer was measured: nothing is said of them here."
    return "No peer is better in anything measured here."


def _better(case: Case, peer: Row, ours: Row) -> list[str]:
    """Return in what a peer is better."""
    said = []
    if peer.times_ours < 1:
        said.append(f"is faster: {peer.cpu_s:.3g} CPU s, ours {ours.cpu_s:.3g}")
    theirs, own = peer.extra_bytes, ours.extra_bytes
    if theirs is not None and own is not None and theirs + MEGABYTE <= own:
        said.append(f"needs less memory: {theirs / MEGABYTE:.0f} MB, ours {own / MEGABYTE:.0f}")
    ratio = ours.quality / peer.quality if case.reference and peer.quality else math.nan
    worse = {"lower": ratio - 1, "higher": 1 - ratio, "equal": abs(ratio - 1)}[case.better]
    # of a mean, three standard errors where the values spread as far as they are large
    slack = max(QUALITY_SLACK, 3 / math.sqrt(ours.k)) if case.better == "equal" else QUALITY_SLACK
    if worse > slack:
        said.append(f"has another {case.measure}: {peer.quality:.5g}, ours {ours.quality:.5g}")
    return said
