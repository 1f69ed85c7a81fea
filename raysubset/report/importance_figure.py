"""The importance of hyper-parameters as a figure, or the sentence that says why there is none."""

from __future__ import annotations

from raysubset.report.importance import Importances
from raysubset.report.svg import BLUE, GREY, INK, Picture, canvas, render
from raysubset.report.wording import percent

MAX_BARS = 16


def importance_picture(known: Importances, score: str) -> Picture | None:
    """Draw a bar a hyper-parameter, the largest on top; None where nothing could be told."""
    shown = known.found[:MAX_BARS]
    if not shown:
        return None
    places = range(len(shown))
    with canvas(height=1.0 + 0.34 * len(shown)) as (figure, (axes,)):
        axes.barh(places, [one.value for one in shown], height=0.55,
                  color=[BLUE if one.low > 0 else GREY for one in shown])  # fmt: skip
        axes.hlines(places, [one.low for one in shown], [one.high for one in shown], color=INK, linewidth=1.2)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(places, [one.name if len(one.name) <= 22 else one.name[:21] + "…" for one in shown])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("R2 lost on held-out trials without it")
        svg = render(figure, "importance")
    words = "; ".join(f"{one.name} {one.value:.2f} ({one.low:.2f} to {one.high:.2f})" for one in shown)
    few = " With so few trials it is a hint." if known.trials < 50 else ""
    return Picture(
        slug="importance",
        title="Importance of hyper-parameters",
        alt=f"Bar chart of importance for the rank of the validation {score}, with 95 % intervals: {words}.",
        caption=f"From {known.trials} trials judged at epoch {known.epoch}, whose order forests explain to "
        f"{percent(max(known.explained, 0.0))} on trials left out. Lines: 95 % intervals over draws of trials; "
        f"grey where that holds 0.{few}",
        svg=svg,
    )
