"""Counts with the shape of real ones: hard rows are chosen more often, classes unevenly."""

from __future__ import annotations

from typing import Any

import numpy as np

from raysubset.report.selections import Selections

EVIL = '<img src=x onerror="alert(1)"> & "cat"'


def selections(n: int = 300, epochs: int = 6, trials: int = 5, classes: tuple[str, ...] = (EVIL, "dog", "frog"),
               images: int = 16, seed: int = 0, **changes: Any) -> Selections:  # fmt: skip
    """Rows of class c are chosen c + 1 times as readily; difficulty rises with the row."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(classes)
    odds = (1.0 + labels) / (1.0 + labels).sum()
    watched_rows = np.sort(rng.permutation(n)[:40])
    times = np.zeros(n, dtype=np.uint32)
    by_class = np.zeros((epochs, len(classes)), dtype=np.int64)
    watched = np.zeros((epochs, len(watched_rows)), dtype=np.uint32)
    for epoch in range(epochs):
        for _ in range(trials):
            rows = rng.choice(n, n // 5, replace=False, p=odds)
            times[rows] += 1
            by_class[epoch] += np.bincount(labels[rows], minlength=len(classes))
            watched[epoch] += np.isin(watched_rows, rows)
    shown = np.unique(np.linspace(0, n - 1, images).astype(np.int64)) if images else np.zeros(0, dtype=np.int64)
    fields: dict[str, Any] = {
        "times": times, "epochs": np.arange(epochs), "subsets": np.full(epochs, trials), "by_class": by_class,
        "watched_rows": watched_rows, "watched": watched,
        "rank_sum": np.linspace(0, trials, n).astype(np.float32),
        "rank_weight": np.full(n, trials, dtype=np.float32), "in_batch": 0, "labels": labels, "classes": classes,
        "example_rows": shown,
        "examples": rng.integers(0, 256, (len(shown), 3, 8, 8), dtype=np.uint8),
        "selector_peak_bytes": 150_000_000,
    }  # fmt: skip
    return Selections(**(fields | changes))
