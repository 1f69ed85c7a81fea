"""All cells of NAS-Bench-101 up to a size, each graph once.

Every unlabelled graph is taken once, in the first order of its vertices that comes up, then labelled in every way;
what a labelling shares with another by a symmetry of the graph, the hash finds. So there are far fewer hashes
than labelling every matrix would need, and each cell is the benchmark's own representative of its class: of all
matrices, numbered by their columns' bits, the first that has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from raysubset.errors import OptionsError
from raysubset.nas.cell101 import INPUT, MAX_EDGES, MAX_VERTICES, OPS, OUTPUT, Cell101, Matrix, graph_hash


def unique_cells(vertices: int) -> Iterator[Cell101]:
    """Yield all cells of at most ``vertices`` vertices, one of each hash, smaller ones first.

    There are 1 of two vertices, 6 of three, 84 of four, 2,441 of five, 62,010 of six.

    Args:
        vertices: With input and output, 2 to 7.

    Raises:
        OptionsError: ``vertices`` outside [2, 7].

    Cost: of one core 0.5 s up to five vertices, 16 s up to six; each more costs thirty times as much.
    """
    if not 2 <= vertices <= MAX_VERTICES:
        raise OptionsError(f"NAS-Bench-101 has cells of 2 to {MAX_VERTICES} vertices, not {vertices}.")
    for size in range(2, vertices + 1):
        seen: set[str] = set()
        for matrix in _unlabelled(size):
            for labels in product(range(len(OPS)), repeat=size - 2):
                if (found := graph_hash(matrix, (-1, *labels, -2))) not in seen:
                    seen.add(found)
                    yield Cell101(matrix, (INPUT, *(OPS[label] for label in labels), OUTPUT))


def _unlabelled(size: int) -> Iterator[Matrix]:
    """Yield one matrix of each graph of ``size`` vertices, all of them on paths from the first to the last."""
    seen: set[str] = set()
    labels = (-1, *[0] * (size - 2), -2)
    pairs = [(source, target) for target in range(size) for source in range(target)]  # columns, as the benchmark
    into = [sum(1 << bit for bit, pair in enumerate(pairs) if pair[1] == vertex) for vertex in range(1, size)]
    out = [sum(1 << bit for bit, pair in enumerate(pairs) if pair[0] == vertex) for vertex in range(size - 1)]
    must = (*into, *out)
    for bits in range(1 << len(pairs)):
        # in an acyclic graph it is enough that all but the first have an edge in, and all but the last one out
        if bits.bit_count() > MAX_EDGES or not all(map(bits.__and__, must)):
            continue
        rows = [[0] * size for _ in range(size)]
        for bit, (source, target) in enumerate(pairs):
            rows[source][target] = bits >> bit & 1
        if (found := graph_hash(rows, labels)) not in seen:
            seen.add(found)
            yield tuple(map(tuple, rows))
