"""nas.json there and back; what is not ours is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from raysubset.errors import RecordError, StorageError
from raysubset.report.nas_info import NAS_FILE, NasInfo, RankAgreement, TableVerdict

ASKED: dict[str, Any] = {
    "name": "n",
    "space": "nb201",
    "algo": "spos",
    "dataset": "cifar10",
    "dataset_source": "somewhere",
    "dataset_note": "",
    "n_train": 10,
    "n_validation": 5,
    "selector": "asp",
    "metric": "mixture",
    "ratio": 0.5,
    "seed": 3,
    "device": "cpu",
    "command": "raysubset nas",
    "started": "2026-01-01T00:00:00+00:00",
    "fingerprint": "abc",
    "versions": {"torch": "2"},
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    info = NasInfo(
        **ASKED,
        cell="|x|",
        score=0.25,
        table=TableVerdict("cifar10", None, 0.9, 3, 15625, 0.94, 0.91),
        agreement=RankAgreement(0.4, 0.3, 0.5, 200),
        retrained={"test_accuracy": 0.5},
    )
    info.write(tmp_path)
    assert NasInfo.read(tmp_path) == info


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    NasInfo(**ASKED, score=-math.inf, agreement=RankAgreement(math.nan, None, None, 2)).write(tmp_path)
    plain = json.loads((tmp_path / NAS_FILE).read_text(), parse_constant=pytest.fail)
    assert plain["score"] is None
    assert plain["agreement"]["tau"] is None


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 2}', json.dumps({**ASKED, "schema": 1, "colour": "red"})])
def test_what_is_not_ours_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / NAS_FILE).write_text(text)
    with pytest.raises(RecordError, match=NAS_FILE):
        NasInfo.read(tmp_path)


def test_a_folder_without_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Is .* the folder of an architecture search"):
        NasInfo.read(tmp_path)
