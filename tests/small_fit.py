"""A fit of SubSelNet in a second: real stages of few steps, on networks that are made up instead of trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.seeds import generator
from raysubset.subselnet.approximator_fit import ApproximatorOptions, fit_approximator
from raysubset.subselnet.encoder_fit import EncoderOptions, fit_encoder
from raysubset.subselnet.folds import Folds, draw_folds
from raysubset.subselnet.inductive import InductiveOptions, fit_inductive
from raysubset.subselnet.predictor import ArchitecturePredictor, foreseen, standardised
from raysubset.subselnet.space import NB101, encoded_space
from raysubset.training.checkpoint import save_checkpoint

WIDTH = 6


@dataclass
class MadeUp:
    """Networks that see the same in a row and are sure of it to different degrees."""

    table: NDArray[np.float32]

    @property
    def cells(self) -> tuple[str, ...]:
        return tuple(f"cell{k}" for k in range(len(self.table)))

    @property
    def size(self) -> int:
        return self.table.shape[1]

    @property
    def num_classes(self) -> int:
        return self.table.shape[2]

    def logits(self, cell: int, rows: Any = slice(None)) -> NDArray[np.float32]:
        return self.table[cell, rows]

    def pairs(self, cells: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.table[cells, rows]


def small_folds(space: str = NB101.name) -> Folds:
    return draw_folds(6, 2, 2, 0, encoded_space(space))


def small_labels(n: int = 120, classes: int = 3) -> NDArray[np.int64]:
    return generator(0, "small fit", "labels").integers(0, classes, n)


def small_fit(labels: NDArray[np.int64] | None = None, seed: int = 0, space: str = NB101.name) -> dict[str, Any]:
    """Return the state of a fit on rows of these labels, as it is saved; made once for each set of arguments."""
    return _fitted(tuple((small_labels() if labels is None else labels).tolist()), seed, space)


def save_fit(folder: Path, state: dict[str, Any]) -> Path:
    """Save a state where selectors look for it; returns ``folder``."""
    save_checkpoint(folder / "predictor", state)
    return folder


@cache
def _fitted(of: Sequence[int], seed: int, space: str) -> dict[str, Any]:
    labels, folds, cells = np.array(of, dtype=np.int64), small_folds(space), encoded_space(space)
    rng = generator(seed, "small fit")
    classes = int(labels.max()) + 1
    features = (4 + 3 * rng.normal(size=(len(labels), WIDTH))).astype(np.float32)
    seen = rng.normal(size=(len(labels), classes)) + 1.5 * np.eye(classes)[labels]
    sure = np.linspace(0.4, 2.0, len(folds.supervisors))
    bank = MadeUp((sure[:, None, None] * seen).astype(np.float32))

    encoder, _ = fit_encoder(cells.draw(40, 0), EncoderOptions(steps=15, batch=16, hidden=16), seed, cells)
    encoder = encoder.referred_to(folds.train)
    options = ApproximatorOptions(hidden=24, steps=80, batch=64, lr=5e-3, dropout=0.0, check_every=80)
    training, checks = np.arange(6), np.arange(6, 8)
    embedded = encoder.embed(folds.supervisors)
    approximator, _ = fit_approximator(embedded, bank, features, training, checks, options, seed)
    scorer, _ = fit_inductive(
        lambda number: foreseen(encoder, approximator, labels, folds.supervisors[number]),
        training.tolist(),
        checks.tolist(),
        standardised(features),
        labels,
        InductiveOptions(hidden=(16, 8), steps=30),
        seed,
        checks=1,
    )
    predictor = ArchitecturePredictor(encoder, approximator, scorer, standardised(features), labels)
    return {**predictor.state(), "features": features, "labels": labels, "rows": 2 * np.arange(len(labels))}
