"""Trial: one configuration trained on its subsets, epoch by epoch.

The same code runs in a Tune trial, in a retraining and in a single run; only the client and the row source
differ.

    client.observe(epoch, outputs)                   where the plan looks at the model
    subset  = client.next(epoch)                     one call
    train the epoch on those rows, signals collected from the same forward pass
    client.record(epoch, signals)                    fire and forget
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysubset.data.batches import Batch, RowSource, evaluation_batches
from raysubset.data.transform import Transform
from raysubset.errors import NonFiniteLossError, OptionsError
from raysubset.hpo.pairing import TrialSeeds
from raysubset.models.catalog import ModelBuilder, build_model
from raysubset.proxy.observe import observe
from raysubset.proxy.signals import SignalRecorder
from raysubset.proxy.stream import EpochSubset, StreamSpec
from raysubset.runtime.affordable import affordable
from raysubset.runtime.batches import subset_batches
from raysubset.runtime.client import SelectorClient
from raysubset.runtime.start import Start, Stretch
from raysubset.seeds import seed64
from raysubset.selection.outputs import Outputs
from raysubset.selection.plan import SubsetPlan
from raysubset.training.evaluate import Evaluation, evaluate
from raysubset.training.loop import train_epoch
from raysubset.training.loss import SampleLoss, squared_error
from raysubset.training.optimizer import build_optimizer, load_optimizer
from raysubset.training.recipe import Recipe
from raysubset.training.schedule import epoch_progress, lr_at
from raysubset.training.team import ALONE, Team

EVALUATION_BATCH = 512


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """What a trial is made from.

    Attributes:
        trial: Its id, unique at the selector.
        model: Zoo name or builder.
        recipe: Training options, the search space's values already applied.
        plan: How it chooses its data, ``first_epoch`` already resolved.
        seeds: Of its subsets and of its initial weights.
        num_classes: Of the task; 0 in a regression, trained by the squared error.
        device: Torch device string.
    """

    trial: str
    model: str | ModelBuilder
    recipe: Recipe
    plan: SubsetPlan
    seeds: TrialSeeds
    num_classes: int
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One epoch: how much was trained on what, and what it cost in samples and seconds."""

    epoch: int
    samples_consumed: int
    ratio: float
    metric_used: str
    train_loss: float
    train_s: float
    select_s: float


class Trial:
    """A model, its optimiser and its place in training.

    Args:
        spec: What to train.
        train, validation: Rows to train on and to judge by.
        transform: The data's statistics; flip, crop and cutout come from the recipe.
        client: Serves the subsets.
        start: What it begins with; None: initial weights, and nothing is remembered.
        team: The workers that train it together, each with a `Trial` of its own and a `TeamClient`.

    Raises:
        ModelError: The plan needs signals and the model has no last nn.Linear.
        BudgetError: The plan's budget does not fit the data.
        OptionsError: The plan chooses rows inside batches, which a team cannot.

    Warns:
        SlowSelectorWarning: The selector would cost more than it saves; adaptive random takes its place.
    """

    def __init__(
        self,
        spec: TrialSpec,
        train: RowSource,
        validation: RowSource,
        transform: Transform,
        client: SelectorClient,
        start: Start | None = None,
        team: Team = ALONE,
    ) -> None:
        if team.size > 1 and spec.plan.habits.in_batch:
            raise OptionsError(
                f"Selector {spec.plan.name!r} chooses rows inside each batch, of which every one of {team.size} "
                "workers has a part only. Train with workers=1, or choose by epoch."
            )
        start = start or Start()
        self._team = team
        numbers = train.labels.dtype.kind == "f"
        self._loss: SampleLoss | None = squared_error if numbers else None  # cross-entropy, as the recipe says
        self.epoch = 0
        self.samples_consumed = 0
        self.samples_trained = 0
        self._train, self._validation, self._client = train, validation, client
        recipe = spec.recipe
        self._transform = replace(
            transform, flip=recipe.flip, crop_padding=recipe.crop_padding, cutout=recipe.cutout
        )
        shape = train.rows(np.zeros(1, dtype=np.int64))[0].shape[1:]
        layout = torch.channels_last if recipe.channels_last else torch.preserve_format
        model = build_model(spec.model, num_classes=spec.num_classes, input_shape=shape, seed=spec.seeds.init)
        self.model = model.to(spec.device).to(memory_format=layout)
        self._optimizer = build_optimizer(self.model, recipe)
        if start.model is not None:
            self.model.load_state_dict(start.model)
        if start.optimizer is not None:
            load_optimizer(self._optimizer, start.optimizer)
        self._parallel = team.parallel(self.model)
        spec = replace(spec, plan=affordable(spec.plan, self.model, shape, len(train), recipe.epochs))
        self.spec = spec
        self._recorder = SignalRecorder(self.model, recipe.label_smoothing) if spec.plan.is_adaptive else None
        self._timetable = spec.plan.timetable(len(train), recipe.epochs)
        self._stretch = start.stretch or Stretch(0, 0, recipe.epochs, int(self._timetable.sizes.sum()))
        client.open(spec.trial, StreamSpec(spec.plan, recipe.epochs, spec.seeds.subset), start.stream)

    @property
    def planned_epochs(self) -> int:
        """N, those that a warm start skips included."""
        return self.spec.recipe.epochs

    @property
    def done(self) -> bool:
        """True when every planned epoch is trained; the skipped slots of a warm start count as trained."""
        return self._timetable.next_epoch(self.epoch) >= self.spec.recipe.epochs

    def run_epoch(self) -> EpochReport:
        """Train one epoch on its subset; slots that a warm start skips are passed over.

        Raises:
            NonFiniteLossError: The loss, or an output that a selector looks at, became NaN or infinite; nothing of
                the epoch is recorded.
        """
        self.epoch = self._timetable.next_epoch(self.epoch)
        recipe, seed = self.spec.recipe, self.spec.seeds.subset
        progress = self._progress()
        started = perf_counter()
        self.samples_consumed += int(self._timetable.charges[self.epoch])
        subset = self._next_subset(lr_at(recipe, progress(0)))
        select_s = perf_counter() - started
        batches = self._batches(subset)
        observer = None if self._recorder is None else _Timed(self._recorder)
        started = perf_counter()
        try:
            result = train_epoch(
                self._parallel,
                batches,
                self._optimizer,
                recipe,
                epoch=self.epoch,
                progress=progress,
                rng_seed=seed64(seed, self.epoch, "layers", *self._own_draws()),
                observer=observer,
                loss=self._loss,
                team=self._team,
            )
        except NonFiniteLossError:
            self.samples_consumed += subset.size  # spent, if in vain
            raise
        train_s = perf_counter() - started
        if observer is not None:
            select_s += observer.seconds + self._record(observer)
            train_s -= observer.seconds
        self.epoch += 1
        self.samples_trained += result.samples
        self.samples_consumed += result.samples
        return EpochReport(
            self.epoch, self.samples_consumed, subset.ratio, subset.metric, result.mean_loss, train_s, select_s
        )

    def _progress(self) -> Callable[[int], float]:
        """Map samples done in this epoch to the progress of the whole schedule."""
        whole = self._stretch
        return epoch_progress(
            replace(self.spec.recipe, epochs=whole.epochs),
            epoch=whole.epochs_before + self.epoch,
            consumed=whole.samples_before + self.samples_trained,
            planned=whole.samples,
        )

    def _next_subset(self, learning_rate: float) -> EpochSubset:
        """Ask for the epoch's rows, after a look at the model where the plan wants one."""
        if self.spec.plan.habits.evidence == "model" and self._timetable.forward[self.epoch]:
            self._client.observe(self.spec.trial, self.epoch, self._look(learning_rate))
        return self._client.next(self.spec.trial, self.epoch)

    def _own_draws(self) -> tuple[int, ...]:
        """Key what layers draw: workers of a team see other rows, and drop other units of them."""
        rank = self._team.shard.rank
        return (rank,) if rank else ()

    def _look(self, learning_rate: float) -> Outputs:
        """Return the model's outputs on the rows that this worker owns; what one may not look at, none may."""
        outputs: Outputs | None = None
        failure = NonFiniteLossError("An output that another worker looked at is not finite.")
        try:
            outputs = observe(
                self.model,
                self._train,
                self._transform,
                device=self.spec.device,
                learning_rate=learning_rate,
                channels_last=self.spec.recipe.channels_last,
                shard=self._team.shard,
            )
        except NonFiniteLossError as error:
            failure = error
        (failed,) = self._team.total([outputs is None])
        if outputs is None or failed:
            raise failure
        return outputs

    def _batches(self, subset: EpochSubset) -> Iterator[Batch]:
        return subset_batches(
            self._train,
            subset,
            self._transform,
            self.model,
            batch_size=self.spec.recipe.batch_size,
            seed=self.spec.seeds.subset,
            device=self.spec.device,
            channels_last=self.spec.recipe.channels_last,
            shard=self._team.shard,
        )

    def _record(self, observer: _Timed) -> float:
        """Send the epoch's signals; returns the seconds the trial itself was held up."""
        started = perf_counter()
        self._client.record(self.spec.trial, self.epoch, observer.recorder.collect())
        return perf_counter() - started

    def evaluate(self) -> Evaluation:
        """Judge the model on the whole validation split."""
        return self.evaluate_on(self._validation)

    def evaluate_on(self, source: RowSource) -> Evaluation:
        """Judge the model on any rows."""
        batches = evaluation_batches(
            source,
            self._transform,
            EVALUATION_BATCH,
            device=self.spec.device,
            channels_last=self.spec.recipe.channels_last,
            shard=self._team.shard,
        )
        return evaluate(self.model, batches, self._team)

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint needs: weights, optimiser, subset stream, place. O(model) + 21 n bytes."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "stream": self._client.state(self.spec.trial),
            "epoch": self.epoch,
            "samples_consumed": self.samples_consumed,
            "samples_trained": self.samples_trained,
            "seeds": {"subset": self.spec.seeds.subset, "init": self.spec.seeds.init},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the epochs to come are those of the uninterrupted run.

        The state may be another trial's (population-based training): the recipe stays this trial's own.
        """
        self.model.load_state_dict(state["model"])
        load_optimizer(self._optimizer, state["optimizer"])
        self.epoch, self.samples_consumed = int(state["epoch"]), int(state["samples_consumed"])
        self.samples_trained = int(state["samples_trained"])
        spec = StreamSpec(self.spec.plan, self.spec.recipe.epochs, self.spec.seeds.subset)
        self._client.open(self.spec.trial, spec, state["stream"])

    def close(self) -> None:
        """Let the selector forget this trial, and take the hook off the model."""
        if self._recorder is not None:
            self._recorder.close()
        self._client.close(self.spec.trial)


class _Timed:
    """An observer that knows how long it held up the training."""

    def __init__(self, recorder: SignalRecorder) -> None:
        self.recorder = recorder
        self.seconds = 0.0

    def observe(self, index: NDArray[np.int64], logits: Tensor, targets: Tensor, losses: Tensor) -> None:
        started = perf_counter()
        self.recorder.observe(index, logits, targets, losses)
        self.seconds += perf_counter() - started
