"""The paper's tables against the text they were typed from, and the claims of the notes against the numbers."""

from __future__ import annotations

import math

import pytest

from raysubset.errors import UnknownNameError
from raysubset.report.printed import LOST
from raysubset.report.published_subselnet import (
    MEMORY,
    MILESTONES,
    RAR,
    SPEED_UP,
    TABLE_3_KL,
    TABLES,
    printed_table,
    published_rar,
)

# The rows below stand, but for spaces, as the text of arXiv:2409.12255 has them (sections 5.2, E.3, E.7).

TABLE_1 = """
GLISTER | 5.64 | 7.85 | 116.36 | 98.51 |
GradMatch | 4.17 | 5.24 | 243.75 | 136.40 |
EL2N | 6.50 | 16.42 | 139.89 | 77.63 |
Inductive | 28.64 | 69.24 | 22.73 | 8.24 |
Transductive | 28.63 | 68.36 | 21.25 | 8.24 |
"""

TABLE_E3 = """
GLISTER|5.64|7.85|98.51|116.36|1.52|2.12|515.96|365.05|0.54|1.02|1427.77|758.55|
GradMatch|4.17|5.24|136.40|243.75|1.69|2.20|457.67|362.47|—|0.84|—|917.04|
EL2N|6.50|16.42|77.63|139.89|1.93|4.78|413.90|170.03|—|—|—|—|
GraNd|—|1.18|—|450.73|—|—|—|—|—|—|—|—|
FacLoc|0.82|2.37|652.67|81.01|—|0.80|—|558.56|—|—|—|—|
Pruning|3.12|4.68|559.44|19.55|3.54|5.53|221.10|139.41|—|1.71|—|452.09|
Selection-via-Proxy|3.65|18.09|168.20|35.27|1.95|1.03|819.22|410.26|—|1.02|—|765.05|
Bottom--loss|1.68|2.98|393.28|190.40|—|1.77|—|433.07|—|1.67|—|465.39|
Bottom--loss+gumbel|2.70|10.18|203.83|59.37|1.63|2.04|489.30|363.07|—|1.78|—|446.95|
Inductive-SubSelNet|28.64|69.24|22.73|8.24|3.63|8.99|221.99|99.54|1.93|2.82|417.16|274.17|
Transductive-SubSelNet|28.63|68.36|21.25|8.24|5.61|16.52|142.45|53.67|2.35|3.47|331.45|222.91|
"""

TABLE_E3_MORE = """
GLISTER | 1.65 | 2.18 | 26705.5 | 22687.6 | 1.31 | 1.76 | 16904.5 | 13921.4 |
GradMatch | 1.53 | 2.08 | 28249.9 | 25530.4 | 1.45 | 2.07 | 16499.3 | 12507.9 |
EL2N | — | 2.30 | — | 21811.1 | — | — | — | — |
GraNd | — | 2.16 | — | 24822.6 | — | — | — | — |
FacLoc | — | — | — | — | — | — | — | — |
Pruning | — | — | — | — | — | — | — | — |
Selection-via-Proxy | — | 1.04 | — | 30717.2 | — | — | — | — |
Bottom--loss | — | 2.54 | — | 15947.6 | — | — | — | — |
Bottom--loss+gumbel | 1.88 | 2.72 | 17624.4 | 15085.9 | — | 2.36 | — | 9910.12 |
Inductive-SubSelNet | 2.02 | 3.54 | 17326.6 | 14505.4 | 2.43 | 3.16 | 9597.22 | 7406.23 |
Transductive-SubSelNet | 2.54 | 3.97 | 16281.1 | 12447.1 | 2.33 | 3.12 | 9983.86 | 7747.82 |
"""

TABLE_3 = """
Feedforward + Uncertainty | 0.657 | 0.655 | 0.547 | |
Feedforward + Loss | 0.692 | 0.577 | 0.523 | 0.171 |
Feedforward + Inductive (our) | 0.451 | 0.434 | 0.397 | |
LSTM + Uncertainty | 0.566 | 0.465 | 0.438 | |
LSTM + Loss | 0.705 | 0.541 | 0.455 | 0.102 |
LSTM + Inductive (our) | 0.452 | 0.412 | 0.386 | |
Attn. (our) + Uncertainty | 0.794 | 0.746 | 0.679 | |
Attn. (our) + Loss | 0.781 | 0.527 | 0.407 | 0.089 |
Attn. (our) + Inductive (our) | 0.429 | 0.310 | 0.260 |
"""

TABLE_11 = """
10% | 0.728 | 0.660 | 0.702 | 0.632 | 0.678 | 0.606 |
20% | 0.852 | 0.673 | 0.809 | 0.658 | 0.770 | 0.644 |
40% | 0.890 | 0.691 | 0.856 | 0.678 | 0.825 | 0.666 |
70% | 0.942 | 0.738 | 0.912 | 0.717 | 0.884 | 0.698 |
"""

NAMES = {
    "GLISTER": "glister", "GradMatch": "gradmatch", "EL2N": "el2n", "GraNd": "grand",
    "FacLoc": "facility-location", "Pruning": "pruning", "Selection-via-Proxy": "selection-via-proxy",
    "Bottom--loss": "bottom-loss", "Bottom--loss+gumbel": "bottom-loss-gumbel", "Inductive": "inductive",
    "Transductive": "transductive", "Inductive-SubSelNet": "inductive", "Transductive-SubSelNet": "transductive",
}  # fmt: skip


def parsed(text: str) -> dict[str, list[float | None]]:
    found = {}
    for line in text.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.strip().rstrip("|").split("|"))
        found[name] = [None if cell == "—" else float(cell) for cell in cells if cell]
    return found


def numbers(table: str, dataset: str, method: str) -> dict[tuple[str, str], float | None]:
    return {
        (p.quantity, p.at): p.value for p in TABLES[table].numbers if (p.dataset, p.method) == (dataset, method)
    }


KEYS = [(quantity, at) for quantity in (SPEED_UP, MEMORY) for at in MILESTONES]


def test_table_1_and_appendix_e3_as_the_text_has_them() -> None:
    for name, values in parsed(TABLE_1).items():
        assert numbers("1", "fmnist", NAMES[name]) == dict(zip(KEYS, values, strict=True))
    for text, datasets in (
        (TABLE_E3, ("fmnist", "cifar10", "cifar100")),
        (TABLE_E3_MORE, ("tiny-imagenet", "caltech256")),
    ):
        for name, values in parsed(text).items():
            for place, dataset in enumerate(datasets):
                mine = values[4 * place : 4 * place + 4]
                assert numbers("E.3", dataset, NAMES[name]) == dict(zip(KEYS, mine, strict=True)), (name, dataset)
    assert len(TABLES["1"].numbers) == 5 * 4
    assert len(TABLES["E.3"].numbers) == 5 * 11 * 4


def test_table_3_as_the_text_has_it() -> None:
    approximators = {"Feedforward": "feed-forward", "LSTM": "lstm", "Attn. (our)": "attention"}
    samplers = {"Uncertainty": "uncertainty", "Loss": "top-loss", "Inductive (our)": "inductive"}
    for name, values in parsed(TABLE_3).items():
        approximator, sampler = name.split(" + ")
        mine = numbers("3", "cifar10", f"{approximators[approximator]} + {samplers[sampler]}")
        assert list(mine.values()) == values[:3]
        assert list(mine) == [(RAR, "3 %"), (RAR, "5 %"), (RAR, "10 %")]
        if len(values) == 4:
            assert TABLE_3_KL[approximators[approximator]] == values[3]
    assert published_rar("inductive", 0.1, "cifar10") == 0.260
    assert published_rar("top-loss", 0.05, "cifar10") == 0.527
    assert published_rar("inductive", 0.2, "cifar10") is None
    assert published_rar("inductive", 0.1, "cifar100") is None
    assert published_rar("random", 0.1, "cifar10") is None


def test_table_11_as_the_text_has_it() -> None:
    for name, values in parsed(TABLE_11).items():
        mine = [p.value for p in TABLES["11"].numbers if p.at.replace(" ", "") == name]
        by_fold = [mine[fold + 3 * method] for fold in range(3) for method in range(2)]
        assert by_fold == values


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("2", "-0.487 -0.447 -0.327"),
        ("4", "2.78 3.02 2.88 2.96 2.92 2.87 2.88 2.82 2.76 2.68"),
        ("5", "2.48 1 2.48 1 5.4 16.66 3.72 11.29 5.26 0.51 3.39 0.20 4.11 16.11 2.70 10.96"),
        ("6", "7111 7111 7111 3419 3419 3419 2909 2909 2909 1844 1635 1496"),
        ("9", "0.05 0.06 0.06 0.08 0.08 0.08"),
    ],
)
def test_small_tables_as_the_text_has_them(table: str, text: str) -> None:
    assert [p.value for p in TABLES[table].numbers] == [float(word) for word in text.split()]


def test_standard_errors_of_appendix_e8() -> None:
    assert [p.spread for p in TABLES["4"].numbers][1:] == [
        *(0.171, 0.167, 0.169),
        *(0.168, 0.167, 0.167),
        *(0.166, 0.164, 0.161),
    ]
    errors = {p.method: [] for p in TABLES["5"].numbers}  # type: dict[str, list[float | None]]
    for p in TABLES["5"].numbers:
        if p.quantity != SPEED_UP:
            errors[p.method].append(p.spread)
    assert errors["random"] == [0.226, 0.189]
    assert errors["automata"] == [0.223, 0.181]
    assert errors["transductive"] == [0.199, 0.162]


def test_the_notes_say_what_the_numbers_show() -> None:
    main, appendix = ({m: numbers(t, "fmnist", m) for m in ("glister", "gradmatch", "el2n")} for t in ("1", "E.3"))
    low, high = [(MEMORY, at) for at in MILESTONES]
    for method in main:  # swapped
        assert (main[method][low], main[method][high]) == (appendix[method][high], appendix[method][low])
    savings = [
        1 - (numbers("1", "fmnist", ours)[low] or math.nan) / (table["el2n"][low] or math.nan)
        for ours in ("inductive", "transductive")
        for table in (main, appendix)
    ]
    assert 0.70 < min(savings) < 0.715
    assert 0.84 < max(savings) < 0.855
    assert not any(abs(saving - 0.77) < 0.03 for saving in savings)
    falling = {
        (p.dataset, p.method)
        for p in TABLES["E.3"].numbers
        if p.quantity == SPEED_UP and p.value is not None
        and p.value > (numbers("E.3", p.dataset, p.method)[SPEED_UP, MILESTONES[1]] or math.inf)
    }  # fmt: skip
    assert falling == {("cifar10", "selection-via-proxy")}
    nas = {p.method: [] for p in TABLES["4"].numbers}  # type: dict[str, list[tuple[float, float]]]
    for p in TABLES["4"].numbers[1:]:
        nas[p.method].append((p.value or math.nan, p.spread or math.nan))
    for rival in ("random", "proxy-data"):
        for (theirs, a), (ours, b) in zip(nas[rival], nas["transductive"], strict=True):
            assert 0.099 < theirs - ours < 0.281
            assert theirs - ours < 2 * math.hypot(a, b)
            assert math.hypot(a, b) == pytest.approx(0.23, abs=0.01)
    assert round(226.29 / 70.1, 2) == 3.23


def test_every_table_names_its_place_and_how_to_read_it() -> None:
    assert set(TABLES) == {"1", "2", "3", "4", "5", "6", "E.3", "9", "10", "11"}
    for name, table in TABLES.items():
        assert table.notes, name
        keys = [(p.method, p.quantity, p.at, p.dataset) for p in table.numbers]
        assert len(set(keys)) == len(keys), name
        if any(LOST in p.at or not p.dataset for p in table.numbers):
            assert "not in the text" in " ".join(table.notes), name
    assert all(p.value is not None for name in TABLES if name not in ("E.3",) for p in TABLES[name].numbers)
    assert printed_table("6") is TABLES["6"]
    with pytest.raises(UnknownNameError, match=r"table of the paper '7'.*E\.3"):
        printed_table("7")
