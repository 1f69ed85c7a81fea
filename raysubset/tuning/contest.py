"""A stage whose trials differ in how they choose their rows, and by seed, in place of by configuration.

The point of such a trial is {"plan": name, "seed": s}. All plans of a seed begin with the same weights and share
the noise of subsets, sample order and augmentation, so a difference between two of them is paired. Nothing is
chosen by these trials, so each is tested when it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysubset.runtime.store import StoredSplit
from raysubset.selection.plan import SubsetPlan


@dataclass(frozen=True, slots=True)
class Contest:
    """What the points of a stage stand for.

    Attributes:
        plans: By the name that a point gives.
        test: Rows that every finished trial is tested on; None where the data set has none.
        samples: What all trials are planned to consume.
        traces: Folder where the ranks of rows are kept, of plans that remember; None to keep none.
    """

    plans: Mapping[str, SubsetPlan]
    test: StoredSplit | None
    samples: int
    traces: Path | None = None

    def entry(self, point: Mapping[str, Any]) -> tuple[SubsetPlan, int]:
        """Return the plan and the seed of a point."""
        return self.plans[point["plan"]], int(point["seed"])
