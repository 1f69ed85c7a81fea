"""A fit of SubSelNet in use: what queries cost, how far subsets overlap, how well they rank architectures.

The first paragraph of each section says what falls against SubSelNet, if anything does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from raysubset.report.subselnet_facts import (
    GIBBS,
    TRANSDUCTIVE,
    CostFacts,
    RankingFacts,
    SubsetFacts,
)
from raysubset.report.subselnet_gates import brief
from raysubset.report.subselnet_measures import amortised_cost, break_even, chance_overlap
from raysubset.report.subselnet_sections import span
from raysubset.report.subselnet_tables import Section, size
from raysubset.report.tables import Table
from raysubset.report.wording import count, seconds

# ------------------------------------------------------------------ costs


def costs_section(costs: CostFacts, notes: Sequence[str]) -> Section:
    """Return what is paid once and by query, and from how many cells on it pays.

    Args:
        costs: See there.
        notes: How to read what the paper printed.
    """
    rows = tuple(
        (
            size(query.ratio),
            query.method,
            seconds(query.once_s),
            brief(query.select_s),
            seconds(query.train_s),
            *_shares(costs, query.once_s, query.select_s + query.train_s),
        )
        for query in costs.queries
    )
    columns = ("size", "method", "once", "selection", "training", "amortised, as printed", "amortised per query",
               "breaks even at cells")  # fmt: skip
    never = [f"{row[1]} at {row[0]}" for row in rows if row[-1] == "never"]
    said = (
        (f"Never breaks even, as a query takes as long as full training: {', '.join(never)}." if never else
         "Every method breaks even at the number of cells in its row."),
        f"One training of an unseen cell on all rows takes {seconds(costs.full_s)} (mean). Amortised, over "
        f"{costs.test_cells} queried cells: per query, what is paid once is shared among these; as printed in the "
        f"paper, also among the {costs.train_cells} supervisors, whose subsets nobody asked for. Supervisors' "
        "seconds are summed over trainings that may run side by side; encoder and approximator are of one core.",
        "The paper's table 6: " + " ".join(notes),
    )  # fmt: skip
    stages = (*((name, seconds(time)) for name, time in costs.stages.items()),
              ("all", seconds(math.fsum(costs.stages.values()))))  # fmt: skip
    tables = (Table("Paid once", ("stage", "time"), stages),
              Table("By query, means over unseen cells and seeds", columns, rows))  # fmt: skip
    return Section("Costs", said, tables)


def _shares(costs: CostFacts, once_s: float, query_s: float) -> tuple[str, str, str]:
    shared = amortised_cost(once_s, query_s, costs.train_cells if once_s else 0, costs.test_cells)
    cells = break_even(once_s, costs.full_s, query_s)
    return seconds(shared.as_printed), seconds(shared.per_query), "never" if cells is None else count(cells)


# ------------------------------------------------------------------ subsets


def subsets_section(found: SubsetFacts) -> Section:
    """Return how far subsets of different cells, of different samplers and of one sampler overlap."""
    chance = chance_overlap(found.n, found.b)
    between = tuple(
        (method, f"{value:.3f}", f"{found.same[method, method]:.3f}", f"{chance:.3f}")
        for method, value in found.between.items()
    )
    methods = tuple(dict.fromkeys(one for one, _ in found.same))
    apart = (
        f" Transductive subsets of the distant cells overlap by {found.between[TRANSDUCTIVE]:.3f}."
        if TRANSDUCTIVE in found.between
        else ""
    )
    matrix = tuple((one, *(f"{found.same[one, other]:.3f}" for other in methods)) for one in methods)
    said = (
        f"Subsets of {size(found.ratio)}, {count(found.b)} of {count(found.n)} rows; two independent random ones "
        f"overlap by {chance:.3f}. R3: for the same cell, transductive and gibbs overlap by "
        f"{found.same[TRANSDUCTIVE, GIBBS]:.3f}, two draws of the transductive sampler by "
        f"{found.same[TRANSDUCTIVE, TRANSDUCTIVE]:.3f}: if these are alike, optimising gives the closed "
        "form's draw." + apart,
        f"The {len(found.distant)} unseen cells farthest apart in the encoder's space: "
        f"{'; '.join(found.distant)}. "
        "Where subsets of these cells overlap as much as two draws for one cell, the architecture does not show "
        "in them. An overlap near chance is no sign of quality: random subsets have it.",
    )
    return Section(
        "Overlap of subsets",
        said,
        (
            Table("Jaccard coefficient between cells, mean over pairs",
                  ("method", "between the distant cells", "two draws for one cell", "chance"), between),
            Table("Jaccard coefficient for the same cell, independent draws, mean over unseen cells (R3)",
                  ("method", *methods), matrix),
        ),
    )  # fmt: skip


# ------------------------------------------------------------------ ranking


def ranking_section(found: Sequence[RankingFacts], cells: int) -> Section:
    """Return how well subsets rank the unseen cells."""
    title = "Recommending an architecture"
    if not found:
        return Section(title, (f"Not measured: {cells} unseen cells, a ranking needs three.",), ())
    rows = tuple(
        (size(one.ratio), one.method, f"{one.tau:.2f}" if one.tau == one.tau else "not defined",
         span(one.interval, 2), f"{one.jaccard:.2f}")
        for one in found
    )  # fmt: skip
    by_subsets = [one for one in found if one.method != "full"]
    sure = sum(one.interval is not None and one.interval.low > 0 for one in by_subsets)
    said = (
        f"Kendall's tau-b of {cells} unseen cells, judged by held-out rows after training on a subset, to their "
        f"test accuracies after training on all rows; {sure} of {len(by_subsets)} rankings by subsets have an "
        "interval (bootstrap over cells) above 0. The row of full training is what a ranking by held-out "
        "rows reaches without any subset.",
    )
    columns = ("size", "method", "tau-b", "95 % over cells", f"Jaccard of the {found[0].k} best")
    return Section(title, said, (Table("Rankings", columns, rows),))
