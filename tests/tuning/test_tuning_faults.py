"""kill -9 of a trial's worker, of the selector, of the driver: the search goes on as it would have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import raysubset as rs
from raysubset.errors import InterruptedRunError, SearchFailedError
from raysubset.experiment import Experiment, SearchOptions
from raysubset.report.records import read_records
from raysubset.runtime.failure import POLICIES, Fault, Policy
from raysubset.tuning.progress import Silent
from raysubset.tuning.run import create_run, open_run
from raysubset.tuning.session import open_session

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TRIALS = 7


def experiment(name: str) -> Experiment:
    return Experiment(
        name=name,
        model="mlp",
        plan=rs.SubsetPlan(ratio=0.2),
        recipe=rs.Recipe(epochs=9, batch_size=32, lr=0.05),
        space={"lr": rs.loguniform(1e-3, 1e-1), "momentum": rs.uniform(0.5, 0.95)},
        search=SearchOptions(trials=TRIALS, concurrency=1, search="random", scheduler="asha-promote"),
    )


def outcomes(folder: Path) -> dict:
    """What each trial's epochs were, each of them once."""
    rows = read_records(folder / "records.jsonl").stage("search")
    found = {(r.trial, r.epoch): (r.status, r.rung, r.samples_consumed, r.val_loss, r.train_loss) for r in rows}
    assert len(found) == len(rows)
    return found


def events(folder: Path) -> list[str]:
    return [line for line in (folder / "search-search.jsonl").read_text().splitlines() if '"rewind"' not in line]


def searched(folder: Path, data, listener) -> dict:
    run = create_run(experiment(folder.name), data, folder.parent, listener, command="", settings={})
    run.checkpoint_every_s = 0.0
    with open_session(run) as session:
        session.search()
    return outcomes(folder)


@pytest.fixture(scope="module")
def undisturbed(digits, ray_cluster, tmp_path_factory) -> dict:
    return searched(tmp_path_factory.mktemp("undisturbed") / "u", digits, Silent())


class Assassin(Silent):
    """Kills, once, a process of this test's own Ray instance, after some reports."""

    def __init__(self, victim: str, after: int) -> None:
        self.victim, self.after, self.killed = victim, after, 0

    def recorded(self, record) -> None:
        self.after -= 1
        if self.after == 0:
            process = next(own_processes(self.victim))
            process.send_signal(signal.SIGKILL)
            self.killed = process.pid


def own_processes(name: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["cmdline"]):
        if name in " ".join(process.info["cmdline"] or []) and os.getpid() in [p.pid for p in process.parents()]:
            yield process


@pytest.mark.parametrize("victim", ["SubsetTrainable", "SelectorService"])
def test_a_killed_process_changes_nothing(victim, undisturbed, digits, ray_cluster, tmp_path) -> None:
    assassin = Assassin(victim, after=8)
    found = searched(tmp_path / "k", digits, assassin)
    assert assassin.killed
    assert found == undisturbed


class Executioner(Silent):
    """Kills the processes that train, once, when a trial is over: what Tune keeps for the next trial is dead."""

    def __init__(self) -> None:
        self.killed = 0

    def recorded(self, record) -> None:
        if record.status == "done" and not self.killed:
            for process in own_processes("SubsetTrainable"):
                process.send_signal(signal.SIGKILL)
                self.killed += 1


def test_a_process_that_is_dead_when_it_is_handed_the_next_trial_changes_nothing(
    digits, ray_cluster, tmp_path
) -> None:
    executioner, found = Executioner(), {}
    for name, listener in (("disturbed", executioner), ("undisturbed", Silent())):
        options = SearchOptions(trials=4, concurrency=1, search="random", scheduler="none")
        asked = replace(experiment(name), search=options, recipe=rs.Recipe(epochs=2, batch_size=32))
        run = create_run(asked, digits, tmp_path, listener, command="", settings={})
        with open_session(run) as session:
            session.search()
        found[name] = outcomes(tmp_path / name)
    assert executioner.killed
    assert len(found["disturbed"]) == 8
    assert found["disturbed"] == found["undisturbed"]


def mortal_mlp(marker: Path, last: int):
    """A builder of networks whose process dies, once, of training batch number ``last``; travels by value."""

    def build(num_classes: int, input_shape: tuple[int, ...]):
        from torch import nn

        from raysubset.models.catalog import build_model

        class MortalNetwork(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = build_model("mlp", num_classes=num_classes, input_shape=input_shape, seed=0)
                self.left = last

            def forward(self, inputs):
                self.left -= self.training
                if self.left == 0 and not marker.exists():
                    marker.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return self.network(inputs)

        return MortalNetwork()

    return build


def test_a_worker_killed_in_the_middle_of_an_epoch_changes_nothing(digits, ray_cluster, tmp_path) -> None:
    marker, found = tmp_path / "died", {}
    for name in ("disturbed", "undisturbed"):  # the second time there is nothing to die of
        options = SearchOptions(trials=2, concurrency=1, search="random", scheduler="none")
        asked = replace(
            experiment(name),
            model=mortal_mlp(marker, 10),
            search=options,
            recipe=rs.Recipe(epochs=4, batch_size=32),
        )  # 17 batches in a first epoch
        run = create_run(asked, digits, tmp_path, Silent(), command="", settings={})
        run.checkpoint_every_s = 0.0
        with open_session(run) as session:
            session.search()
        assert marker.exists()
        found[name] = outcomes(tmp_path / name)
    assert len(found["disturbed"]) == 8
    assert found["disturbed"] == found["undisturbed"]


def test_a_model_that_raises_fails_its_trial_at_once(digits, ray_cluster, tmp_path) -> None:
    def build(num_classes: int, input_shape: tuple[int, ...]):
        from torch import nn

        class Broken(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.head = nn.Linear(784, num_classes)

            def forward(self, inputs):
                with (tmp_path / "tried").open("a") as file:
                    file.write("x")
                raise ZeroDivisionError("their bug")

        return Broken()

    options = SearchOptions(trials=2, concurrency=1, search="random", scheduler="none")
    asked = replace(experiment("broken"), model=build, search=options)
    run = create_run(asked, digits, tmp_path, Silent(), command="", settings={})
    with open_session(run) as session, pytest.raises(SearchFailedError, match="ZeroDivisionError: their bug"):
        session.search()
    assert (tmp_path / "tried").read_text() == "xx", "once a trial: it would fail again"
    rows = read_records(tmp_path / "broken" / "records.jsonl").rows
    assert [(row.status, row.reason) for row in rows] == [("failed", "ZeroDivisionError: their bug")] * 2


@pytest.mark.parametrize("after", [2, 8])
def test_a_selector_lost_for_good_stops_the_search_which_can_go_on(
    after, undisturbed, digits, ray_cluster, tmp_path, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(POLICIES, Fault.SELECTOR, Policy(0, "run"))
        with pytest.raises(InterruptedRunError, match="selector lost: .* did not come back"):
            searched(tmp_path / "s", digits, Assassin("SelectorService", after))
    before = outcomes(tmp_path / "s")
    assert after <= len(before) < len(undisturbed)
    assert {status for status, *_ in before.values()} <= {"running", "stopped", "done"}
    run = open_run(tmp_path / "s", digits, Silent())
    run.checkpoint_every_s = 0.0
    with open_session(run) as session:
        session.search()
    assert outcomes(tmp_path / "s") == undisturbed


def test_a_killed_driver_loses_nothing(undisturbed, tmp_path) -> None:
    script = tmp_path / "search.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys, time
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            import raysubset as rs, test_tuning_faults as faults
            from pathlib import Path
            from raysubset.tuning.run import create_run, open_run
            from raysubset.tuning.session import open_session

            class Slow(faults.Silent):
                def recorded(self, record):
                    time.sleep(0.3)  # so that the other process sees it in time

            if __name__ == "__main__":
                import torch
                torch.set_num_threads(1)
                data, root = rs.load_dataset("embedded", limit=600), Path({str(tmp_path)!r})
                if (root / "d").exists():
                    run = open_run(root / "d", data, faults.Silent())
                else:
                    run = create_run(faults.experiment("d"), data, root, Slow(), command="", settings={{}})
                run.checkpoint_every_s = 0.0
                with open_session(run) as session:
                    session.search()
            """
        )
    )
    records = tmp_path / "d" / "records.jsonl"
    driver = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (records.exists() and records.read_text().count("\n") >= 8):
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    output, _ = driver.communicate(timeout=60)
    before = outcomes(tmp_path / "d")
    assert 8 <= len(before) < len(undisturbed), output.decode()
    resumed = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert outcomes(tmp_path / "d") == undisturbed
    names = [line for line in events(tmp_path / "d") if '"start"' in line]
    assert len(names) == TRIALS, "no trial was given out under a second name"
