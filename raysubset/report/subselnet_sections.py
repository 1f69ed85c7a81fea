"""The sections of a fit's report that are not about accuracy: setting, approximator, gates, costs, subsets, ranking.

Each says in its first paragraph what falls against SubSelNet, if anything does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from raysubset.report.intervals import Estimate, student
from raysubset.report.study_table import ABSENT
from raysubset.report.subselnet_facts import (
    GIBBS,
    TRANSDUCTIVE,
    CostFacts,
    KlFacts,
    ObjectiveFacts,
    RankingFacts,
    SettingFacts,
    StudyFacts,
    SubsetFacts,
)
from raysubset.report.subselnet_gates import brief, gates
from raysubset.report.subselnet_measures import amortised_cost, break_even, chance_overlap
from raysubset.report.subselnet_tables import Section, size
from raysubset.report.tables import Table
from raysubset.report.wording import count, percent, seconds

PAPER_SUPERVISORS, PAPER_CELLS, PAPER_EPOCHS, PAPER_NETWORK = 250, 423_624, 150, (128, 3)
PAPER_FEATURES = "resnet50"
WINDOW = {True: "yes", False: "no", None: "not measured"}
_KL = {
    "permuted": "permuted vectors (R1)",
    "class_prior": "B0, class prior",
    "label_conditional": "B1, mean of the label",
    "per_instance": "B2, mean of the row (R1)",
}


# ------------------------------------------------------------------ setting


def setting_section(facts: SettingFacts) -> Section:
    """Return what was fitted and compared, and how it differs from the paper."""
    rows = (
        ("data", f"{facts.dataset} ({facts.dataset_source}), {facts.num_classes} classes"),
        ("rows", f"{count(facts.n_train)} trained on and chosen from, {count(facts.n_validation)} held out, "
                 f"{count(facts.n_test)} test rows, read once at the end of each training"),
        ("one input", _input(facts)),
        ("features of the rows", f"{facts.features}; {facts.feature_columns} columns"),
        ("cells", f"{facts.train_cells} to learn from, {facts.check_cells} that choose states, "
                  f"{facts.unseen_cells} that no stage of the fit saw trained; {count(facts.encoder_cells)} drawn "
                  "for the encoder"),
        ("networks", f"{facts.channels} channels, three stacks of {facts.stack_cells}"),
        ("training", f"{facts.epochs} epochs on all rows, {facts.subset_epochs} epochs on a subset (asked for by "
                     "this evaluation)"),
        ("approximator", facts.approximator),
        ("entropy weight", f"{facts.entropy:g} nats; the inductive sampler was trained with "
                           f"{facts.trained_entropy:g}, for subsets of "
                           f"{', '.join(size(ratio) for ratio in facts.trained_ratios)}"),
        ("compared", f"{', '.join(facts.methods)} at {', '.join(size(ratio) for ratio in facts.ratios)}"),
        ("seeds", f"{facts.seeds} of each training, all on the one fit of seed {facts.seed}"),
        ("device", facts.device),
        ("fit begun", facts.started),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(facts.versions.items()))),
        ("command of the fit", facts.command),
    )  # fmt: skip
    kept = (
        "As in the paper: every stage runs on real rows with networks that were really trained, and is judged on "
        "cells that no stage saw trained."
    )
    note = (f"Not the data set that was asked for: {facts.dataset_note}",) if facts.dataset_note else ()
    said = (*note, kept, "Not as in the paper: " + "; ".join(_departures(facts)) + ".")
    return Section("What was run", said, (Table("Setting", ("what", "value"), rows),))


def _input(facts: SettingFacts) -> str:
    shape = " x ".join(map(str, facts.input_shape))
    cut = f", pixels averaged over squares of {facts.shrink}" if facts.shrink > 1 else ""
    first = f"; at most {count(facts.limit)} rows of each split were taken" if facts.limit is not None else ""
    return f"{shape}{cut}{first}"


def _departures(facts: SettingFacts) -> Iterator[str]:
    if PAPER_FEATURES not in facts.features.lower().replace("-", ""):
        yield f"features are {facts.features}, not a pretrained ResNet-50's"
    supervisors = facts.train_cells + facts.check_cells
    if supervisors != PAPER_SUPERVISORS:
        yield f"{supervisors} supervisors, not {PAPER_SUPERVISORS}"
    if facts.encoder_cells < PAPER_CELLS:
        yield f"an encoder of {count(facts.encoder_cells)} cells, not {count(PAPER_CELLS)}"
    if (facts.channels, facts.stack_cells) != PAPER_NETWORK:
        yield (
            f"networks of {facts.channels} channels and stacks of {facts.stack_cells}, not of {PAPER_NETWORK[0]} and "
            f"{PAPER_NETWORK[1]}"
        )
    if facts.shrink > 1 or facts.limit is not None:
        yield f"{count(facts.n_train)} rows of {' x '.join(map(str, facts.input_shape))}, not the whole data set"
    epochs = "" if facts.epochs == PAPER_EPOCHS else f"{facts.epochs} epochs, not {PAPER_EPOCHS}: "
    yield (
        f"convergence ({epochs}supervisors classify {percent(facts.supervisor_accuracy)} of their own rows rightly, "
        f"unseen cells trained on all rows {percent(facts.full_accuracy)} of the test rows)"
    )
    yield "memory is the resident size of a process over time" + ("" if facts.device == "cpu" else ", sampled")


# ------------------------------------------------------------------ approximator


def approximator_section(kl: KlFacts | None) -> Section:
    """Return KL on unseen cells beside what ignores the architecture, with paired differences over cells."""
    title = "Approximator on unseen cells"
    if kl is None:
        return Section(title, ("Not measured: fewer than two unseen cells.",), ())
    columns = {name: getattr(kl, name) for name in _KL}
    ours, means = fmean(kl.model), {name: fmean(column) for name, column in columns.items()}
    holds = ours < min(means["class_prior"], means["label_conditional"])
    said = (
        f"Gate G4, mean KL below B0 and below B1: {WINDOW[holds]}. "
        + _against_mean("B2, which ignores the architecture", ours, kl.model, kl.per_instance)
        + " "
        + _against_mean("itself with the vectors of another cell", ours, kl.model, kl.permuted),
        "Mean KL(trained network, prediction) over all rows, in nats, lower is better. B0, B1 and B2 are means of "
        "the supervisors: over everything, over the rows of a label, for each row. Only what is below B2 and below "
        "permuted vectors shows that architectures are told apart. Intervals: Student, 95 %, over unseen cells.",
    )
    per_cell = tuple(
        (cell, *(f"{value:.4f}" for value in values))
        for cell, *values in zip(kl.cells, kl.model, *columns.values(), strict=True)
    )
    mean_row = ("mean", f"{ours:.4f}", *(f"{mean:.4f}" for mean in means.values()))
    gaps = tuple(_gap_row(words, kl.model, columns[name]) for name, words in _KL.items())
    return Section(
        title,
        said,
        (
            Table("KL of the approximator less that of others, paired by cell",
                  ("less", "nats", "95 %", "share of it", "lower in cells"), gaps),
            Table("KL by unseen cell, nats", ("cell", "approximator", *_KL.values()), (*per_cell, mean_row)),
        ),
    )  # fmt: skip


def _gap_row(words: str, model: Sequence[float], other: Sequence[float]) -> tuple[str, ...]:
    gaps = [one - two for one, two in zip(model, other, strict=True)]
    return (
        words,
        f"{fmean(gaps):+.4f}",
        _span(student(gaps), 4),
        f"{100 * fmean(gaps) / fmean(other):+.1f} %",
        f"{sum(gap < 0 for gap in gaps)} of {len(gaps)}",
    )


def _against_mean(name: str, ours: float, model: Sequence[float], other: Sequence[float]) -> str:
    gaps = student([one - two for one, two in zip(model, other, strict=True)])
    sure = "no interval" if gaps is None else f"interval {gaps.low:+.4f} to {gaps.high:+.4f}"
    if gaps is not None and gaps.low <= 0 <= gaps.high:
        sure += ", which holds 0: not to be told from it"
    theirs = fmean(other)
    relation = "above" if ours > theirs else "below" if ours < theirs else "level with"
    return f"It is {100 * abs(ours / theirs - 1):.1f} % {relation} {name} ({sure})."


# ------------------------------------------------------------------ gates


def gates_section(facts: StudyFacts) -> Section:
    """Return the gates of the fit and the objectives behind G5."""
    found = gates(facts)
    rows = tuple((gate.name, gate.asks, WINDOW[gate.holds], gate.measured) for gate in found)
    said = (
        failed_gates(facts),
        "G1, G2, G8 and G9 are of the code, not of a fit: its tests. Times are of draws one after another in one "
        "process, after a first one, with the encoder's and approximator's pass counted; gibbs needs no "
        "optimisation, and facility location chooses once for all cells.",
    )
    objectives = tuple(row for one in facts.objectives for row in _objective_rows(one))
    draws = max((one.draws for one in facts.objectives), default=0)
    title = f"Objective per pick, nats, mean over unseen cells of {draws} draws each; lower is better"
    columns = ("size", "sampler", "objective", "to the closed form", "95 % over cells")
    return Section("Gates", said, (Table("Gates", ("gate", "asks", "holds", "measured"), rows),
                                   Table(title, columns, objectives)))  # fmt: skip


def failed_gates(facts: StudyFacts) -> str:
    """Name the gates that do not hold, and those that were not measured."""
    found = gates(facts)
    failed = [f"{gate.name} ({gate.measured})" for gate in found if gate.holds is False]
    unknown = [gate.name for gate in found if gate.holds is None]
    said = f"Gates that do not hold: {'; '.join(failed)}." if failed else "No gate that was measured fails."
    return said + (f" Not measured: {', '.join(dict.fromkeys(unknown))}." if unknown else "")


def _objective_rows(found: ObjectiveFacts) -> Iterator[tuple[str, ...]]:
    for name, values in found.values.items():
        gaps = [one - two for one, two in zip(values, found.values[GIBBS], strict=True)]
        gap = (ABSENT, ABSENT) if name == GIBBS else (f"{fmean(gaps):+.4f}", _span(student(gaps), 4))
        yield size(found.ratio), name, f"{fmean(values):.4f}", *gap


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
    return Section("Costs", said, (Table("Paid once", ("stage", "time"), stages),
                                   Table("By query, means over unseen cells and seeds", columns, rows)))  # fmt: skip


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
    methods = tuple(found.between)
    matrix = tuple(
        (one, *(f"{found.same.get((one, other), found.same.get((other, one))):.3f}" for other in methods))
        for one in methods
    )
    alike = found.same[TRANSDUCTIVE, GIBBS] if (TRANSDUCTIVE, GIBBS) in found.same else found.same[GIBBS, TRANSDUCTIVE]
    said = (
        f"Subsets of {size(found.ratio)}, {count(found.b)} of {count(found.n)} rows; two independent random ones "
        f"overlap by {chance:.3f}. R3: transductive and gibbs overlap by {alike:.3f} for the same cell, two draws of "
        f"the transductive sampler by {found.same[TRANSDUCTIVE, TRANSDUCTIVE]:.3f}: if these are alike, optimising "
        "gives the closed form's draw.",
        f"The {len(found.distant)} unseen cells farthest apart in the encoder's space: {'; '.join(found.distant)}. "
        "Where subsets of these cells overlap as much as two draws for one cell, the architecture does not show in "
        "them. An overlap near chance is no sign of quality: random subsets have it.",
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
         _span(one.interval, 2), f"{one.jaccard:.2f}")
        for one in found
    )  # fmt: skip
    sure = sum(one.interval is not None and one.interval.low > 0 for one in found if one.method != "full")
    said = (
        f"Kendall's tau-b of {cells} unseen cells, judged by held-out rows after training on a subset, to their test "
        f"accuracies after training on all rows; {sure} of {sum(one.method != 'full' for one in found)} rankings by "
        "subsets have an interval (bootstrap over cells) above 0. The row of full training is what a ranking by "
        "held-out rows reaches without any subset.",
    )
    columns = ("size", "method", "tau-b", "95 % over cells", f"Jaccard of the {found[0].k} best")
    return Section(title, said, (Table("Rankings", columns, rows),))


def _span(estimate: Estimate | None, digits: int) -> str:
    return ABSENT if estimate is None else f"{estimate.low:+.{digits}f} to {estimate.high:+.{digits}f}"
