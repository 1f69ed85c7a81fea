from __future__ import annotations

import numpy as np
import pytest
from made_images import pixels

from raysubset.data.arrays import as_inputs, as_labels, numbered_classes
from raysubset.errors import DataError


def test_finds_the_channel_axis() -> None:
    last = pixels(5, 8, 9, 3)
    assert np.array_equal(as_inputs(last), np.moveaxis(last, -1, 1))
    first = pixels(5, 3, 8, 9)
    assert as_inputs(first) is first
    assert as_inputs(pixels(5, 8, 9, 1)).shape == (5, 1, 8, 9)


def test_grey_images_get_a_channel_without_a_copy() -> None:
    grey = pixels(5, 8, 9)
    assert as_inputs(grey).shape == (5, 1, 8, 9)
    assert np.shares_memory(as_inputs(grey), grey)


@pytest.mark.parametrize(("shape", "why"), [((5, 3, 8, 3), "both"), ((5, 4, 8, 4), "neither")])
def test_refuses_to_guess_the_channel_axis(shape: tuple[int, ...], why: str) -> None:
    with pytest.raises(DataError, match=why):
        as_inputs(np.zeros(shape, np.uint8))


def test_features_become_float32_and_must_be_finite() -> None:
    features = np.random.default_rng(0).normal(size=(6, 4))
    assert as_inputs(features).dtype == np.float32
    features[3, 2] = np.nan
    with pytest.raises(DataError, match="row 3"):
        as_inputs(features)
    with pytest.raises(DataError, match="row 1 "):
        as_inputs(np.array([[1.0], [1e300]]))


@pytest.mark.parametrize(
    "bad", [np.zeros(5, np.uint8), np.zeros(5), np.zeros((5, 4), np.int64), np.array([[1, 2], None], dtype=object)]
)
def test_refuses_other_inputs(bad: np.ndarray) -> None:
    with pytest.raises(DataError):
        as_inputs(bad)


def test_labels_are_integers_on_one_axis() -> None:
    assert as_labels([1, 2]).dtype == np.int64
    assert as_labels(np.array([1, 2], np.uint8)).tolist() == [1, 2]
    for bad in ([0.5, 1.0], [[1], [2]], ["a"], [True, False]):
        with pytest.raises(DataError):
            as_labels(bad)


def test_numbered_classes() -> None:
    assert numbered_classes(np.array([0, 2]), np.array([3])) == ("0", "1", "2", "3")
    with pytest.raises(DataError, match="too large"):
        numbered_classes(np.array([0, 2**40]))
