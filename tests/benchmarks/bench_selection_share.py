"""Share of a trial's time that goes into choosing rows and recording signals, in process and over Ray.

python tests/benchmarks/bench_selection_share.py [data set] [data dir]
"""

from __future__ import annotations

import statistics
import sys

import torch

import raysubset as rs
from raysubset.data.batches import ArraySource
from raysubset.data.transform import Transform
from raysubset.hpo.pairing import TrialSeeds
from raysubset.proxy.service import SelectorService
from raysubset.runtime.client import RaySelector, SelectorClient, start_selector
from raysubset.runtime.session import ray_session
from raysubset.runtime.trial import Trial, TrialSpec
from raysubset.selection.protocol import Context

EPOCHS, REPEATS = 9, 3


def share(data: rs.Dataset, batch_size: int, client: SelectorClient, seed: int) -> float:
    """Return select seconds / (select + train) of one trial at ratio 0.1."""
    recipe = rs.Recipe(epochs=EPOCHS, batch_size=batch_size, lr=0.05)
    plan = rs.SubsetPlan(ratio=0.1, first_epoch="scheduled")
    spec = TrialSpec(f"{batch_size}/{seed}", "lenet", recipe, plan, TrialSeeds(seed, seed), data.num_classes)
    rows = ArraySource(data.train)
    trial = Trial(spec, rows, rows, Transform.fit(data.train.inputs), client)
    reports = [trial.run_epoch() for _ in range(EPOCHS)]
    select, train = sum(r.select_s for r in reports), sum(r.train_s for r in reports)
    return select / (select + train)


def main() -> None:
    torch.set_num_threads(1)
    name, folder = (*sys.argv[1:], "embedded", None)[:2]
    data = rs.load_dataset(str(name), folder)
    with ray_session():
        actor = start_selector("bench", len(data.train))
        clients: dict[str, SelectorClient] = {
            "in process": SelectorService(Context(len(data.train))),
            "over Ray": RaySelector(actor),
        }
        for where, client in clients.items():
            for batch_size in (32, 128):
                shares = [share(data, batch_size, client, seed) for seed in range(REPEATS)]
                print(f"{where}, batch {batch_size}: median {statistics.median(shares):.2%} of trial time")


if __name__ == "__main__":
    main()
