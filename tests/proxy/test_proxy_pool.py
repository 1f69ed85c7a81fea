"""What is shared by all trials is computed once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from raysubset.proxy.pool import REMEMBERED_CHOICES, Pool
from raysubset.seeds import generator
from raysubset.selection.protocol import Context, Selector
from raysubset.types import Selection

N = 40


@dataclass(frozen=True)
class Counting:
    """Counts how often it is prepared and asked."""

    calls: list[str] = field(default_factory=list, compare=False, hash=False)

    def prepare(self, context: Context) -> Selector:
        self.calls.append("prepare")
        return self

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        self.calls.append(f"select at {context.progress:g}")
        return Selection.uniform(rng.permutation(context.pool_size)[:k], context.pool_size)


def test_a_shared_choice_is_made_once_for_equal_streams() -> None:
    pool, selector = Pool(Context(N)), Counting()
    first = pool.choose(selector, 5, 0.25, generator(0), (0, 1))
    assert pool.choose(selector, 5, 0.25, generator(0), (0, 1)) is first
    assert selector.calls == ["prepare", "select at 0.25"]
    pool.choose(selector, 5, 0.5, generator(0), (0, 2))
    pool.choose(selector, 6, 0.5, generator(0), (0, 2))
    assert selector.calls.count("prepare") == 1
    assert len(selector.calls) == 4


def test_old_choices_are_let_go() -> None:
    pool, selector = Pool(Context(N)), Counting()
    for epoch in range(REMEMBERED_CHOICES + 1):
        pool.choose(selector, 5, 0.0, generator(epoch), (0, epoch))
    pool.choose(selector, 5, 0.0, generator(1), (0, 1))
    assert len(selector.calls) == 1 + REMEMBERED_CHOICES + 1
    pool.choose(selector, 5, 0.0, generator(0), (0, 0))
    assert len(selector.calls) == 1 + REMEMBERED_CHOICES + 2


def test_steering_rows_keep_the_class_shares_and_never_change() -> None:
    labels = np.repeat([0, 1], [30, 10])
    rows = Pool(Context(N, labels)).steering_rows(8)
    assert np.bincount(labels[rows]).tolist() == [6, 2]
    assert rows.tolist() == sorted(set(rows.tolist()))
    np.testing.assert_array_equal(rows, Pool(Context(N, labels)).steering_rows(8))
    assert len(Pool(Context(N)).steering_rows(0)) == 0
