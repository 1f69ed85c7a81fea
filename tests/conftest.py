"""What every test shares: one torch thread, no usage statistics, no leftovers of the caller's settings."""

from __future__ import annotations

import os

import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # two threads are far slower than one when the other core is busy
