"""The report of an evaluation of SubSelNet: the facts as sections, in Markdown and as one page of HTML.

The page is a single file with its figure inside, no script and no request to anywhere; equal facts give equal
bytes. Its first paragraph is the verdict; what falls against SubSelNet follows at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from raysubset.report import study_table
from raysubset.report.page import render_template
from raysubset.report.published_subselnet import KL, TABLE_11, printed_table
from raysubset.report.subselnet_facts import GIBBS, INDUCTIVE, TRANSDUCTIVE, StudyFacts
from raysubset.report.subselnet_figure import differences
from raysubset.report.subselnet_gates import brief, gates
from raysubset.report.subselnet_sections import (
    approximator_section,
    gates_section,
    setting_section,
)
from raysubset.report.subselnet_tables import (
    EvaluationRow,
    Key,
    Section,
    method_lines,
    ours_of,
    published_section,
    size,
)
from raysubset.report.subselnet_use import costs_section, ranking_section, subsets_section
from raysubset.report.subselnet_verdict import evaluation_section
from raysubset.report.tables import Table

TEMPLATE = "subselnet.html.j2"
PUBLISHED = ("1", "2", "3", "4", "5", "6", "E.3", "9", "10", "11")
UNMEASURED: Mapping[str, str] = {
    "2": "the approximator knows the rows it was fitted on alone, and predicts no test row.",
    "4": "a DARTS search on such subsets is a run of its own; ranking cells stands under Recommending.",
    "5": "a search of hyper-parameters on a subset is a run of its own.",
    "6": "other numbers of test cells; ours stand under Costs.",
    "9": "its size of subset is lost; ours stand under Overlap.",
    "10": "its size of subset is lost; ours stand under Gates and Costs.",
}
DASH = "A dash is what was not measured here, or not on this data set."
LEFT_OUT = (
    "Final accuracy with the vectors of cells exchanged (R4): nothing here was trained on such subsets.",
    "More than this one fit: seeds repeat the trainings on subsets, not supervisors, encoder and approximator.",
)
_LONGEST = 60  # characters that a table's cell may have without being wrapped


def report_sections(facts: StudyFacts, rows: Sequence[EvaluationRow]) -> list[Section]:
    """Return the sections after the verdict, in reading order.

    Args:
        facts: Of the fit.
        rows: Of its evaluation.

    Raises:
        DataError: See `method_lines`.
    """
    methods = evaluation_section(rows, facts.setting.dataset)
    return [
        setting_section(facts.setting),
        Section(methods.title, methods.paragraphs[1:], methods.tables),
        approximator_section(facts.kl),
        gates_section(facts),
        costs_section(facts.costs, printed_table("6").notes),
        subsets_section(facts.subsets),
        ranking_section(facts.rankings, facts.costs.test_cells),
        Section("Not measured", (*LEFT_OUT, *unmeasured(facts)), ()),
    ]


def published_sections(facts: StudyFacts, rows: Sequence[EvaluationRow]) -> list[Section]:
    """Return the paper's tables, each with what of ours means the same beside it."""
    ours, found = ours_beside(facts, rows), []
    for name in PUBLISHED:
        section = published_section(name, ours, facts.setting.dataset)
        lacking = (f"Not measured here: {UNMEASURED[name]}",) if name in UNMEASURED else (DASH,)
        found.append(Section(section.title, (*lacking, *section.paragraphs), section.tables))
    return found


def ours_beside(facts: StudyFacts, rows: Sequence[EvaluationRow]) -> dict[Key, float]:
    """Return our numbers of the same meaning as printed ones: tables 1, 3, E.3 and 11."""
    kind = facts.setting.approximator
    ours = ours_of(rows, kind)
    if facts.kl is not None:
        ours[kind, KL, "training rows, unseen cells"] = fmean(facts.kl.model)
    for of_ratio in method_lines(rows).values():
        for line in of_ratio:
            if size(line.ratio) in TABLE_11:
                ours[line.method, "test accuracy", size(line.ratio)] = line.accuracy
    for (method, ratio), accuracy in facts.validation.items():
        if size(ratio) in TABLE_11:
            ours[method, "validation accuracy", size(ratio)] = accuracy
    return ours


def verdict_of(facts: StudyFacts, rows: Sequence[EvaluationRow]) -> str:
    """Return the first paragraph."""
    return evaluation_section(rows, facts.setting.dataset).paragraphs[0]


def against(facts: StudyFacts) -> list[str]:
    """Return what falls against the fit, a sentence each."""
    said = [f"Gate {gate.name} does not hold: {gate.measured}." for gate in gates(facts) if gate.holds is False]
    if facts.kl is not None:
        ours = fmean(facts.kl.model)
        for name, other in (
            ("B2, the supervisors' mean for each row, which ignores the architecture", facts.kl.per_instance),
            ("its own with the vectors of another cell", facts.kl.permuted),
        ):
            if ours >= fmean(other):
                said.append(
                    f"The approximator's KL on unseen cells, {ours:.4f}, is not below {name}: {fmean(other):.4f}."
                )
    said += closed_form(facts)
    if facts.setting.dataset_note:
        said.append(f"Not the data set that was asked for: {facts.setting.dataset_note}")
    return said


def closed_form(facts: StudyFacts) -> list[str]:
    """Say so where the closed form, which needs neither optimisation nor training, is as good as a sampler."""
    means = [{name: fmean(values) for name, values in one.values.items()} for one in facts.objectives]
    alone = facts.subsets.alone
    return [
        f"The closed form (gibbs) has an objective at least as low as the {name} sampler's at every size, and "
        f"takes {brief(alone.get(GIBBS))} a cell against {brief(alone.get(name))}."
        for name in (TRANSDUCTIVE, INDUCTIVE)
        if means and all(mean[GIBBS] <= mean[name] for mean in means)
    ]


def unmeasured(facts: StudyFacts) -> Iterator[str]:
    """Say what of the gates was not measured, and what one fit cannot tell."""
    for gate in gates(facts):
        if gate.holds is None:
            yield f"{gate.name}, {gate.asks}: {gate.measured}."


# ------------------------------------------------------------------ Markdown


def report_markdown(facts: StudyFacts, rows: Sequence[EvaluationRow]) -> str:
    """Return the whole report in Markdown; arguments as in `report_sections`."""
    said = [f"# {_title(facts)}", verdict_of(facts, rows), *_bullets(against(facts))]
    said += [_markdown(section, 2) for section in report_sections(facts, rows)]
    said.append("## The paper's tables, ours beside them")
    said += [_markdown(section, 3) for section in published_sections(facts, rows)]
    return "\n\n".join(said) + "\n"


def _bullets(sentences: Sequence[str]) -> list[str]:
    return ["Against it:\n\n" + "\n".join(f"- {sentence}" for sentence in sentences)] if sentences else []


def _markdown(section: Section, level: int) -> str:
    tables = ("#" * (level - 1) + study_table.markdown(table) for table in section.tables)
    return "\n\n".join((f"{'#' * level} {section.title}", *section.paragraphs, *tables))


def _title(facts: StudyFacts) -> str:
    return f"SubSelNet on {facts.setting.dataset}: {facts.setting.name}"


# ------------------------------------------------------------------ HTML


def report_html(facts: StudyFacts, rows: Sequence[EvaluationRow]) -> str:
    """Return the whole report as one page of HTML; arguments as in `report_sections`."""
    picture = differences(method_lines(rows))
    return render_template(
        TEMPLATE,
        title=_title(facts),
        setting=facts.setting,
        verdict=verdict_of(facts, rows),
        against=against(facts),
        figure=picture,
        sections=report_sections(facts, rows),
        published=published_sections(facts, rows),
        wraps=_wraps,
    )


def _wraps(table: Table) -> bool:
    """Return True for a table with text beyond its first column that is too long for one line."""
    return any(len(cell) > _LONGEST for row in table.rows for cell in row[1:])
