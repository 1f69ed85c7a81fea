"""SubsetStream: one trial's subsets, epoch by epoch (ASP, Algorithm 1 turned into a value).

    for e in 0 .. N-1:   stream.observe(e, outputs)      where the plan looks at the model
                         subset = stream.next(e)
                         train on it
                         stream.record(e, signals)

All are idempotent on the epoch: asking again returns the same rows, recording again changes nothing, so a caller
may retry after a fault. Every draw comes from a keyed generator, so a stream restored from its state goes on
exactly as the uninterrupted one would have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import SelectorError
from raysubset.proxy.adaptive import Adaptation
from raysubset.proxy.memory import REMEMBERED, EpochSignals, ProxyMemory
from raysubset.proxy.pool import Pool
from raysubset.proxy.shared import Prior
from raysubset.seeds import generator
from raysubset.selection.mixture import METRICS
from raysubset.selection.outputs import Outputs
from raysubset.selection.plan import SubsetPlan, steering_size
from raysubset.selection.protocol import Context
from raysubset.types import Selection

if TYPE_CHECKING:
    from raysubset.selection.batchwise import BatchChooser


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What a stream is made from: plan, planned epochs, and the seed of its subset noise."""

    plan: SubsetPlan
    epochs: int
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class EpochSubset:
    """The rows of one epoch.

    Attributes:
        epoch: From 0.
        selection: What to train on; the candidates, where rows are chosen inside batches.
        metric: What chose them ("full" where all were taken, "random" where nothing was known).
        chooser: Chooses inside candidate batches, or None.
        size: Rows to be trained on.
    """

    epoch: int
    selection: Selection
    metric: str
    size: int
    chooser: BatchChooser | None = None

    @property
    def ratio(self) -> float:
        """Share of the pool that is trained on in this epoch, in (0, 1]."""
        return self.size / self.selection.pool_size


class SubsetStream:
    """The subsets of one trial: plan, memory, and the epoch they stand at.

    Args:
        spec: Plan, epochs and seed.
        pool: The rows, and what all trials know of them.
        prior: What earlier trials remember of the rows. It never changes: the subsets of a trial depend on its
            own state alone, and the prior is part of that.

    Attributes:
        recorded: The last epoch whose signals came, -1 before the first.
        epochs_recorded: Those whose signals the memory is made of, also before a `handed_on`.
        loss: The trial's validation loss when it was last judged, None before.

    Raises:
        BudgetError: The plan's budget does not fit this pool (see `selection.ratio`).
    """

    def __init__(self, spec: StreamSpec, pool: Pool, prior: Prior | None = None) -> None:
        self.spec = spec
        self.epochs_recorded = 0
        self.loss: float | None = None
        self.timetable = spec.plan.timetable(len(pool), spec.epochs)
        self.memory = ProxyMemory(len(pool), spec.plan.memory)
        self._pool, self._prior = pool, prior
        self._steering = pool.steering_rows(steering_size(spec.plan.habits.steering, len(pool)))
        self._outputs: tuple[int, Outputs] | None = None
        self._adaptation = Adaptation(spec.plan, self.timetable, len(pool)) if spec.plan.learns else None
        self._active: EpochSubset | None = None
        self.recorded = -1

    def observe(self, epoch: int, outputs: Outputs) -> None:
        """Take in what the trial's model says of every row before ``epoch``.

        Raises:
            SelectorError: Not one output a row.
        """
        if len(outputs) != len(self._pool):
            raise SelectorError(f"The model's outputs are of {len(outputs)} rows, the pool has {len(self._pool)}.")
        self._outputs = (epoch, outputs)

    def next(self, epoch: int) -> EpochSubset:
        """Return the rows of ``epoch``. Cost: that of the selector at a choice, else O(1).

        Raises:
            SelectorError: The epoch is not planned or skipped, lies before the one already served, or its choice
                looks at the model and nothing was observed.
        """
        if not 0 <= epoch < self.spec.epochs:
            raise SelectorError(f"Epoch {epoch} is not planned: this trial has epochs 0..{self.spec.epochs - 1}.")
        if self.timetable.sizes[epoch] == 0:
            raise SelectorError(f"Epoch {epoch} is skipped: the warm start has used its budget.")
        active = self._active
        if active is not None:
            if epoch < active.epoch:
                raise SelectorError(
                    f"Epoch {epoch} was asked for after epoch {active.epoch}: restore the stream first."
                )
            if self.timetable.chosen_at[epoch] <= active.epoch:
                return self._serve(replace(active, epoch=epoch))
        self._outputs, chosen = None, self._choose(epoch)  # outputs: tens of megabytes that nobody needs any more
        return self._serve(chosen)

    def _serve(self, subset: EpochSubset) -> EpochSubset:
        self._active = subset
        if self._adaptation is not None:
            self._adaptation.served(subset.epoch, subset.metric, subset.size)
        return subset

    def _choose(self, epoch: int) -> EpochSubset:
        plan, n, size = self.spec.plan, len(self._pool), self._size(epoch)
        known = epoch >= self.timetable.first_choice or (self._remembers_more and not plan.habits.warm_start)
        rows = np.delete(np.arange(n), self._steering)
        if size == len(rows) and not (known and plan.habits.prunes):
            return EpochSubset(epoch, Selection.uniform(rows, n), "full", size)
        if known and plan.habits.in_batch:
            return EpochSubset(epoch, Selection.uniform(rows, n), plan.name, size, self._chooser())
        metric = self._metric(epoch) if known else "random"
        selection = self._select(epoch, metric, size) if known else self._blind(epoch, rows, size)
        return EpochSubset(epoch, selection, metric, len(selection))

    def _size(self, epoch: int) -> int:
        return int(self.timetable.sizes[epoch]) if self._adaptation is None else self._adaptation.size(epoch)

    def _metric(self, epoch: int) -> str:
        plan, seed = self.spec.plan, self.spec.seed
        if self._adaptation is not None and plan.metric == "adaptive":
            return self._adaptation.metric(generator(seed, epoch, "bandit"))
        return plan.metric_at(epoch, self.spec.epochs, seed)

    @property
    def _remembers_more(self) -> bool:
        """True if rows are known from before epoch 0: from earlier trials, or from what was `handed_on`."""
        handed = self.spec.plan.habits.evidence == "memory" and self.epochs_recorded > self.recorded + 1
        return self._prior is not None or handed

    def _select(self, epoch: int, metric: str, size: int) -> Selection:
        """Choose by evidence; steering rows are no candidates."""
        plan, seed = self.spec.plan, self.spec.seed
        selector, rng = plan.compose(metric), plan.stream(epoch, seed)
        progress = epoch / self.spec.epochs
        if plan.habits.informed_at_start:
            return self._pool.choose(selector, size, progress, rng, (seed, epoch))
        context = replace(self._pool.context, progress=progress)
        if plan.habits.evidence == "memory":
            context = replace(context, signals={**context.signals, **self._remembered(metric)})
        if plan.habits.evidence == "model":
            context = self._observed(context, epoch)
        apart = self._probe(epoch, size) if metric in METRICS else self._steering
        if not len(apart):
            return selector.select(context, size, rng)
        rows = np.delete(np.arange(len(self._pool)), apart)
        if metric not in METRICS:
            return _spread(selector.select(context.restrict(rows), size, rng), rows, len(self._pool))
        chosen = selector.select(context.restrict(rows), size - len(apart), rng).indices
        return Selection.uniform(np.concatenate([apart, rows[chosen]]), len(self._pool))

    def _probe(self, epoch: int, size: int) -> NDArray[np.int64]:
        """Return the rows of an informed epoch that are drawn uniformly, ascending; asked again, the same."""
        plan, count = self.spec.plan, self.spec.plan.probe_size(size)
        if not count:
            return np.zeros(0, dtype=np.int64)
        rng = generator(self.spec.seed, epoch, "probe")
        return np.sort(plan.blind().select(self._pool.context, count, rng).indices)

    def _remembered(self, metric: str) -> dict[str, NDArray[np.float32]]:
        names = [metric] if metric in METRICS else [*REMEMBERED]
        if self._prior is not None:
            return {name: self._prior.importance(name, self.memory) for name in names if name in REMEMBERED}
        return {
            name: self.memory.importance(name) for name in names if name in REMEMBERED and self.memory.seen.any()
        }

    def _observed(self, context: Context, epoch: int) -> Context:
        if self._outputs is None or self._outputs[0] != epoch:
            raise SelectorError(
                f"Selector {self.spec.plan.name!r} looks at the model before epoch {epoch}, and nothing was "
                "observed there. In a loop of your own: subset.epochs(n, model=model)."
            )
        outputs = self._outputs[1]
        labels = context.need_labels(f"Selector {self.spec.plan.name!r}")
        return replace(
            context,
            gradients=outputs.gradients(labels),
            features=outputs.features,
            logits=outputs.logits,
            target=outputs.target(self._steering, labels) if len(self._steering) else None,
            learning_rate=outputs.learning_rate,
        )

    def _blind(self, epoch: int, rows: NDArray[np.int64], size: int) -> Selection:
        rng = self.spec.plan.stream(epoch, self.spec.seed)
        drawn = self.spec.plan.blind().select(self._pool.context.restrict(rows), size, rng)
        return _spread(drawn, rows, len(self._pool))

    def _chooser(self) -> BatchChooser:
        from raysubset.selection.batchwise import RhoLoss, SelectiveBackprop

        if self.spec.plan.selector == "rho-loss":
            return RhoLoss(self._pool.context.signal("irreducible"))
        return SelectiveBackprop(**self.spec.plan.options)

    def record(self, epoch: int, signals: EpochSignals) -> bool:
        """Remember an epoch's signals; returns False (and changes nothing) if that epoch was recorded already."""
        if epoch <= self.recorded:
            return False
        if self._adaptation is not None:
            size = self._adaptation.informed_size(epoch)
            probe = self._probe(int(self.timetable.chosen_at[epoch]), size) if size else None
            self._adaptation.learn(epoch, self.memory, signals, probe)
        self.memory.record(epoch, signals)
        self.recorded = epoch
        self.epochs_recorded += 1
        return True

    def state(self) -> dict[str, Any]:
        """Return all that the epochs to come depend on, ready for a checkpoint.

        21 n + 12 m bytes for memory (13 n in float16) and subset, 4 n more and 4 kB for a prior, n + 16 N for
        what an adaptive plan has learnt.
        """
        active = self._active
        return {
            "memory": self.memory.state(),
            "recorded": self.recorded,
            "prior": None if self._prior is None else self._prior.state(),
            "epochs_recorded": self.epochs_recorded,
            "loss": self.loss,
            "adaptation": None if self._adaptation is None else self._adaptation.state(),
            "active": None
            if active is None
            else {
                "epoch": active.epoch,
                "metric": active.metric,
                "size": active.size,
                "indices": active.selection.indices,
                "weights": active.selection.weights,
                "scale": active.selection.scale,
                "unbiased": active.selection.unbiased,
            },
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back (or forward) to a saved state; one made of a memory alone holds no prior and no loss.

        Raises:
            SelectorError: The state is of a pool of another size.
        """
        memory = ProxyMemory.from_state(state["memory"], self.spec.plan.memory)
        if len(memory) != len(self.memory):
            raise SelectorError(f"The saved memory has {len(memory)} rows, this pool has {len(self.memory)}.")
        self.memory, self.recorded, self._active = memory, int(state["recorded"]), None
        self._prior = None if (prior := state.get("prior")) is None else Prior.from_state(prior)
        self.epochs_recorded, self.loss = int(state.get("epochs_recorded", 0)), state.get("loss")
        if self._adaptation is not None:
            self._adaptation = Adaptation(self.spec.plan, self.timetable, len(memory))
            if (learnt := state.get("adaptation")) is not None:
                self._adaptation.restore(learnt)
            elif self.recorded >= 0 and self.spec.plan.schedule == "adaptive":
                raise SelectorError("This state does not say what was spent, which schedule='adaptive' must know.")
        if (active := state["active"]) is not None:
            selection = Selection(
                np.asarray(active["indices"]),
                np.asarray(active["weights"]),
                len(memory),
                float(active["scale"]),
                bool(active["unbiased"]),
            )
            epoch, metric = int(active["epoch"]), str(active["metric"])
            chooser = self._chooser() if self.spec.plan.habits.in_batch and metric == self.spec.plan.name else None
            self._active = EpochSubset(epoch, selection, metric, int(active["size"]), chooser)


def handed_on(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a stream that stands before epoch 0 and knows what the one in ``state`` knew of rows.

    What an adaptive plan has learnt of its own training ends with it.
    """
    return {**state, "recorded": -1, "active": None, "adaptation": None}


def _spread(part: Selection, rows: NDArray[np.int64], pool_size: int) -> Selection:
    """Return a selection of a part of the pool, row i of which is ``rows[i]``, as one of the pool."""
    return replace(part, indices=rows[part.indices], pool_size=pool_size)
