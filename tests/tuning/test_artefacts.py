"""Artefacts: the same inputs lead to the same place, any other to another, and what is cut off is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raysubset.errors import StorageError
from raysubset.tuning import artefacts
from raysubset.tuning.artefacts import Artefact

INPUTS: dict[str, Any] = {"options": {"steps": 3, "lr": 0.1, "ratios": [0.1, 0.3]}, "seed": 0, "bank": "bank-ab"}


def key(inputs: dict[str, Any], stage: str = "encoder") -> str:
    return Artefact.of(Path("run"), stage, inputs).key


def test_a_key_is_a_function_of_stage_and_inputs() -> None:
    """The first is kept as it is: another hash would make every stage of every run anew."""
    assert key(INPUTS) == "encoder-dc312bbb0a91"
    assert key(dict(reversed(INPUTS.items()))) == key(INPUTS)
    assert key({**INPUTS, "options": {"ratios": (0.1, 0.3), "lr": 0.1, "steps": 3}}) == key(INPUTS)
    assert Artefact.of(Path("other"), "encoder", INPUTS).folder == Path("other") / key(INPUTS)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"seed": "0"},
        {"bank": "bank-ac"},
        {"options": {"steps": 4, "lr": 0.1, "ratios": [0.1, 0.3]}},
        {"options": {"steps": 3, "lr": 0.1, "ratios": [0.3, 0.1]}},
        {"more": None},
    ],
)
def test_any_other_input_has_another_key(other: dict[str, Any]) -> None:
    assert key({**INPUTS, **other}) != key(INPUTS)


def test_stages_are_kept_apart() -> None:
    assert key(INPUTS, "encoder") != key(INPUTS, "approximator")


def test_a_state_there_and_back(tmp_path: Path) -> None:
    artefact = Artefact.of(tmp_path, "encoder", INPUTS)
    assert not artefact.exists
    with pytest.raises(StorageError, match="No checkpoint"):
        artefact.load()
    artefact.save({"weights": torch.arange(3), "rows": np.arange(4), "report": {"seconds": 1.5, "how": "pca"}})
    again = Artefact.of(tmp_path, "encoder", INPUTS)
    assert again.exists
    found = again.load()
    assert found["weights"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found["rows"], np.arange(4))
    assert found["report"] == {"seconds": 1.5, "how": "pca"}
    assert not Artefact.of(tmp_path, "encoder", {**INPUTS, "seed": 1}).exists
    assert Artefact(tmp_path / again.key).load()["report"] == found["report"]


def test_what_is_cut_off_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefact = Artefact.of(tmp_path, "encoder", INPUTS)
    with pytest.raises(StorageError, match="cannot hold"):
        artefact.save({"object": object()})
    assert not artefact.exists

    def dies(content: Any, file: Any) -> None:
        file.write(b"half of it")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(StorageError, match="no space left"):
        artefact.save({"weights": torch.arange(3)})
    assert not artefact.exists
    assert artefacts.FILE_NAME not in [path.name for path in artefact.folder.iterdir()]
