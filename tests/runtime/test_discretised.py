"""The discretised-cell reading: whose rows an epoch has, when they change, refusals, the same search again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_fit import save_fit, small_fit

from raysubset.data.batches import ArraySource
from raysubset.data.dataset import Dataset
from raysubset.data.embedded import embedded_mnist
from raysubset.data.split import stratified_split
from raysubset.data.transform import Transform
from raysubset.errors import ArchitectureError, BudgetError, DataError, SelectorError, StorageError
from raysubset.nas.genotype import DARTS_V1, DARTS_V2, Genotype
from raysubset.nas.space_darts import SpaceDarts
from raysubset.nas_experiment import NasExperiment
from raysubset.proxy.stream import StreamSpec
from raysubset.report.nas_info import READING
from raysubset.runtime.architectures import SearchRows, open_supernet
from raysubset.runtime.discretised import DiscretisedSides, FittedPool
from raysubset.seeds import generator
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.subselnet.selector import SubSelNet
from raysubset.subselnet.space import encoded_space
from raysubset.training.bilevel import ArchitectureRecipe
from raysubset.training.recipe import Recipe
from raysubset.tuning.nas_run import create_nas_run
from raysubset.tuning.progress import Silent

DARTS = encoded_space("darts")
SIDES = 80


@pytest.fixture(scope="module")
def data() -> Dataset:
    return embedded_mnist().thin(2 * SIDES).shrunk(3)


@pytest.fixture(scope="module")
def ids(data: Dataset) -> NDArray[np.int64]:
    return np.concatenate(stratified_split(data.train.labels, 0.5, 0))


@pytest.fixture(scope="module")
def folder(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit of nine rows in ten, in their own order."""
    kept, _ = stratified_split(data.train.labels, 0.1, 1)
    state = small_fit(data.train.labels[kept], space="darts")
    return save_fit(tmp_path_factory.mktemp("darts"), {**state, "rows": kept})


def plan(folder: Path, ratio: float = 0.3, **options: Any) -> SubsetPlan:
    return SubsetPlan(selector="subselnet", ratio=ratio, options={"fitted": str(folder), **options})


def pool(folder: Path, data: Dataset, ids: NDArray[np.int64]) -> FittedPool:
    return FittedPool.of(plan(folder), "darts", ids, data.train.labels[ids])


class Alpha:
    """Stands for a genotype that a test changes."""

    def __init__(self, genotype: Genotype) -> None:
        self.genotype = genotype

    def __call__(self) -> Genotype:
        return self.genotype


def sides(folder: Path, data: Dataset, ids: NDArray[np.int64], alpha: Callable[[], Genotype], **options: Any):  # type: ignore[no-untyped-def]
    sources = [ArraySource(data.train.take(part)) for part in (ids[:SIDES], ids[SIDES:])]
    spec = StreamSpec(plan(folder, **options), 6, seed=4)
    return DiscretisedSides(*sources, spec, pool(folder, data, ids), alpha)


def rows_of(two: DiscretisedSides, ids: NDArray[np.int64], epoch: int) -> tuple[list[int], list[int]]:
    """Rows of the data set that an epoch trains the weights and alpha on."""
    own, other = (ids[side.subset.selection.indices].tolist() for side in two.next(epoch))
    return own, other


def test_an_epoch_has_what_the_sampler_draws_for_the_genotype(
    folder: Path, data: Dataset, ids: NDArray[np.int64]
) -> None:
    alpha = Alpha(DARTS_V2)
    two = sides(folder, data, ids, alpha)
    own, other = rows_of(two, ids, 0)
    state = small_fit(data.train.labels[stratified_split(data.train.labels, 0.1, 1)[0]], space="darts")
    cell = str(DARTS.canonical(DARTS_V2))
    rng = generator(4, "discretised-cell", cell)  # the key is part of the contract: a resumed search draws alike
    known = Context(len(state["labels"]), state["labels"])
    drawn = SubSelNet(str(folder), cell).select(known, round(0.3 * 2 * SIDES), rng)
    kept, _ = stratified_split(data.train.labels, 0.1, 1)
    assert sorted(own + other) == sorted(kept[drawn.indices].tolist())
    assert set(own) <= set(ids[:SIDES].tolist())
    assert set(other) <= set(ids[SIDES:].tolist())
    for side, ours in zip(two.next(0), (own, other), strict=True):
        inputs, labels = side.source.rows(side.subset.selection.indices)
        assert np.array_equal(inputs, data.train.take(np.array(ours)).inputs)
        assert np.array_equal(labels, data.train.labels[ours])
        assert side.subset.metric == READING
        assert (side.subset.selection.weights == 1).all()


def test_rows_follow_the_genotype_and_are_chosen_only_when_it_changes(
    folder: Path, data: Dataset, ids: NDArray[np.int64], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    select = SubSelNet.select
    monkeypatch.setattr(SubSelNet, "select", lambda self, *given: asked.append(self.cell) or select(self, *given))
    alpha = Alpha(DARTS_V1)
    two = sides(folder, data, ids, alpha)
    first = rows_of(two, ids, 0)
    assert rows_of(two, ids, 1) == first
    low, high, *others = DARTS_V1.normal
    alpha.genotype = Genotype(normal=(high, low, *others), reduce=DARTS_V1.reduce)  # the same network
    assert rows_of(two, ids, 2) == first
    assert len(asked) == 1
    alpha.genotype = DARTS_V2
    assert rows_of(two, ids, 3) != first
    assert asked == [str(DARTS.canonical(cell)) for cell in (DARTS_V1, DARTS_V2)]
    alpha.genotype = DARTS_V1
    assert rows_of(two, ids, 4) == first


def test_losses_foreseen_for_another_genotype_are_others(
    folder: Path, data: Dataset, ids: NDArray[np.int64], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the noise alone: with one stream for all genotypes their subsets differ still."""
    from raysubset.runtime import discretised

    monkeypatch.setattr(discretised, "generator", lambda *_: generator(0, "one for all"))
    alpha, seen = Alpha(DARTS_V1), set()
    two = sides(folder, data, ids, alpha, sampler="gibbs", entropy=0.05)
    for epoch, cell in enumerate((DARTS_V1, DARTS_V2, *DARTS.draw(3, 9))):
        alpha.genotype = cell
        seen.add(tuple(map(tuple, rows_of(two, ids, epoch))))
    assert len(seen) > 1


def test_the_sampler_is_the_one_asked_for(folder: Path, data: Dataset, ids: NDArray[np.int64]) -> None:
    alpha = Alpha(DARTS_V2)
    drawn = [
        rows_of(sides(folder, data, ids, alpha, sampler=sampler, steps=5), ids, 0)
        for sampler in ("gibbs-per-class", "gibbs", "transductive")
    ]
    assert len({tuple(map(tuple, rows)) for rows in drawn}) == 3


def test_a_checkpoint_brings_the_rows_back(folder: Path, data: Dataset, ids: NDArray[np.int64]) -> None:
    alpha = Alpha(DARTS_V2)
    begun = sides(folder, data, ids, alpha)
    rows = rows_of(begun, ids, 0)
    resumed = sides(folder, data, ids, alpha)
    resumed.restore(copy.deepcopy(begun.state()))
    assert rows_of(resumed, ids, 1) == rows
    alpha.genotype = DARTS_V1
    assert rows_of(resumed, ids, 2) == rows_of(begun, ids, 2) != rows


def test_what_is_handed_out_is_counted_over_an_interruption_too(
    folder: Path, data: Dataset, ids: NDArray[np.int64]
) -> None:
    alpha = Alpha(DARTS_V1)
    begun, resumed = (sides(folder, data, ids, alpha) for _ in range(2))
    assert begun.counted() is None
    begun.watch()
    handed = [side.subset.selection.indices for side in begun.next(0)]
    resumed.watch(begun.counted())
    alpha.genotype = DARTS_V2
    handed += [side.subset.selection.indices for side in resumed.next(1)]
    counted = resumed.counted()
    assert counted["times"].tolist() == np.bincount(np.concatenate(handed), minlength=len(ids)).tolist()
    labels = data.train.labels[ids]
    assert counted["by_class"].sum(axis=0).tolist() == np.bincount(labels[np.concatenate(handed)]).tolist()


def test_nothing_is_observed(folder: Path, data: Dataset, ids: NDArray[np.int64]) -> None:
    with pytest.raises(SelectorError, match="looks at the genotype alone"):
        sides(folder, data, ids, Alpha(DARTS_V2)).observe(0, ())


# ---------------------------------------------------------------------- refusals


def test_fits_of_other_cells_and_rows_are_refused(
    folder: Path, data: Dataset, ids: NDArray[np.int64], tmp_path: Path
) -> None:
    labels = data.train.labels
    nb101 = save_fit(tmp_path / "nb101", small_fit())
    with pytest.raises(DataError, match="fitted on cells of 'nb101', and these are of 'darts'.*--space darts"):
        FittedPool.of(plan(nb101), "darts", ids, labels[ids])
    with pytest.raises(DataError, match="of 144 rows, 144 of which this search of 160 rows has not"):
        FittedPool.of(plan(folder), "darts", ids + 1000, labels[ids])
    with pytest.raises(DataError, match="or with another label"):
        FittedPool.of(plan(folder), "darts", ids, (labels[ids] + 1) % 10)
    missing = ids[ids != stratified_split(labels, 0.1, 1)[0][3]]
    with pytest.raises(DataError, match="of which this search of 159 rows has not"):
        FittedPool.of(plan(folder), "darts", missing, labels[missing])
    with pytest.raises(StorageError, match="no finished fit"):
        FittedPool.of(plan(tmp_path), "darts", ids, labels[ids])


def test_a_cell_of_the_other_space_is_refused_by_name(folder: Path, data: Dataset, tmp_path: Path) -> None:
    labels = data.train.labels[stratified_split(data.train.labels, 0.1, 1)[0]]
    with pytest.raises(ArchitectureError, match=r"fitted on cells of 'darts'.*looks like a NAS-Bench-101 cell"):
        SubSelNet(str(folder), "conv3x3-bn-relu~0+output~1").select(Context(len(labels), labels), 5, generator(0))
    nb101 = save_fit(tmp_path, small_fit(labels))
    with pytest.raises(ArchitectureError, match="fitted on cells of 'nb101'"):
        SubSelNet(str(nb101), str(DARTS_V2)).select(Context(len(labels), labels), 5, generator(0))


def test_subsets_that_cannot_be_are_refused(folder: Path, data: Dataset, ids: NDArray[np.int64]) -> None:
    with pytest.raises(BudgetError, match="ratio=0.95 of 160 rows is 152, and the fit knows 144"):
        sides(folder, data, ids, Alpha(DARTS_V2), ratio=0.95)
    kept, _ = stratified_split(data.train.labels, 0.1, 1)
    beside = np.setdiff1d(np.arange(2 * SIDES), kept)
    one_sided = np.concatenate([kept, beside])  # alpha's side has none of the fit's rows
    sources = [ArraySource(data.train.take(part)) for part in (kept, beside)]
    spec, known = StreamSpec(plan(folder), 6, seed=4), pool(folder, data, one_sided)
    with pytest.raises(BudgetError, match="all 48 rows that were chosen .* are on one side"):
        DiscretisedSides(*sources, spec, known, Alpha(DARTS_V2)).next(0)


# ---------------------------------------------------------------------- searches


def search(folder: Path, **options: Any) -> NasExperiment:
    asked: dict[str, Any] = {
        "plan": plan(folder, 0.4),
        "recipe": Recipe(epochs=4, batch_size=32, lr=0.05),
        "architecture": ArchitectureRecipe(lr=0.3),  # so that genotypes change
        **options,
    }
    return NasExperiment(name="x", space="darts", algo="darts", channels=1, cells=3, **asked)


def rows(data: Dataset, ids: NDArray[np.int64]) -> SearchRows:
    sources = (ArraySource(data.train.take(part)) for part in (ids[:SIDES], ids[SIDES:]))
    return SearchRows(*sources, Transform.fit(data.train.inputs), data.num_classes, ids=ids)


def test_the_same_seed_makes_the_same_search_also_after_a_checkpoint(
    folder: Path, data: Dataset, ids: NDArray[np.int64]
) -> None:
    def train(asked: NasExperiment, stop_at: int = 9) -> tuple[list[Any], list[str], Any]:
        trial, evidence = open_supernet(asked, rows(data, ids))
        assert evidence == 0
        seen, cells = [], []
        while not trial.done and len(seen) < 4:
            if len(seen) == stop_at:
                state = copy.deepcopy(trial.state())
                trial, _ = open_supernet(asked, rows(data, ids))
                trial.restore(state)
            cells.append(str(DARTS.canonical(trial.model.genotype())))  # type: ignore[operator]
            one = trial.run_epoch()
            seen.append((one.epoch, one.samples_consumed, one.ratio, one.metric_used, one.train_loss))
        return seen, cells, trial.model.state_dict()

    whole, cells, weights = train(search(folder))
    assert [line[:4] for line in whole] == [(e, 64 * e, 0.4, READING) for e in range(1, 5)]
    assert len(set(cells)) > 1
    assert train(search(folder))[0] == whole
    resumed, _, resumed_weights = train(search(folder), 2)
    assert resumed == whole
    assert all(torch.equal(resumed_weights[name], value) for name, value in weights.items())
    assert train(replace(search(folder), seed=1))[0] != whole


def test_a_search_that_does_not_know_its_rows_is_refused(
    folder: Path, data: Dataset, ids: NDArray[np.int64]
) -> None:
    with pytest.raises(DataError, match="must know which rows"):
        open_supernet(search(folder), replace(rows(data, ids), ids=None))


def test_what_does_not_fit_is_refused_before_a_folder_is_made(data: Dataset, folder: Path, tmp_path: Path) -> None:
    for asked, has, phrase in (
        (search(folder), data.thin(80), "of 144 rows.*another label"),
        (search(save_fit(tmp_path / "fit", small_fit())), data, "'nb101', and these are of 'darts'"),
    ):
        with pytest.raises(DataError, match=phrase):
            create_nas_run(asked, has, tmp_path, Silent(), command="test")
        assert not (tmp_path / "x").exists()
    assert create_nas_run(search(folder), data, tmp_path, Silent(), command="test").info.metric == READING


def test_random_search_gives_each_genotype_its_subset(data: Dataset, folder: Path) -> None:
    """No supernet: the fit's rows are the pool, as with NAS-Bench-101."""
    from raysubset.runtime.judges import TrainingJudge

    asked = replace(search(folder), algo="random", plan=plan(folder, 0.25), recipe=Recipe(epochs=1, batch_size=32))
    kept, held_out = stratified_split(data.train.labels, 0.1, 1)
    sources = (ArraySource(data.train.take(part)) for part in (kept, held_out))
    whole = SearchRows(*sources, Transform.fit(data.train.inputs), data.num_classes)
    (judged,) = TrainingJudge(asked, whole).judge([str(SpaceDarts().draw(generator(0, "one")))])
    assert judged.samples == 36
