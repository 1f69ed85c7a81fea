"""What a selection costs: run with ``pytest tests/benchmarks/bench_kernels.py``."""

from __future__ import annotations

import numpy as np
import pytest

from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.pool import Pool
from raysubset.proxy.stream import StreamSpec, SubsetStream
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.selection.sampling import gumbel_top_m

SIZES = (50_000, 1_280_000)


@pytest.mark.parametrize("n", SIZES)
def test_gumbel_top_m(benchmark, n: int) -> None:
    values = np.random.default_rng(0).exponential(size=n).astype(np.float32)
    assert len(benchmark(lambda: gumbel_top_m(values, n // 10, np.random.default_rng(1)))) == n // 10


@pytest.mark.parametrize("n", SIZES)
def test_next_and_record(benchmark, n: int) -> None:
    rng = np.random.default_rng(0)
    stream = SubsetStream(StreamSpec(SubsetPlan(metric="loss", ratio=0.1), 10_000, 0), Pool(Context(n)))
    epoch = iter(range(10_000))

    def one_epoch() -> None:
        number = next(epoch)
        rows = stream.next(number).selection.indices
        values = rng.random(len(rows), dtype=np.float32)
        stream.record(number, EpochSignals(rows, values, values, values, values > 0.5))

    benchmark.pedantic(one_epoch, rounds=10, warmup_rounds=2)
