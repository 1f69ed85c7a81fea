"""The tables of studies: the printed numbers, and the arithmetic over seeds."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from raysubset.report.published import DSS_CLAIMS, TABLE_3, TABLE_4, table_3, table_4
from raysubset.report.study_lines import CellResult, line_facts, lines
from raysubset.report.study_table import accuracy_table, cell_table, cost_table, markdown, overview_table
from raysubset.report.tables import Table


def test_table_3_as_printed() -> None:
    printed = """
        Random      94.02 0.78   94.55 0.41   93.89 0.57
        HyperBand   94.65 0.44   95.78 0.33   95.56 0.58
        BOHB        95.01 0.51   96.25 0.25   95.72 0.15
        HyperTune   95.21 0.35   96.74 0.17   95.98 0.28
    """
    rows = [line.split() for line in printed.strip().splitlines()]
    assert len(rows) == len(TABLE_3)
    for name, *numbers in rows:
        values = [float(number) for number in numbers]
        for ratio, accuracy, spread in zip((1.0, 0.3, 0.05), values[::2], values[1::2], strict=True):
            cell = table_3(name, ratio)
            assert (cell.accuracy, cell.spread, cell.seeds) == (accuracy, spread, 3)
            assert (cell.dataset, cell.model) == ("cifar10", "resnet18")
            assert cell.gap is None if ratio == 1 else cell.gap == pytest.approx(accuracy - values[0], abs=0.006)
            assert cell.cost is None


def test_table_4_as_printed() -> None:
    printed = """
        Random         94.02 0.78   77.46 0.54   2.0
        HyperBand      94.65 0.44   77.90 0.45   2.0
        BOHB           95.01 0.51   78.43 0.31   2.0
        HyperTune      95.21 0.35   78.4  0.28   2.0
        HT.-Random     95.47 0.52   77.92 0.31   0.2
        HT.-Loss       95.57 0.35   78.13 0.24   0.2
        HT.-Entropy    95.16 0.25   78.51 0.25   0.2
        HT.-Gradient   95.26 0.19   77.85 0.52   0.2
        HT.-Prediction 94.94 0.51   79.05 0.24   0.2
        HT.-Mixture    96.92 0.25   79.39 0.11   0.2
    """
    rows = [line.split() for line in printed.strip().splitlines()]
    assert len(rows) == len(TABLE_4)
    for name, ten, ten_spread, hundred, hundred_spread, cost in rows:
        for data, accuracy, spread in (("cifar10", ten, ten_spread), ("cifar100", hundred, hundred_spread)):
            cell = table_4(name, data)
            assert (cell.accuracy, cell.spread, cell.cost) == (float(accuracy), float(spread), float(cost))
            assert cell.dataset == data
            full = {"cifar10": 95.21, "cifar100": 78.4}[data]
            expected = pytest.approx(float(accuracy) - full, abs=0.006) if name.startswith("HT") else None
            assert cell.gap == expected


def test_what_the_other_paper_claims() -> None:
    assert {name: (c.model, c.gap, c.speedup) for name, c in DSS_CLAIMS.items()} == {
        "cifar10": ("resnet18", -0.5, (8, 10)),
        "cifar100": ("resnet50", -0.5, (8, 10)),
        "mnist": ("lenet", -0.05, (8, 10)),
    }


def done(cell: str, seed: int, test: float, seconds: float, samples: int, **changes) -> CellResult:
    fields = {
        "cell": cell, "method": "full", "dataset": "cifar10", "model": "resnet18", "searched_by": "tpe",
        "rows_by": "full", "taken_by": "full", "ratio": 1.0, "seed": seed, "state": "finished", "device": "cpu",
        "trials": 10, "search_accuracy": 0.8, "val_accuracy": 0.85, "test_accuracy": test,
        "search_samples": samples, "retrain_samples": 100, "search_s": seconds, "retrain_s": 10.0,
    }  # fmt: skip
    return CellResult(**{**fields, **changes})


def three_seeds() -> list[CellResult]:
    full = [done(f"f{s}", s, t, 100.0, 2000) for s, t in enumerate((0.90, 0.92, 0.94))]
    subset = {"method": "CRAIG", "rows_by": "craig", "taken_by": "craig", "ratio": 0.05}
    part = [
        done(f"c{s}", s, t, sec, 200, against=f"f{s}", published=table_3("Random", 0.05), **subset)
        for s, t, sec in ((0, 0.89, 10.0), (1, 0.92, 12.5), (2, 0.92, 20.0))
    ]
    return [*full, *part]


STUDENT_2 = 4.302652729911275  # 0.975 quantile, 2 degrees of freedom


def test_means_gaps_and_savings_by_hand() -> None:
    full, part = lines(three_seeds())
    test = full.mean(lambda c: c.test_accuracy)
    assert test is not None
    assert test.value == pytest.approx(0.92)
    assert test.high - test.value == pytest.approx(STUDENT_2 * 0.02 / math.sqrt(3))
    assert full.gap() is None
    assert full.saving(lambda c: c.search_s) is None
    gap = part.gap()
    assert gap is not None
    assert gap.value == pytest.approx((-0.01 + 0.0 - 0.02) / 3)
    assert gap.value - gap.low == pytest.approx(STUDENT_2 * 0.01 / math.sqrt(3))
    saving = part.saving(lambda c: c.search_s)
    assert saving is not None
    assert saving.value == pytest.approx((10 + 8 + 5) / 3)  # not 300 / 42.5
    whole = part.saving(lambda c: c.wall_s)
    assert whole is not None
    assert whole.value == pytest.approx((110 / 20 + 110 / 22.5 + 110 / 30) / 3)
    fewer = part.saving(lambda c: c.samples)
    assert fewer is not None
    assert fewer.value == pytest.approx(2100 / 300)


def test_equal_values_are_no_certainty() -> None:
    """Sample counts repeat exactly; an accuracy that repeats does so by chance: neither gets an interval of 0."""
    _, part = lines([replace(r, test_accuracy=0.9) for r in three_seeds()])
    assert line_facts(part)["samples_saved"] == {"mean": pytest.approx(7), "low": None, "high": None}
    assert line_facts(part)["gap_to_full"] == {"mean": pytest.approx(0), "low": None, "high": None}


def test_gaps_are_paired_by_seed_and_only_with_what_is_finished() -> None:
    results = three_seeds()
    results[1] = replace(results[1], state="failed", cause="no memory", test_accuracy=None)
    _, part = lines(results)
    gap = part.gap()
    assert gap is not None
    assert gap.value == pytest.approx((-0.01 - 0.02) / 2)
    assert line_facts(part)["paired_seeds"] == [0, 2]
    assert line_facts(part)["seeds"] == [0, 1, 2]
    assert "(2 of them)" in accuracy_table(results).rows[1][11]
    unfinished = [replace(r, state="waiting") if r.cell.startswith("c") else r for r in results]
    assert lines(unfinished)[1].mean(lambda c: c.test_accuracy) is None
    assert lines(unfinished)[1].pairs == ()


def test_a_row_is_one_method_on_one_data_set_at_one_ratio() -> None:
    cells = [
        done("a", 0, 0.9, 1.0, 10, ratio=0.3),
        done("b", 1, 0.9, 1.0, 10, ratio=0.3),
        done("c", 0, 0.9, 1.0, 10, ratio=0.05),
        done("d", 0, 0.9, 1.0, 10, ratio=0.3, dataset="mnist"),
        done("e", 0, 0.9, 1.0, 10, ratio=0.3, method="BOHB"),
    ]
    assert [[cell.cell for cell in line.cells] for line in lines(cells)] == [["a", "b"], ["c"], ["d"], ["e"]]


def test_seconds_of_different_devices_are_not_compared() -> None:
    results = [replace(r, device="A100") if r.cell == "c2" else r for r in three_seeds()]
    saving = lines(results)[1].saving(lambda c: c.search_s)
    assert saving is not None
    assert saving.value == pytest.approx((10 + 8) / 2)


def test_one_seed_has_no_interval() -> None:
    full, part = lines([r for r in three_seeds() if r.seed == 0])
    assert line_facts(part)["gap_to_full"] == {"mean": pytest.approx(-0.01), "low": None, "high": None}
    table = accuracy_table([r for r in three_seeds() if r.seed == 0])
    assert "±" not in "".join(
        text for name, text in zip(table.columns, table.rows[1], strict=True) if "test" in name
    )
    json.dumps([line_facts(full), line_facts(part)], allow_nan=False)


def test_published_numbers_stand_beside_ours_and_are_subtracted_only_where_they_compare() -> None:
    results = three_seeds()
    row = dict(zip(accuracy_table(results).columns, accuracy_table(results).rows[1], strict=True))
    assert row["published %"] == "93.89 ± 0.57"
    assert row["published to full"] == "-0.13"
    assert row["ours to published"].startswith("-2.89 ±")  # 91.00 - 93.89
    assert row["seeds"] == "3 of 3"
    for changes in ({"dataset": "cifar10-1000"}, {"model": "lenet"}):
        other = [replace(r, **changes) for r in results]
        assert lines(other)[1].above_published() is None


def test_costs_and_energy() -> None:
    table = cost_table(three_seeds(), watts=90.0)
    assert table.columns[-1] == "energy at 90 W, Wh"
    assert float(table.rows[0][-1]) == pytest.approx(90 * 110 / 3600, rel=0.01)
    assert cost_table(three_seeds()).columns[-1] == "published cost"
    assert table.rows[1][4:6] == ("200", "300")
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_selector_that_gave_way_is_not_passed_off_as_itself() -> None:
    results = [replace(r, taken_by="adaptive-random") if r.cell == "c0" else r for r in three_seeds()]
    assert "adaptive-random (in place of craig" in accuracy_table(results).rows[1][4]
    assert "in place of craig" in cell_table(results).rows[3][2]


def test_markdown_survives_what_would_break_it() -> None:
    text = markdown(Table("T", ("a|b", "c"), (("x\ny", "1 | 2"),)))
    assert text.splitlines()[2:] == ["| a\\|b | c |", "| --- | --- |", "| x y | 1 \\| 2 |"]
    assert len(overview_table(three_seeds()).rows) == 2
