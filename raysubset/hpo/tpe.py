"""TPE: the tree-structured Parzen estimator [1], hyperopt's implementation without its state.

hyperopt's trials are rebuilt from the history for every proposal, so there is nothing to save. It is given numbers
as places in [0, 1] (see `hpo.encode`): the estimator is the same whatever the scale. A conditional parameter is
modelled over the trials in which it was active, as a branch of hyperopt's tree is; it is proposed in any case and
left out where it is inactive.

Fidelity: the losses of one rung count, the highest that has enough; a third of the training makes every
configuration look worse than a whole one. Running trials count as bad, so that workers do not all try the same.

References:
    [1] Bergstra et al., 2011, "Algorithms for hyper-parameter optimization", NeurIPS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysubset.hpo.encode import Encoding, Vectors
from raysubset.hpo.history import History, Point
from raysubset.hpo.proposer import RandomProposer
from raysubset.hpo.space import Space
from raysubset.seeds import seed64


@dataclass(frozen=True, slots=True)
class TpeProposer:
    """Random points until a rung has ``startup`` losses, then TPE over the highest such rung.

    Attributes:
        space: A space that `check_space` accepts.
        seed: The experiment's seed.
        startup: Losses at one rung that TPE needs, >= 1. hyperopt's own default.
    """

    space: Space
    seed: int
    startup: int = 20

    def propose(self, history: History, draw: int, rung: int) -> Point:
        """Return a point. Cost: O(n d), about 10 ms for five parameters and up to 200 losses."""
        informed = history.informed_rung(self.startup)
        if informed is None:
            return RandomProposer(self.space, self.seed).propose(history, draw, rung)
        points, losses = history.at(informed)
        pending = history.pending()
        encoding = Encoding(self.space)
        vectors = encoding.to_vectors([*points, *pending])
        losses = [loss if math.isfinite(loss) else math.inf for loss in losses] + [math.inf] * len(pending)
        (point,) = encoding.to_points(_suggest(vectors, losses, encoding.levels.tolist(), self._seed(draw)))
        return point

    def _seed(self, draw: int) -> int:
        return seed64(self.seed, draw, "tpe") % 2**32


def _suggest(vectors: Vectors, losses: Sequence[float], levels: Sequence[int], seed: int) -> Vectors:
    """Return a full vector, float64[1, d]."""
    from hyperopt import JOB_STATE_DONE, STATUS_OK, hp, tpe, trials_from_docs
    from hyperopt.base import Domain

    labels = [str(column) for column in range(len(levels))]
    space = [
        hp.randint(label, 0, options) if options else hp.uniform(label, 0.0, 1.0)
        for label, options in zip(labels, levels, strict=True)
    ]

    def document(trial: int, vector: Sequence[float], loss: float) -> dict[str, Any]:
        known = {
            label: [int(value) if options else value]
            for label, value, options in zip(labels, vector, levels, strict=True)
            if not math.isnan(value)
        }
        places = {label: [trial] if label in known else [] for label in labels}
        misc = {
            "tid": trial,
            "cmd": None,
            "idxs": places,
            "vals": {label: known.get(label, []) for label in labels},
        }
        result = {"status": STATUS_OK, "loss": loss}
        return {"tid": trial, "state": JOB_STATE_DONE, "result": result, "misc": misc}

    documents = [
        document(trial, vector, loss)
        for trial, (vector, loss) in enumerate(zip(vectors.tolist(), losses, strict=True))
    ]
    trials = trials_from_docs(documents, validate=False)
    (found,) = tpe.suggest([len(documents)], Domain(None, space), trials, seed, n_startup_jobs=0, verbose=False)
    return np.array([[found["misc"]["vals"][label][0] for label in labels]], dtype=np.float64)
