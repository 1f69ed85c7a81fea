"""TensorBoard's files byte by byte; MLflow and Weights & Biases where they are installed; secrets nowhere."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raysubset.errors import OptionsError, TrackingWarning, UnknownNameError
from raysubset.tuning.event_files import EventFiles
from raysubset.tuning.progress import Silent
from raysubset.tuning.tracking import Tracked, check_trackers, followed, scalars
from raysubset.types import TrialRecord


def record(trial: str = "0000", epoch: int = 1, status: str = "running", **changes: Any) -> TrialRecord:
    facts: dict[str, Any] = {
        "stage": "search", "trial": trial, "epoch": epoch, "epochs": 3, "config": {"lr": 0.25, "optimizer": "sgd"},
        "status": status, "reason": "", "samples_consumed": 100 * epoch, "equiv_epochs": 0.25 * epoch,
        "ratio": 0.25, "metric_used": "loss", "train_loss": 2.0 / epoch, "train_s": 0.5, "select_s": 0.0,
        "eval_s": 0.0, "finished_s": 1.0 * epoch, "seed": 0, "val_loss": None, "val_accuracy": None, "rung": None,
    }  # fmt: skip
    return TrialRecord(**{**facts, **changes})


def test_only_what_was_measured_is_told() -> None:
    told = scalars(record(train_loss=float("nan"), val_loss=float("inf"), val_accuracy=0.5, rung=1))
    assert "train_loss" not in told
    assert "val_loss" not in told
    assert (told["val_accuracy"], told["rung"], told["samples_consumed"]) == (0.5, 1.0, 100.0)
    regression = scalars(record(val_loss=0.5, val_rmse=0.75, val_r2=-0.25))
    assert (regression["val_rmse"], regression["val_r2"]) == (0.75, -0.25)
    assert "val_accuracy" not in regression


# ------------------------------------------------------------------ TensorBoard


def crc32c(data: bytes) -> int:
    """Castagnoli's polynomial, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def messages(content: bytes) -> Iterator[dict[int, list[Any]]]:
    """The events of a file, as field number -> values, checksums verified."""
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        assert struct.unpack("<I", content[8:12])[0] == masked(content[:8])
        data = content[12 : 12 + length]
        assert struct.unpack("<I", content[12 + length : 16 + length])[0] == masked(data)
        yield fields(data)
        content = content[16 + length :]


def fields(data: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    while data:
        key, data = varint(data)
        if key & 7 == 0:
            value, data = varint(data)
        elif key & 7 == 1:
            value, data = struct.unpack("<d", data[:8])[0], data[8:]
        elif key & 7 == 5:
            value, data = struct.unpack("<f", data[:4])[0], data[4:]
        else:
            length, data = varint(data)
            value, data = data[:length], data[length:]
        found.setdefault(key >> 3, []).append(value)
    return found


def varint(data: bytes) -> tuple[int, bytes]:
    value = shift = 0
    for place, byte in enumerate(data):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, data[place + 1 :]
    raise AssertionError("cut short")


WALL_TIME, STEP, VERSION, SUMMARY = 1, 2, 3, 5  # of an Event
VALUE, TAG, NUMBER = 1, 1, 2  # of a Summary, and of its values


def curve(path: Path, tag: str) -> list[tuple[int, float]]:
    points = []
    for event in messages(path.read_bytes()):
        for summary in event.get(SUMMARY, []):
            for value in map(fields, fields(summary).get(VALUE, [])):
                if value[TAG] == [tag.encode()] and NUMBER in value:
                    points.append((event.get(STEP, [0])[0], value[NUMBER][0]))
    return points


def test_crc_of_the_oracle() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, and every catalogue of checksums


def written(folder: Path) -> list[Path]:
    files = EventFiles(folder)
    files.stage_started("search", 2, 600.0)
    for epoch in (1, 2, 3):
        for trial in ("0000", "0001"):
            files.trial_started(trial)
            judged = {"val_loss": 1.0 / epoch, "val_accuracy": epoch / 8, "rung": 0} if epoch == 3 else {}
            files.recorded(record(trial, epoch, "done" if epoch == 3 else "running", **judged))
    files.stage_ended()
    return sorted(folder.rglob("events.out.tfevents.*"))


def test_every_trial_has_a_file_of_curves(tmp_path) -> None:
    paths = written(tmp_path)
    assert [path.parent.relative_to(tmp_path) for path in paths] == [
        Path("tensorboard/search/0000"),
        Path("tensorboard/search/0001"),
    ]
    for path in paths:
        first = next(messages(path.read_bytes()))
        assert first[VERSION] == [b"brain.Event:2"]
        assert first[WALL_TIME][0] > 1.7e9
        assert curve(path, "train_loss") == [(100, 2.0), (200, 1.0), (300, pytest.approx(2 / 3))]
        assert curve(path, "val_accuracy") == [(300, 0.375)]
        assert curve(path, "select_s") == [(100, 0.0), (200, 0.0), (300, 0.0)]
        assert b"_hparams_/session_start_info" in path.read_bytes()
        assert b"optimizer" in path.read_bytes()


def test_a_resumed_trial_begins_a_file_of_its_own(tmp_path) -> None:
    assert len(written(tmp_path)) == 2
    assert len(written(tmp_path)) == 4


def test_nothing_stays_open(tmp_path) -> None:
    import psutil

    before = psutil.Process().num_fds(), psutil.Process().num_threads()
    written(tmp_path)
    assert (psutil.Process().num_fds(), psutil.Process().num_threads()) == before


def test_tensorboard_reads_them(tmp_path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for path in written(tmp_path):
        accumulator = accumulators.EventAccumulator(str(path.parent))
        accumulator.Reload()
        assert [(e.step, e.value) for e in accumulator.Scalars("train_loss")][:2] == [(100, 2.0), (200, 1.0)]
        assert "_hparams_/session_start_info" in accumulator.summary_metadata


# ------------------------------------------------------------------ trackers must not cost a search its life


class Heard(Silent):
    def __init__(self) -> None:
        self.events: list[str] = []

    def stage_started(self, stage: str, trials: int, budget: float) -> None:
        self.events.append(stage)

    def trial_started(self, trial: str) -> None:
        self.events.append(trial)

    def recorded(self, record: TrialRecord) -> None:
        self.events.append(f"{record.trial}.{record.epoch}")

    def stage_ended(self) -> None:
        self.events.append("end")


class Broken(Heard):
    def recorded(self, record: TrialRecord) -> None:
        raise ConnectionError("server gone\nand more")


def story(listener: Any) -> None:
    listener.stage_started("search", 1, 100.0)
    listener.trial_started("0000")
    listener.recorded(record(epoch=1))
    listener.recorded(record(epoch=2))
    listener.stage_ended()


def test_a_tracker_that_fails_is_left_out_aloud_and_alone() -> None:
    own, broken, other = Heard(), Broken(), Heard()
    with pytest.warns(TrackingWarning, match="Broken is told no more.*ConnectionError: server gone$") as warned:
        story(Tracked(own, (broken, other)))
    assert len(warned) == 1
    assert own.events == other.events == ["search", "0000", "0000.1", "0000.2", "end"]
    assert broken.events == ["search", "0000"]


def test_the_errors_of_the_runs_own_listener_are_the_runs() -> None:
    with pytest.raises(ConnectionError):
        story(Tracked(Broken(), (Heard(),)))


def test_what_is_missing_is_said_before_anything_is_done(monkeypatch, tmp_path) -> None:
    with pytest.raises(UnknownNameError, match=r"tracker 'mflow'.*Did you mean 'mlflow'"):
        check_trackers(["mflow"])
    monkeypatch.setattr("raysubset.tuning.tracking.find_spec", lambda name: None)
    with pytest.raises(OptionsError, match=r"pip install 'raysubset\[mlflow\]'.*pip install 'raysubset\[wandb\]'"):
        followed(Silent(), ("mlflow", "wandb"), "r", tmp_path)
    assert not list(tmp_path.iterdir())
    own = Silent()
    assert followed(own, (), "r", tmp_path) is own


# ------------------------------------------------------------------ the services themselves, where installed


SECRET = "5ec4e7" * 7


@pytest.fixture
def no_secret_left(tmp_path, monkeypatch) -> Iterator[Path]:
    for name in ("WANDB_API_KEY", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRET)
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def tracked_story(listener: Any) -> None:
    """Two sessions of a stage: a trial that ends, one that is interrupted and goes on, one that fails."""
    listener.stage_started("search", 3, 900.0)
    for epoch in (1, 2, 3):
        listener.recorded(record("0000", epoch, "done" if epoch == 3 else "running"))
    listener.recorded(record("0001", 1))
    listener.recorded(record("0002", 1, "failed", train_loss=float("nan"), reason="it diverged"))
    listener.stage_ended()
    listener.stage_started("search", 3, 900.0)
    listener.recorded(record("0001", 2, "stopped"))
    listener.stage_ended()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_a_run_for_every_trial(no_secret_left) -> None:
    mlflow = pytest.importorskip("mlflow")
    from raysubset.tuning.mlflow_runs import DATABASE, MlflowRuns

    tracked_story(MlflowRuns("study", no_secret_left))
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{no_secret_left / DATABASE}")
    experiment = client.get_experiment_by_name("study")
    runs = {run.data.tags["trial"]: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in runs.items()} == {
        "0000": "FINISHED",
        "0001": "KILLED",
        "0002": "FAILED",
    }
    assert runs["0000"].data.params == {"lr": "0.25", "optimizer": "sgd"}
    curve = client.get_metric_history(runs["0001"].info.run_id, "train_loss")
    assert [(point.step, point.value) for point in curve] == [(100, 2.0), (200, 1.0)]
    assert "train_loss" not in runs["0002"].data.metrics


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_works_offline_where_there_is_no_server(no_secret_left, monkeypatch) -> None:
    wandb = pytest.importorskip("wandb")
    from raysubset.tuning.wandb_runs import WandbRuns

    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    with pytest.warns(TrackingWarning, match="offline: 127.0.0.1 cannot be reached"):
        runs = WandbRuns("study", no_secret_left)
    tracked_story(runs)
    wandb.teardown()
    files = sorted(path.name for path in (no_secret_left / "wandb").rglob("run-*.wandb"))
    assert len(files) == 4, "a file for every trial and session"
    assert len(set(files)) == 3, "under one id for every trial"
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(no_secret_left / "none"))
    with pytest.warns(TrackingWarning, match="no key is configured"):
        WandbRuns("study", no_secret_left)
