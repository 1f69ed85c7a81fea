"""What a study of rank correlation found, what weakens it and what it cannot tell, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from raysubset.report.rank_cells import END, Study
from raysubset.report.rank_study import calibration_rows, gains, rank_rows, recommended
from raysubset.report.rank_words import interval_words, tau_words
from raysubset.report.wording import count, percent


def study_facts(study: Study) -> list[tuple[str, str]]:
    """Return (label, value) pairs that sum a study up, in the order they should be printed."""
    on_all = sum(cell.samples for cell in study.full)
    on_subsets = sum(cell.samples for cell in study.cells if not cell.full)
    return [
        ("state", "finished" if study.finished else "UNFINISHED: the numbers below are partial"),
        ("configurations", str(len(study.configs))),
        ("samples, all data", f"{count(on_all)} over {len(study.full)} seeds"),
        ("samples, subsets", f"{count(on_subsets)} over {len(study.cells) - len(study.full)} trainings"),
        *([("samples, evidence", count(study.evidence_samples))] if study.evidence_samples else []),
        *([("calibration", calibration_words(study))] if study.calibration else []),
    ]


def study_found(study: Study) -> Iterator[str]:
    """Say what was found: the calibration, then a sentence a ratio, then the ceiling."""
    if study.calibration is not None:
        yield calibration_words(study)
    for row in rank_rows(study):
        if row.at == END and row.reference == "accuracy" and row.score == "loss":
            words = tau_words(row.tau, row.over_configs)
            if row.full:
                yield f"Ceiling, one seed on all data by loss against another by accuracy: tau {words}."
            else:
                yield (
                    f"Ratio {row.ratio:g}, pairing {row.pairing}: the loss on subsets ranks {len(study.configs)} "
                    f"configurations like the accuracy on all data with tau {words}, at {percent(row.cost)} of "
                    "the cost."
                )


def study_against(study: Study) -> Iterator[str]:
    """Say what weakens it."""
    for gain in gains(study):
        if gain.gain < 0:
            yield (
                f"Pairing {gain.pairing} ranks worse than none at ratio {gain.ratio:g}, by {gain.score} against "
                f"{gain.reference}: {gain.gain:+.2f} ({interval_words(gain.over_configs)})."
            )
    if failed := sum(cell.failed for cell in study.cells):
        trainings = len(study.cells) * len(study.configs)
        yield f"{failed} of {trainings} trainings failed; each ranks last in its cell, tied with others that did."
    repeats = {cell.repeat for cell in study.cells if not cell.full}
    if len(repeats) == 1:
        yield "Subsets were drawn once: how much tau varies from draw to draw is not measured."


def study_unmeasured(study: Study) -> Iterator[str]:
    """Say what cannot be known from it."""
    if not study.finished:
        yield "The study is unfinished."
    if len(study.full) < 2:
        yield "All data were trained on from fewer than two seeds: the ceiling is not measured."


def calibration_words(study: Study) -> str:
    """Return what a calibration recommends, by what rule, and what it cost."""
    asked = study.calibration
    if asked is None:
        return "none was asked for"
    rows = calibration_rows(study, asked)
    rule = "the lower end of tau's 95 % interval" if asked.by == "lower" else "tau itself, whatever its interval,"
    chosen = recommended(study)
    if chosen is not None:
        verdict = (
            f"Recommended: --ratio {chosen:g}, the smallest tried at which {rule} is at least {asked.threshold:g}"
        )
    elif study.finished:
        verdict = (
            f"At no ratio tried {rule} is at least {asked.threshold:g}; more configurations narrow the interval"
        )
    else:
        verdict = "Not decided yet"
    tried = "; ".join(f"ratio {row.ratio:g}: tau {tau_words(row.tau, row.over_configs)}" for row in rows)
    on_all = sum(cell.samples for cell in study.full)
    spent = sum(cell.samples for cell in study.cells) + study.evidence_samples
    return (
        f"{verdict} (by {asked.score}, on subsets and on all data; {len(study.configs)} configurations). "
        f"{tried or 'No ratio tried yet'}. It cost {count(spent)} samples, {count(on_all)} of them on all data."
    )
