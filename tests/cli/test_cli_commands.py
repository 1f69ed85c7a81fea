"""The overview of commands: light, true to the commands it names, and what the shell completes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.core import TyperGroup

from raysubset.cli import main
from raysubset.cli.commands import COMMANDS, loaded

HEAVY = ("torch", "ray", "numpy", "pyarrow", "matplotlib")
LINE = 50  # what a terminal of 80 columns shows of a line without cutting it


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_loads_with_help_and_its_line_is_not_cut(name: str) -> None:
    command = loaded(name)
    assert command.help
    assert command.name in (name, None) or isinstance(command, TyperGroup)
    assert len(COMMANDS[name].line) <= LINE
    assert all(option.help for option in command.params if option.name not in ("help", "install_completion"))


def test_the_overview_loads_no_command() -> None:
    code = (
        "import sys\n"
        "from raysubset.cli.app import run\n"
        "assert run(['--help']) == 0\n"
        f"heavy = set({HEAVY!r}) & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"  {name} " in done.stdout and command.line in done.stdout for name, command in COMMANDS.items())


@pytest.mark.parametrize(
    ("words", "expected"),
    [("raysubset s", {"select", "simulate", "subselnet"}), ("raysubset select --lab", {"--labels"})],
)
def test_the_shell_completes_commands_and_options(words: str, expected: set[str]) -> None:
    asked = {"_RAYSUBSET_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'raysubset'; from raysubset.cli import main; main()"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(done.stdout.split()) == expected, done.stderr


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["hpp"])
    assert stop.value.code == 2
    assert "Did you mean 'hpo'?" in capsys.readouterr().err
