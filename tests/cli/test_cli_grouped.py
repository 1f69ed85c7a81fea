"""Options in groups: what the shell sees of a dataclass, and that what commands share is said once."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer import Argument, Option
from typer.testing import CliRunner

import raysubset.cli
from raysubset.cli.grouped import grouped
from raysubset.cli.groups import RunOptions, SubsetChoice
from raysubset.cli.repeat import gone_on_with, this_command
from raysubset.errors import InterruptedRunError, OptionsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    folder: Annotated[Path, Argument(help="Of the run.")]
    seeds: Annotated[list[int] | None, Option(help="May be repeated.")] = None
    lr: Annotated[float, Option(envvar="GROUPED_LR", help="Of everything.")] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Near(Where):
    lr: Annotated[float, Option(help="Of what is near.")] = 0.25

    def __post_init__(self) -> None:
        if self.lr < 0:
            raise OptionsError(f"lr={self.lr}, need a number >= 0")


def shown(group: type) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

    def show(*, loud: bool = False, where: group) -> None:  # type: ignore[valid-type]
        """Show it."""
        print(loud, where)

    show.__annotations__["where"] = group
    app.command()(grouped(show))
    return app


def test_a_group_is_an_option_a_field() -> None:
    asked = ["runs/a", "--lr", "2", "--seeds", "1", "--seeds", "2", "--loud"]
    done = CliRunner().invoke(shown(Where), asked)
    assert done.output.strip() == f"True {Where(folder=Path('runs/a'), seeds=[1, 2], lr=2.0)}"
    done = CliRunner().invoke(shown(Where), ["b"], env={"GROUPED_LR": "3"})
    assert done.output.strip() == f"False {Where(folder=Path('b'), lr=3.0)}"
    assert CliRunner().invoke(shown(Where), []).exit_code == 2  # the folder has no default


def test_help_shows_fields_in_their_order_and_the_command_s_own_words() -> None:
    words = CliRunner().invoke(shown(Where), ["--help"]).output
    places = [words.index(part) for part in ("Show it.", "--loud", "--seeds", "--lr")]
    assert places == sorted(places)
    assert "Of everything." in words
    assert "--where" not in words


def test_a_subclass_has_its_own_default_and_may_refuse() -> None:
    assert CliRunner().invoke(shown(Near), ["a"]).output.strip() == f"False {Near(folder=Path('a'), lr=0.25)}"
    assert "Of what is near." in CliRunner().invoke(shown(Near), ["--help"]).output
    refused = CliRunner().invoke(shown(Near), ["a", "--lr", "-1"])
    assert isinstance(refused.exception, OptionsError)


def test_two_options_of_one_name_are_refused() -> None:
    def twice(*, lr: float = 1.0, where: Where) -> None: ...

    with pytest.raises(ValueError, match="lr"):
        grouped(twice)


def test_a_plan_is_made_of_its_options_and_of_what_a_command_adds() -> None:
    choice = SubsetChoice(selector="craig", ratio=0.2, option=["memory_bytes=1000"], select_every=4)
    plan = choice.plan(per_class=True)
    assert (plan.selector, plan.ratio, plan.select_every, plan.per_class) == ("craig", 0.2, 4, True)
    assert plan.options == {"memory_bytes": 1000}
    assert choice.plan(ratio=0.5).ratio == 0.5


def test_a_run_is_called_as_asked_or_by_what_it_is_of() -> None:
    assert RunOptions(name="mine").called("mnist", "lenet") == "mine"
    assert RunOptions().called("mnist", "lenet").startswith("mnist-lenet-2")
    assert RunOptions(name="mine", root=Path("r")).folder == Path("r/mine")
    with pytest.raises(OptionsError, match="--resume needs"):
        RunOptions(resume=True)
    with pytest.raises(OptionsError, match="plain folder name"):
        RunOptions(name="../up")


def test_the_command_that_repeats_a_run_is_the_one_that_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/raysubset", "hpo", "--name", "a b"])
    assert this_command("hpo") == "raysubset hpo --name 'a b'"
    monkeypatch.setattr("sys.argv", ["hpo_cifar.py", "--smoke"])
    assert this_command("hpo") == "python hpo_cifar.py --smoke"


def test_an_interruption_says_how_to_go_on() -> None:
    class Run:
        folder = Path("runs/mine")
        experiment = RunOptions(name="mine")

        def report(self) -> Path:
            return self.folder / "report.html"

    with pytest.raises(InterruptedRunError) as stopped, gone_on_with(Run(), "corr"):  # type: ignore[arg-type]
        raise InterruptedRunError("Stopped.")
    assert str(stopped.value) == (
        "Stopped. So far: runs/mine/report.html. Go on with: raysubset corr --resume --name mine --root runs (and "
        "the same --data and --data-dir)."
    )


def test_no_option_is_described_twice() -> None:
    """What two commands say in the same words is one option: it belongs into `cli.options` or a group."""
    told: Counter[str] = Counter()
    for path in Path(raysubset.cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "help":
                told[ast.unparse(node.value)] += 1
    assert len(told) > 100
    assert {words for words, times in told.items() if times > 1} <= {"WHAT"}  # --data, and the argument of `data`
