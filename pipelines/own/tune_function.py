"""A plain Ray Tune function that trains on chosen subsets; all trials on a node share one selector actor.

python pipelines/own/tune_function.py --trials 8 --epochs 9
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from torch import nn

import raysubset as rs


def train(config: dict[str, Any]) -> None:
    """Train one configuration, reporting after every epoch with the samples consumed so far."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = rs.load_dataset("embedded", limit=config["limit"])
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(784, config["hidden"]), nn.ReLU(), nn.Linear(config["hidden"], 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=0.9)
    subset = rs.Subset(data, rs.SubsetPlan(ratio=config["ratio"], first_epoch="scheduled"))
    held_out = subset.transform.evaluate(torch.tensor(data.test.inputs))
    samples = 0
    for epoch in subset.epochs(config["epochs"]):
        for batch in epoch:
            optimizer.zero_grad()
            epoch.loss(model(batch.inputs), batch).backward()
            optimizer.step()
        samples += len(epoch)
        with torch.no_grad():
            right = (model(held_out).argmax(dim=1).numpy() == data.test.labels).mean()
        tune.report({"accuracy": float(right), "samples_consumed": samples, "metric_used": epoch.metric})


def main() -> None:
    """Search with ASHA, its rungs counted in samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--ratio", type=float, default=0.1)
    parser.add_argument("--limit", type=int, help="Use only so many rows of each split.")
    asked = parser.parse_args()

    rows = len(rs.load_dataset("embedded", limit=asked.limit).train)
    budget = rs.SubsetPlan(ratio=asked.ratio, first_epoch="scheduled").timetable(rows, asked.epochs).costs.sum()
    asha = ASHAScheduler(time_attr="samples_consumed", max_t=int(budget), grace_period=max(1, int(budget) // 9))
    space = {"lr": tune.loguniform(1e-3, 1.0), "hidden": tune.choice([16, 64])}
    fixed = {"epochs": asked.epochs, "ratio": asked.ratio, "limit": asked.limit}
    found = tune.Tuner(
        train,
        param_space={**space, **fixed},
        tune_config=tune.TuneConfig(metric="accuracy", mode="max", num_samples=asked.trials, scheduler=asha),
    ).fit()
    best = found.get_best_result()
    facts = best.metrics
    print(f"best {best.config} accuracy {facts['accuracy']:.1%} after {facts['samples_consumed']} samples")


if __name__ == "__main__":
    main()
