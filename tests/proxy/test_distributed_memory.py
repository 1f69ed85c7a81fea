"""A memory in shards: what one memory would remember and draw, whatever the shards; and what they must notice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raysubset.errors import BudgetError, OptionsError, SelectorError
from raysubset.proxy.distributed import (
    DistributedMemory,
    InProcess,
    MemoryShard,
    check_shardable,
    kept_metrics,
    local_memory,
    places,
    shard_edges,
)
from raysubset.proxy.memory import REMEMBERED, EpochSignals, ProxyMemory
from raysubset.seeds import generator
from raysubset.selection import sampling
from raysubset.selection.asp import ProxySampling
from raysubset.selection.kernels.race import race_key
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context

N = 101
MIXTURE = SubsetPlan(first_epoch="scheduled")
HALF = SubsetPlan(first_epoch="scheduled", memory="float16")


@pytest.fixture(autouse=True)
def early_races(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "RACE_FROM", 1)


def signals_of(epoch: int, rows: np.ndarray) -> EpochSignals:
    rng = generator(7, epoch)
    loss, entropy, gradient = rng.exponential(size=(3, N)).astype(np.float32)[:, rows]
    return EpochSignals(rows.astype(np.int64), loss, 2 * entropy, 30 * gradient, loss < 0.5)


@pytest.mark.parametrize("shards", [1, 2, 7, N + 9])
@pytest.mark.parametrize("plan", [MIXTURE, HALF], ids=["float32", "float16"])
def test_a_memory_in_shards_draws_what_one_memory_draws(plan: SubsetPlan, shards: int) -> None:
    whole, split = ProxyMemory(N, plan.memory), local_memory(N, shards, plan)
    for epoch in range(3):
        rows = generator(1, epoch).permutation(N)[: 20 + 30 * epoch]  # in no order; some rows stay unseen for long
        for metric in REMEMBERED:
            context = Context(N, signals={metric: whole.importance(metric)})
            for m in (1, 30, N) if metric == "loss" else (30,):
                chosen = ProxySampling(metric, 0.7).select(context, m, generator(2, epoch))
                drawn = split.draw(metric, m, race_key(generator(2, epoch)), 0.7)
                assert drawn.tolist() == chosen.indices.tolist()
        whole.record(epoch, signals_of(epoch, rows))
        split.record(epoch, signals_of(epoch, rows))


def test_an_epoch_counts_once() -> None:
    split, again = local_memory(N, 3, MIXTURE), local_memory(N, 3, MIXTURE)
    for memory in (split, again):
        memory.record(0, signals_of(0, np.arange(50)))
    again.record(0, signals_of(9, np.arange(50)))
    for metric in REMEMBERED:
        assert again.draw(metric, 20, 5).tolist() == split.draw(metric, 20, 5).tolist()


def test_a_shard_that_is_told_again_changes_nothing() -> None:
    """Ray calls once more where an answer was lost."""
    shard = MemoryShard(0, N, "float32", ("loss",))
    for number in (0, 9):
        shard.record(0, signals_of(number, np.arange(N)), after=-1)
    np.testing.assert_array_equal(shard.state()["memory"]["loss"], signals_of(0, np.arange(N)).loss)


def test_random_draws_follow_no_memory() -> None:
    split = local_memory(N, 3, MIXTURE)
    before = split.draw("random", 40, 5).tolist()
    split.record(0, signals_of(0, np.arange(N)))
    assert split.draw("random", 40, 5).tolist() == before
    counts = np.bincount(np.concatenate([split.draw("random", 10, key) for key in range(1000)]), minlength=N)
    assert abs(counts - 1000 * 10 / N).max() < 5 * np.sqrt(1000 * 10 / N)


def test_edges_leave_no_row_out() -> None:
    for n, shards in ((10, 3), (2, 5), (0, 1), (10**9, 64)):
        edges = shard_edges(n, shards)
        assert (edges[0], edges[-1], len(edges)) == (0, n, shards + 1)
        assert set(np.diff(edges).tolist()) <= {n // shards, n // shards + 1}
    with pytest.raises(OptionsError, match="shards=0, need at least 1"):
        shard_edges(10, 0)


def test_one_metric_keeps_one_vector() -> None:
    (state,) = local_memory(N, 1, SubsetPlan(metric="loss")).state()
    assert set(state["memory"]) == {"loss", "seen", "rejected"}
    memory = local_memory(N, 2, SubsetPlan(metric="loss"))
    memory.record(0, signals_of(0, np.arange(N)))
    with pytest.raises(SelectorError, match=r"Metric 'entropy' is not kept by this memory. Kept: loss"):
        memory.draw("entropy", 5, 0)
    assert kept_metrics("random") == ()


@pytest.mark.parametrize("rows", [[-1, 3], [3, N]])
def test_rows_outside_are_refused_whole(rows: list[int]) -> None:
    memory = local_memory(N, 3, MIXTURE)
    with pytest.raises(SelectorError, match=f"of a memory of {N}"):
        memory.record(0, EpochSignals(np.array(rows), *np.ones((3, 2), np.float32), np.ones(2, bool)))
    memory.record(0, signals_of(0, np.arange(N)))


@pytest.mark.parametrize("m", [0, N + 1])
def test_budget_out_of_range(m: int) -> None:
    with pytest.raises(BudgetError, match=f"m={m} of n={N}"):
        local_memory(N, 3, MIXTURE).draw("loss", m, 0)


def in_parts(plan: SubsetPlan) -> tuple[DistributedMemory, list[MemoryShard]]:
    edges = shard_edges(N, 3)
    parts = [MemoryShard(*place, plan.memory, kept_metrics(plan.metric)) for place in places(edges)]
    return DistributedMemory(InProcess(parts), edges), parts


class Careless(InProcess):
    """Swallows what is told, as Ray does with the answers that nobody asks for."""

    def tell(self, method: str, arguments: Any) -> None:
        for shard, own in zip(self._shards, arguments, strict=True):
            try:
                getattr(shard, method)(*own)
            except SelectorError:
                continue


@pytest.mark.parametrize("records_after", [False, True])
def test_a_shard_that_came_back_empty_is_noticed(records_after: bool) -> None:
    """Also if it has been told of another epoch since: that alone is not the memory."""
    edges = shard_edges(N, 3)
    parts = [MemoryShard(*place, "float32", REMEMBERED) for place in places(edges)]
    memory = DistributedMemory(Careless(parts), edges)
    memory.record(0, signals_of(0, np.arange(N)))
    saved, expected = memory.state(), memory.draw("loss", 20, 5).tolist()
    parts[1] = MemoryShard(*places(edges)[1], "float32", REMEMBERED)
    if records_after:
        memory.record(1, signals_of(1, np.arange(N)))
    with pytest.raises(SelectorError, match=r"The shard of rows 33\.\.66 remembers epoch -1"):
        memory.draw("loss", 20, 5)
    memory.restore(saved)
    assert memory.draw("loss", 20, 5).tolist() == expected


@pytest.mark.parametrize("plan", [MIXTURE, HALF], ids=["float32", "float16"])
def test_goes_on_from_a_state(plan: SubsetPlan) -> None:
    first, second = local_memory(N, 3, plan), local_memory(N, 3, plan)
    first.record(4, signals_of(4, np.arange(0, N, 2)))
    states = first.state()
    assert states[0]["memory"]["loss"].dtype == plan.memory
    second.restore(states)
    for memory in (first, second):
        memory.record(4, signals_of(8, np.arange(N)))  # known already
        memory.record(5, signals_of(5, np.arange(0, N, 3)))
    assert first.draw("gradient", 40, 3).tolist() == second.draw("gradient", 40, 3).tolist()


def test_states_of_other_shards_are_refused() -> None:
    memory, _ = in_parts(MIXTURE)
    states = memory.state()
    with pytest.raises(SelectorError, match="has 2 shards"):
        memory.restore(states[:2])
    with pytest.raises(SelectorError, match="from row 33, this one has 33 from row 0"):
        memory.restore(states[::-1][1:] + states[:1])
    with pytest.raises(SelectorError, match=r"at the epochs \[-1, 2\]"):
        memory.restore([*states[:2], {**states[2], "recorded": 2}])


def test_plans_that_need_all_values_in_one_place_are_named_with_every_reason() -> None:
    for plan in (MIXTURE, HALF, SubsetPlan(metric="loss", temperature=0.1), SubsetPlan(metric="random")):
        check_shardable(plan)
    plan = SubsetPlan(scale="rank", per_class=True, deterministic=True, first_epoch="shared")
    with pytest.raises(OptionsError) as caught:
        local_memory(N, 2, plan)
    for reason in ("scale='rank'", "per_class", "deterministic", "first_epoch='shared'"):
        assert reason in str(caught.value)
    with pytest.raises(OptionsError, match="selector='craig'"):
        check_shardable(SubsetPlan(selector="craig"))
    with pytest.raises(OptionsError, match="scale='zscore'"):
        check_shardable(SubsetPlan(scale="zscore"))
