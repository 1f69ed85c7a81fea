"""A node of three goes away, with the selector or with a trial on it: the search records what it would have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raysubset.report.records import read_records

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("RAYSUBSET_CLUSTER_TESTS"),
        reason="three searches on clusters of three nodes, five minutes: set RAYSUBSET_CLUSTER_TESTS=1",
    ),
]

STORY = Path(__file__).with_name("cluster_story.py")
TRIALS, EPOCHS = 4, 4


def played(folder: Path, fault: str) -> tuple[dict, dict]:
    ran = subprocess.run(
        [sys.executable, str(STORY), str(folder), fault], capture_output=True, text=True, timeout=560, check=False
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    rows = read_records(folder / "records.jsonl").stage("search")
    found = {(r.trial, r.epoch): (r.status, r.rung, r.samples_consumed, r.val_loss, r.train_loss) for r in rows}
    assert len(found) == len(rows) == TRIALS * EPOCHS, "none lost, none twice"
    return found, json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    found, seen = played(tmp_path_factory.mktemp("calm") / "c", "none")
    assert len(seen["SubsetTrainable"]) == 2, "trials ran on both nodes"
    return found


@pytest.mark.parametrize(("fault", "process"), [("trial", "SubsetTrainable"), ("selector", "SelectorService")])
def test_a_node_that_goes_away_changes_nothing(fault, process, undisturbed, tmp_path) -> None:
    found, seen = played(tmp_path / "n", fault)
    assert seen["removed"] in seen[process]
    assert seen["removed"] != seen["head"]
    if process == "SelectorService":
        assert len(seen[process]) >= 2, "it came back on another node"
    else:
        assert seen["removed"] not in seen["SelectorService"]
    assert found == undisturbed
