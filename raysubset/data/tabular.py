"""The small tables that scikit-learn ships: always there, read from its files, standardised.

    digits          1,797 rows, 64 features, 10 classes
    breast-cancer   569 rows, 30 features, 2 classes
    wine            178 rows, 13 features, 3 classes
    diabetes        442 rows, 10 features, a regression (progression after a year, 25 to 346)

Its larger ones (20 newsgroups, California housing, covertype) are downloads: read them yourself and give their
arrays to `Dataset.from_arrays`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from raysubset.data.dataset import Dataset
from raysubset.errors import UnknownNameError

LOADERS: Mapping[str, str] = {
    "digits": "load_digits",
    "breast-cancer": "load_breast_cancer",
    "wine": "load_wine",
    "diabetes": "load_diabetes",
}
TEST_EVERY = 5  # rows of a class, in the order of the file


def bundled_table(name: str) -> Dataset:
    """Return a table with four fifths of each class to train on and one fifth to test; always the same.

    Features have mean 0 and deviation 1 over the training rows (a constant one is 0), targets of a regression too:
    `Dataset.source` says in which units.

    Raises:
        UnknownNameError: No such table; lists those there are.

    Cost: 10 ms, after a second for scikit-learn's import.
    """
    if name not in LOADERS:
        raise UnknownNameError.of("table", name, LOADERS)
    from sklearn import datasets

    found = getattr(datasets, LOADERS[name])()
    features, targets = np.asarray(found.data, dtype=np.float64), np.asarray(found.target)
    test = _every_fifth(targets if name != "diabetes" else np.zeros(len(targets)))
    features = _standardised(features, test)
    units, classes = "", tuple(map(str, getattr(found, "target_names", ())))
    if name == "diabetes":
        spread = float(targets[~test].std())
        units = f"; targets are standardised, 1 is {spread:.1f} points of progression"
        targets, classes = _standardised(targets.astype(np.float64)[:, None], test)[:, 0], ()
    table = Dataset.from_arrays(
        features[~test], targets[~test], test=(features[test], targets[test]), classes=classes or None, name=name
    )
    return replace(table, source=f"shipped with scikit-learn{units}")


def _every_fifth(strata: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Mark every fifth row of each stratum."""
    test = np.zeros(len(strata), dtype=bool)
    for one in np.unique(strata):
        test[np.flatnonzero(strata == one)[TEST_EVERY - 1 :: TEST_EVERY]] = True
    return test


def _standardised(columns: NDArray[np.float64], test: NDArray[np.bool_]) -> NDArray[np.float64]:
    mean, spread = columns[~test].mean(axis=0), columns[~test].std(axis=0)
    return np.asarray((columns - mean) / np.where(spread > 0, spread, 1.0))
