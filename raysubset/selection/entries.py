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
        home: "module:class" in this package.
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
    return Entry("top:TopScore", summary, SCOUT, {"signal": signal, "lowest": lowest})


ENTRIES: Mapping[str, Entry] = {
    "asp": Entry("asp:ProxySampling", "by remembered importance, anew each epoch", Habits("memory")),
    "adaptive-random": Entry("uniform:UniformRandom", "uniform, anew each epoch", Habits("none")),
    "random": Entry("uniform:UniformRandom", "uniform, one fixed draw", Habits("none")),
    "full": Entry("uniform:Full", "everything", Habits("none")),
    "craig": Entry("craig:Craig", "medoids of the gradients, per class", MODEL, wrapper="class"),
    "craig-per-batch": Entry("craig:Craig", "medoids of mini-batch gradients", MODEL, wrapper="batch"),
    "gradmatch": Entry("gradmatch:GradMatch", "matches the gradient sum", MODEL),
    "gradmatch-per-class": Entry("gradmatch:GradMatch", "the same in each class", MODEL, wrapper="class"),
    "gradmatch-per-class-gradient": Entry(
        "gradmatch:GradMatch",
        "the same, own class's row of the last layer",
        MODEL,
        {"gradients": "own-class"},
        wrapper="class",
    ),
    "gradmatch-per-batch": Entry("gradmatch:GradMatch", "matches by whole mini-batches", MODEL, wrapper="batch"),
    "automata": Entry(
        "gradmatch:GradMatch",
        "GRAD-MATCH per batch after a warm start of 0.35",
        replace(MODEL, warm_start=0.35),
        wrapper="batch",
    ),
    "glister": Entry("glister:Glister", "lowers the loss of held-out rows", replace(MODEL, steering=STEERING)),
    "facility-location": Entry(
        "facility_location:FacilityLocation", "medoids of features", EMBEDDING, wrapper="class"
    ),
    "graph-cut": Entry("diversity:GraphCut", "central and diverse features", EMBEDDING, wrapper="class"),
    "log-determinant": Entry("diversity:LogDeterminant", "volume of features", EMBEDDING, wrapper="class"),
    "disparity-min": Entry("diversity:DisparityMin", "largest smallest distance", EMBEDDING, wrapper="class"),
    "disparity-sum": Entry("diversity:DisparitySum", "largest sum of distances", EMBEDDING, wrapper="class"),
    "k-center": Entry("k_center:KCenter", "smallest largest distance to a pick", EMBEDDING, wrapper="class"),
    "herding": Entry("herding:Herding", "matches the mean feature", EMBEDDING, wrapper="class"),
    "prototypes-hard": Entry(
        "prototypes:Prototypes", "far from the k-means centroid", EMBEDDING, {"keep": "hard"}
    ),
    "prototypes-easy": Entry(
        "prototypes:Prototypes", "close to the k-means centroid", EMBEDDING, {"keep": "easy"}
    ),
    "milo": Entry("milo:Milo", "graph cut, then weighted exploration", replace(EMBEDDING, every=EACH_EPOCH)),
    "el2n": _top("largest error norm", "el2n"),
    "grand": _top("largest gradient norm", "grand"),
    "forgetting": _top("most often forgotten; never learned first", "forgetting"),
    "aum": _top("smallest area under the margin", "aum", lowest=True),
    "least-confidence": _top("least confident", "least-confidence"),
    "entropy": _top("largest entropy", "entropy"),
    "margin": _top("smallest margin between the two best classes", "margin"),
    "ccs": Entry("stratified:Stratified", "strata of the area under the margin", SCOUT),
    "proxy-data-p1": Entry("proxy_data:ProxyData", "entropy histogram, both tails", SCOUT, {"law": "P1"}),
    "proxy-data-p2": Entry("proxy_data:ProxyData", "entropy histogram, flat", SCOUT, {"law": "P2"}),
    "proxy-data-p3": Entry("proxy_data:ProxyData", "entropy histogram, inverse", SCOUT, {"law": "P3"}),
    "infobatch": Entry(
        "infobatch:InfoBatch", "prunes a share of the well-learned, unbiased", Habits("memory", prunes=True)
    ),
    "rho-loss": Entry(
        "batchwise:RhoLoss",
        "largest loss beyond the irreducible, in each batch",
        Habits("scout", steering=STEERING, in_batch=True),
    ),
    "selective-backprop": Entry(
        "batchwise:SelectiveBackprop", "by loss percentile, in each batch", Habits("none", in_batch=True)
    ),
}
