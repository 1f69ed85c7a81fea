"""What a paper printed: one form for all of them, to be put beside our own numbers."""

from __future__ import annotations

from dataclasses import dataclass

LOST = "(lost)"  # a heading whose digits are not in the text


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """One printed number.

    Attributes:
        method: By this package's names, or the paper's row; "subselnet" where it says "our" and not which variant.
        quantity: What it is, with its unit.
        at: Its column: size of the subset, RAR that was allowed, number of test cells, with what it was trained.
        dataset: By this package's names; "" where it is not readable.
        value: As printed; None is the paper's dash (SubSelNet: no size of subset reached that accuracy).
        spread: What follows the mean after a ±; the table's notes say what it is.
        model: By this package's names; "" where the quantity has none, or the paper names none.
        cost: What else the row says of its cost, in words; "" for nothing.
    """

    method: str
    quantity: str
    at: str
    dataset: str
    value: float | None
    spread: float | None = None
    model: str = ""
    cost: str = ""


@dataclass(frozen=True, slots=True)
class PrintedTable:
    """One table.

    Attributes:
        where: Its number, and the section it stands in.
        title: What it shows.
        numbers: In printed order, row by row.
        notes: What to know before comparing with it.
    """

    where: str
    title: str
    numbers: tuple[Printed, ...]
    notes: tuple[str, ...]
