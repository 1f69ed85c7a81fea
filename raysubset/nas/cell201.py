"""NAS-Bench-201: cells of four nodes, one of five operations on each of six edges (Dong, Yang, ICLR 2020 [1]).

A cell's name lists, node by node, the operation and source of every edge that enters it:

    |nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|

References:
    [1] arXiv:2001.00326, section 2.1 and appendix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from raysubset.errors import ArchitectureError

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""(node, source) in the order of the name."""
CELLS: int = len(OPS) ** len(EDGES)
NONE = OPS.index("none")

_NODE = re.compile(r"\|[^|+]*(?:\|[^|+]*)*\|")


@dataclass(frozen=True, slots=True, order=True)
class Cell201:
    """One operation an edge.

    Attributes:
        ops: Position in `OPS` of the operation on each of `EDGES`.

    Raises:
        ArchitectureError: Not six operations, or one that there is not.
    """

    ops: tuple[int, int, int, int, int, int]

    def __post_init__(self) -> None:
        if len(self.ops) != len(EDGES) or not all(0 <= op < len(OPS) for op in self.ops):
            raise ArchitectureError(
                f"A NAS-Bench-201 cell has one of operations 0..{len(OPS) - 1} on each of {len(EDGES)} edges, got "
                f"{self.ops}."
            )

    @property
    def code(self) -> int:
        """The cell as a number in base 5, first edge most significant; not the row of the released table."""
        code = 0
        for op in self.ops:
            code = code * len(OPS) + op
        return code

    @classmethod
    def of_code(cls, code: int) -> Self:
        """Return the cell with that code.

        Raises:
            ArchitectureError: Outside [0, 15625).
        """
        if not 0 <= code < CELLS:
            raise ArchitectureError(f"NAS-Bench-201 has the cells 0..{CELLS - 1}, not {code}.")
        ops = []
        for _ in EDGES:
            code, op = divmod(code, len(OPS))
            ops.append(op)
        return cls(tuple(reversed(ops)))  # type: ignore[arg-type]  # six of them

    @property
    def connected(self) -> bool:
        """True if anything of the input reaches the output; else the network says the same of all images."""
        reached = {0}
        for (node, source), op in zip(EDGES, self.ops, strict=True):
            if op != NONE and source in reached:
                reached.add(node)
        return EDGES[-1][0] in reached

    def __str__(self) -> str:
        nodes: dict[int, list[str]] = {}
        for (node, source), op in zip(EDGES, self.ops, strict=True):
            nodes.setdefault(node, []).append(f"{OPS[op]}~{source}")
        return "+".join(f"|{'|'.join(inputs)}|" for inputs in nodes.values())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cell's name.

        Raises:
            ArchitectureError: It is not one; says at which node, edge and character.
        """
        ops: list[int] = []
        position = 0
        nodes = text.split("+")
        for number, node in enumerate(nodes, 1):
            where = f"NAS-Bench-201 cell {text!r}, node {number}, character {position}"
            if number > EDGES[-1][0]:
                raise ArchitectureError(
                    f"{where}: a cell has {EDGES[-1][0]} nodes with inputs, here are {len(nodes)}."
                )
            if not _NODE.fullmatch(node):
                raise ArchitectureError(f"{where}: need |operation~source|...|, got {node!r}.")
            ops += _node_ops(node, number, f"NAS-Bench-201 cell {text!r}", position)
            position += len(node) + 1
        if len(ops) != len(EDGES):
            raise ArchitectureError(
                f"NAS-Bench-201 cell {text!r} ends at character {len(text)}, after {len(nodes)} of {EDGES[-1][0]} "
                "nodes."
            )
        return cls(tuple(ops))  # type: ignore[arg-type]  # six of them


def _node_ops(text: str, node: int, cell: str, position: int) -> list[int]:
    """Return the operations that enter a node; ``position`` is where its text starts."""
    inputs = text[1:-1].split("|")
    if len(inputs) != node:
        raise ArchitectureError(
            f"{cell}, node {node}, character {position}: it has {len(inputs)} inputs, need {node}, one from each "
            "node before."
        )
    ops, position = [], position + 1
    for source, edge in enumerate(inputs):
        name, tilde, number = edge.partition("~")
        where = f"{cell}, edge {node}<-{source}, character {position}"
        if not tilde or number != str(source):
            raise ArchitectureError(f"{where}: need operation~{source}, got {edge!r}.")
        if name not in OPS:
            raise ArchitectureError(f"{where}: unknown operation {name!r}. Known: {', '.join(OPS)}.")
        ops.append(OPS.index(name))
        position += len(edge) + 1
    return ops
