"""What passes from one level of a search to the next: accuracy, samples, and how well low levels rank.

python tests/benchmarks/bench_promotion_modes.py [seeds] [mode ...]

LeNet on the embedded MNIST sample, five configurations, ratio 0.3, 9 epochs, three levels by eta = 3, all trained
to the last level. tau k: Kendall's tau over the configurations between losses at level k and at the last.
"""

from __future__ import annotations

import statistics
import sys

import torch
from scipy.stats import kendalltau

import raysubset as rs
from raysubset.data.batches import ArraySource
from raysubset.data.transform import Transform
from raysubset.hpo.fidelity import FidelityOptions
from raysubset.hpo.pairing import TrialSeeds
from raysubset.proxy.service import SelectorService
from raysubset.runtime.ladder import make_trial
from raysubset.runtime.segments import plan_ladder
from raysubset.runtime.trial import TrialSpec
from raysubset.selection.protocol import Context
from raysubset.training.evaluate import Evaluation

CONFIGS = [(0.003, 0.9), (0.01, 0.9), (0.03, 0.9), (0.1, 0.5), (0.3, 0.0)]  # learning rate, momentum
MODES = {
    "prefix": FidelityOptions(levels=3),
    "ratio, resume, continuous": FidelityOptions(mode="ratio", levels=3),
    "ratio, resume, per-level": FidelityOptions(mode="ratio", anneal="per-level", levels=3),
    "ratio, shrink, continuous": FidelityOptions(mode="ratio", promote="shrink", levels=3),
    "ratio, shrink, per-level": FidelityOptions(mode="ratio", promote="shrink", anneal="per-level", levels=3),
    "ratio, restart": FidelityOptions(mode="ratio", promote="restart", levels=3),
    "restart": FidelityOptions(mode="restart", levels=3),
}
PLAN = rs.SubsetPlan(ratio=0.3, first_epoch="scheduled")


def climb(data: rs.Dataset, options: FidelityOptions, lr: float, momentum: float, seed: int) -> list[Evaluation]:
    """Train one configuration up the whole ladder; returns its evaluation at each level."""
    recipe = rs.Recipe(epochs=9, batch_size=32, lr=lr, momentum=momentum)
    ladder = plan_ladder(options, PLAN, len(data.train), recipe.epochs)
    spec = TrialSpec("trial", "lenet", recipe, PLAN, TrialSeeds(seed, seed), data.num_classes)
    client = SelectorService(Context(len(data.train)))
    transform = Transform.fit(data.train.inputs)
    trial = make_trial(spec, ladder, ArraySource(data.train), ArraySource(data.test), transform, client)
    levels = []
    while not trial.done:
        if trial.run_epoch().epoch in ladder.rungs.epochs:
            levels.append(trial.evaluate())
    return levels


def main() -> None:
    torch.set_num_threads(1)
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    data = rs.load_dataset("embedded")
    print(f"{'mode':28} samples  accuracy (mean, best) at the last level   tau 0   tau 1   [each: mean, range]")
    for name in sys.argv[2:] or MODES:
        options = MODES[name]
        ladder = plan_ladder(options, PLAN, len(data.train), 9)
        means, bests = [], []
        taus: list[list[float]] = [[] for _ in ladder.rungs.levels]
        for seed in range(seeds):
            trained = [climb(data, options, lr, momentum, seed) for lr, momentum in CONFIGS]
            final = [levels[-1].loss for levels in trained]
            for level, values in enumerate(taus):
                values.append(kendalltau([levels[level].loss for levels in trained], final).statistic)
            means.append(statistics.mean(levels[-1].accuracy for levels in trained))
            bests.append(max(levels[-1].accuracy for levels in trained))
        columns = [f"{statistics.mean(v):.4f} [{min(v):.4f}, {max(v):.4f}]" for v in (means, bests)]
        columns += [f"{statistics.mean(v):+.2f} [{min(v):+.1f}, {max(v):+.1f}]" for v in taus[:-1]]
        print(f"{name:28} {sum(ladder.costs):7,}  {'   '.join(columns)}", flush=True)


if __name__ == "__main__":
    main()
