"""What is done about every kind of fault: a table, and the errors that Ray really raises."""

from __future__ import annotations

import errno
import pickle

import pytest
import ray
from ray import exceptions

from raysubset.errors import (
    DatasetNotFoundError,
    ModelError,
    OptionsError,
    SelectorError,
    StorageError,
    WorkersError,
)
from raysubset.runtime.failure import (
    POLICIES,
    Fault,
    Raise,
    Retry,
    SelectorLostError,
    decide,
    ends_only_the_trial,
    fault_of,
    root_cause,
)


class OutOfMemoryError(RuntimeError):
    """As PyTorch names its own."""


class GroupError(Exception):
    """As Ray Train raises it."""

    def __init__(self, *failures: Exception) -> None:
        self.worker_failures = dict(enumerate(failures))


def not_made(why: str) -> exceptions.RayActorError:
    """An actor whose constructor raised."""
    return exceptions.RayActorError(error_msg=f"raised in its creation task ... {why}", actor_init_failed=True)


FAULTS = [
    (exceptions.WorkerCrashedError(), Fault.WORKER),
    (exceptions.RayActorError(error_msg="The actor died unexpectedly before finishing this task."), Fault.WORKER),
    (exceptions.ActorUnavailableError("no answer", b"0" * 16), Fault.WORKER),
    (exceptions.RayActorError(error_msg="The actor died because its node has died. Node Id: f0"), Fault.NODE),
    (exceptions.RayActorError(error_msg="the actor's node was preempted: spot"), Fault.NODE),
    (exceptions.NodeDiedError("gone"), Fault.NODE),
    (exceptions.RayActorError(error_msg="Task was killed due to the node running low on memory."), Fault.MEMORY),
    (exceptions.OutOfMemoryError("killed"), Fault.MEMORY),
    (MemoryError(), Fault.MEMORY),
    (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), Fault.MEMORY),
    (RuntimeError("CUDA error: an illegal memory access was encountered"), Fault.WORKER),
    (StorageError("Cannot write a checkpoint to /x: No space left on device"), Fault.STORAGE),
    (OSError(errno.ENOSPC, "No space left on device"), Fault.STORAGE),
    (exceptions.OutOfDiskError("spill"), Fault.STORAGE),
    (SelectorLostError("gone"), Fault.SELECTOR),
    (not_made("SelectorLostError: gone"), Fault.SELECTOR),
    (not_made("TypeError: no"), Fault.USER_CODE),
    (SelectorError("epoch 3 after epoch 5"), Fault.USER_CODE),
    (exceptions.ObjectLostError("00" * 28, None, ""), Fault.DRIVER),
    (exceptions.OwnerDiedError("00" * 28, None, ""), Fault.DRIVER),
    (WorkersError("worker 1: the actor died because its node has died"), Fault.NODE),
    (WorkersError("worker 1 died"), Fault.WORKER),
    (ModelError("no last nn.Linear"), Fault.USER_CODE),
    (OptionsError("lr=-1"), Fault.USER_CODE),
    (DatasetNotFoundError("nowhere"), Fault.USER_CODE),
    (ZeroDivisionError(), Fault.USER_CODE),
]  # fmt: skip


@pytest.mark.parametrize(("error", "fault"), FAULTS, ids=lambda part: str(part)[:40])
def test_every_error_is_some_fault(error: Exception, fault: Fault) -> None:
    assert fault_of(error) is fault
    assert fault_of(GroupError(error, ZeroDivisionError())) is fault


@pytest.mark.parametrize(
    ("fault", "retries", "waits", "stops"),
    [
        (Fault.WORKER, 2, [0, 0], "trial"),
        (Fault.MEMORY, 2, [2, 4], "trial"),
        (Fault.NODE, 8, [0] * 8, "trial"),
        (Fault.USER_CODE, 0, [], "trial"),
        (Fault.CHECKPOINT, 0, [], "trial"),
        (Fault.STORAGE, 1, [1], "run"),
        (Fault.SELECTOR, 20, [0] * 20, "run"),
        (Fault.DRIVER, 0, [], "run"),
    ],
)
def test_the_policies_are_those_of_the_table(fault: Fault, retries: int, waits: list[float], stops: str) -> None:
    assert [decide(fault, earlier) for earlier in range(retries)] == [Retry(wait) for wait in waits]
    assert decide(fault, retries) == decide(fault, retries + 1) == Raise(stops)  # type: ignore[arg-type]


def test_every_fault_has_a_policy() -> None:
    assert set(POLICIES) == set(Fault)


def test_what_a_worker_may_settle_by_itself() -> None:
    own = [error for error, _ in FAULTS if ends_only_the_trial(error)]
    assert {fault_of(error) for error in own} == {Fault.USER_CODE}
    assert not ends_only_the_trial(SelectorLostError("gone"))
    assert not ends_only_the_trial(StorageError("full"))


def test_a_lost_selector_survives_a_trip_between_processes() -> None:
    error = pickle.loads(pickle.dumps(SelectorLostError("gone")))
    assert isinstance(error, SelectorError)
    assert str(error) == "gone"


@pytest.mark.ray
def test_the_errors_of_a_real_actor(ray_cluster) -> None:
    class Breaking:
        def __init__(self, kind: str = "") -> None:
            if kind:
                raise SelectorLostError("gone")

        def user(self) -> None:
            raise ZeroDivisionError("their bug")

        def disk(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def die(self) -> None:
            import os

            os._exit(1)

    actor = ray.remote(Breaking).remote()
    assert fault_of(caught(actor.user.remote())) is Fault.USER_CODE
    assert isinstance(root_cause(caught(actor.user.remote())), ZeroDivisionError)
    assert fault_of(caught(actor.disk.remote())) is Fault.STORAGE
    assert fault_of(caught(actor.die.remote())) is Fault.WORKER
    assert fault_of(caught(ray.remote(Breaking).remote("kind").user.remote())) is Fault.SELECTOR


def caught(reference) -> Exception:
    with pytest.raises(exceptions.RayError) as raised:
        ray.get(reference)
    return raised.value
