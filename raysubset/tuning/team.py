"""A trial of several training workers: Ray Train runs them, a conductor tells them what to do.

    TeamRunner, TrainRun       --ask-->  Conductor  --command-->  W workers: a TrialRunner each
    (in the trial's Tune actor) <------             <--answer---

Ray Train's own way is one run a trial, started and ended with it: 8 to 14 s before its first epoch, and every
report waits for the controller's next look. Here the workers stay for one trial after another, as Tune's actors
do, and answer through the conductor. What Train does for us is to place the workers, to set up torch.distributed
among them, and to end them all when one dies; the trial then fails and Tune starts it again from its checkpoint.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Event, Lock, Thread
from time import perf_counter
from typing import Any
from uuid import uuid4

import ray
import torch

from raysubset.errors import WorkersError
from raysubset.tuning.conductor import TEAM, start_conductor
from raysubset.tuning.runner import StageSetting, TrialRunner

POLL_S = 0.5  # how soon Train's controller, and we, see that a worker died
IDLE_S = 5.0  # after which a team gives its places back; to gather it again takes as long or longer
GOODBYE_S = 20.0  # for the workers to end by themselves


def follow(config: dict[str, Any]) -> None:
    """Do what the conductor says until it says "end": the training function of every worker."""
    from ray.train.torch import get_device

    from raysubset.training.team import ProcessTeam

    torch.set_num_threads(1)
    conductor, team = config["conductor"], ProcessTeam(get_device())
    runner: TrialRunner | None = None
    for number in count():
        method, (arguments,) = ray.get(conductor.command.remote(number))
        answer = None
        if method == "begin":
            (setting,) = ray.get(arguments)
            runner = TrialRunner(setting, team)
        elif method != "end":
            answer = getattr(runner, method)(*ray.get(arguments))
        ray.get(conductor.answer.remote(team.shard.rank, [ray.put(answer)] if team.shard.rank == 0 else []))
        if method == "end":
            return


class TrainRun:
    """The workers of a team, from their start to their end: one run of Ray Train, held by a thread.

    Args:
        setting: What the trials share, and how many workers train each.
    """

    def __init__(self, setting: StageSetting) -> None:
        self._setting = setting
        self._workers = setting.slots.workers
        self._conductor = start_conductor(self._workers)
        self._folder = Path(setting.folder) / setting.stage / f"{TEAM}{uuid4().hex}"  # Train wants one, to no use
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._fit, daemon=True, name="train-run")
        self._thread.start()
        self.ask("begin", setting)

    def _fit(self) -> None:
        """Hold the run; it ends when the workers do."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", str(POLL_S))
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # Tune saves the trial
        setting, slots = self._setting, self._setting.slots
        resources = {"CPU": slots.cpus, **({"GPU": slots.gpus} if setting.gpu else {})}
        try:
            TorchTrainer(
                follow,
                train_loop_config={"conductor": self._conductor},
                torch_config=TorchConfig(backend="nccl" if setting.gpu else "gloo"),
                scaling_config=ScalingConfig(
                    num_workers=slots.workers, use_gpu=setting.gpu, resources_per_worker=resources
                ),
                run_config=RunConfig(
                    name=self._folder.name,
                    storage_path=str(self._folder.parent),
                    failure_config=FailureConfig(max_failures=0),
                ),
            ).fit()
        except BaseException as error:  # whatever it was, the trial must hear of it
            self._failure = error

    def ask(self, method: str, *arguments: Any) -> Any:
        """Have every worker call a method of its `TrialRunner`; returns worker 0's answer.

        Raises:
            WorkersError: A worker, or Ray Train's controller, failed.
        """
        asked: ray.ObjectRef[Any] = self._conductor.ask.remote((method, [ray.put(arguments)]))
        while not ray.wait([asked], timeout=POLL_S)[0]:
            if not self._thread.is_alive():
                cause = self._failure or RuntimeError("Ray Train's run ended by itself")
                raise WorkersError(
                    f"The {self._workers} training workers of this trial ended in {method!r}: {cause}"
                ) from cause
        (answer,) = ray.get(asked)
        return ray.get(answer)

    def end(self) -> None:
        """Send the workers home, if they are still there."""
        if self._thread.is_alive():
            self.ask("end")
            self._thread.join(GOODBYE_S)
        ray.kill(self._conductor)
        shutil.rmtree(self._folder, ignore_errors=True)


class TeamRunner:
    """A `TrialRunner` spread over workers, which serve one trial after another.

    Tune may keep this process for later, with no trial to run, while another trial waits for the places of these
    workers. So a team that has nothing to do for `IDLE_S` gives them back, keeps the state of its trial, and is
    gathered anew when it is needed.

    Args:
        setting: What the trials share, and how many workers train each.

    Raises:
        WorkersError: From every call: a worker or Ray Train's controller failed; says which and why.
    """

    def __init__(self, setting: StageSetting) -> None:
        self._setting = setting
        self._run: TrainRun | None = None
        self._config: Mapping[str, Any] = {}
        self._kept: Mapping[str, Any] | None = None
        self._used_at = perf_counter()
        self._lock, self._over = Lock(), Event()
        Thread(target=self._rest, daemon=True, name="team-rest").start()

    def become(self, config: Mapping[str, Any]) -> None:
        """See `TrialRunner.become`."""
        with self._lock:
            self._config, self._kept = config, None
            if self._run is not None:
                self._run.ask("become", config)
            else:
                self._gathered()
            self._used_at = perf_counter()

    def step(self) -> dict[str, Any]:
        """See `TrialRunner.step`; what it reports is that of all workers."""
        report: dict[str, Any] = self._ask("step")
        return report

    def state(self) -> dict[str, Any]:
        """Return worker 0's state, which is every worker's; see `TrialRunner.state`."""
        state: dict[str, Any] = self._ask("state")
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Give all workers a state to go on from."""
        self._ask("restore", state)

    def _ask(self, method: str, *arguments: Any) -> Any:
        with self._lock:
            answer = self._gathered().ask(method, *arguments)
            self._used_at = perf_counter()
            return answer

    def _gathered(self) -> TrainRun:
        """Return the workers, brought to where the trial stands if they have to be gathered."""
        if self._run is None:
            self._run = TrainRun(self._setting)
            self._run.ask("become", self._config)
            if self._kept is not None:
                self._run.ask("restore", self._kept)
                self._kept = None
        return self._run

    def _rest(self) -> None:
        """Look, for as long as this team is, whether its workers have something to do."""
        while not self._over.wait(IDLE_S / 4):
            with self._lock:
                if self._run is not None and perf_counter() - self._used_at > IDLE_S:
                    with suppress(WorkersError):  # a run that failed is asked again, and says so, by the trial
                        self._kept = self._run.ask("state")
                        self._dismiss()

    def _dismiss(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.ask("close")
            run.end()

    def close(self) -> None:
        """Let the selector forget the trial, and send the workers home."""
        self._over.set()
        with self._lock, suppress(WorkersError):  # they are gone already
            self._dismiss()
