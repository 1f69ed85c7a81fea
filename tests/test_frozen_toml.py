"""Frozen options as TOML: there and back, defaults for what is left out, and every mistake by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from raysubset.errors import OptionsError
from raysubset.frozen_toml import field_names, from_table, from_toml, read_toml, refuse_unknown, to_toml


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    power: float = 1.0
    gears: tuple[float, ...] = (1.0, 2.0)
    turbo: str | None = None

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise OptionsError(f"Engine: power={self.power!r}, need > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Car:
    name: str
    engine: Engine = field(default_factory=Engine)
    doors: int = 4


PARTS: Mapping[str, Any] = {"engine": Engine}


@pytest.mark.parametrize(
    "car",
    [
        Car(name="plain"),
        Car(name='q"uotes\nand ünïcode', doors=2),
        Car(name="x", engine=Engine(power=0.1, gears=(3.5, 0.7, 1e-9), turbo="twin")),
        Car(name="x", engine=Engine(gears=())),
    ],
    ids=str,
)
def test_there_and_back(car: Car) -> None:
    assert from_toml(Car, to_toml(car, PARTS), PARTS) == car


def test_parts_are_tables_behind_the_rest_and_none_is_left_out() -> None:
    text = to_toml(Car(name="x"), PARTS)
    assert read_toml("Car", text) == {"name": "x", "doors": 4, "engine": {"power": 1.0, "gears": [1.0, 2.0]}}
    assert text.index("doors") < text.index("[engine]")


def test_what_is_left_out_keeps_its_default() -> None:
    assert from_toml(Car, 'name = "x"', PARTS) == Car(name="x")
    assert from_toml(Car, 'name = "x"\n[engine]\npower = 3.0', PARTS) == Car(name="x", engine=Engine(power=3.0))


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("name = ", "^Car is not valid TOML: Invalid value"),
        (
            'name = "x"\ndoor = 3\nwheels = 4',
            "Car: unknown key 'door'; unknown key 'wheels'; known: doors, engine, name",
        ),
        ('name = "x"\n[engine]\npowr = 3', "engine: unknown key 'powr'; known: gears, power, turbo"),
        ('name = "x"\n[engine]\npower = -1.0', "Engine: power=-1.0"),
        ('name = "x"\n[engine]\npower = "much"', "engine: .*'>' not supported"),
        ('name = "x"\nengine = 3', r"engine = 3: need a table, \[engine\]"),
        ("doors = 3", "Car: .*'name'"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, phrase: str) -> None:
    with pytest.raises(OptionsError, match=phrase):
        from_toml(Car, text, PARTS)


def test_tables_alone() -> None:
    assert from_table(Engine, "motor", {"gears": [5.0]}) == Engine(gears=(5.0,))
    with pytest.raises(OptionsError, match="motor: unknown key 'gear'; known: gears, power, turbo"):
        from_table(Engine, "motor", {"gear": 1})
    assert field_names(Engine) == {"power", "gears", "turbo"}
    refuse_unknown("nothing", {}, [])
