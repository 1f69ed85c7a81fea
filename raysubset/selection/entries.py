"""Every built-in selector: what its name stands for, what it looks at, how often it chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from raysubset.selection.timing import Habits


@dataclass(frozen=True, slots=True)
class Entry:
    """What a built-in name stands for.

    Attributes:
        home: "module:class" below `raysubset`; looked up when the selector is built, so nothing is imported here.
        summary: One line for people.
        habits: Unless the plan says otherwise.
        options: Fixed by the name.
        wrapper: "" or the wrapper that the method wants: "class" or "batch".
    """

    home: str
    summary: str
    habits: Habits
    options: Mapping[str, Any] = field(default_factory=dict)
    wrapper: str = ""


EACH_EPOCH, ONCE = 1, 0
REFRESH = 10  # epochs; the field's 20 belongs to runs of 300
MODEL = Habits("model", every=REFRESH)
SCOUT = Habits("scout", every=ONCE)
EMBEDDING = Habits("embedding", every=ONCE)
STEERING = 0.1


def _top(summary: str, signal: str, lowest: bool = False) -> Entry:
    return Entry("selection.top:TopScore", summary, SCOUT, {"signal": signal, "lowest": lowest})


ENTRIES: Mapping[str, Entry] = {
    "asp": Entry("selection.asp:ProxySampling", "by remembered importance, anew each epoch", Habits("memory")),
    "adaptive-random": Entry("selection.uniform:UniformRandom", "uniform, anew each epoch", Habits("none")),
    "random": Entry("selection.uniform:UniformRandom", "uniform, one fixed draw", Habits("none")),
    "full": Entry("selection.uniform:Full", "everything", Habits("none")),
    "craig": Entry("selection.craig:Craig", "medoids of the gradients, per class", MODEL, wrapper="class"),
    "craig-per-batch": Entry("selection.craig:Craig", "medoids of mini-batch gradients", MODEL, wrapper="batch"),
    "gradmatch": Entry("selection.gradmatch:GradMatch", "matches the gradient sum", MODEL),
    "gradmatch-per-class": Entry(
        "selection.gradmatch:GradMatch", "the same in each class", MODEL, wrapper="class"
    ),
    "gradmatch-per-class-gradient": Entry(
        "selection.gradmatch:GradMatch",
        "the same, own class's row of the last layer",
        MODEL,
        {"gradients": "own-class"},
        wrapper="class",
    ),
    "gradmatch-per-batch": Entry(
        "selection.gradmatch:GradMatch", "matches by whole mini-batches", MODEL, wrapper="batch"
    ),
    "automata": Entry(
        "selection.gradmatch:GradMatch",
        "GRAD-MATCH per batch after a warm start of 0.35",
        replace(MODEL, warm_start=0.35),
        wrapper="batch",
    ),
    "glister": Entry(
        "selection.glister:Glister", "lowers the loss of held-out rows", replace(MODEL, steering=STEERING)
    ),
    "facility-location": Entry(
        "selection.facility_location:FacilityLocation", "medoids of features", EMBEDDING, wrapper="class"
    ),
    "graph-cut": Entry("selection.diversity:GraphCut", "central and diverse features", EMBEDDING, wrapper="class"),
    "log-determinant": Entry(
        "selection.diversity:LogDeterminant", "volume of features", EMBEDDING, wrapper="class"
    ),
    "disparity-min": Entry(
        "selection.diversity:DisparityMin", "largest smallest distance", EMBEDDING, wrapper="class"
    ),
    "disparity-sum": Entry(
        "selection.diversity:DisparitySum", "largest sum of distances", EMBEDDING, wrapper="class"
    ),
    "k-center": Entry(
        "selection.k_center:KCenter", "smallest largest distance to a pick", EMBEDDING, wrapper="class"
    ),
    "herding": Entry("selection.herding:Herding", "matches the mean feature", EMBEDDING, wrapper="class"),
    "prototypes-hard": Entry(
        "selection.prototypes:Prototypes", "far from the k-means centroid", EMBEDDING, {"keep": "hard"}
    ),
    "prototypes-easy": Entry(
        "selection.prototypes:Prototypes", "close to the k-means centroid", EMBEDDING, {"keep": "easy"}
    ),
    "milo": Entry(
        "selection.milo:Milo", "graph cut, then weighted exploration", replace(EMBEDDING, every=EACH_EPOCH)
    ),
    "el2n": _top("largest error norm", "el2n"),
    "grand": _top("largest gradient norm", "grand"),
    "forgetting": _top("most often forgotten; never learned first", "forgetting"),
    "aum": _top("smallest area under the margin", "aum", lowest=True),
    "least-confidence": _top("least confident", "least-confidence"),
    "entropy": _top("largest entropy", "entropy"),
    "margin": _top("smallest margin between the two best classes", "margin"),
    "ccs": Entry("selection.stratified:Stratified", "strata of the area under the margin", SCOUT),
    "proxy-data-p1": Entry(
        "selection.proxy_data:ProxyData", "entropy histogram, both tails", SCOUT, {"law": "P1"}
    ),
    "proxy-data-p2": Entry("selection.proxy_data:ProxyData", "entropy histogram, flat", SCOUT, {"law": "P2"}),
    "proxy-data-p3": Entry("selection.proxy_data:ProxyData", "entropy histogram, inverse", SCOUT, {"law": "P3"}),
    "infobatch": Entry(
        "selection.infobatch:InfoBatch",
        "prunes a share of the well-learned, unbiased",
        Habits("memory", prunes=True),
    ),
    "subselnet": Entry(
        "subselnet.selector:SubSelNet", "by predicted losses of the architecture", Habits("fitted", every=ONCE)
    ),
    "rho-loss": Entry(
        "selection.batchwise:RhoLoss",
        "largest loss beyond the irreducible, in each batch",
        Habits("scout", steering=STEERING, in_batch=True),
    ),
    "selective-backprop": Entry(
        "selection.batchwise:SelectiveBackprop", "by loss percentile, in each batch", Habits("none", in_batch=True)
    ),
}
