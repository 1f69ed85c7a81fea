"""Genotypes: the pair of cells that an architecture of the DARTS space is made of (Liu, Simonyan, Yang [1]).

A cell has two inputs, the outputs of the two cells before it (0 and 1), and four nodes (2 to 5). A node is the sum
of two operations, each on an input or an earlier node; the cell's output is all four nodes side by side. As text,
in one line, node by node, what is done to what:

    normal sep_conv_3x3~0+sep_conv_3x3~1 sep_conv_3x3~0+sep_conv_3x3~1 sep_conv_3x3~1+skip_connect~0
    skip_connect~0+dil_conv_3x3~2 reduce max_pool_3x3~0+max_pool_3x3~1 ...

The Python notation in which genotypes are published is read too, and never executed:

    Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=[2, ...])

References:
    [1] DARTS, ICLR 2019, arXiv:1806.09055, sections 2.1, 2.4 and 3.1.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, replace
from reprlib import repr as shortened
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raysubset.errors import ArchitectureError

OPS = (
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
    "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
)  # fmt: skip
"""In the order of alpha's columns; "none" (zero) takes part in a search, and no genotype has it."""
NONE = OPS.index("none")
INPUTS, NODES = 2, 4
CONCAT = tuple(range(INPUTS, INPUTS + NODES))
"""The nodes that make up a cell's output: all."""
EDGES = tuple((node, source) for node in CONCAT for source in range(node))
"""(node, source) in the order of alpha's rows."""

Edge = tuple[str, int]
"""An operation and the input or node that it reads."""

_PAIRS = 2 * NODES
_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")  # the order of the published notation
_LONGEST_TEXT = 10_000  # characters; a genotype has about 600
_FOREIGN = {
    "a NAS-Bench-201 cell": ("nor_conv_", "|"),
    "a NAS-Bench-101 cell": ("-bn-relu", "conv1x1", "conv3x3", "maxpool3x3"),
    "a NASNet, PNASNet or AmoebaNet genotype": ("sep_conv_7x7", "conv_7x1_1x7", "max_pool_2x2", "conv_1x1"),
    "a recurrent DARTS cell": ("recurrent", "tanh", "sigmoid", "identity"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Genotype:
    """A normal and a reduction cell. Pairs may be given in any sequence, and are kept as tuples.

    Attributes:
        normal: Eight (operation, input): two for each of nodes 2 to 5, the two in any order.
        normal_concat: Always (2, 3, 4, 5).
        reduce: As ``normal``, of the cells that halve the image: there operations on 0 and 1 have stride 2.
        reduce_concat: Always (2, 3, 4, 5).

    Raises:
        ArchitectureError: Not a genotype of the DARTS space; names cell, node and pair.
    """

    normal: tuple[Edge, ...]
    normal_concat: tuple[int, ...] = CONCAT
    reduce: tuple[Edge, ...]
    reduce_concat: tuple[int, ...] = CONCAT

    def __post_init__(self) -> None:
        for cell, pairs, concat in (
            ("normal", self.normal, self.normal_concat),
            ("reduce", self.reduce, self.reduce_concat),
        ):
            object.__setattr__(self, cell, _checked_pairs(cell, pairs))
            object.__setattr__(self, f"{cell}_concat", _checked_concat(cell, concat))

    @property
    def canonical(self) -> Genotype:
        """The same architecture with each node's pairs ordered by input; equal if the architectures are."""
        return replace(self, normal=_by_input(self.normal), reduce=_by_input(self.reduce))

    def __str__(self) -> str:
        return f"normal {_cell_text(self.normal)} reduce {_cell_text(self.reduce)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a genotype's text, or its published notation.

        Raises:
            ArchitectureError: It is neither; says at which character or pair, and of which space it may be.
        """
        stripped = text.strip()
        if len(stripped) > _LONGEST_TEXT:
            raise ArchitectureError(f"No DARTS genotype has {len(stripped)} characters: {shortened(text)}.")
        published = stripped.startswith("Genotype")
        return cls(**_of_call(stripped) if published else _of_words(text))  # type: ignore[arg-type]  # checked there


def genotype_of(alpha_normal: ArrayLike, alpha_reduce: ArrayLike) -> Genotype:
    """Return the genotype that a search's weights amount to.

    An edge is as strong as the greatest of softmax(alpha)_o over o != none, and that o is its operation; a node
    keeps its two strongest edges, stronger first. Ties go to the lower edge and the lower operation.

    Args:
        alpha_normal: float[14, 8], rows as `EDGES`, columns as `OPS`.
        alpha_reduce: The same for the reduction cell.

    Raises:
        ArchitectureError: Another shape, or a value that is not finite.
    """
    return Genotype(normal=_strongest("normal", alpha_normal), reduce=_strongest("reduce", alpha_reduce))


def _strongest(cell: str, alpha: ArrayLike) -> tuple[Edge, ...]:
    weights = np.asarray(alpha, dtype=np.float64)
    if weights.shape != (len(EDGES), len(OPS)):
        raise ArchitectureError(
            f"alpha of the {cell} cell: need {len(EDGES)} edges x {len(OPS)} operations, got {weights.shape}."
        )
    if not np.isfinite(weights).all():
        row, op = (int(i) for i in np.argwhere(~np.isfinite(weights))[0])
        node, source = EDGES[row]
        raise ArchitectureError(
            f"alpha of the {cell} cell is {weights[row, op]} for {OPS[op]} on edge {node}<-{source}. Most likely "
            "the learning rate of the architecture is too high."
        )
    chosen: list[Edge] = []
    for node in CONCAT:
        edges = [_best(weights[EDGES.index((node, source))], source) for source in range(node)]
        edges.sort(key=lambda edge: -edge[0])  # stable: of equals the lower source stays first
        chosen += [(OPS[op], source) for _, op, source in edges[:2]]
    return tuple(chosen)


def _best(row: NDArray[np.float64], source: int) -> tuple[float, int, int]:
    """Return log softmax(row)_o, o and ``source``; o is the best operation but none."""
    op = max((o for o in range(len(OPS)) if o != NONE), key=row.__getitem__)
    top = row.max()
    # fsum does not depend on the order: rows that are permutations of each other tie exactly
    return float(row[op] - top) - math.log(math.fsum(np.exp(row - top))), op, source


def _checked_pairs(cell: str, pairs: object) -> tuple[Edge, ...]:
    """Return the pairs as tuples, or raise naming the first fault."""
    if not isinstance(pairs, list | tuple) or len(pairs) != _PAIRS:
        count = f"{len(pairs)}" if isinstance(pairs, list | tuple) else shortened(pairs)
        raise ArchitectureError(
            f"DARTS genotype, {cell} cell: need {_PAIRS} pairs (operation, input), two for each of nodes "
            f"{CONCAT[0]} to {CONCAT[-1]}, got {count}.{_hint(str(pairs))}"
        )
    checked: list[Edge] = []
    for position, pair in enumerate(pairs):
        node = INPUTS + position // 2
        where = f"DARTS genotype, {cell} cell, pair {position + 1} of {_PAIRS} (node {node})"
        if not isinstance(pair, list | tuple) or [type(part) for part in pair] != [str, int]:
            raise ArchitectureError(f"{where}: need (operation, input), got {shortened(pair)}.")
        op, source = pair
        if op == OPS[NONE]:
            raise ArchitectureError(f"{where}: {op!r} is a candidate of the search, a genotype has none of it.")
        if op not in OPS:
            known = ", ".join(name for name in OPS if name != OPS[NONE])
            raise ArchitectureError(f"{where}: unknown operation {op!r}. Known: {known}.{_hint(op)}")
        if not 0 <= source < node:
            raise ArchitectureError(f"{where}: reads {source}, and node {node} can read 0 to {node - 1}.")
        if position % 2 and source == checked[-1][1]:
            raise ArchitectureError(
                f"{where}: reads {source} like the pair before; a node reads two different ones."
            )
        checked.append((op, source))
    return tuple(checked)


def _checked_concat(cell: str, concat: object) -> tuple[int, ...]:
    if not isinstance(concat, list | tuple | range) or tuple(concat) != CONCAT:
        raise ArchitectureError(
            f"DARTS genotype, {cell} cell: the output is nodes {CONCAT} side by side, got {shortened(concat)}."
        )
    return CONCAT


def _by_input(pairs: tuple[Edge, ...]) -> tuple[Edge, ...]:
    nodes = (sorted(node, key=lambda pair: pair[1]) for node in zip(pairs[::2], pairs[1::2], strict=True))
    return tuple(pair for node in nodes for pair in node)


def _cell_text(pairs: tuple[Edge, ...]) -> str:
    edges = [f"{op}~{source}" for op, source in pairs]
    return " ".join(f"{first}+{second}" for first, second in zip(edges[::2], edges[1::2], strict=True))


def _of_words(text: str) -> dict[str, object]:
    """Return normal and reduce; how many nodes there are is left to `Genotype`."""
    cells: dict[str, list[Edge]] = {}
    for match in re.finditer(r"\S+", text):
        word, where = match[0], f"DARTS genotype {shortened(text)}, character {match.start()}"
        if word == ("normal", "reduce", "")[len(cells)]:
            edges = cells.setdefault(word, [])
        elif not cells:
            raise ArchitectureError(f"{where}: need 'normal', got {shortened(word)}.{_hint(text)}")
        elif pair := re.fullmatch(r"(\w+)~(\d{1,3})\+(\w+)~(\d{1,3})", word, re.ASCII):
            edges += [(pair[1], int(pair[2])), (pair[3], int(pair[4]))]
        else:
            raise ArchitectureError(f"{where}: need operation~input+operation~input, got {shortened(word)}.")
    if len(cells) < 2:
        missing = "reduce" if cells else "normal"
        raise ArchitectureError(
            f"DARTS genotype {shortened(text)} ends at character {len(text)} without {missing!r}."
        )
    return {cell: tuple(edges) for cell, edges in cells.items()}


def _of_call(text: str) -> dict[str, object]:
    """Return the arguments of ``Genotype(...)``: literals and ``range`` only, nothing is executed."""
    what = f"DARTS genotype {shortened(text)}"
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "Genotype":
            raise ArchitectureError(f"{what}: need one call Genotype(...).")
        arguments = [*zip(_FIELDS, call.args, strict=False), *((k.arg or "**", k.value) for k in call.keywords)]
        values = {name: _literal(node) for name, node in arguments}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ArchitectureError(f"{what} is no Genotype(...) of lists, strings and numbers: {error}.") from error
    faults = [f"unknown {name!r}" for name in values if name not in _FIELDS]
    faults += [f"no {name!r}" for name in ("normal", "reduce") if name not in values]
    if faults or len(arguments) != len(values) or len(call.args) > len(_FIELDS):
        raise ArchitectureError(f"{what}: need {', '.join(_FIELDS)}, each once; {', '.join(faults)}.{_hint(text)}")
    return values


def _literal(node: ast.expr) -> object:
    """Evaluate a literal, or a ``range`` of literals."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        return range(*(ast.literal_eval(argument) for argument in node.args))
    return ast.literal_eval(node)


def _hint(text: str) -> str:
    """Say of which other space a text may be."""
    for space, marks in _FOREIGN.items():
        if any(mark in text for mark in marks):
            return f" It looks like {space}."
    return ""


DARTS_V1 = Genotype.parse(
    "normal sep_conv_3x3~1+sep_conv_3x3~0 skip_connect~0+sep_conv_3x3~1 skip_connect~0+sep_conv_3x3~1 "
    "sep_conv_3x3~0+skip_connect~2 reduce max_pool_3x3~0+max_pool_3x3~1 skip_connect~2+max_pool_3x3~0 "
    "max_pool_3x3~0+skip_connect~2 skip_connect~2+avg_pool_3x3~0"
)
"""Found by first-order DARTS on CIFAR-10: [1], cnn/genotypes.py of github.com/quark0/darts."""

DARTS_V2 = Genotype.parse(
    "normal sep_conv_3x3~0+sep_conv_3x3~1 sep_conv_3x3~0+sep_conv_3x3~1 sep_conv_3x3~1+skip_connect~0 "
    "skip_connect~0+dil_conv_3x3~2 reduce max_pool_3x3~0+max_pool_3x3~1 skip_connect~2+max_pool_3x3~1 "
    "max_pool_3x3~0+skip_connect~2 skip_connect~2+max_pool_3x3~1"
)
"""Found by second-order DARTS on CIFAR-10; same source."""
