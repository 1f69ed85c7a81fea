"""The papers' tables against the rows of their text, and our runs beside them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from raysubset.errors import UnknownNameError
from raysubset.report.own_numbers import own_numbers
from raysubset.report.papers import NOT_RUN, PAPERS, OwnNumber, beside, paper_table
from raysubset.report.published_asp import NB201, TAU, TEST
from tests.report.synthetic import run_info
from tests.report.test_comparison import comparison, write_records

# Rows as the text of the ASP paper has them (test columns of table 1; tables 2, 5 and 6).
TABLE_1 = """
Optimal|-|91.61|94.37|73.49|73.51|46.77|47.31
RSPS|80007.13|80.42±3.58|84.07±3.61|52.12±5.55|52.31±5.77|27.22±3.24|26.28±3.09
DARTS-V1|11625.77|39.77±0.00|54.30±0.00|15.03±0.00|15.61±0.00|16.43±0.00|16.32±0.00
DARTS-V2|35781.80|39.77±0.00|54.30±0.00|15.03±0.00|15.61±0.00|16.43±0.00|16.32±0.00
GDAS|31609.80|89.89±0.08|93.61±0.09|71.34±0.04|70.70±0.30|41.59±1.33|41.71±0.98
SETN|34139.53|84.04±0.28|87.64±0.00|58.86±0.06|59.05±0.24|33.06±0.02|32.52±0.21
ENAS|14058.80|37.51±3.19|53.89±0.58|13.37±2.35|13.96±2.33|15.06±1.95|14.84±2.10
SPOS|7127.67|89.63±1.05|92.47±0.83|68.24±1.39|68.07±1.34|40.77±2.18|40.53±2.27
SPOS+Random|3499.51|89.39±1.14|92.46±0.63|68.42±1.28|68.75±1.39|41.22±1.32|41.36±1.22
SPOS+Loss|3505.29|90.45±0.9|93.14±0.77|70.63±0.94|70.7±1.03|44.28±0.88|44.29±0.75
SPOS+Entropy|3521.25|89.91±0.96|92.95±0.71|70.54±0.94|70.66±0.68|43.35±0.21|43.70±0.67
SPOS+Gradient|3444.61|90.38±0.25|93.21±0.43|70.67±0.67|70.29±0.14|43.61±0.50|43.85±1.06
SPOS+Prediction|3519.36|90.25±0.72|92.97±0.55|70.24±0.3|70.05±0.53|43.22±0.25|43.54±1.05
SPOS+Mixture|3455.48|90.76±0.21|93.79±0.17|70.72±0.21|71.08±0.45|44.63±0.51|44.73±0.56
"""
TABLE_2 = """
PC-DARTS|97.43 ± 0.07|100%|0.1
R-DARTS|97.05 ± 0.21|100%|1.6
DARTS-PT|97.39 ± 0.08|100%|0.8
DARTS|97.00 ± 0.14|100%|0.4
DARTS-Accelerating|97.06 ± 0.00|10%|0.03
DARTS-Random|96.83 ± 0.11|10%|0.04
DARTS-Loss|96.86 ± 0.15|10%|0.04
DARTS-Entropy|97.08 ± 0.06|10%|0.04
DARTS-Gradient|96.95 ± 0.25|10%|0.04
DARTS-Prediction|96.94 ± 0.05|10%|0.04
DARTS-Mixture|97.31 ± 0.12|10%|0.04
DARTS|73.30 ± 0.00|100%|-
DARTS-Accelerating|75.40 ± 0.00|10%|0.32
DARTS-Random|74.28 ± 0.21|10%|0.33
DARTS-Loss|75.36 ± 0.08|10%|0.33
DARTS-Entropy|75.14 ± 0.16|10%|0.33
DARTS-Gradient|74.86 ± 0.14|10%|0.33
DARTS-Prediction|74.91 ± 0.11|10%|0.33
DARTS-Mixture|75.61 ± 0.07|10%|0.33
"""
TABLE_5 = """
Random|0.52|0.76|0.69|0.60|0.85|0.80|0.65|0.89|0.83|0.69|0.85|0.87|0.64|0.85|0.84
Loss|0.54|0.77|0.74|0.70|0.89|0.87|0.72|0.86|0.88|0.72|0.87|0.88|0.74|0.91|0.89
Entropy|0.57|0.83|0.77|0.69|0.84|0.87|0.69|0.90|0.87|0.73|0.90|0.90|0.73|0.91|0.90
Gradient|0.54|0.75|0.72|0.71|0.86|0.89|0.67|0.85|0.84|0.69|0.87|0.87|0.68|0.88|0.86
Prediction|0.62|0.84|0.82|0.67|0.87|0.85|0.70|0.86|0.88|0.71|0.88|0.87|0.69|0.89|0.85
Mixture|0.67|0.85|0.83|0.73|0.89|0.90|0.76|0.89|0.91|0.75|0.91|0.92|0.77|0.92|0.90
"""
TABLE_6 = "g012 g021 g102 g120 g201 g210 | 95.41 94.75 94.95 94.71 94.83 94.76"
TABLE_7 = "11,173 21,282 42,512 269 658 853"  # ResNet-18, -34, -101, -20, -44, -56


def lines_of(text: str) -> list[list[str]]:
    return [line.split("|") for line in text.strip().splitlines()]


def parts(text: str) -> tuple[float, float | None]:
    value, _, spread = text.partition("±")
    return float(value), float(spread) if spread else None


def test_table_1() -> None:
    found = {(p.method, p.dataset): (p.value, p.spread, p.cost) for p in paper_table("asp", "T1").numbers}
    assert len(found) == 3 * len(lines_of(TABLE_1))
    for method, seconds, *columns in lines_of(TABLE_1):
        for dataset, text in zip(NB201, columns[1::2], strict=True):
            cost = "" if seconds == "-" else f"{float(seconds):g} s"
            assert found[method, dataset] == (*parts(text), cost)


def test_table_2() -> None:
    printed = paper_table("asp", "T2").numbers
    assert len(printed) == len(lines_of(TABLE_2))
    for number, (method, text, ratio, days) in zip(printed, lines_of(TABLE_2), strict=True):
        assert number.method == method
        assert (number.value, number.spread or 0.0) == (parts(text)[0], parts(text)[1])
        assert number.at.replace(" ", "") == ratio
        assert number.cost == ("" if days == "-" else f"{float(days):g} GPU days")
    assert [n.dataset for n in printed] == ["cifar10"] * 11 + ["imagenet"] * 8


def test_tables_5_6_and_7() -> None:
    values = [number.value for number in paper_table("asp", "T5").numbers]
    assert values == [float(text) for row in lines_of(TABLE_5) for text in row[1:]]
    names, numbers = (side.split() for side in TABLE_6.split("|"))
    assert {n.method: n.value for n in paper_table("asp", "T6").numbers} == dict(
        zip(names, map(float, numbers), strict=True)
    )
    assert [n.value for n in paper_table("asp", "T7").numbers] == [
        int(t.replace(",", "")) for t in TABLE_7.split()
    ]


def test_every_paper_has_its_tables_and_a_wrong_id_lists_them() -> None:
    assert set(PAPERS["asp"]) == {"T1", "T2", "T3", "T4", "T5", "T6", "T7", "F2"}
    assert {"T1", "T3", "TE.3", "T11"} <= set(PAPERS["subselnet"])
    assert len(paper_table("asp", "T3").numbers) == 12
    assert len(paper_table("asp", "T4").numbers) == 20
    with pytest.raises(UnknownNameError, match=re.escape("T8") + ".*T1, T2, T3"):
        paper_table("asp", "T8")
    for paper, tables in PAPERS.items():
        for name, table in tables.items():
            keys = [(n.method, n.quantity, n.at, n.dataset) for n in table.numbers]
            assert len(set(keys)) == len(keys), (paper, name)


OWN = OwnNumber(method="HyperTune", quantity=TEST, at="30 %", dataset="cifar10", model="resnet18", device="gpu",
                value=96.0, half=0.5, runs=3, where="a")  # fmt: skip


def test_a_difference_is_taken_on_the_same_data_and_model_only() -> None:
    table = paper_table("asp", "T3")
    others = (
        OWN,
        replace(OWN, model="resnet8", where="b"),
        replace(OWN, dataset="embedded", value=90.0, where="c"),
    )
    rows = {row[10]: row for row in beside(table, others).rows if row[5] != NOT_RUN}
    assert rows["a"][4:10] == ("96.74 ± 0.17", "96 ± 0.5", "3", "cifar10, resnet18", "gpu", "-0.74")
    assert rows["b"][9] == rows["c"][9] == "-"
    assert rows["c"][:3] == ("HyperTune", TEST, "30 %")
    assert sum(row[5] == NOT_RUN for row in beside(table, others).rows) == 11
    assert len(beside(table, ()).rows) == 12


def test_other_data_stand_beside_one_printed_number_only() -> None:
    table = paper_table("asp", "T4")
    shown = [row for row in beside(table, (replace(OWN, at="100 %", dataset="mnist"),)).rows if row[5] != NOT_RUN]
    assert [row[3] for row in shown] == ["cifar10, resnet18"]
    shown = [
        row for row in beside(table, (replace(OWN, at="100 %", dataset="cifar100"),)).rows if row[5] != NOT_RUN
    ]
    assert [(row[3], row[9]) for row in shown] == [("cifar100, resnet18", "+17.6")]


def test_studies_of_trainings_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "study"
    folder.mkdir(parents=True)
    comparison().write(folder, {})
    run_info(dataset="cifar10", model="resnet8").write(folder)
    write_records(folder)
    found = {(own.method, own.at): own for own in own_numbers("asp", "F2", tmp_path)}
    mixture = found["asp-mixture", "10 %, static"]
    assert (mixture.value, mixture.runs, mixture.where) == (pytest.approx(74.0), 3, "deep/study")
    assert found["full", "100 %"].value == pytest.approx(91.0)
    assert found["asp-loss", "10 %, dynamic"].value == pytest.approx(71.0)
    assert own_numbers("asp", "T6", tmp_path) == ()
    assert own_numbers("asp", "T5", tmp_path) == ()
    assert TAU not in {own.quantity for own in found.values()}
