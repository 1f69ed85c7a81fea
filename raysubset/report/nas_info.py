"""nas.json: what an architecture search was asked, and what came out; rewritten after every stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from raysubset.report.atomic import write_text
from raysubset.report.facts_file import build, finite, read_facts

NAS_FILE = "nas.json"
NAS_SCHEMA = 1
READING = "discretised-cell reading"
"""Name of how a fit of SubSelNet chooses for a supernet, see `raysubset.runtime.discretised`."""


@dataclass(frozen=True, slots=True)
class TableVerdict:
    """What a benchmark table says of the cell that was found.

    Attributes:
        data: Data set that the table speaks of.
        valid, test: Its accuracies there, shares in [0, 1]; valid None where the table has none.
        rank: 1 for the table's best by test accuracy.
        cells: In the table.
        best_test, median_test: Over the table.
    """

    data: str
    valid: float | None
    test: float
    rank: int
    cells: int
    best_test: float
    median_test: float


@dataclass(frozen=True, slots=True)
class RankAgreement:
    """How well scores agree with the table's test accuracies.

    Attributes:
        tau, low, high: Kendall's tau-b with its 95 % bootstrap interval over cells (None where not to be had).
        cells: Cells compared, drawn at random.
    """

    tau: float
    low: float | None
    high: float | None
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NasInfo:
    """The facts of one architecture search; what is not known yet is None.

    Attributes:
        name, space, algo, seed: What ran.
        dataset, dataset_source, dataset_note: On what.
        device, command, started, versions: Where, how and when.
        selector, metric, ratio: How data were chosen.
        n_train, n_validation: Rows.
        fingerprint: Of the data.
        supernet_wall_s: Seconds from the start of the supernet's stage to its last report.
        supernet_train_s: Seconds its epochs took, selection included.
        supernet_samples, supernet_epochs: Samples consumed, and in passes over the rows it learns from.
        judged, judged_s, judged_samples: Candidates judged, wall seconds and samples of that.
        finalists, finalists_s, finalists_samples: Cells that were trained by themselves after that, likewise.
        cell, score: What was found, and its score on the validation rows (None where it was derived from alpha).
        table: What a benchmark table says of it.
        agreement: How well scores rank a random draw of cells.
        retrained: Test accuracy of the found network trained on all rows, its epochs and seconds.
    """

    name: str
    space: str
    algo: str
    dataset: str
    dataset_source: str
    dataset_note: str
    n_train: int
    n_validation: int
    selector: str
    metric: str
    ratio: float
    seed: int
    device: str
    command: str
    started: str
    fingerprint: str
    versions: Mapping[str, str] = field(default_factory=dict)
    supernet_wall_s: float | None = None
    supernet_train_s: float | None = None
    supernet_samples: int | None = None
    supernet_epochs: float | None = None
    judged: int = 0
    judged_s: float = 0.0
    judged_samples: int = 0
    finalists: int = 0
    finalists_s: float = 0.0
    finalists_samples: int = 0
    cell: str | None = None
    score: float | None = None
    table: TableVerdict | None = None
    agreement: RankAgreement | None = None
    retrained: Mapping[str, float] | None = None
    schema: int = NAS_SCHEMA

    def write(self, folder: Path) -> None:
        """Replace the file in one step; numbers that are not finite become null.

        Raises:
            StorageError: It cannot be written.
        """
        write_text(folder / NAS_FILE, json.dumps(finite(asdict(self)), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the file.

        Raises:
            StorageError: There is none, or it cannot be read.
            RecordError: It is not one of ours, or of another schema.
        """
        plain = read_facts(folder / NAS_FILE, NAS_SCHEMA, "an architecture search")
        for part, kind in (("table", TableVerdict), ("agreement", RankAgreement)):
            if plain.get(part) is not None:
                plain[part] = build(kind, plain[part], f"{folder / NAS_FILE}, {part}")
        return build(cls, plain, str(folder / NAS_FILE))
