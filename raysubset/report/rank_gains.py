"""What one way of training adds to tau over another, on the same configurations and repeats.

    gain = tau of the one - tau of the other, repeat by repeat, mean over repeats

Of a pairing over unpaired trials, and of a way of choosing rows over the first way of the study (adaptive random,
where it is one). Both sides meet the same configurations, seeds on all data and resamples, so the intervals are
paired; they are those of `report.rank_study`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from raysubset.report.agreement import bootstrap_interval
from raysubset.report.intervals import Estimate, student
from raysubset.report.rank_cells import SCORES, Study
from raysubset.report.rank_study import (
    RankRow,
    cell_taus,
    kinds,
    mean_of,
    rank_rows,
    recommended,
    score_pairs,
)

UNPAIRED = "none"
Kind = tuple[float, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What one way of training adds to tau.

    Attributes:
        ratio, way, pairing, score, reference: As in `RankRow`, at the end of training.
        over: What it is compared with: the pairing "none", or a way of choosing rows.
        gain: Mean difference of tau; nan if either is not defined.
        over_configs, over_repeats: gain with its 95 % intervals, see `RankRow`.
    """

    ratio: float
    way: str
    pairing: str
    score: str
    reference: str
    over: str
    gain: float
    over_configs: Estimate | None
    over_repeats: Estimate | None


def pairing_gains(study: Study) -> tuple[Gain, ...]:
    """Return what each pairing adds to tau over unpaired training, at the end, over the repeats both have."""
    asked = [(kind, (kind[0], kind[1], UNPAIRED), UNPAIRED) for kind in kinds(study) if kind[2] != UNPAIRED]
    return tuple(_gains(study, asked))


def way_gains(study: Study) -> tuple[Gain, ...]:
    """Return what each way of choosing rows adds to tau over the study's first, at the end; none of one way."""
    found = kinds(study)
    first = found[0][1] if found else ""
    return tuple(_gains(study, [(kind, (kind[0], first, kind[2]), first) for kind in found if kind[1] != first]))


def _gains(study: Study, asked: list[tuple[Kind, Kind, str]]) -> Iterator[Gain]:
    for reference, score, (kind, base, over) in product(SCORES[::-1], SCORES, asked):
        theirs = {cell.repeat: cell for cell in study.subsets(*base)}
        ours = [cell for cell in study.subsets(*kind) if cell.repeat in theirs]
        if not ours or not study.full:
            continue
        our_taus, our_resamples = cell_taus(score_pairs(study, ours, score, reference))
        matched = [theirs[cell.repeat] for cell in ours]
        their_taus, their_resamples = cell_taus(score_pairs(study, matched, score, reference))
        differences = [a - b for a, b in zip(our_taus, their_taus, strict=True)]
        gain = mean_of(differences)
        ratio, way, pairing = kind
        yield Gain(
            ratio=ratio,
            way=way,
            pairing=pairing,
            score=score,
            reference=reference,
            over=over,
            gain=gain,
            over_configs=bootstrap_interval(
                gain, (our_resamples - their_resamples).mean(axis=0), len(study.configs)
            ),
            over_repeats=student(differences),
        )


def derived(study: Study) -> dict[str, Any]:
    """Return rows, gains and the ratio recommended in JSON's types; what is not defined is null."""
    return {
        "rows": [_plain(row) for row in rank_rows(study)],
        "gains": [_plain(gain) for gain in (*pairing_gains(study), *way_gains(study))],
        "recommended_ratio": recommended(study),
    }


def _plain(row: RankRow | Gain) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(row).items()
    }
