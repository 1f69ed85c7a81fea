"""A stage of an architecture search: one Tune trial, resumable, reporting into our records."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback, CheckpointConfig, ResumeConfig
from ray.tune.experiment import Trial

from raysubset.errors import InterruptedRunError, SearchFailedError
from raysubset.report.driver import StagePlan, note_stage
from raysubset.report.records import RecordWriter, read_records
from raysubset.runtime.session import Slots
from raysubset.tuning.attendance import StopRequests
from raysubset.tuning.faults import RETRIES, Faults, stopping
from raysubset.tuning.nas_trainable import NasSetting, NasTrainable
from raysubset.tuning.recorder import Listener, Recorder
from raysubset.tuning.stage import environment
from raysubset.types import TrialRecord

ALPHAS_FILE = "alphas.jsonl"


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """A finished stage.

    Attributes:
        checkpoint: Folder of its last checkpoint.
        last: Its last record: samples, seconds, accuracies.
        train_s: Seconds of training and selection, summed over its epochs (starts and repeats left out).
    """

    checkpoint: Path
    last: TrialRecord
    train_s: float


def train_stage(
    stage: str, setting: NasSetting, slots: Slots, folder: Path, listener: Listener, planned: int
) -> TrainedNetwork:
    """Train the setting's network, or go on with it where its folder holds a part.

    Args:
        stage: Its name in records.jsonl; Tune's files go to ``folder``/tune/``stage``.
        setting: Data and experiment.
        slots: Resources of the trial.
        folder: The run's folder.
        listener: Follows the stage.
        planned: Samples it will consume, for the listener.

    Raises:
        SearchFailedError: The training diverged, or its process died more often than the failure policy allows.
        InterruptedRunError: Stopped before its end; what is done is kept.
    """
    with RecordWriter(folder / "records.jsonl") as writer:
        earlier = read_records(writer.path).stage(stage)
        recorder = Recorder(
            stage, setting.experiment.seed, writer, listener, earlier[-1].finished_s if earlier else 0.0
        )
        listener.stage_started(stage, 1, planned)
        note_stage(folder, stage, StagePlan(1, planned))
        alphas, requests = _Alphas(folder / ALPHAS_FILE), StopRequests(folder, stage)
        try:
            trial = _tune(stage, setting, slots, folder / "tune", [Faults(), recorder, alphas, requests])
        except Exception as error:
            if (stopped := stopping(error)) is None:
                raise
            raise InterruptedRunError(f"Stage {stage!r} was stopped: {stopped}.") from error
        finally:
            listener.stage_ended()
    rows = read_records(folder / "records.jsonl").stage(stage)
    if not rows or rows[-1].status == "running" or trial.checkpoint is None:
        if rows and rows[-1].status == "failed":
            raise SearchFailedError(f"Stage {stage!r} failed in epoch {rows[-1].epoch}: {rows[-1].reason}")
        raise InterruptedRunError(f"Stage {stage!r} was interrupted after {rows[-1].epoch if rows else 0} epochs.")
    if rows[-1].status == "failed":
        raise SearchFailedError(f"Stage {stage!r} failed in epoch {rows[-1].epoch}: {rows[-1].reason}")
    return TrainedNetwork(Path(trial.checkpoint.path), rows[-1], sum(row.train_s + row.select_s for row in rows))


def _tune(stage: str, setting: NasSetting, slots: Slots, folder: Path, callbacks: list[Callback]) -> Trial:
    """Call Ray Tune, quietly; resume what stands in its folder."""
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    resumes = any((folder / stage).glob("experiment_state-*.json"))
    with environment(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1", RAY_AIR_NEW_OUTPUT="0"):
        analysis = tune.run(
            tune.with_parameters(NasTrainable, setting=setting),
            name=stage,
            storage_path=str(folder.resolve()),
            config={"trial": stage, "point": {}},
            num_samples=1,
            resources_per_trial=slots.trial,
            max_failures=RETRIES,
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            callbacks=callbacks,
            raise_on_failed_trial=False,
            verbose=0,
            resume=resumes or None,
            resume_config=ResumeConfig(errored=ResumeConfig.ResumeType.SKIP) if resumes else None,  # type: ignore[arg-type]
        )
    trial: Trial = analysis.trials[0]
    return trial


class _Alphas(Callback):
    """Keeps the architecture's probabilities of every epoch, one line each: how the choice came about."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: Mapping[str, Any], **info: Any
    ) -> None:
        """Write a line where the network has an alpha."""
        if result["probabilities"]:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"epoch": result["epoch"], **result["probabilities"]}) + "\n")
