"""One race over shards that lie in several processes, hence on several machines.

    survey(stride)  ->  Survey       once: extremes of the values, and a sample
    run(heat)       ->  Finishers    once, rarely twice: the keys above a common threshold

The coordinator learns from the surveys which threshold little more than m keys of all rows exceed; every shard
sends its rows above it, and the m best of those are the draw. A shard never sends its values, nor its m best keys:
only its share of the winners and a few more. The rows drawn are bit for bit those of `race.race_top_m` over all
values in one process, for any number of shards, empty ones included: a key depends on value, row and race alone,
ties go to the lowest row, and also the sample, hence the threshold, is that of one process.

Messages for S shards: 2 S requests and 2 S answers, 2 S more for each heat after the first (see `race.heats`).
Bytes: at most 64 k values of the sample (256 kB), 16 for each row above the threshold, of which about
m + 3 sqrt(m (n - m) / 2^15) + n / 2^12 are expected (1.05 m for a tenth of the rows, 1.19 m for a hundredth), and
a few hundred a message. Never more than 16 S m, however wrong the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import BudgetError
from raysubset.selection.kernels.entrants import Entrants, Survey, stride_for
from raysubset.selection.kernels.race import Finishers, Heat, heats, merged, run_heat


class Shards(Protocol):
    """All shards of the rows 0..n-1, in row order; each is asked once a call, all at the same time."""

    def survey(self, stride: int) -> Sequence[Survey]:
        """Return `Entrants.survey` of every shard."""
        ...

    def run(self, heat: Heat) -> Sequence[Finishers]:
        """Return `race.run_heat` of every shard."""
        ...


class LocalShards:
    """Shards in this process: the twin of those over Ray.

    Args:
        parts: In row order, without gaps, from row 0; any may be empty.
    """

    def __init__(self, parts: Sequence[Entrants]) -> None:
        self._parts = parts

    def survey(self, stride: int) -> list[Survey]:
        """Ask every shard; see `Shards`."""
        return [part.survey(stride) for part in self._parts]

    def run(self, heat: Heat) -> list[Finishers]:
        """Ask every shard; see `Shards`."""
        return [run_heat(part, heat) for part in self._parts]


def race_over(
    shards: Shards, n: int, m: int, key: int, temperature: float = 1.0, *, ordered: bool = False
) -> NDArray[np.int64]:
    """Draw m of the n rows of all shards, in proportion to exp(value / temperature), without replacement.

    Args:
        shards: Rows 0..n-1.
        n: Rows of all shards together.
        m: Rows to draw, 1 <= m <= n.
        key: Of the race, from `race.race_key`.
        temperature: T > 0.
        ordered: In drawing order; else by increasing row.

    Returns:
        int64[m], those of `race.race_top_m` over all values.

    Raises:
        BudgetError: m outside [1, n], or the shards do not have n rows.
        OptionsError: temperature <= 0, or so small that a value divided by it overflows.
        SelectionError: A value is NaN or infinite (names its row).

    Cost: That of two passes over the largest shard, and O(m) at the coordinator: 50 bytes for each of its 1.05 m
    candidates. At n = 1e9 with m = 1e8: 64 shards of 64 MB each in float32, and 5 GB here.
    """
    surveys = shards.survey(stride_for(n))
    if (held := sum(survey.rows for survey in surveys)) != n:
        raise BudgetError(f"Cannot select m={m} of n={n} rows: the {len(surveys)} shards hold {held}.")
    for heat in heats(surveys, m, key, temperature):
        found = shards.run(heat)
        if sum(len(part.rows) for part in found) >= m:
            break
    return merged(found, m, ordered=ordered)
