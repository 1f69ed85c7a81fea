"""The nouns every room shares: frozen, and checked once when they are made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raysubset.errors import RecordError, SelectionError

MEAN_WEIGHT_TOLERANCE = 1e-3  # float32 mean of up to 1e9 weights, with two digits to spare
RECORD_SCHEMA = 1


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The rows an epoch trains on, and how much each counts.

    Attributes:
        indices: int64[k], unique, each in [0, pool_size), in the selector's own order (best first).
        weights: float32[k], finite, >= 0, mean 1 unless ``unbiased``. The loss of a batch is mean(w * l).
        pool_size: Rows that could have been chosen.
        scale: Mean of the weights as the method computed them: ``weights * scale`` are those raw weights (CRAIG:
            rows represented; GRAD-MATCH: coefficients), with which parts of a pool are put together again.
        unbiased: The weights are inverse inclusion probabilities and keep their mean (InfoBatch's 1 / (1 - r)).

    Raises:
        SelectionError: A row repeats or lies outside the pool, or the weights do not have mean 1.

    Cost: O(k) time and pool_size bytes for the check.
    """

    indices: NDArray[np.int64]
    weights: NDArray[np.float32]
    pool_size: int
    scale: float = 1.0
    unbiased: bool = False

    def __post_init__(self) -> None:
        indices, weights = self.indices, self.weights
        if indices.ndim != 1 or indices.dtype != np.int64 or weights.shape != indices.shape:
            raise SelectionError(
                f"Selection needs int64[k] indices and float32[k] weights, got {indices.dtype}{indices.shape} "
                f"and {weights.dtype}{weights.shape}."
            )
        if weights.dtype != np.float32:
            raise SelectionError(f"Selection weights must be float32, got {weights.dtype}.")
        if len(indices) == 0:
            raise SelectionError(f"Selection is empty (pool of {self.pool_size}): nothing would be trained.")
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= self.pool_size:
            raise SelectionError(f"Selection rows span [{low}, {high}], allowed [0, {self.pool_size}).")
        chosen = np.zeros(self.pool_size, dtype=bool)
        chosen[indices] = True
        if (distinct := int(chosen.sum())) != len(indices):
            raise SelectionError(f"Selection repeats rows: {len(indices)} given, {distinct} distinct.")
        mean = float(weights.mean(dtype=np.float64))
        off = 0.0 if self.unbiased else abs(mean - 1.0)
        if not math.isfinite(mean) or weights.min() < 0 or off > MEAN_WEIGHT_TOLERANCE:
            raise SelectionError(f"Selection weights must be >= 0 with mean 1, got mean {mean:.6g}.")

    def __len__(self) -> int:
        return len(self.indices)

    @classmethod
    def uniform(cls, indices: ArrayLike, pool_size: int) -> Self:
        """Rows that all count the same (weights 1)."""
        rows = np.asarray(indices, dtype=np.int64)
        return cls(rows, np.ones(len(rows), dtype=np.float32), pool_size)

    @classmethod
    def weighted(cls, indices: ArrayLike, weights: ArrayLike, pool_size: int) -> Self:
        """Rows with raw non-negative weights: zero-weight rows are dropped, the rest scaled to mean 1."""
        rows, raw = np.asarray(indices, dtype=np.int64), np.asarray(weights, dtype=np.float64)
        if rows.shape != raw.shape:
            raise SelectionError(f"Selection has {rows.shape} rows and {raw.shape} weights, need one a row.")
        rows, raw = rows[raw != 0], raw[raw != 0]
        if len(raw) == 0 or not (np.isfinite(raw) & (raw > 0)).all():
            raise SelectionError("Selection weights must be finite, >= 0 and not all zero.")
        scale = float(raw.mean())
        return cls(rows, (raw / scale).astype(np.float32), pool_size, scale)


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """What one trial reported after one epoch: one line of records.jsonl.

    Seconds are wall time on the trial's own process. A field that was not measured at this epoch is None.

    Attributes:
        stage: "search", "search-full" (the comparison on all data), "retrain", "retrain-full", or of a study.
        trial: Trial id, unique inside a stage.
        epoch: Epochs finished so far (1 after the first).
        epochs: Epochs planned.
        config: The trial's point in the search space.
        status: "running" (more epochs may follow), "stopped" (by the scheduler), "done" (all epochs), "failed".
        reason: Why the trial failed or was stopped, else "".
        rung: Index of the rung this report reached, lowest 0, else None.
        samples_consumed: Samples this trial has trained on (plus charged selection passes), cumulative.
        equiv_epochs: samples_consumed / n.
        ratio: Share of the pool this epoch trained on.
        metric_used: What chose this epoch's rows: "full", "random", "gradient", "loss", "entropy", "prediction".
        train_loss: Mean loss over the epoch's samples (unweighted by class).
        val_loss: Mean cross-entropy on the validation split; in a regression the mean squared error.
        val_accuracy: Share of validation rows classified rightly, in [0, 1]; None in a regression.
        train_s, select_s, eval_s: Seconds of this epoch spent on training, on selection (choosing, recording,
            transfers) and on evaluation.
        finished_s: Seconds from the start of the stage to this report.
        seed: The experiment's seed.
        node: Id of the Ray node that trained the epoch (worker 0's node, of several), "" where it is not known.
        peak_bytes: Largest resident memory so far of the process that trained the epoch (worker 0's, of several;
            a process serves one trial after another), with the pages of shared memory that it touched.
        test_loss, test_accuracy: The same on the test split, at the end of a training that nothing is chosen by
            (stages "train..."); never of a search.
        val_rmse, val_r2, test_rmse, test_r2: Of a regression, in place of accuracies: the root of the mean squared
            error, in units of the targets, and the share of their variance that is explained, at most 1 (None
            where they are all equal).
    """

    stage: str
    trial: str
    epoch: int
    epochs: int
    config: Mapping[str, Any]
    status: str
    samples_consumed: int
    equiv_epochs: float
    ratio: float
    metric_used: str
    train_loss: float
    train_s: float
    select_s: float
    eval_s: float
    finished_s: float
    seed: int
    reason: str = ""
    rung: int | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    node: str = ""
    peak_bytes: int | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    val_rmse: float | None = None
    val_r2: float | None = None
    test_rmse: float | None = None
    test_r2: float | None = None
    schema: int = field(default=RECORD_SCHEMA)

    def to_json(self) -> str:
        """Return the record as one line of strict JSON; non-finite floats become null."""
        return json.dumps({name: _finite(value) for name, value in asdict(self).items()}, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> TrialRecord:
        """Read one line.

        Raises:
            RecordError: Not JSON, another schema, or a field missing or unknown.
        """
        try:
            row = json.loads(line)
            if row.get("schema") != RECORD_SCHEMA:
                raise RecordError(f"Record has schema {row.get('schema')!r}, this version reads {RECORD_SCHEMA}.")
            if row.get("train_loss", 0) is None:
                row["train_loss"] = math.nan
            return cls(**row)
        except (json.JSONDecodeError, AttributeError, TypeError) as error:
            known = ", ".join(f.name for f in fields(cls))
            raise RecordError(f"Not a trial record ({error}): {line[:80]!r}. Fields: {known}.") from error


def _finite(value: Any) -> Any:
    """Strict JSON knows no NaN or infinity: they become None, inside mappings too."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value
