"""Fitting the encoder of architectures: quality on cells kept apart, collapse noticed, states, drawn cells."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch

from raysubset.errors import ArchitectureError, DataError, OptionsError
from raysubset.models.init import seeded
from raysubset.nas.cell101 import Cell101
from raysubset.nas.enumerate101 import unique_cells
from raysubset.seeds import generator
from raysubset.subselnet.embeddings import ArchitectureEncoder, Standardisation
from raysubset.subselnet.encoder import GraphEncoder, GraphVae, vae_loss
from raysubset.subselnet.encoder_fit import (
    EncoderOptions,
    fit_encoder,
    reconstruction_quality,
)
from raysubset.subselnet.graphs101 import Encoded101, canonical, cell_graphs, training_cells

SMALL = EncoderOptions(steps=12, batch=16, hidden=16)


def untrained(cells: list[Cell101] | tuple[Cell101, ...], seed: int = 0) -> ArchitectureEncoder:
    with seeded(seed):
        return ArchitectureEncoder.of(GraphEncoder(hidden=32), cells)


def through_file(state: dict[str, Any]) -> dict[str, Any]:
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def test_vectors_come_in_the_order_of_the_search_standardised_and_zero_where_padded() -> None:
    cells = training_cells(60, 0)
    encoder = untrained(cells)
    embeddings, graphs = encoder.embed(cells), cell_graphs(cells)
    mean, _ = encoder.network(graphs)
    vertices = np.concatenate([mean[b, : len(cell.ops)].numpy() for b, cell in enumerate(cells)]).astype(
        np.float64
    )
    for b, cell in enumerate(cells):
        for place in range(7):
            row = embeddings.vectors[b, place].numpy()
            if place >= len(cell.ops):
                assert (row == 0).all()
                continue
            vertex = int(graphs.order[b, place])
            expected = (mean[b, vertex].numpy() - vertices.mean(axis=0)) / vertices.std(axis=0)
            np.testing.assert_allclose(row, expected, atol=2e-4)
            assert (int(embeddings.output[b]) == place) == (vertex == len(cell.ops) - 1)


def test_readouts_read_what_they_say() -> None:
    cells = [cell for cell in training_cells(60, 0) if len(cell.ops) < 7]
    embeddings = untrained(cells).embed(cells)
    values = torch.arange(7.0).repeat(len(cells), 1)[:, :, None]
    sizes = [len(cell.ops) for cell in cells]
    assert embeddings.read(values, "bfs_last")[:, 0].tolist() == [size - 1 for size in sizes]
    assert embeddings.read(values, "mean")[:, 0].tolist() == [(size - 1) / 2 for size in sizes]
    assert torch.equal(embeddings.read(values, "output")[:, 0].long(), embeddings.output)
    assert (embeddings.output != torch.tensor(sizes) - 1).any()  # the two differ for some
    for b, size in enumerate(sizes):
        torch.testing.assert_close(embeddings.mean()[b], embeddings.vectors[b, :size].mean(dim=0))


def test_a_cell_is_embedded_the_same_whatever_stands_beside_it() -> None:
    cells = training_cells(30, 0)
    encoder = untrained(cells)
    together = encoder.embed(cells)
    for b in (0, 7, 29):
        torch.testing.assert_close(encoder.embed([cells[b]]).vectors[0], together.vectors[b], atol=1e-5, rtol=0)
    assert torch.equal(together.cell(7).vectors, together.vectors[7:8])
    assert together.rows(slice(3, 5)).output.tolist() == together.output[3:5].tolist()


def test_columns_that_do_not_vary_keep_their_scale() -> None:
    rows = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert Standardisation.of(rows).apply(rows).tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_same_seed_same_state_and_another_seed_another() -> None:
    cells = training_cells(60, 0)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    states = [fit_encoder(cells, SMALL, seed)[0].state() for seed in (0, 0, 1)]
    assert torch.equal(before, torch.random.get_rng_state())
    for name, weight in states[0]["weights"].items():
        assert torch.equal(weight, states[1]["weights"][name])
    assert torch.equal(states[0]["scale"], states[1]["scale"])
    assert not torch.equal(states[0]["mean"], states[2]["mean"])


def test_a_state_goes_through_a_file() -> None:
    cells = training_cells(40, 0)
    encoder, _ = fit_encoder(cells, replace(SMALL, form="gin"), 0)
    again = ArchitectureEncoder.from_state(through_file(encoder.state()))
    assert torch.equal(again.embed(cells).vectors, encoder.embed(cells).vectors)
    broken = encoder.state()
    del broken["scale"]
    with pytest.raises(DataError, match="scale"):
        ArchitectureEncoder.from_state(broken)
    with pytest.raises(DataError, match="Not the state"):
        ArchitectureEncoder.from_state(encoder.state() | {"layers": 2})


def test_isomorphic_cells_are_not_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 names of 12 graphs: two held out, ten learnt from."""
    cells = list(unique_cells(4))[20:32]
    sizes: list[int] = []
    monkeypatch.setattr(Encoded101, "graphs", lambda _, some: sizes.append(len(some)) or cell_graphs(some))
    fit_encoder(cells * 5, replace(SMALL, steps=1, held_out=0.2), 0)
    assert sizes == [10, 2, 10]  # learnt from, judged by, standardised over


def test_report_is_of_the_cells_kept_apart_and_beside_the_baseline() -> None:
    cells = training_cells(100, 0)
    _, report = fit_encoder(cells, SMALL, 0)
    assert report.steps == 12
    assert report.seconds > 0
    assert 0.3 < report.edge_baseline < 0.7
    order = generator(0, "encoder", "split").permutation(100)[:10]  # the split's key is part of the contract
    pairs = [(cell, len(cell.ops) * (len(cell.ops) - 1) / 2) for cell in (cells[k] for k in order)]
    absent = 1 - sum(len(cell.edges) for cell, _ in pairs) / sum(count for _, count in pairs)
    assert report.edge_baseline == pytest.approx(absent)


def test_divergence_alone_collapses_and_the_figures_notice() -> None:
    graphs = cell_graphs(training_cells(40, 0))
    with seeded(0):
        vae = GraphVae(GraphEncoder(hidden=16, layers=2)).train()
        optimizer = torch.optim.Adam(vae.parameters(), lr=1e-2)
        for _ in range(100):
            optimizer.zero_grad()
            vae_loss(vae(graphs), graphs, 1.0).divergence.backward()
            optimizer.step()
    quality = reconstruction_quality(vae, graphs)
    assert quality.spread < 0.05
    assert quality.op_accuracy < 0.6


@pytest.mark.slow
def test_gate_held_out_cells_are_read_back() -> None:
    cells = training_cells(1500, 0)
    encoder, report = fit_encoder(cells, EncoderOptions(steps=1500), 0)
    assert report.op_accuracy >= 0.95
    assert report.edge_accuracy >= 0.95 > report.edge_baseline
    assert report.spread >= 0.1
    complete = ((0, 1, 1, 1), (0, 0, 1, 1), (0, 0, 0, 1), (0, 0, 0, 0))
    twins = [
        Cell101(complete, ("input", *interior, "output"))
        for interior in (("conv3x3-bn-relu", "maxpool3x3"), ("maxpool3x3", "conv3x3-bn-relu"))
    ]
    vectors = encoder.embed(twins).vectors
    assert (vectors[0] - vectors[1]).abs().max() > 0.5


def test_drawn_cells_are_different_canonical_and_of_every_size() -> None:
    cells = training_cells(250, 3)
    assert len({cell.hash for cell in cells}) == 250
    assert all(canonical(cell) == cell for cell in cells)
    counts = np.bincount([len(cell.ops) for cell in cells], minlength=8)
    assert counts[2] == 1
    assert counts[3] == 6
    assert (counts[[5, 6, 7]] > 40).all()
    assert training_cells(50, 3) == cells[:50]
    assert training_cells(50, 4) != cells[:50]


def test_refusals() -> None:
    with pytest.raises(ArchitectureError, match="at least 10 different cells, here are 2"):
        fit_encoder(list(unique_cells(3))[:2] * 10, SMALL, 0)
    with pytest.raises(ArchitectureError, match="Cell 0 is a str"):
        fit_encoder(["input~0"], SMALL, 0)  # type: ignore[list-item]
    with pytest.raises(OptionsError, match="0 cells"):
        training_cells(0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"form": "gcn"},
        {"hidden": 0},
        {"width": 1.5},
        {"steps": 0},
        {"batch": 0},
        {"layers": 0},
        {"dropout": 1.0},
        {"kl_weight": -1.0},
        {"lr": 0.0},
        {"held_out": 0.0},
        {"held_out": 1.0},
    ],
)
def test_options_say_what_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match=next(iter(wrong))):
        EncoderOptions(**wrong)
