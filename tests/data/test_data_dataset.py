from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from made_images import pixels
from PIL import Image
from torch.utils.data import TensorDataset
from torchvision.datasets import VisionDataset

from raysubset.data.dataset import Dataset, Split
from raysubset.errors import DataError, OptionsError


def labels(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize(
    ("inputs", "targets", "why"),
    [
        (pixels(2, 1, 4, 4), labels(0), "2 inputs and 1 labels"),
        (pixels(0, 1, 4, 4), labels(), "at least one"),
        (pixels(2, 4, 4), labels(0, 0), r"uint8\[n, C, H, W\]"),
        (np.zeros((2, 3)), labels(0, 0), "float64"),
        (np.zeros((2, 3), np.float32), np.zeros(2, np.int32), "int32"),
        (np.zeros((2, 3), np.float32), labels(0, -1), "Row 1 has label -1"),
    ],
)
def test_split_checks_itself(inputs: np.ndarray, targets: np.ndarray, why: str) -> None:
    with pytest.raises(DataError, match=why):
        Split(inputs, targets)


def test_take_keeps_order() -> None:
    part = Split(pixels(5, 1, 2, 2), labels(0, 1, 2, 3, 4)).take(np.array([3, 1]))
    assert part.labels.tolist() == [3, 1]
    assert np.array_equal(part.inputs, pixels(5, 1, 2, 2)[[3, 1]])


def test_from_arrays() -> None:
    dataset = Dataset.from_arrays(pixels(4, 5, 6, 3), [0, 1, 2, 1], test=(pixels(2, 5, 6, 3), [0, 3]), name="mine")
    assert (dataset.name, dataset.source, dataset.note) == ("mine", "arrays", "")
    assert dataset.classes == ("0", "1", "2", "3")
    assert dataset.num_classes == 4
    assert dataset.input_shape == (3, 5, 6)
    assert dataset.test is not None
    assert len(dataset.test) == 2
    with pytest.raises(FrozenInstanceError):
        dataset.name = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(dataset)).fingerprint() == dataset.fingerprint()


def test_a_label_without_a_class_is_named() -> None:
    with pytest.raises(DataError, match=r"mine, test row 1: label 2, allowed \[0, 2\)"):
        Dataset.from_arrays(
            pixels(2, 4, 4), [0, 1], test=(pixels(2, 4, 4), [0, 2]), classes=["a", "b"], name="mine"
        )


def test_train_and_test_must_agree() -> None:
    with pytest.raises(DataError, match="test inputs are"):
        Dataset.from_arrays(pixels(2, 4, 4), [0, 1], test=(pixels(2, 5, 5), [0, 1]))


def test_fingerprint_sees_every_part_and_not_the_memory_layout() -> None:
    images, targets = pixels(4, 3, 5, 6), labels(0, 1, 0, 1)
    first = Dataset.from_arrays(images, targets).fingerprint()
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert Dataset.from_arrays(images.transpose(0, 2, 3, 1).copy(), targets).fingerprint() == first
    changed = images.copy()
    changed[3, 2, 4, 5] ^= 1
    others = [
        Dataset.from_arrays(changed, targets),
        Dataset.from_arrays(images, targets[::-1]),
        Dataset.from_arrays(images.reshape(4, 3, 6, 5), targets),
        Dataset.from_arrays(images, targets, test=(images, targets)),
    ]
    assert len({first, *(dataset.fingerprint() for dataset in others)}) == 5


def test_thin_thins_both_splits() -> None:
    dataset = Dataset.from_arrays(pixels(9, 4, 4), [0, 1, 2] * 3, test=(pixels(3, 4, 4), [0, 1, 2])).thin(6)
    assert dataset.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert dataset.test is not None
    assert len(dataset.test) == 3


class PilItems:
    """Any map-style set: PIL images one by one."""

    classes = ("cat", "dog")

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        return Image.fromarray(self.images[row]), row % 2


def test_from_torch_item_by_item() -> None:
    images = pixels(4, 5, 3, 3)  # W = C = 3: only ambiguous once PIL's axes are forgotten
    dataset = Dataset.from_torch(PilItems(images), PilItems(images[:2]))
    assert np.array_equal(dataset.train.inputs, images.transpose(0, 3, 1, 2))
    assert dataset.train.labels.tolist() == [0, 1, 0, 1]
    assert dataset.classes == ("cat", "dog")
    features = torch.randn(5, 7)
    tensors = Dataset.from_torch(TensorDataset(features, torch.arange(5)), name="t")
    assert np.array_equal(tensors.train.inputs, features.numpy())
    assert tensors.num_classes == 5


def test_a_subclass_of_torchvision_is_asked_item_by_item() -> None:
    class Inverted(VisionDataset):
        def __init__(self) -> None:
            super().__init__(None)
            self.data, self.targets = pixels(3, 4, 4), [0, 1, 2]

        def __len__(self) -> int:
            return 3

        def __getitem__(self, row: int) -> tuple[Any, Any]:
            return torch.from_numpy(255 - self.data[row])[None], self.targets[row]

    assert np.array_equal(Dataset.from_torch(Inverted()).train.inputs[:, 0], 255 - pixels(3, 4, 4))


@pytest.mark.parametrize("bad", [[(pixels(4, 4), 0.5)], [pixels(1)], [], [(pixels(4, 4), 0), (pixels(5, 4), 0)]])
def test_from_torch_refuses_odd_items(bad: list[Any]) -> None:
    with pytest.raises(DataError):
        Dataset.from_torch(bad)


class RayLike:
    def __init__(self, *batches: dict[str, np.ndarray]) -> None:
        self.batches = batches

    def iter_batches(self, *, batch_format: str) -> Iterator[dict[str, np.ndarray]]:
        assert batch_format == "numpy"
        return iter(self.batches)


def test_from_ray() -> None:
    images = pixels(5, 4, 6, 3)
    dataset = Dataset.from_ray(
        RayLike(
            {"image": images[:3], "label": np.array([0, 1, 2])}, {"image": images[3:], "label": np.array([1, 0])}
        )
    )
    assert np.array_equal(dataset.train.inputs, images.transpose(0, 3, 1, 2))
    assert dataset.train.labels.tolist() == [0, 1, 2, 1, 0]
    assert dataset.source == "Ray data set"
    with pytest.raises(DataError, match="columns picture, label"):
        Dataset.from_ray(RayLike({"picture": images, "label": np.zeros(5, int)}))
    with pytest.raises(DataError, match="no rows"):
        Dataset.from_ray(RayLike())


def test_data_sets_load_without_torch_and_ray() -> None:
    code = "import sys, raysubset.data.dataset; print(sorted({'torch', 'ray', 'torchvision'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_shrunk_images_are_means_of_squares_rounded_half_up() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 7, 8), dtype=np.uint8)
    data = Dataset.from_arrays(images, np.arange(5) % 2, test=(images[:2], np.arange(2)))
    shrunk = data.shrunk(2)
    assert shrunk.input_shape == (3, 3, 4)
    for y in range(3):
        for x in range(4):
            square = images[:, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(5, 3, 4).astype(float)
            expected = np.floor(square.mean(axis=2) + 0.5)
            assert (shrunk.train.inputs[:, :, y, x] == expected).all()
    assert shrunk.test is not None
    assert (shrunk.test.inputs == shrunk.train.inputs[:2]).all()
    assert data.shrunk(1) is data


@pytest.mark.parametrize("factor", [0, 9])
def test_images_cannot_be_shrunk_to_nothing(factor: int) -> None:
    data = Dataset.from_arrays(np.zeros((2, 3, 8, 8), dtype=np.uint8), np.arange(2))
    with pytest.raises(OptionsError, match=f"shrink={factor}"):
        data.shrunk(factor)
