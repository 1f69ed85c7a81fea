"""comparison.json: a study of normal trainings that differ in how they choose their rows.

The file says what is compared; what came of it stands in records.jsonl, a trial a training, whose config is
{"plan": name of the way, "seed": s}. So a study is read the same while it goes on, after it was interrupted and at
its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from raysubset.errors import RecordError
from raysubset.report.facts_file import StudyFile
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.report.trials import by_trial
from raysubset.types import TrialRecord

COMPARISON_FILE = "comparison.json"
COMPARISON_SCHEMA = 1
STAGE = "train"  # what the names of its stages begin with
ENDED = ("done", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of choosing rows.

    Attributes:
        name: In records, unique.
        method: "asp-loss", "adaptive-random", "full", ...: equal for all schedules and ratios.
        schedule: "static" or "dynamic".
        ratio: Mean share of the rows, in (0, 1].
        against: The way it is compared with, of equal samples; "" for none.
        taken_by: What chooses in its place, where it would have cost more than it saved; else "".
        details: Options that tell it from others of its method, in words; else "".
    """

    name: str
    method: str
    schedule: str
    ratio: float
    against: str = ""
    taken_by: str = ""
    details: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training that has ended.

    Attributes:
        way, seed: Which.
        reason: Why it failed; "" if it did not.
        accuracy, loss: On the rows of the study's ``judged_on``; None if it failed.
        r2, rmse: The same of a regression, which has no accuracy.
        samples: Consumed.
        train_s, select_s, eval_s: Seconds.
    """

    way: str
    seed: int
    reason: str
    accuracy: float | None
    loss: float | None
    samples: int
    train_s: float
    select_s: float
    eval_s: float
    r2: float | None = None
    rmse: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds of training, selection and evaluation."""
        return self.train_s + self.select_s + self.eval_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(StudyFile):
    """What is compared.

    Attributes:
        ways: In the order of the tables.
        seeds: Each way is trained once with each.
        full_samples: What a training on all rows consumes.
        judged_on: "test", or "validation" where the data set has no test rows.
        plans: Name of a way -> the options of its plan that are no defaults.
        notes: What a reader of the tables must know.
        measure: What the ways are compared by: "accuracy", or "R2" of a regression; shares, the more the better.
    """

    FILE: ClassVar[str] = COMPARISON_FILE
    SCHEMA: ClassVar[int] = COMPARISON_SCHEMA
    WHAT: ClassVar[str] = "a study of trainings"

    ways: tuple[Way, ...]
    seeds: tuple[int, ...]
    full_samples: int
    judged_on: str
    plans: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()
    measure: str = "accuracy"

    def way(self, name: str) -> Way:
        """Return the way of a name."""
        return next(way for way in self.ways if way.name == name)

    def score(self, training: Training) -> float | None:
        """Return a training's `measure`, None if it failed."""
        return training.r2 if self.measure == "R2" else training.accuracy


def read_comparison(folder: Path) -> Comparison:
    """Read ``folder``/comparison.json; raises what `StudyFile.made` does."""
    return Comparison.made(folder, _comparison)


def _comparison(plain: Mapping[str, Any]) -> Comparison:
    return Comparison(
        ways=tuple(Way(**way) for way in plain["ways"]),
        seeds=tuple(plain["seeds"]),
        full_samples=plain["full_samples"],
        judged_on=plain["judged_on"],
        plans=plain["plans"],
        notes=tuple(plain["notes"]),
        measure=plain.get("measure", "accuracy"),  # older studies are of classes
    )


def read_trainings(folder: Path, comparison: Comparison) -> tuple[Training, ...]:
    """Return the trainings that have ended, in the order of ways, then seeds.

    Raises:
        StorageError, RecordError: The records cannot be read, or are of other ways.
    """
    path = folder / RECORDS_FILE
    rows = read_records(path).rows if path.exists() else ()
    stages = dict.fromkeys(row.stage for row in rows if row.stage.startswith(STAGE))
    trials = [trial for stage in stages for trial in by_trial(r for r in rows if r.stage == stage).values()]
    found = {
        (training.way, training.seed): training
        for reports in trials
        if reports[-1].status in ENDED
        for training in (_training(reports, comparison),)
    }
    return tuple(found[way.name, seed] for way in comparison.ways for seed in comparison.seeds
                 if (way.name, seed) in found)  # fmt: skip


def _training(reports: Sequence[TrialRecord], comparison: Comparison) -> Training:
    """Digest one trial's reports."""
    last = reports[-1]
    if last.config.get("plan") not in {way.name for way in comparison.ways}:
        raise RecordError(
            f"Trial {last.trial} of stage {last.stage!r} was of {dict(last.config)}, none of this study's. "
            f"Its ways: {', '.join(way.name for way in comparison.ways)}."
        )
    tested = comparison.judged_on == "test"
    return Training(
        way=str(last.config["plan"]),
        seed=int(last.config["seed"]),
        reason=last.reason if last.status == "failed" else "",
        accuracy=last.test_accuracy if tested else last.val_accuracy,
        loss=last.test_loss if tested else last.val_loss,
        samples=max(row.samples_consumed for row in reports),
        train_s=sum(row.train_s for row in reports),
        select_s=sum(row.select_s for row in reports),
        eval_s=sum(row.eval_s for row in reports),
        r2=last.test_r2 if tested else last.val_r2,
        rmse=last.test_rmse if tested else last.val_rmse,
    )
