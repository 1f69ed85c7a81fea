"""SubSelNet's tables and verdict: hand-made evaluations, with rows missing, alone, alike and in any order."""

from __future__ import annotations

import html
import math
import re
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import DataError, OptionsError, UnknownNameError
from raysubset.report.published_subselnet import MEMORY, MILESTONES, RAR, SPEED_UP, TABLES
from raysubset.report.subselnet_tables import (
    BALANCED,
    COLUMNS,
    RANDOM,
    EvaluationRow,
    markdown,
    method_lines,
    ours_of,
    published_section,
    size,
)
from raysubset.report.subselnet_verdict import evaluation_section, missing, verdict

CELLS, SEEDS = ("a", "b", "c", "d"), (0, 1)
WOBBLE = {run: 0.001 * place for place, run in enumerate(product(CELLS, SEEDS))}


def row(method: str, cell: str = "a", seed: int = 0, **changes: Any) -> EvaluationRow:
    values: dict[str, Any] = {
        "method": method, "cell": cell, "seed": seed, "ratio": 0.1, "accuracy": 0.3, "full_accuracy": 0.5,
        "select_s": 1.0, "train_s": 4.0, "full_s": 20.0, "gb_min": 2.0, "class_entropy": 0.9,
    }  # fmt: skip
    return EvaluationRow(**{**values, **changes})


def runs(method: str, accuracy: float, wobble: float = 1.0, **changes: Any) -> list[EvaluationRow]:
    """Eight runs around an accuracy; two methods differ by their gap give or take a few thousandths."""
    sign = 1 if method in (RANDOM, BALANCED) else -1
    return [
        row(method, cell, seed, accuracy=accuracy + sign * wobble * WOBBLE[cell, seed], **changes)
        for cell, seed in product(CELLS, SEEDS)
    ]


def cells_of(table_rows: tuple[tuple[str, ...], ...], method: str) -> dict[str, str]:
    return dict(zip(COLUMNS, next(r for r in table_rows if r[0] == method), strict=True))


GOOD = [*runs(RANDOM, 0.30), *runs(BALANCED, 0.31), *runs("transductive", 0.36), *runs("bottom-loss", 0.2)]


def test_one_ratio_by_hand() -> None:
    section = evaluation_section(GOOD, "cifar10")
    (table,) = section.tables
    assert table.title == "Subsets of 10 %, lowest RAR first"
    assert [r[0] for r in table.rows] == ["transductive", BALANCED, RANDOM, "bottom-loss"]
    line = cells_of(table.rows, "transductive")
    assert line["runs"] == "8"
    assert line["accuracy"] == "35.6 %"  # 0.36 less the mean wobble of 0.0035
    assert line["RAR"] == "0.287"  # 1 - 0.3565 / 0.5
    assert line["selection"] == "1.00 s"
    assert line["faster than full, times"] == "4.00"  # 20 / (1 + 4)
    assert (line["GB min"], line["class entropy / log C"]) == ("2", "0.9")
    assert line["RAR, published"] == "-"
    assert cells_of(table.rows, RANDOM)["to random, points"] == "-"
    assert len(section.paragraphs) == 2  # nothing is missing


def test_interval_in_the_table_is_students() -> None:
    ours = [
        row("inductive", cell, accuracy=0.3 + gap) for cell, gap in zip("abc", (0.01, 0.02, 0.06), strict=True)
    ]
    table = evaluation_section([*ours, *(row(RANDOM, cell) for cell in "abc")], "cifar10").tables[0]
    half = 4.302652729911275 * math.sqrt((0.02**2 + 0.01**2 + 0.03**2) / 2 / 3)  # t of 2 degrees of freedom
    expected = f"+3.00 ({3 - 100 * half:+.2f} to {3 + 100 * half:+.2f})"
    assert cells_of(table.rows, "inductive")["to random, points"] == expected
    assert cells_of(table.rows, "inductive")["RAR, published"] == "0.260"  # table 3, attention + inductive


def test_verdict_where_ours_wins() -> None:
    said = verdict(GOOD)
    assert said.startswith("No variant of SubSelNet falls below")
    assert "at 10 % transductive with 35.6 % (all data: 50.0 %)" in said
    assert re.search(r"Above random by an interval that excludes zero: at 10 % transductive \(\+5\.\d\)", said)
    assert "bottom-loss" not in said  # below random, but no variant of ours and no winner


def test_verdict_puts_what_falls_against_us_first() -> None:
    said = verdict(
        [*runs(RANDOM, 0.30), *runs(BALANCED, 0.31), *runs("hybrid-2b", 0.2), *runs("bottom-loss", 0.4)]
    )
    assert said.startswith("Against us, below random by an interval that excludes zero: at 10 % hybrid-2b (-10.")
    assert "Against us, below class-balanced random" in said
    assert "bottom-loss with 39.6 %, not one of SubSelNet's variants" in said
    assert said.index("Against us") < said.index("Highest mean accuracy") < said.index("Above random")


def test_verdict_of_a_difference_that_is_noise() -> None:
    noise = [
        row("transductive", cell, seed, accuracy=0.3 + (0.02 if seed else -0.021))
        for cell, seed in product(CELLS, SEEDS)
    ]
    said = verdict([*runs(RANDOM, 0.3, 0.0), *noise])
    assert said.startswith("Not to be told from random: at 10 % transductive (-0.")
    assert "Without an interval against class-balanced random" in said
    assert "Nothing beats random by an interval that excludes zero." in said
    assert "Nothing was compared with class-balanced random." in said


def test_seeds_as_the_unit_undo_a_gain_of_one_seed() -> None:
    ours = [
        row("transductive", cell, seed, accuracy=0.31 + 0.03 * seed + WOBBLE[cell, seed])
        for cell, seed in product(CELLS, SEEDS)
    ]
    assert "with seeds as the unit instead of runs, 0 of these 1." in verdict([*runs(RANDOM, 0.3, 0.0), *ours])


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_one_seed_and_one_cell_has_no_interval(gap: float) -> None:
    section = evaluation_section([row(RANDOM), row("inductive", accuracy=0.3 + gap)])
    assert section.paragraphs[0].startswith("Without an interval against random")
    assert "no interval" in cells_of(section.tables[0].rows, "inductive")["to random, points"]
    assert "Nothing beats random" in section.paragraphs[0]


def test_differences_all_alike_are_no_certainty() -> None:
    said = verdict([*runs(RANDOM, 0.3, 0.0), *runs("inductive", 0.4, 0.0)])
    assert said.startswith("Without an interval against random (too few paired runs, or all alike)")


def test_zero_rows_and_none_of_ours() -> None:
    section = evaluation_section([])
    assert section.tables == ()
    assert section.paragraphs[0] == "No run has finished: nothing can be said of any method."
    assert verdict(runs(RANDOM, 0.3)).startswith("None of SubSelNet's variants has a run")


def test_missing_cells_are_named() -> None:
    partial = [r for r in GOOD if (r.method, r.cell, r.seed) != ("transductive", "b", 1)]
    partial += [row(RANDOM, cell, seed, ratio=0.3) for cell, seed in product(CELLS, SEEDS)]
    said = missing(partial)
    assert "transductive at 10 % has 7 of 8 runs, not cell b seed 1." in said
    assert "transductive at 30 % has 0 of 8 runs." in said
    assert f"{BALANCED} at 30 % has 0 of 8 runs." in said
    assert not any(sentence.startswith("random at") for sentence in said)
    assert evaluation_section(partial).paragraphs[1].startswith("Missing: ")
    assert missing([row("inductive")]) == [f"{name} at 10 % has 0 of 1 runs." for name in (RANDOM, BALANCED)]


def test_a_method_with_only_easy_runs_is_not_called_best() -> None:
    lucky = [row("inductive", "a", accuracy=0.9)]
    assert "at 10 % transductive with" in verdict([*GOOD, *lucky])
    split = [row("inductive", "a", accuracy=0.9), row(RANDOM, "b")]
    assert "at 10 % none, as no method has all 2 runs" in verdict(split)


@PROPERTY
@given(st.permutations(range(len(GOOD))))
def test_order_of_rows_does_not_matter(order: list[int]) -> None:
    assert evaluation_section([GOOD[i] for i in order]).paragraphs == evaluation_section(GOOD).paragraphs
    assert evaluation_section([GOOD[i] for i in order]).tables == evaluation_section(GOOD).tables


@PROPERTY
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["inductive", RANDOM, "x"]), st.sampled_from("ab"), st.integers(0, 1), st.floats(0, 1)
        ),
        unique_by=lambda r: r[:3],
        max_size=12,
    )
)
def test_any_evaluation_makes_a_page_sorted_by_rar(drawn: list[tuple[str, str, int, float]]) -> None:
    rows = [row(method, cell, seed, accuracy=accuracy) for method, cell, seed, accuracy in drawn]
    section = evaluation_section(rows, "cifar10")
    assert section.paragraphs[0].endswith(".")
    for table in section.tables:
        assert all(len(r) == len(table.columns) for r in table.rows)
        rars = [float(r[COLUMNS.index("RAR")]) for r in table.rows]
        assert rars == sorted(rars)
        for text in (cell for r in (table.columns, *table.rows) for cell in r):
            assert html.escape(text) == text
            assert "|" not in text


def test_means_of_what_some_runs_lack_are_not_measured() -> None:
    rows = [row(RANDOM), row(RANDOM, "b", gb_min=None, class_entropy=None)]
    line = cells_of(evaluation_section(rows).tables[0].rows, RANDOM)
    assert (line["GB min"], line["class entropy / log C"]) == ("not measured", "not measured")


def test_speed_up_is_of_mean_times_and_rar_a_mean_over_runs() -> None:
    rows = [
        row(RANDOM, accuracy=0.5),
        row(RANDOM, "b", full_s=100.0, train_s=5.0, full_accuracy=1.0, accuracy=0.5),
    ]
    (line,) = method_lines(rows)[0.1]
    assert line.speed_up == pytest.approx(120 / (2 + 9), abs=FLOAT64)
    assert line.rar == pytest.approx(0.25, abs=FLOAT64)


# ------------------------------------------------------------------ beside the published


def test_ours_of_takes_the_fastest_subset_within_the_target() -> None:
    rows = [
        row("transductive", ratio=0.1, accuracy=0.30, train_s=1.0, gb_min=1.0),  # RAR 0.4
        row("transductive", ratio=0.3, accuracy=0.41, train_s=3.0, gb_min=3.0),  # 0.18
        row("transductive", ratio=0.5, accuracy=0.46, train_s=9.0, gb_min=5.0),  # 0.08
        row("inductive", ratio=0.1, accuracy=0.44),  # 0.12
    ]
    found = ours_of(rows)
    low, high = MILESTONES
    assert found["transductive", SPEED_UP, low] == pytest.approx(2.0)
    assert found["transductive", SPEED_UP, high] == pytest.approx(5.0)
    assert (found["transductive", MEMORY, low], found["transductive", MEMORY, high]) == (5.0, 3.0)
    assert ("inductive", SPEED_UP, low) not in found
    assert found["attention + inductive", RAR, "10 %"] == pytest.approx(0.12)
    assert found["transductive", RAR, "10 %"] == pytest.approx(0.4)


def test_published_section_puts_ours_beside_their_own_data_set_alone() -> None:
    ours = {
        ("transductive", SPEED_UP, "20 % RAR"): 3.21,
        (RANDOM, SPEED_UP, "20 % RAR"): 4.5,
        ("x", "y", "z"): 1.0,
    }
    section = published_section("E.3", ours, "cifar10")
    rows = section.tables[0].rows
    assert ("cifar10", "transductive", SPEED_UP, "20 % RAR", "16.52", "3.21") in rows
    assert ("fmnist", "transductive", SPEED_UP, "20 % RAR", "68.36", "-") in rows
    assert ("cifar10", "grand", SPEED_UP, "20 % RAR", "not reached", "-") in rows
    assert rows[-1] == ("cifar10", RANDOM, SPEED_UP, "20 % RAR", "-", "4.5")
    assert len(rows) == len(TABLES["E.3"].numbers) + 1
    assert len(published_section("1", ours, "cifar10").tables[0].rows) == len(TABLES["1"].numbers)
    assert ("cifar10", "random", "test error, %", "10 %", "3.02 ± 0.171", "-") in published_section(
        "4", {}
    ).tables[0].rows
    with pytest.raises(UnknownNameError):
        published_section("8", {})


@pytest.mark.parametrize("name", list(TABLES))
def test_every_published_table_renders_safely(name: str) -> None:
    section = published_section(name, {})
    text = markdown(section)
    assert text.startswith(f"# {section.title}\n\n{section.paragraphs[0]}")
    assert text.count("\n| ") == len(TABLES[name].numbers) + 2
    assert not set("<>&") & set(text)


def test_markdown_of_the_evaluation() -> None:
    text = markdown(evaluation_section(GOOD))
    assert text.startswith("# Subsets for unseen architectures\n\nNo variant of SubSelNet")
    assert "\n| transductive | 8 | 35.6 % | 0.287 | - | " in text
    assert size(0.055) == "5.5 %"


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"ratio": 0.0}, r"ratio=0.0, need a share in \(0, 1\)"),
        ({"ratio": 1.0}, "all data is full_accuracy"),
        ({"accuracy": 1.01}, "accuracy=1.01"),
        ({"accuracy": math.nan, "train_s": 0.0}, "accuracy=nan.*train_s=0.0"),
        ({"full_accuracy": 0.0}, "full_accuracy=0.0"),
        ({"select_s": -1.0}, "select_s=-1.0"),
        ({"full_s": math.inf}, "full_s=inf"),
        ({"gb_min": math.nan}, "gb_min=nan"),
        ({"class_entropy": 2.3}, "class_entropy=2.3"),
        ({"cell": ""}, "cell=''"),
        ({"cell": "a|b"}, "cell='a|b', need plain text"),
        ({"method": "<script>"}, "method='<script>'"),
        ({"method": "a\nb"}, "method="),
    ],
)
def test_bad_rows(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(OptionsError, match=match):
        replace(row(RANDOM), **changes)


def test_rows_that_contradict_each_other() -> None:
    with pytest.raises(DataError, match="random at ratio 0.1: two rows of cell a, seed 0"):
        method_lines([row(RANDOM), row(RANDOM)])
    with pytest.raises(DataError, match="Cell a, seed 0 has two accuracies on all data, 0.5 and 0.6"):
        method_lines([row(RANDOM), row("inductive", full_accuracy=0.6)])
