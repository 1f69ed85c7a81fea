"""run.json: what was asked of a run and what came out, beside the records that show how.

The runner writes it when the run starts and again after every stage, so that an interrupted run still says
what it was. Parts not known yet are left out; the report shows them as "not measured".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from raysubset.errors import RecordError
from raysubset.report.atomic import write_text
from raysubset.report.facts_file import build, finite, parse_facts, read_facts
from raysubset.report.secrets import redacted

RUN_FILE = "run.json"
RUN_SCHEMA = 1
SCORES = ("loss", "accuracy")
TASKS = ("classification", "regression")
STAGES = ("search", "search-full", "retrain", "retrain-full")


@dataclass(frozen=True, slots=True)
class StageInfo:
    """What one stage cost, as the runner counted it.

    Attributes:
        wall_s: Seconds from the start of the stage to its end (to the last write, when unfinished).
        samples: Samples consumed by all its trials, work repeated after a resume included.
        trials: Trials started.
        finished: Whether the stage came to its own end.
        planned_samples: Samples the stage would consume if no trial were stopped early, or None.
        energy_j: Joules that the CPU packages of the driver's machine took, None where no counter can be read.
    """

    wall_s: float
    samples: int
    trials: int
    finished: bool
    planned_samples: int | None = None
    energy_j: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a search found, after the best configuration was trained again.

    Accuracies are shares in [0, 1]; a regression has RMSE (in units of the targets) and R2 (at most 1) in their
    place. None means not measured.
    """

    best_config: Mapping[str, Any]
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    test_loss: float | None = None
    retrain_epochs: int | None = None
    retrain_samples: int | None = None
    retrain_wall_s: float | None = None
    val_rmse: float | None = None
    val_r2: float | None = None
    test_rmse: float | None = None
    test_r2: float | None = None

    @property
    def validated(self) -> bool:
        """True where a retrained configuration was judged on the validation rows."""
        return self.val_accuracy is not None or self.val_rmse is not None

    @property
    def tested(self) -> bool:
        """True where it was judged on the test rows."""
        return self.test_accuracy is not None or self.test_rmse is not None


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The facts of one run.

    Attributes:
        name: The run's name.
        dataset: The data set really used, which may be another than the one asked for.
        dataset_source: Where it came from, e.g. a folder, or "embedded".
        n_train, n_validation, n_test: Rows of each split; ``n_train`` is the pool that subsets are drawn from.
        model: The model's name.
        selector, metric, ratio, schedule, budget, first_epoch: The subset plan; ``ratio`` in (0, 1].
        search, scheduler: How configurations are proposed and stopped.
        score: What ranks trials: "loss" (validation, lower is better) or "accuracy" (higher is better).
        task: "classification", or "regression": losses are mean squared errors, and there are no accuracies.
        trials, epochs: Trials planned and epochs planned for each.
        seed: The experiment's seed.
        device: E.g. "cpu" or "cuda:0".
        command: The command line that repeats the run.
        started: ISO 8601 time of the start.
        versions: Package name -> version.
        dataset_note: What was tried when the data set is not the one asked for, else "".
        settings: Every other option of the experiment, nested as in its file.
        stages: Stage name -> what it cost; stages not begun are absent.
        result, result_full: What the search, and the comparison search on all data, found.
        watts: Power of the machine as its owner says, for an estimate of energy; None where nobody said.

    Raises:
        RecordError: A count, share or score is out of range; all faults are named together.
    """

    name: str
    dataset: str
    dataset_source: str
    n_train: int
    n_validation: int
    n_test: int
    model: str
    selector: str
    metric: str
    ratio: float
    schedule: str
    budget: str
    first_epoch: str
    search: str
    scheduler: str
    score: str
    trials: int
    epochs: int
    seed: int
    device: str
    command: str
    started: str
    versions: Mapping[str, str] = field(default_factory=dict)
    dataset_note: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, StageInfo] = field(default_factory=dict)
    result: Result | None = None
    result_full: Result | None = None
    watts: float | None = None
    task: str = "classification"
    schema: int = RUN_SCHEMA

    def __post_init__(self) -> None:
        lowest = {"n_train": 1, "n_validation": 0, "n_test": 0, "trials": 1, "epochs": 1}
        faults = [
            f"{key} must be >= {low}, got {value}"
            for key, low in lowest.items()
            if (value := getattr(self, key)) < low
        ]
        if not 0.0 < self.ratio <= 1.0:
            faults.append(f"ratio must be in (0, 1], got {self.ratio}")
        if self.score not in SCORES:
            faults.append(f"score must be one of {', '.join(SCORES)}, got {self.score!r}")
        if self.task not in TASKS:
            faults.append(f"task must be one of {', '.join(TASKS)}, got {self.task!r}")
        if unknown := sorted(set(self.stages) - set(STAGES)):
            faults.append(f"stages must be among {', '.join(STAGES)}, got {', '.join(unknown)}")
        if self.watts is not None and not 0 < self.watts < math.inf:
            faults.append(f"watts must be > 0, got {self.watts}")
        for key in ("result", "result_full"):
            faults += _result_faults(key, getattr(self, key), self.n_test)
        if faults:
            raise RecordError(f"Run {self.name!r}: " + "; ".join(faults))

    @property
    def regression(self) -> bool:
        """True where the targets are numbers."""
        return self.task == "regression"

    @property
    def unit(self) -> str:
        """What `score` is measured in."""
        return ("squared error" if self.regression else "nats") if self.score == "loss" else "share"

    def to_json(self) -> str:
        """Return strict, indented JSON; non-finite floats become null."""
        return json.dumps(finite(asdict(self)), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunInfo:
        """Read what `to_json` wrote.

        Raises:
            RecordError: Not JSON, another schema, fields missing, unknown or out of range.
        """
        return cls._of(parse_facts(text, RUN_SCHEMA, "a run"))

    @classmethod
    def _of(cls, row: dict[str, Any]) -> RunInfo:
        for key in ("result", "result_full"):
            if row.get(key) is not None:
                row[key] = build(Result, row[key], key)
        stages = row.get("stages", {})
        if not isinstance(stages, dict):
            raise RecordError(f"Run facts: stages must be a mapping, got {stages!r}.")
        row["stages"] = {name: build(StageInfo, facts, f"stages.{name}") for name, facts in stages.items()}
        return build(cls, row, "run")

    def write(self, folder: Path) -> Path:
        """Write ``folder``/run.json in one step, secrets hidden, and return its path; raises StorageError."""
        write_text(folder / RUN_FILE, redacted(self.to_json(), indent=2))
        return folder / RUN_FILE

    @classmethod
    def read(cls, folder: Path) -> RunInfo:
        """Read ``folder``/run.json.

        Raises:
            StorageError: The file cannot be read; is the folder that of a run?
            RecordError: Its content is not that of a run; the message names the file.
        """
        path = folder / RUN_FILE
        row = read_facts(path, RUN_SCHEMA, "a run")
        try:
            return cls._of(row)
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error


def _result_faults(key: str, result: Result | None, n_test: int) -> list[str]:
    """Check scores, and that those on test rows come with test rows (an interval needs their number)."""
    if result is None:
        return []
    shares = (("val_accuracy", result.val_accuracy), ("test_accuracy", result.test_accuracy))
    faults = [f"{key}.{name} must be in [0, 1], got {share}" for name, share in shares
              if share is not None and not 0.0 <= share <= 1.0]  # fmt: skip
    faults += [f"{key}.{name} must be >= 0, got {value}" for name in ("val_rmse", "test_rmse")
               if (value := getattr(result, name)) is not None and not value >= 0]  # fmt: skip
    faults += [f"{key}.{name} must be at most 1, got {value}" for name in ("val_r2", "test_r2")
               if (value := getattr(result, name)) is not None and not value <= 1]  # fmt: skip
    faults += [f"{key}.{name} is given, but n_test is 0" for name in ("test_accuracy", "test_rmse", "test_r2")
               if getattr(result, name) is not None and n_test == 0]  # fmt: skip
    return faults
