"""A trial runs ahead of its selector by one epoch at most, and what it is served is never old."""

from __future__ import annotations

import time

import numpy as np
import pytest
import ray

from raysubset.proxy.service import SelectorService
from raysubset.runtime.backlog import Backlog
from raysubset.runtime.client import RaySelector
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.testing.clients import POOL_SIZE, assert_same, run, spec

pytestmark = pytest.mark.ray
LAG_S = 0.3


@ray.remote(num_cpus=0)
class Mailbox:
    """Takes its time, and knows how much has come."""

    def __init__(self) -> None:
        self.taken = 0

    def record(self, seconds: float) -> int:
        time.sleep(seconds)
        self.taken += 1
        return self.taken

    def fail(self) -> None:
        raise ValueError("unknown trial")


def lagging_selector():
    """An actor of a class of its own, so that it travels by value: workers cannot import this file."""

    class LaggingService(SelectorService):
        def record(self, trial, epoch, signals) -> None:
            time.sleep(LAG_S)
            super().record(trial, epoch, signals)

    return ray.remote(LaggingService).options(num_cpus=0).remote(Context(POOL_SIZE))


def test_one_epoch_at_most_is_under_way(ray_cluster) -> None:
    backlog, mailbox = Backlog(), Mailbox.remote()
    ray.get(mailbox.record.remote(0.0))
    sent = []
    for _ in range(4):
        reference = mailbox.record.remote(LAG_S)
        backlog.sent("a", reference)
        sent.append(reference)
        _, under_way = ray.wait(sent, num_returns=len(sent), timeout=0)
        assert len(under_way) <= 1
    assert backlog.held_s > 0
    assert backlog.stale == 0


def test_trials_do_not_wait_for_each_other(ray_cluster) -> None:
    backlog, mailbox = Backlog(), Mailbox.remote()
    first = mailbox.record.remote(60.0)
    backlog.sent("a", first)
    backlog.sent("b", mailbox.record.remote(0.0))
    assert backlog.held_s == 0
    backlog.asked("a")
    assert backlog.stale == 1
    ray.kill(mailbox)


def test_what_was_taken_in_or_has_failed_is_not_waited_for(ray_cluster) -> None:
    backlog, mailbox = Backlog(), Mailbox.remote()
    for call in (mailbox.record.remote(0.0), mailbox.fail.remote(), mailbox.record.remote(0.0)):
        ray.wait([call])
        backlog.asked("a")
        backlog.sent("a", call)
    assert (backlog.stale, backlog.held_s) == (0, 0.0)


def test_a_selector_that_lags_serves_what_it_would_have_served(ray_cluster) -> None:
    actor = lagging_selector()
    far, near, plan = RaySelector(actor), SelectorService(Context(POOL_SIZE)), SubsetPlan(metric="loss", ratio=0.3)
    for client in (far, near):
        client.open("trial", spec(plan))
    assert_same(run(near, "trial", plan, range(4)), run(far, "trial", plan, range(4)))
    assert far._backlog.stale == 3, "asked for the next epoch before the last was taken in, every time"
    for name, values in near.state("trial")["memory"].items():
        np.testing.assert_array_equal(values, far.state("trial")["memory"][name])
    ray.kill(actor)


def test_settled_is_what_was_taken_in_well_or_not(ray_cluster) -> None:
    backlog, mailbox = Backlog(), Mailbox.remote()
    backlog.sent("a", mailbox.record.remote(LAG_S))
    backlog.settle("a")
    assert ray.get(mailbox.record.remote(0.0)) == 2
    backlog.sent("a", mailbox.fail.remote())
    backlog.settle("a")
    backlog.asked("a")
    assert backlog.stale == 0
    ray.kill(mailbox)
