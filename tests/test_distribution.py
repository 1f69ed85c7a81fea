"""What users get: a wheel that runs outside the checkout, and an API reference without a warning."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def run(*command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of what the checkout holds, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("raysubset", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        done = run("cp", "-r", str(ROOT / name), str(source / name), cwd=folder)
        assert done.returncode == 0, done.stderr
    asked = (
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(folder),
        str(source),
    )
    done = run(sys.executable, "-m", *asked, cwd=folder)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's files alone."""
    target = tmp_path_factory.mktemp("installed")
    asked = ("pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    done = run(sys.executable, "-m", *asked, cwd=target)
    assert done.returncode == 0, done.stderr
    return target


def test_the_wheel_holds_the_whole_package(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    kept = (".py", ".j2", ".typed", ".toml", ".js", ".css", ".html")
    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "raysubset").rglob("*") if path.suffix in kept}
    wanted |= {"raysubset/py.typed"}
    assert wanted <= held, sorted(wanted - held)
    assert not [name for name in held if name.startswith(("tests", "pipelines", "clusters"))]


def test_it_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    there = {"PYTHONPATH": str(installed)}
    where = run(sys.executable, "-P", "-c", "import raysubset; print(raysubset.__file__)", cwd=tmp_path, **there)
    assert Path(where.stdout.strip()).is_relative_to(installed), where.stdout + where.stderr
    said = run(sys.executable, "-P", "-m", "raysubset", "--version", cwd=tmp_path, **there)
    assert said.stdout.strip() == version("raysubset")
    np.save(tmp_path / "features.npy", np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32))
    np.save(tmp_path / "labels.npy", np.arange(50) % 5)
    chosen = run(
        *(
            sys.executable,
            "-P",
            "-m",
            "raysubset",
            "select",
            "--selector",
            "k-center",
            "--features",
            "features.npy",
        ),
        *("--labels", "labels.npy", "--k", "7", "--out", "chosen.npz"),
        cwd=tmp_path,
        **there,
    )
    assert chosen.returncode == 0, chosen.stderr
    assert len(np.load(tmp_path / "chosen.npz")["indices"]) == 7


def test_the_api_reference_is_built_without_a_warning(tmp_path: Path) -> None:
    done = run(sys.executable, "-W", "error", str(ROOT / "tests" / "api_reference.py"), "api", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warn" not in done.stderr, done.stderr
    pages = {path.name for path in (tmp_path / "api").rglob("*.html")}
    assert {"raysubset.html", "plan.html", "subset.html"} <= pages
    page = (tmp_path / "api" / "raysubset.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in ("tune", "Subset", "SubsetPlan", "load_dataset"))
