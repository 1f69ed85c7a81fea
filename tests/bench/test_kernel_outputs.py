"""Outputs of a model in a file: there and back, from a model trained briefly, and what is no such file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raysubset.bench.model_outputs import KEYS, observe_briefly, read_outputs, write_outputs
from raysubset.data.dataset import Dataset
from raysubset.errors import DataError
from raysubset.selection.protocol import Context
from tests.bench.made_pool import of


def test_outputs_survive_their_file(known: Context, tmp_path: Path) -> None:
    file = tmp_path / "outputs.npz"
    write_outputs(file, known)
    again = read_outputs(file)
    assert known.target is not None
    assert again.target is not None
    for saved, read in (
        (of(known).residuals, of(again).residuals),
        (of(known).features, of(again).features),
        (known.labels, again.labels),
        (known.target.logits, again.target.logits),
        (known.target.labels, again.target.labels),
        (known.target.features, again.target.features),
    ):
        np.testing.assert_array_equal(saved, read)
    assert [path.name for path in tmp_path.iterdir()] == ["outputs.npz"]


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.npz"):
        read_outputs(tmp_path / "nowhere.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match=r"text\.npz"):
        read_outputs(tmp_path / "text.npz")
    np.savez(tmp_path / "part.npz", **{key: np.zeros((2, 2), np.float32) for key in KEYS[:-1]})
    with pytest.raises(DataError, match="lacks val_labels"):
        read_outputs(tmp_path / "part.npz")


@pytest.mark.slow
def test_a_briefly_trained_model_gives_outputs_of_both_splits(digits: Dataset) -> None:
    known = observe_briefly(digits, epochs=5)
    assert digits.test is not None
    assert known.target is not None
    assert known.labels is not None
    np.testing.assert_array_equal(known.labels, digits.train.labels)
    assert sorted(known.target.labels.tolist()) == sorted(digits.test.labels.tolist())
    right = known.target.logits.argmax(1) == known.target.labels
    own = of(known).residuals[np.arange(len(known.labels)), known.labels]
    assert (own < 0).all()  # p_y - 1
    assert right.mean() > 0.2  # ten classes: the labels go with their rows
