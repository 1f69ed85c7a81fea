"""Pictures of cells: nothing overlaps, arrows end where they should, files are what they say."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from raysubset.errors import ArchitectureError, OptionsError, StorageError
from raysubset.report.cell_figure import draw_cells
from raysubset.report.cell_layout import CellLayout, CellPicture, Place, _put

BENCH_201 = CellPicture(
    "a cell of NAS-Bench-201",
    ("input", "1", "2", "output"),
    ((0, 1, "nor_conv_3x3"), (0, 2, "avg_pool_3x3"), (1, 2, "none"), (0, 3, "skip_connect"), (1, 3, "none"),
     (2, 3, "nor_conv_1x1")),
)  # fmt: skip
BENCH_101 = CellPicture(
    "",
    ("input", "conv3x3-bn-relu", "maxpool3x3", "conv3x3-bn-relu", "conv1x1-bn-relu", "conv3x3-bn-relu", "output"),
    tuple((a, b, "") for a, b in ((0, 1), (0, 2), (0, 6), (1, 3), (2, 3), (3, 4), (3, 5), (4, 6), (5, 6))),
)
FEW = settings(max_examples=25, deadline=None)


@st.composite
def pictures(draw: st.DrawFn) -> CellPicture:
    count = draw(st.integers(1, 8))
    possible = [(a, b) for b in range(count) for a in range(b)]
    chosen = draw(st.lists(st.sampled_from(possible), unique=True, max_size=12)) if possible else []
    labels = st.sampled_from(["", "none", "sep_conv_3x3", "skip_connect"])
    return CellPicture(
        "", tuple(f"node {n}" for n in range(count)), tuple((a, b, draw(labels)) for a, b in chosen)
    )


def layout_of(picture: CellPicture) -> CellLayout:
    return CellLayout(picture, lambda text: 0.07 * len(text))


def crossings(layout: CellLayout) -> int:
    """Pairs of arrows that change sides between two neighbouring columns."""
    order = {id(place): at for column in layout.columns for at, place in enumerate(column)}
    steps = [step for _, route in layout.routes for step in pairwise(route)]
    return sum(
        a.column == c.column
        and (order[id(a)] - order[id(c)]) * (order[id(b)] - order[id(d)]) < 0
        for i, (a, b) in enumerate(steps)
        for c, d in steps[:i]
    )  # fmt: skip


@given(pictures())
@FEW
def test_nothing_overlaps(picture: CellPicture) -> None:
    layout = layout_of(picture)
    for column in layout.columns:
        for above, below in pairwise(column):
            assert above.y - above.height / 2 > below.y + below.height / 2
        assert len({place.column for place in column}) == 1
        for place in column:
            assert layout.width_of(place) <= layout.right[place.column] - layout.left[place.column] + 1e-9
            assert -layout.height - 1e-9 <= place.y - place.height / 2 < place.y + place.height / 2 <= 1e-9
    for left, right in pairwise(layout.columns):
        assert layout.right[left[0].column] < layout.left[right[0].column]
    assert layout.right[layout.columns[-1][0].column] == layout.width


@given(pictures())
@FEW
def test_arrows_go_right_from_their_source_to_their_target(picture: CellPicture) -> None:
    layout = layout_of(picture)
    nodes = {place.text: place for column in layout.columns for place in column if place.is_node}
    assert set(nodes) == set(picture.nodes)
    assert len(layout.routes) == len(picture.edges)
    for (source, target, label), (said, route) in zip(picture.edges, layout.routes, strict=True):
        assert (route[0], route[-1]) == (nodes[picture.nodes[source]], nodes[picture.nodes[target]])
        assert said == label
        assert [place.text for place in route[1:-1] if place.text] == [label][: bool(label)]
        points = layout.points(route)
        assert all(a[0] <= b[0] for a, b in pairwise(points))
        assert len(points) == 2 * len(route) - 2
        assert points[0][0] == layout.right[route[0].column]
        assert points[-1][0] == layout.left[route[-1].column]
        for end, node in ((points[0], route[0]), (points[-1], route[-1])):
            assert abs(end[1] - node.y) < node.height / 2  # it meets the node's side
    for node in nodes.values():  # and no two arrows meet it at one point
        ends = [layout.points(route)[-1] for _, route in layout.routes if route[-1] is node]
        assert len(set(ends)) == len(ends)


@given(st.lists(st.tuples(st.floats(0.02, 0.5), st.floats(-3, 3)), min_size=1, max_size=7))
@FEW
def test_places_are_the_nearest_in_squares(wishes: list[tuple[float, float]]) -> None:
    column = [Place(0, "", True, height) for height, _ in wishes]
    wanted = np.array([want for _, want in wishes])
    _put(column, wanted.tolist())
    least = np.array([(a.height + b.height) / 2 + 0.09 for a, b in pairwise(column)])
    # y_i = y_0 - sum of the first i gaps, gap_j = least_j + slack_j, slack >= 0
    count = len(column)
    matrix = np.hstack((np.ones((count, 1)), -np.tri(count, count - 1, -1)))
    offsets = np.concatenate(([0.0], np.cumsum(least)))
    solution = lsq_linear(matrix, wanted + offsets, bounds=([-np.inf] + [0.0] * (count - 1), np.inf), tol=1e-12)
    ours = np.array([place.y for place in column])
    assert ((ours - wanted) ** 2).sum() <= 2 * solution.cost + 1e-6
    assert (ours[:-1] - ours[1:] >= least - 1e-9).all()


def test_planar_cells_have_no_crossings() -> None:
    assert crossings(layout_of(BENCH_201)) == 0
    assert crossings(layout_of(BENCH_101)) == 0


def test_longest_paths_make_the_columns() -> None:
    layout = layout_of(
        CellPicture("", ("a", "b", "c", "d", "e"), ((0, 2, "x"), (1, 2, ""), (2, 3, ""), (0, 3, "y")))
    )
    columns = {place.text: place.column for column in layout.columns for place in column if place.text}
    assert [columns[node] for node in "abcde"] == [0, 0, 2, 4, 6]  # the last node stands behind all
    assert columns["x"] == 1
    assert columns["y"] == 3


def drawn(path: Path, *cells: CellPicture) -> bytes:
    draw_cells(path, cells)
    return path.read_bytes()


def test_svg_has_all_texts_and_only_none_is_dashed(tmp_path: Path) -> None:
    svg = drawn(tmp_path / "deep" / "cell.svg", BENCH_201, BENCH_101).decode()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert sorted(texts) == sorted(
        [BENCH_201.title, *BENCH_201.nodes, *(label for *_, label in BENCH_201.edges), *BENCH_101.nodes]
    )
    assert svg.count("stroke-dasharray") == 2 * 2  # line and head of the two that are "none"
    assert "Date" not in svg


def test_png_is_an_image_of_the_figures_size(tmp_path: Path) -> None:
    png = drawn(tmp_path / "cell.PNG", BENCH_201)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    assert width > 2 * height > 200
    wider = drawn(tmp_path / "cells.png", BENCH_201, BENCH_201)
    assert int.from_bytes(wider[16:20]) == width
    assert int.from_bytes(wider[20:24]) == pytest.approx(2 * height, rel=0.1)


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_equal_cells_give_equal_bytes_whatever_the_callers_settings(tmp_path: Path, suffix: str) -> None:
    first = drawn(tmp_path / f"a.{suffix}", BENCH_201)
    with matplotlib.rc_context({"font.family": "monospace", "svg.fonttype": "path"}):
        again = drawn(tmp_path / f"b.{suffix}", BENCH_201)
        assert matplotlib.rcParams["svg.fonttype"] == "path"
    assert first == again


@pytest.mark.parametrize("cells", [0, 1])
@pytest.mark.parametrize("name", ["cell.pdf", "cell", "cell.svg.gz"])
def test_says_which_files_it_writes(tmp_path: Path, name: str, cells: int) -> None:
    with pytest.raises(OptionsError, match=r"ends in \.svg or \.png" + ("" if cells else ".*; no cells")):
        draw_cells(tmp_path / name, [BENCH_201] * cells)
    assert not (tmp_path / name).exists()


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=re.escape(f"Cannot write {tmp_path / 'file' / 'cell.svg'}")):
        draw_cells(tmp_path / "file" / "cell.svg", [BENCH_201])
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(StorageError, match="Cannot write"):
        draw_cells(tmp_path / "folder.svg", [BENCH_201])


@pytest.mark.parametrize(
    ("nodes", "edges", "said"),
    [
        ((), (), r"'c': it has no nodes"),
        (("a", "b"), ((0, 1, ""), (1, 0, "")), r"edge 2: 1 -> 0, need source < target, both of 0\.\.1"),
        (("a", "b"), ((0, 2, ""),), r"edge 1: 0 -> 2"),
        (("a", "b"), ((-1, 1, ""),), r"edge 1: -1 -> 1"),
        (("a", "b"), ((1, 1, ""),), r"edge 1: 1 -> 1"),
    ],
)  # fmt: skip
def test_a_picture_checks_its_edges(
    nodes: tuple[str, ...], edges: tuple[tuple[int, int, str], ...], said: str
) -> None:
    with pytest.raises(ArchitectureError, match=said):
        CellPicture("c", nodes, edges)
