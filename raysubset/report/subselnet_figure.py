"""The figure of an evaluation of SubSelNet: how far every method is from random subsets, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from raysubset.report.subselnet_tables import RANDOM, MethodLine, difference, size
from raysubset.report.svg import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, Picture, canvas, render

_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, GREY)
_LINE = 0.24  # inches a method


def differences(lines: Mapping[float, Sequence[MethodLine]]) -> Picture | None:
    """Draw accuracy less that of random subsets, in points, with Student's interval over runs.

    Args:
        lines: Ratio -> its methods, see `method_lines`.

    Returns:
        A picture; None where nothing was compared with random subsets.
    """
    compared = ((ratio, [line for line in of if _is_compared(line)]) for ratio, of in lines.items())
    shown = {ratio: of for ratio, of in compared if of}
    if not shown:
        return None
    methods = list(dict.fromkeys(line.method for of in shown.values() for line in of))
    with canvas(height=1.3 + _LINE * len(methods) * max(1, len(shown) * 0.6)) as (figure, (axes,)):
        for place, (ratio, of) in enumerate(shown.items()):
            _ratio(axes, ratio, of, methods, (place + 0.5) / len(shown) - 0.5, _COLOURS[place % len(_COLOURS)])
        axes.axvline(0, color=GREY, linewidth=1.2)
        axes.set_yticks(range(len(methods)), methods)
        axes.invert_yaxis()
        axes.set_xlabel("accuracy less that of random subsets, points")
        figure.legend(loc="outside upper left", ncols=4, handlelength=1.2, columnspacing=1.2)
        svg = render(figure, "differences")
    words = "; ".join(
        f"{line.method} at {size(ratio)}: {difference(line.to[RANDOM])}"
        for ratio, of in shown.items()
        for line in of
    )
    return Picture(
        slug="differences",
        title="Against random subsets of the same size",
        alt=f"Accuracy less that of random subsets, in points. {words}.",
        caption="Paired by cell and seed; bars: Student's 95 % interval over runs. Across 0: no difference shown.",
        svg=svg,
    )


def _is_compared(line: MethodLine) -> bool:
    return RANDOM in line.to and line.to[RANDOM].pairs > 0


def _ratio(
    axes: Axes, ratio: float, of: Sequence[MethodLine], methods: Sequence[str], shift: float, colour: str
) -> None:
    """Draw the methods of one ratio, moved aside so that ratios do not hide each other."""
    ys = [methods.index(line.method) + 0.7 * shift for line in of]
    axes.plot(
        [100 * line.to[RANDOM].mean for line in of], ys, "o", color=colour, markersize=4.5, label=size(ratio)
    )
    spans = [line.to[RANDOM].interval for line in of]
    known = [(y, span) for y, span in zip(ys, spans, strict=True) if span is not None]
    axes.hlines(
        [y for y, _ in known],
        [100 * span.low for _, span in known],
        [100 * span.high for _, span in known],
        color=colour,
        linewidth=1.2,
    )
