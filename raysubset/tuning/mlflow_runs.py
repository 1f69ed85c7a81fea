"""MLflow: an experiment a run of ours, a run of theirs a trial."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from raysubset.tuning.tracking import scalars
from raysubset.types import TrialRecord

DATABASE = "mlflow.db"
_STATUS = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MlflowRuns:
    """Tells MLflow of every record: the server that MLFLOW_TRACKING_URI names, else a file in the run's folder.

    A trial that is resumed goes on in the run it had. Cost: one call of MLflow's client a record.

    Args:
        run: Names the experiment.
        folder: Of our run.
    """

    def __init__(self, run: str, folder: Path) -> None:
        from mlflow import MlflowClient  # a second that only those who ask for it should pay

        self._local = f"sqlite:///{(folder / DATABASE).resolve()}"
        self._folder, self._run, self._stage = folder, run, ""
        self._runs: dict[str, str] = {}
        self._client = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or self._local)
        self._experiment = ""

    def stage_started(self, stage: str, trials: int, budget: float) -> None:
        """Find the experiment, or make it; learn which trials have runs already."""
        known = self._client.get_experiment_by_name(self._run)
        self._experiment = known.experiment_id if known else self._client.create_experiment(
            self._run, artifact_location=(self._folder / "mlflow").resolve().as_uri()
        )  # fmt: skip
        self._stage = stage
        found = self._client.search_runs([self._experiment], f"tags.stage = '{stage}'", max_results=50_000)
        self._runs = {run.data.tags["trial"]: run.info.run_id for run in found}

    def trial_started(self, trial: str) -> None:
        """Ignore: a run begins with the first record, which has the configuration."""

    def recorded(self, record: TrialRecord) -> None:
        """Log a record; its step is the samples consumed."""
        from mlflow.entities import Metric, Param

        now, parameters = int(time.time() * 1000), []
        if record.trial not in self._runs:
            tags = {"trial": record.trial, "stage": record.stage}
            name = f"{record.stage}/{record.trial}"
            self._runs[record.trial] = self._client.create_run(
                self._experiment, run_name=name, tags=tags
            ).info.run_id
            parameters = [Param(name, str(value)) for name, value in record.config.items()]
        run: Any = self._runs[record.trial]
        metrics = [Metric(name, value, now, record.samples_consumed) for name, value in scalars(record).items()]
        self._client.log_batch(run, metrics=metrics, params=parameters)
        if record.status in _STATUS:
            self._client.set_terminated(run, _STATUS[record.status])

    def stage_ended(self) -> None:
        """Nothing is open: every record was handed over when it came."""
