"""Stages that train nothing, in the place of real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.tuning.made_up_stages import FakeStages


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeStages]:
    from tests.tuning.made_up_stages import FakeStages  # here: the folder's other tests do without

    def use(**changes: Any) -> FakeStages:
        made = FakeStages(**changes)
        monkeypatch.setattr("raysubset.tuning.correlation.run_stage", made)
        return made

    return use
