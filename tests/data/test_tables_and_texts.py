"""Data sets without images: scikit-learn's tables, hashed words, targets that are numbers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

import raysubset as rs
from raysubset.data.split import stratified_split, thin
from raysubset.data.tabular import LOADERS
from raysubset.data.text import hashed_words
from raysubset.errors import DataError, UnknownNameError


@pytest.mark.parametrize("name", LOADERS)
def test_tables_are_standardised_and_keep_their_class_shares(name: str) -> None:
    data = rs.load_dataset(name)
    assert data.train.inputs.dtype == np.float32
    features = data.train.inputs.astype(np.float64)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-6)  # float32 values of up to 40
    spread = features.std(axis=0)
    np.testing.assert_allclose(spread[spread > 0], 1, atol=1e-5)
    assert data.regression == (name == "diabetes")
    if data.regression:
        assert data.train.labels.dtype == np.float32
        assert (data.classes, data.num_classes) == ((), 0)
        assert len(data.test) == 88
    else:
        for label in range(data.num_classes):
            total = (data.train.labels == label).sum() + (data.test.labels == label).sum()
            assert (data.test.labels == label).sum() == total // 5
    assert data.fingerprint() == rs.load_dataset(name).fingerprint()


def test_every_row_of_a_table_is_there_once() -> None:
    data, raw = rs.load_dataset("breast-cancer"), load_breast_cancer()
    assert len(data.train) + len(data.test) == len(raw.target)
    assert data.classes == ("malignant", "benign")
    firsts = np.flatnonzero(raw.target == 0)[4::5]
    column = (raw.data[firsts, 0] - data_mean(raw, data)) / data_spread(raw, data)
    np.testing.assert_allclose(data.test.inputs[data.test.labels == 0, 0], column, rtol=1e-5)


def train_rows(raw) -> np.ndarray:
    test = np.concatenate([np.flatnonzero(raw.target == label)[4::5] for label in (0, 1)])
    return np.setdiff1d(np.arange(len(raw.target)), test)


def data_mean(raw, data) -> float:
    return float(raw.data[train_rows(raw), 0].mean())


def data_spread(raw, data) -> float:
    return float(raw.data[train_rows(raw), 0].std())


def test_an_unknown_name_lists_the_tables() -> None:
    with pytest.raises(UnknownNameError, match="breast-cancer"):
        rs.load_dataset("breast-cancr")


def test_words_decide_and_not_their_order_or_case() -> None:
    rows = hashed_words(["The goal was late", "late WAS the goal", "a vote in parliament", "!?"], 256)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 1, 1, 0], atol=1e-6)
    assert abs(rows[0] @ rows[2]) < 0.5


def test_texts_become_a_data_set() -> None:
    data = rs.Dataset.from_texts(["ball goal", "vote law"], [0, 1], test=(["goal"], [0]), features=64)
    assert data.input_shape == (64,)
    assert int((data.train.inputs @ data.test.inputs[0]).argmax()) == 0


@pytest.mark.parametrize("texts", ["one text", [], ["a", 3]])
def test_what_is_no_list_of_texts_is_refused(texts) -> None:
    with pytest.raises(DataError, match="sequence of str"):
        hashed_words(texts)


def test_float_labels_are_targets() -> None:
    data = rs.Dataset.from_arrays(np.eye(4), np.array([0.5, -1.0, 2.0, 3.0]))
    assert data.regression
    assert data.train.labels.dtype == np.float32
    assert data.thin(2).train.labels.tolist() == [0.5, -1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e60])
def test_targets_must_be_finite(bad: float) -> None:
    with pytest.raises(DataError, match="row 1 is not finite"):
        rs.Dataset.from_arrays(np.eye(2), np.array([0.5, bad]))


def test_classes_and_numbers_do_not_mix() -> None:
    with pytest.raises(DataError, match="float32 targets, 2 classes"):
        rs.Dataset.from_arrays(np.eye(2), np.array([0.5, 1.0]), classes=["a", "b"])
    with pytest.raises(DataError, match="test has int64 targets"):
        rs.Dataset.from_arrays(np.eye(2), np.array([0.5, 1.0]), test=(np.eye(2), np.array([0, 1])))


def test_a_search_refuses_a_regression_by_name() -> None:
    targets = np.array([0.5, 1.0, 2.0, 4.0], np.float32)
    with pytest.raises(DataError, match="raysubset.Subset and epoch.loss"):
        stratified_split(targets, 0.25, 0)
    assert thin(targets, 3).tolist() == [0, 1, 2]
