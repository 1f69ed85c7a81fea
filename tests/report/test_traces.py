"""Rank traces: ranks against scipy's, means, ends, files; the figures say what they draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata

from raysubset.errors import RecordError, StorageError
from raysubset.report.trace_figures import extremes, metric_probabilities_figure, rank_traces
from raysubset.report.traces import TRACED_ROWS, RankTrace, rank_shares
from raysubset.report.trials import epoch_mix
from raysubset.selection.mixture import metric_probabilities
from tests.report.synthetic import record
from tests.tolerances import FLOAT64, PROPERTY


@PROPERTY
@given(arrays(np.float32, st.integers(1, 60), elements=st.floats(-3, 3, width=32).map(lambda x: round(x, 1))))
def test_ranks_are_midranks(importance: np.ndarray) -> None:
    expected = rankdata(importance) / len(importance)
    np.testing.assert_allclose(rank_shares(importance), expected, atol=FLOAT64)


def test_a_trace_keeps_some_ranks_and_every_mean(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    epochs = rng.normal(size=(5, 100)).astype(np.float32)
    trace = RankTrace.empty(100, "loss")
    for values in epochs:
        trace = trace.after(values)
    trace.write(tmp_path / "t" / "a.npz")
    kept = RankTrace.read(tmp_path / "t" / "a.npz")
    ranks = np.array([rankdata(values) / 100 for values in epochs])
    assert len(kept.rows) == TRACED_ROWS
    np.testing.assert_allclose(kept.ranks, ranks[:, kept.rows], atol=1e-6)  # kept in float32
    np.testing.assert_allclose(kept.mean, ranks.mean(axis=0), atol=FLOAT64)
    assert list(kept.hardest(3)) == list(np.argsort(-ranks.mean(axis=0))[:3])
    assert list(kept.easiest(3)) == list(np.argsort(ranks.mean(axis=0))[:3])
    assert kept.metric == "loss"
    assert list(RankTrace.empty(3, "loss").rows) == [0, 1, 2]
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["a.npz"]


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"a\.npz"):
        RankTrace.read(tmp_path / "a.npz")
    for damaged in (b"PK\x03\x04 cut short", b"no archive", b""):
        (tmp_path / "a.npz").write_bytes(damaged)
        with pytest.raises(RecordError, match="no rank trace"):
            RankTrace.read(tmp_path / "a.npz")


def test_figures_say_what_they_draw() -> None:
    trace = RankTrace.empty(12, "loss")
    for shift in range(4):
        trace = trace.after(np.arange(12, dtype=np.float32) + shift)
    drawn = rank_traces(trace, "train-0000")
    assert "<svg" in drawn.svg
    assert "Least important on the mean: row 0; most: row 11" in drawn.alt
    images = np.zeros((3, 1, 8, 8), dtype=np.uint8)
    assert "row 11 (a): 1.00, row 10 (b): 0.92, row 9 (c): 0.83" in extremes(trace, images, "abc", "hardest").alt
    coloured = np.zeros((2, 3, 8, 8), dtype=np.uint8)
    assert "row 0 (a): 0.08, row 1 (b): 0.17" in extremes(trace, coloured, "ab", "easiest").alt
    rows = [record(f"t{t}", e + 1, metric_used="random" if t else "loss") for t in range(4) for e in range(3)]
    figure = metric_probabilities_figure(metric_probabilities(3), epoch_mix(rows), "order g012")
    assert "the share of 4 trainings" in figure.alt
