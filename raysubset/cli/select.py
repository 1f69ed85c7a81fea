"""``raysubset select``: any selector of the catalogue on plain arrays."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from typer import Option

from raysubset.cli.arrays import context_of, read_array
from raysubset.cli.grouped import grouped
from raysubset.cli.options import Json, KeepClasses, RowCount, RowShare, Seed, SelectorOptions
from raysubset.cli.output import print_facts
from raysubset.cli.values import pairs, read_options
from raysubset.errors import OptionsError, RaysubsetError, StorageError
from raysubset.seeds import generator
from raysubset.selection.catalog import find_selector, habits_of, known_selectors
from raysubset.selection.entries import ENTRIES
from raysubset.selection.protocol import Selector
from raysubset.selection.timing import Habits
from raysubset.selection.wrappers import PerClass
from raysubset.types import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayFiles:
    """The arrays that say what is known of the rows."""

    features: Annotated[Path | None, Option(help="float32[n, h], .npy.")] = None
    residuals: Annotated[
        Path | None, Option(help="float32[n, c], dLoss/dlogits; with --features: last-layer gradients.")
    ] = None
    logits: Annotated[Path | None, Option(help="float32[n, c]; with --labels they give the residuals.")] = None
    labels: Annotated[Path | None, Option(help="int[n], classes 0, 1, ...")] = None
    signal: Annotated[list[str] | None, Option(help="NAME=FILE.npy, one number a row, float32[n]; repeat it.")] = (
        None
    )
    val_logits: Annotated[Path | None, Option(help="float32[V, c] of the rows that steer the choice.")] = None
    val_labels: Annotated[Path | None, Option(help="int[V] of these rows.")] = None
    val_features: Annotated[Path | None, Option(help="float32[V, h] of these rows.")] = None
    ids: Annotated[Path | None, Option(help="int[n] or str[n], distinct names of the rows.")] = None

    def scores(self) -> dict[str, Path]:
        """Return the signals, name -> file."""
        return {name: Path(file) for name, file in pairs("signal", self.signal, "FILE.npy").items()}

    def files(self) -> dict[str, Path]:
        """Return the other arrays, name -> file."""
        said = {name.replace("_", "-"): path for name, path in asdict(self).items() if name != "signal"}
        return {name: path for name, path in said.items() if path is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """How many rows, at which point of a training."""

    k: RowCount = None
    ratio: RowShare = None
    progress: Annotated[float, Option(help="Share of training done, in [0, 1).")] = 0.0
    learning_rate: Annotated[float | None, Option(help="Of the model the arrays come from, > 0.")] = None
    seed: Seed = 0

    def faults(self) -> list[str]:
        """Say what is wrong with it."""
        faults = size_faults(self.k, self.ratio)
        if not 0 <= self.progress < 1:
            faults.append(f"progress={self.progress!r}, need a share of training in [0, 1)")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            faults.append(f"learning_rate={self.learning_rate!r}, need a finite number > 0")
        return faults


@grouped
def select(
    *,
    selector: Annotated[str | None, Option(help="Name of a selector; --list prints them.")] = None,
    option: SelectorOptions = None,
    per_class: KeepClasses = False,
    arrays: ArrayFiles,
    asked: Chosen,
    out: Annotated[
        Path | None,
        Option(help="File for indices, weights, scale (and ids), .npz; an old one is replaced."),
    ] = None,
    list_: Annotated[bool, Option("--list", help="Print every selector and end.")] = False,
    as_json: Json = False,
) -> None:
    """Choose rows of plain arrays and write their positions and weights."""
    if list_:
        _print_catalogue(as_json)
        return
    faults = asked.faults()
    if selector is None or out is None:
        faults += ["--selector is missing (--list prints the names)"] if selector is None else []
        faults += ["--out is missing (the .npz file to write)"] if out is None else []
        raise OptionsError.of("select", faults)
    if faults:
        raise OptionsError.of("select", faults)
    files, scores = arrays.files(), arrays.scores()
    method = _method(selector, read_options(option), list(scores), per_class)
    _check_out(out, [*files.values(), *scores.values()])
    read = {name: read_array(name, path) for name, path in files.items()}
    context = context_of(read, {name: read_array(f"signal {name!r}", path) for name, path in scores.items()})
    context = replace(context, progress=asked.progress, learning_rate=asked.learning_rate)
    count = subset_size(asked.k, asked.ratio, context.pool_size)
    chosen = method.select(context, count, generator(asked.seed, "select"))
    write_selection(out, chosen, read.get("ids"))
    facts = {"selector": selector, "pool_size": chosen.pool_size, "k": count, "selected": len(chosen)}
    print_facts({**facts, "scale": chosen.scale, "seed": asked.seed, "out": str(out)}, as_json)


def size_faults(k: int | None, ratio: float | None) -> list[str]:
    """Say what is wrong with how many rows are asked for."""
    faults = []
    if (k is None) == (ratio is None):
        faults.append(f"need exactly one of --k and --ratio, got {'neither' if k is None else 'both'}")
    if ratio is not None and not 0 < ratio <= 1:
        faults.append(f"ratio={ratio!r}, need 0 < ratio <= 1 (0.1 chooses a tenth of the rows)")
    return faults


def subset_size(k: int | None, ratio: float | None, n: int) -> int:
    """Return the rows to choose: k, or the nearest whole number to ratio n, at least 1."""
    if ratio is None:
        assert k is not None  # exactly one of the two is given
        return k  # the selector refuses what the pool cannot serve
    return max(1, math.floor(ratio * n + 0.5 + 1e-9))


def _method(name: str, options: dict[str, Any], scores: list[str], per_class: bool) -> Selector:
    """Build the selector; one that chooses inside batches while training has nothing to choose from here."""
    if habits_of(name, options).in_batch:
        raise OptionsError(
            f"Selector {name!r} chooses rows inside each batch while a model trains, so it cannot choose from "
            "arrays. Give it to a training run by its SubsetPlan."
        )
    if name == "asp" and "metric" not in options:
        if len(scores) != 1:
            raise OptionsError(
                "Selector 'asp' draws by one signal: give one --signal NAME=FILE.npy, or say which by "
                f"--option metric=NAME. Signals given: {', '.join(scores) or 'none'}."
            )
        options = {**options, "metric": scores[0]}
    chosen = find_selector(name, options).selector
    return PerClass(chosen) if per_class and not isinstance(chosen, PerClass) else chosen


def _check_out(out: Path, inputs: list[Path]) -> None:
    """Refuse before any work what could not be written after it, or would replace an input."""
    if out.is_dir():
        raise StorageError(f"Cannot write {out}: it is a folder; --out names a file.")
    if out.exists() and any(path.exists() and path.samefile(out) for path in inputs):
        raise OptionsError(f"--out {out} is one of the input files, which it would replace.")


def write_selection(path: Path, chosen: Selection, ids: NDArray[Any] | None) -> None:
    """Write the selection beside ``path`` and rename it: on any failure an old file stays as it was."""
    arrays: dict[str, Any] = {"indices": chosen.indices, "weights": chosen.weights, "scale": chosen.scale}
    if ids is not None:
        arrays["ids"] = ids[chosen.indices]
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                np.savez(file, **arrays)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror or error}.") from error


def _print_catalogue(as_json: bool) -> None:
    rows = [_described(name) for name in known_selectors()]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("name", "looks at", "chooses"):
        table.add_column(heading, no_wrap=True)
    table.add_column("summary")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table, highlight=False, markup=False)


def _described(name: str) -> dict[str, str]:
    """Describe a selector; a plug-in that cannot be built says why in place of a summary."""
    if name in ENTRIES:
        habits, summary = ENTRIES[name].habits, ENTRIES[name].summary
        return {"name": name, "looks_at": habits.evidence, "chooses": _when(habits), "summary": summary}
    try:
        method = find_selector(name, {})
    except RaysubsetError as error:
        return {"name": name, "looks_at": "", "chooses": "", "summary": str(error)}
    summary = (type(method.selector).__doc__ or "").strip().partition("\n")[0]
    return {
        "name": name,
        "looks_at": method.habits.evidence,
        "chooses": _when(method.habits),
        "summary": summary,
    }


def _when(habits: Habits) -> str:
    if habits.in_batch:
        return "in each batch"
    return {0: "once", 1: "every epoch"}.get(habits.every, f"every {habits.every} epochs")
