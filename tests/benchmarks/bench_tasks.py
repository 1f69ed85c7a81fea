"""Subsets on tables and a regression, in a loop of one's own: equal samples, paired seeds.

    python tests/benchmarks/bench_tasks.py [SEEDS] [RATIO] [EPOCHS] [SET]

Every contender consumes RATIO x EPOCHS x n samples of the same perceptron's training; "full" trains on everything
for RATIO x EPOCHS epochs. Printed: the test score (accuracy in per cent; R^2 times 100 in the regression, and its
RMSE in standard deviations of the targets) and its paired differences to adaptive random and to the fixed mixture,
each with the 95 % Student interval.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
from scipy.stats import t as student

import raysubset as rs

SETS = ("digits", "breast-cancer", "wine", "diabetes")


def plans(ratio: float) -> dict[str, rs.SubsetPlan]:
    """Return the contenders; the first two are what the others are compared with."""
    common = {"ratio": ratio, "budget": "exact", "first_epoch": "scheduled"}
    return {
        "adaptive-random": rs.SubsetPlan(selector="adaptive-random", **common),
        "asp:mixture": rs.SubsetPlan(**common),
        "full": rs.SubsetPlan.full(),
        "asp:loss": rs.SubsetPlan(metric="loss", **common),
        "asp:adaptive": rs.SubsetPlan(metric="adaptive", **common),
        "asp:mixture:adaptive": rs.SubsetPlan(schedule="adaptive", **common),
        "asp:adaptive:adaptive": rs.SubsetPlan(metric="adaptive", schedule="adaptive", **common),
    }


def score(data: rs.Dataset, plan: rs.SubsetPlan, seed: int, epochs: int) -> tuple[float, float, int]:
    """Train once; return the test score, the RMSE (NaN with classes) and the samples consumed."""
    torch.manual_seed(seed)
    width, outputs = data.input_shape[0], 1 if data.regression else data.num_classes
    model = torch.nn.Sequential(torch.nn.Linear(width, 64), torch.nn.ReLU(), torch.nn.Linear(64, outputs))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    samples = 0
    for epoch in rs.Subset(data, plan, batch_size=16, seed=seed).epochs(epochs):
        for batch in epoch:
            epoch.loss(model(batch.inputs), batch).backward()
            optimizer.step()
            optimizer.zero_grad()
        samples += len(epoch)
    with torch.no_grad():
        seen = model(torch.tensor(data.test.inputs)).numpy()
    if not data.regression:
        return 100 * float((seen.argmax(axis=1) == data.test.labels).mean()), math.nan, samples
    squared = float(((seen[:, 0] - data.test.labels) ** 2).mean())
    return 100 * (1 - squared / float(data.test.labels.var())), math.sqrt(squared), samples


def gap(scores: np.ndarray, others: np.ndarray) -> str:
    """Return the mean paired difference of two runs by seed, with its interval."""
    gaps = scores - others
    half = student.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / math.sqrt(len(gaps))
    return f"{gaps.mean():+.2f} ({gaps.mean() - half:+.2f}..{gaps.mean() + half:+.2f})"


def main(seeds: int = 10, ratio: float = 0.2, epochs: int = 20, *sets: str) -> None:
    """Print a table a data set."""
    torch.set_num_threads(1)
    for name in sets or SETS:
        data, done = rs.load_dataset(name), []
        print(f"\n{name}: {len(data.train)} rows, ratio {ratio:g}, {epochs} epochs, {seeds} seeds. {data.source}")
        for label, plan in plans(ratio).items():
            length = max(1, round(ratio * epochs)) if label == "full" else epochs
            runs = np.array([score(data, plan, seed, length) for seed in range(seeds)])
            done.append(runs[:, 0])
            rmse = f"  RMSE {runs[:, 1].mean():.3f}" if data.regression else ""
            print(
                f"  {label:22} {runs[:, 0].mean():6.2f}  to random {gap(runs[:, 0], done[0])}"
                f"  to the mixture {gap(runs[:, 0], done[min(1, len(done) - 1)])}"
                f"  {runs[:, 2].mean():,.0f} samples{rmse}",
                flush=True,
            )


if __name__ == "__main__":
    numbers = [kind(text) for kind, text in zip((int, float, int), sys.argv[1:4], strict=False)]
    main(*numbers, *sys.argv[4:])
