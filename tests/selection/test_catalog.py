"""Names become selectors in one place, plug-ins among them; a broken one is reported by its name."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysubset.errors import OptionsError, PluginError, PluginWarning, UnknownNameError
from raysubset.seeds import generator
from raysubset.selection import catalog
from raysubset.selection.asp import ProxySampling
from raysubset.selection.catalog import Method, find_selector, habits_of, is_known, known_selectors
from raysubset.selection.craig import Craig
from raysubset.selection.entries import ENTRIES
from raysubset.selection.gradmatch import GradMatch
from raysubset.selection.k_center import KCenter
from raysubset.selection.per_batch import PerBatch
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.timing import Every, Habits
from raysubset.selection.uniform import UniformRandom
from raysubset.selection.wrappers import PerClass

# What a name cannot do without, where its default is not enough.
NEEDED: dict[str, dict[str, Any]] = {
    "asp": {"metric": "loss"},
    "subselnet": {"fitted": "runs/fit", "cell": "conv3x3-bn-relu~0+output~1"},
}


def class_of(name: str) -> Any:
    module, kind = ENTRIES[name].home.split(":")
    return getattr(import_module(f"raysubset.{module}"), kind)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
class TestEveryName:
    def test_stands_for_a_selector_with_its_options(self, name: str) -> None:
        if ENTRIES[name].habits.in_batch:
            assert inspect.isclass(class_of(name))
            return
        method = find_selector(name, NEEDED.get(name, {}))
        selector: Any = method.selector
        assert callable(selector.select)
        assert method.habits == ENTRIES[name].habits == habits_of(name)
        if ENTRIES[name].wrapper:
            selector = selector.inner
        assert isinstance(selector, class_of(name))
        for option, value in ENTRIES[name].options.items():
            assert getattr(selector, option) == value

    def test_has_a_summary_for_people(self, name: str) -> None:
        assert 5 <= len(ENTRIES[name].summary) <= 60
        assert ENTRIES[name].wrapper in ("", "class", "batch")

    def test_says_what_it_costs(self, name: str) -> None:
        assert re.search(r"\bCost:|\bO\(", class_of(name).__doc__ or "")

    def test_refuses_an_option_it_does_not_have(self, name: str) -> None:
        if name == "full" or ENTRIES[name].habits.in_batch:
            return
        options = ", ".join(field.name for field in fields(class_of(name))) or "none"
        with pytest.raises(OptionsError, match=f"'{name}'.*'heat'.*Its options: {options}"):
            find_selector(name, {**NEEDED.get(name, {}), "heat": 1})


# The controls and the wrappers are nobody's method.
OWN = {"selection.uniform"}


@pytest.mark.parametrize("home", sorted({entry.home.split(":")[0] for entry in ENTRIES.values()} - OWN))
def test_every_method_names_its_source(home: str) -> None:
    module = import_module(f"raysubset.{home}")
    elsewhere = re.findall(r"`(raysubset\.selection\.\w+)`", module.__doc__ or "")
    text = "".join(page.__doc__ or "" for page in (module, *map(import_module, elsewhere))) + "".join(
        class_of(name).__doc__ or "" for name, entry in ENTRIES.items() if entry.home.startswith(f"{home}:")
    )
    assert re.search(r"arXiv|doi|ICML|NeurIPS|ICLR|CVPR|ECCV|20\d\d|ASP, ", text)


def test_habits_follow_the_evidence() -> None:
    for name, entry in ENTRIES.items():
        habits = entry.habits
        if name in ("glister", "rho-loss"):
            assert habits.steering > 0, name
        else:
            assert habits.steering == 0, name
        assert habits.in_batch == entry.home.startswith("selection.batchwise:"), name
        assert habits.prunes == (name == "infobatch"), name
        if habits.evidence in ("scout", "embedding") and not habits.in_batch and name != "milo":
            assert habits.every == 0, f"{name}: what it looks at does not change"
    assert ENTRIES["automata"].habits.warm_start == 0.35
    assert habits_of("asp") == Habits("memory")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError) as caught:
        find_selector("crag", {})
    assert "Did you mean 'craig'?" in str(caught.value)
    assert all(name in str(caught.value) for name in ENTRIES)
    with pytest.raises(UnknownNameError):
        habits_of("crag")
    assert not is_known("crag")


def test_an_object_needs_no_name_and_takes_no_options() -> None:
    selector = UniformRandom()
    assert find_selector(selector, {}) == Method(selector, Habits("none"))
    with pytest.raises(OptionsError, match="beside a selector object"):
        find_selector(selector, {"heat": 1})


def test_an_object_has_the_habits_of_its_name() -> None:
    assert habits_of(ProxySampling("loss")) == ENTRIES["asp"].habits
    assert habits_of(PerClass(KCenter())) == ENTRIES["k-center"].habits
    assert habits_of(Every(3, KCenter())) == replace(ENTRIES["k-center"].habits, every=3)
    assert SubsetPlan(selector=ProxySampling("loss")).is_adaptive


def test_options_reach_the_wrapper_too() -> None:
    assert find_selector("gradmatch-per-batch", {"batch_size": 7, "lam": 0.25}).selector == PerBatch(
        GradMatch(lam=0.25), batch_size=7
    )
    assert find_selector("craig", {"threads": 2}).selector == PerClass(Craig(), threads=2)


@pytest.mark.slow
def test_naming_a_selector_loads_no_other() -> None:
    code = (
        "import sys; from raysubset.selection.catalog import *; from raysubset.selection.plan import SubsetPlan\n"
        "[habits_of(name) for name in ENTRIES]; find_selector('random', {}); SubsetPlan(selector='craig')\n"
        "heavy = {'torch', 'numba', 'sklearn', 'scipy'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


MODULES = {
    "good_plugin": """
from dataclasses import dataclass
import numpy as np
from raysubset.selection.catalog import Method
from raysubset.selection.timing import Habits
from raysubset.types import Selection

@dataclass(frozen=True)
class First:
    '''The first rows.

    More about them.
    '''
    skip: int = 0

    def select(self, context, k, rng):
        return Selection.uniform(np.arange(self.skip, self.skip + k), context.pool_size)

@dataclass(frozen=True)
class Needy:
    where: str
    select = First.select
    skip = 0
    habits = Habits('embedding', every=0)

def method(skip=1):
    return Method(First(skip), Habits('none', every=4))

INSTANCE = First()

def nothing():
    return object()

def in_method():
    return Method(object())

def text():
    return 'asp'
""",
    "broken_plugin": "raise RuntimeError('out of cheese')",
}
POINTS = {
    "first": "good_plugin:First",
    "needy": "good_plugin:Needy",
    "fourth": "good_plugin:method",
    "craig": "good_plugin:First",
    "broken": "broken_plugin:Anything",
    "absent": "no_such_module:Anything",
    "misnamed": "good_plugin:Second",
    "instance": "good_plugin:INSTANCE",
    "nothing": "good_plugin:nothing",
    "in-method": "good_plugin:in_method",
    "text": "good_plugin:text",
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package "fake-plugins" whose entry points are `POINTS`."""
    folder = tmp_path / "fake_plugins-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-plugins\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in POINTS.items()]
    (folder / "entry_points.txt").write_text("\n".join(["[raysubset.selectors]", *lines, ""]))
    for module, source in MODULES.items():
        (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    catalog._plugins.cache_clear()
    with pytest.warns(PluginWarning, match=r"'craig' \(good_plugin:First\) is left out: its name is taken"):
        known_selectors()
    yield
    catalog._plugins.cache_clear()
    for module in MODULES:
        sys.modules.pop(module, None)


def rows(selector: Selector) -> list[int]:
    return selector.select(Context(9), 3, generator(0)).indices.tolist()


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
class TestPlugIns:
    def test_a_class_takes_its_options(self) -> None:
        assert "first" in known_selectors()
        assert is_known("first")
        assert rows(find_selector("first", {}).selector) == [0, 1, 2]
        assert rows(find_selector("first", {"skip": 4}).selector) == [4, 5, 6]
        assert habits_of("first") == Habits()
        with pytest.raises(OptionsError, match="'first'.*'heat'.*Its options: skip"):
            find_selector("first", {"heat": 1})

    def test_a_function_may_give_habits_too(self) -> None:
        assert find_selector("fourth", {}).habits == habits_of("fourth") == Habits("none", every=4)
        assert rows(find_selector("fourth", {"skip": 2}).selector) == [2, 3, 4]

    def test_an_option_without_default_reaches_the_habits(self) -> None:
        assert habits_of("needy", {"where": "here"}) == Habits("embedding", every=0)
        plan = SubsetPlan(selector="needy", options={"where": "here"})
        assert plan.timetable(100, 4).first_choice == 0
        with pytest.raises(OptionsError, match="where"):
            habits_of("needy")

    def test_a_plan_knows_them(self) -> None:
        plan = SubsetPlan(selector="fourth", options={"skip": 3}, per_class=True)
        assert plan.compose() == PerClass(find_selector("first", {"skip": 3}).selector)
        assert plan.timetable(100, 8).chosen_at.tolist() == [0, 1, 1, 1, 1, 5, 5, 5]

    def test_a_built_in_name_cannot_be_taken(self) -> None:
        assert habits_of("craig") == ENTRIES["craig"].habits
        assert known_selectors().count("craig") == 1

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("broken", r"'broken' \(broken_plugin:Anything, of fake-plugins\) fails to load: out of cheese"),
            ("absent", r"'absent' \(no_such_module:Anything, of fake-plugins\) fails to load: No module"),
            ("misnamed", r"'misnamed' \(good_plugin:Second, of fake-plugins\) fails to load: .*Second"),
            ("nothing", r"'nothing' \(good_plugin:nothing, of fake-plugins\) gives object.* no select\("),
            ("in-method", r"'in-method' \(good_plugin:in_method, of fake-plugins\) gives object"),
            ("text", r"'text' \(good_plugin:text, of fake-plugins\) gives str"),
            ("instance", r"'instance'.*need a selector's class, or a function"),
        ],
    )
    def test_a_broken_one_is_reported_by_its_name(self, name: str, said: str) -> None:
        with pytest.raises(PluginError, match=said):
            find_selector(name, {})

    def test_a_broken_one_harms_no_other(self) -> None:
        assert SubsetPlan(selector="adaptive-random").compose() == UniformRandom()
        assert set(POINTS) <= set(known_selectors())

    def test_the_command_line_lists_them(self, capsys: pytest.CaptureFixture[str]) -> None:
        import json

        from raysubset.cli import main

        with pytest.raises(SystemExit) as stop:
            main(["select", "--list", "--json"])
        listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert not stop.value.code
        assert listed["first"]["summary"] == "The first rows."
        assert listed["fourth"]["chooses"] == "every 4 epochs"
        assert "out of cheese" in listed["broken"]["summary"]

    def test_a_module_and_name_need_no_installation(self) -> None:
        assert rows(find_selector("good_plugin:First", {"skip": 1}).selector) == [1, 2, 3]
        assert habits_of("good_plugin:method") == Habits("none", every=4)
        assert SubsetPlan(selector="good_plugin:First").name == "good_plugin:First"

    @pytest.mark.parametrize(
        "reference", ["broken_plugin:First", "no_such_module:First", "good_plugin:Second", ":First", ".x:First"]
    )
    def test_a_reference_that_leads_nowhere(self, reference: str) -> None:
        with pytest.raises(OptionsError, match="cannot be imported"):
            find_selector(reference, {})

    @pytest.mark.parametrize("reference", ["good_plugin:INSTANCE", "good_plugin:nothing", "good_plugin:text"])
    def test_a_reference_to_no_selector(self, reference: str) -> None:
        with pytest.raises(PluginError, match=re.escape(reference)):
            find_selector(reference, {})


def test_selections_of_the_catalogue_are_those_of_the_class() -> None:
    context = Context(20, None, {"loss": np.arange(20, dtype=np.float32)})
    chosen = find_selector("asp", {"metric": "loss", "deterministic": True}).selector
    assert chosen.select(context, 2, generator(0)).indices.tolist() == [19, 18]
