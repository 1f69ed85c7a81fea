"""Genotypes: text, published notation, what is no genotype, and what a search's weights amount to."""

from __future__ import annotations

from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import ArchitectureError
from raysubset.nas.genotype import DARTS_V1, DARTS_V2, EDGES, OPS, Genotype, genotype_of

CHOSEN = [op for op in OPS if op != "none"]
FIRST_ROW = {2: 0, 3: 2, 4: 5, 5: 9}  # of alpha, by node

# Origin: Liu, Simonyan, Yang, ICLR 2019, cnn/genotypes.py of github.com/quark0/darts, copied as it is printed.
PUBLISHED_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
    "normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
    "reduce_concat=[2, 3, 4, 5])"
)
TEXT_V2 = (
    "normal sep_conv_3x3~0+sep_conv_3x3~1 sep_conv_3x3~0+sep_conv_3x3~1 sep_conv_3x3~1+skip_connect~0 "
    "skip_connect~0+dil_conv_3x3~2 reduce max_pool_3x3~0+max_pool_3x3~1 skip_connect~2+max_pool_3x3~1 "
    "max_pool_3x3~0+skip_connect~2 skip_connect~2+max_pool_3x3~1"
)


@st.composite
def cells(draw: st.DrawFn) -> tuple[tuple[str, int], ...]:
    pairs: list[tuple[str, int]] = []
    for node in (2, 3, 4, 5):
        sources = draw(st.permutations(range(node)))[:2]
        pairs += [(draw(st.sampled_from(CHOSEN)), source) for source in sources]
    return tuple(pairs)


GENOTYPES = st.builds(lambda normal, reduce: Genotype(normal=normal, reduce=reduce), cells(), cells())


def brute_force(alpha: np.ndarray) -> list[tuple[str, int]]:
    """Softmax in 60 digits, then the best edge, and the best of the rest, by looking at all."""
    with localcontext() as context:
        context.prec = 60
        chosen: list[tuple[str, int]] = []
        for node, first in FIRST_ROW.items():
            best: list[tuple[Decimal, int, str]] = []
            for source in range(node):
                powers = [Decimal(float(value)).exp() for value in alpha[first + source]]
                shares = [(power / sum(powers)).quantize(Decimal("1e-45")) for power in powers]
                share = max(shares[1:])
                best.append((share, source, OPS[1 + shares[1:].index(share)]))
            for _ in range(2):
                strongest = max(share for share, _, _ in best)
                edge = next(edge for edge in best if edge[0] == strongest)
                best.remove(edge)
                chosen.append((edge[2], edge[1]))
        return chosen


def test_golden() -> None:
    alpha = np.array([[np.sin(1 + 8 * e + k) for k in range(8)] for e in range(14)])
    assert [list(pair) for pair in genotype_of(alpha, -alpha).normal] == golden("darts_genotype")["expected"]
    assert [list(pair) for pair in genotype_of(-alpha, alpha).reduce] == golden("darts_genotype")["expected"]


def test_rows_of_alpha_are_node_by_node() -> None:
    assert list(EDGES) == [(node, source) for node in (2, 3, 4, 5) for source in range(node)]
    assert [EDGES.index((node, 0)) for node in FIRST_ROW] == list(FIRST_ROW.values())


@given(st.lists(st.integers(-2, 2), min_size=112, max_size=112))
@PROPERTY
def test_genotype_of_small_integers_ties_and_all(values: list[int]) -> None:
    alpha = np.array(values, dtype=np.float32).reshape(14, 8)
    assert list(genotype_of(alpha, np.zeros((14, 8))).normal) == brute_force(alpha)


@given(st.integers(0, 2**32 - 1))
@PROPERTY
def test_genotype_of_any_weights(seed: int) -> None:
    alpha = np.random.default_rng(seed).normal(scale=3.0, size=(14, 8))
    assert list(genotype_of(np.zeros((14, 8)), alpha).reduce) == brute_force(alpha)


def test_all_equal_gives_the_lowest_of_everything() -> None:
    flat = np.full((14, 8), 0.3)
    assert genotype_of(flat, flat).normal == (("max_pool_3x3", 0), ("max_pool_3x3", 1)) * 4


def test_rows_of_the_same_numbers_tie_whatever_their_order() -> None:
    row = [0.7, 0.2, 1.3, 0.05, 0.9, 0.33, 1.1]
    for seed in range(50):  # in one of five the plain sum of exponentials would differ by its order
        rng = np.random.default_rng(seed)
        alpha = np.array([[-0.4, *rng.permutation(row)] for _ in range(14)])
        assert [source for _, source in genotype_of(alpha, alpha).normal] == [0, 1] * 4


def test_none_weakens_an_edge_but_is_never_chosen() -> None:
    alpha = np.zeros((14, 8))
    alpha[0, 0] = 5.0  # edge 2<-0 is mostly none
    alpha[:, 4] = 1.0
    assert genotype_of(alpha, alpha).normal[:2] == (("sep_conv_3x3", 1), ("sep_conv_3x3", 0))


@pytest.mark.parametrize(
    ("alpha", "said"),
    [
        (np.zeros((14, 7)), r"normal cell: need 14 edges x 8 operations, got \(14, 7\)"),
        (np.zeros(112), r"got \(112,\)"),
        (np.where(np.arange(112).reshape(14, 8) == 42, np.nan, 0.0), r"is nan for avg_pool_3x3 on edge 4<-0"),
        (np.where(np.arange(112).reshape(14, 8) == 8, np.inf, 0.0), r"is inf for none on edge 2<-1"),
    ],
)  # fmt: skip
def test_says_what_is_wrong_with_alpha(alpha: np.ndarray, said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        genotype_of(alpha, np.zeros((14, 8)))


def test_published_genotypes() -> None:
    assert Genotype.parse(PUBLISHED_V2) == Genotype.parse(TEXT_V2) == DARTS_V2
    assert str(DARTS_V2) == TEXT_V2
    assert DARTS_V1.normal[:2] == (("sep_conv_3x3", 1), ("sep_conv_3x3", 0))  # stronger first, as published
    assert DARTS_V1.reduce[-1] == ("avg_pool_3x3", 0)


@given(GENOTYPES)
@PROPERTY
def test_text_round_trips(genotype: Genotype) -> None:
    assert Genotype.parse(str(genotype)) == genotype
    assert hash(Genotype.parse(str(genotype))) == hash(genotype)
    assert Genotype.parse(repr(genotype)) == genotype  # the dataclass prints itself in the published notation


@pytest.mark.parametrize(
    "text",
    [
        PUBLISHED_V2.replace("[2, 3, 4, 5]", "range(2, 6)"),
        PUBLISHED_V2.replace("[2, 3, 4, 5]", "(2, 3, 4, 5)"),
        PUBLISHED_V2.replace("normal=", "").replace("normal_concat=", "").replace("reduce=", ""),
        "\n  " + PUBLISHED_V2.replace(", ", ",\n   ") + "\n",
        TEXT_V2.replace(" ", "\n"),
    ],
)
def test_reads_what_people_write(text: str) -> None:
    assert Genotype.parse(text) == DARTS_V2


def test_lists_become_tuples() -> None:
    normal: object = [list(pair) for pair in DARTS_V2.normal]
    from_lists = Genotype(normal=normal, reduce=list(DARTS_V2.reduce))  # type: ignore[arg-type]
    assert from_lists == DARTS_V2
    assert {from_lists: 1}[DARTS_V2] == 1


@given(GENOTYPES)
@PROPERTY
def test_canonical_form_is_that_of_the_architecture(genotype: Genotype) -> None:
    swapped = [pair for node in range(4) for pair in genotype.normal[2 * node : 2 * node + 2][::-1]]
    other = Genotype(normal=tuple(swapped), reduce=genotype.reduce)
    assert other != genotype
    assert other.canonical == genotype.canonical == genotype.canonical.canonical
    assert all(
        a < b for (_, a), (_, b) in zip(other.canonical.normal[::2], other.canonical.normal[1::2], strict=True)
    )
    assert sorted(other.canonical.normal) == sorted(genotype.normal)


NORMAL, REDUCE = DARTS_V2.normal, DARTS_V2.reduce


def changed(cell: str, position: int, pair: object) -> dict[str, object]:
    arguments: dict[str, list[object]] = {"normal": list(DARTS_V2.normal), "reduce": list(DARTS_V2.reduce)}
    arguments[cell][position] = pair
    return dict(arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (changed("reduce", 2, ("sep_conv", 2)), r"reduce cell, pair 3 of 8 \(node 3\): unknown .*'sep_conv'"),
        (changed("normal", 0, ("none", 0)), r"normal cell, pair 1 of 8 \(node 2\): 'none' is a candidate"),
        (changed("normal", 1, ("skip_connect", 2)), r"pair 2 of 8 \(node 2\): reads 2, and node 2 can read 0 to"),
        (changed("reduce", 6, ("skip_connect", 7)), r"reduce cell, pair 7 of 8 \(node 5\): reads 7"),
        (changed("normal", 4, ("skip_connect", -1)), r"pair 5 of 8 \(node 4\): reads -1"),
        (changed("normal", 3, ("skip_connect", 0)), r"pair 4 of 8 \(node 3\): reads 0 like the pair before"),
        (changed("normal", 3, ("skip_connect", 1.0)), r"pair 4 of 8 \(node 3\): need \(operation, input\)"),
        (changed("normal", 3, ("skip_connect", True)), r"need \(operation, input\)"),
        (changed("normal", 3, "skip_connect"), r"need \(operation, input\)"),
        (changed("normal", 5, ("nor_conv_1x1", 0)), r"unknown operation .* looks like a NAS-Bench-201 cell"),
        (changed("normal", 5, ("sep_conv_7x7", 0)), r"looks like a NASNet"),
        (changed("normal", 5, ("conv3x3-bn-relu", 0)), r"looks like a NAS-Bench-101 cell"),
        ({"normal": NORMAL[:7], "reduce": REDUCE}, r"normal cell: need 8 pairs .* got 7"),
        ({"normal": NORMAL, "reduce": REDUCE * 2}, r"reduce cell: need 8 pairs .* got 16"),
        ({"normal": 3, "reduce": REDUCE}, r"normal cell: need 8 pairs .* got 3"),
        ({"normal": NORMAL, "reduce": REDUCE, "reduce_concat": (3, 4, 5)}, r"reduce cell: the output"),
        ({"normal": NORMAL, "reduce": REDUCE, "normal_concat": 4}, r"normal cell: the output"),
    ],
)  # fmt: skip
def test_names_the_position_of_what_is_wrong(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        Genotype(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"ends at character 0 without 'normal'"),
        (
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|none~2|",
            r"looks like a NAS-Bench-201 cell",
        ),
        ("darts sep_conv_3x3~0", r"character 0: need 'normal', got 'darts'"),
        (TEXT_V2.split(" reduce")[0], r"without 'reduce'"),
        (
            TEXT_V2.replace("reduce", "normal"),
            r"character 127: need operation~input\+operation~input, got 'normal'",
        ),
        (TEXT_V2.replace("dil_conv_3x3~2", "dil_conv_3x3~x"), r"character 97: need operation~input"),
        (TEXT_V2.replace("+dil_conv_3x3~2", ""), r"character 97: need operation~input"),
        (TEXT_V2.replace("dil_conv_3x3~2", "dil_conv_3x3~5"), r"normal cell, pair 8 of 8 \(node 5\): reads 5"),
        (TEXT_V2 + " skip_connect~0+skip_connect~1", r"reduce cell: need 8 pairs .* got 10"),
        ("Genotype(recurrent=[('tanh', 0)], concat=range(1, 9))", r"unknown 'recurrent'.*recurrent DARTS cell"),
        ("Genotype(normal=[('sep_conv_3x3', 1)], normal_concat=[2], reduce=[])", r"normal cell: need 8 pairs"),
        (PUBLISHED_V2[:-2], r"is no Genotype\(...\) of lists"),
        (
            PUBLISHED_V2.replace("normal_concat=[2, 3, 4, 5]", "normal_concat=range(2, 99)"),
            r"normal cell: the output",
        ),
        ("Genotype", r"need one call Genotype"),
        ("Genotype(**{})", r"unknown '\*\*'"),
        ("Genotype(1, 2, 3, 4, 5)", r"each once"),
        ("Genotype(range(9, 9, 0), 1, 2)", r"is no Genotype"),
        ("Genotype(" + "[" * 300, r"is no Genotype"),
        ("normal " + "x" * 10_000, r"No DARTS genotype has 10007 characters"),
    ],
)
def test_says_where_a_text_goes_wrong(text: str, said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        Genotype.parse(text)


def test_nothing_of_a_text_is_executed(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    for expression in (f"open({str(touched)!r}, 'w')", f"range(open({str(touched)!r}, 'w').write('x'))"):
        with pytest.raises(ArchitectureError):
            Genotype.parse(PUBLISHED_V2.replace("normal_concat=[2, 3, 4, 5]", f"normal_concat={expression}"))
    assert not touched.exists()


@given(st.one_of(st.text(), st.text("Genotype(),=[]'_0123 normalreduc~+|"), st.integers(0, len(TEXT_V2) - 1)))
@PROPERTY
def test_any_text_is_a_genotype_or_an_architecture_error(text: str | int) -> None:
    cut = text if isinstance(text, str) else TEXT_V2[:text] + TEXT_V2[text + 1 :]
    try:
        parsed = Genotype.parse(cut)
    except ArchitectureError:
        return
    assert Genotype.parse(str(parsed)) == parsed
