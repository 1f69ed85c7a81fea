"""`Subset`: chosen data for a training loop of your own.

    subset = raysubset.Subset(data, plan)
    for epoch in subset.epochs(20):
        for batch in epoch:
            loss = epoch.loss(model(batch.inputs), batch)
            ...

Alone, it keeps its memory in this process. Inside a Ray actor (a Tune trial, a Train worker) it finds the
selector actor that serves its data, or starts it for all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from torch import Tensor, nn

from raysubset.data.batches import ArraySource, Batch
from raysubset.data.dataset import Dataset
from raysubset.data.transform import Transform
from raysubset.errors import SelectorError
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.observe import observe
from raysubset.proxy.service import SelectorService
from raysubset.proxy.signals import SignalLog, features_behind, output_slopes
from raysubset.proxy.stream import EpochSubset, StreamSpec
from raysubset.runtime.batches import subset_batches
from raysubset.runtime.client import RaySelector, SelectorClient, start_selector
from raysubset.runtime.evidence import Evidence
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.training.loss import squared_error, weighted_cross_entropy, weighted_mean

_serial = count()  # tells apart the subsets that one process opens


class Subset:
    """The training rows of a data set, a chosen part of them each epoch.

    Args:
        data: Its training split is the pool.
        plan: How to choose; ``first_epoch="auto"`` means full here. On float targets (regression) a mixture is one
            of random, gradient and loss, see `SubsetPlan.for_targets`.
        batch_size: Rows a batch.
        seed: Of selection, order and augmentation.
        device: Where batches go.
        flip: Probability of a horizontal flip (images).
        crop_padding: Pixels of zero padding for random crops (images).
        label_smoothing: Of `Epoch.loss`, in [0, 1).
        evidence: What a "scout" or "embedding" plan chooses by, from `raysubset.evidence_for`.

    Raises:
        SelectorError: The plan needs evidence and there is none.
        OptionsError: The targets are no classes and the plan needs them.
    """

    def __init__(
        self,
        data: Dataset,
        plan: SubsetPlan,
        *,
        batch_size: int = 128,
        seed: int = 0,
        device: str = "cpu",
        flip: float = 0.0,
        crop_padding: int = 0,
        label_smoothing: float = 0.0,
        evidence: Evidence | None = None,
    ) -> None:
        plan = plan.resolved("full")
        self.plan = plan.for_targets() if data.regression else plan
        self.transform = Transform.fit(data.train.inputs, flip=flip, crop_padding=crop_padding)
        self._source = ArraySource(data.train)
        self._batch_size, self._seed, self._device = batch_size, seed, device
        self._label_smoothing = label_smoothing
        if self.plan.habits.informed_at_start and evidence is None:
            raise SelectorError(
                f"Selector {self.plan.name!r} chooses by evidence gathered beforehand: give "
                "evidence=raysubset.evidence_for(data, plan, model=...)."
            )
        labels = None if data.regression else data.train.labels
        known = Context(len(data.train), labels) if evidence is None else evidence.context
        self._client, self._trial = _selector_for(data, known, "labels" if evidence is None else evidence.key)
        self._state: Mapping[str, Any] | None = None
        self._epoch = 0
        self._served = False

    def epochs(
        self, n: int, model: nn.Module | None = None, learning_rate: float | None = None
    ) -> Iterator[Epoch]:
        """Yield the epochs 0..n-1 (after `restore` or a break: those still to come); a warm start skips some.

        An epoch's signals are recorded when the next one is asked for, or when the iterator is closed after its
        last batch; an epoch that was broken off before that begins again.

        Args:
            n: N, planned epochs.
            model: The network being trained, where the plan looks at it: for "craig" and its like before a choice,
                for "rho-loss" and "selective-backprop" at every batch.
            learning_rate: > 0, that of the training; "glister" takes a step of that size unless told another.

        Raises:
            BudgetError: The plan's budget does not fit n epochs of this data.
            SelectorError: All epochs were served before: another training needs a `Subset` of its own.
            SelectorError: The plan follows the losses, and an epoch went by without `Epoch.loss`; or it looks at
                the model and there is none.
        """
        if self._served:
            raise SelectorError("This Subset has served all of its epochs: make another one for another training.")
        table = self.plan.timetable(len(self._source), n)
        if table.forward.any() and model is None:
            raise SelectorError(f"Selector {self.plan.name!r} looks at the model: epochs({n}, model=model).")
        self._client.open(self._trial, StreamSpec(self.plan, n, self._seed), self._state)
        self._state = None
        try:
            while (next_epoch := table.next_epoch(self._epoch)) < n:
                self._epoch = next_epoch
                if model is not None and table.forward[self._epoch] and self.plan.habits.evidence == "model":
                    outputs = observe(
                        model, self._source, self.transform, device=self._device, learning_rate=learning_rate
                    )
                    self._client.observe(self._trial, self._epoch, outputs)
                subset = self._client.next(self._trial, self._epoch)
                batches = self._batches(subset, model)
                epoch = Epoch(subset, batches, self.plan.is_adaptive, self._label_smoothing)
                try:
                    yield epoch
                except GeneratorExit:
                    if epoch.is_over:
                        self._finish(epoch)
                    raise
                self._finish(epoch)
            self._served = True
        finally:
            self._state = self._client.state(self._trial)
            self._client.close(self._trial)

    def _finish(self, epoch: Epoch) -> None:
        if self.plan.is_adaptive:
            self._client.record(self._trial, self._epoch, epoch.signals())
        self._epoch += 1

    def _batches(self, subset: EpochSubset, model: nn.Module | None) -> Iterator[Batch]:
        return subset_batches(
            self._source,
            subset,
            self.transform,
            model,
            batch_size=self._batch_size,
            seed=self._seed,
            device=self._device,
        )

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs to go on with the epoch now being trained, from its beginning."""
        stream = self._client.state(self._trial) if self._state is None else self._state
        return {"epoch": self._epoch, "stream": stream}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`; the next `epochs` yields the epochs still to come."""
        self._epoch, self._state, self._served = int(state["epoch"]), state["stream"], False


class Epoch:
    """One epoch: iterate it for batches, give it each batch's logits.

    Attributes:
        number: From 0.
        ratio: Share of the pool in this epoch.
        metric: What chose its rows.
        is_over: All of its batches were taken and, where the plan follows the losses, given to `loss`.
    """

    def __init__(
        self, subset: EpochSubset, batches: Iterator[Batch], records: bool, label_smoothing: float
    ) -> None:
        self.number, self.ratio, self.metric = subset.epoch, subset.ratio, subset.metric
        self._size, self._batches, self._records = subset.size, batches, records
        self._label_smoothing, self._log = label_smoothing, SignalLog(label_smoothing)
        self._all_taken = False

    def __len__(self) -> int:
        """Rows trained on in this epoch."""
        return self._size

    def __iter__(self) -> Iterator[Batch]:
        yield from self._batches
        self._all_taken = True

    @property
    def is_over(self) -> bool:  # noqa: D102 - see above
        return self._all_taken and (not self._records or len(self._log) > 0)

    def loss(self, logits: Tensor, batch: Batch, losses: Tensor | None = None) -> Tensor:
        """Return the batch's loss, the weighted mean of each row's own, and remember what it says about each row.

        Args:
            logits: float[B, K], the output of the model's last ``nn.Linear``.
            batch: The batch they belong to.
            losses: float[B], any per-sample loss of these outputs, with its graph (in PyTorch: reduction="none").
                None: cross-entropy, or on float targets the squared error.

        Raises:
            ModelError: The logits do not come straight from a linear layer, or ``losses`` is not one value a
                sample computed from them.
        """
        if losses is None and not batch.targets.is_floating_point():
            mean, losses = weighted_cross_entropy(logits, batch.targets, batch.weight, self._label_smoothing)
            slopes = None
        else:
            own = squared_error(logits, batch.targets) if losses is None else losses
            mean, losses = weighted_mean(lambda *_: own, logits, batch.targets, batch.weight)
            slopes = output_slopes(own, logits) if self._records else None
        if self._records:
            self._log.add(batch.index, logits.detach(), batch.targets, losses, features_behind(logits), slopes)
        return mean

    def signals(self) -> EpochSignals:
        """Return the epoch's signals.

        Raises:
            SelectorError: No batch was given to `loss`.
        """
        if len(self._log) == 0:
            raise SelectorError(
                f"Epoch {self.number} gave no losses, and this plan chooses rows by them: call "
                "epoch.loss(model(batch.inputs), batch) for every batch."
            )
        return self._log.collect()


def _selector_for(data: Dataset, known: Context, key: str) -> tuple[SelectorClient, str]:
    """Return the selector of this process's place: the shared actor inside Ray actors, else one of our own."""
    ray = sys.modules.get("ray")
    n = known.pool_size
    if ray is None or not ray.is_initialized() or (actor := ray.get_runtime_context().get_actor_id()) is None:
        return SelectorService(known), f"subset-{next(_serial)}"
    handle = start_selector(f"raysubset/{data.fingerprint()}", n, detached=True)
    return RaySelector(handle, known, key), f"{actor}/{next(_serial)}"
