"""Documents tell the truth: every Python block runs, every command of ours is one that the program takes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raysubset.cli.commands import COMMANDS, loaded

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(
        part.startswith(".") or part.endswith((".egg-info", "venv")) for part in path.relative_to(ROOT).parts
    )
)
PIPELINES = {
    "hpo_cifar.py": ("hpo",),
    "hpo_dss.py": ("hpo-dss",),
    "hpo_table.py": ("hpo-table",),
    "nas_bench201.py": ("nas",),
    "nas_darts.py": ("nas",),
    "subselnet_cifar.py": ("subselnet", "fit"),
}
# What a reader would change for a first try: data at hand, few and small trials. All else runs as printed.
SMALL = """
import raysubset as rs
from raysubset.data.catalog import load_dataset as _load
from raysubset.tuning.api import tune as _tune
rs.load_dataset = lambda name, root=None, limit=None: _load("embedded", limit=300)
rs.tune = lambda **asked: _tune(**{**asked, "recipe": rs.Recipe(epochs=3), "trials": 2, "search": "random"})
"""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)


def named(cases: list[tuple[Path, str]]) -> list[object]:
    seen: dict[Path, int] = {}
    params = []
    for page, text in cases:
        seen[page] = seen.get(page, 0) + 1
        params.append(pytest.param(page, text, id=f"{page.relative_to(ROOT)}-{seen[page]}"))
    return params


def commands(page: Path) -> Iterator[str]:
    """Yield the lines of shell blocks, and what stands between backticks, that call us."""
    text = page.read_text(encoding="utf-8")
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            yield from (part.strip() for part in re.split(r"&&|\|\||;|\|", line))
    yield from re.findall(r"`((?:raysubset|python (?:pipelines|tests)/\S+)[^`\n]*)`", text)


OURS = [
    (page, line) for page in PAGES for line in commands(page) if re.match(r"(\S*/)?(raysubset|python)\s", line)
]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: str(page.parent)
)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """One block after the other, as a reader types them; tests that a page shows run as tests."""
    code = "\n".join(blocks(page, "python"))
    script = tmp_path / "test_page.py"
    script.write_text(SMALL + code, encoding="utf-8")
    runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "import pytest" in code else []
    done = subprocess.run(
        [sys.executable, *runner, str(script)],
        cwd=tmp_path,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not runner or re.search(r"[1-9]\d* passed", done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("script", [*PIPELINES])
def test_help_of_a_pipeline_is_all_that_happens(script: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "pipelines" / script), "--help"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: " in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("page", "line"), named(OURS))
def test_a_command_is_one_that_the_program_takes(page: Path, line: str) -> None:
    words = [word for word in shlex.split(line, comments=True) if word != "..."]
    if words[0].endswith("python"):
        script = next((word for word in words[1:] if word.endswith(".py")), None)
        if script is None:  # python -m pytest, say
            return
        found = ROOT / script
        assert found.exists(), f"{page.name}: {line}"
        if found.name not in PIPELINES or found.parent.name != "pipelines":
            return
        words = ["raysubset", *PIPELINES[found.name], *words[words.index(script) + 1 :]]
    name, *options = words[1:] or ["--help"]
    if name.startswith("-"):
        return
    assert name in COMMANDS, f"{page.name}: {line}"
    command = loaded(name)
    while hasattr(command, "commands") and options:
        assert options[0] in command.commands, f"{page.name}: {line}"
        command, options = command.commands[options[0]], options[1:]
    taken = {word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts)}
    asked = {word.partition("=")[0] for word in options if re.match(r"-{1,2}[a-z]", word)}
    assert asked <= taken | {"--help"}, f"{page.name}: {line}: {sorted(asked - taken)}"


def test_the_documents_are_found() -> None:
    assert ROOT / "README.md" in PAGES
    assert len(OURS) > 20


def test_every_claim_has_a_command_that_can_be_run_again() -> None:
    listed = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "benchmarks" / "claims.py"), "--list"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (table,) = [after.partition("\n\n")[0] for after in readme.split("| claim | figure | command |")[1:]]
    rows = [row for row in table.splitlines()[2:] if "the same" not in row.rpartition(" | ")[2]]
    assert len(listed) >= len(rows) > 10
    assert all(any(f"`{command}`" in row for command in listed) for row in rows)
    assert all(f"`{command}`" in table for command in listed)
