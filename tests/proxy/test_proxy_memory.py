"""ProxyMemory: what is overwritten, counted, kept, and how the unseen count."""

from __future__ import annotations

import numpy as np
import pytest
from golden_values import golden
from numpy.typing import NDArray

from raysubset.errors import SelectorError
from raysubset.proxy.memory import MEASURED, REMEMBERED, EpochSignals, ProxyMemory

GOLDEN = golden("asp_memory")
N = GOLDEN["inputs"]["n"]


def signals(rows: list[int], value: list[float], correct: list[bool] | None = None) -> EpochSignals:
    """Signals whose entropy and gradient are 2 and 3 times the loss, so that a mix-up shows."""
    loss = np.array(value, dtype=np.float32)
    right = np.zeros(len(rows), dtype=bool) if correct is None else np.array(correct)
    return EpochSignals(np.array(rows, dtype=np.int64), loss, 2 * loss, 3 * loss, right)


def test_golden_values_after_each_epoch() -> None:
    memory = ProxyMemory(N)
    epochs, expected = GOLDEN["inputs"]["loss_epochs"], GOLDEN["expected"]["V_after_each_epoch"]
    for epoch, (measured, after) in enumerate(zip(epochs, expected, strict=True)):
        memory.record(epoch, signals(measured["active"], measured["value"]))
        np.testing.assert_array_equal(memory.importance("loss"), np.float32(after))
        np.testing.assert_array_equal(memory.importance("entropy"), 2 * np.float32(after))
        np.testing.assert_array_equal(memory.importance("gradient"), 3 * np.float32(after))


def test_golden_prediction_scores_after_each_epoch() -> None:
    memory = ProxyMemory(N)
    epochs, expected = GOLDEN["inputs"]["prediction_correct"], GOLDEN["expected"]["S_after_each_epoch"]
    for epoch, (answers, after) in enumerate(zip(epochs, expected, strict=True)):
        rows = [row for row, answer in enumerate(answers) if answer is not None]
        right = [answer == 1 for answer in answers if answer is not None]
        memory.record(epoch, signals(rows, [1.0] * len(rows), right))
        np.testing.assert_array_equal(memory.importance("prediction"), np.float32(after))


def test_every_part_of_the_golden_file_is_read() -> None:
    assert set(GOLDEN["inputs"]) == {"n", "loss_epochs", "prediction_correct"}
    assert set(GOLDEN["expected"]) == {"V_after_each_epoch", "S_after_each_epoch"}


def test_unseen_rows_stand_at_the_largest_seen_value() -> None:
    memory = ProxyMemory(4)
    for name in REMEMBERED:
        assert memory.importance(name).tolist() == [0, 0, 0, 0]
    memory.record(0, signals([2, 0], [-3.0, -1.0], [True, True]))
    assert memory.importance("loss").tolist() == [-1, -1, -3, -1]
    assert memory.importance("prediction").tolist() == [-1, -1, -1, -1]
    memory.record(1, signals([1, 2, 3], [5.0, 0.5, 0.25]))
    assert memory.importance("loss").tolist() == [-1, 5, 0.5, 0.25]
    assert memory.last_epoch.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("field", ["loss", "entropy", "gradient"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_with_any_non_finite_signal_is_rejected_whole(field: str, bad: float) -> None:
    memory = ProxyMemory(3)
    memory.record(0, signals([0, 1], [1.0, 2.0]))
    before = memory.state()
    broken = signals([1, 2, 0], [8.0, 9.0, 7.0])
    getattr(broken, field)[:2] = bad
    memory.record(1, broken)
    assert memory.rejected == 2
    assert memory.seen.tolist() == [True, True, False]
    assert memory.last_epoch.tolist() == [1, 0, -1]
    for name in REMEMBERED:
        assert memory.values[name][1] == before[name][1]
        assert memory.values[name][2] == 0
    assert memory.values["loss"][0] == 7
    assert memory.values["prediction"].tolist() == [2, 1, 0]


@pytest.mark.parametrize("rows", [[-1, 0], [0, 3]])
def test_rows_outside_the_memory_are_refused_before_anything_changes(rows: list[int]) -> None:
    memory = ProxyMemory(3)
    with pytest.raises(SelectorError, match="memory of 3"):
        memory.record(0, signals(rows, [1.0, 2.0]))
    assert not memory.seen.any()


def test_an_epoch_without_rows_is_fine() -> None:
    memory = ProxyMemory(3)
    memory.record(0, signals([], []))
    assert not memory.seen.any()


def test_state_round_trip_is_a_copy_of_21_bytes_a_row() -> None:
    memory = ProxyMemory(100)
    rows: list[int] = list(range(0, 100, 3))
    memory.record(4, signals(rows, [0.5 * row for row in rows]))
    memory.rejected = 7
    state = memory.state()
    assert sum(array.nbytes for array in state.values() if isinstance(array, np.ndarray)) == 21 * 100
    twin = ProxyMemory.from_state(state)
    memory.record(5, signals([0], [77.0]))
    assert twin.rejected == 7
    assert twin.values["loss"][0] == 0
    assert twin.last_epoch[0] == 4
    twin.record(5, signals([0], [77.0]))
    for name, values in memory.state().items():
        np.testing.assert_array_equal(twin.state()[name], values)
    assert state["loss"][0] == 0


def test_names() -> None:
    kept: dict[str, NDArray[np.float32]] = ProxyMemory(2).values
    assert set(kept) == {*MEASURED, "prediction"}
    assert {values.dtype for values in kept.values()} == {np.dtype(np.float32)}
    assert len(ProxyMemory(2)) == 2


# --- in half precision


def test_half_precision_keeps_eleven_binary_digits_and_its_type() -> None:
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(size=500) * 3).astype(np.float32)
    half, single = ProxyMemory(1000, "float16"), ProxyMemory(1000)
    for memory in (half, single):
        memory.record(0, signals(list(range(0, 1000, 2)), values.tolist()))
    for name in REMEMBERED:
        assert half.values[name].dtype == np.float16
        assert half.importance(name).dtype == np.float32
        exact, kept = single.importance(name), half.importance(name)
        assert (np.abs(kept - exact) <= 2**-11 * np.abs(exact) + 2**-25).all()  # the absolute part: subnormals
    twin = ProxyMemory.from_state(half.state())
    assert twin.dtype == "float16"
    for name in REMEMBERED:
        np.testing.assert_array_equal(twin.importance(name), half.importance(name))
    assert half.state()["loss"].dtype == np.float16
    sizes = [sum(a.nbytes for a in m.state().values() if isinstance(a, np.ndarray)) for m in (half, single)]
    assert sizes == [13 * 1000, 21 * 1000]


def test_half_precision_saturates_instead_of_becoming_infinite() -> None:
    memory = ProxyMemory(2, "float16")
    memory.record(0, signals([0, 1], [7e4, -7e4]))
    assert memory.importance("loss").tolist() == [65504, -65504]
    assert memory.rejected == 0
    for _ in range(2100):
        memory.record(1, signals([0], [1.0]))
    assert memory.importance("prediction").tolist() == [2048, 1]
    wide = ProxyMemory(1)
    wide.record(0, signals([0], [1e30]))
    assert ProxyMemory.from_state(wide.state(), "float16").importance("gradient").tolist() == [65504]
    assert wide.importance("gradient")[0] > 1e30


def test_a_memory_of_one_metric_keeps_only_that() -> None:
    memory = ProxyMemory(3, metrics=("entropy",))
    memory.record(0, signals([1], [2.0]))
    assert list(memory.values) == ["entropy"]
    assert ProxyMemory.from_state(memory.state()).importance("entropy").tolist() == [4, 4, 4]
