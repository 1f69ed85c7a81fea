"""The scouts of an evaluation: each trained once, kept in the run's folder, read by all trainings that need it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from raysubset.data.transform import Transform
from raysubset.runtime.evidence import Evidence
from raysubset.runtime.session import Slots
from raysubset.runtime.store import StoredSplit
from raysubset.runtime.subset_methods import MethodOptions, Scout, scout_plan
from raysubset.runtime.supervisors import CellTraining
from raysubset.selection.protocol import Context
from raysubset.tuning.artefacts import Artefact
from raysubset.tuning.spread import spread


@dataclass(frozen=True, slots=True)
class KeptScouts:
    """Scouts that were trained, by what they were made from.

    Attributes:
        folder: Of the run.
        fingerprint: Of its data.
        training: How a cell's network is trained; its cell and seed are not read.
        options: Which networks scout.
    """

    folder: Path
    fingerprint: str
    training: CellTraining
    options: MethodOptions

    def train(
        self, scouts: Iterable[Scout], train: StoredSplit, transform: Transform, slots: Slots
    ) -> Iterator[tuple[Scout, float]]:
        """Train those that are not kept yet, side by side; yields each and its seconds as it ends."""
        yield from spread(_gather, self.missing(scouts), slots, self, train, transform)

    def missing(self, scouts: Iterable[Scout]) -> list[Scout]:
        """Return those that are not kept yet, each once."""
        return [scout for scout in dict.fromkeys(scouts) if not self._artefact(scout).exists]

    def load(self, scout: Scout) -> Evidence:
        """Read back what a scout says: labels, signals, logits and features of every row.

        Raises:
            StorageError: It is not kept.
        """
        state = self._artefact(scout).load()
        known = state.pop("context")
        return Evidence(Context(len(known["labels"]), **known), **state)

    def keep(self, scout: Scout, found: Evidence) -> None:
        """Write it, in one step; last-layer gradients, which no method reads, are left out."""
        context = found.context
        known = {name: getattr(context, name) for name in ("labels", "signals", "features", "logits")}
        said = {name: getattr(found, name) for name in ("key", "samples", "seconds", "how")}
        self._artefact(scout).save({"context": {**known, "signals": dict(context.signals)}, **said})

    def _artefact(self, scout: Scout) -> Artefact:
        plan, training = scout_plan(scout.method, self.options), asdict(self.training)
        how = {name: training[name] for name in ("size", "recipe", "num_classes")}
        told = {name: getattr(plan, name) for name in ("scout_model", "scout_epochs", "scout_models", "embedding")}
        return Artefact.of(self.folder, "scout", {"data": self.fingerprint, **asdict(scout), **how, **told})


def _gather(scout: Scout, kept: KeptScouts, train: StoredSplit, transform: Transform) -> float:
    found = scout.gather(kept.training, train.open(), transform, kept.options)
    kept.keep(scout, found)
    return found.seconds
