"""What a study of rank correlation found, what weakens it and what it cannot tell, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from raysubset.report.rank_cells import END, Study
from raysubset.report.rank_gains import Gain, pairing_gains, way_gains
from raysubset.report.rank_study import RankRow, calibration_rows, rank_rows, recommended
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
        *(("ways of choosing rows", _gain_sentence(gain)) for gain in _telling(study)),
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
                    f"{_place(row).capitalize()}, pairing {row.pairing}: the loss on subsets ranks "
                    f"{len(study.configs)} configurations like the accuracy on all data with tau "
                    f"{words}, at {percent(row.cost)} of the cost."
                )
    yield from (_gain_sentence(gain) for gain in _telling(study) if _is_above(gain))


def _place(row: RankRow | Gain) -> str:
    return f"ratio {row.ratio:g}" + (f", {row.way}" if row.way else "")


def _telling(study: Study) -> list[Gain]:
    """The gains that sentences are made of: what a search ranks by against what is wanted of it."""
    return [gain for gain in way_gains(study) if (gain.score, gain.reference) == ("loss", "accuracy")]


def _is_above(gain: Gain) -> bool:
    return gain.over_configs is not None and gain.over_configs.low > 0


def _gain_sentence(gain: Gain) -> str:
    """Say plainly whether a way of choosing rows ranks better than the first."""
    interval = gain.over_configs
    if interval is None:
        verdict = "is not told from"
    else:
        verdict = "beats" if interval.low > 0 else "ranks worse than" if interval.high < 0 else "is not told from"
    return (
        f"{_place(gain).capitalize()}, pairing {gain.pairing}: {gain.way} {verdict} {gain.over} in ranking by "
        f"loss what all data rank by accuracy: tau {gain.gain:+.2f} ({interval_words(interval)} over "
        "configurations)."
    )


def study_against(study: Study) -> Iterator[str]:
    """Say what weakens it."""
    for gain in pairing_gains(study):
        if gain.gain < 0:
            yield (
                f"Pairing {gain.pairing} ranks worse than none at {_place(gain)}, by {gain.score} against "
                f"{gain.reference}: {gain.gain:+.2f} ({interval_words(gain.over_configs)})."
            )
    yield from (_gain_sentence(gain) for gain in _telling(study) if not _is_above(gain))
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
    chosen = recommended(study) if study.finished else None  # a repeat that is missing may change it
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
