"""What trials share, kept in the run's storage: a restarted driver and a restarted selector know it again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from raysubset.errors import SelectorError, StorageError
from raysubset.proxy.service import SelectorService
from raysubset.selection.protocol import Context
from raysubset.testing.clients import POOL_SIZE, SHARED, signals_for, spec, teach
from raysubset.tuning import shared
from raysubset.tuning.shared import SharedKeeper


class Handle:
    """Answers like the handle of an actor."""

    def __init__(self) -> None:
        self.service = SelectorService(Context(POOL_SIZE))

    def __getattr__(self, method: str) -> Any:
        return SimpleNamespace(remote=getattr(self.service, method))


@pytest.fixture(autouse=True)
def answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.ray, "get", lambda answer: answer)


def searched(folder: Path) -> tuple[Handle, SharedKeeper]:
    handle = Handle()
    keeper = SharedKeeper(handle, folder)  # type: ignore[arg-type]
    teach(handle.service, "t", seed=7, trials=3)
    handle.service.open("running", spec(SHARED))
    handle.service.record("running", 0, signals_for(range(POOL_SIZE), 0, seed=8))
    return handle, keeper


def test_a_new_session_knows_what_the_last_one_shared(tmp_path: Path) -> None:
    before, keeper = searched(tmp_path)
    keeper.save()
    after = Handle()
    SharedKeeper(after, str(tmp_path))  # type: ignore[arg-type]
    assert after.service.contributors() == before.service.contributors()
    assert set(after.service.contributors()) == {"t-0", "t-1", "t-2", "running"}
    for service in (before.service, after.service):
        service.open("new", spec(SHARED))
    rows = [service.next("new", 0).selection.indices for service in (before.service, after.service)]
    np.testing.assert_array_equal(*rows)


def test_it_saves_when_trials_end_but_not_at_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, keeper = searched(tmp_path)
    keeper.on_trial_complete(1, [], None)  # type: ignore[arg-type]
    assert not (tmp_path / "shared").exists()
    monkeypatch.setattr(shared, "SAVE_EVERY_S", 0.0)
    keeper.on_trial_complete(2, [], None)  # type: ignore[arg-type]
    assert (tmp_path / "shared" / "checkpoint.pt").exists()


def test_a_damaged_file_is_named_not_taken_in(tmp_path: Path) -> None:
    _, keeper = searched(tmp_path)
    keeper.save()
    file = tmp_path / "shared" / "checkpoint.pt"
    whole = bytearray(file.read_bytes())
    codes = whole.index(bytes(codes_of(keeper)))
    whole[codes] ^= 1  # one rank of one row
    file.write_bytes(bytes(whole))
    with pytest.raises(StorageError, match="checkpoint.pt"):
        SharedKeeper(Handle(), tmp_path)  # type: ignore[arg-type]


def codes_of(keeper: SharedKeeper) -> np.ndarray:
    return keeper._selector.service.shared_state()["contributions"][0]["codes"][0]  # type: ignore[attr-defined]


def test_a_state_of_another_kind_is_refused(tmp_path: Path) -> None:
    from raysubset.runtime.saved import SavedState

    for foreign in ({"model": 1}, {"contributions": [{"trial": "t"}]}):
        SavedState(tmp_path / "shared").save(foreign)
        with pytest.raises(SelectorError, match="not what trials share"):
            SharedKeeper(Handle(), tmp_path)  # type: ignore[arg-type]
