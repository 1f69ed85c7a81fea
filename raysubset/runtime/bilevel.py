"""BilevelTrial: architecture and weights, trained in turn on the two halves of a chosen subset (ASP, tri-level).

subsets = sides.next(epoch)                   chosen first, from what earlier epochs showed
alpha on the one, weights on the other        `training.bilevel`
sides.record(epoch, signals of both)          from the same forward passes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any, cast

import numpy as np

from raysubset.data.batches import Batch, RowSource
from raysubset.data.transform import Transform
from raysubset.errors import OptionsError
from raysubset.models.catalog import build_model
from raysubset.proxy.observe import observe
from raysubset.proxy.signals import SignalRecorder
from raysubset.proxy.stream import StreamSpec
from raysubset.runtime.affordable import affordable
from raysubset.runtime.batches import subset_batches
from raysubset.runtime.discretised import DiscretisedSides, FittedPool, GenotypeModel
from raysubset.runtime.sides import Knowing, Sides, SideSubset, SplitMode, labels_only, open_sides
from raysubset.runtime.trial import EpochReport, TrialSpec
from raysubset.seeds import seed64
from raysubset.training.bilevel import ArchitectureModel, ArchitectureRecipe, train_bilevel_epoch
from raysubset.training.optimizer import build_optimizer_over, load_optimizer
from raysubset.training.schedule import epoch_progress, lr_at


class BilevelTrial:
    """A network with architecture parameters, two optimisers, and their place in training.

    Args:
        spec: What to train; its model is built with `architecture_parameters` and `weight_parameters`.
        weights, architecture: Rows that the weights and that alpha learn from.
        transform: The data's statistics; flip, crop and cutout come from the recipe.
        recipe: How alpha learns.
        split: "fixed" sides or a "refresh" of them each epoch, see `runtime.sides`.
        knowing: Gathers what the plan wants to know of a pool before training.
        fitted: For a selector that foresees networks of cells: the rows of its fit. Then the discretised-cell
            reading chooses (`runtime.discretised`), and ``split`` is "fixed".

    Raises:
        BudgetError: The ratio leaves a side without a row.
        OptionsError: The plan chooses rows inside batches.
        ModelError: The plan needs signals and the model has no last nn.Linear.

    Warns:
        SlowSelectorWarning: The selector would cost more than it saves; adaptive random takes its place.
    """

    def __init__(
        self,
        spec: TrialSpec,
        weights: RowSource,
        architecture: RowSource,
        transform: Transform,
        recipe: ArchitectureRecipe,
        split: SplitMode = "fixed",
        knowing: Knowing = labels_only,
        fitted: FittedPool | None = None,
    ) -> None:
        if spec.plan.habits.in_batch:
            raise OptionsError(
                f"Selector {spec.plan.name!r} chooses rows inside each batch; a bilevel search needs the subset "
                "before the epoch. Choose by epoch."
            )
        if spec.plan.schedule == "adaptive":
            raise OptionsError(
                "schedule='adaptive' in a bilevel search: its two sides would size their epochs apart. Use "
                "'dynamic' or 'static'."
            )
        weights_recipe = spec.recipe
        self.epoch = self.samples_consumed = self._weight_samples = 0
        self._transform = replace(
            transform,
            flip=weights_recipe.flip,
            crop_padding=weights_recipe.crop_padding,
            cutout=weights_recipe.cutout,
        )
        shape = weights.rows(np.zeros(1, dtype=np.int64))[0].shape[1:]
        model = build_model(spec.model, num_classes=spec.num_classes, input_shape=shape, seed=spec.seeds.init)
        self.model = model.to(spec.device)
        parts = cast("ArchitectureModel", self.model)
        self._optimizer = build_optimizer_over(parts.weight_parameters(), weights_recipe)
        self._architecture = recipe.optimizer(parts.architecture_parameters())
        rows = len(weights) + len(architecture)
        self.spec = replace(spec, plan=affordable(spec.plan, self.model, shape, rows, weights_recipe.epochs))
        stream = StreamSpec(self.spec.plan, weights_recipe.epochs, spec.seeds.subset)
        self._sides: Sides
        if fitted is None:
            self._sides = open_sides(split, weights, architecture, stream, knowing)
        else:
            searched = cast("GenotypeModel", self.model)
            self._sides = DiscretisedSides(weights, architecture, stream, fitted, searched.genotype)
        self._sides.watch()
        self._tables = [self.spec.plan.timetable(len(pool), weights_recipe.epochs) for pool in self._sides.pools]
        self._recorders = self._record_signals()
        self._planned_weight_samples = self._sides.weight_samples([table.sizes for table in self._tables])

    def _record_signals(self) -> tuple[SignalRecorder, SignalRecorder] | tuple[None, None]:
        if not self.spec.plan.is_adaptive:
            return None, None
        smoothing = self.spec.recipe.label_smoothing
        return SignalRecorder(self.model, smoothing), SignalRecorder(self.model, smoothing)

    @property
    def planned_epochs(self) -> int:
        """N, those that a warm start skips included."""
        return self.spec.recipe.epochs

    @property
    def done(self) -> bool:
        """True when every planned epoch is trained."""
        return self._next_epoch() >= self.spec.recipe.epochs

    def _next_epoch(self) -> int:
        """Return the next epoch that no pool skips."""
        epoch = self.epoch
        while (later := max(table.next_epoch(epoch) for table in self._tables)) > epoch:
            epoch = later
        return epoch

    def run_epoch(self) -> EpochReport:
        """Train one epoch on its two subsets.

        Raises:
            NonFiniteLossError: A loss on either side became NaN or infinite; nothing of the epoch is recorded.
        """
        self.epoch = self._next_epoch()
        recipe, seed = self.spec.recipe, self.spec.seeds.subset
        progress = epoch_progress(
            recipe, epoch=self.epoch, consumed=self._weight_samples, planned=self._planned_weight_samples
        )
        if (follow := getattr(self.model, "set_progress", None)) is not None:
            follow(progress(0))
        started = perf_counter()
        self.samples_consumed += sum(int(table.charges[self.epoch]) for table in self._tables)
        sides = self._next_sides(lr_at(recipe, progress(0)))
        select_s = perf_counter() - started
        started = perf_counter()
        result = train_bilevel_epoch(
            self.model,
            self._batches(sides[0]),
            self._batches(sides[1]),
            self._optimizer,
            self._architecture,
            recipe,
            epoch=self.epoch,
            progress=progress,
            rng_seed=seed64(seed, self.epoch, "layers"),
            observers=self._recorders,
        )
        train_s = perf_counter() - started
        started = perf_counter()
        if self._recorders[0] is not None:
            self._sides.record(self.epoch, (self._recorders[0].collect(), self._recorders[1].collect()))
        select_s += perf_counter() - started
        self.epoch += 1
        self._weight_samples += result.weights.samples
        trained = result.weights.samples + result.architecture.samples
        self.samples_consumed += trained
        share = trained / sum(len(pool) for pool in self._sides.pools)
        metric = sides[0].subset.metric
        return EpochReport(
            self.epoch, self.samples_consumed, share, metric, result.weights.mean_loss, train_s, select_s
        )

    def _next_sides(self, learning_rate: float) -> tuple[SideSubset, SideSubset]:
        """Choose both subsets, after a look at the model where the plan wants one."""
        if self.spec.plan.habits.evidence == "model" and self._tables[0].forward[self.epoch]:
            device = self.spec.device
            outputs = [
                observe(self.model, pool, self._transform, device=device, learning_rate=learning_rate)
                for pool in self._sides.pools
            ]
            self._sides.observe(self.epoch, outputs)
        return self._sides.next(self.epoch)

    def _batches(self, side: SideSubset) -> Iterator[Batch]:
        return subset_batches(
            side.source,
            side.subset,
            self._transform,
            None,
            batch_size=self.spec.recipe.batch_size,
            seed=self.spec.seeds.subset,
            device=self.spec.device,
            channels_last=self.spec.recipe.channels_last,
        )

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint needs: weights, alpha, both optimisers, both memories, place."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "architecture": self._architecture.state_dict(),
            "sides": self._sides.state(),
            "counted": self._sides.counted(),
            "epoch": self.epoch,
            "samples_consumed": self.samples_consumed,
            "weight_samples": self._weight_samples,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the epochs to come are those of the uninterrupted run."""
        self.model.load_state_dict(state["model"])
        load_optimizer(self._optimizer, state["optimizer"])
        load_optimizer(self._architecture, state["architecture"])
        self._sides.restore(state["sides"])
        self._sides.watch(state.get("counted"))
        self.epoch, self.samples_consumed = int(state["epoch"]), int(state["samples_consumed"])
        self._weight_samples = int(state["weight_samples"])

    def close(self) -> None:
        """Take the hooks off the model."""
        for recorder in self._recorders:
            if recorder is not None:
                recorder.close()
