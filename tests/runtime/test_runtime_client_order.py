"""What a trial recorded counts, whatever the order in which its calls arrive and whoever else opens it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import ray

from raysubset.errors import SelectorError
from raysubset.proxy.service import SelectorService, UnknownTrialError
from raysubset.runtime import backlog, client
from raysubset.runtime.client import RaySelector
from raysubset.selection.protocol import Context
from raysubset.testing.clients import EPOCHS, KNOWN, PLANS, POOL_SIZE, assert_same, run, signals_for, spec

PLAN = PLANS["loss, static, scheduled"]


class Late:
    """The answer to a call that is carried out when somebody waits for it: as late as Ray may bring it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call, self._done = call, False
        self._answer: Any = None

    def result(self) -> Any:
        if not self._done:
            self._done = True
            try:
                self._answer = self._call()
            except Exception as error:  # raised where somebody asks for the answer
                self._answer = error
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def wait(self) -> None:
        with suppress(Exception):
            self.result()


class LateActor:
    """A service where every record is carried out after the next ``lag`` calls, unless somebody waits for it."""

    def __init__(self, service: SelectorService, lag: int) -> None:
        self.service, self.lag = service, lag
        self.late: list[tuple[int, Late]] = []
        self.calls = 0

    def __getattr__(self, method: str) -> Any:
        act = getattr(self.service, method)

        class Method:
            @staticmethod
            def remote(*arguments: Any) -> Late:
                answer = Late(lambda: act(*arguments))
                if method == "record":
                    self.late.append((self.calls + self.lag, answer))
                else:
                    self.calls += 1
                    answer.wait()
                    self._catch_up()
                return answer

        return Method

    def _catch_up(self) -> None:
        for due, answer in self.late:
            if due <= self.calls:
                answer.wait()


@pytest.fixture(params=[1, 2, 3, 1000])
def late(request, monkeypatch) -> RaySelector:
    """A client of such a service, without Ray."""

    def wait(answers: list[Late], timeout: float | None = None) -> tuple[list[Late], list[Late]]:
        if timeout is None:
            answers[0].wait()
        return ([], answers) if timeout == 0 else (answers, [])

    class Count:
        def inc(self, value: float = 1.0) -> None:
            pass

    monkeypatch.setattr(client.ray, "get", lambda answer: answer.result())
    monkeypatch.setattr(backlog.ray, "wait", wait)
    monkeypatch.setattr(backlog, "Counter", lambda *_: Count())
    return RaySelector(LateActor(SelectorService(KNOWN), request.param), KNOWN)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PLANS)
def test_records_that_ray_sends_again_come_before_what_is_asked_next(late, name: str) -> None:
    plan, near = PLANS[name], SelectorService(KNOWN)
    for each in (near, late):
        each.open("t", spec(plan))
    expected = run(near, "t", plan, range(EPOCHS))
    assert_same(expected, run(late, "t", plan, range(EPOCHS)))
    assert near.state("t")["recorded"] == late.state("t")["recorded"] == EPOCHS - 1 - _skipped(plan)


def test_what_a_trial_recorded_before_it_went_back_does_not_come_after(late) -> None:
    near, served = SelectorService(KNOWN), []
    for each in (near, late):
        each.open("t", spec(PLAN))
        run(each, "t", PLAN, range(2))
        kept = each.state("t")
        run(each, "t", PLAN, range(2, 5), seed=1)
        each.open("t", spec(PLAN), kept)
        served.append(run(each, "t", PLAN, range(2, EPOCHS)))
    assert_same(*served)


def _skipped(plan: Any) -> int:
    sizes = plan.timetable(POOL_SIZE, EPOCHS).sizes
    return int((sizes[::-1] > 0).argmax())


def test_a_record_that_fails_is_not_lost_in_silence(late) -> None:
    late.open("t", spec(PLAN))
    run(late, "t", PLAN, [0])
    rows = late.next("t", 1).selection.indices
    late.record("t", 1, signals_for(rows + POOL_SIZE, 1))  # of rows that the pool does not have
    with pytest.raises(SelectorError, match="Signals name rows"):
        late.next("t", 2)


@pytest.mark.parametrize("ask", ["next", "state", "contribution"])
def test_a_service_says_that_it_does_not_know_what_was_recorded(ask: str) -> None:
    service = SelectorService(Context(POOL_SIZE))
    service.open("t", spec(PLAN))
    run(service, "t", PLAN, range(2))
    arguments = {"next": ("t", 2), "state": ("t",), "contribution": ("t",)}[ask]
    getattr(service, ask)(*arguments, 1)
    with pytest.raises(UnknownTrialError, match=r"'t' has recorded epoch 2, .* \(its last is 1\)"):
        getattr(service, ask)(*arguments, 2)


@pytest.mark.ray
@pytest.mark.parametrize("saved_at", [None, 2, 3])
@pytest.mark.parametrize("meddling", ["opens", "closes"])
def test_a_trial_that_another_process_touches_goes_on_as_it_was(ray_cluster, meddling, saved_at) -> None:
    actor = client.start_selector(f"touched/{meddling}/{saved_at}", POOL_SIZE)
    far, other, near = RaySelector(actor), RaySelector(actor), SelectorService(Context(POOL_SIZE))
    served: dict[str, list[Any]] = {"near": [], "far": []}
    for name, each in (("near", near), ("far", far)):
        each.open("t", spec(PLAN))
        for epoch in range(EPOCHS):
            if epoch == saved_at:
                each.state("t")
            if name == "far" and epoch == 3:
                other.open("t", spec(PLAN))
            if name == "far" and meddling == "closes" and epoch in (3, 5):
                other.close("t")
                assert "t" not in ray.get(actor.trials.remote())
            served[name] += run(each, "t", PLAN, [epoch])
    assert_same(served["near"], served["far"])
    ray.kill(actor)
