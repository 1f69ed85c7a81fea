"""The examples of loops of one's own run as they stand, and learn."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

OWN = Path(__file__).parents[2] / "pipelines" / "own"
EPOCHS = 8
CHANCE = 10.0  # per cent, of ten digits


def run(script: str, folder: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, str(OWN / script), "--epochs", str(EPOCHS), *options],
        cwd=folder,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def accuracy(printed: str) -> float:
    """Per cent, the last figure of that name."""
    return float(re.findall(r"accuracy ([\d.]+)%", printed)[-1])


@pytest.mark.slow
@pytest.mark.parametrize("script", ["plain_loop.py", "lightning_module.py", "hugging_face.py"])
def test_a_loop_of_ones_own_learns_from_its_subsets(script: str, tmp_path: Path) -> None:
    printed = run(script, tmp_path, "--limit", "2000")
    assert accuracy(printed) > 3 * CHANCE
    assert script == "plain_loop.py" or f"{EPOCHS} epochs" in printed


@pytest.mark.slow
@pytest.mark.ray
def test_a_plain_tune_function_learns_from_its_subsets(tmp_path: Path) -> None:
    printed = run("tune_function.py", tmp_path, "--limit", "2000", "--trials", "4")
    assert accuracy(printed) > 3 * CHANCE


def test_every_example_is_tested() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(path.name in tested for path in OWN.glob("*.py"))
