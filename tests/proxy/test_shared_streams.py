"""Streams that were told something, or are handed on: where they begin, and what their states weigh."""

from __future__ import annotations

import numpy as np

from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.pool import Pool
from raysubset.proxy.stream import StreamSpec, SubsetStream, handed_on
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.testing.clients import signals_for
from tests.proxy.made_memories import BY_LOSS, EPOCHS, N, prior_of, remembered


def test_a_stream_that_is_handed_on_begins_again_with_what_it_knows() -> None:
    prior = prior_of(remembered(np.arange(N)))
    stream = SubsetStream(StreamSpec(BY_LOSS, 3, 0), Pool(Context(N)), prior)
    for epoch in range(3):
        stream.record(epoch, signals_for(stream.next(epoch).selection.indices, epoch))
    stream.loss = 0.5
    state = handed_on(stream.state())
    longer = SubsetStream(StreamSpec(BY_LOSS, EPOCHS, 1), Pool(Context(N)))
    longer.restore(state)
    assert longer.next(0).metric == "loss"
    assert longer.epochs_recorded == 3
    assert longer.loss == 0.5
    assert longer.record(0, signals_for(range(N), 0))
    assert longer.epochs_recorded == 4
    bare = SubsetStream(StreamSpec(BY_LOSS, EPOCHS, 1), Pool(Context(N)))
    bare.restore({"memory": state["memory"], "recorded": -1, "active": None})
    assert bare.next(0).metric == "random"
    assert (bare.epochs_recorded, bare.loss) == (0, None)


def test_a_stream_that_is_handed_on_needs_no_prior_to_choose_at_once() -> None:
    plan = SubsetPlan(metric="loss", ratio=0.3, first_epoch="scheduled", deterministic=True)
    first = SubsetStream(StreamSpec(plan, 2, 0), Pool(Context(N)))
    hardest = np.arange(N)[-20:]
    for epoch in range(2):
        rows = np.union1d(first.next(epoch).selection.indices, hardest)
        first.record(epoch, EpochSignals(rows, *[np.isin(rows, hardest).astype(np.float32)] * 3, rows > 0))
    later = SubsetStream(StreamSpec(plan, 3, 1), Pool(Context(N)))
    later.restore(handed_on(first.state()))
    begun = later.next(0)
    assert begun.metric == "loss"
    unseen = np.flatnonzero(~later.memory.seen)
    assert {*hardest, *unseen} < set(begun.selection.indices)  # what was never seen comes first


def test_a_told_state_takes_four_bytes_a_row_more() -> None:
    stream = SubsetStream(StreamSpec(BY_LOSS, EPOCHS, 0), Pool(Context(N)), prior_of(remembered(np.arange(N))))
    assert stream.state()["prior"]["codes"].nbytes == 4 * N
    assert stream.state()["prior"]["quantiles"].nbytes == 4080
