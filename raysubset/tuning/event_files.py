"""TensorBoard: an event file a trial, written from our records.

``torch.utils.tensorboard`` needs the ``tensorboard`` package, a server with its front end; tensorboardX has the
same messages and comes with Ray Tune. Its own writer keeps a queue, a thread and an open file for every trial;
here a record is one open, write, close, and no descriptor is held.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

from tensorboardX import summary
from tensorboardX.proto import event_pb2, summary_pb2
from tensorboardX.record_writer import masked_crc32c

from raysubset.tuning.tracking import scalars
from raysubset.types import TrialRecord

TENSORBOARD_FOLDER = "tensorboard"
_VERSION = "brain.Event:2"  # what every event file begins with


class EventFiles:
    """Writes <folder>/tensorboard/<stage>/<trial>/events.out.tfevents.*, a file a trial and session.

    The steps of the curves are samples consumed, so that trials at different ratios are compared at equal cost. A
    trial's configuration goes to the HPARAMS page.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._stage = folder / TENSORBOARD_FOLDER, ""
        self._files: dict[str, Path] = {}

    def stage_started(self, stage: str, trials: int, budget: float) -> None:
        """Begin new files."""
        self._stage, self._files = stage, {}

    def trial_started(self, trial: str) -> None:
        """Ignore: a file begins with the first record."""

    def recorded(self, record: TrialRecord) -> None:
        """Append a record's numbers as one event."""
        events = []
        if record.trial not in self._files:
            self._files[record.trial] = self._new_file(record.trial)
            events = [{"file_version": _VERSION}, *_hyper_parameters(record)]
        values = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(record).items()]
        events.append({"summary": summary_pb2.Summary(value=values)})
        content = b"".join(_framed(event, record.samples_consumed) for event in events)
        with self._files[record.trial].open("ab", buffering=0) as file:
            file.write(content)

    def stage_ended(self) -> None:
        """Nothing is open."""

    def _new_file(self, trial: str) -> Path:
        folder = self._folder / self._stage / trial
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()  # whole seconds order the files of a trial's sessions; the rest keeps them apart
        fraction = int(now % 1 * 1e6)
        return folder / f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.{fraction:06d}"


def _hyper_parameters(record: TrialRecord) -> list[dict[str, Any]]:
    """Describe a configuration as the HPARAMS page wants it: what there is, then this trial's values."""
    plain = {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in record.config.items()
    }
    scores = ("val_loss", "val_r2") if record.val_rmse is not None else ("val_loss", "val_accuracy")
    experiment, session, _ = summary.hparams(plain, dict.fromkeys(scores, 0.0))
    return [{"summary": experiment}, {"summary": session}]


def _framed(event: dict[str, Any], step: int) -> bytes:
    """Return an event as a TFRecord: length, its checksum, data, their checksum."""
    data = event_pb2.Event(wall_time=time.time(), step=step, **event).SerializeToString()
    length = struct.pack("<Q", len(data))
    return b"".join(
        (length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data)))
    )
