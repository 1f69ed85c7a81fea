"""Cells as models to train."""

from __future__ import annotations

import pickle

import pytest
import torch

from raysubset.errors import ArchitectureError, OptionsError
from raysubset.experiment import Experiment, find_model
from raysubset.hpo.space import uniform
from raysubset.models.catalog import build_model
from raysubset.nas.cell101 import Cell101
from raysubset.nas.cell_model import CellModel
from raysubset.nas.network101 import parameter_count
from raysubset.nas.space import NetworkSize

CELL = "conv3x3-bn-relu~0+maxpool3x3~0~1+output~1~2"
REFERENCE = f"nb101-8x2:{CELL}"


def test_a_reference_round_trips_and_builds_the_cell() -> None:
    model = find_model(REFERENCE)
    assert isinstance(model, CellModel)
    assert model == CellModel(CELL, NetworkSize(8, 2))
    assert model.reference == REFERENCE
    network = build_model(pickle.loads(pickle.dumps(model)), num_classes=10, input_shape=(3, 16, 16), seed=0)
    count = sum(weights.numel() for weights in network.parameters())
    assert count == parameter_count(Cell101.parse(CELL), size=NetworkSize(8, 2))
    assert network(torch.zeros(2, 3, 16, 16)).shape == (2, 10)


def test_an_experiment_names_it() -> None:
    asked = Experiment(name="x", model=find_model(REFERENCE), space={"lr": uniform(0.1, 0.2)})
    assert Experiment.from_toml(asked.to_toml()) == asked
    assert asked.model_name == REFERENCE


@pytest.mark.parametrize("reference", ["nb101-8:output~0", "nb101-8x:output~0", "nb101-8x1:"])
def test_what_is_no_reference_is_refused(reference: str) -> None:
    with pytest.raises(ArchitectureError, match="need nb101-<channels>x<cells>:<cell>"):
        find_model(reference)


def test_cells_and_sizes_are_checked() -> None:
    with pytest.raises(ArchitectureError, match="unknown operation 'conv5x5'"):
        find_model("nb101-8x1:conv5x5~0+output~1")
    with pytest.raises(OptionsError, match="channels and cells of at least 1"):
        find_model("nb101-0x1:output~0")
