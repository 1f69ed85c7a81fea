"""What a search hands out is counted, kept and shown; the rows that are shown are the ones that stand out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import raysubset as rs
from raysubset.data.batches import ArraySource
from raysubset.data.dataset import Split
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.report.selections import Selections, read_selections
from raysubset.tuning.api import TuneResult
from raysubset.tuning.watching import EXAMPLES, with_examples, worth_a_look

N = 200


def counts(**changes) -> Selections:
    tally = {
        "times": np.arange(N, dtype=np.uint32), "epochs": np.arange(1), "subsets": np.array([N]),
        "by_class": np.array([[N * (N - 1) // 2]]), "watched_rows": np.arange(5),
        "watched": np.zeros((1, 5), dtype=np.uint32), "rank_sum": np.linspace(1, 0, N).astype(np.float32),
        "rank_weight": np.ones(N, dtype=np.float32), "in_batch": 0,
    }  # fmt: skip
    return replace(Selections.of(tally, np.zeros(N, dtype=np.int64), ("only",)), **changes)


def source(inputs: np.ndarray) -> ArraySource:
    return ArraySource(Split(inputs, np.zeros(len(inputs), dtype=np.int64)))


def test_the_rows_at_the_ends_of_difficulty_and_counts_are_looked_at() -> None:
    ends = [*range(EXAMPLES), *range(N - EXAMPLES, N)]
    assert worth_a_look(counts()).tolist() == ends
    middle = np.full(N, 0.0, dtype=np.float32)
    middle[100:140] = 1.0
    rows = worth_a_look(counts(rank_weight=middle))  # only those were remembered by anybody
    hard = set(rows.tolist()) - set(ends)
    assert hard == {*range(100, 100 + EXAMPLES), *range(140 - EXAMPLES, 140)}


def test_among_equals_not_the_first_rows_are_looked_at() -> None:
    rows = worth_a_look(counts(times=np.zeros(N, dtype=np.uint32), rank_weight=np.zeros(N, dtype=np.float32)))
    assert len(rows) == 2 * EXAMPLES
    assert rows.max() > N // 2
    assert rows.tolist() != list(range(2 * EXAMPLES))


def test_examples_are_the_rows_themselves_and_large_ones_are_made_smaller() -> None:
    images = np.random.default_rng(0).integers(0, 256, (N, 3, 10, 8), dtype=np.uint8)
    known = with_examples(counts(), source(images))
    assert np.array_equal(known.examples, images[known.example_rows])
    large = np.full((N, 1, 256, 128), 7, dtype=np.uint8)
    assert with_examples(counts(), source(large)).examples.shape == (2 * EXAMPLES, 1, 64, 32)


@pytest.mark.parametrize("inputs", [np.zeros((N, 5), np.float32), np.zeros((N, 4, 8, 8), np.uint8)])
def test_rows_that_are_no_images_have_no_examples(inputs: np.ndarray) -> None:
    assert len(with_examples(counts(), source(inputs)).examples) == 0


@pytest.mark.ray
def test_a_search_keeps_what_was_chosen(ray_cluster, digits, tmp_path: Path) -> None:
    plan = rs.SubsetPlan(metric="loss", ratio=0.2, schedule="static")
    result = rs.tune(model="lenet", data=digits, plan=plan, recipe=rs.Recipe(epochs=3), search="random",
                     scheduler="none", trials=2, name="watched", root=tmp_path, progress=False)  # fmt: skip
    folder = result.run.folder
    rows = read_records(folder / RECORDS_FILE).stage("search")
    known = read_selections(folder)
    assert known is not None
    assert known.counted == len(rows) == 6
    n = result.run.info.n_train
    assert int(known.times.sum()) == int(known.by_class.sum()) == round(sum(row.ratio * n for row in rows))
    assert np.array_equal(known.labels, digits.train.labels[_training_rows(result)])
    assert known.rank_weight.max() == 6.0
    assert 0 < len(known.examples) <= 4 * EXAMPLES
    assert np.array_equal(known.examples, digits.train.inputs[_training_rows(result)][known.example_rows])
    assert known.selector_peak_bytes > 10_000_000
    assert all(row.peak_bytes is not None and row.peak_bytes > 10_000_000 for row in rows)
    assert "What was chosen" in result.report().read_text(encoding="utf-8")


def _training_rows(result: TuneResult) -> np.ndarray:
    from raysubset.tuning.run import split_rows

    return split_rows(result.run.experiment, result.run.data)[0]
