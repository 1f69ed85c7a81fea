"""Numbers as words: one spelling for the page and the terminal. What was not measured says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raysubset.report.intervals import Estimate

NOT_MEASURED = "not measured"


def count(value: int | None) -> str:
    """1234567 -> "1,234,567"."""
    return NOT_MEASURED if value is None else f"{value:,}"


def percent(share: float | None) -> str:
    """0.0734 -> "7.3 %"."""
    return NOT_MEASURED if share is None else f"{100 * share:.1f} %"


def number(value: float | None) -> str:
    """Four significant digits: 0.32741 -> "0.3274"."""
    return NOT_MEASURED if value is None else f"{value:.4g}"


def signed(value: float) -> str:
    """Four significant digits with a sign: 0.0123 -> "+0.0123"."""
    return f"{value:+.4g}"


def seconds(value: float | None) -> str:
    """73.25 -> "73.2 s"; from two minutes on "2 min 05 s", from two hours on "2 h 04 min"."""
    if value is None:
        return NOT_MEASURED
    if value < 119.95:
        return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"
    whole = round(value)
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def interval(estimate: Estimate | None) -> str:
    """Return a share with its interval: "93.1 % (95 % interval 91.4 to 94.5 %)"."""
    if estimate is None:
        return NOT_MEASURED
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{percent(estimate.value)} (95 % interval {low:.1f} to {high:.1f} %)"


def points(estimate: Estimate | None) -> str:
    """Return a difference of shares in percentage points: "-1.2 points (95 % interval -2.9 to +0.4)"."""
    if estimate is None:
        return NOT_MEASURED
    value, low, high = (100 * share for share in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"


def factor(value: float | None) -> str:
    """12.345 -> "12.3 times", 0.8123 -> "0.81 times"."""
    if value is None:
        return NOT_MEASURED
    return f"{value:.1f} times" if value >= 9.95 else f"{value:.2f} times"


def times(value: float, fewer: str, more: str) -> str:
    """Turn a saving into words: 4.0 -> "4.00 times fewer", 0.5 -> "2.00 times more", within 1 % "as many"."""
    if 0.99 <= value <= 1.01:
        return "as many"
    return f"{factor(value)} {fewer}" if value > 1 else f"{factor(1 / value)} {more}"


def plain(value: Any) -> str:
    """Return one option's value: floats with four digits, the rest as Python shows it without quotes."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def config(values: Mapping[str, Any]) -> str:
    """{"lr": 0.1, "width": 64} -> "lr=0.1, width=64"."""
    return ", ".join(f"{name}={plain(value)}" for name, value in values.items()) or "no hyper-parameters"
