"""From readings to rows to what is said of them. No times."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raysubset.bench.kernel_rows import against_us, rows_of, verdict
from raysubset.bench.measure import Reading, metered
from raysubset.bench.runs import Run
from tests.bench.made_pool import MEGABYTE

pytestmark = pytest.mark.usefixtures("no_collection")


@pytest.mark.slow
def test_extra_memory_is_the_peak_of_the_step_alone() -> None:
    held = np.ones(32 * MEGABYTE, dtype=np.uint8)
    total, reading = metered(lambda: int(np.ones(64 * MEGABYTE, dtype=np.uint8)[-1]) + int(held[-1]))
    assert total == 2
    if reading.extra_bytes is None:
        pytest.skip("This system does not reset the high-water mark.")
    assert 60 * MEGABYTE < reading.extra_bytes < 80 * MEGABYTE
    _, after = metered(lambda: None)
    assert after.extra_bytes is not None
    assert after.extra_bytes < 8 * MEGABYTE


def test_readings_in_a_row_add_times_and_keep_the_larger_memory() -> None:
    assert Reading(1, 2, 30).then(Reading(4, 5, 6)) == Reading(5, 7, 30)
    assert Reading(1, 2, None).then(Reading(4, 5, 6)).extra_bytes is None


def three(contender: str, seconds: list[float], quality: float, megabytes: int) -> list[Run]:
    return [
        Run("craig-20k", contender, repeat, 20, 2, 2, cpu, cpu, (megabytes - repeat) * MEGABYTE, quality)
        for repeat, cpu in enumerate(seconds)
    ]


def test_rows_hold_medians_and_ratios() -> None:
    failed = Run("craig-20k", "apricot lazy", 0, note="not installed")
    done = three("raysubset", [3.0, 1.0, 2.0], 11.0, 5) + three("submodlib lazy", [9.0, 7.0, 8.0], 10.0, 50)
    ours, peer, missing = rows_of([*done, failed])
    assert (ours.cpu_min_s, ours.cpu_s, ours.cpu_max_s, ours.times_ours) == (1.0, 2.0, 3.0, 1.0)
    assert (peer.times_ours, peer.quality_ratio, ours.quality_ratio) == (4.0, 1.0, pytest.approx(1.1))
    assert (ours.extra_bytes, peer.repeats) == (5 * MEGABYTE, 3)
    assert (missing.repeats, missing.note, missing.extra_bytes) == (0, "not installed", None)
    assert math.isnan(missing.cpu_s)
    assert math.isnan(missing.quality_ratio)


@pytest.mark.parametrize(
    ("seconds", "quality", "megabytes", "words"),
    [
        (1.0, 10.0, 50, "is faster"),
        (9.0, 9.9, 50, "coverage error"),
        (9.0, 10.0, 2, "less memory"),
        (9.0, 9.96, 50, None),
    ],
)
def test_what_falls_against_us_is_said(seconds: float, quality: float, megabytes: int, words: str | None) -> None:
    peer = three("submodlib lazy", [seconds] * 3, quality, megabytes)
    said = against_us(rows_of([*three("raysubset", [2.0] * 3, 10.0, 10), *peer]))
    assert [words is not None and words in sentence for sentence in said] == [True] * (words is not None)


def test_nothing_is_said_of_peers_that_were_not_measured() -> None:
    ours = three("raysubset", [2.0] * 3, 10.0, 10)
    missing = Run("craig-20k", "submodlib lazy", 0, note="submodlib is not installed")
    assert verdict(rows_of([*ours, missing])).startswith("No peer was measured")
    assert verdict(rows_of([*ours, *three("raysubset, torch alone", [3.0] * 3, 10.0, 10)])).startswith(
        "No peer was"
    )
    assert verdict(rows_of([*ours, *three("submodlib lazy", [9.0] * 3, 10.0, 50)])).startswith("No peer is better")
    assert verdict(rows_of([*ours, *three("submodlib lazy", [1.0] * 3, 10.0, 50)])) == "Against us:"


def test_our_own_failure_falls_against_us() -> None:
    peer = Run("draw", "torch.multinomial", 0, 10, 1, 1, 2.0, 2.0, 0, 2.0)
    said = against_us(rows_of([Run("draw", "raysubset", 0, note="exit code 1: boom"), peer]))
    assert len(said) == 1
    assert "boom" in said[0]


def test_a_draw_with_another_law_falls_against_us() -> None:
    def run(contender: str, quality: float) -> Run:
        return Run("draw", contender, 0, 10**6, 10**5, 10**5, 1.0, 1.0, 0, quality)

    slower = Run("draw", "torch.multinomial", 0, 10**6, 10**5, 10**5, 2.0, 2.0, 0, 2.0)
    assert against_us(rows_of([run("raysubset", 2.01), slower])) == []
    assert "mean importance" in against_us(rows_of([run("raysubset", 2.05), slower]))[0]
