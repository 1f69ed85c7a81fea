"""SubSelNet's evaluation in words: what falls against it, what wins, what beats random, what is missing.

Every difference is in accuracy, paired by cell and seed. An interval that excludes zero is Student's at 95 % over
runs; among many methods, one in twenty does so by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from raysubset.report.intervals import Estimate
from raysubset.report.subselnet_tables import (
    BALANCED,
    RANDOM,
    REFERENCES,
    EvaluationRow,
    MethodLine,
    Section,
    method_lines,
    ratio_table,
    size,
)
from raysubset.report.wording import percent

Lines = Mapping[float, Sequence[MethodLine]]
OURS = ("transductive", "inductive", "hybrid")  # and what begins with one of them and "-", as "hybrid-2b"
NOTE = (
    "RAR is the share of the accuracy on all data that is lost, mean over runs; lower is better. Differences are "
    "paired by cell and seed, with Student's 95 % interval over runs in brackets. Faster: mean seconds of "
    "training on all data over those of selection and training. Published: the paper's table 3, of other "
    "networks, features and supervisors. With many methods, one interval in twenty excludes zero by chance."
)


def evaluation_section(rows: Sequence[EvaluationRow], dataset: str = "") -> Section:
    """Return the section of our own evaluation.

    Args:
        rows: All of it, in any order; may be empty.
        dataset: By this package's name; RAR the paper printed for it stands beside ours.

    Raises:
        DataError: See `method_lines`.
    """
    lacking = missing(rows)
    paragraphs = [verdict(rows), *(["Missing: " + " ".join(lacking)] if lacking else []), NOTE]
    tables = tuple(ratio_table(ratio, lines, dataset) for ratio, lines in method_lines(rows).items())
    return Section("Subsets for unseen architectures", tuple(paragraphs), tables)


def verdict(rows: Sequence[EvaluationRow]) -> str:
    """Return the first paragraph: what falls against SubSelNet, then what wins, then what beats random."""
    lines = method_lines(rows)
    if not lines:
        return "No run has finished: nothing can be said of any method."
    said = [*_against(lines), _winners(lines), *(_beating(lines, reference) for reference in REFERENCES)]
    return " ".join([*said, "Numbers in brackets are points of accuracy."])


def missing(rows: Sequence[EvaluationRow]) -> list[str]:
    """Return a sentence for every method and ratio that lacks runs that others have, anywhere."""
    runs, lines = {row.run for row in rows}, method_lines(rows)
    have = {(ratio, line.method): {row.run for row in line.rows} for ratio in lines for line in lines[ratio]}
    said = []
    for ratio in lines:
        for method in sorted({RANDOM, BALANCED, *(row.method for row in rows)}):
            lacking = sorted(runs - have.get((ratio, method), set()))
            where = f"{method} at {size(ratio)} has {len(runs) - len(lacking)} of {len(runs)} runs"
            names = "; ".join(f"cell {cell} seed {seed}" for cell, seed in lacking)
            if lacking:
                said.append(f"{where}" + (f", not {names}." if len(lacking) < len(runs) else "."))
    return said


def _sign(estimate: Estimate | None) -> int | None:
    """Return -1 or 1 where the interval excludes zero, 0 where it does not, None where there is none."""
    return None if estimate is None else (estimate.low > 0) - (estimate.high < 0)


def _is_ours(method: str) -> bool:
    return any(method == name or method.startswith(f"{name}-") for name in OURS)


def _against(lines: Lines) -> list[str]:
    """Say where ours lose to a reference, cannot be told from it, or were not compared at all."""
    ours = [line for of_ratio in lines.values() for line in of_ratio if _is_ours(line.method)]
    if not ours:
        return ["None of SubSelNet's variants has a run: what follows is of baselines and controls alone."]
    said = []
    for words, wanted in (
        ("Against us, below {} by an interval that excludes zero: ", -1),
        ("Not to be told from {}: ", 0),
        ("Without an interval against {} (too few paired runs, or all alike): ", None),
    ):
        for reference, name in REFERENCES.items():
            hit = [line for line in ours if _sign(_interval(line, reference)) == wanted]
            if hit:
                said.append(words.format(name) + _listed(hit, reference) + ".")
    return said or ["No variant of SubSelNet falls below random or class-balanced random, or to their level."]


def _winners(lines: Lines) -> str:
    """Name the most accurate method at each ratio, among those with every run that any has there."""
    said = []
    for ratio, of_ratio in lines.items():
        runs = {row.run for line in of_ratio for row in line.rows}
        complete = [line for line in of_ratio if len(line.rows) == len(runs)]
        if not complete:
            said.append(f"at {size(ratio)} none, as no method has all {len(runs)} runs")
            continue
        best = max(complete, key=lambda line: line.accuracy)
        whose = "" if _is_ours(best.method) else ", not one of SubSelNet's variants"
        full = fmean(row.full_accuracy for row in best.rows)
        said.append(
            f"at {size(ratio)} {best.method} with {percent(best.accuracy)}{whose} (all data: {percent(full)})"
        )
    return f"Highest mean accuracy: {'; '.join(said)}."


def _beating(lines: Lines, reference: str) -> str:
    """Say what beats a reference, and what of it would remain with seeds instead of runs as the unit."""
    name = REFERENCES[reference]
    if not any(reference in line.to and line.to[reference].pairs for ratio in lines for line in lines[ratio]):
        return f"Nothing was compared with {name}."
    above = [line for ratio in lines for line in lines[ratio] if _sign(_interval(line, reference)) == 1]
    if not above:
        return f"Nothing beats {name} by an interval that excludes zero."
    firm = sum(_sign(line.to[reference].over_seeds) == 1 for line in above)
    return (
        f"Above {name} by an interval that excludes zero: {_listed(above, reference)}; with seeds as the unit "
        f"instead of runs, {firm} of these {len(above)}."
    )


def _interval(line: MethodLine, reference: str) -> Estimate | None:
    return line.to[reference].interval if reference in line.to else None


def _listed(lines: Sequence[MethodLine], reference: str) -> str:
    """Name methods with their gaps in points, ratio by ratio; intervals and runs are in the tables."""
    said = []
    for ratio in dict.fromkeys(line.ratio for line in lines):
        names = ", ".join(_gap(line, reference) for line in lines if line.ratio == ratio)
        said.append(f"at {size(ratio)} {names}")
    return "; ".join(said)


def _gap(line: MethodLine, reference: str) -> str:
    paired = line.to.get(reference)
    gap = "not compared" if not paired or not paired.pairs else f"{100 * paired.mean:+.1f}"
    return f"{line.method} ({gap})"
