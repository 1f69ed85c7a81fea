"""The energy counters of Linux, made up: differences, wraps, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysubset.tuning.energy import EnergyMeter


def counter(root: Path, name: str, microjoules: int, wrap: int = 1_000_000) -> Path:
    zone = root / name
    zone.mkdir(exist_ok=True)
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text(f"{wrap}\n")
    return zone


def test_what_was_taken_since_it_was_made_over_all_packages(tmp_path: Path) -> None:
    for name, start in (("intel-rapl:0", 500), ("intel-rapl:1", 7), ("intel-rapl:0:0", 3)):
        counter(tmp_path, name, start)
    meter = EnergyMeter(tmp_path)
    assert meter.joules() == 0.0
    counter(tmp_path, "intel-rapl:0", 2_000_500, wrap=10_000_000)
    counter(tmp_path, "intel-rapl:1", 1_000_007, wrap=10_000_000)
    counter(tmp_path, "intel-rapl:0:0", 900_000)  # the cores, part of package 0
    assert meter.joules() == pytest.approx(3.0)


def test_a_counter_that_starts_again_is_understood(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", 900_000)
    meter = EnergyMeter(tmp_path)
    counter(tmp_path, "intel-rapl:0", 100_000)
    assert meter.joules() == pytest.approx(0.2)
    counter(tmp_path, "intel-rapl:0", 50_000)
    assert meter.joules() == pytest.approx(1.15)


def test_no_counter_and_one_that_may_not_be_read_measure_nothing(tmp_path: Path) -> None:
    assert EnergyMeter(tmp_path).joules() is None
    zone = counter(tmp_path, "intel-rapl:0", 1)
    meter = EnergyMeter(tmp_path)
    (zone / "energy_uj").unlink()
    (zone / "energy_uj").mkdir()  # an OSError for root too, which may read everything
    assert meter.joules() is None
    (zone / "energy_uj").rmdir()
    counter(tmp_path, "intel-rapl:0", 5)
    assert meter.joules() is None, "what was missed cannot be made up for"
