"""The memory meter with a clock and readers of our own; the real ones once, without asserting times."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import OptionsError, StorageError
from raysubset.runtime import memory_meter
from raysubset.runtime.memory_meter import GB, Integral, MemoryMeter, cuda_bytes, resident_bytes

NEVER = 1e-4  # Hz: the thread's first sample would come after three hours


def meter_of(times: list[float], host: list[int], device: list[int] | None = None) -> MemoryMeter:
    """A meter whose samples are these: one on entry, some by hand, one on exit."""
    clock, bytes_of_host = iter(times), iter(host)
    bytes_of_device = None if device is None else iter(device)
    return MemoryMeter(
        hz=NEVER,
        host=lambda: next(bytes_of_host),
        device=None if bytes_of_device is None else lambda: next(bytes_of_device),
        clock=lambda: next(clock),
    )


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "memory-meter"]


def test_golden() -> None:
    """2 GB for a minute, then a fall to 0 over another: 2 + 1 GB min; 1e9 bytes, not 2^30."""
    meter = meter_of([10.0, 70.0, 130.0], [2_000_000_000, 2_000_000_000, 0], [0, 500_000_000, 0])
    with meter:
        meter.sample()
    use = meter.use()
    assert use.gb_min == pytest.approx(3.0, abs=FLOAT64)
    assert (use.peak_gb, use.seconds, use.samples) == (2.0, 120.0, 3)
    assert use.device_gb_min == pytest.approx(0.5, abs=FLOAT64)
    assert use.device_peak_gb == 0.5


@PROPERTY
@given(st.lists(st.tuples(st.floats(0.0, 1e4), st.integers(0, 1 << 40)), min_size=2, max_size=12))
def test_integral_is_the_trapezoid_of_the_samples(samples: list[tuple[float, int]]) -> None:
    samples.sort()
    integral = Integral()
    for at, used in samples:
        integral.add(at, used)
    areas = [(b - a) * min(u, v) + (b - a) * abs(u - v) / 2 for (a, u), (b, v) in pairwise(samples)]
    assert integral.gb_min == pytest.approx(sum(areas) / 1e9 / 60, rel=1e-9)
    assert integral.peak == max(used for _, used in samples)


def test_without_a_device_nothing_is_said_of_one() -> None:
    with meter_of([0.0, 1.0], [1, 1]) as meter:
        pass
    assert (meter.use().device_gb_min, meter.use().device_peak_gb, meter.use().samples) == (None, None, 2)


def test_the_thread_samples_by_itself_and_ends_with_the_block() -> None:
    enough = threading.Event()
    seen: list[int] = []

    def host() -> int:
        seen.append(len(seen))
        if len(seen) >= 4:
            enough.set()
        return 1_000_000_000

    with MemoryMeter(hz=100, host=host) as meter:
        assert enough.wait(30)
    use = meter.use()
    assert use.samples == len(seen) >= 5
    assert use.gb_min == pytest.approx(use.seconds / 60)
    assert not watchers()


def test_the_blocks_exception_passes_and_the_thread_ends() -> None:
    meter = meter_of([0.0, 60.0], [1_000_000_000, 1_000_000_000])
    with pytest.raises(ZeroDivisionError), meter:
        _ = 1 / 0
    assert not watchers()
    assert meter.use().gb_min == pytest.approx(1.0)


def test_a_reader_that_fails_in_the_thread_is_heard_at_the_end_of_the_block() -> None:
    asked = threading.Event()
    calls: list[int] = []

    def host() -> int:
        calls.append(1)
        if len(calls) == 2:  # and never again: it must not be forgotten
            asked.set()
            raise StorageError("gone")
        return 1

    with pytest.raises(StorageError, match="gone"), MemoryMeter(hz=100, host=host):
        assert asked.wait(30)
    assert not watchers()
    calls.clear()
    with pytest.raises(KeyError), MemoryMeter(hz=NEVER, host=host):  # the block's own error is the one to see
        raise KeyError
    assert not watchers()


def test_a_reader_that_fails_on_entry_starts_no_thread() -> None:
    def host() -> int:
        raise StorageError("no such file")

    with pytest.raises(StorageError), MemoryMeter(host=host):
        pytest.fail("entered")
    assert not watchers()


@pytest.mark.parametrize("hz", [0.0, -1.0, 101.0, float("nan")])
def test_bad_rate(hz: float) -> None:
    with pytest.raises(OptionsError, match="hz="):
        MemoryMeter(hz=hz)


def test_a_meter_serves_one_block() -> None:
    meter = meter_of([0.0, 1.0, 2.0], [1, 1, 1])
    with pytest.raises(OptionsError, match="before it was entered"):
        meter.use()
    with meter:
        pass
    with pytest.raises(OptionsError, match="second time"):
        meter.__enter__()


def test_resident_bytes_rise_with_what_is_held() -> None:
    before = resident_bytes()
    held = bytearray(b"x" * (64 << 20))
    assert before > 1 << 20
    assert resident_bytes() - before > 48 << 20
    assert len(held) / GB > 0.06


def test_resident_bytes_agree_with_psutil() -> None:
    psutil = pytest.importorskip("psutil")
    assert resident_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)


@pytest.mark.parametrize("content", [None, "", "12", "1 many"])
def test_where_the_file_is_not_there_or_not_as_linux_has_it(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "statm"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(memory_meter, "STATM", file)
    with pytest.raises(StorageError, match=r"resident memory.*MemoryMeter\(host="):
        resident_bytes()


@pytest.mark.parametrize("device", ["cpu", "cuda:99999"])
def test_no_such_device(device: str) -> None:
    with pytest.raises(OptionsError, match=f"device='{device}'"):
        cuda_bytes(device)
