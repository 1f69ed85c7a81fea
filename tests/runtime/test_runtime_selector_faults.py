"""The selector's process dies in the middle of a call, before or after it took effect: nothing changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from raysubset.proxy.service import SelectorService
from raysubset.runtime.client import RaySelector
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.testing.clients import EPOCHS, POOL_SIZE, assert_same, run, spec

pytestmark = [pytest.mark.ray, pytest.mark.slow]
FATAL = 3  # the epoch of the fault


def mortal_selector(marker: Path, method: str, moment: str) -> Any:
    """An actor that dies once, in a call of epoch `FATAL`; its class is a local one, so it travels by value."""

    class MortalService(SelectorService):
        def next(self, trial: str, epoch: int, recorded: int = -1) -> Any:
            return self._call("next", epoch, super().next, trial, epoch, recorded)

        def record(self, trial: str, epoch: int, signals: Any) -> None:
            self._call("record", epoch, super().record, trial, epoch, signals)

        def _call(self, name: str, epoch: int, act: Any, *arguments: Any) -> Any:
            fatal = name == method and epoch == FATAL and not marker.exists()
            if fatal and moment == "before":
                self._die()
            answer = act(*arguments)
            if fatal:
                self._die()
            return answer

        def _die(self) -> None:
            import os
            import signal

            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    options = {"num_cpus": 0, "max_restarts": 3, "max_task_retries": -1}
    return ray.remote(MortalService).options(**options).remote(Context(POOL_SIZE))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("method", ["next", "record"])
@pytest.mark.parametrize("saved_at", [None, 2])
def test_a_selector_killed_during_a_call(ray_cluster, tmp_path, method, moment, saved_at) -> None:
    actor = mortal_selector(tmp_path / "died", method, moment)
    far, near, plan = RaySelector(actor), SelectorService(Context(POOL_SIZE)), SubsetPlan(ratio=0.3)
    served: dict[str, list[Any]] = {"far": [], "near": []}
    for name, client in (("far", far), ("near", near)):
        client.open("trial", spec(plan))
        for epoch in range(EPOCHS):
            if epoch == saved_at:
                client.state("trial")  # a checkpoint: the log of the client begins anew
            served[name] += run(client, "trial", plan, [epoch])
    assert (tmp_path / "died").exists()
    assert_same(served["near"], served["far"])
    lasting, state = near.state("trial"), far.state("trial")
    assert lasting.keys() == state.keys()
    for name, values in lasting["memory"].items():
        np.testing.assert_array_equal(values, state["memory"][name])  # none lost, none counted twice
    ray.kill(actor)
