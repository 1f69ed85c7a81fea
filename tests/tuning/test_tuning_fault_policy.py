"""What a stage does about broken trials: retries granted, waits, trials given up, stages stopped."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from ray import exceptions

from raysubset.errors import StorageError
from raysubset.runtime.failure import SelectorLostError
from raysubset.tuning import faults
from raysubset.tuning.faults import RETRIES, Faults, StageStopped, latest_error, reason

DEAD = exceptions.RayActorError(
    error_msg="The actor died unexpectedly before finishing this task.\nid: 1\nSIGKILL"
)
NODE = exceptions.RayActorError(error_msg="The actor died because its node has died. Node Id: f0")
KILLED = exceptions.RayActorError(error_msg="Task was killed due to the node running low on memory.")
FULL = OSError(errno.ENOSPC, "No space left on device")
UNREADABLE = StorageError("Cannot read checkpoint.pt: truncated, or not a raysubset checkpoint")


class BrokenTrial:
    """As Tune hands it over: the error lies in a file."""

    def __init__(self, folder: Path, name: str = "a") -> None:
        self.trial_id, self.num_failures, self.max_failures = name, 0, RETRIES
        self.is_restoring = False
        self.pickled_error_file: str | None = None
        self._path = folder / f"{name}.pkl"

    def breaks(self, error: Exception, restoring: bool = False) -> Any:
        self.num_failures += 1
        self.is_restoring, self.pickled_error_file = restoring, str(self._path)
        self._path.write_bytes(cloudpickle.dumps(error))
        os.utime(self._path, ns=(self.num_failures, self.num_failures))
        return self


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    told: list[float] = []
    monkeypatch.setattr(faults, "sleep", told.append)
    return told


def test_a_dead_worker_is_within_tunes_own_count(tmp_path, waits) -> None:
    judge, trial = Faults(), BrokenTrial(tmp_path)
    for _ in range(RETRIES):
        judge.met(trial.breaks(DEAD))
    assert trial.max_failures == RETRIES == 2
    assert waits == [0.0, 0.0]


def test_a_dead_node_is_not_the_trials_doing(tmp_path, waits) -> None:
    judge, trial = Faults(), BrokenTrial(tmp_path)
    for number in range(8):
        judge.met(trial.breaks(NODE))
        assert trial.max_failures == RETRIES + number + 1
        judge.met(trial)  # told again, as a callback
    assert trial.max_failures == RETRIES + 8
    judge.met(trial.breaks(NODE))
    assert trial.max_failures == 0


def test_memory_is_waited_for(tmp_path, waits) -> None:
    judge, trial = Faults(), BrokenTrial(tmp_path)
    judge.met(trial.breaks(KILLED))
    judge.met(trial.breaks(KILLED))
    judge.met(BrokenTrial(tmp_path, "b").breaks(KILLED))
    assert waits == [2.0, 4.0, 2.0]


def test_what_would_fail_again_is_not_tried_for_ever(tmp_path, waits) -> None:
    judge, trial = Faults(), BrokenTrial(tmp_path)
    judge.met(trial.breaks(ZeroDivisionError("their bug")))
    assert trial.max_failures == 0
    judge, trial = Faults(), BrokenTrial(tmp_path)
    judge.met(trial.breaks(UNREADABLE, restoring=True))
    assert trial.max_failures == 0


def test_a_full_disk_is_tried_once_more_and_then_stops_the_stage(tmp_path, waits) -> None:
    judge, trial = Faults(), BrokenTrial(tmp_path)
    judge.met(trial.breaks(FULL))
    assert (trial.max_failures, waits) == (RETRIES + 1, [1.0])
    with pytest.raises(StageStopped, match="storage lost: OSError: .*No space left"):
        judge.met(trial.breaks(FULL))


@pytest.mark.parametrize(
    "error", [SelectorLostError("it did not come back"), exceptions.ObjectLostError("00" * 28, None, "")]
)
def test_what_meets_every_trial_stops_the_stage_at_once(tmp_path, waits, error) -> None:
    with pytest.raises(StageStopped, match=r"^(selector|driver) lost: "):
        Faults().met(BrokenTrial(tmp_path).breaks(error))
    assert waits == []


def test_no_news_is_no_fault(tmp_path, waits) -> None:
    trial: Any = BrokenTrial(tmp_path)
    Faults().met(trial)
    trial.pickled_error_file = str(tmp_path / "none.pkl")
    assert latest_error(trial) is None
    Faults().met(trial)


def test_reasons_are_one_line() -> None:
    assert reason(DEAD) == "The actor died unexpectedly before finishing this task. SIGKILL"
    assert reason(ZeroDivisionError("a\nb")) == "ZeroDivisionError: a"
    assert reason(ZeroDivisionError()) == "ZeroDivisionError"
    assert reason(UNREADABLE) == str(UNREADABLE)
