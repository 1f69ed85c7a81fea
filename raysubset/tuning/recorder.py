"""Turns what Tune hears from trials into our own records, and tells the listener."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any, Protocol

from ray.tune import Callback
from ray.tune.experiment import Trial

from raysubset.report.records import RecordWriter, read_records
from raysubset.report.requests import STOPPED_BY_REQUEST
from raysubset.tuning.faults import latest_error, reason
from raysubset.types import TrialRecord


class Listener(Protocol):
    """Whoever wants to follow a run while it goes on."""

    def stage_started(self, stage: str, trials: int, budget: float) -> None:
        """Hear that a stage begins: at most so many trials and samples."""
        ...

    def trial_started(self, trial: str) -> None:
        """Hear that a trial runs."""
        ...

    def recorded(self, record: TrialRecord) -> None:
        """Hear a trial's report."""
        ...

    def stage_ended(self) -> None:
        """Hear that the stage is over (or was interrupted)."""
        ...


class Recorder(Callback):
    """One line of records.jsonl for each report of each trial.

    Tune's own progress files lose rows when a trial resumes, so nothing is ever computed from them.

    Args:
        stage: Its name.
        seed: The experiment's seed.
        writer: Where records go; what stands there of this stage is known from the start.
        listener: Follows the run.
        elapsed_s: Seconds this stage ran before (a resumed run).
        asked: Trials whose end somebody asked for.
        budget_spent: Says whether there is nothing left to train with.
    """

    def __init__(
        self,
        stage: str,
        seed: int,
        writer: RecordWriter,
        listener: Listener,
        elapsed_s: float,
        asked: Container[str] = (),
        budget_spent: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stage, self._seed, self._writer, self._listener = stage, seed, writer, listener
        self._asked, self._budget_spent = asked, budget_spent
        self._started = perf_counter() - elapsed_s
        self._last: dict[str, TrialRecord] = {row.trial: row for row in read_records(writer.path).stage(stage)}

    @property
    def elapsed_s(self) -> float:
        """Seconds since the stage began, over all its sessions."""
        return perf_counter() - self._started

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note that a trial runs."""
        self._listener.trial_started(trial.config["trial"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: Mapping[str, Any], **info: Any
    ) -> None:
        """Write a report; the scheduler has decided already, so a stop shows in ``done``.

        It may also have given the trial another's configuration to go on with (PBT): the report names its own.
        """
        config = result.get("config", trial.config)
        stopped = result["status"] == "running" and bool(result.get("done"))
        scores: dict[str, Any] = {name: result.get(name) for name in _AT_MOST}
        self._keep(
            TrialRecord(
                stage=self._stage,
                trial=config["trial"],
                config=dict(config["point"]),
                status="stopped" if stopped else result["status"],
                reason=self._why_stopped(config["trial"]) if stopped else result["reason"],
                finished_s=self.elapsed_s,
                seed=self._seed,
                **{name: result[name] for name in _REPORTED},
                **scores,
            )
        )

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Close the account of a trial that was paused and never promoted; drop what Tune has computed of it."""
        _forget_statistics(trial)
        last = self._last.get(trial.config["trial"])
        if last is not None and last.status == "running":
            self._keep(replace(last, status="stopped", reason=self._why_stopped(last.trial)))

    def _why_stopped(self, trial: str) -> str:
        if trial in self._asked:
            return STOPPED_BY_REQUEST
        return "the budget is spent" if self._budget_spent() else "not among the best at its rung"

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Write why a trial died: its process, not its loss, failed."""
        name = trial.config["trial"]
        error = latest_error(trial)
        last = self._last.get(name)
        self._keep(
            TrialRecord(
                stage=self._stage,
                trial=name,
                epoch=last.epoch + 1 if last else 1,
                epochs=last.epochs if last else 1,
                config=dict(trial.config["point"]),
                status="failed",
                reason="its worker died" if error is None else reason(error),
                samples_consumed=last.samples_consumed if last else 0,
                equiv_epochs=last.equiv_epochs if last else 0.0,
                ratio=0.0,
                metric_used="none",
                train_loss=float("nan"),
                train_s=0.0,
                select_s=0.0,
                eval_s=0.0,
                finished_s=self.elapsed_s,
                seed=self._seed,
            )
        )

    def _keep(self, record: TrialRecord) -> None:
        self._last[record.trial] = record
        self._writer.append(record)
        self._listener.recorded(record)


def _forget_statistics(trial: Trial) -> None:
    """Drop the extremes, means and windows Tune has computed of each metric: most of what a trial leaves behind.

    Nothing reads them, records hold every report; the state that Tune saves of the search grows with them.
    """
    trial.metric_analysis.clear()
    trial.metric_n_steps.clear()
    trial.run_metadata.invalidate_cache()  # type: ignore[no-untyped-call]  # the text of them


_AT_MOST = ("val_rmse", "val_r2", "test_loss", "test_accuracy", "test_rmse", "test_r2")  # by task and stage
_REPORTED = (
    "epoch",
    "epochs",
    "samples_consumed",
    "equiv_epochs",
    "ratio",
    "metric_used",
    "train_loss",
    "train_s",
    "select_s",
    "eval_s",
    "rung",
    "val_loss",
    "val_accuracy",
    "node",
    "peak_bytes",
)
