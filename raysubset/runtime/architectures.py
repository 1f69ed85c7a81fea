"""From a `NasExperiment` to what is trained and judged: spaces, supernets, trials. No Ray: runs in any process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from raysubset.data.batches import RowSource
from raysubset.data.transform import Transform
from raysubset.errors import DataError
from raysubset.hpo.pairing import TrialSeeds, trial_seeds
from raysubset.models.catalog import ModelBuilder
from raysubset.nas.darts_network import DartsNetwork, auxiliary_loss
from raysubset.nas.darts_search import DartsSupernet
from raysubset.nas.space import CellSpace
from raysubset.nas.space101 import Space101
from raysubset.nas.space201 import Space201
from raysubset.nas.space_darts import SpaceDarts
from raysubset.nas.supernet201 import BuildSupernet201, Supernet201
from raysubset.nas_experiment import NasExperiment
from raysubset.proxy.service import SelectorService
from raysubset.runtime.bilevel import BilevelTrial
from raysubset.runtime.discretised import FittedPool
from raysubset.runtime.evidence import gather_evidence
from raysubset.runtime.sides import Knowing
from raysubset.runtime.trial import EpochReport, Trial, TrialSpec
from raysubset.seeds import generator, seed64
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.training.recipe import Recipe

_GATES = {"spos": "uniform", "rsps": "uniform", "darts": "soft", "gdas": "gumbel"}


def find_space(name: str) -> CellSpace[Any]:
    """Return the space of that name."""
    spaces: dict[str, CellSpace[Any]] = {"nb201": Space201(), "nb101": Space101(), "darts": SpaceDarts()}
    return spaces[name]


def supernet_builder(experiment: NasExperiment) -> ModelBuilder:
    """Return what builds the experiment's supernet; it can be pickled."""
    if experiment.space == "darts":
        return partial(_darts, experiment.channels, experiment.cells)
    return BuildSupernet201(experiment.size, _GATES[experiment.algo])


def _darts(channels: int, cells: int, num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    return DartsSupernet(num_classes, input_shape, channels=channels, cells=cells)


def cell_builder(experiment: NasExperiment, cell: str) -> ModelBuilder:
    """Return what builds a cell's own network, of the size that is searched with; it can be pickled."""
    return partial(_network, experiment.space, cell, experiment)


def _network(
    space: str, cell: str, experiment: NasExperiment, num_classes: int, input_shape: tuple[int, ...]
) -> nn.Module:
    found = find_space(space)
    return found.network(found.parse(cell), num_classes, input_shape, experiment.size)


class EpochTrial(Protocol):
    """Something that trains epoch by epoch and can be saved: a `Trial` or a `BilevelTrial`."""

    model: nn.Module
    epoch: int
    samples_consumed: int

    @property
    def planned_epochs(self) -> int: ...  # noqa: D102
    @property
    def done(self) -> bool: ...  # noqa: D102
    def run_epoch(self) -> EpochReport: ...  # noqa: D102
    def state(self) -> dict[str, Any]: ...  # noqa: D102
    def restore(self, state: Any) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class SinglePathTrial(Trial):
    """A supernet of which every step trains one path.

    A selector that looks at the model sees, each epoch, the one path that (seed, epoch) names.
    """

    def run_epoch(self) -> EpochReport:
        """Train one epoch, see `Trial.run_epoch`."""
        rng = generator(self.spec.seeds.subset, self.epoch, "observed-path")
        cast("Supernet201", self.model).path = Space201().draw(rng)
        return super().run_epoch()

    def watch(self, counted: Mapping[str, Any] | None = None) -> None:
        """Have the selector, which is in this process, count what it hands out; see `SelectorService.watch`."""
        self._selector.watch(self._train.labels, counted)

    @property
    def _selector(self) -> SelectorService:
        return cast("SelectorService", self._client)

    def state(self) -> dict[str, Any]:
        """Return what `Trial.state` does, and what was counted."""
        return {**super().state(), "counted": self._selector.counted()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, counting included."""
        super().restore(state)
        self.watch(state.get("counted"))


class GenotypeTrial(Trial):
    """A DARTS network trained from scratch: drop path follows the epochs, an auxiliary head joins the loss."""

    def run_epoch(self) -> EpochReport:
        """Train one epoch, see `Trial.run_epoch`."""
        network = cast("DartsNetwork", self.model)
        network.set_progress(self.epoch / self.planned_epochs)
        if network.auxiliary is not None:
            self._loss = auxiliary_loss(network, label_smoothing=self.spec.recipe.label_smoothing)
        return super().run_epoch()


@dataclass(frozen=True, slots=True)
class SearchRows:
    """What a search over architectures reads.

    Attributes:
        train: Rows that weights learn from.
        validation: Rows that judge cells, or that alpha learns from.
        transform: Statistics of the training rows.
        num_classes: Of the task.
        device: Where to compute.
        ids: int64[n], which rows of the data set those of ``train`` and then those of ``validation`` are; only a
            bilevel search by a fit of SubSelNet asks.
    """

    train: RowSource
    validation: RowSource
    transform: Transform
    num_classes: int
    device: str = "cpu"
    ids: NDArray[np.int64] | None = None


def open_supernet(experiment: NasExperiment, rows: SearchRows) -> tuple[EpochTrial, int]:
    """Return the training of the experiment's supernet, and the samples its evidence has cost.

    Its selector runs in this process: a search trains one supernet, so no other trial could share it, and what it
    remembers, and what it has handed out, is part of the trial's state.
    """
    gathered: list[int] = []
    knowing = _knowing(experiment, rows, gathered)
    spec = _spec(experiment, supernet_builder(experiment), experiment.recipe, experiment.plan)
    spec = replace(spec, num_classes=rows.num_classes, device=rows.device)
    trial: EpochTrial
    if experiment.is_bilevel:
        trial = BilevelTrial(
            spec,
            rows.train,
            rows.validation,
            rows.transform,
            experiment.architecture,
            experiment.split,
            knowing,
            _fitted(experiment, rows) if experiment.reads_cells else None,
        )
    else:
        service = SelectorService(knowing(rows.train))
        trial = path = SinglePathTrial(spec, rows.train, rows.validation, rows.transform, service)
        path.watch()
    return trial, sum(gathered)


def _fitted(experiment: NasExperiment, rows: SearchRows) -> FittedPool:
    if rows.ids is None:
        raise DataError("A search by a fit of SubSelNet must know which rows of the data set it has: ids=None.")
    labels = np.concatenate([rows.train.labels, rows.validation.labels])
    return FittedPool.of(experiment.plan, experiment.space, rows.ids, labels)


def open_network(
    experiment: NasExperiment, builder: ModelBuilder, recipe: Recipe, plan: SubsetPlan, rows: SearchRows
) -> Trial:
    """Return the training of one network from scratch."""
    spec = replace(_spec(experiment, builder, recipe, plan), num_classes=rows.num_classes, device=rows.device)
    service = SelectorService(Context(len(rows.train), rows.train.labels))
    kind = GenotypeTrial if experiment.space == "darts" else Trial
    return kind(spec, rows.train, rows.validation, rows.transform, service)


def final_builder(genotype: str, channels: int, cells: int) -> ModelBuilder:
    """Return what builds the whole network of a genotype; it can be pickled."""
    return partial(_final, genotype, channels, cells)


def _final(genotype: str, channels: int, cells: int, num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    return DartsNetwork(SpaceDarts().parse(genotype), num_classes, input_shape, channels=channels, cells=cells)


def _spec(experiment: NasExperiment, model: ModelBuilder, recipe: Recipe, plan: SubsetPlan) -> TrialSpec:
    seeds: TrialSeeds = trial_seeds(experiment.seed, "supernet")
    return TrialSpec("supernet", model, recipe, plan.resolved("full"), seeds, num_classes=0)


def _knowing(experiment: NasExperiment, rows: SearchRows, gathered: list[int]) -> Knowing:
    """Gather evidence of a pool where the plan wants some; what it costs goes to ``gathered``."""
    plan = experiment.plan

    def know(pool: RowSource) -> Context:
        evidence = gather_evidence(
            plan,
            pool,
            rows.transform,
            model=plan.scout_model or "resnet20",
            recipe=experiment.recipe,
            num_classes=rows.num_classes,
            seed=seed64(experiment.seed, "evidence"),
            device=rows.device,
        )
        gathered.append(evidence.samples)
        return evidence.context

    return know


def derived_cell(supernet: nn.Module) -> str:
    """Return the name of the cell that a trained alpha prefers.

    Raises:
        ModelError: The supernet has no alpha.
    """
    if isinstance(supernet, DartsSupernet):
        return str(supernet.genotype())
    return str(cast("Supernet201", supernet).derived())


def probabilities_of(model: nn.Module) -> dict[str, list[list[float]]]:
    """Return softmax(alpha) by kind of cell, edge and operation; empty where there is no alpha."""
    if isinstance(model, DartsSupernet):
        normal, reduce = model.probabilities()
        return {"normal": normal.tolist(), "reduce": reduce.tolist()}
    return model.probabilities() if isinstance(model, Supernet201) else {}
