"""correlation.json: the cells of a study of how well training on subsets ranks configurations.

A cell is one training of all n configurations of the study: on all data, once a seed, or on subsets of a ratio
under a pairing of the random numbers, once a repeat. What the cells say together is `report.rank_study`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from raysubset.report.facts_file import StudyFile

STUDY_FILE = "correlation.json"
STUDY_SCHEMA = 1
SCORES = ("loss", "accuracy")
END = "end"

Scores = Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training of every configuration.

    Attributes:
        name: Its stage in records.jsonl.
        full: Trained on all data.
        ratio: Mean share of the data an epoch trained on; 1 for ``full``.
        way: How rows were chosen, where the study compares several; else "".
        pairing: Random numbers that its trials share.
        repeat: Of its ratio and pairing, or the number of its seed for ``full``; from 0.
        samples: Consumed by all its trials.
        wall_s: Seconds it took.
        scores: "end", and "epoch 1", ... where every epoch was judged -> "loss" and "accuracy" (on the validation
            split) -> one value a configuration, None for one that failed.
    """

    name: str
    full: bool
    ratio: float
    pairing: str
    repeat: int
    samples: int
    wall_s: float
    scores: Mapping[str, Scores]
    way: str = ""

    def goodness(self, score: str, at: str = END) -> NDArray[np.float64]:
        """Return float64[n], higher is better: accuracies, or losses negated; -inf for a failed configuration."""
        sign = -1.0 if score == "loss" else 1.0
        return np.array([-math.inf if value is None else sign * value for value in self.scores[at][score]])

    @property
    def failed(self) -> int:
        """How many configurations failed."""
        return sum(value is None for value in self.scores[END]["loss"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the ratio must do that a calibration recommends.

    Attributes:
        threshold: tau that had to hold.
        score: What subsets and all data were both judged by.
        pairing: Of the random numbers.
        by: "lower" (the lower end of tau's 95 % interval had to reach the threshold) or "estimate" (tau itself).
    """

    threshold: float
    score: str
    pairing: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Study(StudyFile):
    """What has been measured so far.

    Attributes:
        configs: The configurations, in the order of all scores.
        cells: Those that are finished.
        finished: Whether these are all.
        evidence_samples: Samples spent once, for what the selector knows beforehand.
        calibration: What was asked, None for a study that calibrates nothing.
        planned: Names of all cells in order (a calibration may need fewer); empty where nobody said.
    """

    FILE: ClassVar[str] = STUDY_FILE
    SCHEMA: ClassVar[int] = STUDY_SCHEMA
    WHAT: ClassVar[str] = "a study of rank correlation"

    configs: tuple[Mapping[str, Any], ...]
    cells: tuple[Cell, ...]
    finished: bool
    evidence_samples: int = 0
    calibration: Calibration | None = None
    planned: tuple[str, ...] = ()

    @property
    def full(self) -> tuple[Cell, ...]:
        """The cells on all data."""
        return tuple(cell for cell in self.cells if cell.full)

    def subsets(self, ratio: float, way: str, pairing: str) -> tuple[Cell, ...]:
        """Return the repeats of a ratio, way and pairing."""
        wanted = (ratio, way, pairing)
        return tuple(
            cell for cell in self.cells if not cell.full and (cell.ratio, cell.way, cell.pairing) == wanted
        )


def read_study(folder: Path) -> Study:
    """Read ``folder``/correlation.json; raises what `StudyFile.made` does."""
    return Study.made(folder, _study)


def _study(plain: Mapping[str, Any]) -> Study:
    return Study(
        configs=tuple(plain["configs"]),
        cells=tuple(_cell(cell) for cell in plain["cells"]),
        finished=plain["finished"],
        evidence_samples=plain["evidence_samples"],
        calibration=Calibration(**plain["calibration"]) if plain["calibration"] else None,
        planned=tuple(plain.get("planned", ())),
    )


def _cell(plain: Mapping[str, Any]) -> Cell:
    scores = {at: {score: tuple(values[score]) for score in SCORES} for at, values in plain["scores"].items()}
    return Cell(**{**plain, "scores": scores})
