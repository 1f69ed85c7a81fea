"""The house's own rules: layers, types, style, light imports, documented names, README that runs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LARGEST = 500_000  # bytes: a core dump or a data set among the sources would go to every node of a cluster
SOURCES = sorted((ROOT / "raysubset").rglob("*.py"))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def test_style() -> None:
    checked = run(tool("ruff"), "check", ".")
    formatted = run(tool("ruff"), "format", "--check", ".")
    assert checked.returncode == 0, checked.stdout
    assert formatted.returncode == 0, formatted.stdout


def test_nothing_large_is_kept_with_the_sources() -> None:
    kept = run("git", "ls-files", "-z")
    names = kept.stdout.split("\0")[:-1] if kept.returncode == 0 else unpacked(ROOT)
    assert len(names) > 100
    assert not [name for name in names if (ROOT / name).is_file() and (ROOT / name).stat().st_size > LARGEST]


def unpacked(root: Path) -> list[str]:
    """Files of a copy without its history, an environment in it left out."""
    found = []
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".") and name != "runs"]
        found += [str(Path(folder, name).relative_to(root)) for name in files]
    return found


def test_layers() -> None:
    checked = run(tool("lint-imports"))
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
def test_types() -> None:
    checked = run(tool("mypy"))
    assert checked.returncode == 0, checked.stdout


def imported_modules(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_tuning_knows_tune_and_train(path: Path) -> None:
    room = path.relative_to(ROOT / "raysubset").parts[0]
    foreign = {name for name in imported_modules(path) if re.match(r"ray\.(tune|train)\b", name)}
    assert room == "tuning" or not foreign


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, raysubset, raysubset.cli, raysubset.experiment, raysubset.proxy.service\n"
        "heavy = {'ray', 'torch', 'matplotlib', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    checked = run(sys.executable, "-W", "error", "-c", code)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
def test_a_training_process_brings_only_what_it_needs() -> None:
    code = (
        "import sys, raysubset.tuning.trainable, raysubset.tuning.team\n"
        "needless = {'scipy', 'sklearn', 'matplotlib', 'triton', 'torch._dynamo'} & set(sys.modules)\n"
        "assert not needless, needless"
    )
    checked = run(sys.executable, "-c", code)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
def test_every_public_name_loads_and_is_documented() -> None:
    code = "import raysubset as rs\nfor name in rs.__all__:\n    assert getattr(rs, name).__doc__, name\n"
    checked = run(sys.executable, "-c", code)
    assert checked.returncode == 0, checked.stderr


def test_no_global_random_state_is_touched_in_the_source() -> None:
    banned = re.compile(r"\bnp\.random\.(seed|rand|randn|randint|choice|shuffle|permutation)\(|\brandom\.seed\(")
    hits = [str(path) for path in SOURCES if banned.search(path.read_text(encoding="utf-8"))]
    assert not hits


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("[!.]*/*.md")]), ids=lambda p: p.name)
def test_links_in_documents_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)


@pytest.mark.slow
def test_readme_quick_start_runs(tmp_path: Path) -> None:
    code = next(block for block in readme_blocks("python") if "epochs(" in block)
    checked = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert checked.returncode == 0, checked.stderr
    assert len(code.strip().splitlines()) <= 10


def test_ci_runs_the_readme_test_command() -> None:
    assert "<!-- tests -->" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert any("pytest" in block and "venv" in block for block in readme_blocks("bash"))
