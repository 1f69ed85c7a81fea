"""What every test shares: one torch thread, no usage statistics, no leftovers of the caller's settings."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from raysubset.data.dataset import Dataset

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
settings.register_profile("no clock", deadline=None)  # a shared machine may stall any example
settings.load_profile("no clock")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # two threads are far slower than one when the other core is busy


@pytest.fixture(autouse=True, scope="session")
def embedded_digits_read_once() -> Iterator[None]:
    """A hundred tests load the embedded digits: 0.17 s of parsing each, and every data set copies its rows."""
    from raysubset.data import embedded

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "_read", cache(embedded._read))
        yield


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray instance of two CPUs for all tests that need one."""
    import ray

    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    ray.init(address="local", num_cpus=2, include_dashboard=False, **quiet)  # not a cluster that somebody started
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """A small real data set: 600 training and 200 test digits."""
    from raysubset.data.catalog import load_dataset

    return load_dataset("embedded", limit=600)
