"""The options that several commands share, each said once; `cli.groups` puts those together that go together.

This module loads nothing but typer, so that a light command stays light.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Option

Preset = Literal["small", "paper"]

DataDir = Annotated[Path | None, Option(help="Where data sets lie (default: $RAYSUBSET_DATA).")]
Limit = Annotated[int | None, Option(help="Use only so many rows of each split.")]
Model = Annotated[
    str | None,
    Option(help="Of the zoo, module:name of a builder, or nb101-8x1:CELL (default: by data and device)."),
]
TrialEpochs = Annotated[int | None, Option(help="Epochs of a whole trial.")]
SpaceFile = Annotated[Path | None, Option(help="TOML file with the search space.")]

Ratio = Annotated[float, Option(help="Mean share of the data an epoch trains on, in (0, 1].")]
Metric = Annotated[str, Option(help="Of asp: mixture, adaptive, or a single metric: loss, gradient, ...")]
SelectorOptions = Annotated[
    list[str] | None, Option(help="NAME=VALUE, an option of the selector; may be repeated.")
]
WarmStart = Annotated[
    float | None, Option(help="Share of the epochs whose budget is spent on all data first, in [0, 1).")
]
KeepClasses = Annotated[bool, Option("--per-class", help="Keep the class shares in every subset.")]
RowCount = Annotated[int | None, Option("--k", help="Rows to choose.")]
RowShare = Annotated[float | None, Option(help="Share of the rows to choose, in (0, 1]; or --k.")]

Concurrency = Annotated[int, Option(help="Trainings at a time (0: what the machine serves).")]
Workers = Annotated[int, Option(min=1, help="Workers of a training (Ray Train; a GPU or CPU each).")]
Eta = Annotated[int, Option(help="A rung keeps one in so many trials.")]
BudgetEpochs = Annotated[
    float | None,
    Option(help="Full-data epochs the full search may cost; a subset search gets ratio times that."),
]
Watts = Annotated[float | None, Option(help="Power of the machine, for an estimate of energy.")]
Seed = Annotated[int, Option(help="The seed of everything.")]
Root = Annotated[
    Path, Option(envvar="RAYSUBSET_ROOT", help="Folder of all runs; on a cluster one that all nodes see.")
]
DryRun = Annotated[bool, Option("--dry-run", help="List what would run and what it may cost; run nothing.")]
Json = Annotated[bool, Option("--json", help="Print the result as JSON.")]
