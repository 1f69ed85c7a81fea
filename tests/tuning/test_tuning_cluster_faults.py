"""A node of three goes away, with the selector or with a trial on it: the search records what it would have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from raysubset.report.records import read_records
from raysubset.tuning.progress import Silent
from raysubset.tuning.run import create_run
from raysubset.tuning.session import open_session
from tests.tuning.cluster_story import data, experiment

pytestmark = [pytest.mark.ray, pytest.mark.slow]

STORY = Path(__file__).with_name("cluster_story.py")
TRIALS, EPOCHS = 4, 4


def recorded(folder: Path) -> dict:
    """What each trial's epochs were, each of them once."""
    rows = read_records(folder / "records.jsonl").stage("search")
    found = {(r.trial, r.epoch): (r.status, r.rung, r.samples_consumed, r.val_loss, r.train_loss) for r in rows}
    assert len(found) == len(rows) == TRIALS * EPOCHS, "none lost, none twice"
    return found


@pytest.fixture(scope="module")
def undisturbed(ray_cluster, tmp_path_factory) -> dict:
    """The same search on the one node of this test: where trials run changes nothing either."""
    folder = tmp_path_factory.mktemp("calm") / "c"
    run = create_run(experiment("c"), data(), folder.parent, Silent(), command="", settings={})
    with open_session(run) as session:
        session.search()
    return recorded(folder)


@pytest.mark.parametrize(("fault", "process"), [("trial", "SubsetTrainable"), ("selector", "SelectorService")])
def test_a_node_that_goes_away_changes_nothing(fault, process, undisturbed, tmp_path) -> None:
    told = [sys.executable, str(STORY), str(tmp_path / "n"), fault]
    ran = subprocess.run(told, capture_output=True, text=True, timeout=500, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
    seen = json.loads(ran.stdout.splitlines()[-1])
    assert len(seen["SubsetTrainable"]) == 2, "trials ran on both nodes"
    assert seen["removed"] in seen[process]
    assert seen["removed"] != seen["head"]
    if process == "SelectorService":
        assert len(seen[process]) >= 2, "it came back on another node"
    else:
        assert seen["removed"] not in seen["SelectorService"]
    assert recorded(tmp_path / "n") == undisturbed
