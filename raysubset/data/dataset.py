"""A data set in memory: two splits, class names, and where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raysubset.data.adapters import read_ray, read_torch
from raysubset.data.arrays import as_inputs, as_targets, numbered_classes
from raysubset.data.folder import folder_layout, read_folder
from raysubset.data.parquet import read_parquet
from raysubset.data.split import thin
from raysubset.data.text import hashed_words
from raysubset.errors import DataError, OptionsError


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows with labels.

    Attributes:
        inputs: uint8[n, C, H, W] images or float32[n, ...] features.
        labels: int64[n], >= 0; or float32[n], finite: the targets of a regression.

    Raises:
        DataError: Empty, unequal lengths, another dtype or rank, a negative label, or a target that is not finite.
    """

    inputs: NDArray[Any]
    labels: NDArray[Any]

    def __post_init__(self) -> None:
        inputs, labels = self.inputs, self.labels
        images = inputs.dtype == np.uint8 and inputs.ndim == 4
        if not images and not (inputs.dtype == np.float32 and inputs.ndim >= 2):
            raise DataError(
                f"Inputs must be uint8[n, C, H, W] or float32[n, ...], got {inputs.dtype}{inputs.shape}."
            )
        if labels.dtype not in (np.int64, np.float32) or labels.ndim != 1:
            raise DataError(
                f"Labels must be int64[n], or float32[n] in a regression, got {labels.dtype}{labels.shape}."
            )
        if len(inputs) != len(labels) or len(labels) == 0:
            raise DataError(f"Got {len(inputs)} inputs and {len(labels)} labels: need equally many, at least one.")
        if self.regression:
            if not np.isfinite(labels).all():
                raise DataError(f"The target of row {int(np.isfinite(labels).argmin())} is not finite.")
        elif labels.min() < 0:
            row = int((labels < 0).argmax())
            raise DataError(f"Row {row} has label {labels[row]}: labels start at 0 (-1 often means unlabelled).")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def regression(self) -> bool:
        """True where targets are numbers, not classes."""
        return self.labels.dtype == np.float32

    def take(self, rows: NDArray[np.int64]) -> Split:
        """Return the given rows, in that order, as a copy."""
        return Split(self.inputs[rows], self.labels[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Train and test rows of one task: classification, or regression on float targets.

    Attributes:
        name: Short, for tables.
        train: The rows that are trained on (and split for validation).
        test: Rows for the last stage only, or None.
        classes: Name of each label; () in a regression.
        source: Where it was read from, for people.
        note: One line the user should see, e.g. that a fallback was taken, else "".

    Raises:
        DataError: A label has no class, a regression has classes, or train and test differ in dtype or shape.
    """

    name: str
    train: Split
    test: Split | None
    classes: tuple[str, ...]
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        for part, split in self._splits():
            if split.regression != self.regression or (self.regression and self.classes):
                raise DataError(
                    f"{self.name}: {part} has {split.labels.dtype} targets, {len(self.classes)} classes."
                )
            if not self.regression and split.labels.max() >= self.num_classes:
                row = int((split.labels >= self.num_classes).argmax())
                raise DataError(
                    f"{self.name}, {part} row {row}: label {split.labels[row]}, allowed [0, {self.num_classes})."
                )
            if split.inputs.dtype != self.train.inputs.dtype or split.inputs.shape[1:] != self.input_shape:
                raise DataError(
                    f"{self.name}: {part} inputs are {split.inputs.dtype}{split.inputs.shape[1:]} a row, "
                    f"train has {self.train.inputs.dtype}{self.input_shape}."
                )

    def _splits(self) -> list[tuple[str, Split]]:
        return [("train", self.train)] + ([("test", self.test)] if self.test is not None else [])

    @property
    def regression(self) -> bool:
        """True where targets are numbers, not classes."""
        return self.train.regression

    @property
    def num_classes(self) -> int:
        """How many classes there are, 0 in a regression."""
        return len(self.classes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, e.g. (3, 32, 32)."""
        return tuple(self.train.inputs.shape[1:])

    def fingerprint(self) -> str:
        """Hash shapes, dtypes, labels and inputs to 16 hex digits (blake2b). Cost: O(bytes), about 1 GB/s."""
        digest = blake2b(digest_size=8)
        for part, split in self._splits():
            for array in (split.labels, split.inputs):
                digest.update(f"{part}:{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def thin(self, limit: int) -> Dataset:
        """Keep at most ``limit`` rows of each split, stratified, without randomness (`split.thin`)."""
        test = self.test.take(thin(self.test.labels, limit)) if self.test is not None else None
        return replace(self, train=self.train.take(thin(self.train.labels, limit)), test=test)

    def shrunk(self, factor: int) -> Dataset:
        """Average squares of ``factor`` x ``factor`` pixels, rounded half up; pixels left over at the edges go.

        Raises:
            OptionsError: ``factor`` < 1, or the rows are no images of at least that size.

        Cost: one pass, a split's bytes times 4 / factor^2 for the sums.
        """
        if factor == 1:
            return self
        images = self.train.inputs.dtype == np.uint8
        if factor < 1 or not images or min(self.input_shape[1:]) < factor:
            raise OptionsError(
                f"shrink={factor}: need a number >= 1 and images of at least that many pixels a side."
            )
        test = None if self.test is None else Split(_averaged(self.test.inputs, factor), self.test.labels)
        return replace(self, train=Split(_averaged(self.train.inputs, factor), self.train.labels), test=test)

    @classmethod
    def from_arrays(
        cls,
        inputs: ArrayLike,
        labels: ArrayLike,
        *,
        test: tuple[ArrayLike, ArrayLike] | None = None,
        classes: Sequence[str] | None = None,
        name: str = "arrays",
    ) -> Self:
        """Take arrays as they are.

        Args:
            inputs: uint8 images (n, H, W), (n, H, W, C) or (n, C, H, W), or floating features (n, ...), which
                become float32 (see `raysubset.data.arrays.as_inputs`).
            labels: Integers (n,) in [0, classes), or floating targets (n,) of a regression, which become float32.
            test: The same for testing.
            classes: Class names; else "0", "1", ... up to the largest label.
            name: For tables.

        Raises:
            DataError: See `as_inputs`, `Split` and `Dataset`.
        """
        test_arrays = (as_inputs(test[0]), as_targets(test[1])) if test is not None else None
        return cls._of(name, "arrays", (as_inputs(inputs), as_targets(labels)), test_arrays, classes)

    @classmethod
    def from_texts(
        cls,
        texts: Sequence[str],
        labels: ArrayLike,
        *,
        test: tuple[Sequence[str], ArrayLike] | None = None,
        features: int = 1024,
        classes: Sequence[str] | None = None,
        name: str = "texts",
    ) -> Self:
        """Take texts as bags of words, float32[n, features]; see `raysubset.data.text.hashed_words`.

        Labels, test and classes are those of `from_arrays`.
        """
        words = hashed_words(texts, features)
        held = None if test is None else (hashed_words(test[0], features), test[1])
        made = cls.from_arrays(words, labels, test=held, classes=classes, name=name)
        return replace(made, source=f"texts as {features} hashed words")

    @classmethod
    def from_torch(cls, train: Any, test: Any = None, *, name: str | None = None) -> Self:
        """Read map-style torch data sets of (image, label); see `raysubset.data.adapters.read_torch`.

        Pass data sets without transforms to keep uint8 images, which raysubset augments and normalises itself.
        """
        kind = type(train).__name__
        test_arrays = read_torch(test) if test is not None else None
        classes = getattr(train, "classes", None)
        return cls._of(name or kind, f"torch data set {kind}", read_torch(train), test_arrays, classes)

    @classmethod
    def from_ray(
        cls, train: Any, test: Any = None, *, classes: Sequence[str] | None = None, name: str = "ray"
    ) -> Self:
        """Read Ray Data sets with columns image, img or inputs, and label; see `adapters.read_ray`."""
        test_arrays = read_ray(test) if test is not None else None
        return cls._of(name, "Ray data set", read_ray(train), test_arrays, classes)

    @classmethod
    def from_parquet(
        cls,
        train_path: str | Path,
        test_path: str | Path | None = None,
        *,
        classes: Sequence[str] | None = None,
        name: str | None = None,
        limit: int | None = None,
    ) -> Self:
        """Read parquet files in the Hugging Face image layout; see `raysubset.data.parquet`.

        Args:
            train_path: The training file.
            test_path: The test file.
            classes: Class names; else those in the training file's metadata, else "0", "1", ...
            name: For tables; else the name of the file's folder.
            limit: Rows to keep of each file; the others are not decoded.

        Raises:
            DatasetNotFoundError: No such file.
            DataError: See `raysubset.data.parquet.read_parquet`.
        """
        path = Path(train_path)
        train = read_parquet(path, limit)
        test = read_parquet(Path(test_path), limit) if test_path is not None else None
        return cls._of(
            name or path.absolute().parent.name,
            f"{path} ({train.encoding})",
            (train.images, train.labels),
            (test.images, test.labels) if test is not None else None,
            classes or train.classes,
        )

    @classmethod
    def from_folder(cls, root: str | Path, *, name: str | None = None, limit: int | None = None) -> Self:
        """Read an image folder: root/train/<class>/* and root/test or root/val, or root/<class>/* without a test.

        Raises:
            DatasetNotFoundError: No such folder.
            DataError: See `raysubset.data.folder.read_folder`.
        """
        layout = folder_layout(Path(root))
        train = read_folder(layout.train, limit=limit)
        test = read_folder(layout.test, train.classes, limit) if layout.test is not None else None
        return cls._of(
            name or Path(root).absolute().name,
            f"{root} ({train.encoding})",
            (train.images, train.labels),
            (test.images, test.labels) if test is not None else None,
            train.classes,
        )

    @classmethod
    def _of(
        cls,
        name: str,
        source: str,
        train: tuple[NDArray[Any], NDArray[Any]],
        test: tuple[NDArray[Any], NDArray[Any]] | None,
        classes: Sequence[str] | None,
    ) -> Self:
        first, second = Split(*train), Split(*test) if test is not None else None
        if first.regression:
            return cls(name, first, second, tuple(classes or ()), source)
        names = classes or numbered_classes(first.labels, *([second.labels] if second is not None else []))
        return cls(name, first, second, tuple(names), source)


def _averaged(images: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Average squares of pixels of uint8[n, C, H, W]."""
    n, channels, height, width = images.shape
    rows, columns = height // factor, width // factor
    squares = images[:, :, : rows * factor, : columns * factor].reshape(n, channels, rows, factor, columns, factor)
    sums = squares.sum(axis=(3, 5), dtype=np.uint32)
    means: NDArray[np.uint8] = ((2 * sums + factor**2) // (2 * factor**2)).astype(np.uint8)
    return means
