"""Everybody whom Ray Tune tells of a stage's trials: who they are, and what they leave when the stage ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ray.tune import Callback

from raysubset.experiment import Experiment
from raysubset.runtime.selectors import Selectors
from raysubset.runtime.session import Slots
from raysubset.tuning.attendance import StopRequests
from raysubset.tuning.energy import EnergyMeter
from raysubset.tuning.faults import Faults
from raysubset.tuning.metrics import ActorMemory, StageMetrics
from raysubset.tuning.places import Places
from raysubset.tuning.recorder import Recorder
from raysubset.tuning.shared import SharedKeeper
from raysubset.tuning.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Followers:
    """Who follows a stage.

    Attributes:
        faults: Remembers which trials failed.
        recorder: Writes the records.
        requests: Stops trials that somebody asks to stop.
        energy: Measures the driver's machine; one of the others.
        others: Who only looks on.
        shared: Keeps what trials tell later ones; None where they tell nothing.
        places: Gives back what dead teams hold; None for trials of one worker.
    """

    faults: Faults
    recorder: Recorder
    requests: StopRequests
    energy: EnergyMeter
    others: tuple[Callback, ...]
    shared: SharedKeeper | None
    places: Places | None

    @property
    def callbacks(self) -> list[Callback]:
        """All of them, in the order in which Tune tells them."""
        maybe = [one for one in (self.shared, self.places) if one is not None]
        return [self.faults, self.recorder, self.requests, *self.others, *maybe]

    def give_back(self) -> None:
        """Give back what no trial holds any more, however the stage ended."""
        if self.places is not None:
            self.places.give_back_all()

    def save(self) -> None:
        """Keep what later trials may begin with."""
        if self.shared is not None:
            self.shared.save()


def followers_of(
    stage: str,
    experiment: Experiment,
    selectors: Selectors,
    slots: Slots,
    folder: Path,
    recorder: Recorder,
    requests: StopRequests,
    gauges: StageMetrics,
) -> Followers:
    """Return who follows a stage of an experiment.

    Args:
        stage: Its name.
        experiment: What it searches.
        selectors: The selector actors, whose memory is watched and, where trials share it, kept.
        slots: Resources of a trial.
        folder: The run's folder.
        recorder: Writes the records.
        requests: Stops trials on request.
        gauges: Ray's metrics of the stage.
    """
    energy = EnergyMeter()
    return Followers(
        faults=Faults(),
        recorder=recorder,
        requests=requests,
        energy=energy,
        others=(Waiting(slots), gauges, energy, ActorMemory(experiment.name, selectors.actors)),
        shared=SharedKeeper(selectors.only, folder) if experiment.plan.shares_memory else None,
        places=Places(slots, folder / "tune" / stage) if slots.workers > 1 else None,
    )
