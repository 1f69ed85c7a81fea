"""SubSelNet's report: gates at their edges, costs by hand, and a page that needs nothing but itself."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Any

import pytest

from raysubset.report.intervals import Estimate
from raysubset.report.published_subselnet import TABLES
from raysubset.report.subselnet_facts import (
    CostFacts,
    EncoderFacts,
    KlFacts,
    ObjectiveFacts,
    QueryCost,
    RankingFacts,
    SettingFacts,
    StudyFacts,
    SubsetFacts,
)
from raysubset.report.subselnet_gates import brief, gates
from raysubset.report.subselnet_page import (
    against,
    ours_beside,
    published_sections,
    report_html,
    report_markdown,
    report_sections,
    verdict_of,
)
from raysubset.report.subselnet_sections import approximator_section, setting_section
from raysubset.report.subselnet_tables import EvaluationRow
from raysubset.report.subselnet_use import costs_section, ranking_section, subsets_section

METHODS = ("transductive", "inductive", "hybrid", "gibbs", "bottom-loss")
CELLS = ("conv3x3-bn-relu~0+output~1", "maxpool3x3~0+output~1", "conv1x1-bn-relu~0+output~1")
SETTING = SettingFacts(
    name="small", command="raysubset subselnet fit", started="2026-01-01T00:00:00+00:00", device="cpu", seed=7,
    versions={"torch": "2"}, dataset="cifar10", dataset_source="files", dataset_note="", n_train=4000,
    n_validation=444, n_test=4444, num_classes=10, input_shape=(3, 16, 16), limit=4444, shrink=2, train_cells=20,
    check_cells=4, unseen_cells=3, channels=8, stack_cells=1, epochs=8, subset_epochs=25,
    features="64 principal components of the inputs", feature_columns=64, encoder_cells=2000,
    approximator="attention", supervisor_accuracy=0.41, full_accuracy=0.38, entropy=0.3, trained_entropy=0.3,
    trained_ratios=(0.05, 0.1), methods=("random", "transductive"), ratios=(0.1,), seeds=1,
)  # fmt: skip
FACTS = StudyFacts(
    setting=SETTING,
    encoder=EncoderFacts(0.99, 0.98, 0.5, 0.8, 1.5),
    kl=KlFacts(CELLS, (0.10, 0.12, 0.14), (0.11, 0.13, 0.15), (0.5, 0.6, 0.7), (0.3,) * 3, (0.11, 0.15, 0.16)),
    objectives=(
        ObjectiveFacts(0.1, 8, {
            "uniform": (-0.9, -0.8, -0.7), "gibbs": (-1.2, -1.1, -1.0), "transductive": (-1.19, -1.09, -0.99),
            "inductive": (-1.1, -1.0, -0.9),
        }),
    ),
    subsets=SubsetFacts(
        0.1, 4000, 400,
        {"inductive": 0.02, "transductive": 0.08, "facility-location": 2.0, "gibbs": 0.021, "hybrid": 0.05,
         "bottom-loss": 0.02},
        21, (), CELLS, dict.fromkeys(METHODS, 0.1),
        {(one, other): 0.25 if one == other else 0.2 for one in METHODS for other in METHODS},
    ),
    costs=CostFacts(
        {"features": 10.0, "supervisors": 90.0}, 10.0, 20, 3,
        (QueryCost("random", 0.1, 0.0, 0.0, 2.0), QueryCost("transductive", 0.1, 100.0, 0.5, 1.5),
         QueryCost("facility-location", 0.1, 10.0, 2.0, 9.0)),
    ),
    rankings=(
        RankingFacts("full", 1.0, 0.8, Estimate(0.8, 0.2, 1.0), 1.0, 2),
        RankingFacts("transductive", 0.1, 0.5, Estimate(0.5, 0.1, 0.9), 0.33, 2),
        RankingFacts("random", 0.1, float("nan"), None, 0.33, 2),
    ),
    validation={("transductive", 0.1): 0.31, ("full", 1.0): 0.4},
)  # fmt: skip


def rows(**accuracies: float) -> list[EvaluationRow]:
    return [
        EvaluationRow(
            method=method, cell=cell, seed=0, ratio=0.1, accuracy=accuracy + 0.01 * place, full_accuracy=0.4,
            select_s=0.1, train_s=1.0, full_s=10.0,
        )
        for method, accuracy in accuracies.items()
        for place, cell in enumerate(CELLS)
    ]  # fmt: skip


ROWS = rows(random=0.2, transductive=0.25)


def holds(facts: StudyFacts) -> dict[str, list[bool | None]]:
    found: dict[str, list[bool | None]] = {}
    for gate in gates(facts):
        found.setdefault(gate.name, []).append(gate.holds)
    return found


def test_a_sound_fit_passes_every_gate() -> None:
    assert holds(FACTS) == {"G3": [True], "G4": [True], "G5": [True, True], "G6": [True], "G7": [True]}
    assert [sentence.split("(")[0] for sentence in against(FACTS)] == ["The closed form "] * 2
    assert "takes 21 ms a cell against 80 ms" in against(FACTS)[0]
    gate, only = against(with_objective(inductive=-1.2))  # below the closed form at one of two sizes
    assert gate.startswith("Gate G5")
    assert "transductive sampler" in only


@pytest.mark.parametrize("name", ["op_accuracy", "edge_accuracy", "spread", "twins"])
def test_g3_needs_all_four(name: str) -> None:
    low = {"op_accuracy": 0.949, "edge_accuracy": 0.949, "spread": 0.09, "twins": 0.0}[name]
    assert holds(replace(FACTS, encoder=replace(FACTS.encoder, **{name: low})))["G3"] == [False]


def with_kl(**columns: Any) -> StudyFacts:
    assert FACTS.kl is not None
    return replace(FACTS, kl=replace(FACTS.kl, **columns))


def test_g3_of_a_space_without_twins_asks_for_the_others() -> None:
    found = replace(FACTS, encoder=replace(FACTS.encoder, twins=None))
    (gate,) = (gate for gate in gates(found) if gate.name == "G3")
    assert gate.holds
    assert "no twins in this space" in gate.measured


def test_g4_compares_means_with_both_baselines_and_not_with_b2() -> None:
    assert holds(with_kl(label_conditional=(0.1, 0.1, 0.1)))["G4"] == [False]
    assert holds(with_kl(class_prior=(0.1, 0.1, 0.1)))["G4"] == [False]
    worse = with_kl(per_instance=(0.05, 0.05, 0.05))
    assert holds(worse)["G4"] == [True]
    assert any("not below B2" in sentence for sentence in against(worse))
    assert any("another cell" in sentence for sentence in against(with_kl(permuted=(0.1, 0.1, 0.1))))
    assert holds(replace(FACTS, kl=None))["G4"] == [None]


def with_objective(**values: float) -> StudyFacts:
    (one,) = FACTS.objectives
    changed = {name: (value,) * 3 for name, value in values.items()}
    return replace(
        FACTS, objectives=(*FACTS.objectives, replace(one, ratio=0.3, values={**one.values, **changed}))
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"transductive": -1.1 + 0.021}, [True, True]),  # 2 % of the closed form's 1.1 is 0.022
        ({"transductive": -1.1 + 0.023}, [False, True]),
        ({"transductive": -1.2}, [True, True]),
        ({"transductive": -0.7, "gibbs": -0.7, "uniform": -0.8}, [False, False]),
        ({"inductive": -0.79}, [True, False]),
        ({"inductive": -1.11}, [True, False]),
    ],
)
def test_g5_at_its_edges_at_every_size(values: dict[str, float], expected: list[bool]) -> None:
    assert holds(with_objective(**values))["G5"] == expected


def test_g5_is_not_judged_by_fewer_than_eight_draws() -> None:
    (one,) = FACTS.objectives
    assert holds(replace(FACTS, objectives=(replace(one, draws=7),)))["G5"] == [None, None]


def with_times(n: int = 4000, **alone: float) -> StudyFacts:
    return replace(FACTS, subsets=replace(FACTS.subsets, n=n, alone={**FACTS.subsets.alone, **alone}))


def test_g6_asks_for_an_order_and_for_rows() -> None:
    assert holds(with_times(inductive=0.09))["G6"] == [False]
    assert holds(with_times(transductive=2.1))["G6"] == [False]
    assert holds(with_times(n=1999, inductive=0.09))["G6"] == [None]
    untimed = {name: time for name, time in FACTS.subsets.alone.items() if name != "facility-location"}
    without = replace(FACTS, subsets=replace(FACTS.subsets, alone=untimed))
    assert holds(without)["G6"] == [None]
    assert "facility-location not measured" in next(gate.measured for gate in gates(without) if gate.name == "G6")


def test_g7_fails_by_any_fault_and_names_it() -> None:
    faulty = replace(FACTS, subsets=replace(FACTS.subsets, faults=("gibbs for a: other rows from the same seed",)))
    assert holds(faulty)["G7"] == [False]
    assert "other rows from the same seed" in against(faulty)[0]


def test_short_times() -> None:
    assert [brief(value) for value in (0.0234, 0.0001, 1.5, None)] == [
        "23.4 ms",
        "0.1 ms",
        "1.50 s",
        "not measured",
    ]


def test_costs_by_hand() -> None:
    section = costs_section(FACTS.costs, ("A note.",))
    stages, queries = section.tables
    assert stages.rows == (("features", "10.0 s"), ("supervisors", "90.0 s"), ("all", "100.0 s"))
    by_method = {row[1]: row for row in queries.rows}
    # 100 s once + 3 queries of 2 s: 106 s over 23 cells, and over 3; full training is 8 s dearer than a query
    assert by_method["transductive"][5:] == ("4.61 s", "35.3 s", "13")
    assert by_method["random"][5:] == ("2.00 s", "2.00 s", "0")
    assert by_method["facility-location"][-1] == "never"
    assert section.paragraphs[0].endswith("facility-location at 10 %.")
    assert "transductive" not in section.paragraphs[0]


def test_kl_differences_are_students_over_cells() -> None:
    section = approximator_section(FACTS.kl)
    gaps, cells = section.tables
    less = {row[0]: row for row in gaps.rows}
    # model - B2: -0.01, -0.03, -0.02; t(2) 4.3027, sd 0.01: half width 0.0248
    assert less["B2, mean of the row (R1)"][1:] == ("-0.0200", "-0.0448 to +0.0048", "-14.3 %", "3 of 3")
    assert less["permuted vectors (R1)"][1] == "-0.0100"
    assert less["permuted vectors (R1)"][2] == "-"  # all alike: no interval
    assert cells.rows[-1] == ("mean", "0.1200", "0.1300", "0.6000", "0.3000", "0.1400")
    assert "14.3 % below that of B2" in section.paragraphs[0]
    assert "no difference shown" in section.paragraphs[0]
    assert approximator_section(None).tables == ()


def test_overlap_beside_chance() -> None:
    section = subsets_section(FACTS.subsets)
    between, same = section.tables
    assert between.rows[0] == ("transductive", "0.100", "0.250", "0.053")  # 400 / (8000 - 400)
    assert same.rows[1][:3] == ("inductive", "0.200", "0.250")
    assert "gibbs overlap by 0.200, two draws of the transductive sampler by 0.250" in section.paragraphs[0]


def test_rankings_and_their_absence() -> None:
    section = ranking_section(FACTS.rankings, 3)
    assert [row[2] for row in section.tables[0].rows] == ["0.80", "0.50", "not defined"]
    assert "1 of 2 rankings by subsets" in section.paragraphs[0]  # full training is not counted
    assert ranking_section((), 2).tables == ()
    assert "2 unseen cells" in ranking_section((), 2).paragraphs[0]


def test_the_setting_says_what_departs_from_the_paper() -> None:
    said = " ".join(setting_section(SETTING).paragraphs)
    for words in (
        "64 principal components",
        "24 supervisors, not 250",
        "8 epochs, not 150",
        "41.0 %",
        "38.0 %",
        "25 epochs on subsets against 8",
    ):
        assert words in said
    paper = replace(
        SETTING, features="a pretrained ResNet-50", train_cells=214, check_cells=36, encoder_cells=500_000,
        channels=128, stack_cells=3, epochs=150, subset_epochs=150, shrink=1, limit=None,
    )  # fmt: skip
    assert setting_section(paper).paragraphs[-1].startswith("Not as in the paper: convergence (supervisors")
    lacking = "features of resnet8 (the weights of a pretrained ResNet-50 cannot be had here)"
    scouted = setting_section(replace(paper, features=lacking)).paragraphs[-1]
    assert f"{lacking}, a network that has seen the labels, not a pretrained ResNet-50's features" in scouted
    genotypes = setting_section(replace(paper, space="darts", channels=4))
    assert "networks of 4 channels, 3 cells, of DARTS genotypes, not of NAS-Bench-101" in genotypes.paragraphs[-1]
    assert ("networks", "4 channels, 3 cells, of DARTS genotypes") in genotypes.tables[0].rows
    note = setting_section(replace(SETTING, dataset_note="digits instead")).paragraphs[0]
    assert "Not the data set that was asked for: digits instead" in note


def test_published_numbers_stand_beside_those_of_the_same_meaning_alone() -> None:
    ours = ours_beside(FACTS, ROWS)
    assert ours["attention", "KL, nats", "training rows, unseen cells"] == pytest.approx(0.12)
    assert ours["transductive", "test accuracy", "10 %"] == pytest.approx(0.26)
    assert ours["transductive", "validation accuracy", "10 %"] == 0.31
    sections = published_sections(FACTS, ROWS)
    assert len(sections) == len(TABLES)
    by_title = {section.title: section for section in sections}
    for name in ("2", "4", "5", "6", "9", "10"):
        section = by_title[f"{TABLES[name].title} ({TABLES[name].where})"]
        assert section.paragraphs[0].startswith("Not measured here: ")
        assert {row[-1] for row in section.tables[0].rows} == {"-"}
    eleven = by_title[f"{TABLES['11'].title} ({TABLES['11'].where})"].tables[0].rows
    assert [row[-1] for row in eleven if row[1] == "transductive" and row[3] == "10 %"] == ["-", "0.31", "0.26"]
    assert {row[-1] for row in eleven if row[2] == "training accuracy"} == {"-"}


def test_the_verdict_is_the_first_paragraph_and_what_falls_against_it_the_second() -> None:
    text = report_markdown(with_kl(per_instance=(0.05, 0.05, 0.05)), ROWS)
    title, first, second, *_ = text.split("\n\n")
    assert title == "# SubSelNet on cifar10: small"
    assert first == verdict_of(FACTS, ROWS)
    assert second == "Against it:"
    headings = re.findall(r"^## (.*)$", text, flags=re.M)
    assert headings == [*(section.title for section in report_sections(FACTS, ROWS)),
                        "The paper's tables, ours beside them"]  # fmt: skip


def test_tables_have_equally_long_rows() -> None:
    for section in (*report_sections(FACTS, ROWS), *published_sections(FACTS, ROWS)):
        for table in section.tables:
            assert {len(row) for row in table.rows} <= {len(table.columns)}, table.title


def test_the_page_needs_nothing_but_itself_and_is_the_same_each_time() -> None:
    page = report_html(FACTS, ROWS)
    assert page == report_html(FACTS, ROWS)
    assert not re.search(r"<script|<link[^>]+stylesheet|@import|\bsrc=|https?://(?!www\.w3\.org/)", page)
    assert "default-src 'none'" in page
    assert page.count("<svg") == 1
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    for section in (*report_sections(FACTS, ROWS), *published_sections(FACTS, ROWS)):
        for words in (section.title, *section.paragraphs, *(table.title for table in section.tables)):
            assert words in text, words
    assert text.index(verdict_of(FACTS, ROWS)) < text.index("What was run")


def test_markup_in_names_is_shown_not_obeyed() -> None:
    odd = replace(FACTS, setting=replace(SETTING, dataset_source="<b>x</b>", dataset_note="<i>y</i>"))
    page = report_html(odd, ROWS)
    assert "<b>x" not in page
    assert "<i>y" not in page
    assert "&lt;b&gt;x" in page


def test_without_random_there_is_no_figure_and_without_rows_a_report_still() -> None:
    assert "<svg" not in report_html(FACTS, rows(transductive=0.2))
    assert "No run has finished" in report_html(replace(FACTS, kl=None, rankings=()), [])
