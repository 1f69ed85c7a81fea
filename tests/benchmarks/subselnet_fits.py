"""Evaluations of several fits of SubSelNet, pooled: ``python tests/benchmarks/subselnet_fits.py RUN RUN ...``

Each RUN was evaluated (`raysubset subselnet evaluate`) with the same methods. Printed for each size: accuracy and
RAR, means over the runs (cells x seeds) of all fits, and differences to random subsets in points, paired by cell
and seed, with Student's 95 % interval over the fits' means; then the mean of each fit.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median

from raysubset.report.intervals import student
from raysubset.report.subselnet_tables import BALANCED, RANDOM, EvaluationRow
from raysubset.tuning.subselnet_evaluate import evaluation_rows, read_outcomes

Fit = Mapping[tuple[str, float], dict[tuple[str, int], EvaluationRow]]


def read_fit(folder: Path) -> Fit:
    """Return the rows of a fit's evaluations by (method, ratio), then by run."""
    found: dict[tuple[str, float], dict[tuple[str, int], EvaluationRow]] = {}
    for log in sorted(folder.glob("evaluation-*.jsonl")):
        for row in evaluation_rows(read_outcomes(log)):
            found.setdefault((row.method, row.ratio), {})[row.run] = row
    return found


def difference(fits: Sequence[Fit], method: str, reference: str, ratio: float) -> str:
    """Spell the mean over fits of the mean paired difference, its interval, and each fit's."""
    means = []
    for fit in fits:
        ours, theirs = fit[method, ratio], fit[reference, ratio]
        means.append(
            fmean(100 * (ours[run].accuracy - theirs[run].accuracy) for run in ours.keys() & theirs.keys())
        )
    interval = student(means)
    spread = "" if interval is None else f" ({interval.low:+.2f} to {interval.high:+.2f})"
    return f"{fmean(means):+.2f}{spread} | {', '.join(f'{mean:+.1f}' for mean in means)}"


def main(folders: Sequence[Path]) -> None:
    """Print a table for each ratio that all fits have random subsets of."""
    fits = [read_fit(folder) for folder in folders]
    shared = set.intersection(*(set(fit) for fit in fits))
    for ratio in sorted({ratio for method, ratio in shared if method == RANDOM}):
        print(f"\n### {100 * ratio:g} %\n")
        print(
            "| method | accuracy | RAR | to random | by fit | to class-balanced random | by fit | selection, s |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        lines = []
        for method in sorted(method for method, at in shared if at == ratio):
            rows = [row for fit in fits for row in fit[method, ratio].values()]
            rar = fmean(1 - row.accuracy / row.full_accuracy for row in rows)
            gaps = " | ".join(
                "- | -" if method == reference else difference(fits, method, reference, ratio)
                for reference in (RANDOM, BALANCED)
            )
            seconds = median(row.select_s for row in rows)
            accuracy = 100 * fmean(row.accuracy for row in rows)
            lines.append((rar, f"| {method} | {accuracy:.1f} % | {rar:.3f} | {gaps} | {seconds:.2f} |"))
        print("\n".join(line for _, line in sorted(lines)))


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
