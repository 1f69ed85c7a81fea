"""A fit of SubSelNet as it was made: what was run, what the approximator is worth, which gates hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from raysubset.report.intervals import Estimate, student
from raysubset.report.study_table import ABSENT
from raysubset.report.subselnet_facts import (
    GIBBS,
    KlFacts,
    ObjectiveFacts,
    SettingFacts,
    StudyFacts,
)
from raysubset.report.subselnet_gates import gates
from raysubset.report.subselnet_tables import Section, size
from raysubset.report.tables import Table
from raysubset.report.wording import count, percent

PAPER_SUPERVISORS, PAPER_CELLS, PAPER_EPOCHS, PAPER_NETWORK = 250, 423_624, 150, (128, 3)
PAPER_FEATURES, SCOUTED = "a pretrained ResNet-50", "features of "  # as `runtime.evidence` puts it
ANSWERS = {True: "yes", False: "no", None: "not judged"}
_KL = {
    "permuted": "permuted vectors (R1)",
    "class_prior": "B0, class prior",
    "label_conditional": "B1, mean of the label",
    "per_instance": "B2, mean of the row (R1)",
}
_COLUMNS = ("cell", "approximator", "permuted", "B0", "B1", "B2")


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
        ("networks", _networks(facts)),
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


def _networks(facts: SettingFacts) -> str:
    if facts.space == "darts":
        return f"{facts.channels} channels, {facts.stack_cells} cells, of DARTS genotypes"
    return f"{facts.channels} channels, three stacks of {facts.stack_cells}"


def _departures(facts: SettingFacts) -> Iterator[str]:
    if facts.features != PAPER_FEATURES:
        seen = ", a network that has seen the labels" if facts.features.startswith(SCOUTED) else ""
        yield f"{facts.features}{seen}, not {PAPER_FEATURES}'s features"
    supervisors = facts.train_cells + facts.check_cells
    if supervisors != PAPER_SUPERVISORS:
        yield f"{supervisors} supervisors, not {PAPER_SUPERVISORS}"
    if facts.encoder_cells < PAPER_CELLS:
        yield f"an encoder of {count(facts.encoder_cells)} cells, not {count(PAPER_CELLS)}"
    if facts.space != "nb101":
        yield f"networks of {_networks(facts)}, not of NAS-Bench-101 cells"
    elif (facts.channels, facts.stack_cells) != PAPER_NETWORK:
        yield (
            f"networks of {facts.channels} channels and stacks of {facts.stack_cells}, not of {PAPER_NETWORK[0]} "
            f"and {PAPER_NETWORK[1]}"
        )
    if facts.shrink > 1 or facts.limit is not None:
        yield f"{count(facts.n_train)} rows of {' x '.join(map(str, facts.input_shape))}, not the whole data set"
    epochs = "" if facts.epochs == PAPER_EPOCHS else f"{facts.epochs} epochs, not {PAPER_EPOCHS}: "
    yield (
        f"convergence ({epochs}supervisors classify {percent(facts.supervisor_accuracy)} of their own rows "
        f"rightly, unseen cells trained on all rows {percent(facts.full_accuracy)} of the test rows)"
    )
    if facts.subset_epochs != facts.epochs:
        yield (
            f"{facts.subset_epochs} epochs on subsets against {facts.epochs} on all rows, which moves RAR and "
            "times; differences between methods are of equal epochs"
        )
    yield "memory is the resident size of a process over time, not a GPU's"


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
        f"Gate G4, mean KL below B0 and below B1: {'yes' if holds else 'no'}. "
        + _against_mean("B2, which ignores the architecture", ours, kl.model, kl.per_instance)
        + " "
        + _against_mean("its own with the vectors of another cell", ours, kl.model, kl.permuted),
        "Mean KL(trained network, prediction) over all rows, in nats, lower is better. B0, B1 and B2 are means of "
        "the supervisors: over everything, over the rows of a label, for each row. Only what is below B2 and "
        "below permuted vectors shows that architectures are told apart. Intervals: Student, 95 %, over unseen "
        "cells.",
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
            Table("KL by unseen cell, nats", _COLUMNS, (*per_cell, mean_row)),
        ),
    )  # fmt: skip


def _gap_row(words: str, model: Sequence[float], other: Sequence[float]) -> tuple[str, ...]:
    gaps = [one - two for one, two in zip(model, other, strict=True)]
    return (
        words,
        f"{fmean(gaps):+.4f}",
        span(student(gaps), 4),
        f"{100 * fmean(gaps) / fmean(other):+.1f} %",
        f"{sum(gap < 0 for gap in gaps)} of {len(gaps)}",
    )


def _against_mean(name: str, ours: float, model: Sequence[float], other: Sequence[float]) -> str:
    gaps = student([one - two for one, two in zip(model, other, strict=True)])
    sure = "no interval" if gaps is None else f"interval {gaps.low:+.4f} to {gaps.high:+.4f}"
    if gaps is not None and gaps.low <= 0 <= gaps.high:
        sure += ", which holds 0: no difference shown"
    theirs = fmean(other)
    relation = "above" if ours > theirs else "below" if ours < theirs else "level with"
    return f"Its KL is {100 * abs(ours / theirs - 1):.1f} % {relation} that of {name} ({sure})."


# ------------------------------------------------------------------ gates


def gates_section(facts: StudyFacts) -> Section:
    """Return the gates of the fit and the objectives behind G5."""
    found = gates(facts)
    rows = tuple((gate.name, gate.asks, ANSWERS[gate.holds], gate.measured) for gate in found)
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
    """Name the gates that do not hold, and those that were not judged."""
    found = gates(facts)
    failed = [f"{gate.name} ({gate.measured})" for gate in found if gate.holds is False]
    unknown = [gate.name for gate in found if gate.holds is None]
    said = f"Gates that do not hold: {'; '.join(failed)}." if failed else "No gate that was judged fails."
    return said + (f" Not judged: {', '.join(dict.fromkeys(unknown))}." if unknown else "")


def _objective_rows(found: ObjectiveFacts) -> Iterator[tuple[str, ...]]:
    for name, values in found.values.items():
        gaps = [one - two for one, two in zip(values, found.values[GIBBS], strict=True)]
        gap = (ABSENT, ABSENT) if name == GIBBS else (f"{fmean(gaps):+.4f}", span(student(gaps), 4))
        yield size(found.ratio), name, f"{fmean(values):.4f}", *gap


def span(estimate: Estimate | None, digits: int) -> str:
    """Spell an interval: "-0.01 to +0.02"."""
    return ABSENT if estimate is None else f"{estimate.low:+.{digits}f} to {estimate.high:+.{digits}f}"
